"""Pages that MkDocs makes from the docstrings, so that they cannot go stale.

One page an optimizer, a table of all of them, the reference of the other public names
(transforms and callbacks among them), and the tables of hand-written pages that a
comment such as `<!-- generated: state -->` stands for. A public name without docs, or
with incomplete docs, fails the build.
"""

from __future__ import annotations

import inspect
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
from keras_adamx.core.codecs import STATE_DTYPES
from keras_adamx.core.transforms import Transform
from keras_adamx.doctor.checks import CHECKS

HEADINGS = ("Args", "Returns", "Raises", "Example", "Source")
_HEADING = re.compile(rf"({'|'.join(HEADINGS)}):$")
_ITEM = re.compile(r"(\w+): ?(.*)")
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{5}|\d{4}\.\d{4})")
# What the base class takes, for every optimizer alike.
COMMON = keras_adamx.Optimizer.arguments
KERNEL = (1000, 1000)


# What there is to document.


def optimizers() -> dict[str, type]:
    """The package's classes, under the names that `list_optimizers` gives."""
    classes = {n: type(keras_adamx.get(n)) for n in keras_adamx.list_optimizers()}
    return {n: c for n, c in classes.items() if c.__module__.startswith("keras_adamx.")}


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


# Docstrings.


def parsed(doc: str) -> tuple[str, dict[str, str]]:
    """The text of a docstring and its sections, dedented."""
    text: list[str] = []
    sections: dict[str, list[str]] = {}
    lines = text
    for line in inspect.cleandoc(doc).splitlines():
        if heading := _HEADING.match(line):
            lines = sections[heading[1]] = []
        else:
            lines.append(line)
    return "\n".join(text).strip(), {
        name: inspect.cleandoc("\n".join(["", *content])).strip()
        for name, content in sections.items()
    }


def items(section: str) -> dict[str, str]:
    """The `name: text` items of a section, each text in one line."""
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        item = _ITEM.match(line)
        if item:
            name = item[1]
            found[name] = item[2]
        elif name:
            found[name] += " " + line.strip()
    return found


def descriptions(cls: type) -> dict[str, str]:
    """What the docstrings of a class and its bases say about its arguments."""
    found: dict[str, str] = {}
    for base in cls.__mro__:
        if not base.__module__.startswith("keras."):
            own = vars(base).get("__doc__") or ""
            found = {**items(parsed(own)[1].get("Args", "")), **found}
    return found


def own_arguments(cls: Any) -> list[str]:
    """Arguments that the class, not the base of all, declares, in their order."""
    base = COMMON if issubclass(cls, keras_adamx.Optimizer) else {}
    return [
        name
        for name in inspect.signature(cls).parameters
        if name in cls.arguments and cls.arguments[name] is not base.get(name)
    ]


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
    if value is keras_adamx.Optimizer:
        return ("Args",)
    named = ("Args",) if inspect.signature(value).parameters else ()
    if isinstance(value, type) and issubclass(
        value, (keras_adamx.Optimizer, Transform)
    ):
        return (*named, "Example", "Source")
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
    kinds = (("an optimizer", rules), ("a transform", defined_transforms()))
    found += [
        f"{cls.__module__}.{cls.__name__} is {kind} but not in `__all__`"
        for kind, classes in kinds
        for cls in classes
        if cls not in exported.values()
    ]
    return found


# Markdown.


def number(value: Any) -> str:
    """A value as Python would write it, but 1e-8 rather than 1e-08."""
    return re.sub(r"e-0(\d)$", r"e-\1", repr(value))


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
    described, parameters = descriptions(cls), inspect.signature(cls).parameters

    def default(name: str) -> str:
        given = parameters.get(name)
        if given is not None and given.default is inspect.Parameter.empty:
            return "required"
        return f"`{number(cls.arguments[name].default)}`"

    rows = [
        [f"`{n}`", default(n), cls.arguments[n].allowed, literal(described.get(n, ""))]
        for n in names
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
    first, *paragraphs = parsed(cls.__doc__)[0].split("\n\n")
    named = {}
    for label in ("State", "When to use"):
        for paragraph in paragraphs:
            if paragraph.startswith(f"{label}: "):
                named[label] = paragraph.removeprefix(f"{label}: ")
        paragraphs = [p for p in paragraphs if not p.startswith(f"{label}: ")]
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
        f"## Rule\n\n{prose(_joined(paragraphs))}",
        f"## Arguments\n\n{argument_table(cls, names)}\n\n{inherited}",
    ]
    if "State" in named:
        parts.append(f"## State\n\n{_sentence(named['State'])}")
    if "When to use" in named:
        parts.append(f"## When to use it\n\n{_sentence(named['When to use'])}")
    return "\n\n".join([*parts, *sections_of(cls, "##")]) + "\n"


def _joined(paragraphs: list[str]) -> str:
    return "\n\n".join(paragraphs)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


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


def bytes_table() -> str:
    """Bytes of state a parameter of a kernel, in each dtype."""
    rows = []
    for name, cls in optimizers().items():
        cells = [f"[`{cls.__name__}`](optimizers/{name}.md)"]
        for state_dtype in STATE_DTYPES:
            optimizer = cls(state_dtype=state_dtype)
            optimizer.build([keras.Variable(keras.ops.zeros(KERNEL), name="kernel")])
            total = optimizer.memory_report().total
            cells.append(f"{total.bytes_per_parameter:.3f}")
        rows.append(cells)
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


def finding_table() -> str:
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
        for check in CHECKS
    ]
    return table(["finding", "what it means", "try first", "cost", "test"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "bytes": bytes_table,
    "state": state_table,
    "defaults": default_table,
    "findings": finding_table,
    "transforms": transform_table,
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
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace `<!-- generated: NAME -->` by the table of that name."""
    return re.sub(
        r"<!-- generated: (\w+) -->", lambda match: TABLES[match[1]](), markdown
    )
