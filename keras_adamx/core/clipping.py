"""Clipping of gradients by value, by their norm, or by the norm of all of them."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_adamx.core import arithmetic
from keras_adamx.core.slots import Hyper


def norm_of(gradients: list[Any], dtype: str) -> Any:
    """The norm of all gradients together."""
    tensors = [ops.cast(gradient, dtype) for gradient in gradients]
    return ops.sqrt(arithmetic.sum_of_squares(tensors))


def clipped(gradient: Any, hyper: Hyper, global_norm: Any) -> Any:
    """The gradient of one variable, clipped as the arguments say."""
    if hyper.clipvalue is not None:
        bound = _cast(hyper.clipvalue, gradient)
        return ops.clip(gradient, -bound, bound)
    if hyper.clipnorm is not None:
        norm = ops.sqrt(arithmetic.sum_of_squares([gradient]))
        bound = _cast(hyper.clipnorm, gradient)
    elif global_norm is not None:
        norm = _cast(global_norm, gradient)
        bound = _cast(hyper.global_clipnorm, gradient)
    else:
        return gradient
    return gradient * (bound / arithmetic.maximum(norm, bound))


def _cast(x: Any, gradient: Any) -> Any:
    return ops.cast(x, gradient.dtype) if ops.is_tensor(x) else x
