"""Averages in place of a learning-rate schedule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_adamx.core.arguments import count, decay, hyperparameter, rate
from keras_adamx.core.arithmetic import debias, ema, maximum, minimum
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.search import OneMinusLog
from keras_adamx.core.slots import Hyper, Slot, State, Weights


class _ScheduleFree(Optimizer):
    """The three points that both rules share; `preconditioned` tells them apart."""

    elementwise = True
    moves_itself = True
    decays_itself = True
    suited_schedule = "warmup-constant"
    shared_slots = (
        Slot("largest_rate", shape=()),
        Slot("weight_sum", shape=()),
        Slot("share", shape=()),
    )

    warmup_steps: int = count(0, at_least=0)
    r: float = hyperparameter(0.0, at_least=0.0)
    weight_lr_power: float = hyperparameter(2.0, at_least=0.0, searched=False)

    def _rate(self, hyper: Hyper) -> Any:
        if not self.warmup_steps:
            return hyper.learning_rate
        return hyper.learning_rate * minimum(hyper.step / self.warmup_steps, 1.0)

    def begin_step(self, shared: State, hyper: Hyper) -> None:
        shared.largest_rate = maximum(shared.largest_rate, self._rate(hyper))
        weight = hyper.step**hyper.r * shared.largest_rate**hyper.weight_lr_power
        shared.weight_sum = shared.weight_sum + weight
        none = shared.weight_sum == 0.0
        shared.share = ops.where(
            none, 0.0, weight / ops.where(none, 1.0, shared.weight_sum)
        )

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("z", begins_as_weights=True)

    def preconditioned(self, gradient: Any, state: State, hyper: Hyper) -> Any:
        raise NotImplementedError

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        update = self.preconditioned(gradient, state, hyper)
        update = update + hyper.weight_decay * weights
        update = hyper.learning_rate_multiplier * self._rate(hyper) * update
        share, z = hyper.shared.share, state.z
        state.z = z - update
        return share * (weights - z) + (1.0 - hyper.beta_1 * (1.0 - share)) * update

    def evaluated(self, weights: Any, state: State, hyper: Hyper) -> Any:
        return state.z + (weights - state.z) / hyper.beta_1


class ScheduleFreeSGD(_ScheduleFree):
    """Gradient descent that needs no schedule: it evaluates an average.

    With gradient g at the weights y, step t = 1, 2, …, weight decay λ and learning rate
    η, from x = z = y:

        ηₜ = η min(1, t / warmup_steps)
        cₜ = weightₜ / Σ weight,  weightₜ = tʳ (max η)^weight_lr_power
        z ← z - ηₜ (g + λ y)
        x ← (1 - cₜ) x + cₜ z
        y ← (1 - β₁) z + β₁ x

    The model trains at y and is to be evaluated at x, the average: see
    `keras_adamx.callbacks.EvaluateAveraged`. The statistics of batch normalisation
    belong to y; the callback recomputes them.

    State: `z`, of the shape of the weights, and three numbers for all variables.

    Args:
        learning_rate: η; larger than for `SGD` with a schedule: 1 to 10 times.
        beta_1: β₁ in (0, 1); how near to the average the model trains.
        warmup_steps: Number >= 0 of steps in which the rate rises.
        r: Exponent >= 0 of the step in the average.
        weight_lr_power: Exponent >= 0 of the learning rate in the average.

    Example:
        >>> optimizer = keras_adamx.ScheduleFreeSGD(1.0, warmup_steps=100)

    Source:
        Defazio et al. 2024, "The road less scheduled", arXiv:2405.15682.
    """

    learning_rate: Any = rate(1.0)
    beta_1: float = hyperparameter(
        0.9, above=0.0, below=1.0, scheduled=False, search=OneMinusLog(0.5, 0.99)
    )

    def preconditioned(self, gradient: Any, state: State, hyper: Hyper) -> Any:
        return gradient


class ScheduleFreeAdamW(_ScheduleFree):
    """AdamW that needs no schedule: it evaluates an average.

    With gradient g at the weights y, step t = 1, 2, …, weight decay λ and learning rate
    η, from v = 0 and x = z = y:

        v ← β₂ v + (1 - β₂) g²               v̂ = v / (1 - β₂ᵗ)
        ηₜ = η min(1, t / warmup_steps)
        cₜ = weightₜ / Σ weight,  weightₜ = tʳ (max η)^weight_lr_power
        z ← z - ηₜ (g / (√v̂ + ε) + λ y)
        x ← (1 - cₜ) x + cₜ z
        y ← (1 - β₁) z + β₁ x

    The model trains at y and is to be evaluated at x, the average: see
    `keras_adamx.callbacks.EvaluateAveraged`. The statistics of batch normalisation
    belong to y; the callback recomputes them.

    State: `z` and `velocity` (v), of the shape of the weights, and three numbers for
    all variables.

    Args:
        learning_rate: η; larger than for `AdamW` with a schedule: 1 to 10 times.
        beta_1: β₁ in (0, 1); how near to the average the model trains.
        beta_2: β₂ in [0, 1).
        epsilon: ε >= 0.
        warmup_steps: Number >= 0 of steps in which the rate rises.
        r: Exponent >= 0 of the step in the average.
        weight_lr_power: Exponent >= 0 of the learning rate in the average.

    Example:
        >>> optimizer = keras_adamx.ScheduleFreeAdamW(2.5e-3, warmup_steps=100)

    Source:
        Defazio et al. 2024, "The road less scheduled", arXiv:2405.15682.
    """

    learning_rate: Any = rate(0.0025)
    beta_1: float = hyperparameter(
        0.9, above=0.0, below=1.0, scheduled=False, search=OneMinusLog(0.5, 0.99)
    )
    beta_2: float = decay(0.999)
    epsilon: float = hyperparameter(1e-8, at_least=0.0)

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield from super().slots(weights)
        yield Slot("velocity", nonnegative=True)

    def preconditioned(self, gradient: Any, state: State, hyper: Hyper) -> Any:
        state.velocity = ema(state.velocity, ops.square(gradient), hyper.beta_2)
        velocity = debias(state.velocity, hyper, "beta_2")
        return gradient / (ops.sqrt(velocity) + hyper.epsilon)
