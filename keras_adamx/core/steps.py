"""Where training stands: exact at any step, though values are float32.

Float32 holds whole numbers up to 2^24 only. Steps are therefore compared, subtracted
and divided as integers, and become fractions last.
"""

from __future__ import annotations

import math
import numbers
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

# JAX has no int64 unless it is told to.
WHOLE = "int32" if keras.backend.backend() == "jax" else "int64"
# What int32 holds; also the longest that an argument may ask for.
LAST = 2**31 - 1


def value_dtype() -> str:
    """The dtype of what schedules return."""
    return "float64" if keras.config.floatx() == "float64" else "float32"


class Phase(NamedTuple):
    """How much of a phase has passed and how much is left, in [0, 1].

    Both are exact at the ends, and both keep their relative precision near zero, where
    one minus the other would lose it. The methods bend the phase: what they return has
    the same ends.
    """

    passed: Any
    left: Any

    def between(self, first: Any, last: Any) -> Any:
        """From one value to another, exact at both ends."""
        return first * self.left + last * self.passed

    def cosine(self) -> Phase:
        """Half a period of the cosine: slow at both ends."""
        passed, left = (
            ops.square(ops.sin(0.5 * math.pi * fraction)) for fraction in self
        )
        return Phase(passed, left)

    def root(self) -> Phase:
        """The square root of what has passed: fast at first."""
        root = ops.sqrt(self.passed)
        return Phase(root, self.left / (1.0 + root))

    def power(self, power: float) -> Phase:
        """A power of what is left."""
        if power == 1.0:
            return self
        left = ops.power(self.left, power)
        return Phase(1.0 - left, left)


class Step:
    """A step, or an array of them, from 0 on, as a whole number and what is over it.

    Args:
        whole: Integer tensor >= 0.
        over: What a step that is no whole number adds, in [0, 1); None for nothing.
    """

    def __init__(self, whole: Any, over: Any = None) -> None:
        self.whole = whole
        self.over = over

    @classmethod
    def of(cls, step: Any) -> Step:
        """A step from what Keras passes: a number, a tensor or a variable."""
        if isinstance(step, numbers.Real):
            step = max(step, 0)
            whole = math.floor(step)
            over = float(step - whole)
            return cls(
                ops.convert_to_tensor(whole, dtype=WHOLE),
                ops.convert_to_tensor(over, dtype=value_dtype()) if over else None,
            )
        step = ops.convert_to_tensor(step)
        dtype = keras.backend.standardize_dtype(step.dtype)
        if not keras.backend.is_float_dtype(dtype):
            whole = step if dtype == "int64" else ops.cast(step, WHOLE)
            return cls(ops.maximum(whole, 0))
        step = ops.maximum(step, 0)
        floor = ops.floor(step)
        return cls(ops.cast(floor, WHOLE), ops.cast(step - floor, value_dtype()))

    @property
    def tensor(self) -> Any:
        """The step as schedules of Keras take it."""
        return self.whole if self.over is None else self.since(0)

    def filled(self, value: float) -> Any:
        """A number as a tensor of the shape of the steps."""
        return ops.full_like(self.whole, value, dtype=value_dtype())

    def since(self, start: Any) -> Any:
        """Steps since a start, below 0 before it; its sign is exact.

        An array of starts makes a last axis of the result.
        """
        start = np.asarray(start, "float64")
        base = np.clip(np.floor(start), 0, LAST)
        rest = start - base
        whole = ops.expand_dims(self.whole, -1) if start.ndim else self.whole
        passed = whole - ops.convert_to_tensor(base.astype(WHOLE), dtype=whole.dtype)
        passed = ops.cast(passed, value_dtype())
        if self.over is not None:
            over = ops.expand_dims(self.over, -1) if start.ndim else self.over
            return passed + (over - ops.convert_to_tensor(rest, dtype=value_dtype()))
        if rest.any():
            passed = passed - ops.convert_to_tensor(rest, dtype=value_dtype())
        return passed

    def later(self, start: int) -> Step:
        """The step as counted from a start; 0 before it."""
        whole = ops.maximum(self.whole - min(start, LAST), 0)
        if self.over is None:
            return Step(whole)
        return Step(whole, ops.where(self.whole >= start, self.over, 0.0))

    def divided(self, period: int) -> tuple[Any, Step]:
        """The number of whole periods that passed, and the step in this one."""
        return self.whole // period, Step(self.whole % period, self.over)

    def count(self, boundaries: Any) -> Any:
        """How many of some boundaries are reached."""
        reached = ops.cast(self.since(np.asarray(boundaries)) >= 0.0, "int32")
        return ops.sum(reached, axis=-1)

    def phase(self, start: Any, length: Any, index: Any = None) -> Phase:
        """How far the step is in a phase; one of no steps is over at its start.

        Of arrays of starts and lengths, the phase at an index.
        """
        start, length = np.asarray(start, "float64"), np.asarray(length, "float64")
        since, until = self.since(start), -self.since(start + length)
        divisor = ops.convert_to_tensor(
            np.where(length > 0.0, length, 1.0), dtype=value_dtype()
        )
        if index is not None:
            since, until, divisor = (pick(v, index) for v in (since, until, divisor))
        # A compiler may multiply by 1 / length, so the ends are not left to it.
        passed = ops.where(since > 0.0, since / divisor, 0.0)
        left = ops.where(since > 0.0, until / divisor, 1.0)
        return Phase(
            ops.where(until > 0.0, passed, 1.0), ops.where(until > 0.0, left, 0.0)
        )


def pick(values: Any, index: Any) -> Any:
    """Of the last axis of some values, the one at an index; the others count for 0."""
    values = ops.convert_to_tensor(values, dtype=value_dtype())
    chosen = ops.arange(values.shape[-1], dtype="int32") == ops.expand_dims(index, -1)
    return ops.sum(ops.where(chosen, values, 0.0), axis=-1)


def powered(base: float, exponent: Any) -> Any:
    """A power of a number that float32 may not hold, whatever the exponent."""
    exponent = ops.cast(exponent, value_dtype())
    near = float(np.asarray(base, value_dtype()))
    result = ops.power(near, exponent)
    if base == near or not 0.0 < near < math.inf:
        return result
    return result * ops.exp(math.log1p((base - near) / near) * exponent)
