"""The vocabulary of the rules: averages, their correction, norms, roots."""

from __future__ import annotations

import math
from typing import Any

from keras import ops


def ema(average: Any, value: Any, decay: Any) -> Any:
    """Exponential moving average: decay * average + (1 - decay) * value."""
    return decay * average + (1.0 - decay) * value


def bias_correction(decay: float, step: Any) -> Any:
    """1 - decay**step, the weight that an average begun at zero has gathered.

    With expm1: computed as a difference, the float32 result of the first steps would
    have lost three digits for a decay of 0.999.
    """
    if decay == 0.0:
        return ops.ones_like(step)
    return -ops.expm1(step * math.log(decay))


def debias(average: Any, decay: float, step: Any) -> Any:
    """An average begun at zero, divided by the weight that it has gathered."""
    return average / bias_correction(decay, step)


def denominator(second_moment: Any, epsilon: Any, placement: str) -> Any:
    """sqrt(x) + epsilon ("outside" the root) or sqrt(x + epsilon) ("inside")."""
    if placement == "inside":
        return ops.sqrt(second_moment + epsilon)
    return ops.sqrt(second_moment) + epsilon


def rms(x: Any) -> Any:
    """Root mean square of all elements; 0 for a tensor without elements."""
    if 0 in x.shape:
        return ops.sum(x)
    return ops.sqrt(ops.mean(ops.square(x)))


def sum_of_squares(tensors: list[Any]) -> Any:
    """Sum of the squares of all elements of all tensors."""
    return sum(ops.sum(ops.square(x)) for x in tensors)
