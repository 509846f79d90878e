"""What optimizers are compared on: a model, data in three parts, a target."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import keras


class Part(NamedTuple):
    """Examples with their labels, as NumPy arrays in memory.

    Attributes:
        inputs: An array, or a dictionary or list of arrays, examples first.
        labels: An array of as many labels.
    """

    inputs: Any
    labels: Any


@dataclasses.dataclass(frozen=True)
class Data:
    """Data in three parts that share no example.

    Args:
        train: What the models are trained on.
        tuning: What settings are chosen on.
        test: What is reported.
    """

    train: Part
    tuning: Part
    test: Part


@dataclasses.dataclass(frozen=True)
class Workload:
    """A training task on which optimizers are compared.

    Args:
        name: Name of the workload.
        description: One sentence: the data and the model.
        build: Function without arguments that returns the model, not compiled. Its
            initial weights come from Keras' global seed.
        data: Function without arguments that returns the data.
        loss: Loss, as `compile` takes it; a function without arguments if it is an
            object.
        metric: Function without arguments that returns the metric, or `"loss"`.
        metric_name: What the metric is called, such as `"accuracy"`.
        higher_is_better: Whether a larger value of the metric is better.
        target: Value of the metric to be reached within the budget, or None.
        steps: Budget: training steps a run.
        batch_size: Examples a step.
        evaluate_every: Steps between evaluations, or None for an epoch.
        jit_compile: Whether XLA compiles the step, by the name of the backend; the
            backend's default where it is not named.
    """

    name: str
    description: str
    build: Callable[[], keras.Model]
    data: Callable[[], Data]
    loss: Any
    metric: Any
    metric_name: str
    higher_is_better: bool
    target: float | None
    steps: int
    batch_size: int
    evaluate_every: int | None = None
    jit_compile: dict[str, bool] = dataclasses.field(default_factory=dict)
