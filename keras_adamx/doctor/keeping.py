"""A model as it was, whatever was tried with it in between."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_adamx.core.keeping import kept_values
from keras_adamx.core.models import fresh_loss


def optimizer_of(model: keras.Model) -> Any:
    """The optimizer of a model, or None; a model before `compile` has no attribute."""
    return getattr(model, "optimizer", None)


def variables_of(model: keras.Model) -> list[Any]:
    """Everything that a training changes: statistics, seeds and metrics as well."""
    found = [*model.variables, *model.metrics_variables]
    found += getattr(optimizer_of(model), "variables", [])
    return list({id(variable): variable for variable in found}.values())


@contextlib.contextmanager
def kept(model: keras.Model, loss: Any = None) -> Iterator[dict[int, np.ndarray]]:
    """A context in which a model may be trained; it gives the values to come back.

    Weights, optimizer, statistics, seeds, metrics and losses are as before afterwards,
    to the bit.
    """
    values = kept_values(variables_of(model))
    with values as before, fresh_loss(model, loss), warnings.catch_warnings():
        # What Keras warns of is a finding here.
        for words in ("received `from_logits=True`", "using a softmax over axis"):
            warnings.filterwarnings("ignore", message=f"(?s).*{words}")
        yield before
