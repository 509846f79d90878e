"""Numbers of 16 bits: what underflows, and what rounding takes away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_adamx.core.bridge import path_of
from keras_adamx.core.models import layers_of
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.doctor.examination import Examination
from keras_adamx.doctor.keeping import optimizer_of
from keras_adamx.doctor.registry import CannotJudgeError, Seen, Unable, check


def _optimizer(examination: Examination) -> Any:
    """The optimizer within that which scales the loss."""
    outer = optimizer_of(examination.model)
    if outer is None:
        raise CannotJudgeError("the model is compiled without an optimizer")
    return getattr(outer, "inner_optimizer", outer)


@check(
    "float16-without-loss-scale",
    severity="error",
    means="Layers compute in float16 and nothing scales the loss.",
    why="gradients below 6e-8 are zero in float16, and many are that small",
    advice="leave `auto_scale_loss=True` in `compile`, put a "
    "`keras.optimizers.LossScaleOptimizer` around the optimizer, or use "
    "`mixed_bfloat16`",
    cost="none",
)
def float16_without_loss_scale(examination: Examination) -> Iterator[Seen | Unable]:
    """Gradients that underflow."""
    layers = [
        layer.name
        for layer in layers_of(examination.model)
        if layer.compute_dtype == "float16" and layer.trainable_variables
    ]
    if not layers:
        return
    inner, outer = _optimizer(examination), optimizer_of(examination.model)
    scaled = isinstance(outer, keras.optimizers.LossScaleOptimizer)
    if not scaled and not inner.loss_scale_factor:
        saw = (
            f"{len(layers)} layers compute in float16, '{layers[0]}' is the first; the "
        )
        saw += f"optimizer is {type(outer).__name__} without `loss_scale_factor`"
        yield Seen("the optimizer", saw, {"layers": len(layers)})


@check(
    "epsilon-lost",
    severity="error",
    means="`epsilon` is zero in the precision that the optimizer computes in.",
    why="where the second moment is zero, the step divides by zero",
    advice="`epsilon=1e-4` for float16 weights, weights in float32 "
    "(`mixed_float16`), or an optimizer of keras_adamx, which computes in float32",
    cost="none",
)
def epsilon_lost(examination: Examination) -> Iterator[Seen | Unable]:
    """A floor that rounds to zero."""
    variables = examination.model.trainable_variables
    half = [v for v in variables if v.dtype == "float16"]
    if not half:
        return
    optimizer = _optimizer(examination)
    epsilon = getattr(optimizer, "epsilon", None)
    if isinstance(optimizer, Optimizer) or not isinstance(epsilon, float):
        return
    if epsilon and np.float16(epsilon) == 0.0:
        saw = f"epsilon={epsilon:g} is 0 in float16, the type of {len(half)} variables"
        yield Seen("the optimizer", saw, {"epsilon": epsilon})


@check(
    "updates-lost-by-rounding",
    severity="error",
    means="Weights of 16 bits stay as they are, in spite of their gradients.",
    why="a step smaller than half the distance to the next number is rounded away, "
    "every time; and an optimizer that computes in bfloat16 takes beta_2 = 0.999 for 1",
    advice="weights in float32 (`mixed_bfloat16`), or an optimizer of keras_adamx, "
    "which computes in float32 and rounds stochastically",
    cost="the steps of the trial, shared",
    explained_by=("dead-units", "loss-not-finite", "softmax-over-one-unit"),
)
def updates_lost(examination: Examination) -> Iterator[Seen | Unable]:
    """Weights that a trial leaves as they are."""
    variables = examination.model.trainable_variables
    if not any(v.dtype in ("bfloat16", "float16") for v in variables):
        return
    if isinstance(_optimizer(examination), Optimizer):
        return  # It rounds stochastically: what is lost in one step comes in another.
    trial = examination.trial()
    found = [
        (share, path_of(variable))
        for share, variable in zip(trial.unmoved, variables)
        if share is not None and share > examination.thresholds.lost_updates
    ]
    if found:
        share, name = max(found)
        steps = examination.thresholds.trial_steps
        saw = (
            f"after {steps} steps {share:.0%} of the weights of {name} are as before; "
        )
        saw += f"{len(found)} of {len(variables)} variables are like it"
        numbers = {"share": share, "variables": len(found)}
        yield Seen("the weights", saw, numbers)
