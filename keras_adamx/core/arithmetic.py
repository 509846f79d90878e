"""The vocabulary of the rules: averages, their correction, norms, roots."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from keras import ops

from keras_adamx.core import backend

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


Axes = int | tuple[int, ...] | None
total = backend.total


def _sum(x: Any, axis: Axes, keepdims: bool) -> Any:
    if axis is None and not keepdims:
        return total(x)
    return ops.sum(x, axis=axis, keepdims=keepdims)


def mean(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Mean over some axes or over all elements; 0 where there are none."""
    axes = range(len(x.shape)) if axis is None else axis
    lengths = [x.shape[i] for i in ((axes,) if isinstance(axes, int) else axes)]
    return _sum(x, axis, keepdims) / max(math.prod(lengths), 1)


def rms(x: Any) -> Any:
    """Root mean square of all elements; 0 for a tensor without elements."""
    return ops.sqrt(mean(ops.square(x)))


def sum_of_squares(tensors: list[Any]) -> Any:
    """Sum of the squares of all elements of all tensors."""
    return sum(total(ops.square(x)) for x in tensors)


def norm(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Root of the sum of the squares over some axes or over all elements."""
    return ops.sqrt(_sum(ops.square(x), axis, keepdims))


def trust_ratio(weights: Any, update: Any, lower: Any = 0.0, upper: Any = None) -> Any:
    """Norm of the weights, bounded, over that of an update; 1 if one of them is 0."""
    size, length = norm(weights), norm(update)
    bounded = maximum(size, lower)
    if upper is not None:
        bounded = minimum(bounded, upper)
    usable = ops.logical_and(size > 0.0, length > 0.0)
    return ops.where(usable, bounded / ops.where(usable, length, 1.0), 1.0)
