"""Schedules that rise before they fall."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_adamx.core.arguments import choice, hyperparameter
from keras_adamx.core.schedules import Schedule, evaluated, source, steps
from keras_adamx.core.steps import Phase, Step


class LinearWarmup(Schedule):
    """Rises on a straight line to where another schedule begins, and follows it.

    With W = warmup_steps:

        η(s) = (1 - s / W) initial_learning_rate + s / W · then(0)    for s < W
        η(s) = then(s - W)                                            from there on

    Args:
        then: Any schedule, which counts from the end of the warm-up, or a number.
        warmup_steps: W >= 0 in steps or epochs; 0 for no warm-up.
        initial_learning_rate: Number >= 0, the value at step 0.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> schedule = keras_adamx.schedules.LinearWarmup(
        ...     keras_adamx.schedules.LinearDecay(1.0, 1000), warmup_steps=100
        ... )
        >>> [float(schedule(step)) for step in (0, 50, 100, 600, 1100)]
        [0.0, 0.5, 1.0, 0.5, 0.0]

    Source:
        Goyal et al. 2017, "Accurate, large minibatch SGD: training ImageNet in 1
        hour", arXiv:1706.02677.
    """

    then: Any = source()
    warmup_steps: float = steps(at_least=0)
    initial_learning_rate: float = hyperparameter(0.0, at_least=0.0, scheduled=False)

    def value(self, step: Step) -> Any:
        length = self.in_steps("warmup_steps")
        after = evaluated(self.then, step.later(length))
        return step.phase(0, length).between(self.initial_learning_rate, after)


class _Warmed(Schedule):
    """A linear warm-up, and what comes `after` it."""

    # Each class declares it, as its first argument.
    initial_learning_rate: float
    warmup_target: float | None = hyperparameter(
        None, at_least=0.0, optional=True, scheduled=False
    )
    warmup_steps: float = steps(0, at_least=0)

    def after(self, step: Step) -> Any:
        """The share of the peak after the warm-up; 1 where it begins."""
        raise NotImplementedError

    def value(self, step: Step) -> Any:
        first, peak = 0.0, self.initial_learning_rate
        if self.warmup_target is not None:
            first, peak = self.initial_learning_rate, self.warmup_target
        length = self.in_steps("warmup_steps")
        after = peak * self.after(step.later(length))
        return step.phase(0, length).between(first, after)


class CosineWithWarmup(_Warmed):
    """Rises on a straight line and falls along half a cosine.

    With W = warmup_steps, peak p = warmup_target and f = min((s - W) / decay_steps, 1):

        η(s) = initial_learning_rate + s / W (p - initial_learning_rate)   for s < W
        η(s) = p (α + (1 - α) (1 + cos π f) / 2)                 from there on

    Without `warmup_target` the peak is `initial_learning_rate`, and the warm-up begins
    at 0. The arguments are those of `CosineDecay` of Keras, which without
    `warmup_target` ignores `warmup_steps`.

    Args:
        initial_learning_rate: Number >= 0: the value at step 0, or the peak if
            `warmup_target` is None.
        decay_steps: Steps >= 1 from the peak to the end, or epochs > 0.
        alpha: α in [0, 1], the share of the peak that remains.
        warmup_target: The peak, a number >= 0, or None.
        warmup_steps: W >= 0 in steps or epochs; 0 for no warm-up.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> schedule = keras_adamx.schedules.CosineWithWarmup(
        ...     0.5, decay_steps=900, warmup_steps=100
        ... )
        >>> [round(float(schedule(step)), 4) for step in (0, 50, 100, 550, 1000)]
        [0.0, 0.25, 0.5, 0.25, 0.0]

    Source:
        Loshchilov, Hutter 2017, "SGDR: stochastic gradient descent with warm
        restarts", arXiv:1608.03983.
    """

    initial_learning_rate: float = hyperparameter(at_least=0.0, scheduled=False)
    decay_steps: float = steps()
    alpha: float = hyperparameter(0.0, at_least=0.0, at_most=1.0, scheduled=False)

    def after(self, step: Step) -> Any:
        phase = step.phase(0, self.in_steps("decay_steps")).cosine()
        return phase.between(1.0, self.alpha)


class WarmupStableDecay(_Warmed):
    """Rises, stays, and falls to the end: training can go on from any stable step.

    With W = warmup_steps, S = stable_steps, peak p = warmup_target and
    f = (s - W - S) / decay_steps, kept in [0, 1]:

        η(s) = initial_learning_rate + s / W (p - initial_learning_rate)   for s < W
        η(s) = p (α + (1 - α) g(f))                              from there on

        g(f) = 1 - √f               "1-sqrt"
        g(f) = 1 - f                "linear"
        g(f) = (1 + cos π f) / 2    "cosine"

    Without `warmup_target` the peak is `initial_learning_rate`, and the warm-up begins
    at 0.

    Args:
        initial_learning_rate: Number >= 0: the value at step 0, or the peak if
            `warmup_target` is None.
        stable_steps: S >= 0 in steps or epochs.
        decay_steps: Steps >= 1 of the cool-down, or epochs > 0.
        cooldown: g, its shape.
        alpha: α in [0, 1], the share of the peak that remains.
        warmup_target: The peak, a number >= 0, or None.
        warmup_steps: W >= 0 in steps or epochs; 0 for no warm-up.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> schedule = keras_adamx.schedules.WarmupStableDecay(
        ...     0.5, stable_steps=700, decay_steps=200, warmup_steps=100
        ... )
        >>> [float(schedule(step)) for step in (50, 100, 800, 850, 1000)]
        [0.25, 0.5, 0.5, 0.25, 0.0]

    Source:
        Hu et al. 2024, "MiniCPM: unveiling the potential of small language models with
        scalable training strategies", arXiv:2404.06395; the cool-down is that of
        Hägele et al. 2024, "Scaling laws and compute-optimal training beyond fixed
        training durations", arXiv:2405.18392.
    """

    initial_learning_rate: float = hyperparameter(at_least=0.0, scheduled=False)
    stable_steps: float = steps(at_least=0)
    decay_steps: float = steps()
    cooldown: str = choice("1-sqrt", ("1-sqrt", "linear", "cosine"))
    alpha: float = hyperparameter(0.0, at_least=0.0, at_most=1.0, scheduled=False)

    def after(self, step: Step) -> Any:
        stable, falling = self.in_steps("stable_steps"), self.in_steps("decay_steps")
        phase: Phase = step.phase(stable, falling)
        if self.cooldown == "1-sqrt":
            phase = phase.root()
        elif self.cooldown == "cosine":
            phase = phase.cosine()
        return phase.between(1.0, self.alpha)


class InverseSqrt(_Warmed):
    """Rises on a straight line and falls with the square root of the steps, endlessly.

    With W = warmup_steps, τ = timescale and peak p = warmup_target:

        η(s) = initial_learning_rate + s / W (p - initial_learning_rate)   for s < W
        η(s) = p √(τ / (s - W + τ))                              from there on

    Without `warmup_target` the peak is `initial_learning_rate`, and the warm-up begins
    at 0. With τ = W the rate is p √(W / s).

    Args:
        initial_learning_rate: Number >= 0: the value at step 0, or the peak if
            `warmup_target` is None.
        timescale: τ >= 1 in steps, or > 0 in epochs: after 3 τ steps the rate is half
            of the peak. None for `warmup_steps`, which must not be 0 then.
        warmup_target: The peak, a number >= 0, or None.
        warmup_steps: W >= 0 in steps or epochs; 0 for no warm-up.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range, or there is no timescale.

    Example:
        >>> schedule = keras_adamx.schedules.InverseSqrt(0.5, warmup_steps=100)
        >>> [float(schedule(step)) for step in (0, 50, 100, 400)]
        [0.0, 0.25, 0.5, 0.25]
    """

    initial_learning_rate: float = hyperparameter(at_least=0.0, scheduled=False)
    timescale: float | None = steps(None, optional=True)

    def validate(self) -> None:
        nothing = self.timescale is None and not self.warmup_steps
        self.refuse("timescale", when=nothing, reason="is needed without a warm-up")

    def after(self, step: Step) -> Any:
        scale = self.in_steps("timescale") or self.in_steps("warmup_steps")
        return ops.sqrt(scale / (step.since(0) + scale))


class Noam(Schedule):
    """The schedule of the Transformer: a linear rise, then the inverse square root.

    With t = s + 1, since the paper counts steps from 1, and W = warmup_steps:

        η(s) = scale · d_model^(-1/2) · min(t^(-1/2), t · W^(-3/2))

    The largest value is that of s = W - 1.

    Args:
        d_model: Width >= 1 of the model.
        warmup_steps: W >= 0 in steps or epochs; 0 for no warm-up.
        scale: Number >= 0.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> schedule = keras_adamx.schedules.Noam(d_model=256, warmup_steps=100)
        >>> [round(float(schedule(step)), 5) for step in (0, 49, 99, 399)]
        [6e-05, 0.00313, 0.00625, 0.00313]

    Source:
        Vaswani et al. 2017, "Attention is all you need", arXiv:1706.03762.
    """

    d_model: float = hyperparameter(at_least=1.0, scheduled=False)
    warmup_steps: float = steps(4000, at_least=0)
    scale: float = hyperparameter(1.0, at_least=0.0, scheduled=False)

    def value(self, step: Step) -> Any:
        number = step.since(-1)
        falling = self.scale * self.d_model**-0.5 / ops.sqrt(number)
        length = self.in_steps("warmup_steps")
        if not length:
            return falling
        rising = self.scale * self.d_model**-0.5 * length**-1.5 * number
        return ops.minimum(falling, rising)
