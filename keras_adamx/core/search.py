"""Ranges in which hyperparameters are searched, and what is derived where none is said.

    epsilon: float = hyperparameter(1e-8, at_least=0.0, search=Log(1e-10, 1e-3))

A declaration may carry its range; most of them need not.
"""

from __future__ import annotations

import abc
import math
import numbers
from typing import Any

import numpy as np


class Range(abc.ABC):
    """Values that an argument may be given in a search.

    `suggest` knows three kinds of sources, by what they can do: a trial of Optuna, the
    `hp` of KerasTuner and a `Generator` of NumPy.
    """

    @property
    @abc.abstractmethod
    def ends(self) -> tuple[Any, ...]:
        """The values to check: both ends, or all choices."""

    def called(self, name: str) -> str:
        """What a search calls the number that it chooses for an argument."""
        return name

    @abc.abstractmethod
    def suggest(self, source: Any, name: str) -> Any:
        """A value from a source of random numbers or of a search."""

    @abc.abstractmethod
    def grid(self, n: int) -> list[Any]:
        """`n` values, evenly spaced on the scale of the range."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))


class _Interval(Range):
    """Numbers between two ends."""

    def __init__(self, low: float, high: float) -> None:
        owner = type(self).__name__
        for name, value in (("low", low), ("high", high)):
            number = isinstance(value, numbers.Real) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise ValueError(
                    f"{owner}: argument `{name}` must be a finite number. Received: "
                    f"{name}={value!r}"
                )
        self.low, self.high = float(low), float(high)
        if not low < high:
            raise ValueError(
                f"{owner}: argument `high` must be larger than `low`. Received: "
                f"low={low!r}, high={high!r}"
            )

    @property
    def ends(self) -> tuple[Any, ...]:
        return self.low, self.high

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.low:.6g}, {self.high:.6g})"

    def _drawn(
        self, source: Any, name: str, low: float, high: float, *, log: bool
    ) -> float:
        """A number on the scale on which the range is even."""
        if hasattr(source, "suggest_float"):
            return float(source.suggest_float(name, low, high, log=log))
        if hasattr(source, "Float"):
            sampling = "log" if log else "linear"
            return float(source.Float(name, low, high, sampling=sampling))
        if not log:
            return float(source.uniform(low, high))
        drawn = math.exp(source.uniform(math.log(low), math.log(high)))
        return min(max(drawn, low), high)  # The logarithm rounds.


class Linear(_Interval):
    """Numbers from `low` to `high`, all alike.

    Args:
        low: Least number.
        high: Largest number, above `low`.

    Raises:
        ValueError: An end is not finite, or they are not in order.

    Example:
        >>> keras_adamx.tuning.Linear(0.0, 1.0).grid(3)
        [0.0, 0.5, 1.0]
    """

    def suggest(self, source: Any, name: str) -> float:
        """A number from a source."""
        return self._drawn(source, name, self.low, self.high, log=False)

    def grid(self, n: int) -> list[Any]:
        """`n` numbers, evenly spaced."""
        return np.linspace(self.low, self.high, n).tolist()


class Log(_Interval):
    """Positive numbers from `low` to `high`, every order of magnitude alike.

    Args:
        low: Least number > 0.
        high: Largest number, above `low`.

    Raises:
        ValueError: An end is not finite or not positive, or they are not in order.

    Example:
        >>> [round(x, 9) for x in keras_adamx.tuning.Log(1e-4, 1e-2).grid(3)]
        [0.0001, 0.001, 0.01]
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__(low, high)
        if not low > 0.0:
            raise ValueError(
                f"Log: argument `low` must be > 0. Received: low={low!r}. Use Linear "
                "for a range that contains 0."
            )

    def suggest(self, source: Any, name: str) -> float:
        """A number from a source."""
        return self._drawn(source, name, self.low, self.high, log=True)

    def grid(self, n: int) -> list[Any]:
        """`n` numbers, each the same factor above the one before."""
        found = np.geomspace(self.low, self.high, n)
        return np.clip(found, self.low, self.high).tolist()


class OneMinusLog(_Interval):
    """Decays near 1: what they lack to 1 is searched as `Log`.

    0.9, 0.99 and 0.999 are as far from each other, as they are in effect: an average
    with decay β spans about 1 / (1 - β) steps. Searches know the number under the name
    "one_minus_" and that of the argument.

    Args:
        low: Least decay.
        high: Largest decay, above `low` and below 1.

    Raises:
        ValueError: An end is not finite or not below 1, or they are not in order.

    Example:
        >>> decays = keras_adamx.tuning.OneMinusLog(0.9, 0.999)
        >>> [round(x, 6) for x in decays.grid(3)]
        [0.9, 0.99, 0.999]
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__(low, high)
        if not high < 1.0:
            raise ValueError(
                f"OneMinusLog: argument `high` must be < 1. Received: high={high!r}"
            )

    def called(self, name: str) -> str:
        """What a search calls the number that it chooses for an argument."""
        return f"one_minus_{name}"

    def suggest(self, source: Any, name: str) -> float:
        """A number from a source."""
        least, most = 1.0 - self.high, 1.0 - self.low
        missing = self._drawn(source, name, least, most, log=True)
        return self._within(1.0 - missing)

    def grid(self, n: int) -> list[Any]:
        """`n` numbers, from the least to the largest."""
        missing = np.geomspace(1.0 - self.low, 1.0 - self.high, n)
        return [self._within(1.0 - each) for each in missing.tolist()]

    def _within(self, value: float) -> float:
        return min(max(value, self.low), self.high)


class Choice(Range):
    """One of a few values.

    Args:
        values: The values, at least one.

    Raises:
        ValueError: There is none.

    Example:
        >>> keras_adamx.tuning.Choice([True, False]).grid(10)
        [True, False]
    """

    def __init__(self, values: Any) -> None:
        self.values = () if isinstance(values, str) else tuple(values)
        if not self.values:
            raise ValueError(
                "Choice: argument `values` must be a list of one value or more. "
                f"Received: values={values!r}"
            )

    @property
    def ends(self) -> tuple[Any, ...]:
        """All values."""
        return self.values

    def suggest(self, source: Any, name: str) -> Any:
        """A value from a source."""
        if not hasattr(source, "suggest_categorical") and not hasattr(source, "Choice"):
            return self.values[int(source.integers(len(self.values)))]
        # KerasTuner takes values of one type only, which None is not.
        kinds = {type(value) for value in self.values}
        plain = len(kinds) == 1 and kinds <= {bool, int, float, str}
        named = {v if plain else repr(v): v for v in self.values}
        if hasattr(source, "suggest_categorical"):
            return named[source.suggest_categorical(name, list(named))]
        return named[source.Choice(name, list(named))]

    def grid(self, n: int) -> list[Any]:
        """All values, however many are asked for."""
        return list(self.values)

    def __repr__(self) -> str:
        return f"Choice({list(self.values)!r})"


def of_rate(default: float) -> Range | None:
    """Learning rates: two orders of magnitude to both sides."""
    return Log(default / 100.0, default * 100.0) if default > 0.0 else None


def of_decay(default: float) -> Range | None:
    """Decays of averages: from averages ten times as short to ten times as long."""
    missing = 1.0 - default
    if not default > 0.0:
        return None  # The rule has no such average unless it is asked for.
    return OneMinusLog(_short(1.0 - min(missing * 10.0, 0.5)), _short(1 - missing / 10))


def of_number(
    default: float | None, low: float | None, high: float | None
) -> Range | None:
    """Other numbers, if they are positive: an order of magnitude to both sides.

    What is small beside 1 keeps a division away from zero and is searched from a
    hundredth of it up to 1e-3.
    """
    if default is None or not default > 0.0:
        return None
    bounds = [default / 10.0, default * 10.0]
    if default <= 1e-5:
        bounds = [default / 100.0, 1e-3]
    least, most = (_short(bound) for bound in bounds)
    # What the declaration rules out, or may rule out: its ends can be open.
    if low is not None and least <= low:
        least = (low + default) / 2.0
    if high is not None and most >= high:
        most = (default + high) / 2.0
    return Log(least, most) if least < most else None


def _short(value: float) -> float:
    """Without the digits that arithmetic has added."""
    return float(f"{value:.10g}")
