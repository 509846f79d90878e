"""Methods that divide by how much a gradient varies, not by how large it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_adamx.core.arguments import decay, flag, hyperparameter, rate
from keras_adamx.core.arithmetic import bias_correction, ema, maximum
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.slots import GRADIENT_MEAN, Hyper, Slot, State, Weights


class SDProp(Optimizer):
    """Divides each gradient by the standard deviation of its recent values.

    With gradient g at step t = 1, 2, …, decay ρ and learning rate η, from a = c = 0:

        c ← ρ c + ρ (1 - ρ) (g - a)²         with the old a
        a ← ρ a + (1 - ρ) g
        w ← w - η √(1 - ρᵗ) g / (√c + ε)

    and with momentum μ: b ← μ b + √(1 - ρᵗ) g / (√c + ε), w ← w - η b. RMSprop with the
    centred second moment: noise slows the step down, a large but steady gradient does
    not. A constant gradient drives c to zero, and the step grows until ε bounds it:
    that is the rule. Where gradients may be constant, choose a larger ε.

    When to use: where gradients are noisy and steady ones should not be slowed down;
    not where gradients may be constant.

    State: `mean` (a), `variance` (c) and, with momentum, `momentum` (b), each of the
    shape of the weights.

    Args:
        rho: ρ in (0, 1). The authors also use 0.999 with a learning rate of 1e-4.
        epsilon: ε >= 0.
        momentum: μ in [0, 1).
        bias_correction: False to leave out the factor √(1 - ρᵗ), as the authors' later
            packages do.

    Example:
        >>> optimizer = keras_adamx.SDProp(1e-3)

    Source:
        Ida, Fujiwara, Iwamura 2017, "Adaptive learning rate via covariance matrix based
        preconditioning for deep neural networks", IJCAI, arXiv:1605.09593.
    """

    elementwise = True

    learning_rate: Any = rate(0.001)
    rho: float = decay(0.99, above=0.0)
    epsilon: float = hyperparameter(1e-8, at_least=0.0)
    momentum: float = decay(0.0)
    bias_correction: bool = flag(True)

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("mean", holds=GRADIENT_MEAN)
        yield Slot("variance", nonnegative=True)
        if self.momentum:
            yield Slot("momentum")

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        state.mean = ema(state.mean, gradient, hyper.rho)
        # ρ (g - a)² by the new a, which is ρ times as far from g as the old one was:
        # XLA updates a slot in place only where nothing else needs its old value.
        square = (1.0 / hyper.rho) * ops.square(gradient - state.mean)
        state.variance = ema(state.variance, square, hyper.rho)
        step = gradient / (ops.sqrt(state.variance) + hyper.epsilon)
        if self.bias_correction:
            step = ops.sqrt(bias_correction(hyper, "rho")) * step
        if not self.momentum:
            return step
        state.momentum = hyper.momentum * state.momentum + step
        return state.momentum


class Adastand(Optimizer):
    """Adam with the standard deviation of the gradients in place of their size.

    With gradient g at step t = 1, 2, … and learning rate η, from m = v = 0:

        v ← β₂ v + β₂ (1 - β₂) (g - m)²      with the old m
        m ← β₁ m + (1 - β₁) (g - m)
        w ← w - η √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε)

    m settles at g/2 for a constant gradient g, not at g, and √v at √β₂ |g|/2: that is
    the rule.

    State: `momentum` (m), `variance` (v) and, with `amsgrad`, `variance_max`, each of
    the shape of the weights.

    Args:
        beta_1: β₁ in [0, 1). The authors' TensorFlow package uses 0.7.
        beta_2: β₂ in [0, 1). The authors' TensorFlow package uses 0.99.
        epsilon: ε >= 0.
        amsgrad: Use the largest v so far in place of v.

    Example:
        >>> optimizer = keras_adamx.Adastand(1e-3)

    Source:
        Ida, Fujiwara (NTT) 2018; sample packages published by NTT.
    """

    elementwise = True

    learning_rate: Any = rate(0.001)
    beta_1: float = decay(0.9)
    beta_2: float = decay(0.999)
    epsilon: float = hyperparameter(1e-8, at_least=0.0)
    amsgrad: bool = flag(False)

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("momentum")
        yield Slot("variance", nonnegative=True)
        if self.amsgrad:
            yield Slot("variance_max", nonnegative=True)

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        surprise = gradient - state.momentum
        state.variance = hyper.beta_2 * (
            state.variance + (1.0 - hyper.beta_2) * ops.square(surprise)
        )
        state.momentum = hyper.beta_1 * state.momentum + (1.0 - hyper.beta_1) * surprise
        variance = state.variance
        if self.amsgrad:
            variance = state.variance_max = maximum(variance, state.variance_max)
        scale = ops.sqrt(bias_correction(hyper, "beta_2"))
        scale = scale / bias_correction(hyper, "beta_1")
        return scale * state.momentum / (ops.sqrt(variance) + hyper.epsilon)
