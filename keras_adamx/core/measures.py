"""What a step was like: norms of gradients, steps, weights and slots of each variable.

Measured where the step is computed, as part of it, and kept in one small vector a
variable, which a callback reads. A step that nobody watches measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from keras import ops

from keras_adamx.core import backend, codecs, layouts
from keras_adamx.core.slots import Slot

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer
    from keras_adamx.core.values import Entry

# What the vector of a variable holds: sums of squares of the last update, and three
# counts; then a sum of squares a slot, zero if nobody asks for it.
GRADIENT, STEP, WEIGHTS, CLIPPED, NONFINITE, UPDATES = FIELDS = range(6)


class Measures(NamedTuple):
    """What was measured of one variable.

    Attributes:
        path: Path of the variable.
        gradient_norm: Norm of the gradient of the last update, before clipping.
        step_norm: Norm of how far the weights moved.
        weight_norm: Norm of the weights before that.
        clipped: In how many updates the gradient was clipped.
        nonfinite: How many gradients were not finite; 0 under "propagate".
        updates: How many updates were measured.
        slot_norms: Norm of each slot after the update, if they are measured.
    """

    path: str
    gradient_norm: float
    step_norm: float
    weight_norm: float
    clipped: int
    nonfinite: int
    updates: int
    slot_norms: dict[str, float]

    @property
    def layer(self) -> str:
        """The path without the name of the variable, which belongs to that layer."""
        return self.path.rpartition("/")[0] or self.path


def start(optimizer: Optimizer, slots: bool) -> None:
    """Measure from the next step on, with the norms of slots or without."""
    optimizer.measuring = True
    optimizer.measuring_slots |= slots
    with backend.outside_graph():
        entries = tuple(added(optimizer, entry) for entry in optimizer.entries)
    optimizer.keep(entries=entries)


def end(optimizer: Optimizer) -> None:
    """Measure no more."""
    optimizer.measuring = optimizer.measuring_slots = False


def added(optimizer: Optimizer, entry: Entry) -> Entry:
    """The entry with a vector for what is measured, if it has state at all."""
    if entry.measures is not None or not entry.has_state:
        return entry
    shape = (len(FIELDS) + len(entry.codecs),)
    part = codecs.Part("measures", shape, "float32", 0.0)
    slot = Slot(part.name, shape=shape)
    vector = backend.new_variable(
        optimizer,
        entry.variable,
        shape=shape,
        initializer="zeros",
        dtype=part.dtype,
        layout=layouts.of_state(entry.variable, slot, part, spread=False),
        name=f"{entry.path.replace('/', '_')}_{part.name}",
    )
    return entry._replace(measures=vector)


def of_update(
    entry: Entry,
    old: Any,
    gradient: Any,
    clipped: Any,
    weights: list[Any],
    stored: dict[str, Any],
    slots: bool,
    share: Any = None,
) -> Any:
    """The vector after an update.

    Args:
        entry: The variable.
        old: The vector before.
        gradient: The gradient as it came.
        clipped: The gradient after clipping.
        weights: The weights before and after the update.
        stored: What is stored of the slots after it.
        slots: Whether their norms are wanted.
        share: How much each row counts, where some rows are given, or None.
    """

    def squares(x: Any) -> Any:
        x = ops.square(ops.cast(x, "float32"))
        return ops.sum(x if share is None else share * x)

    before, after = (ops.cast(w, entry.compute_dtype) for w in weights)
    count = old[CLIPPED]
    if clipped is not gradient:
        count += ops.cast(ops.any(clipped != gradient), "float32")
    norms = [
        squares(codec.decode(name, stored)) if slots else old[len(FIELDS) + i]
        for i, (name, codec) in enumerate(entry.codecs.items())
    ]
    return ops.stack(
        [
            squares(gradient),
            squares(after - before),
            squares(before),
            count,
            old[NONFINITE],
            old[UPDATES] + 1.0,
            *norms,
        ]
    )


def counted(vectors: list[Any], gradients: list[Any]) -> list[Any]:
    """The vectors, one more counted where a gradient is not finite."""
    new = list(vectors)
    for i, gradient in enumerate(gradients):
        one = np.zeros(vectors[i].shape[0], "float32")
        one[NONFINITE] = 1.0
        finite = ops.all(ops.isfinite(gradient))
        new[i] += ops.where(finite, 0.0, ops.convert_to_tensor(one))
    return new


def read(entries: Sequence[Entry], values: Sequence[Any]) -> list[Measures]:
    """The vectors as numbers with names."""
    found = []
    for entry, value in zip(entries, values):
        numbers = value.tolist()  # Much faster than one by one.
        norms = [math.sqrt(x) for x in numbers[len(FIELDS) :]]
        found.append(
            Measures(
                path=entry.path,
                gradient_norm=math.sqrt(numbers[GRADIENT]),
                step_norm=math.sqrt(numbers[STEP]),
                weight_norm=math.sqrt(numbers[WEIGHTS]),
                clipped=int(numbers[CLIPPED]),
                nonfinite=int(numbers[NONFINITE]),
                updates=int(numbers[UPDATES]),
                slot_norms=dict(zip(entry.codecs, norms)),
            )
        )
    return found
