"""Declared arguments: written once, checked, stored, saved and documented from there.

A class lists what its constructor takes as class attributes:

    beta_1: float = hyperparameter(0.9, at_least=0.0, below=1.0)
    amsgrad: bool = flag(False)

and the signature, the checks, `get_config` and the defaults follow.
"""

from __future__ import annotations

import difflib
import inspect
import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_adamx.core import backend
from keras_adamx.core import search as ranges

# A range, none, or one that follows from the rest of the declaration.
Search = ranges.Range | None | Literal["derived"]
LearningRate = float | LearningRateSchedule | Callable[..., Any]
# The default of an argument that has none.
REQUIRED: Any = inspect.Parameter.empty


class Argument:
    """One argument of a class: its default, its check and the words for the error."""

    name = ""

    def __init__(
        self,
        default: Any,
        check: Callable[[Any], Any],
        allowed: str,
        *,
        is_decay: bool = False,
        search: ranges.Range | None = None,
        searched: bool = False,
    ) -> None:
        self.default = default
        self.allowed = allowed
        # Whether it is the decay of an average, whose bias can be corrected.
        self.is_decay = is_decay
        # The range to search it in, and whether a search does so unasked.
        self.search = search
        self.searched = searched and search is not None
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        try:
            return instance.__dict__[self.name]
        except KeyError:
            raise AttributeError(self.name) from None

    def __set__(self, instance: Any, value: Any) -> None:
        if getattr(instance, "is_built", False) and self.name not in instance.mutable:
            raise AttributeError(
                f"{type(instance).__name__}.{self.name} cannot be changed once the "
                "optimizer is built: its value is part of the compiled update. Create "
                f"a new optimizer. Received: {self.name}={value!r}"
            )
        instance.__dict__[self.name] = self.checked(value, type(instance).__name__)

    def checked(self, value: Any, owner: str) -> Any:
        """Return the value to store, or raise an error that says what is allowed."""
        try:
            return self._check(value)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"{owner}: argument `{self.name}` must be {self.allowed}. "
                f"Received: {self.name}={value!r}"
            ) from None


def _number(value: Any) -> float:
    """A Python float from any real scalar: an int, a numpy scalar or 0-d array."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError
    value = float(value)
    if math.isnan(value):
        raise ValueError
    return value


def _integer(value: Any) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError
    return int(value)


def _interval(
    above: float | None,
    at_least: float | None,
    below: float | None,
    at_most: float | None,
) -> str:
    bounds = ((">", above), (">=", at_least), ("<", below), ("<=", at_most))
    words = [f"{sign} {bound:g}" for sign, bound in bounds if bound is not None]
    return " and ".join(words)


def _bounded(
    convert: Callable[[Any], Any],
    kind: str,
    *,
    optional: bool,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> tuple[Callable[[Any], Any], str]:
    def check(value: Any) -> Any:
        if value is None and optional:
            return None
        value = convert(value)
        if (
            (above is not None and not value > above)
            or (at_least is not None and not value >= at_least)
            or (below is not None and not value < below)
            or (at_most is not None and not value <= at_most)
            or math.isinf(value)
        ):
            raise ValueError
        return value

    interval = _interval(above, at_least, below, at_most)
    allowed = f"{kind} {interval}".strip() + (" or None" if optional else "")
    return check, allowed


def hyperparameter(
    default: float | None = REQUIRED,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    optional: bool = False,
    scheduled: bool = True,
    is_decay: bool = False,
    search: Search = "derived",
    searched: bool = True,
) -> Any:
    """A real number of the rule, available to it as `hyper.<name>`.

    Unless `scheduled` is False, a `LearningRateSchedule` may stand for the number:
    `hyper.<name>` is then its value at this step. Without a default it must be given.
    `search` is the range that `search_space` takes: "derived" for one around a positive
    default, None for none. With `searched=False` it is one for those only who name the
    argument.
    """
    if search == "derived":
        low = at_least if above is None else above
        high = at_most if below is None else below
        known = None if default is REQUIRED else default
        search = ranges.of_number(known, low, high)
    check_number, allowed = _bounded(
        _number,
        "a finite number",
        optional=optional,
        above=above,
        at_least=at_least,
        below=below,
        at_most=at_most,
    )
    found: dict[str, Any] = {"search": search, "searched": searched}
    if not scheduled:
        return Argument(default, check_number, allowed, **found)

    def check(value: Any) -> Any:
        value = as_schedule(value)
        if not isinstance(value, LearningRateSchedule):
            return check_number(value)
        with backend.outside_graph():
            check_number(ops.convert_to_numpy(value(0)))
        return value

    allowed += ", or a LearningRateSchedule that starts there"
    return Argument(default, check, allowed, is_decay=is_decay, **found)


def decay(
    default: float,
    *,
    above: float | None = None,
    search: Search = "derived",
) -> Any:
    """The decay of a moving average, in [0, 1), searched by what it lacks to 1."""
    at_least = 0.0 if above is None else None
    if search == "derived":
        search = ranges.of_decay(default)
    return hyperparameter(
        default,
        above=above,
        at_least=at_least,
        below=1.0,
        is_decay=True,
        search=search,
    )


def as_schedule(value: Any) -> Any:
    """A schedule from its configuration, as a file of Keras holds it."""
    if isinstance(value, dict) and "class_name" in value:
        return keras.optimizers.schedules.deserialize(value)
    return value


def count(default: int | None, *, at_least: int = 1, optional: bool = False) -> Any:
    """A whole number."""
    check, allowed = _bounded(
        _integer, "an integer", optional=optional, at_least=at_least
    )
    return Argument(default, check, allowed)


def flag(default: bool) -> Any:
    """A yes or no that is fixed when the optimizer is built."""

    def check(value: Any) -> bool:
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError
        return bool(value)

    return Argument(
        default, check, "True or False", search=ranges.Choice([False, True])
    )


def choice(default: Any, options: Iterable[Any]) -> Any:
    """One of a few values."""
    options = tuple(options)

    def check(value: Any) -> Any:
        # Compared by type as well: True equals 1 and would slip through.
        for option in options:
            if type(value) is type(option) and value == option:
                return value
        raise ValueError

    allowed = "one of " + ", ".join(map(repr, options))
    return Argument(default, check, allowed, search=ranges.Choice(options))


def text(default: str | None, *, optional: bool = False) -> Any:
    """A string."""

    def check(value: Any) -> str | None:
        if isinstance(value, str) or (value is None and optional):
            return value
        raise TypeError

    return Argument(default, check, "a string" + (" or None" if optional else ""))


def rate(default: float, *, search: ranges.Range | None = None) -> Any:
    """The learning rate: a number >= 0, a `LearningRateSchedule` or a callable.

    `search` is the range that `search_space` takes; without it, from a hundredth of the
    default to its hundredfold.
    """

    def check(value: Any) -> Any:
        value = as_schedule(value)
        if isinstance(value, type):
            raise TypeError
        if isinstance(value, LearningRateSchedule) or callable(value):
            return value
        value = _number(value)
        if value < 0.0 or math.isinf(value):
            raise ValueError
        return value

    return Argument(
        default,
        check,
        "a finite number >= 0, a LearningRateSchedule, or a callable that takes "
        "nothing or the number of updates made so far",
        search=search or ranges.of_rate(default),
        searched=True,
    )


class Declared:
    """Base of classes whose constructor arguments are `Argument` attributes."""

    arguments: ClassVar[dict[str, Argument]] = {}
    # Arguments that may be set after `build`, since nothing compiled depends on them.
    mutable: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {k: v for k, v in vars(cls).items() if isinstance(v, Argument)}
        merged = {**cls.arguments, **own}
        # The learning rate, what the class itself declares, then what it inherits.
        names = dict.fromkeys(["learning_rate", *own, *cls.arguments])
        cls.arguments = {name: merged[name] for name in names if name in merged}
        if "__init__" not in vars(cls):
            cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
                [
                    inspect.Parameter(
                        name,
                        inspect.Parameter.POSITIONAL_OR_KEYWORD
                        if name == "learning_rate"
                        else inspect.Parameter.KEYWORD_ONLY,
                        default=argument.default,
                    )
                    for name, argument in cls.arguments.items()
                ]
            )

    @classmethod
    def bind(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Complete the given arguments by the defaults and check every one."""
        for name, value in given.items():
            if name not in cls.arguments:
                close = difflib.get_close_matches(name, cls.arguments, n=1)
                hint = f" Did you mean `{close[0]}`?" if close else ""
                raise TypeError(
                    f"{cls.__name__}: unknown argument `{name}`. Received: "
                    f"{name}={value!r}.{hint} Allowed: {', '.join(cls.arguments)}"
                )
        for name, argument in cls.arguments.items():
            if argument.default is REQUIRED and name not in given:
                raise TypeError(
                    f"{cls.__name__}: argument `{name}` is missing. It must be "
                    f"{argument.allowed}."
                )
        return {
            name: argument.checked(given.get(name, argument.default), cls.__name__)
            for name, argument in cls.arguments.items()
        }

    def refuse(self, name: str, *, when: Any, reason: str) -> None:
        """Raise the error for an argument that the others rule out."""
        if when:
            raise ValueError(
                f"{type(self).__name__}: argument `{name}` {reason}. Received: "
                f"{name}={getattr(self, name)!r}"
            )
