"""Writing float32 results into low-precision weights without losing small updates.

bfloat16 keeps eight bits of a number: an update below 1/256 of a weight rounds to
nothing, every time. Stochastic rounding goes up or down with the probability that makes
the mean right, so that a thousand small updates add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from keras_adamx.core import backend

LOW_PRECISION = ("bfloat16", "float16")
# How many of the 23 bits behind the point of a float32 the narrower format drops.
_DROPPED_BITS = {"bfloat16": 16, "float16": 13}
_SMALLEST_NORMAL_FLOAT16 = 2.0**-14
_SMALLEST_FLOAT16 = 2.0**-24
_LARGEST_FLOAT16 = 65504.0
# Halfway to the first power of two that float16 lacks: from here on it is infinite.
_OVERFLOW_FLOAT16 = 65520.0


def compute_dtype(dtype: str) -> str:
    """The dtype in which variables of a given dtype are updated."""
    return "float64" if dtype == "float64" else "float32"


def _shift_right(x: Any, places: int) -> Any:
    """Logical shift: Keras' shift of an int32 would drag the sign along."""
    return ops.bitwise_and(
        ops.right_shift(x, ops.convert_to_tensor(places, "int32")),
        ops.convert_to_tensor((1 << (32 - places)) - 1, "int32"),
    )


def _scramble(x: Any) -> Any:
    """A bijection of 32-bit integers in which every bit depends on every other one."""
    x = ops.bitwise_xor(x, _shift_right(x, 16))
    x = x * ops.convert_to_tensor(0x7FEB352D, "int32")
    x = ops.bitwise_xor(x, _shift_right(x, 15))
    x = x * ops.convert_to_tensor(0x846CA68B - (1 << 32), "int32")
    return ops.bitwise_xor(x, _shift_right(x, 16))


def positions(shape: tuple[int, ...]) -> Any:
    """The number of each element of a tensor."""
    return ops.reshape(ops.arange(math.prod(shape), dtype="int32"), shape)


def random_bits(position: Any, seed: Any, step: Any, stream: int) -> Any:
    """Random int32 numbers: a pure function of position, seed, step and stream.

    Counter-based, so that it compiles into the update, needs no state beside the seed
    and the step counter, and gives the same bits on every backend.

    Args:
        position: Numbers of the elements, int32.
        seed: Seed of the run.
        step: Number of the update.
        stream: What tells apart the tensors of one update.
    """
    step = ops.cast(step, "int32")
    key = _scramble(ops.bitwise_xor(_scramble(seed + stream), step))
    return _scramble(_scramble(ops.bitwise_xor(position, key)) + key)


def normal(first: Any, second: Any) -> Any:
    """Normally distributed numbers from two tensors of random bits (Box, Muller)."""
    mask = ops.convert_to_tensor((1 << 23) - 1, "int32")
    unit = [
        (ops.cast(ops.bitwise_and(bits, mask), "float32") + 0.5) / float(1 << 23)
        for bits in (first, second)
    ]
    return ops.sqrt(-2.0 * ops.log(unit[0])) * ops.cos(2.0 * math.pi * unit[1])


def to_nearest(shape: tuple[int, ...]) -> Callable[[], Any]:
    """Bits with which `stochastic_round` rounds to the nearest bfloat16."""
    return lambda: ops.full(shape, 1 << 15, "int32")


def stochastic_round(x: Any, dtype: str, bits: Any) -> Any:
    """Round float32 `x` to one of its two neighbours in `dtype`, right in the mean.

    Infinities, NaN, zeros and values that `dtype` holds exactly stay what they are.
    """
    dropped = _DROPPED_BITS[dtype]
    mask = ops.convert_to_tensor((1 << dropped) - 1, "int32")
    noise = ops.bitwise_and(bits, mask)
    # Adding to the bits of a float moves its magnitude: the carry of the dropped bits
    # reaches the kept ones just as often as the dropped part is large.
    raised = backend.as_bits(x) + noise
    rounded = backend.from_bits(ops.bitwise_and(raised, ops.bitwise_invert(mask)))
    if dtype == "float16":
        # Below its smallest normal number float16 has a fixed spacing.
        unit = ops.cast(noise, "float32") / float(1 << dropped)
        spaced = ops.floor(x / _SMALLEST_FLOAT16 + unit) * _SMALLEST_FLOAT16
        magnitude = ops.abs(x)
        rounded = ops.where(magnitude < _SMALLEST_NORMAL_FLOAT16, spaced, rounded)
        clipped = ops.clip(rounded, -_LARGEST_FLOAT16, _LARGEST_FLOAT16)
        rounded = ops.where(magnitude < _OVERFLOW_FLOAT16, clipped, x)
    return ops.cast(ops.where(ops.isfinite(x), rounded, x), dtype)
