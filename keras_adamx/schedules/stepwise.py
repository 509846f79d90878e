"""Schedules that change at certain steps and are constant in between."""

from __future__ import annotations

from typing import Any

from keras_adamx.core.arguments import hyperparameter
from keras_adamx.core.schedules import Schedule, boundaries, steps
from keras_adamx.core.steps import Step, pick, powered


class StepDecay(Schedule):
    """Multiplies the learning rate by `gamma` after every `step_size` steps.

    With step s = 0, 1, … and k = step_size:

        η(s) = initial_learning_rate · gamma^⌊s / k⌋

    PyTorch calls it StepLR.

    Args:
        initial_learning_rate: Number >= 0.
        step_size: k >= 1 in steps, or > 0 in epochs.
        gamma: Number > 0.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> schedule = keras_adamx.schedules.StepDecay(0.1, 30, steps_per_epoch=100)
        >>> [round(float(schedule(step)), 4) for step in (0, 2999, 3000, 6000)]
        [0.1, 0.1, 0.01, 0.001]
    """

    initial_learning_rate: float = hyperparameter(at_least=0.0, scheduled=False)
    step_size: float = steps()
    gamma: float = hyperparameter(0.1, above=0.0, scheduled=False)

    def value(self, step: Step) -> Any:
        periods, _ = step.divided(self.in_steps("step_size"))
        return self.initial_learning_rate * powered(self.gamma, periods)


class MultiStepDecay(Schedule):
    """Multiplies the learning rate by `gamma` at each of some steps.

    With boundaries b₁ < b₂ < …:

        η(s) = initial_learning_rate · gamma^n,  n = number of bᵢ <= s

    PyTorch calls it MultiStepLR. Step bᵢ is the first with the new rate, whereas
    `PiecewiseConstantDecay` of Keras changes one step later.

    Args:
        initial_learning_rate: Number >= 0.
        boundaries: Increasing steps >= 1, or epochs > 0.
        gamma: Number > 0.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> schedule = keras_adamx.schedules.MultiStepDecay(0.1, [100, 150])
        >>> [round(float(schedule(step)), 4) for step in (0, 99, 100, 150)]
        [0.1, 0.1, 0.01, 0.001]
    """

    initial_learning_rate: float = hyperparameter(at_least=0.0, scheduled=False)
    boundaries: list[float] = boundaries()
    gamma: float = hyperparameter(0.1, above=0.0, scheduled=False)

    def value(self, step: Step) -> Any:
        reached = self.in_steps("boundaries")
        rates = [
            self.initial_learning_rate * self.gamma**n for n in range(len(reached) + 1)
        ]
        return pick(rates, step.count(reached))
