"""Schedules that fall from one value to another and stay there."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_adamx.core.arguments import flag, hyperparameter
from keras_adamx.core.schedules import Schedule, steps
from keras_adamx.core.steps import Phase, Step


class _Decay(Schedule):
    """From `initial_learning_rate` to another value within `decay_steps`."""

    initial_learning_rate: float = hyperparameter(at_least=0.0, scheduled=False)
    decay_steps: float = steps()

    def phase(self, step: Step) -> Phase:
        return step.phase(0, self.in_steps("decay_steps"))


class LinearDecay(_Decay):
    """Falls on a straight line, the usual end of a fine-tuning.

    With f = min(s / decay_steps, 1):

        η(s) = (1 - f) initial_learning_rate + f end_learning_rate

    `LinearWarmup` puts a warm-up in front.

    Args:
        initial_learning_rate: Number >= 0.
        decay_steps: Steps >= 1 until the end, or epochs > 0.
        end_learning_rate: Number >= 0, the value from then on; it may be larger than
            the first one.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> schedule = keras_adamx.schedules.LinearDecay(0.5, 1000)
        >>> [float(schedule(step)) for step in (0, 500, 1000, 2000)]
        [0.5, 0.25, 0.0, 0.0]
    """

    end_learning_rate: float = hyperparameter(0.0, at_least=0.0, scheduled=False)

    def value(self, step: Step) -> Any:
        phase = self.phase(step)
        return phase.between(self.initial_learning_rate, self.end_learning_rate)


class Polynomial(_Decay):
    """Falls with a power of the steps that are left.

    With f = min(s / T, 1) and T = decay_steps:

        η(s) = end_learning_rate
               + (initial_learning_rate - end_learning_rate) (1 - f)^power

    With `cycle`, T = decay_steps · max(⌈s / decay_steps⌉, 1): each time the end is
    reached, the rate jumps up to fall again until the next multiple. The arguments and
    their defaults are those of `PolynomialDecay` of Keras.

    Args:
        initial_learning_rate: Number >= 0.
        decay_steps: Steps >= 1 until the end, or epochs > 0.
        end_learning_rate: Number >= 0.
        power: Number > 0.
        cycle: Whether to begin again after `decay_steps`.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> schedule = keras_adamx.schedules.Polynomial(
        ...     0.5, 1000, end_learning_rate=0.0, power=2.0
        ... )
        >>> [float(schedule(step)) for step in (0, 500, 1000, 2000)]
        [0.5, 0.125, 0.0, 0.0]
    """

    end_learning_rate: float = hyperparameter(0.0001, at_least=0.0, scheduled=False)
    power: float = hyperparameter(1.0, above=0.0, scheduled=False)
    cycle: bool = flag(False)

    def value(self, step: Step) -> Any:
        phase = self._cycling(step) if self.cycle else self.phase(step)
        bent = phase.power(self.power)
        return bent.between(self.initial_learning_rate, self.end_learning_rate)

    def _cycling(self, step: Step) -> Phase:
        """The phase from 0 to the next multiple, which is reached before it jumps."""
        cycles, within = step.divided(self.in_steps("decay_steps"))
        phase = self.phase(within)
        at_end = ops.logical_and(phase.left == 1.0, cycles > 0)
        longer = 1.0 / (ops.cast(cycles, phase.left.dtype) + 1.0)
        left = ops.where(at_end, 0.0, phase.left * longer)
        return Phase(1.0 - left, left)


class REX(_Decay):
    """Falls slowly at first and fast in the end.

    With f = min(s / decay_steps, 1):

        η(s) = initial_learning_rate · (α + (1 - α) (1 - f) / (1 - f / 2))

    Args:
        initial_learning_rate: Number >= 0.
        decay_steps: Steps >= 1 until the end, or epochs > 0.
        alpha: α in [0, 1], the share of the rate that remains; 0 in the paper.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> schedule = keras_adamx.schedules.REX(0.75, 1000)
        >>> [round(float(schedule(step)), 4) for step in (0, 500, 1000, 2000)]
        [0.75, 0.5, 0.0, 0.0]

    Source:
        Chen et al. 2021, "REX: revisiting budgeted training with an improved
        schedule", arXiv:2107.04197.
    """

    alpha: float = hyperparameter(0.0, at_least=0.0, at_most=1.0, scheduled=False)

    def value(self, step: Step) -> Any:
        passed, left = self.phase(step)
        bent = Phase(passed / (1.0 + left), 2.0 * left / (1.0 + left))
        first = self.initial_learning_rate
        return bent.between(first, self.alpha * first)
