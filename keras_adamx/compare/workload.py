"""What optimizers are compared on: a model, data in three parts, a target."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import keras


class Part(NamedTuple):
    """Examples with their labels, as NumPy arrays in memory.

    Args:
        inputs: An array, or a dictionary or list of arrays, examples first.
        labels: An array of as many labels.

    Example:
        >>> import numpy as np
        >>> part = keras_adamx.compare.Part(np.ones((20, 3)), np.zeros(20))
        >>> part.inputs.shape
        (20, 3)
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

    Example:
        >>> import numpy as np
        >>> parts = [
        ...     keras_adamx.compare.Part(np.ones((n, 3)), np.zeros(n))
        ...     for n in (80, 10, 10)
        ... ]
        >>> data = keras_adamx.compare.Data(*parts)
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

    Example:
        >>> import numpy as np
        >>> def build():
        ...     return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> def data():
        ...     x = np.random.default_rng(0).normal(size=(100, 3)).astype("float32")
        ...     y = x.sum(axis=1, keepdims=True)
        ...     part = keras_adamx.compare.Part
        ...     return keras_adamx.compare.Data(
        ...         part(x[:80], y[:80]), part(x[80:90], y[80:90]), part(x[90:], y[90:])
        ...     )
        >>> workload = keras_adamx.compare.Workload(
        ...     "sums", "Sums of three numbers; one layer.", build, data, "mse", "loss",
        ...     "loss", higher_is_better=False, target=0.1, steps=100, batch_size=16,
        ... )
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
