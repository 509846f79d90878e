"""The settings that an optimizer tries."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.search import Log, Range, of_rate
from keras_adamx.tuning.space import SearchSpace, search_space

# Between two learning rates of a grid, unless the range is narrow for so many.
FACTOR = math.sqrt(10.0)


class Searched(NamedTuple):
    """What is tuned, in words by name, and the settings to try."""

    words: dict[str, str]
    settings: tuple[dict[str, Any], ...]


def searched(
    label: str, optimizer: Any, search: Any, trials: int | None, *, rate_is_own: bool
) -> Searched:
    """The settings that an optimizer tries, from what `compare` was given.

    Args:
        label: What the optimizer is called.
        optimizer: The optimizer with what is not searched.
        search: Number of learning rates; a list of them; ranges by name, a
            `SearchSpace` among them; or `"space"` for the usual ranges.
        trials: Number of settings that are taken from ranges.
        rate_is_own: Whether the learning rate is left alone.
    """
    ranges = _ranges(label, optimizer, search)
    if ranges is None:
        rates = _rates(label, optimizer, search, rate_is_own)
        number = search if isinstance(search, int) else len(rates)
        if trials is not None and trials != number:
            raise ValueError(
                "compare: argument `trials` is for ranges: `search` already says how "
                f"many learning rates are tried, {number} for {label!r}. Received: "
                f"trials={trials!r}"
            )
        if rate_is_own:
            return Searched({}, ({},))
        tried = ", ".join(f"{rate:.10g}" for rate in rates)
        settings = tuple({"learning_rate": rate} for rate in rates)
        return Searched({"learning_rate": tried}, settings)
    if rate_is_own:
        ranges.pop("learning_rate", None)
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 2:
        raise ValueError(
            "compare: argument `trials` must be an integer >= 2 where `search` gives "
            f"ranges. Received: trials={trials!r}"
        )
    if not ranges:
        return Searched({}, ({},))
    words = {name: repr(each) for name, each in ranges.items()}
    return Searched(words, tuple(spread(ranges, trials)))


def grid(optimizer: Any, n: int) -> list[float]:
    """`n` learning rates around that of an optimizer.

    They are a factor of √10 apart, less where the range of the class is too narrow, and
    stay within it. Of an even number, one more lies above the middle than below, unless
    the range ends sooner there.
    """
    default = float(f"{float(_rate(optimizer)):.7g}")
    bounds = _rate_range(optimizer, default)
    low, high = (math.log(end) for end in (bounds.low, bounds.high))
    middle = math.log(default)

    def gap(below: int) -> float:
        room = [(middle - low) / below] if below else []
        room += [(high - middle) / (n - 1 - below)] if below < n - 1 else []
        return min(math.log(FACTOR), *room)

    # The number of those below the middle that lets them lie furthest apart.
    below = max(range(n), key=lambda k: (round(gap(k), 9), -abs(k - (n - 1) // 2)))
    return [
        float(f"{math.exp(middle + gap(below) * (i - below)):.4g}") for i in range(n)
    ]


def spread(ranges: Mapping[str, Range], n: int) -> list[dict[str, Any]]:
    """`n` settings that fill the ranges evenly: Halton's points, scrambled.

    The points are the same for all optimizers with as many ranges.

    Source:
        Halton 1960, "On the efficiency of certain quasi-random sequences of points in
        evaluating multi-dimensional integrals". Braaten, Weller 1979, permute the
        digits, since the first points of large bases lie on lines otherwise.
    """
    random = np.random.default_rng(0)
    shifts = random.random(len(ranges)).tolist()
    digits = [random.permutation(base).tolist() for base in _primes(len(ranges))]
    found = []
    for i in range(1, n + 1):
        setting = {}
        for (name, each), order, shift in zip(ranges.items(), digits, shifts):
            point = (_radical_inverse(i, order) + shift) % 1.0
            setting[name] = each.suggest(_Point(point), name)
        found.append(setting)
    return found


class _Point:
    """A number in [0, 1) as the source that a `Range` takes its value from."""

    def __init__(self, position: float) -> None:
        self._position = position

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self._position

    def integers(self, n: int) -> int:
        return min(int(n * self._position), n - 1)


def _radical_inverse(i: int, order: list[int]) -> float:
    """The digits of a number behind the point, permuted, the last one first."""
    found, share = 0.0, 1.0
    while i:
        share /= len(order)
        i, digit = divmod(i, len(order))
        found += share * order[digit]
    return found


def _primes(n: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < n:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def _rate(optimizer: Any) -> Any:
    return optimizer.get_config().get("learning_rate")


def _rate_range(optimizer: Any, default: float) -> Any:
    """The range of the class; around the rate, where that one is elsewhere."""
    cls = type(optimizer)
    declared = cls.arguments["learning_rate"] if issubclass(cls, Optimizer) else None
    bounds: Any = of_rate(default) if declared is None else declared.search
    if not isinstance(bounds, Log) or not bounds.low <= default <= bounds.high:
        bounds = of_rate(default)
    if bounds is None:
        raise ValueError(
            f"compare: no grid can be put around learning_rate={default!r} of "
            f"{cls.__name__}. Give `search` a list of learning rates."
        )
    return bounds


def _rates(label: str, optimizer: Any, search: Any, rate_is_own: bool) -> list[float]:
    """The learning rates of a number or a list."""
    if isinstance(search, int) and not isinstance(search, bool) and search >= 2:
        return [] if rate_is_own else grid(optimizer, search)
    given = list(search) if isinstance(search, Iterable) else []
    if isinstance(search, str) or not given or not all(map(_is_rate, given)):
        raise TypeError(
            "compare: argument `search` must be an integer >= 2, a list of learning "
            "rates > 0, ranges by the names of arguments, 'space', a dictionary of "
            f"labels and these, or None. Received for {label!r}: {search!r}"
        )
    return sorted({float(rate) for rate in given})


def _is_rate(value: Any) -> bool:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number and 0.0 < float(value) < math.inf


def _ranges(label: str, optimizer: Any, search: Any) -> dict[str, Range] | None:
    """Ranges by name, or None where `search` gives learning rates."""
    cls = type(optimizer)
    ours = issubclass(cls, Optimizer)
    if isinstance(search, str) and search == "space":
        if ours:
            return dict(search_space(cls.__name__.lower()))
        return {"learning_rate": _rate_range(optimizer, float(_rate(optimizer)))}
    if not isinstance(search, Mapping):
        return None
    for name, each in search.items():
        if not isinstance(each, Range):
            raise TypeError(
                f"compare: argument `search` has {each!r} for {name!r} of {label!r}. "
                "Allowed: Log(low, high), Linear, OneMinusLog or Choice of "
                "keras_adamx.tuning."
            )
        if not ours and name not in inspect.signature(cls).parameters:
            raise ValueError(
                f"compare: {cls.__name__} of Keras has no argument {name!r} to search. "
                f"Allowed: {', '.join(inspect.signature(cls).parameters)}"
            )
    if ours:
        return dict(SearchSpace(cls.__name__.lower(), **search))
    return dict(search)
