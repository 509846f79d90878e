"""How numbers are written, in one place, so that no two outputs of a report differ."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from keras_adamx.compare.summary import Spread

NOTHING = "–"
NEVER = "not reached"
MEBIBYTE = 1024.0**2


def number(value: float | None, digits: int = 3) -> str:
    """A number with some significant digits: 0.875, 12,300, 3.16e-5."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0.0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    power = math.floor(math.log10(abs(rounded)))
    if not -4 <= power < 7:
        text = f"{value:.{digits - 1}e}"
        return re.sub(r"e([+-])0*(\d+)$", _exponent, text)
    return f"{rounded:,.{max(digits - 1 - power, 0)}f}"


def _exponent(found: re.Match[str]) -> str:
    return f"e{found[1].strip('+')}{found[2]}"


def metric(value: float | None) -> str:
    """A value of the metric: four digits, since good ones are close to each other."""
    return number(value, 4)


def count(value: float | None) -> str:
    """A number that was counted: 12,345; a median of two may have a half."""
    if value is None or not math.isfinite(value):
        return number(value)
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def rate(value: float) -> str:
    """A tuned number: 0.001, 3.16e-4."""
    return re.sub(r"e([+-])0*(\d+)$", _exponent, f"{value:.4g}")


def mebibytes(value: float | None) -> str:
    """Bytes as MiB, without the unit."""
    return number(None if value is None else value / MEBIBYTE)


def spread(found: Spread | None, write: Callable[[float | None], str] = number) -> str:
    """The median and the range: 400 (380 to 420)."""
    if found is None:
        return NOTHING
    if found.count == 1 or found.low == found.high:
        return write(found.median)
    return f"{write(found.median)} ({write(found.low)} to {write(found.high)})"


def to_target(found: Spread | None, write: Callable[[float | None], str]) -> str:
    """Median and range of a time to the target, where some runs never were there."""
    if found is None:
        return NOTHING
    if math.isinf(found.low):
        return NEVER
    if math.isinf(found.median):
        return f"{NEVER} by most (first {write(found.low)})"
    if math.isinf(found.high):
        return f"{write(found.median)} ({write(found.low)} to {NEVER})"
    return spread(found, write)


def value(given: Any) -> str:
    """A value of an argument, as short as it can be read."""
    if isinstance(given, float):
        return rate(given)
    return given if isinstance(given, str) else json.dumps(given, default=str)


def settings(given: dict[str, Any]) -> str:
    """Arguments with their values: learning_rate=0.001, beta_1=0.9."""
    return ", ".join(f"{name}={value(each)}" for name, each in given.items())


def names(given: list[str]) -> str:
    """Names in a sentence: a, b and c."""
    return " and ".join(filter(None, [", ".join(given[:-1]), *given[-1:]]))


def plural(many: int, one: str, several: str = "") -> str:
    """A count with its noun: 1 run, 3 runs."""
    return f"{many:,} {one if many == 1 else several or one + 's'}"
