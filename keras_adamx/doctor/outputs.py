"""What each output of a model is trained on: its targets, its loss, its activation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import losses

# Classes and functions of losses by kind.
_KINDS: dict[str, tuple[Any, ...]] = {
    "sparse": (
        losses.SparseCategoricalCrossentropy,
        losses.sparse_categorical_crossentropy,
    ),
    "categorical": (
        losses.CategoricalCrossentropy,
        losses.categorical_crossentropy,
        losses.CategoricalFocalCrossentropy,
        losses.categorical_focal_crossentropy,
    ),
    "binary": (
        losses.BinaryCrossentropy,
        losses.binary_crossentropy,
        losses.BinaryFocalCrossentropy,
        losses.binary_focal_crossentropy,
    ),
    "squared": (losses.MeanSquaredError, losses.mean_squared_error),
    "distance": (
        losses.MeanAbsoluteError,
        losses.mean_absolute_error,
        losses.Huber,
        losses.huber,
        losses.LogCosh,
        losses.log_cosh,
    ),
}
CLASSES = ("sparse", "categorical", "binary")
NUMBERS = ("squared", "distance")


@dataclasses.dataclass
class Output:
    """One output of the model.

    Attributes:
        name: How findings call it.
        target: Its targets in the sample, or None.
        loss: Its loss, or None.
        kind: What kind of loss that is; "" if none that is known.
        predictions: What the model says on the first batch, or None.
        activation: Name of the function that it ends with, or None if unknown.
    """

    name: str
    target: np.ndarray | None
    loss: Any
    kind: str
    predictions: np.ndarray | None = None
    activation: str | None = None

    @property
    def from_logits(self) -> bool:
        """Whether the loss takes logits."""
        return bool(getattr(self.loss, "from_logits", False))

    @property
    def is_plain(self) -> bool:
        """Whether the loss has no focus or other factor, so that chance is known."""
        loss = self.loss
        name = str(getattr(loss, "name", None) or getattr(loss, "__name__", ""))
        return "focal" not in name

    @property
    def classes(self) -> int | None:
        """The number of its units, or None if the model could not be run."""
        return None if self.predictions is None else int(self.predictions.shape[-1])

    def labels(self) -> np.ndarray | None:
        """Its targets as numbers of classes, or None if they are none."""
        y = self.target
        if y is None or not (np.issubdtype(y.dtype, np.number) or y.dtype == bool):
            return None
        if self.kind == "sparse":
            return y.reshape(-1)
        if self.kind == "categorical" and y.ndim > 1 and y.shape[-1] > 1:
            return y.reshape(-1, y.shape[-1]).argmax(-1)
        if self.kind == "binary" and (y.ndim == 1 or y.shape[-1] == 1):
            return y.reshape(-1)
        return None


def kind_of(loss: Any) -> str:
    """The kind of a loss that Keras knows; "" for others."""
    for kind, known in _KINDS.items():
        for each in known:
            if loss is each or (isinstance(each, type) and isinstance(loss, each)):
                return kind
    return ""


def outputs_of(model: keras.Model, loss: Any, y: Any, number: int) -> list[Output]:
    """The outputs of a model with their losses and targets, as far as known."""
    names = list(getattr(model, "output_names", None) or [])
    if len(names) != number:
        names = [f"{i}" for i in range(number)]
    spread_loss = _spread(loss, names, everywhere=True)
    spread_y = _spread(y, names, everywhere=False)
    found = []
    for name, each, target in zip(names, spread_loss, spread_y):
        if isinstance(each, (str, dict)):
            each = losses.get(each)
        called = f"output '{name}'" if number > 1 else "the output"
        found.append(Output(called, target, each, kind_of(each)))
    return found


def _spread(value: Any, names: list[str], everywhere: bool) -> list[Any]:
    """One value for each name, of a dict, a list, or one for all."""
    if isinstance(value, Mapping) and not {"class_name", "config"} <= set(value):
        return [value.get(name) for name in names]
    if isinstance(value, (list, tuple)):
        values = list(value)
        return values if len(values) == len(names) else [None] * len(names)
    return [value if everywhere or i == 0 else None for i in range(len(names))]
