"""Transforms of the gradient, before the rule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_adamx.core.arguments import decay, hyperparameter
from keras_adamx.core.arithmetic import ema, maximum, mean, norm
from keras_adamx.core.slots import Hyper, Slot, State, Weights
from keras_adamx.core.transforms import Transform


class GradientCentralization(Transform):
    """Takes the mean out of the gradient of each output unit.

    With gradient g, over all axes but the last, which Keras' kernels have for outputs:

        g ← g - mean(g)

    for kernels; vectors, numbers and embeddings are left alone.

    Example:
        >>> transform = keras_adamx.transforms.GradientCentralization()
        >>> optimizer = keras_adamx.SGD(0.1, transforms=[transform])

    Source:
        Yong et al. 2020, "Gradient centralization: a new optimization technique for
        deep neural networks", arXiv:2004.01461.
    """

    def takes(self, weights: Weights) -> bool:
        return len(weights.shape) > 1 and not weights.is_embedding

    def gradient(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        axes = tuple(range(len(gradient.shape) - 1))
        return gradient - mean(gradient, axis=axes, keepdims=True)


class AdaptiveGradientClipping(Transform):
    """Clips the gradient of each output unit relative to the size of its weights.

    With gradient g and weights w of one unit, the norms over all axes but the last, or
    over the whole of vectors and numbers:

        limit = clipping · max(‖w‖, epsilon)
        g ← g · limit / ‖g‖                  where ‖g‖ > limit

    The authors leave out the last layer: put it into a group with `transforms=[]`.

    Args:
        clipping: Largest ratio of the norms, > 0; 0.01 to 0.16, smaller for larger
            batches.
        epsilon: Least norm > 0 that weights are taken to have: those that begin at zero
            could not move.

    Example:
        >>> transform = keras_adamx.transforms.AdaptiveGradientClipping(clipping=0.02)
        >>> optimizer = keras_adamx.SGD(0.1, transforms=[transform])

    Source:
        Brock et al. 2021, "High-performance large-scale image recognition without
        normalization", arXiv:2102.06171.
    """

    clipping: float = hyperparameter(0.01, above=0.0)
    epsilon: float = hyperparameter(1e-3, above=0.0)

    def gradient(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        rank = len(gradient.shape)
        axes = tuple(range(rank - 1)) if rank > 1 else None
        limit = norm(weights, axis=axes, keepdims=True)
        limit = hyper.clipping * maximum(limit, hyper.epsilon)
        size = norm(gradient, axis=axes, keepdims=True)
        return gradient * (limit / maximum(size, limit))


class GradientNoise(Transform):
    """Adds normally distributed noise that fades.

    With gradient g at step t = 1, 2, …:

        g ← g + N(0, σ²),  σ² = variance / tᵞ

    The noise is a function of the seed of the run, which is saved, and of the step.

    Args:
        variance: Variance of the noise at the first step, >= 0; the authors use 0.01,
            0.3 and 1.
        gamma: γ >= 0, how fast it fades.

    Example:
        >>> transform = keras_adamx.transforms.GradientNoise(variance=0.3)
        >>> optimizer = keras_adamx.SGD(0.1, transforms=[transform])

    Source:
        Neelakantan et al. 2015, "Adding gradient noise improves learning for very deep
        networks", arXiv:1511.06807.
    """

    random = True

    variance: float = hyperparameter(0.01, at_least=0.0)
    gamma: float = hyperparameter(0.55, at_least=0.0)

    def gradient(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        deviation = ops.sqrt(hyper.variance * hyper.step ** (-hyper.gamma))
        return gradient + deviation * hyper.normal()


class GrokFast(Transform):
    """Amplifies what changes slowly in the gradients.

    With gradient g, from h equal to the first gradient:

        h ← α h + (1 - α) g
        g ← g + λ h

    State: `average` (h), of the shape of the weights.

    Args:
        alpha: α in [0, 1).
        amplification: λ >= 0.

    Example:
        >>> transform = keras_adamx.transforms.GrokFast(amplification=2.0)
        >>> optimizer = keras_adamx.AdamW(1e-3, transforms=[transform])

    Source:
        Lee et al. 2024, "Grokfast: accelerated grokking by amplifying slow gradients",
        arXiv:2405.20233.
    """

    elementwise = True

    alpha: float = decay(0.98)
    amplification: float = hyperparameter(2.0, at_least=0.0)

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("average")

    def gradient(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        average = ops.where(hyper.step == 1, gradient, state.average)
        state.average = ema(average, gradient, hyper.alpha)
        return gradient + hyper.amplification * state.average
