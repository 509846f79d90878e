"""Everything as it was, whatever was tried in between."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from keras import ops

from keras_adamx.core import backend
from keras_adamx.core.models import kept_global_seed


def array_of(value: Any) -> np.ndarray:
    """A copy of a variable, of which parts may be elsewhere, or of a tensor."""
    return np.array(ops.convert_to_numpy(backend.whole(value)))


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
def kept_values(variables: Iterable[Any]) -> Iterator[dict[int, np.ndarray]]:
    """Variables come back to their values, to the bit; it gives them by `id`."""
    different = {id(variable): variable for variable in variables}
    before = {key: array_of(variable) for key, variable in different.items()}
    try:
        yield before
    finally:
        # Never read here: an error within a step may have left them without a value.
        for key, variable in different.items():
            variable.assign(before[key])
