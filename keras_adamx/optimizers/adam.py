"""Adam and its nearest relatives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_adamx.core.arguments import choice, decay, flag, hyperparameter, rate
from keras_adamx.core.arithmetic import (
    bias_correction,
    debias,
    denominator,
    ema,
    maximum,
)
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.search import Log
from keras_adamx.core.slots import (
    GRADIENT_MEAN,
    SQUARE_MEAN,
    Hyper,
    Slot,
    State,
    Weights,
)


class Adam(Optimizer):
    """Adaptive moment estimation.

    With gradient g at step t = 1, 2, … and learning rate η, from m = v = 0:

        m ← β₁ m + (1 - β₁) g                m̂ = m / (1 - β₁ᵗ)
        v ← β₂ v + (1 - β₂) g²               v̂ = v / (1 - β₂ᵗ)
        w ← w - η m̂ / (√v̂ + ε)

    `epsilon_placement` says where ε stands: "outside" the root, as above (the paper,
    PyTorch, optax); "hat", η √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε) (Keras, with its
    default ε of 1e-7; the end of section 2 of the paper); "inside", m̂ / √(v̂ + ε).

    State: `momentum` (m), `velocity` (v) and, with `amsgrad`, `velocity_max`, each of
    the shape of the weights.

    Args:
        beta_1: β₁ in [0, 1), decay of the mean of the gradients.
        beta_2: β₂ in [0, 1), decay of the mean of their squares.
        epsilon: ε >= 0.
        amsgrad: Use the largest v so far in place of v.
        bias_correction: False for m and v in place of m̂ and v̂; "hat" is then the same
            as "outside".
        epsilon_placement: "outside", "hat" or "inside".

    Example:
        >>> optimizer = keras_adamx.Adam(1e-3, beta_2=0.99)

    Source:
        Kingma, Ba 2014, "Adam: a method for stochastic optimization", arXiv:1412.6980;
        AMSGrad: Reddi, Kale, Kumar 2018, arXiv:1904.09237.
    """

    elementwise = True

    learning_rate: Any = rate(0.001)
    beta_1: float = decay(0.9)
    beta_2: float = decay(0.999)
    epsilon: float = hyperparameter(1e-8, at_least=0.0)
    amsgrad: bool = flag(False)
    bias_correction: bool = flag(True)
    epsilon_placement: str = choice("outside", ("outside", "hat", "inside"))

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("momentum", holds=GRADIENT_MEAN)
        yield Slot("velocity", nonnegative=True, holds=SQUARE_MEAN)
        if self.amsgrad:
            yield Slot("velocity_max", nonnegative=True)

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        state.momentum = ema(state.momentum, gradient, hyper.beta_1)
        state.velocity = ema(state.velocity, ops.square(gradient), hyper.beta_2)
        velocity = state.velocity
        if self.amsgrad:
            velocity = state.velocity_max = maximum(velocity, state.velocity_max)
        if not self.bias_correction:
            root = denominator(velocity, hyper.epsilon, self.epsilon_placement)
            return state.momentum / root
        scale_1 = 1.0 / bias_correction(hyper, "beta_1")
        scale_2 = 1.0 / bias_correction(hyper, "beta_2")
        if self.epsilon_placement == "hat":
            rate = scale_1 / ops.sqrt(scale_2)
            return rate * state.momentum / (ops.sqrt(velocity) + hyper.epsilon)
        root = denominator(velocity * scale_2, hyper.epsilon, self.epsilon_placement)
        return scale_1 * state.momentum / root


class AdamW(Adam):
    """Adam with decoupled weight decay.

    Adam's rule, and with every step the weights w also move by -η λ w, where η is the
    learning rate and λ the `weight_decay`: the decay does not pass through the moments.

    State: that of `Adam`; so are the other arguments.

    Args:
        weight_decay: λ >= 0, or None for plain Adam.

    Example:
        >>> optimizer = keras_adamx.AdamW(1e-3, weight_decay=0.05)
        >>> optimizer.exclude_from_weight_decay(var_names=["bias"])

    Source:
        Loshchilov, Hutter 2017, "Decoupled weight decay regularization",
        arXiv:1711.05101.
    """

    weight_decay: float | None = hyperparameter(
        0.01, at_least=0.0, optional=True, search=Log(1e-4, 1.0)
    )


class Adamax(Optimizer):
    """Adam with the largest recent gradient in place of the root mean square.

    With gradient g at step t = 1, 2, … and learning rate η, from m = u = 0:

        m ← β₁ m + (1 - β₁) g
        u ← max(β₂ u, |g| + ε)
        w ← w - η / (1 - β₁ᵗ) · m / u

    where an element whose u is 0 does not move. ε stands inside the maximum, as in
    PyTorch; Keras adds it to u.

    State: `momentum` (m) and `norm` (u), of the shape of the weights.

    Args:
        beta_1: β₁ in [0, 1).
        beta_2: β₂ in [0, 1).
        epsilon: ε >= 0.

    Example:
        >>> optimizer = keras_adamx.Adamax(2e-3)

    Source:
        Kingma, Ba 2014, "Adam: a method for stochastic optimization", section 7.1,
        arXiv:1412.6980.
    """

    elementwise = True

    learning_rate: Any = rate(0.001)
    beta_1: float = decay(0.9)
    beta_2: float = decay(0.999)
    epsilon: float = hyperparameter(1e-8, at_least=0.0)

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("momentum", holds=GRADIENT_MEAN)
        yield Slot("norm", nonnegative=True)

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        state.momentum = ema(state.momentum, gradient, hyper.beta_1)
        largest = ops.abs(gradient) + hyper.epsilon
        state.norm = maximum(largest, hyper.beta_2 * state.norm)
        mean = debias(state.momentum, hyper, "beta_1")
        none = state.norm == 0.0
        return ops.where(none, 0.0, mean / ops.where(none, 1.0, state.norm))


class Nadam(Optimizer):
    """Adam with Nesterov's momentum.

    With gradient g at step t = 1, 2, … and learning rate η, from m = v = 0:

        μₜ = β₁ (1 - ½ · 0.96^(t ψ))         Pₜ = μ₁ μ₂ … μₜ
        m ← β₁ m + (1 - β₁) g
        v ← β₂ v + (1 - β₂) g²               v̂ = v / (1 - β₂ᵗ)
        w ← w - η [μₜ₊₁ m / (1 - Pₜ μₜ₊₁) + (1 - μₜ) g / (1 - Pₜ)] / (√v̂ + ε)

    State: `momentum` (m) and `velocity` (v), of the shape of the weights, and one
    number for all variables, `momentum_product` (P).

    Args:
        beta_1: β₁ in [0, 1).
        beta_2: β₂ in [0, 1).
        epsilon: ε >= 0.
        momentum_decay: ψ >= 0; 0.004 in the paper and in PyTorch. Keras uses 1.

    Example:
        >>> optimizer = keras_adamx.Nadam(2e-3)

    Source:
        Dozat 2016, "Incorporating Nesterov momentum into Adam", ICLR workshop.
    """

    elementwise = True
    shared_slots = (Slot("momentum_product", shape=(), initial=1.0),)

    learning_rate: Any = rate(0.001)
    beta_1: float = decay(0.9)
    beta_2: float = decay(0.999)
    epsilon: float = hyperparameter(1e-8, at_least=0.0)
    momentum_decay: float = hyperparameter(0.004, at_least=0.0)

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("momentum", holds=GRADIENT_MEAN)
        yield Slot("velocity", nonnegative=True, holds=SQUARE_MEAN)

    def begin_step(self, shared: State, hyper: Hyper) -> None:
        shared.momentum_product = shared.momentum_product * self._mu(hyper, hyper.step)

    @staticmethod
    def _mu(hyper: Hyper, step: Any) -> Any:
        return hyper.beta_1 * (1.0 - 0.5 * 0.96 ** (step * hyper.momentum_decay))

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        state.momentum = ema(state.momentum, gradient, hyper.beta_1)
        state.velocity = ema(state.velocity, ops.square(gradient), hyper.beta_2)
        now, product = self._mu(hyper, hyper.step), hyper.shared.momentum_product
        ahead = self._mu(hyper, hyper.step + 1.0)
        mean = (ahead / (1.0 - product * ahead)) * state.momentum + (
            (1.0 - now) / (1.0 - product)
        ) * gradient
        velocity = debias(state.velocity, hyper, "beta_2")
        return mean / (ops.sqrt(velocity) + hyper.epsilon)
