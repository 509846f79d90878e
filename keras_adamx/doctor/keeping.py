"""Everything as it was, whatever was tried in between."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_adamx.core import backend
from keras_adamx.core.bridge import fresh_loss, kept_global_seed


def array_of(value: Any) -> np.ndarray:
    """A copy of a variable or tensor."""
    return np.array(ops.convert_to_numpy(value))


def optimizer_of(model: keras.Model) -> Any:
    """The optimizer of a model, or None; a model before `compile` has no attribute."""
    return getattr(model, "optimizer", None)


def variables_of(model: keras.Model) -> list[Any]:
    """Everything that a training changes: statistics, seeds and metrics as well."""
    found = [*model.variables, *model.metrics_variables]
    found += getattr(optimizer_of(model), "variables", [])
    return list({id(variable): variable for variable in found}.values())


@contextlib.contextmanager
def kept_random_states() -> Iterator[None]:
    """Random states of Python, NumPy, Keras and the backend stay as they are."""
    state, numpy_state = random.getstate(), np.random.get_state()
    with kept_global_seed(), backend.randomness_kept():
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)


@contextlib.contextmanager
def kept(model: keras.Model, loss: Any = None) -> Iterator[dict[int, np.ndarray]]:
    """A context in which a model may be trained; it gives the values to come back.

    Weights, optimizer, statistics, seeds, metrics and losses are as before afterwards,
    to the bit.
    """
    before = [(variable, array_of(variable)) for variable in variables_of(model)]
    with fresh_loss(model, loss), warnings.catch_warnings():
        # What Keras warns of is a finding here.
        for words in ("received `from_logits=True`", "using a softmax over axis"):
            warnings.filterwarnings("ignore", message=f"(?s).*{words}")
        try:
            yield {id(variable): value for variable, value in before}
        finally:
            for variable, value in before:
                if array_of(variable).tobytes() != value.tobytes():
                    variable.assign(value)
