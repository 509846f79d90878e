"""Schedules that rise and fall, once or again and again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from keras_adamx.core.arguments import choice, flag, hyperparameter
from keras_adamx.core.schedules import Schedule, steps
from keras_adamx.core.steps import LAST, Phase, Step, pick, powered


class _OneCycle(Schedule):
    """From a first value to a peak and on to a last one, in two phases or three."""

    total_steps: float = steps()
    pct_start: float = hyperparameter(0.3, at_least=0.0, at_most=1.0, scheduled=False)
    anneal_strategy: str = choice("cos", ("cos", "linear"))
    three_phase: bool = flag(False)

    def validate(self) -> None:
        self.refuse(
            "pct_start",
            when=self.three_phase and self.pct_start > 0.5,
            reason="must be <= 0.5 with `three_phase`: the way down is as long",
        )

    def levels(self) -> tuple[float, float, float]:
        """The first value, the peak and the last value."""
        raise NotImplementedError

    def value(self, step: Step) -> Any:
        first, peak, last = self.levels()
        total = self.in_steps("total_steps")
        # In three phases, the second undoes the first.
        ends = [self.pct_start * total - 1.0, total - 1.0]
        levels = [first, peak, last]
        if self.three_phase:
            ends.insert(1, 2.0 * ends[0])
            levels.insert(2, first)
        result, start = None, 0.0
        for end, before, after in zip(_snapped(ends), levels, levels[1:]):
            if result is None or end > start:
                phase = step.phase(start, end - start)
                bent = phase if self.anneal_strategy == "linear" else phase.cosine()
                value = bent.between(before, after)
                reached = step.since(start) > 0.0
                result = value if result is None else ops.where(reached, value, result)
            start = end
        return result


class OneCycle(_OneCycle):
    """Rises to a large learning rate and falls to a tiny one, once.

    With first = max_learning_rate / div_factor, last = first / final_div_factor,
    T = total_steps and r = pct_start · T - 1:

        first → max_learning_rate    from step 0 to r
        max_learning_rate → last     from r to T - 1

    along half a cosine, or a straight line. With `three_phase`:

        first → max_learning_rate    from step 0 to r
        max_learning_rate → first    from r to 2 r
        first → last                 from 2 r to T - 1

    `.momentum` is the schedule of the momentum, which goes the other way. PyTorch calls
    both OneCycleLR, with the same defaults.

    Args:
        max_learning_rate: Number >= 0.
        total_steps: T >= 1 in steps, or > 0 in epochs.
        div_factor: Number > 0.
        final_div_factor: Number > 0.
        base_momentum: Number in [0, 1), the momentum at the largest rate.
        max_momentum: Number in [0, 1), the momentum at both ends.
        pct_start: Share in [0, 1] of the steps that rise; at most 0.5 in three phases.
        anneal_strategy: Shape of the phases: half a cosine or a straight line.
        three_phase: Whether the fall to the first value is a phase of its own.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> schedule = keras_adamx.schedules.OneCycle(0.5, total_steps=1000)
        >>> optimizer = keras_adamx.AdamW(schedule, beta_1=schedule.momentum)
        >>> [round(float(schedule(step)), 4) for step in (0, 299, 999)]
        [0.02, 0.5, 0.0]
        >>> [round(float(schedule.momentum(step)), 4) for step in (0, 299, 999)]
        [0.95, 0.85, 0.95]

    Source:
        Smith, Topin 2017, "Super-convergence: very fast training of neural networks
        using large learning rates", arXiv:1708.07120.
    """

    max_learning_rate: float = hyperparameter(at_least=0.0, scheduled=False)
    div_factor: float = hyperparameter(25.0, above=0.0, scheduled=False)
    final_div_factor: float = hyperparameter(1e4, above=0.0, scheduled=False)
    base_momentum: float = hyperparameter(
        0.85, at_least=0.0, below=1.0, scheduled=False
    )
    max_momentum: float = hyperparameter(0.95, at_least=0.0, below=1.0, scheduled=False)

    def levels(self) -> tuple[float, float, float]:
        first = self.max_learning_rate / self.div_factor
        return first, self.max_learning_rate, first / self.final_div_factor

    @property
    def momentum(self) -> OneCycleMomentum:
        """The schedule of `momentum` or `beta_1` that belongs to this one."""
        names = OneCycleMomentum.arguments
        return OneCycleMomentum(**{name: getattr(self, name) for name in names})


class OneCycleMomentum(_OneCycle):
    """The momentum of `OneCycle`: falls while the learning rate rises.

    With T = total_steps and r = pct_start · T - 1:

        max_momentum → base_momentum    from step 0 to r
        base_momentum → max_momentum    from r to T - 1, or to 2 r in three phases

    Args:
        total_steps: T >= 1 in steps, or > 0 in epochs.
        base_momentum: Number in [0, 1), the smallest.
        max_momentum: Number in [0, 1), the value at both ends.
        pct_start: Share in [0, 1] of the steps that fall; at most 0.5 in three phases.
        anneal_strategy: Shape of the phases: half a cosine or a straight line.
        three_phase: Whether the learning rate has three phases.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> schedule = keras_adamx.schedules.OneCycleMomentum(total_steps=1000)
        >>> [round(float(schedule(step)), 4) for step in (0, 299, 999)]
        [0.95, 0.85, 0.95]

    Source:
        Smith, Topin 2017, "Super-convergence: very fast training of neural networks
        using large learning rates", arXiv:1708.07120.
    """

    base_momentum: float = hyperparameter(
        0.85, at_least=0.0, below=1.0, scheduled=False
    )
    max_momentum: float = hyperparameter(0.95, at_least=0.0, below=1.0, scheduled=False)

    def levels(self) -> tuple[float, float, float]:
        return self.max_momentum, self.base_momentum, self.max_momentum


class Cyclic(Schedule):
    """Goes up and down between two values on straight lines, again and again.

    With U = step_size_up, D = step_size_down, the cycle n = ⌊s / (U + D)⌋ and the step
    in it r = s - n (U + D):

        h = r / U              for r <= U
        h = (U + D - r) / D    for r > U
        η(s) = initial_learning_rate
               + (max_learning_rate - initial_learning_rate) · h · scale

        scale = 1         "triangular"
        scale = 2^(-n)    "triangular2"
        scale = gamma^s   "exp_range"

    PyTorch calls it CyclicLR. For a momentum that goes the other way, `max` is the
    smaller of the two values.

    Args:
        initial_learning_rate: Number >= 0, the value at both ends of a cycle.
        max_learning_rate: Number >= 0, the value in between.
        step_size_up: U >= 1 in steps, or > 0 in epochs.
        step_size_down: D in the same units; None for U.
        mode: How the height changes.
        gamma: Number > 0, for "exp_range" only.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range, or a cycle is too long.

    Example:
        >>> schedule = keras_adamx.schedules.Cyclic(0.25, 0.75, step_size_up=100)
        >>> [float(schedule(step)) for step in (0, 50, 100, 200, 300)]
        [0.25, 0.5, 0.75, 0.25, 0.75]

    Source:
        Smith 2017, "Cyclical learning rates for training neural networks",
        arXiv:1506.01186.
    """

    initial_learning_rate: float = hyperparameter(at_least=0.0, scheduled=False)
    max_learning_rate: float = hyperparameter(at_least=0.0, scheduled=False)
    step_size_up: float = steps(2000)
    step_size_down: float | None = steps(None, optional=True)
    mode: str = choice("triangular", ("triangular", "triangular2", "exp_range"))
    gamma: float = hyperparameter(1.0, above=0.0, scheduled=False)

    def validate(self) -> None:
        self.refuse(
            "step_size_up",
            when=sum(self._lengths()) > LAST,
            reason=f"is too long: a cycle has at most {LAST} steps",
        )

    def _lengths(self) -> tuple[int, int]:
        up = self.in_steps("step_size_up")
        return up, self.in_steps("step_size_down") or up

    def value(self, step: Step) -> Any:
        up, down = self._lengths()
        cycle, within = step.divided(up + down)
        rise, fall = within.phase(0, up), within.phase(up, down)
        height = ops.where(within.since(up) < 0.0, rise.passed, fall.left)
        if self.mode == "triangular2":
            height = height * powered(0.5, cycle)
        elif self.mode == "exp_range":
            height = height * powered(self.gamma, step.since(0))
        low, high = self.initial_learning_rate, self.max_learning_rate
        return Phase(height, 1.0 - height).between(low, high)


class CosineRestarts(Schedule):
    """Falls along half a cosine and starts again, in ever longer periods.

    Period i = 0, 1, … has Tᵢ = first_decay_steps · t_mul^i steps. With f, the share of
    it that has passed, in [0, 1):

        η(s) = initial_learning_rate · (α + (1 - α) m_mul^i (1 + cos π f) / 2)

    The arguments and their defaults are those of `CosineDecayRestarts` of Keras.
    PyTorch calls it CosineAnnealingWarmRestarts.

    Args:
        initial_learning_rate: Number >= 0.
        first_decay_steps: T₀ >= 1 in steps, or > 0 in epochs.
        t_mul: 1, or a number >= 1.001: how much longer the next period is. A restart
            between two steps shows at the second one.
        m_mul: Number >= 0: how much higher the next start is.
        alpha: α in [0, 1], the share of the rate at the end of a period.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> schedule = keras_adamx.schedules.CosineRestarts(0.5, 100, m_mul=0.5)
        >>> [round(float(schedule(step)), 4) for step in (0, 50, 100, 200, 300)]
        [0.5, 0.25, 0.25, 0.125, 0.125]

    Source:
        Loshchilov, Hutter 2017, "SGDR: stochastic gradient descent with warm
        restarts", arXiv:1608.03983.
    """

    initial_learning_rate: float = hyperparameter(at_least=0.0, scheduled=False)
    first_decay_steps: float = steps()
    t_mul: float = hyperparameter(2.0, at_least=1.0, scheduled=False)
    m_mul: float = hyperparameter(1.0, at_least=0.0, scheduled=False)
    alpha: float = hyperparameter(0.0, at_least=0.0, at_most=1.0, scheduled=False)

    def validate(self) -> None:
        # The periods are a table, which would be too long.
        self.refuse(
            "t_mul", when=1.0 < self.t_mul < 1.001, reason="must be 1 or >= 1.001"
        )

    def value(self, step: Step) -> Any:
        first = self.in_steps("first_decay_steps")
        if self.t_mul == 1.0:
            period, within = step.divided(first)
            left = within.phase(0, first).cosine().left
            height = left * powered(self.m_mul, period)
        else:
            starts, lengths = self._periods(first)
            period = step.count(starts[1:])
            left = step.phase(starts, lengths, period).cosine().left
            height = left * pick(self.m_mul ** np.arange(len(starts)), period)
        return self.initial_learning_rate * (self.alpha + (1.0 - self.alpha) * height)

    def _periods(self, first: int) -> tuple[Any, Any]:
        """Where periods start, and their lengths, up to the last step there can be."""
        growth = LAST / first * (self.t_mul - 1.0) + 1.0
        count = math.ceil(math.log(growth, self.t_mul)) + 1
        lengths = first * self.t_mul ** np.arange(count)
        starts = _snapped(np.concatenate([[0.0], np.cumsum(lengths)[:-1]]))
        return starts, lengths


def _snapped(steps: Any) -> Any:
    """Steps that are whole but for the rounding of float64 as whole numbers."""
    whole = np.rint(steps)
    return np.where(np.abs(steps - whole) < 1e-6, whole, steps)
