"""What goes into layers and comes out of them, in any kind of model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_adamx.core.models import leaves_of

_RELUS = ("relu", "relu6")


class Call(NamedTuple):
    """One call of a layer.

    Attributes:
        layer: The layer.
        given: Mean, root mean square, smallest and largest of what it was given, and
            the number of values; None if it was given no numbers.
        rms: Root mean square of what it returned.
        dead: Share of its ReLU units that are zero for all rows; None if it has none.
        output: The number of the output of the model that it returned, or None.
    """

    layer: Any
    given: np.ndarray | None
    rms: float
    dead: float | None
    output: int | None

    @property
    def has_kernel(self) -> bool:
        """Whether the layer multiplies what it is given by a matrix."""
        embedding = isinstance(self.layer, keras.layers.Embedding)
        ranks = [len(variable.shape) for variable in self.layer.trainable_variables]
        return not embedding and max(ranks, default=0) > 1


def activation_of(layer: Any) -> str | None:
    """The name of the function that a layer ends with; "linear" if it has none."""
    for kind, name in ((keras.layers.ReLU, "relu"), (keras.layers.Softmax, "softmax")):
        if isinstance(layer, kind):
            return name
    function = getattr(layer, "activation", None)
    if function is not None:
        return getattr(function, "__name__", None)
    plain = (keras.layers.Dense, keras.layers.EinsumDense)
    return "linear" if isinstance(layer, plain) else None


class Trace:
    """Records the calls of the innermost layers while it is entered.

    What it records are tensors, so that a compiled pass can return them: `tensors`
    after the pass, `calls` of their values.
    """

    def __init__(self, model: keras.Model) -> None:
        self.leaves = leaves_of(model)
        self.layers: list[Any] = []
        self.tensors: list[dict[str, Any]] = []
        self.outputs: list[int | None] = []
        self._returned: list[Any] = []

    @contextlib.contextmanager
    def entered(self) -> Iterator[Trace]:
        """Calls of layers are recorded here."""
        self.layers, self.tensors, self._returned = [], [], []
        for leaf in self.leaves:
            # Past `__setattr__`, with which layers track what is theirs.
            vars(leaf)["call"] = self._recording(leaf, leaf.call)
        try:
            yield self
        finally:
            for leaf in self.leaves:
                vars(leaf).pop("call", None)
            self._returned = []

    def _recording(self, layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            record: dict[str, Any] = {}
            given = args[0] if args else next(iter(kwargs.values()), None)
            # Before the call: what it is given may be why it fails.
            self.layers.append(layer)
            self.tensors.append(record)
            if _is_numeric(given):
                record["given"] = _summary(given)
            returned = call(*args, **kwargs)
            first = returned[0] if isinstance(returned, (list, tuple)) else returned
            self._returned.append((first, record))
            if _is_numeric(first):
                record["rms"] = _rms(first)
                if activation_of(layer) in _RELUS and len(first.shape) > 1:
                    record["dead"] = _dead(first, layer)
            return returned

        return recorded

    def mark_outputs(self, outputs: list[Any]) -> list[int | None]:
        """The number of the output that each call returned."""
        ids = {id(output): number for number, output in enumerate(outputs)}
        found = {id(record): ids.get(id(first)) for first, record in self._returned}
        return [found.get(id(record)) for record in self.tensors]


def calls_of(
    layers: list[Any], values: list[dict[str, Any]], outputs: list[int | None]
) -> list[Call]:
    """The calls from what a pass returned."""
    return [
        Call(
            layer,
            record.get("given"),
            float(record.get("rms", np.nan)),
            float(record["dead"]) if "dead" in record else None,
            output,
        )
        for layer, record, output in zip(layers, values, outputs)
    ]


def _is_numeric(value: Any) -> bool:
    if not ops.is_tensor(value):
        return False
    return keras.backend.standardize_dtype(value.dtype) not in ("string", "bool")


def _rms(x: Any) -> Any:
    return ops.sqrt(ops.mean(ops.square(ops.cast(x, "float32"))))


def _summary(x: Any) -> Any:
    x = ops.cast(x, "float32")
    size = float(np.prod(x.shape))
    return ops.stack(
        [
            ops.mean(x),
            _rms(x),
            ops.min(x),
            ops.max(x),
            ops.convert_to_tensor(size, "float32"),
        ]
    )


def summary_of(array: np.ndarray) -> np.ndarray:
    """Of an array what calls hold of the tensors that layers are given."""
    x = array.astype(np.float64)
    return np.array(
        [x.mean(), np.sqrt(np.mean(np.square(x))), x.min(), x.max(), x.size]
    )


def _dead(x: Any, layer: Any) -> Any:
    first = getattr(layer, "data_format", None) == "channels_first"
    units = 1 if first else len(x.shape) - 1
    others = [axis for axis in range(len(x.shape)) if axis != units]
    largest = ops.max(ops.abs(ops.cast(x, "float32")), axis=others)
    return ops.mean(ops.cast(ops.equal(largest, 0.0), "float32"))
