"""Pages that MkDocs makes from the docstrings, so that they cannot go stale.

One page an optimizer, a table of all of them, the reference of the other public names
(transforms and callbacks among them), pictures of trajectories and schedules, and the
tables of hand-written pages that a comment such as `<!-- generated: state -->` stands
for. A public name without docs, or with incomplete docs, fails the build.
"""

from __future__ import annotations

import functools
import inspect
import io
import logging
import os
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras

import keras_adamx
import keras_adamx.rule
from keras_adamx.compare import workloads
from keras_adamx.compare.datasets.dataset import DATASETS
from keras_adamx.core.codecs import STATE_DTYPES
from keras_adamx.core.schedules import Schedule
from keras_adamx.core.transforms import Transform
from keras_adamx.doctor.checks import CHECKS
from keras_adamx.doctor.registry import Check
from keras_adamx.doctor.symptoms import SYMPTOMS
from keras_adamx.documentation import (
    KERNEL,
    argument_texts,
    description,
    descriptions,
    items,
    number,
    optimizers,
    own_arguments,
    parsed,
    state_bytes,
)
from keras_adamx.plots.functions import FUNCTIONS

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{5}|\d{4}\.\d{4})")
# What the base class takes, for every optimizer alike.
COMMON = keras_adamx.Optimizer.arguments


# What there is to document.


def defined_transforms(base: type = Transform) -> Iterator[type]:
    """The package's transforms, whether exported or not."""
    for cls in base.__subclasses__():
        if cls.__module__.startswith("keras_adamx."):
            yield cls
        yield from defined_transforms(cls)


def public(module: ModuleType, prefix: str) -> Iterator[tuple[str, Any]]:
    """Every name of `__all__` with its object, those of submodules included."""
    for name in module.__all__:
        value = getattr(module, name)
        yield f"{prefix}.{name}", value
        if isinstance(value, ModuleType):
            yield from public(value, f"{prefix}.{name}")


# What is lacking.


def problems_of(name: str, value: Any, required: tuple[str, ...]) -> list[str]:
    """What the docs of a public name lack, in words."""
    doc = vars(value).get("__doc__") if isinstance(value, type) else value.__doc__
    if not doc:
        return [f"{name} has no docstring"]
    sections = parsed(doc)[1]
    found = [f"{name} has no section `{s}:`" for s in required if not sections.get(s)]
    if hasattr(value, "arguments"):
        described = descriptions(value)
        found += [
            f"{name} does not say what `{argument}` is"
            for argument in own_arguments(value)
            if not described.get(argument)
        ]
        found += [
            f"{name} describes `{argument}`, which it does not take"
            for argument in items(sections.get("Args", ""))
            if argument not in value.arguments
        ]
    elif "Args" in required:
        described, taken = items(sections["Args"]), inspect.signature(value).parameters
        found += [
            f"{name} does not say what `{argument}` is"
            for argument in taken
            if not described.get(argument)
        ]
        found += [
            f"{name} describes `{argument}`, which it does not take"
            for argument in described
            if argument not in taken
        ]
    return found


def required_sections(value: Any) -> tuple[str, ...]:
    """The sections that the docs of a public name must have."""
    if isinstance(value, ModuleType) or value is Transform:
        return ()
    if value is Schedule:
        return ("Args", "Raises", "Example")
    if value is keras_adamx.Optimizer:
        return ("Args",)
    named = ("Args",) if inspect.signature(value).parameters else ()
    if isinstance(value, type) and issubclass(
        value, (keras_adamx.Optimizer, Transform)
    ):
        return (*named, "Example", "Source")
    if isinstance(value, type) and issubclass(value, Schedule):
        return (*named, "Raises", "Example")
    return (*named, "Example")


def problems() -> list[str]:
    """Everything that keeps the docs from being complete."""
    found = []
    exported = dict(public(keras_adamx, "keras_adamx"))
    rules = optimizers().values()
    for name, value in exported.items():
        found += problems_of(name, value, required_sections(value))
    for name in keras_adamx.rule.__all__:
        words = getattr(keras_adamx.rule, name)
        found += problems_of(f"keras_adamx.rule.{name}", words, ())
    found += [
        f"keras_adamx.schedules.{cls.__name__} has no picture"
        for classes in families().values()
        for cls in classes
        if cls.__name__ not in pictured()
    ]
    kinds = (("an optimizer", rules), ("a transform", defined_transforms()))
    found += [
        f"{cls.__module__}.{cls.__name__} is {kind} but not in `__all__`"
        for kind, classes in kinds
        for cls in classes
        if cls not in exported.values()
    ]
    return found


# Markdown.


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    cells = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"
        for row in cells
    )


def literal(text: str) -> str:
    """Text of a table cell in which an asterisk, outside of code, is an asterisk."""
    parts = text.split("`")
    parts[::2] = [part.replace("*", r"\*") for part in parts[::2]]
    return "`".join(parts)


def prose(text: str) -> str:
    """Text in which indented blocks are formulas and are shown as they are."""
    blocks, fenced = [], False
    for block in text.split("\n\n"):
        if not fenced and block.startswith("    "):
            block = f"```text\n{inspect.cleandoc(block)}\n```"
        fenced ^= block.count("```") % 2 == 1
        blocks.append(block)
    return _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", "\n\n".join(blocks))


def argument_table(cls: Any, names: list[str]) -> str:
    """Default, allowed values and meaning of some arguments of a class."""
    rows = [
        [
            f"`{name}`",
            default if default == "required" else f"`{default}`",
            allowed,
            literal(meaning),
        ]
        for name, default, allowed, meaning in argument_texts(cls, names)
    ]
    return table(["argument", "default", "allowed", "meaning"], rows)


def bare_signature(value: Any) -> str:
    """How a function is called, without the annotations."""
    full = inspect.signature(value)
    bare = [p.replace(annotation=p.empty) for p in full.parameters.values()]
    return str(full.replace(parameters=bare, return_annotation=full.empty))


def signature(path: str, value: Any) -> str:
    """How a class or function is called; what all optimizers take, as `**common`."""
    if isinstance(value, type) and issubclass(value, keras_adamx.Optimizer):
        first, *others = dict.fromkeys(["learning_rate", *own_arguments(value)])
        given = [f"{n}={number(value.arguments[n].default)}" for n in (first, *others)]
        arguments = [given[0], "*", *given[1:], "**common"]
        if not others:
            arguments.remove("*")
    else:
        arguments = bare_signature(value)[1:-1].split(", ")
    joined = ", ".join(arguments)
    if len(path) + len(joined) > 76:
        joined = "\n    " + ",\n    ".join(arguments) + ",\n"
    return f"```text\n{path}({joined})\n```"


def sections_of(value: Any, level: str) -> Iterator[str]:
    """The sections after the text: errors, example, source."""
    sections = parsed(value.__doc__)[1]
    if "Returns" in sections:
        yield f"{level} Returns\n\n{sections['Returns']}"
    if "Raises" in sections:
        rows = [
            [f"`{n}`", literal(text)] for n, text in items(sections["Raises"]).items()
        ]
        yield f"{level} Errors\n\n{table(['error', 'when'], rows)}"
    if "Example" in sections:
        yield f"{level} Example\n\n```pycon\n{sections['Example']}\n```"
    if "Source" in sections:
        yield f"{level} Source\n\n{prose(sections['Source'])}"


def optimizer_page(cls: Any) -> str:
    """The page of one optimizer."""
    first, rule, labelled = description(cls)
    own = own_arguments(cls)
    names = own if "learning_rate" in own else ["learning_rate", *own]
    inherited = "What [all optimizers](../reference.md#arguments-of-all-optimizers) "
    inherited += (
        "take comes on top: weight decay, clipping, groups, precision, averages."
    )
    parts = [
        f"# {cls.__name__}",
        prose(first),
        signature(f"keras_adamx.{cls.__name__}", cls),
        f"## Rule\n\n{prose(rule)}",
        f"## Arguments\n\n{argument_table(cls, names)}\n\n{inherited}",
    ]
    if "State" in labelled:
        parts.append(f"## State\n\n{labelled['State']}")
    if "When to use" in labelled:
        parts.append(f"## When to use it\n\n{labelled['When to use']}")
    return "\n\n".join([*parts, *sections_of(cls, "##")]) + "\n"


def optimizer_index(classes: dict[str, Any]) -> str:
    """The table of all optimizers."""
    described = dict(keras_adamx.list_optimizers(with_description=True))
    rows = [
        [f"[`{cls.__name__}`]({name}.md)", f'`"{name}"`', described[name]]
        for name, cls in classes.items()
    ]
    return f"""# Optimizers

{table(["class", "for `get`", "what it does"], rows)}

`keras_adamx.list_optimizers("*adam*")` lists names,
`keras_adamx.get("adamw", learning_rate=3e-4)` makes an optimizer by name. What all of
them take stands in the [reference](../reference.md#arguments-of-all-optimizers).
"""


def rule_section() -> str:
    """The words that rules are written in."""
    rows = []
    for name in sorted(keras_adamx.rule.__all__, key=str.lower):
        value = getattr(keras_adamx.rule, name)
        called = name if isinstance(value, type) else f"{name}{bare_signature(value)}"
        rows.append([f"`{called}`", literal(" ".join(first_paragraph(value)))])
    described = prose(parsed(keras_adamx.rule.__doc__ or "")[0])
    return (
        f"## keras_adamx.rule\n\n{described}\n\n{table(['name', 'what it is'], rows)}"
    )


def first_paragraph(value: Any) -> list[str]:
    """The lines of the first paragraph of a docstring."""
    return parsed(value.__doc__)[0].split("\n\n")[0].splitlines()


def reference_page() -> str:
    """Everything public that is not an optimizer of its own page."""
    parts = [
        "# Reference",
        "The optimizers have [pages of their own](optimizers/index.md).",
        "## Arguments of all optimizers",
        "`**common` in the signatures: keyword-only, whatever the optimizer. An "
        "optimizer may have other defaults; its page shows them.",
        argument_table(keras_adamx.Optimizer, list(COMMON)),
    ]
    rules = optimizers().values()
    for path, value in public(keras_adamx, "keras_adamx"):
        if value in rules:
            continue
        parts.append(f"## {path}")
        if isinstance(value, ModuleType):
            parts.append(prose(parsed(value.__doc__ or "")[0]))
            continue
        parts.append(signature(path, value))
        parts.append(prose(parsed(value.__doc__)[0]))
        if hasattr(value, "arguments"):
            names = [n for n in inspect.signature(value).parameters if value.arguments]
            if names and value is not keras_adamx.Optimizer:
                parts.append(f"### Arguments\n\n{argument_table(value, names)}")
        else:
            arguments = items(parsed(value.__doc__)[1].get("Args", ""))
            rows = [[f"`{n}`", literal(text)] for n, text in arguments.items()]
            if rows:
                heads = ["argument", "meaning"]
                parts.append(f"### Arguments\n\n{table(heads, rows)}")
        parts += sections_of(value, "###")
    return "\n\n".join([*parts, rule_section()]) + "\n"


# Tables in hand-written pages.


def state_table() -> str:
    """How many numbers each optimizer keeps for a kernel, with its defaults."""
    rows = []
    for name, cls in optimizers().items():
        kernel = keras_adamx.rule.Weights("kernel", KERNEL)
        slots = [slot.for_weights(kernel) for slot in cls().slots(kernel)]
        size = 0
        for slot in slots:
            length = 1
            for axis in KERNEL if slot.shape is None else slot.shape:
                length *= axis
            size += length
        kept = ", ".join(f"`{slot.name}`" for slot in slots) or "nothing"
        digits = f"{size:,}".replace(",", " ")
        rows.append([f"[`{cls.__name__}`](optimizers/{name}.md)", kept, digits])
    return table(["optimizer", "state", "numbers kept"], rows)


def transform_table() -> str:
    """What each transform changes, does and keeps for a kernel, with its defaults."""
    rows = []
    kernel = keras_adamx.rule.Weights("kernel", KERNEL)
    for cls in sorted(defined_transforms(), key=lambda c: c.__name__):
        changed = [
            name
            for name in ("gradient", "direction", "weights")
            if getattr(cls, name) is not getattr(Transform, name)
        ]
        slots = [f"`{slot.name}`" for slot in cls().slots(kernel)]
        anchor = f"keras_adamxtransforms{cls.__name__.lower()}"
        rows.append(
            [
                f"[`{cls.__name__}`](reference.md#{anchor})",
                ", ".join(f"`{name}`" for name in changed),
                literal(" ".join(first_paragraph(cls))),
                ", ".join(slots) or "nothing",
                "yes" if cls.elementwise else "no",
            ]
        )
    heads = ["transform", "defines", "what it does", "keeps", "element by element"]
    return table(heads, rows)


def function_table() -> str:
    """The functions that trajectories are drawn on."""
    rows = []
    for function in FUNCTIONS.values():
        minimum = "none" if function.minimum is None else str(function.minimum)
        rows.append(
            [f"`{function.name}`", function.formula, str(function.start), minimum]
        )
    return table(["name", "function", "start", "minimum"], rows)


def bytes_table() -> str:
    """Bytes of state a parameter of a kernel, in each dtype."""
    rows = []
    for name, cls in optimizers().items():
        link = f"[`{cls.__name__}`](optimizers/{name}.md)"
        found = [state_bytes(cls, state_dtype) for state_dtype in STATE_DTYPES]
        rows.append([link, *(f"{number_of_bytes:.3f}" for number_of_bytes in found)])
    return table(["optimizer", *(f'`"{dtype}"`' for dtype in STATE_DTYPES)], rows)


def default_table() -> str:
    """Defaults that differ from the optimizer of Keras of the same name."""
    rows = []
    for cls in optimizers().values():
        theirs = getattr(keras.optimizers, cls.__name__, None)
        if theirs is None:
            continue
        defaults = inspect.signature(theirs).parameters
        for name in inspect.signature(cls).parameters:
            if name == "name" or name not in defaults:
                continue
            here = inspect.signature(cls).parameters[name].default
            there = defaults[name].default
            if here != there:
                called = f"`{cls.__name__}({name})`"
                rows.append([called, f"`{number(here)}`", f"`{number(there)}`"])
    return table(["argument", "keras_adamx", "keras.optimizers"], rows)


# Pictures that pages show: what `plots.trajectory` is called with.
TRAJECTORIES: dict[str, dict[str, Any]] = {
    "saddle": {
        "function": "saddle",
        "steps": 100,
        "learning_rate": {"sgd": 0.03, "adam": 0.02, "rmsprop": 0.02, "lion": 0.02},
    },
    "valley": {
        "function": "valley",
        "steps": 100,
        "learning_rate": {"sgd": 0.019, "adam": 0.2, "sdprop": 0.05, "lion": 0.05},
    },
}


def trajectory_pictures() -> dict[str, bytes]:
    """Pictures of trajectories as PNG, by the path that pages link."""
    import matplotlib

    matplotlib.use("Agg")
    found = {}
    for name, arguments in TRAJECTORIES.items():
        picture = keras_adamx.plots.trajectory(
            list(arguments["learning_rate"]), **arguments
        )
        file = io.BytesIO()
        picture.figure.savefig(file, dpi=100)
        found[f"pictures/trajectories-{name}.png"] = file.getvalue()
    return found


# Schedules.


def families() -> dict[str, list[Any]]:
    """The schedules, by the module that they are in."""
    found: dict[str, list[Any]] = {}
    for name in keras_adamx.schedules.__all__:
        cls = getattr(keras_adamx.schedules, name)
        if isinstance(cls, type) and cls is not Schedule:
            found.setdefault(cls.__module__.rpartition(".")[2], []).append(cls)
    return found


def pictured() -> dict[str, dict[str, Any]]:
    """What the picture of each schedule shows, over 1000 steps, by its label."""
    s = keras_adamx.schedules
    rise = {"decay_steps": 850, "warmup_steps": 150}
    cycle = s.OneCycle(1.0, 1000)
    return {
        "StepDecay": {"gamma=0.5": s.StepDecay(1.0, 250, gamma=0.5)},
        "MultiStepDecay": {"gamma=0.3": s.MultiStepDecay(1.0, [500, 750], gamma=0.3)},
        "LinearDecay": {"end_learning_rate=0.1": s.LinearDecay(1.0, 900, 0.1)},
        "Polynomial": {
            "power=0.5": s.Polynomial(1.0, 1000, power=0.5),
            "power=2": s.Polynomial(1.0, 1000, power=2.0),
            "power=2, cycle=True": s.Polynomial(1.0, 250, power=2.0, cycle=True),
        },
        "REX": {"REX": s.REX(1.0, 1000), "LinearDecay": s.LinearDecay(1.0, 1000)},
        "LinearWarmup": {
            "then=REX": s.LinearWarmup(s.REX(1.0, 850), 150),
            "then=StepDecay": s.LinearWarmup(s.StepDecay(1.0, 250, gamma=0.5), 150),
        },
        "CosineWithWarmup": {
            "alpha=0": s.CosineWithWarmup(1.0, **rise),
            "alpha=0.2": s.CosineWithWarmup(1.0, **rise, alpha=0.2),
        },
        "WarmupStableDecay": {
            shape: s.WarmupStableDecay(1.0, 450, 400, cooldown=shape, warmup_steps=150)
            for shape in ("1-sqrt", "linear", "cosine")
        },
        "InverseSqrt": {
            "timescale=None": s.InverseSqrt(1.0, warmup_steps=150),
            "timescale=500": s.InverseSqrt(1.0, timescale=500, warmup_steps=150),
        },
        "Noam": {f"warmup_steps={n}": s.Noam(512, warmup_steps=n) for n in (150, 400)},
        "OneCycle": {
            "two phases": cycle,
            "three_phase=True": s.OneCycle(1.0, 1000, three_phase=True),
        },
        "OneCycleMomentum": {"OneCycle(...).momentum": cycle.momentum},
        "Cyclic": {
            mode: s.Cyclic(0.1, 1.0, 125, mode=mode, gamma=0.998)
            for mode in ("triangular", "triangular2", "exp_range")
        },
        "CosineRestarts": {
            "t_mul=1": s.CosineRestarts(1.0, 250, t_mul=1.0),
            "t_mul=2, m_mul=0.7": s.CosineRestarts(1.0, 143, m_mul=0.7),
        },
        "PiecewiseInterpolated": {
            shape: s.PiecewiseInterpolated([0, 200, 1000], [0.1, 1.0, 0.01], shape)
            for shape in ("linear", "cosine", "exponential")
        },
        "Sequential": {
            "a number, REX, a number": s.Sequential(
                [0.5, s.REX(1.0, 600), 0.1], [200, 700]
            )
        },
        "Product": {
            "warm-up times restarts": s.Product(
                [s.LinearWarmup(1.0, 500), s.CosineRestarts(1.0, 250, t_mul=1.0)]
            )
        },
    }


def picture(labelled: dict[str, Any]) -> str:
    """Schedules as SVG that can be read on light and on dark pages."""
    import matplotlib
    from matplotlib.figure import Figure

    grey = "#808080"
    colours = dict.fromkeys(
        ["axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], grey
    )
    settings = {**colours, "text.color": grey, "svg.hashsalt": "schedules"}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(7.2, 2.6), layout="constrained")
        axes = figure.subplots()
        keras_adamx.schedules.plot(labelled, 1000, ax=axes)
        axes.legend(framealpha=0.0, loc="center left", bbox_to_anchor=(1.0, 0.5))
        output = io.StringIO()
        figure.savefig(output, format="svg", transparent=True, metadata={"Date": None})
    return output.getvalue()


def schedule_sections(family: str) -> str:
    """What the docstrings of a family of schedules say, with pictures."""
    parts = []
    for cls in families()[family]:
        name = cls.__name__
        parts += [
            f"### {name}",
            prose(parsed(cls.__doc__)[0]),
            f"![{name}](pictures/{name.lower()}.svg)",
            f"[Arguments, errors and an example]"
            f"(reference.md#keras_adamxschedules{name.lower()})",
        ]
    return "\n\n".join(parts)


def search_table() -> str:
    """The ranges in which the arguments of each optimizer are searched."""
    rows = []
    for name, cls in optimizers().items():
        ranges = keras_adamx.search_space(name).items()
        rate, *others = [f"`{argument}={each!r}`" for argument, each in ranges]
        rate = rate.removeprefix("`learning_rate=")
        cells = [f"[`{cls.__name__}`](optimizers/{name}.md)", f"`{rate}"]
        rows.append([*cells, "<br>".join(others)])
    return table(["optimizer", "learning rate", "others"], rows)


def finding_table(checks: list[Check]) -> str:
    """What each finding means, what to do, its cost and the test that plants it."""
    test = "test_a_planted_fault_is_found"
    rows = [
        [
            f"`{check.code}`<br>{check.severity}",
            literal(check.means),
            literal(check.advice[0].upper() + check.advice[1:] + "."),
            check.cost,
            f"`{test}[{check.code}]`",
        ]
        for check in checks
    ]
    return table(["finding", "what it means", "try first", "cost", "test"], rows)


def workload_table() -> str:
    """What each workload trains, for how long, and to which target."""
    rows = []
    for name in workloads.names():
        found = workloads.get(name)
        sign = "≥" if found.higher_is_better else "≤"
        rows.append(
            [
                f"`{name}`",
                found.description,
                f"{found.build().count_params():,}".replace(",", " "),
                f"{found.steps} × {found.batch_size}",
                f"{found.metric_name} {sign} {found.target:g}",
            ]
        )
    heads = ["workload", "data and model", "parameters", "steps × batch", "target"]
    return table(heads, rows)


def dataset_table() -> str:
    """What the data sets are, where they come from, and on what terms."""
    rows = [
        [
            f"[`{name}`]({found.homepage})",
            found.description,
            found.origin,
            found.licence,
            f"`{found.install}`",
        ]
        for name, found in sorted(DATASETS.items())
    ]
    return table(["data set", "what it is", "origin", "licence", "to install"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "bytes": bytes_table,
    "datasets": dataset_table,
    "state": state_table,
    "defaults": default_table,
    "functions": function_table,
    "search": search_table,
    "findings": functools.partial(finding_table, CHECKS),
    "symptoms": functools.partial(finding_table, SYMPTOMS),
    "transforms": transform_table,
    "workloads": workload_table,
    **{
        f"schedules_{family}": functools.partial(schedule_sections, family)
        for family in families()
    },
}


# What MkDocs calls.


def on_config(config: Any) -> Any:
    """Put the pages of the optimizers into the navigation."""
    logger = logging.getLogger("mkdocs")
    if config.strict and logger.level > logging.WARNING:
        # With --quiet, --strict would not see the warnings that it is to fail on.
        logger.setLevel(logging.WARNING)
    index = "optimizers/index.md"
    pages = [{c.__name__: f"optimizers/{n}.md"} for n, c in optimizers().items()]
    for entry in config.nav:
        if entry.get("Optimizers") == index:
            entry["Optimizers"] = [index, *pages]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages, or fail and say which docs are incomplete."""
    from mkdocs.exceptions import PluginError
    from mkdocs.structure.files import File

    found = problems()
    if found:
        raise PluginError("The docs are incomplete:\n  " + "\n  ".join(found))
    classes = optimizers()
    pages = {f"optimizers/{n}.md": optimizer_page(c) for n, c in classes.items()}
    pages["optimizers/index.md"] = optimizer_index(classes)
    pages["reference.md"] = reference_page()
    drawn = {f"pictures/{n.lower()}.svg": picture(p) for n, p in pictured().items()}
    for path, content in (pages | trajectory_pictures() | drawn).items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace `<!-- generated: NAME -->` by the table of that name."""
    return re.sub(
        r"<!-- generated: (\w+) -->", lambda match: TABLES[match[1]](), markdown
    )
