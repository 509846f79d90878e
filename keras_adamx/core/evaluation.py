"""Weights to evaluate a model with: putting averages in and taking them out again.

While they are in, the weights that are trained wait in variables of the optimizer,
which files hold as well: a model that is saved with its averages goes on training as if
it had not been.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras import ops

from keras_adamx.core import backend, stepping
from keras_adamx.core.bridge import layout_of
from keras_adamx.core.program import Program
from keras_adamx.core.transforms import Transform
from keras_adamx.core.update import prepared_state

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer
    from keras_adamx.core.values import Entry


def _sources(entry: Entry) -> list[Any]:
    """The rule and the transforms that have other weights for evaluation."""
    from keras_adamx.core.optimizer import Optimizer

    rule = entry.settings.rule
    found = [] if type(rule).evaluated is Optimizer.evaluated else [""]
    for name in entry.transforms:
        transform = entry.settings.transforms[name]
        if type(transform).evaluated is not Transform.evaluated:
            found.append(name)
    return found


def averaged_entries(optimizer: Optimizer) -> list[Entry]:
    """What has an average of its weights."""
    return [
        entry
        for entry in optimizer.entries
        if entry.average is not None or (entry.slots and _sources(entry))
    ]


def prepare(optimizer: Optimizer) -> None:
    """Create what keeps the trained weights in the meantime, if there are averages."""
    if not averaged_entries(optimizer):
        return
    with backend.outside_graph():
        if optimizer.evaluating is None:
            optimizer.evaluating = optimizer.add_variable(
                shape=(),
                initializer="zeros",
                dtype="int32",
                aggregation="only_first_replica",
                name="evaluating",
            )
        for entry in averaged_entries(optimizer):
            if str(entry.position) not in optimizer.trained:
                kept = backend.new_variable(
                    optimizer,
                    entry.variable,
                    shape=entry.shape,
                    initializer="zeros",
                    dtype=entry.dtype,
                    layout=layout_of(entry.variable),
                    name=f"{entry.path.replace('/', '_')}_trained",
                )
                trained = {**optimizer.trained, str(entry.position): kept}
                optimizer.keep(trained=trained)


def is_evaluating(optimizer: Optimizer) -> bool:
    """Whether the weights are the averages now."""
    flag = optimizer.evaluating
    return flag is not None and bool(ops.convert_to_numpy(backend.read(flag)))


def put_in(optimizer: Optimizer) -> None:
    """Put the averages in the place of the weights, unless they are there."""
    if optimizer.entries and not averaged_entries(optimizer):
        raise ValueError(
            f"{type(optimizer).__name__} keeps no averages of the weights."
        )
    if is_evaluating(optimizer) or not optimizer.has_begun():
        return
    prepare(optimizer)
    for entry in averaged_entries(optimizer):
        value = _average(optimizer, entry)
        backend.assign([(optimizer.trained[str(entry.position)], entry.variable)])
        entry.variable.assign(ops.cast(value, entry.dtype))
    optimizer.evaluating.assign(1)


def take_out(optimizer: Optimizer) -> None:
    """Put the trained weights back, unless they are there."""
    if not is_evaluating(optimizer):
        return
    pairs = [
        (entry.variable, optimizer.trained[str(entry.position)])
        for entry in averaged_entries(optimizer)
    ]
    backend.assign(pairs)
    optimizer.evaluating.assign(0)


def _average(optimizer: Optimizer, entry: Entry) -> Any:
    """The weights to evaluate one variable with."""
    if entry.average is not None:
        return backend.read(entry.average) + 0.0
    program = Program(optimizer, [entry])
    scalars = stepping.scalars_of(optimizer, optimizer.learning_rate)
    hyper = program.hyper_now(entry.settings, scalars)
    stored = {name: backend.read(v) for name, v in entry.stored.items()}
    weights = backend.read(entry.variable)
    weights, states = prepared_state(entry, weights, stored)
    for name in _sources(entry):
        source = entry.settings.transforms[name] if name else entry.settings.rule
        own = hyper.transforms[name] if name else hyper
        weights = source.evaluated(weights, states[name], own)
    return weights + 0.0
