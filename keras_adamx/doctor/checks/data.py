"""What is wrong with the data by itself, or as inputs of this model."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from keras_adamx.doctor.examination import Examination
from keras_adamx.doctor.registry import Seen, Unable, check
from keras_adamx.doctor.trace import Call

# What may be given any numbers, since it brings them to size or looks them up.
_TAKE_ANYTHING = (
    keras.layers.Normalization,
    keras.layers.Rescaling,
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.UnitNormalization,
    keras.layers.Embedding,
    keras.layers.CategoryEncoding,
    keras.layers.Discretization,
    keras.layers.Hashing,
    keras.layers.StringLookup,
    keras.layers.IntegerLookup,
)


def is_numeric(array: np.ndarray) -> bool:
    """Whether an array holds numbers that NumPy can count with."""
    kind = array.dtype.kind
    return kind in "iuf" or array.dtype.name in ("bfloat16", "float16")


def _parts(examination: Examination) -> Iterator[tuple[str, np.ndarray]]:
    yield from examination.inputs.items()
    for output in examination.outputs:
        if output.target is not None:
            yield f"the targets of {output.name}", output.target
    weight = examination.sample.sample_weight
    for each in [] if weight is None else keras.tree.flatten(weight):
        yield "the sample weights", each


@check(
    "data-not-finite",
    severity="error",
    means="Inputs, targets or sample weights hold NaN or infinity.",
    why="one such number makes the loss, and after a step all weights, NaN",
    advice="find out where they come from; then drop the rows or fill the gaps, with a "
    "column that says which were filled",
    cost="none",
)
def data_not_finite(examination: Examination) -> Iterator[Seen | Unable]:
    """Numbers that are none."""
    for where, array in _parts(examination):
        if not is_numeric(array):
            continue
        finite = np.isfinite(array.astype(np.float32))
        if finite.all():
            continue
        bad = ~finite.reshape(len(finite), -1)
        rows, values = int(bad.any(1).sum()), int(bad.sum())
        saw = f"{values} values in {rows} of {len(bad)} rows are NaN or infinite"
        numbers = {"values": values, "rows": rows}
        if array.ndim == 2:
            saw += f", in {_columns(np.flatnonzero(bad.any(0)))}"
        yield Seen(where, saw, numbers)


@check(
    "embedding-index-invalid",
    severity="error",
    means="An index is negative, not whole, or beyond the table of its `Embedding`.",
    why="there is no row for it: PyTorch and TensorFlow raise an error or return "
    "zeros, JAX returns NaN or another row",
    advice="set `input_dim` to the largest index + 1, or map rare indices to one",
    cost="1 forward and backward pass, shared",
)
def embedding_index(examination: Examination) -> Iterator[Seen | Unable]:
    """Indices against the tables that they are looked up in."""
    calls = examination.first.calls
    if calls is None:
        yield Unable("embeddings", examination.first.unwatched)
    for call in calls or []:
        if not isinstance(call.layer, keras.layers.Embedding) or call.given is None:
            continue
        low, high = float(call.given[2]), float(call.given[3])
        whole = True
        for array in examination.inputs.values():
            if is_numeric(array) and call in examination.takers(array):
                low, high = float(array.min()), float(array.max())
                whole = bool(np.all(array == np.floor(array)))
        size = int(call.layer.input_dim)
        if whole and low >= 0 and high < size:
            continue
        saw = f"indices from {low:g} to {high:g} for a table of {size} rows"
        saw += "" if whole else ", and not all of them are whole numbers"
        numbers = {"smallest": low, "largest": high, "input_dim": size}
        yield Seen(f"layer '{call.layer.name}'", saw, numbers)


@check(
    "constant-columns",
    severity="warning",
    means="Columns of a table hold one number only, or nothing but zeros.",
    why="they tell nothing; a column that is constant by mistake was to tell something",
    advice="look at where the column is made; if it is meant to be constant, drop it",
    cost="none",
)
def constant_columns(examination: Examination) -> Iterator[Seen | Unable]:
    """Inputs that are the same in all rows."""
    for where, array in examination.inputs.items():
        if not is_numeric(array) or len(array) < 2:
            continue
        same = np.all(array == array[:1], axis=0)
        takers = [call.layer for call in examination.takers(array)]
        if any(isinstance(layer, keras.layers.Embedding) for layer in takers):
            continue  # Numbers of positions are the same in all rows.
        if same.all():
            yield Seen(where, "all rows are the same", {"share": 1.0})
        elif array.ndim == 2:
            zero = same & (array[0] == 0)
            other = np.flatnonzero(same & ~zero)
            if len(other):
                saw = f"{_columns(other)} of {len(same)} never change and are not zero"
                yield Seen(where, saw, {"columns": len(other)})
            elif zero.mean() > examination.thresholds.constant_share:
                saw = f"{zero.sum()} of {len(zero)} columns are zero in all rows"
                yield Seen(where, saw, {"share": float(zero.mean())})


@check(
    "inputs-not-normalised",
    severity="warning",
    means="An input, or a column of a table, is far from a size of 1, or is an offset "
    "with little on top.",
    why="initialisers expect inputs of about 1: the first layers answer in proportion, "
    "and no one learning rate fits all weights",
    advice="divide pixels by 255; standardise columns with "
    "`keras.layers.Normalization` adapted to the training data",
    cost="1 forward and backward pass, shared",
    explained_by=("data-not-finite",),
)
def inputs_not_normalised(examination: Examination) -> Iterator[Seen | Unable]:
    """Inputs whose size or offset no initialiser expects."""
    for where, array in examination.inputs.items():
        if not is_numeric(array):
            yield Unable(where, f"it holds {array.dtype}, not numbers")
            continue
        found = _unnormalised(examination, array)
        if found is None:
            continue
        takers = examination.takers(array)
        if takers:
            matters = any(not isinstance(c.layer, _TAKE_ANYTHING) for c in takers)
        else:
            matters = _first_is_large(examination)
        if matters:
            yield Seen(where, *found)


def _unnormalised(
    examination: Examination, array: np.ndarray
) -> tuple[str, dict[str, float]] | None:
    """What is unusual about the numbers, in words and numbers."""
    limits = examination.thresholds
    x = array.astype(np.float64).reshape(len(array), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        mean, size = float(x.mean()), float(np.sqrt(np.mean(x**2)))
        columns = np.sqrt(np.mean(x**2, axis=0)) if array.ndim == 2 else np.array([])
    spread = float(np.sqrt(max(size**2 - mean**2, 0.0)))
    numbers = {"mean": mean, "std": spread, "rms": size}
    saw = f"mean {mean:.3g}, standard deviation {spread:.3g}, from {x.min():.3g} to "
    saw += f"{x.max():.3g}"
    large = np.flatnonzero(columns > limits.large_input)
    if len(large):
        largest = int(columns.argmax())
        saw = f"{_columns(large)} of {len(columns)} have a root mean square above "
        saw += (
            f"{limits.large_input:g}; the largest is {columns[largest]:.3g} in column "
        )
        saw += f"{largest}"
        return saw, {**numbers, "columns": len(large), "largest": columns[largest]}
    if size > limits.large_input or 0.0 < size < limits.small_input:
        return saw, numbers
    if spread and abs(mean) / spread > limits.offset:
        return f"{saw}: an offset of {abs(mean) / spread:.3g} deviations", numbers
    return None


def _first_is_large(examination: Examination) -> bool:
    """Whether the first layer with a kernel is given what is not normalised either."""
    if examination.first.calls is None:
        # What is between cannot be seen, nor whether there is a layer that normalises.
        return False
    first: Call | None = next((c for c in examination.calls if c.has_kernel), None)
    if first is None or first.given is None:
        return False
    mean, size = float(first.given[0]), float(first.given[1])
    limits = examination.thresholds
    spread = np.sqrt(max(size**2 - mean**2, 0.0))
    if limits.small_input <= size <= limits.large_input:
        return abs(mean) > limits.offset * spread
    return True


@check(
    "sample-weight-invalid",
    severity="error",
    means="Sample weights are negative, or all zero.",
    why="a negative weight makes the loss larger where the model is right; with none "
    "there is no loss",
    advice="weights are >= 0 and usually have a mean of 1",
    cost="none",
)
def sample_weight(examination: Examination) -> Iterator[Seen | Unable]:
    """Weights of rows that are none."""
    weight = examination.sample.sample_weight
    for array in [] if weight is None else keras.tree.flatten(weight):
        negative = int((array < 0).sum())
        numbers = {"negative": negative, "smallest": float(array.min())}
        if negative:
            yield Seen("the sample weights", f"{negative} are negative", numbers)
        elif not array.any():
            yield Seen("the sample weights", "all are zero", numbers)


def _columns(indices: np.ndarray) -> str:
    """Columns in words, the first few by number."""
    shown = ", ".join(str(int(index)) for index in indices[:5])
    if len(indices) == 1:
        return f"column {shown}"
    return f"{len(indices)} columns ({shown}{', …' if len(indices) > 5 else ''})"
