"""Optimizers by name. The list is read off the classes, never kept by hand."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterator
from typing import Any

from keras_adamx.core.optimizer import Optimizer


def _subclasses(cls: type[Optimizer]) -> Iterator[type[Optimizer]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def classes() -> dict[str, type[Optimizer]]:
    """Every public optimizer class under its name in lower case."""
    return {
        cls.__name__.lower(): cls
        for cls in _subclasses(Optimizer)
        if not cls.__name__.startswith("_")
    }


def name_and_rate(given: str) -> tuple[str, float | None]:
    """The parts of "adam=0.1", or a name alone.

    Raises:
        ValueError: What stands behind the = is no number.
    """
    name, equals, rate = given.partition("=")
    if not equals:
        return name, None
    try:
        return name, float(rate)
    except ValueError:
        raise ValueError(
            f"the learning rate of {name!r} must be a number. Received: {given!r}"
        ) from None


def list_optimizers(
    pattern: str = "*", *, with_description: bool = False
) -> list[str] | list[tuple[str, str]]:
    """Names of the optimizers, sorted.

    Args:
        pattern: Shell pattern, in any case: "*adam*".
        with_description: Return pairs of a name and the first sentence of its docs.

    Returns:
        List of names, or of pairs.

    Example:
        >>> keras_adamx.list_optimizers("*adam*")
        ['adam', 'adamax', 'adamw', 'nadam', 'schedulefreeadamw']
    """
    found = classes()
    names = sorted(fnmatch.filter(found, pattern.lower()))
    if not with_description:
        return names
    return [(n, (found[n].__doc__ or "").strip().split("\n")[0]) for n in names]


def get(name: str, /, **arguments: Any) -> Optimizer:
    """Make an optimizer by name, in any case.

    Args:
        name: A name of `list_optimizers`.
        arguments: Arguments of the class.

    Raises:
        ValueError: There is no optimizer of that name.

    Example:
        >>> keras_adamx.get("adamw", learning_rate=3e-4).weight_decay
        0.01
    """
    return class_of(name)(**arguments)


def class_of(name: str) -> type[Optimizer]:
    """The class of a name, in any case, or an error."""
    found = classes()
    if not isinstance(name, str) or name.lower() not in found:
        close = difflib.get_close_matches(str(name).lower(), found)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"There is no optimizer {name!r}.{hint} Allowed: {', '.join(sorted(found))}"
        )
    return found[name.lower()]
