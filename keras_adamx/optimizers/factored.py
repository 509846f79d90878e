"""Second moments kept as one number a row and one a column."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_adamx.core.arguments import flag, hyperparameter, rate
from keras_adamx.core.arithmetic import ema, maximum, mean, minimum, rms
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.search import Linear
from keras_adamx.core.slots import Hyper, Slot, State, Weights


class Adafactor(Optimizer):
    """Adam's scaling with the memory of a row and a column.

    With gradient g at step t = 1, 2, …, learning rate η and β₂ₜ = 1 - t^`beta_2_decay`,
    for weights w of two or more axes (the last two are factored: in, out):

        R ← β₂ₜ R + (1 - β₂ₜ) mean over columns of (g² + ε₁)
        C ← β₂ₜ C + (1 - β₂ₜ) mean over rows of (g² + ε₁)
        V = R C / mean(R)
        U = g / √V;  U ← U / max(1, RMS(U) / d)
        α = ρₜ max(ε₂, RMS(w)),  ρₜ = min(η, 1/√t)
        w ← w - α U                          beta_1: m ← β₁ m + (1 - β₁) α U, w ← w - m

    Weights of one axis or none keep V in full. A kernel of 1000 × 1000
    needs 2000 numbers of state.

    When to use: where memory for the state is short.

    State: `rows` (R, the shape without the last axis) and `columns` (C, without the
    last but one), or `velocity` (V) where there is nothing to factor; `momentum` (m),
    of the shape of the weights, if `beta_1` is set.

    Args:
        learning_rate: η, the size of a step relative to the weights if
            `scale_parameter`, else absolute.
        beta_2_decay: Exponent < 0 of the decay of the second moment.
        epsilon_1: ε₁ >= 0, added to g².
        epsilon_2: ε₂ >= 0, the least size that weights are taken to have.
        clip_threshold: d > 0, the largest root mean square of U.
        relative_step: False for ρₜ = η, to follow a learning rate or schedule of your
            own.
        scale_parameter: False for α = ρₜ.
        beta_1: β₁ in [0, 1), or None for no momentum.

    Example:
        >>> optimizer = keras_adamx.Adafactor(1e-2, relative_step=False)

    Source:
        Shazeer, Stern 2018, "Adafactor: adaptive learning rates with sublinear memory
        cost", arXiv:1804.04235.
    """

    direction_includes_learning_rate = True

    learning_rate: Any = rate(0.001)
    beta_2_decay: float = hyperparameter(-0.8, below=0.0, search=Linear(-1.0, -0.5))
    epsilon_1: float = hyperparameter(1e-30, at_least=0.0, search=None)
    epsilon_2: float = hyperparameter(1e-3, at_least=0.0)
    clip_threshold: float = hyperparameter(1.0, above=0.0, searched=False)
    relative_step: bool = flag(True)
    scale_parameter: bool = flag(True)
    beta_1: float | None = hyperparameter(None, at_least=0.0, below=1.0, optional=True)

    def slots(self, weights: Weights) -> Iterable[Slot]:
        if len(weights.shape) >= 2:
            *outer, row, column = range(len(weights.shape))
            yield Slot("rows", axes=(*outer, row), nonnegative=True)
            yield Slot("columns", axes=(*outer, column), nonnegative=True)
        else:
            yield Slot("velocity", nonnegative=True)
        if self.beta_1 is not None:
            yield Slot("momentum")

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        beta_2 = 1.0 - hyper.step**hyper.beta_2_decay
        square = ops.square(gradient) + hyper.epsilon_1
        if len(gradient.shape) >= 2:
            state.rows = ema(state.rows, mean(square, axis=-1), beta_2)
            state.columns = ema(state.columns, mean(square, axis=-2), beta_2)
            relative = state.rows / mean(state.rows, axis=-1, keepdims=True)
            scale = ops.expand_dims(ops.rsqrt(relative), -1)
            update = gradient * scale * ops.expand_dims(ops.rsqrt(state.columns), -2)
        else:
            state.velocity = ema(state.velocity, square, beta_2)
            update = gradient * ops.rsqrt(state.velocity)
        update = update / maximum(rms(update) / hyper.clip_threshold, 1.0)

        size = hyper.learning_rate
        if self.relative_step:
            size = minimum(size, ops.rsqrt(hyper.step))
        if self.scale_parameter:
            size = size * maximum(rms(weights), hyper.epsilon_2)
        if self.beta_1 is None:
            return size * update
        state.momentum = ema(state.momentum, size * update, hyper.beta_1)
        return state.momentum
