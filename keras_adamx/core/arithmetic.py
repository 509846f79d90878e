"""The vocabulary of the rules: averages, their correction, norms, roots."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from keras import ops

if TYPE_CHECKING:
    from keras_adamx.core.slots import Hyper


def ema(average: Any, value: Any, decay: Any) -> Any:
    """Exponential moving average: decay * average + (1 - decay) * value."""
    return decay * average + (1.0 - decay) * value


def bias_correction(hyper: Hyper, decay: str) -> Any:
    """The weight that an average begun at zero has gathered: 1 - decay**step.

    Args:
        hyper: The hyper-parameters of the step.
        decay: Name of the decay. Where it is scheduled, the product of all its values
            so far takes the place of the power.

    With expm1: computed as a difference, the float32 result of the first steps would
    have lost three digits for a decay of 0.999.
    """
    if decay in hyper.log_products:
        return -ops.expm1(hyper.log_products[decay])
    value = getattr(hyper, decay)
    if value == 0.0:
        return ops.ones_like(hyper.step)
    return -ops.expm1(hyper.step * math.log(value))


def debias(average: Any, hyper: Hyper, decay: str) -> Any:
    """An average begun at zero, divided by the weight that it has gathered."""
    return average / bias_correction(hyper, decay)


def denominator(second_moment: Any, epsilon: Any, placement: str) -> Any:
    """sqrt(x) + epsilon ("outside" the root) or sqrt(x + epsilon) ("inside")."""
    if placement == "inside":
        return ops.sqrt(second_moment + epsilon)
    return ops.sqrt(second_moment) + epsilon


# Keras' own maximum, minimum (on PyTorch) and mean (on PyTorch and JAX) return or go
# through float32 for float64 input.


def maximum(x: Any, y: Any) -> Any:
    """The larger of two, element by element; x where x is not a number."""
    return ops.where(y > x, y, x)


def minimum(x: Any, y: Any) -> Any:
    """The smaller of two, element by element; x where x is not a number."""
    return ops.where(y < x, y, x)


def sign(x: Any) -> Any:
    """-1, 0 or 1; not a number where x is not, which Keras' own makes 0 on PyTorch."""
    return ops.where(x == x, ops.sign(x), x)


def mean(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Mean over one axis or over all elements; 0 where there are none."""
    lengths = x.shape if axis is None else (x.shape[axis],)
    return ops.sum(x, axis=axis, keepdims=keepdims) / max(math.prod(lengths), 1)


def rms(x: Any) -> Any:
    """Root mean square of all elements; 0 for a tensor without elements."""
    return ops.sqrt(mean(ops.square(x)))


def sum_of_squares(tensors: list[Any]) -> Any:
    """Sum of the squares of all elements of all tensors."""
    return sum(ops.sum(ops.square(x)) for x in tensors)
