"""A handful of real steps, with a twin of the optimizer, taken back afterwards."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_adamx.core import backend
from keras_adamx.core.keeping import array_of
from keras_adamx.doctor.gradients import FAILURES
from keras_adamx.doctor.keeping import kept, optimizer_of
from keras_adamx.doctor.registry import CannotJudgeError

if TYPE_CHECKING:
    from keras_adamx.doctor.examination import Examination

LOW_PRECISION = ("bfloat16", "float16")


@dataclasses.dataclass
class Trial:
    """What came of the steps.

    Attributes:
        rate: The learning rate.
        losses: The loss before the first step, then after each one; the first and the
            last are of the same batch.
        updates: For each trainable variable the root mean square of a step, in units
            of that of the weights; None for weights that are zero.
        without_gradient: For each, whether no gradient but zero was seen.
        unmoved: For each of 16 bits, the share of the weights with a gradient that are
            as before; None for others.
    """

    rate: float
    losses: list[float]
    updates: list[float | None]
    without_gradient: list[bool]
    unmoved: list[float | None]


def twin_of(optimizer: Any, factor: float) -> Any:
    """A new optimizer that goes on as this one would, at a multiple of its rate."""
    config = optimizer.get_config()
    if "jit_compile" in config and keras.backend.backend() == "tensorflow":
        config["jit_compile"] = False  # Not worth compiling for a few steps.
    twin = type(optimizer).from_config(config)
    if factor != 1.0:
        inner = getattr(twin, "inner_optimizer", twin)
        inner.learning_rate = float(array_of(inner.learning_rate)) * factor
    return twin


def rate_of(optimizer: Any) -> float:
    """The learning rate now."""
    return float(array_of(optimizer.learning_rate))


def is_scheduled(optimizer: Any) -> bool:
    """Whether the learning rate changes by itself."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    rate = inner.get_config()["learning_rate"]
    return not isinstance(rate, (int, float, np.floating))


def run(examination: Examination, factor: float) -> Trial:
    """Train for some steps and put everything back."""
    model = examination.model
    optimizer = optimizer_of(model)
    if optimizer is None:
        raise CannotJudgeError("the model is compiled without an optimizer")
    with kept(model, examination.given_loss) as before:
        try:
            twin = twin_of(optimizer, factor)
            twin.build(model.trainable_variables)
            _continue(twin, optimizer)
            return _steps(examination, twin, before)
        except FAILURES as error:
            raise CannotJudgeError(
                f"a step with a copy of the optimizer failed: {type(error).__name__}: "
                f"{str(error)[:200]}"
            ) from error


def _continue(twin: Any, optimizer: Any) -> None:
    """Let a twin begin with the state of an optimizer that has one."""
    if not getattr(optimizer, "is_built", optimizer.built):
        return
    rates = [
        each.learning_rate
        for each in (twin, getattr(twin, "inner_optimizer", twin))
        if isinstance(each.learning_rate, keras.Variable)
    ]
    kept_rates = {id(rate) for rate in rates}
    if len(twin.variables) != len(optimizer.variables):
        raise ValueError("its state does not fit into a new optimizer of its config")
    for mine, theirs in zip(twin.variables, optimizer.variables):
        if id(mine) not in kept_rates:
            mine.assign(array_of(theirs))


def _steps(examination: Examination, twin: Any, before: dict[int, Any]) -> Trial:
    model, size = examination.model, examination.batch_size
    variables = model.trainable_variables
    step = backend.applied(twin, variables, not model.run_eagerly)
    differentiate = examination.first.function
    assert differentiate is not None
    number = examination.thresholds.trial_steps
    found: list[float] = []
    first: list[Any] = []
    without = [True] * len(variables)
    for i in range(number + 1):
        # The last loss is of the first batch: what changed is not the rows.
        done = differentiate(examination.sample.part(i % number * size, size))
        loss, gradients = done.loss, done.gradients
        found.append(loss)
        gradients = [None if g is None else backend.to_dense(g) for g in gradients]
        arrays = [None if g is None else array_of(g) for g in gradients]
        without = [w and (a is None or not a.any()) for w, a in zip(without, arrays)]
        first = first or arrays
        if i == number or not np.isfinite(loss):
            break
        pairs = [(g, v) for g, v in zip(gradients, variables) if g is not None]
        if len(pairs) < len(variables):  # Unused ones, on PyTorch and TensorFlow.
            gradients = [
                keras.ops.zeros_like(v.value) if g is None else g
                for g, v in zip(gradients, variables)
            ]
        step(gradients)
    steps = max(len(found) - 1, 1)
    starts = [before[id(variable)] for variable in variables]
    ends = [array_of(variable) for variable in variables]
    return Trial(
        rate=rate_of(twin),
        losses=found,
        updates=[_ratio(a, b, steps) for a, b in zip(starts, ends)],
        without_gradient=without,
        unmoved=[_unmoved(*each) for each in zip(starts, ends, first)],
    )


def _ratio(start: np.ndarray, end: np.ndarray, steps: int) -> float | None:
    start, end = start.astype(np.float64), end.astype(np.float64)
    size = np.sqrt(np.mean(np.square(start)))
    if not size:
        return None
    return float(np.sqrt(np.mean(np.square(end - start))) / size / steps)


def _unmoved(start: np.ndarray, end: np.ndarray, gradient: Any) -> float | None:
    if start.dtype.name not in LOW_PRECISION or gradient is None:
        return None
    driven = np.asarray(gradient, np.float32) != 0.0
    if not driven.any() or not start.any():
        return None
    return float(np.mean((start == end)[driven]))
