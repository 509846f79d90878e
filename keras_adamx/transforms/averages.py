"""Transforms of the weights, after the step: averages over the way of the training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_adamx.core.arguments import count, decay, hyperparameter
from keras_adamx.core.arithmetic import ema
from keras_adamx.core.slots import Hyper, Slot, State, Weights
from keras_adamx.core.transforms import Transform


class Lookahead(Transform):
    """Goes some steps ahead and comes back part of the way.

    From slow weights φ equal to the first weights w, after every `steps` steps:

        φ ← φ + α (w - φ)
        w ← φ

    The state of the rule is kept. A variable without gradient in such a step waits for
    the next one.

    State: `slow` (φ), of the shape of the weights.

    Args:
        steps: Number of steps >= 1 between two returns.
        alpha: α in (0, 1]; 1 does nothing.

    Example:
        >>> transform = keras_adamx.transforms.Lookahead(steps=5, alpha=0.5)
        >>> optimizer = keras_adamx.AdamW(1e-3, transforms=[transform])

    Source:
        Zhang et al. 2019, "Lookahead optimizer: k steps forward, 1 step back",
        arXiv:1907.08610.
    """

    elementwise = True

    steps: int = count(5)
    alpha: float = hyperparameter(0.5, above=0.0, at_most=1.0)

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("slow", begins_as_weights=True)

    def weights(self, weights: Any, state: State, hyper: Hyper) -> Any:
        due = ops.cast(hyper.step, "int32") % self.steps == 0
        moved = state.slow + hyper.alpha * (weights - state.slow)
        state.slow = ops.where(due, moved, state.slow)
        return ops.where(due, state.slow, weights)

    def evaluated(self, weights: Any, state: State, hyper: Hyper) -> Any:
        return state.slow


class ExponentialAverage(Transform):
    """Keeps a moving average of the weights, to evaluate the model with.

    From an average a equal to the first weights after a step, with weights w:

        a ← decay · a + (1 - decay) w

    `keras_adamx.callbacks.EvaluateAveraged` puts it in place.

    State: `average` (a), of the shape of the weights.

    Args:
        decay: Decay in [0, 1).

    Example:
        >>> transform = keras_adamx.transforms.ExponentialAverage(decay=0.999)
        >>> optimizer = keras_adamx.AdamW(1e-3, transforms=[transform])

    Source:
        Polyak, Juditsky 1992, "Acceleration of stochastic approximation by averaging".
    """

    elementwise = True

    decay: float = decay(0.999)

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("average", begins_as_weights=True)

    def weights(self, weights: Any, state: State, hyper: Hyper) -> Any:
        mixed = ema(state.average, weights, hyper.decay)
        state.average = ops.where(hyper.step == 1, weights, mixed)
        return weights

    def evaluated(self, weights: Any, state: State, hyper: Hyper) -> Any:
        return state.average


class StochasticWeightAverage(Transform):
    """Keeps the mean of the weights at regular steps, to evaluate the model with.

    With weights w after step t = start, start + every, start + 2 every, …, the n-th of
    them counted from 0:

        a ← a + (w - a) / (n + 1)

    Until then the average a is the weights. `keras_adamx.callbacks.EvaluateAveraged`
    puts it in place, and recomputes the statistics of batch normalisation on request.

    State: `average` (a), of the shape of the weights.

    Args:
        start: First step >= 1 that counts.
        every: Number of steps >= 1 between two that count.

    Example:
        >>> transform = keras_adamx.transforms.StochasticWeightAverage(start=1000)
        >>> optimizer = keras_adamx.SGD(0.05, transforms=[transform])

    Source:
        Izmailov et al. 2018, "Averaging weights leads to wider optima and better
        generalization", arXiv:1803.05407.
    """

    elementwise = True

    start: int = count(1)
    every: int = count(1)

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("average", begins_as_weights=True)

    def weights(self, weights: Any, state: State, hyper: Hyper) -> Any:
        since = ops.cast(hyper.step, "int32") - self.start
        number = ops.cast(since // self.every + 1, weights.dtype)
        mean = state.average + (weights - state.average) / ops.where(
            since >= 0, number, 1.0
        )
        due = ops.logical_or(since < 0, since % self.every == 0)
        state.average = ops.where(due, mean, state.average)
        return weights

    def evaluated(self, weights: Any, state: State, hyper: Hyper) -> Any:
        return state.average
