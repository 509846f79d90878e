"""What docstrings and declared arguments say, for the site and the command line."""

from __future__ import annotations

import inspect
import re
from typing import Any, NamedTuple

import keras

from keras_adamx import registry
from keras_adamx.core.optimizer import Optimizer

HEADINGS = ("Args", "Returns", "Raises", "Example", "Source")
LABELS = ("State", "When to use")
# Shape of the kernel whose state is counted.
KERNEL = (1000, 1000)
_HEADING = re.compile(rf"({'|'.join(HEADINGS)}):$")
_ITEM = re.compile(r"(\w+): ?(.*)")
_ARXIV = re.compile(r"arXiv:[\d.]*\d")


class Description(NamedTuple):
    """The text of a docstring in its parts.

    Attributes:
        first: The first paragraph.
        rule: The paragraphs after it that have no label, formulas among them.
        labelled: Those that begin with one of `LABELS`, without it.
    """

    first: str
    rule: str
    labelled: dict[str, str]


class ArgumentText(NamedTuple):
    """What there is to say about an argument.

    Attributes:
        name: Its name.
        default: Its default as Python writes it, or "required".
        allowed: What it may be.
        meaning: What the docstring says.
    """

    name: str
    default: str
    allowed: str
    meaning: str


def optimizers() -> dict[str, type]:
    """The package's classes, under the names that `list_optimizers` gives."""
    found = sorted(registry.classes().items())
    return {n: c for n, c in found if c.__module__.startswith("keras_adamx.")}


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


def description(cls: type) -> Description:
    """The text of the docstring of a class in its parts."""
    first, *paragraphs = parsed(cls.__doc__ or "")[0].split("\n\n")
    labelled = {}
    for label in LABELS:
        for paragraph in paragraphs:
            if paragraph.startswith(f"{label}: "):
                text = paragraph.removeprefix(f"{label}: ")
                labelled[label] = text[0].upper() + text[1:]
        paragraphs = [p for p in paragraphs if not p.startswith(f"{label}: ")]
    return Description(first, "\n\n".join(paragraphs), labelled)


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
    base = Optimizer.arguments if issubclass(cls, Optimizer) else {}
    return [
        name
        for name in inspect.signature(cls).parameters
        if name in cls.arguments and cls.arguments[name] is not base.get(name)
    ]


def argument_texts(cls: Any, names: list[str]) -> list[ArgumentText]:
    """Default, allowed values and meaning of some arguments of a class."""
    described, parameters = descriptions(cls), inspect.signature(cls).parameters

    def default(name: str) -> str:
        given = parameters.get(name)
        if given is not None and given.default is inspect.Parameter.empty:
            return "required"
        return number(cls.arguments[name].default)

    return [
        ArgumentText(
            name, default(name), cls.arguments[name].allowed, described.get(name, "")
        )
        for name in names
    ]


def number(value: Any) -> str:
    """A value as Python would write it, but 1e-8 rather than 1e-08."""
    return re.sub(r"e-0(\d)$", r"e-\1", repr(value))


def paper(cls: type) -> str:
    """Title and arXiv number of the first source; the whole of it without a title."""
    source = " ".join(parsed(cls.__doc__ or "")[1].get("Source", "").split())
    first = source.split(";")[0].rstrip(".")
    title, identifier = re.search(r'"(.+?)"', first), _ARXIV.search(first)
    if title is None:
        return first
    return title[1] + (f", {identifier[0]}" if identifier else "")


def family(cls: type) -> str:
    """The file of the rule, without its ending."""
    return cls.__module__.rpartition(".")[2]


def state_bytes(cls: type[Optimizer], state_dtype: str = "float32") -> float:
    """Bytes of state for each parameter of a kernel, with the class's defaults."""
    optimizer = cls(state_dtype=state_dtype)
    optimizer.build([keras.Variable(keras.ops.zeros(KERNEL), name="kernel")])
    return optimizer.memory_report().total.bytes_per_parameter
