"""Loss and gradients of a batch, with the model's own loss, on all backends.

A pass through the model is tried with the layers watched, then without, then without
the loss: what fails leaves as much to look at as there is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_adamx.core import backend
from keras_adamx.core.models import call_for_training
from keras_adamx.doctor.keeping import optimizer_of
from keras_adamx.doctor.trace import Call, Trace, calls_of

Batch = tuple[Any, Any, Any]
# What Keras and the backends raise over data or models that do not fit.
FAILURES: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    FAILURES += (tf.errors.OpError,)


class Step(NamedTuple):
    """What a batch gives.

    Attributes:
        loss: The loss.
        gradients: Of the scaled loss, a tensor for each trainable variable, or None.
        outputs: What the model returned, flat.
        records: What a `Trace` recorded.
    """

    loss: float
    gradients: list[Any]
    outputs: list[Any]
    records: list[dict[str, Any]]


Differentiate = Callable[[Batch], Step]


@dataclasses.dataclass
class Pass:
    """What came of a pass.

    Attributes:
        loss: The loss, or None if there is none.
        predictions: The outputs of the model, flat, or None if it failed.
        calls: The calls of layers, or None if they could not be watched.
        gradients: For each trainable variable the gradient; None where it has none.
        function: What gave them, to be used again.
        failed: What was wrong with the model or the loss, in words.
        unwatched: Why there are no calls.
    """

    loss: float | None = None
    predictions: list[np.ndarray] | None = None
    calls: list[Call] | None = None
    gradients: list[np.ndarray | None] | None = None
    function: Differentiate | None = None
    failed: str = ""
    unwatched: str = ""


def is_compiled(model: keras.Model) -> bool:
    """Whether `fit` compiles the model as a whole, on backends where that matters."""
    return not model.run_eagerly and model.jit_compile is not False


def gradient_function(
    model: keras.Model, trace: Trace | None = None, with_loss: bool = True
) -> Differentiate:
    """A function that gives the loss of a batch, its gradients and what led to them.

    The gradients are those of `model.compute_loss`, scaled as `fit` would hand them to
    the optimizer. The batch is `(x, y, sample_weight)`, as arrays.
    """
    marks: list[int | None] = []

    def forward(x: Any, y: Any, sample_weight: Any) -> Any:
        if trace is None:
            outputs = call_for_training(model, x)
        else:
            with trace.entered():
                outputs = call_for_training(model, x)
                marks[:] = trace.mark_outputs(keras.tree.flatten(outputs))
        loss = ops.zeros(())
        if with_loss:
            loss = model.compute_loss(
                x=x, y=y, y_pred=outputs, sample_weight=sample_weight
            )
        records = [] if trace is None else trace.tensors
        return _scaled(model, loss), (loss, keras.tree.flatten(outputs), records)

    variables = model.trainable_variables if with_loss else []
    run = backend.differentiated(forward, variables, is_compiled(model))

    def function(batch: Batch) -> Step:
        _, (loss, outputs, records), gradients = run(*map(_tensors, batch))
        if trace is not None:
            trace.outputs = list(marks)
        return Step(float(_array(loss)), gradients, outputs, records)

    return function


def look(model: keras.Model, batch: Batch, with_loss: bool) -> Pass:
    """The first of several passes, each with less in it, that does not fail."""
    found = Pass()
    attempts = [(True, with_loss), (False, with_loss)]
    if with_loss:
        attempts += [(True, False), (False, False)]
    for watched, lossy in attempts:
        trace = Trace(model) if watched else None
        function = gradient_function(model, trace, lossy)
        try:
            step = function(batch)
        except FAILURES as error:
            said = f"{type(error).__name__}: {_first_line(error)}"
            if trace is not None:
                found.unwatched = said
                found.calls = found.calls or _calls_until_failure(trace)
            if lossy or not with_loss:
                found.failed = said
            continue
        found.predictions = [_array(output) for output in step.outputs]
        found.calls = None
        if trace is not None:
            values = keras.tree.map_structure(_array, step.records)
            found.calls = calls_of(trace.layers, values, trace.outputs)
            found.unwatched = ""
        if lossy:
            factor = float(_array(_scaled(model, ops.ones(()))))
            found.loss, found.function, found.failed = step.loss, function, ""
            found.gradients = [_dense(each, factor) for each in step.gradients]
        return found
    return found


def _calls_until_failure(trace: Trace) -> list[Call] | None:
    """A layer that is given what it cannot take is the last of them."""
    if keras.backend.backend() == "jax":
        return None  # There they are tracers.
    values = keras.tree.map_structure(_array, trace.tensors)
    return calls_of(trace.layers, values, [None] * len(values))


def _scaled(model: keras.Model, loss: Any) -> Any:
    """The loss as the optimizer wants it."""
    optimizer = optimizer_of(model)
    return loss if optimizer is None else optimizer.scale_loss(loss)


def _dense(gradient: Any, factor: float) -> np.ndarray | None:
    if gradient is None:
        return None
    return _array(backend.to_dense(gradient)).astype(np.float32) / factor


def _array(value: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(value))


def _tensors(part: Any) -> Any:
    if part is None:
        return None
    return keras.tree.map_structure(ops.convert_to_tensor, part)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300]
