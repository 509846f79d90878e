"""What the state of an optimizer takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras

from keras_adamx.core import building

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer
    from keras_adamx.core.values import Entry


class MemoryRow(NamedTuple):
    """The state of one variable.

    Attributes:
        variable: Path of the variable.
        parameters: Number of its elements.
        slots: How each of its slots is stored.
        bytes: Size of all of them.
    """

    variable: str
    parameters: int
    slots: dict[str, str]
    bytes: int

    @property
    def bytes_per_parameter(self) -> float:
        """Size of the state for one element; 0 for a variable without elements."""
        return self.bytes / max(self.parameters, 1)


class MemoryReport:
    """What the state of a built optimizer takes; prints as a table.

    Attributes:
        rows: One `MemoryRow` for each variable of the model.
        total: One for all of them, with the state that they share.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not optimizer.entries:
            raise ValueError(
                f"{type(optimizer).__name__}.memory_report needs a built optimizer. "
                "Call `optimizer.build(model.trainable_variables)` first."
            )
        self.rows = [_row(entry) for entry in optimizer.entries]
        shared = [v for s in optimizer.settings for v in s.shared.values()]
        self.total = MemoryRow(
            "total",
            sum(row.parameters for row in self.rows),
            {},
            sum(row.bytes for row in self.rows) + sum(map(size_of, shared)),
        )

    def __str__(self) -> str:
        lines = [("variable", "parameters", "slots", "bytes", "bytes/parameter")]
        for row in (*self.rows, self.total):
            slots = ", ".join(f"{name} {kind}" for name, kind in row.slots.items())
            per_parameter = f"{row.bytes_per_parameter:.3f}"
            counts = (f"{row.parameters:,}", slots, f"{row.bytes:,}", per_parameter)
            lines.append((row.variable, *counts))
        return aligned(lines, left=(0, 2))

    __repr__ = __str__


def _row(entry: Entry) -> MemoryRow:
    slots = {name: codec.dtype for name, codec in entry.codecs.items()}
    kept = list(entry.stored.values())
    for name in ("average", "accumulator"):
        variable = getattr(entry, name)
        if variable is not None:
            slots[name] = entry.compute_dtype
            kept.append(variable)
    return MemoryRow(entry.path, math.prod(entry.shape), slots, sum(map(size_of, kept)))


def aligned(lines: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """Cells in columns, those of the numbers in `left` to the left side."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def planned_bytes(optimizer: Optimizer, variables: list[Any]) -> int:
    """Bytes of the state that an optimizer without groups would have for variables."""
    return sum(map(size_of, building.planned(optimizer, variables)))


def size_of(variable: Any) -> int:
    """Bytes of a variable, or of a part of the state that is not made yet."""
    dtype = keras.backend.standardize_dtype(variable.dtype)
    bits = {"bfloat16": 16, "int8": 8, "uint8": 8, "float64": 64}.get(dtype, 32)
    return math.prod(variable.shape) * bits // 8
