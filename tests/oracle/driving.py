"""Running the classes of the package step by step, and comparing their weights."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

import keras_adamx

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Relative and absolute tolerance. In float64 only rounding is left, the learning rates
#: being powers of two, which Keras' float32 holds. In float32 a dozen steps of weights
#: and directions of up to 4 were seen to lose up to 6e-7 on any backend.
TOLERANCE = {"float64": (1e-11, 1e-12), "float32": (3e-6, 3e-6)}


def has_float64() -> bool:
    """Tell whether the backend keeps float64; JAX does so only when asked to."""
    if keras.backend.backend() != "jax":
        return True
    return importlib.import_module("jax").config.jax_enable_x64


def best_precision() -> str:
    """Name the widest dtype that the backend keeps."""
    return "float64" if has_float64() else "float32"


def new_variable(
    value: np.ndarray, dtype: str, name: str | None = None
) -> keras.Variable:
    """Make a variable of exactly this dtype."""
    return keras.Variable(np.asarray(value, dtype=dtype), dtype=dtype, name=name)


def number(value: Any) -> Any:
    """Make a schedule of the name of its class and its arguments."""
    if not isinstance(value, dict):
        return value
    home = keras_adamx.schedules
    if not hasattr(home, value["class"]):
        home = keras.optimizers.schedules
    return getattr(home, value["class"])(**value["arguments"])


def build(optimizer: str, arguments: dict[str, Any]) -> keras.optimizers.Optimizer:
    """Make an optimizer; a schedule is the name of its class and its arguments.

    It runs uncompiled if not told otherwise, since compiling a program takes longer
    than its dozen steps; but the branch of accumulation is slow on JAX if uncompiled.
    """
    arguments = {name: number(value) for name, value in arguments.items()}
    branches = "gradient_accumulation_steps" in arguments
    compiled = branches and keras.backend.backend() == "jax"
    arguments.setdefault("jit_compile", compiled)
    return getattr(keras_adamx, optimizer)(**arguments)


def values(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Copy the values, which the next step may otherwise overwrite."""
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


def apply_all(
    optimizer: keras.optimizers.Optimizer,
    variables: Sequence[keras.Variable],
    gradients: Sequence[Sequence[np.ndarray]],
    dtype: str,
) -> list[list[np.ndarray]]:
    """Apply the gradients of each step; return the weights after each."""
    path = []
    for step in gradients:
        tensors = [keras.ops.convert_to_tensor(g, dtype=dtype) for g in step]
        optimizer.apply(tensors, variables)
        path.append(values(variables))
    return path


def run(
    optimizer: keras.optimizers.Optimizer,
    weights: Sequence[np.ndarray],
    gradients: Sequence[Sequence[np.ndarray]],
    dtype: str,
) -> list[list[np.ndarray]]:
    """Weights of new variables after each step."""
    variables = [new_variable(w, dtype) for w in weights]
    return apply_all(optimizer, variables, gradients, dtype)


def assert_same_path(
    actual: Sequence[Sequence[np.ndarray]],
    expected: Sequence[Sequence[np.ndarray]],
    dtype: str,
) -> None:
    """Compare the weights of every tensor after every step."""
    relative, absolute = TOLERANCE[dtype]
    for step, tensors in enumerate(zip(actual, expected, strict=True), start=1):
        for index, (tensor, reference) in enumerate(zip(*tensors, strict=True)):
            assert tensor.dtype == dtype
            np.testing.assert_allclose(
                tensor,
                reference,
                rtol=relative,
                atol=absolute,
                err_msg=f"tensor {index} after step {step}",
            )
