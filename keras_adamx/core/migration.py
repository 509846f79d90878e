"""State from elsewhere: from optimizers of Keras and from others of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_adamx.core import backend, building, rounding
from keras_adamx.core.bridge import path_of, state_of_keras
from keras_adamx.core.slots import Slot

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer

# Optimizers whose momentum contains the learning rate in Keras, with its sign there.
_RATE_IN_MOMENTUM = {"SGD": -1.0, "RMSprop": 1.0}


class Snapshot(NamedTuple):
    """The state of an optimizer as float arrays, whoever kept it.

    Attributes:
        cls: The class of this package that keeps the same.
        variables: The variables of the model.
        slots: For each variable its slots and their values.
        shared: What all variables share, for each of the settings.
        averages: The averages of the weights, or None.
        decayed: Whether each variable decays.
        updates: The number of updates made.
    """

    cls: type
    variables: list[Any]
    slots: list[dict[Slot, np.ndarray]]
    shared: list[dict[str, np.ndarray]]
    averages: list[np.ndarray | None] | None
    decayed: list[bool]
    updates: int


def import_state(target: Optimizer, source: Any) -> None:
    """Assign what the source keeps to the target; see `Optimizer.import_state`."""
    snapshot = _of_ours(source) if _is_ours(source) else _of_keras(source)
    owner, giver = type(target).__name__, type(source).__name__
    if not target.entries:
        target.build(snapshot.variables)
    if _whole(target.gradients_seen) > 0:
        raise ValueError(
            f"{owner}.import_state: this optimizer has made steps already."
        )
    pairs = []
    for entry in target.entries:
        place = _place(target, entry.variable, snapshot, giver)
        given = snapshot.slots[place]
        pairs.append(
            (entry, place, _matched(target, entry, given, snapshot.cls, giver))
        )
    shared = _shared(target, snapshot, owner, giver)

    for entry, place, slots in pairs:
        for name, value in slots.items():
            codec = entry.codecs[name]
            tensor = ops.convert_to_tensor(value, entry.compute_dtype)
            bits = rounding.to_nearest(tuple(value.shape))
            for part, kept in codec.encode(name, tensor, bits).items():
                entry.stored[part].assign(kept)
        if entry.average is not None:
            average = None if snapshot.averages is None else snapshot.averages[place]
            entry.average.assign(_array(entry.variable) if average is None else average)
        if not target.excludes:
            building.restore(
                target,
                entry,
                decayed=entry.decayed and snapshot.decayed[place],
                group=entry.group,
                stream=entry.stream,
            )
    for variable, value in shared:
        variable.assign(value)
    steps = target.gradient_accumulation_steps or 1
    target.gradients_seen.assign(snapshot.updates * steps)


def _is_ours(source: Any) -> bool:
    return hasattr(source, "entries") and hasattr(source, "settings")


def _of_ours(source: Optimizer) -> Snapshot:
    _check_built(source, bool(source.entries))
    if source.holds_averages:
        raise ValueError(
            f"import_state: the weights of the source, {type(source).__name__}, are "
            "averages now. Call its `put_in_trained_weights()` first."
        )
    slots = []
    for entry in source.entries:
        stored = {name: backend.read(v) for name, v in entry.stored.items()}
        slots.append(
            {
                slot: ops.convert_to_numpy(
                    entry.codecs[slot.name].decode(slot.name, stored)
                )
                for slot in entry.slots
            }
        )
    return Snapshot(
        cls=type(source),
        variables=[entry.variable for entry in source.entries],
        slots=slots,
        shared=[
            {name: _array(v) for name, v in settings.shared.items()}
            for settings in source.settings
        ],
        averages=[
            None if entry.average is None else _array(entry.average)
            for entry in source.entries
        ],
        decayed=[entry.decayed for entry in source.entries],
        updates=_updates(source, _whole(source.gradients_seen)),
    )


def _of_keras(source: Any) -> Snapshot:
    state = state_of_keras(source)
    if state is None:
        raise TypeError(
            "import_state: argument `source` must be an optimizer of this package, or "
            "one of keras.optimizers that keeps the same: SGD, RMSprop, Adagrad, "
            f"Adadelta, Adam, AdamW, Adamax, Nadam, Lion. Received: {source!r}"
        )
    _check_built(source, source.built)
    cls = keras.saving.get_registered_object(f"keras_adamx>{state.name}")
    config = source.get_config()
    ours = cls(**{k: config[k] for k in cls.hyperparameter_names() if k in config})
    rate = float(ops.convert_to_numpy(source.learning_rate))
    slots = []
    for variable, kept in zip(state.variables, state.slots):
        declared = ours.slots(building.weights_of(variable))
        values = {slot: _array(kept[slot.name]) for slot in declared}
        for slot in values:
            if slot.name == "momentum" and state.name in _RATE_IN_MOMENTUM:
                # The rate of the next step stands outside of ours. At a rate of zero
                # there is no next step to be the same as.
                factor = _RATE_IN_MOMENTUM[state.name] / rate if rate else 0.0
                values[slot] = factor * values[slot]
        slots.append(values)
    averages = state.averages
    return Snapshot(
        cls=cls,
        variables=state.variables,
        slots=slots,
        shared=[{name: _array(v) for name, v in state.shared.items()}],
        averages=None if averages is None else [_array(a) for a in averages],
        decayed=state.decayed,
        updates=_updates(source, _whole(state.gradients_seen)),
    )


def _check_built(source: Any, built: bool) -> None:
    if not built:
        raise ValueError(
            f"import_state: the source, {type(source).__name__}, has no state yet. "
            "Build it, or load it, first."
        )


def _updates(source: Any, seen: int) -> int:
    steps = source.gradient_accumulation_steps or 1
    if seen % steps:
        raise ValueError(
            f"import_state: the source has accumulated {seen % steps} of {steps} "
            "gradients. Import after a complete update."
        )
    return seen // steps


def _place(target: Optimizer, variable: Any, snapshot: Snapshot, giver: str) -> int:
    """Where the source has a variable: the same one, or that of the same place."""
    keys = [target.key(v) for v in snapshot.variables]
    if target.key(variable) in keys:
        return keys.index(target.key(variable))
    place = target.index(variable)
    if place is not None and place < len(keys) == len(target.entries):
        other = snapshot.variables[place]
        if tuple(other.shape) == tuple(variable.shape):
            return place
    raise ValueError(
        f"{type(target).__name__}.import_state: {giver} has no state for "
        f"'{path_of(variable)}' of shape {tuple(variable.shape)}. It was built for "
        f"{[path_of(v) for v in snapshot.variables]}"
    )


def _matched(
    target: Optimizer, entry: Any, given: dict[Slot, np.ndarray], cls: type, giver: str
) -> dict[str, np.ndarray]:
    """Values of the slots of the target by name."""
    related = issubclass(type(target), cls) or issubclass(cls, type(target))
    matched, rest = {}, dict(given)
    for slot in entry.slots:
        found = next((s for s in rest if _same(s, slot, related)), None)
        if found is not None:
            matched[slot.name] = rest.pop(found)
    missing = [
        slot
        for slot in entry.slots
        if slot.name not in matched and not slot.begins_as_weights
    ]
    if missing or rest:
        raise ValueError(
            f"{type(target).__name__}.import_state: {giver} keeps other state for "
            f"'{entry.path}'. Without counterpart there: {_words(missing)}. Without "
            f"counterpart here: {_words(rest)}."
        )
    return matched


def _same(a: Slot, b: Slot, related: bool) -> bool:
    """Whether two slots hold the same quantity."""
    if related and a.name == b.name:
        return a.shape == b.shape
    return bool(a.holds) and a.holds == b.holds


def _words(slots: Any) -> str:
    words = [f"`{s.name}`" + (f" ({s.holds})" if s.holds else "") for s in slots]
    return ", ".join(words) or "none"


def _shared(
    target: Optimizer, snapshot: Snapshot, owner: str, giver: str
) -> list[tuple[Any, np.ndarray]]:
    """Pairs of a variable that all share and its new value."""
    pairs = []
    # Groups that the source did not have begin as all others there.
    given = snapshot.shared
    if len(given) != len(target.settings):
        given = given[:1] * len(target.settings)
    for settings, values in zip(target.settings, given):
        for name, variable in settings.shared.items():
            if name not in values:
                raise ValueError(
                    f"{owner}.import_state: {giver} does not keep `{name}`."
                )
            pairs.append((variable, values[name]))
    return pairs


def _array(variable: Any) -> np.ndarray:
    """The value as float32, or float64 if it is that."""
    dtype = keras.backend.standardize_dtype(variable.dtype)
    value = ops.cast(backend.read(variable), rounding.compute_dtype(dtype))
    return np.array(ops.convert_to_numpy(value))


def _whole(variable: Any) -> int:
    return int(ops.convert_to_numpy(backend.read(variable)))
