"""Schedules that change at certain steps and are constant in between."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_adamx.core.arguments import Declared, count, hyperparameter


@keras.saving.register_keras_serializable(package="keras_adamx")
class StepDecay(Declared, keras.optimizers.schedules.LearningRateSchedule):
    """Multiplies the learning rate by `gamma` after every `step_size` steps.

    With step s = 0, 1, … and k = step_size (times `steps_per_epoch`, where given):

        η(s) = initial_learning_rate · gamma^⌊s / k⌋

    PyTorch calls it StepLR.

    Args:
        initial_learning_rate: Number >= 0.
        step_size: Integer >= 1: steps, or epochs where `steps_per_epoch` is given.
        gamma: Number > 0.
        steps_per_epoch: Integer >= 1, or None to count steps.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> schedule = keras_adamx.schedules.StepDecay(0.1, 30, steps_per_epoch=100)
        >>> [round(float(schedule(step)), 4) for step in (0, 2999, 3000, 6000)]
        [0.1, 0.1, 0.01, 0.001]
    """

    initial_learning_rate: float = hyperparameter(None, at_least=0.0)
    step_size: int = count(None)
    gamma: float = hyperparameter(0.1, above=0.0)
    steps_per_epoch: int | None = count(None, optional=True)

    def __init__(
        self,
        initial_learning_rate: float,
        step_size: int,
        gamma: float = 0.1,
        steps_per_epoch: int | None = None,
    ) -> None:
        super().__init__()
        self.initial_learning_rate = initial_learning_rate
        self.step_size = step_size
        self.gamma = gamma
        self.steps_per_epoch = steps_per_epoch

    def __call__(self, step: Any) -> Any:
        # Whole steps are divided as integers: float32 misplaces a boundary past 2^24.
        period = self.step_size * (self.steps_per_epoch or 1)
        passed = ops.cast(ops.convert_to_tensor(step) // period, "float32")
        return self.initial_learning_rate * ops.power(self.gamma, passed)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {name: getattr(self, name) for name in self.arguments}
