"""From the gradients of a model to the program that runs on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_adamx.core import backend, codecs
from keras_adamx.core.bridge import path_of, within_reach
from keras_adamx.core.program import Program
from keras_adamx.core.values import Entry, Scalars

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer


def paired(
    optimizer: Optimizer, grads: list[Any], variables: list[Any]
) -> dict[int, Any]:
    """Gradients by the position of their variable, without those that are None.

    Raises:
        ValueError: A variable is given twice, or there is no gradient at all.
    """
    positions = optimizer.positions(variables)
    if len(set(positions)) < len(positions):
        raise ValueError(
            "`trainable_variables` names a variable more than once. Received: "
            f"{[path_of(variable) for variable in variables]}"
        )
    by_position = {
        position: gradient
        for position, gradient in sorted(zip(positions, grads), key=lambda p: p[0])
        if gradient is not None
    }
    if not by_position:
        raise ValueError(
            "`grads` has no gradient for any variable. Received: None for "
            f"{[path_of(variable) for variable in variables]}. Does the loss "
            "depend on them, and was it computed inside the gradient tape?"
        )
    return by_position


def step(optimizer: Optimizer, by_position: dict[int, Any]) -> Any:
    """Make one step; whether it was finite, or None if nobody asks."""
    entries = [optimizer.entries[position] for position in by_position]
    gradients = list(by_position.values())
    if any(optimizer.overwritten_by_gradient(entry.variable) for entry in entries):
        gradients, variables = optimizer.overwrite_by_gradients(
            gradients, [entry.variable for entry in entries]
        )
        entries = [optimizer.entries[i] for i in optimizer.positions(variables)]
    pairs = [(g, e) for g, e in zip(gradients, entries) if not e.settings.frozen]
    if not pairs and optimizer.gradient_accumulation_steps is None:
        return None  # With accumulation, what came earlier in the window may be due.
    dense: list[tuple[Any, Entry]] = []
    sparse: list[tuple[Any, Entry]] = []
    for gradient, entry in pairs:
        rows = backend.to_rows(gradient) if _may_be_lazy(entry) else None
        if rows is None:
            dense.append((checked(optimizer, gradient, entry), entry))
        else:
            sparse.append((rows, entry))
    program = _program(optimizer, [e for _, e in dense], [e for _, e in sparse])
    given = [[gradient for gradient, _ in each] for each in (dense, sparse)]
    scalars = scalars_of(optimizer, optimizer.learning_rate)
    finite = optimizer.executor.run(program, *given, scalars)
    for entry in program.changed:
        if entry.variable.constraint is not None:
            entry.variable.assign(entry.variable.constraint(entry.variable))
    return finite


def _may_be_lazy(entry: Entry) -> bool:
    """Whether the rows of a variable can be updated one by one."""
    if entry.settings.rule.sparse != "lazy":
        return False
    blocks = any(isinstance(codec, codecs.Blocks) for codec in entry.codecs.values())
    # Blocks run along the last axis: those of a vector hold several rows.
    return len(entry.shape) > (1 if blocks else 0)


def scalars_of(optimizer: Optimizer, learning_rate: Any) -> Scalars:
    """What a program takes beside values and gradients."""
    seed = optimizer.rounding_seed
    scheduled = [
        ops.cast(schedule(optimizer.iterations), optimizer.scalar_dtype)
        for settings in optimizer.settings
        for schedule in settings.scheduled.values()
    ]
    return Scalars(
        learning_rate=ops.cast(backend.read(learning_rate), optimizer.scalar_dtype),
        seen=backend.read(optimizer.gradients_seen),
        seed=ops.cast(0 if seed is None else backend.read(seed), "int32"),
        scheduled=scheduled,
    )


def checked(optimizer: Optimizer, gradient: Any, entry: Entry) -> Any:
    """The gradient as a dense tensor, if it fits the variable."""
    gradient = backend.to_dense(gradient)
    kind = (gradient.dtype, gradient.shape)
    if optimizer.accepted.get(entry.position) == kind:
        return gradient
    dtype = keras.backend.standardize_dtype(gradient.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise TypeError(
            f"The gradient of '{entry.path}' must have a floating-point dtype. "
            f"Received: {dtype}"
        )
    given = tuple(gradient.shape)
    # In a graph, TensorFlow may not know a length: None.
    if len(given) != len(entry.shape) or any(
        g not in (None, s) for g, s in zip(given, entry.shape)
    ):
        raise ValueError(
            f"The gradient of '{entry.path}' must have the shape of the variable, "
            f"{entry.shape}. Received: {given}"
        )
    optimizer.accepted[entry.position] = kind
    return gradient


def _program(
    optimizer: Optimizer, entries: Sequence[Entry], rows: Sequence[Entry]
) -> Program:
    reach = within_reach([entry.variable for entry in optimizer.entries])
    frozen: tuple[int, ...] = ()
    if optimizer.gradient_accumulation_steps is not None:
        # Frozen since the window began: what came before is not due any more.
        frozen = tuple(
            e.position for e in optimizer.entries if not e.variable.trainable
        )
    key = (
        len(optimizer.entries),
        reach and tuple(reach),
        frozen,
        tuple(entry.position for entry in entries),
        tuple(entry.position for entry in rows),
        id(optimizer.measured),
        (optimizer.loss_scale_factor, optimizer.measuring, optimizer.measuring_slots),
    )
    if key not in optimizer.programs:
        present = {entry.position for entry in (*entries, *rows)}
        others = [
            entry
            for entry in optimizer.entries
            if entry.position not in present and (not reach or reach[entry.position])
        ]
        late = [e for e in others if e.accumulator is not None]
        late = [entry for entry in late if entry.position not in frozen]
        idle = [e for e in others if e.average is not None and e not in late]
        optimizer.programs[key] = Program(
            optimizer, list(entries), list(rows), late=late, idle=idle, key=key
        )
    return optimizer.programs[key]
