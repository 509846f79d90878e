"""Gradient descent with momentum, and the first methods that scale each element."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_adamx.core.arguments import choice, decay, flag, hyperparameter, rate
from keras_adamx.core.arithmetic import denominator, ema, maximum
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.search import Log, OneMinusLog
from keras_adamx.core.slots import (
    GRADIENT_MEAN,
    SQUARE_MEAN,
    Hyper,
    Slot,
    State,
    Weights,
)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum, dampening and Nesterov's variant.

    With gradient g, momentum μ, dampening δ and learning rate η, from b = 0:

        b ← μ b + (1 - δ) g
        w ← w - η b                          nesterov: w ← w - η ((1 - δ) g + μ b)

    and w ← w - η g where μ is 0. `momentum=dampening=0.9` averages the gradients,
    v = β v + (1 - β) g. The learning rate stands outside of b: under a schedule, past
    gradients are scaled by the rate of today, as in PyTorch; Keras keeps η inside b.

    State: `momentum`, of the shape of the weights, where μ > 0.

    Args:
        momentum: μ in [0, 1).
        dampening: δ in [0, 1). PyTorch takes the first gradient undamped; here b starts
            from zero and all gradients are treated alike.
        nesterov: Look ahead by one step of momentum. Needs `momentum` > 0.

    Raises:
        ValueError: `nesterov` or `dampening` without `momentum`.

    Example:
        >>> optimizer = keras_adamx.SGD(0.1, momentum=0.9, nesterov=True)

    Source:
        Polyak 1964, "Some methods of speeding up the convergence of iteration methods";
        Sutskever et al., ICML 2013, "On the importance of initialization and momentum
        in deep learning".
    """

    elementwise = True

    learning_rate: Any = rate(0.01, search=Log(1e-4, 10.0))
    momentum: float = decay(0.0, search=OneMinusLog(0.5, 0.99))
    dampening: float = decay(0.0)
    nesterov: bool = flag(False)

    def validate(self) -> None:
        if self.momentum == 0.0:
            self.refuse("nesterov", when=self.nesterov, reason="needs momentum > 0")
            self.refuse("dampening", when=self.dampening, reason="needs momentum > 0")

    def slots(self, weights: Weights) -> Iterable[Slot]:
        if self.momentum:
            yield Slot("momentum")

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        if not self.momentum:
            return gradient
        damped = (1.0 - hyper.dampening) * gradient
        state.momentum = hyper.momentum * state.momentum + damped
        if self.nesterov:
            return damped + hyper.momentum * state.momentum
        return state.momentum


class RMSprop(Optimizer):
    """Divides each gradient by the root of its recent mean square.

    With gradient g, decay ρ, momentum μ and learning rate η:

        v ← ρ v + (1 - ρ) g²
        d = v                                centered: a ← ρ a + (1 - ρ) g, d = v - a²
        u = g / (√d + ε)                     epsilon_placement="inside": g / √(d + ε)
        b ← μ b + u,  w ← w - η b            μ = 0: w ← w - η u

    State: `velocity` (v), `mean` (a) if centered, `momentum` (b) if μ > 0, each of
    the shape of the weights.

    Args:
        rho: ρ in [0, 1).
        momentum: μ in [0, 1).
        epsilon: ε >= 0.
        centered: Divide by the estimated standard deviation instead.
        epsilon_placement: "outside" the root, as PyTorch, or "inside", as TensorFlow
            and Keras.

    Example:
        >>> optimizer = keras_adamx.RMSprop(1e-3, rho=0.95, momentum=0.9)

    Source:
        Hinton 2012, "Neural networks for machine learning", lecture 6e; centered:
        Graves 2013, arXiv:1308.0850.
    """

    elementwise = True

    learning_rate: Any = rate(0.001)
    rho: float = decay(0.9)
    momentum: float = decay(0.0)
    epsilon: float = hyperparameter(1e-8, at_least=0.0)
    centered: bool = flag(False)
    epsilon_placement: str = choice("outside", ("outside", "inside"))

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("velocity", nonnegative=True, holds=SQUARE_MEAN)
        if self.centered:
            yield Slot("mean", holds=GRADIENT_MEAN)
        if self.momentum:
            yield Slot("momentum")

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        state.velocity = ema(state.velocity, ops.square(gradient), hyper.rho)
        spread = state.velocity
        if self.centered:
            state.mean = ema(state.mean, gradient, hyper.rho)
            # Rounding can push the difference of two nearly equal numbers below zero.
            spread = maximum(spread - ops.square(state.mean), 0.0)
        step = gradient / denominator(spread, hyper.epsilon, self.epsilon_placement)
        if not self.momentum:
            return step
        state.momentum = hyper.momentum * state.momentum + step
        return state.momentum


class Adagrad(Optimizer):
    """Divides each gradient by the root of the sum of all its squares so far.

    With gradient g and learning rate η, from a = initial_accumulator_value:

        a ← a + g²
        w ← w - η g / (√a + ε)               epsilon_placement="inside": η g / √(a + ε)

    When to use: sparse features. The sum never forgets, so steps only shrink.

    State: `accumulator` (a), of the shape of the weights.

    Args:
        initial_accumulator_value: Start of a, >= 0.
        epsilon: ε >= 0.
        epsilon_placement: "outside" the root, as PyTorch, or "inside", as Keras.

    Example:
        >>> optimizer = keras_adamx.Adagrad(0.1)

    Source:
        Duchi, Hazan, Singer 2011, "Adaptive subgradient methods for online learning and
        stochastic optimization", JMLR 12.
    """

    elementwise = True

    learning_rate: Any = rate(0.001, search=Log(1e-4, 1.0))
    initial_accumulator_value: float = hyperparameter(
        0.1, at_least=0.0, scheduled=False
    )
    epsilon: float = hyperparameter(1e-8, at_least=0.0)
    epsilon_placement: str = choice("outside", ("outside", "inside"))

    def slots(self, weights: Weights) -> Iterable[Slot]:
        initial = self.initial_accumulator_value
        yield Slot("accumulator", initial=initial, nonnegative=True)

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        state.accumulator = state.accumulator + ops.square(gradient)
        root = denominator(state.accumulator, hyper.epsilon, self.epsilon_placement)
        return gradient / root


class Adadelta(Optimizer):
    """Adagrad with a decaying memory, in the units of the weights.

    With gradient g, decay ρ and learning rate η:

        a ← ρ a + (1 - ρ) g²
        u = g √(d + ε) / √(a + ε)
        d ← ρ d + (1 - ρ) u²
        w ← w - η u

    State: `accumulator` (a) and `delta` (d), of the shape of the weights.

    Args:
        learning_rate: η; 1.0 is the method of the paper. (Keras' default of 0.001
            hardly moves.)
        rho: ρ in [0, 1).
        epsilon: ε >= 0; it sets the size of the first steps.

    Example:
        >>> optimizer = keras_adamx.Adadelta()

    Source:
        Zeiler 2012, "ADADELTA: an adaptive learning rate method", arXiv:1212.5701.
    """

    elementwise = True

    learning_rate: Any = rate(1.0, search=Log(0.01, 10.0))
    rho: float = decay(0.95)
    epsilon: float = hyperparameter(1e-6, at_least=0.0)

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("accumulator", nonnegative=True, holds=SQUARE_MEAN)
        yield Slot("delta", nonnegative=True)

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        state.accumulator = ema(state.accumulator, ops.square(gradient), hyper.rho)
        scale = ops.sqrt(state.delta + hyper.epsilon)
        step = scale * gradient / ops.sqrt(state.accumulator + hyper.epsilon)
        state.delta = ema(state.delta, ops.square(step), hyper.rho)
        return step
