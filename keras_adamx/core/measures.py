"""What a step was like: norms of gradients, steps, weights and slots of each variable.

Measured where the step is computed, as part of it, and kept in one small table with a
row a variable, which a callback reads. A step that nobody watches measures nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from keras import ops

from keras_adamx.core import backend

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer
    from keras_adamx.core.values import Common, Entry

# The columns of the table: sums of squares in the last update of a variable, three
# counts, number and learning rate of that update; then a sum of squares a slot, 0 if
# nobody asks for it.
GRADIENT, STEP, WEIGHTS, CLIPPED, NONFINITE, UPDATES, LAST, RATE = FIELDS = range(8)


class Measures(NamedTuple):
    """What was measured of one variable.

    Where only some rows of a variable were updated (sparse="lazy"), norms are those of
    these rows.

    Attributes:
        path: Path of the variable.
        shape: Its shape.
        updated: Whether it was part of the last update. If not, all norms are 0.
        gradient_norm: Norm of the gradient, before clipping.
        step_norm: Norm of how far the weights moved, before a constraint.
        weight_norm: Norm of the weights before that.
        clipped: In how many updates the gradient was clipped.
        nonfinite: How many gradients were not finite; 0 under "propagate".
        updates: How many updates were measured.
        slot_norms: Norm of each slot after the update, if they are measured.
    """

    path: str
    shape: tuple[int, ...]
    updated: bool
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


class Measured:
    """The table as it was after a step."""

    def __init__(self, table: Any, entries: Sequence[Entry], numbers: Any) -> None:
        """Copy `numbers`, the value of the variable `table`."""
        self._table = table
        self._entries = entries
        # Lists: they are short, and NumPy takes a microsecond or more to begin.
        self._columns: list[list[float]] = numbers.T.tolist()
        newest = max(self._columns[LAST])
        # Others may not have been updated for long, or never will be.
        self._current = [0.0 < last == newest for last in self._columns[LAST]]

    @property
    def any(self) -> bool:
        """Whether there was an update at all."""
        return any(self._current)

    def norm(self, column: int) -> float:
        """A norm over all variables of the last update."""
        squares = itertools.compress(self._columns[column], self._current)
        return math.sqrt(sum(squares))

    def since(self, before: Measured, column: int) -> float:
        """By how much a count has grown."""
        earlier = sum(before._columns[column]) if before._table is self._table else 0.0
        return sum(self._columns[column]) - earlier

    @property
    def learning_rate(self) -> float | None:
        """That of the last update, or None if there was none."""
        rates = self._columns[RATE]
        return next(itertools.compress(rates, self._current), None)

    def each(self) -> list[Measures]:
        """What was measured of each variable that has state."""
        found = []
        rows = zip(self._entries, self._current, zip(*self._columns))
        for entry, updated, row in rows:
            if not entry.has_state:
                continue
            squares = [x if updated else 0.0 for x in row]
            norms = map(math.sqrt, squares[len(FIELDS) :])
            found.append(
                Measures(
                    path=entry.path,
                    shape=entry.shape,
                    updated=updated,
                    gradient_norm=math.sqrt(squares[GRADIENT]),
                    step_norm=math.sqrt(squares[STEP]),
                    weight_norm=math.sqrt(squares[WEIGHTS]),
                    clipped=int(row[CLIPPED]),
                    nonfinite=int(row[NONFINITE]),
                    updates=int(row[UPDATES]),
                    slot_norms=dict(zip(entry.codecs, norms)),
                )
            )
        return found


def start(optimizer: Optimizer, slots: bool) -> None:
    """Measure from the next step on, with the norms of slots or without."""
    optimizer.measuring = True
    optimizer.measuring_slots |= slots
    make_room(optimizer)


def end(optimizer: Optimizer) -> None:
    """Measure no more."""
    optimizer.measuring = optimizer.measuring_slots = False


def make_room(optimizer: Optimizer) -> None:
    """Make a table that has room for all variables, unless there is one."""
    entries = optimizer.entries
    if not entries:
        return
    # Room for the slots too, so that there is no other table for whom asks for them.
    shape = (len(entries), len(FIELDS) + max(len(entry.codecs) for entry in entries))
    if optimizer.measured is not None and tuple(optimizer.measured.shape) == shape:
        return
    with backend.outside_graph():
        table = backend.new_variable(
            optimizer,
            entries[0].variable,
            shape=shape,
            initializer="zeros",
            dtype="float32",
            name="measured",
        )
    optimizer.keep(measured=table)


class Move(NamedTuple):
    """What an update did to a variable, in the dtype of its arithmetic."""

    # That of the variable: its row in the table.
    position: int
    # The gradient as it came, and after clipping.
    gradient: Any
    clipped: Any
    # The weights before the update, and what was added to them.
    before: Any
    step: Any
    # The slots after it, if they are measured.
    slots: list[Any]
    # Whether there was an update; None for yes.
    due: Any = None


def moved(
    entry: Entry,
    gradients: tuple[Any, Any],
    weights: Sequence[Any],
    stored: dict[str, Any],
    slots: bool,
) -> Move:
    """What an update did to a variable.

    Args:
        entry: The variable.
        gradients: The gradient as it came, and after clipping.
        weights: The weights before the update and after it.
        stored: What is stored of the slots after it.
        slots: Whether their norms are wanted.
    """
    before, after = weights
    if entry.dtype != entry.compute_dtype:
        before, after = (ops.cast(w, entry.compute_dtype) for w in weights)
    codecs = entry.codecs if slots else {}
    decoded = [codec.decode(name, stored) for name, codec in codecs.items()]
    return Move(entry.position, *gradients, before, after - before, decoded)


def updated(table: Any, moves: list[Move], common: Common) -> Any:
    """The table after an update of some variables."""
    positions = [move.position for move in moves]
    old = _rows(table, positions)
    clipped = old[:, CLIPPED]
    if any(move.clipped is not move.gradient for move in moves):
        # Not "different", which what is no number always is.
        flags = [ops.any(abs(move.clipped) < abs(move.gradient)) for move in moves]
        clipped += ops.cast(ops.stack(flags), "float32")
    clock = (ops.cast(x, "float32") for x in (common.step, common.learning_rate))
    columns = [
        _sums_of_squares([move.gradient for move in moves]),
        _sums_of_squares([move.step for move in moves]),
        _sums_of_squares([move.before for move in moves]),
        clipped,
        old[:, NONFINITE],
        old[:, UPDATES] + 1.0,
        *(ops.broadcast_to(x, (len(moves),)) for x in clock),
    ]
    none = ops.zeros((), "float32")
    for i in range(max(len(move.slots) for move in moves)):
        slots = [move.slots[i] if i < len(move.slots) else none for move in moves]
        columns.append(_sums_of_squares(slots))
    columns += [ops.zeros_like(clipped)] * (table.shape[1] - len(columns))
    new = ops.stack(columns, axis=1)
    if any(move.due is not None for move in moves):
        true = ops.convert_to_tensor(True)
        due = [true if move.due is None else move.due for move in moves]
        new = ops.where(ops.stack(due)[:, None], new, old)
    return _with_rows(table, positions, new)


def counted(table: Any, positions: list[int], finite_each: Any) -> Any:
    """The table with one more counted where a gradient is not finite."""
    old = _rows(table, positions)
    more = ops.cast(ops.logical_not(finite_each), "float32")[:, None]
    unit = np.eye(1, table.shape[1], NONFINITE, dtype="float32")
    return _with_rows(table, positions, old + more * ops.convert_to_tensor(unit))


def _sums_of_squares(tensors: list[Any]) -> Any:
    # Not `ops.square`, which takes longer on PyTorch than the product.
    sums = [backend.total(x * x) for x in tensors]
    return ops.cast(ops.stack(sums), "float32")


def _rows(table: Any, positions: list[int]) -> Any:
    if _are_all(table, positions):
        return table
    return ops.take(table, np.array(positions), axis=0)


def _with_rows(table: Any, positions: list[int], rows: Any) -> Any:
    if _are_all(table, positions):
        return rows
    return ops.scatter_update(table, np.array(positions)[:, None], rows)


def _are_all(table: Any, positions: list[int]) -> bool:
    return positions == list(range(table.shape[0]))
