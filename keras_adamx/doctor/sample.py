"""Some rows of the data, as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

ALLOWED = (
    "a tuple (x, y) or (x, y, sample_weight) of arrays, lists or dicts of arrays, a "
    "tf.data.Dataset, a keras.utils.PyDataset, or another iterable of such tuples that "
    "can be gone through again"
)


class Sample(NamedTuple):
    """Rows of the data.

    Attributes:
        x: What the model is given: an array, or a structure of arrays.
        y: The targets likewise, or None.
        sample_weight: The weights of the rows likewise, or None.
        rows: Number of rows.
        described: Which rows of how many, in words.
        in_order: Whether neighbours are neighbours in the training too.
    """

    x: Any
    y: Any
    sample_weight: Any
    rows: int
    described: str
    in_order: bool

    def part(self, start: int, size: int) -> tuple[Any, Any, Any]:
        """A batch of rows from `start` on, from the first again after the last."""
        chosen = (start + np.arange(size)) % self.rows
        return tuple(
            _mapped(lambda array: array[chosen], each)
            for each in (self.x, self.y, self.sample_weight)
        )


def take(data: Any, rows: int, seed: int) -> Sample:
    """A sample of at most so many rows."""
    if isinstance(data, keras.utils.PyDataset):
        return _from_batches(_random_batches(data, seed), rows, "random batches", True)
    if isinstance(data, tuple) and len(data) in (2, 3):
        return _from_arrays(data, rows, seed)
    batched = hasattr(data, "element_spec") or isinstance(data, Iterable)
    known = isinstance(data, (Mapping, str, np.ndarray)) or hasattr(data, "dtype")
    if not batched or known or iter(data) is data:
        raise TypeError(
            f"diagnose: argument `data` must be {ALLOWED}. Received: a "
            f"{type(data).__name__}"
        )
    return _from_batches(iter(data), rows, "the first batches", True)


def _from_arrays(data: tuple[Any, ...], rows: int, seed: int) -> Sample:
    parts = [_mapped(_as_array, part) for part in data]
    parts += [None] * (3 - len(parts))
    lengths = {len(array) for part in parts for array in _leaves(part)}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            "diagnose: argument `data` must have the same number of rows, and at least "
            f"one, in all of its arrays. Received: {sorted(lengths)} rows"
        )
    total = lengths.pop()
    number = min(rows, total)
    chosen = np.random.default_rng(seed).choice(total, number, replace=False)
    x, y, weight = (_mapped(lambda array: array[chosen], part) for part in parts)
    some = f"{number} of {total}" if number < total else f"all {total}"
    return Sample(x, y, weight, number, f"{some} rows, chosen at random", False)


def _random_batches(data: Any, seed: int) -> Iterator[Any]:
    number = data.num_batches if data.num_batches is not None else len(data)
    for index in np.random.default_rng(seed).permutation(number):
        yield data[int(index)]


def _from_batches(
    batches: Iterator[Any], rows: int, which: str, in_order: bool
) -> Sample:
    found: list[tuple[Any, ...]] = []
    number = 0
    for batch in batches:
        if not isinstance(batch, (tuple, list)) or len(batch) not in (1, 2, 3):
            raise TypeError(
                "diagnose: argument `data` must give batches (x, y) or (x, y, "
                f"sample_weight). Received: a batch that is a {type(batch).__name__}"
            )
        arrays = [_mapped(_as_array, part) for part in batch]
        found.append((*arrays, *[None] * (3 - len(arrays))))
        number += len(_leaves(arrays[0])[0])
        if number >= rows:
            break
    if not number:
        raise ValueError("diagnose: argument `data` has no rows.")
    x, y, weight = (_joined([batch[i] for batch in found]) for i in range(3))
    described = f"{number} rows, {which}"
    return Sample(x, y, weight, number, described, in_order)


def _joined(parts: list[Any]) -> Any:
    if parts[0] is None:
        return None
    return keras.tree.map_structure(lambda *arrays: _concatenated(arrays), *parts)


def _concatenated(arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    shapes = {array.shape[1:] for array in arrays}
    if len({len(shape) for shape in shapes}) == 1 and len(shapes) > 1:
        # Sequences that were padded batch by batch.
        longest = np.max(list(shapes), axis=0)
        arrays = tuple(
            np.pad(a, [(0, 0), *((0, m - n) for m, n in zip(longest, a.shape[1:]))])
            for a in arrays
        )
    return np.concatenate(arrays)


def _as_array(value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        is_tensor = keras.ops.is_tensor(value) or hasattr(value, "detach")
        value = keras.ops.convert_to_numpy(value) if is_tensor else np.asarray(value)
    if value.ndim == 0:
        raise ValueError(
            "diagnose: argument `data` must hold arrays with a row for each example. "
            f"Received: {value!r}"
        )
    if value.dtype == np.float64:
        return value.astype(keras.config.floatx())
    if value.dtype in (np.int64, np.uint64, np.uint32) and _fits(value):
        return value.astype(np.int32)
    return value


def _fits(value: np.ndarray) -> bool:
    limits = np.iinfo(np.int32)
    return not value.size or (value.min() >= limits.min and value.max() <= limits.max)


def _mapped(function: Callable[[Any], Any], structure: Any) -> Any:
    """A structure with a function of its arrays; a list of numbers is one array."""
    if structure is None:
        return None
    if isinstance(structure, Mapping):
        return {key: _mapped(function, value) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        inner = [_mapped(function, value) for value in structure if _is_array(value)]
        if inner and len(inner) == len(structure):
            return type(structure)(inner)
    return function(structure)


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") or isinstance(value, Mapping)


def _leaves(structure: Any) -> list[Any]:
    return [] if structure is None else keras.tree.flatten(structure)
