"""The update of one variable: from what is stored to what is stored next.

gradient transforms -> l2 -> rule -> direction transforms -> weight decay -> learning
rate -> weight transforms -> weights and state in the form in which they are stored
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_adamx.core import decay, rounding
from keras_adamx.core.jobs import Job
from keras_adamx.core.settings import MULTIPLIER
from keras_adamx.core.slots import Hyper, State, Weights
from keras_adamx.core.transforms import Transform
from keras_adamx.core.values import Entry

# Streams of random numbers a variable: one for the weights, one for each slot, two for
# each transform.
_STREAMS = 64
# Those of transforms come behind these, two for each.
_TRANSFORM_STREAMS = 32


class Prepared(NamedTuple):
    """A variable on its way through the update, before its rule.

    Attributes:
        gradient: The gradient that the rule is to see.
        weights: The weights in the dtype of the arithmetic.
        state: The slots of the rule.
        transforms: For each transform itself, its slots and its hyper-parameters.
        hyper: The hyper-parameters of the rule.
    """

    gradient: Any
    weights: Any
    state: State
    transforms: list[tuple[Transform, State, Hyper]]
    hyper: Hyper


def _bits(entry: Entry, hyper: Hyper, seed: Any, job: Job, stream: int) -> Any:
    """Random bits for each element of a variable, or of the part of it in a job."""
    positions = job.positions
    if positions is None:
        positions = rounding.positions(tuple(job.gradient.shape))
    stream += _STREAMS * entry.stream
    return rounding.random_bits(positions, seed, hyper.step, stream)


def prepared_state(
    entry: Entry, weights: Any, stored: dict[str, Any]
) -> tuple[Any, dict[str, State]]:
    """Weights and slots as rule (under "") and transforms see them."""
    weights = ops.cast(weights, entry.compute_dtype)
    values = {n: codec.decode(n, stored) for n, codec in entry.codecs.items()}
    for slot in entry.slots:
        if slot.begins_as_weights:
            value = values[slot.name]
            values[slot.name] = ops.where(value == value, value, weights)
    states: dict[str, State] = {name: State() for name in ("", *entry.transforms)}
    for name, value in values.items():
        owner, _, slot_name = name.rpartition(".")
        setattr(states[owner], slot_name, value)
    return weights, states


def prepared(entry: Entry, hyper: Hyper, seed: Any, job: Job) -> Prepared:
    """From what is stored of a variable to what its rule sees."""
    dtype = entry.compute_dtype
    if dtype != dtype_of(hyper.step):
        hyper = hyper.cast(dtype)
    weights, states = prepared_state(entry, job.weights, job.stored)
    transforms = []
    for i, name in enumerate(entry.transforms):
        own = hyper.transforms[name]
        own.normal = functools.partial(
            _normal, entry, hyper, seed, job, _TRANSFORM_STREAMS + 2 * i
        )
        transforms.append((entry.settings.transforms[name], states[name], own))
    gradient = job.gradient
    for transform, state, own in transforms:
        gradient = transform.gradient(gradient, weights, state, own)
    if not (entry.decayed and is_on(hyper.weight_decay)):
        hyper = Hyper(**{**vars(hyper), "weight_decay": 0.0})
    elif not entry.settings.rule.decays_itself:
        gradient = decay.coupled(gradient, weights, hyper)
    return Prepared(gradient, weights, states[""], transforms, hyper)


def _normal(entry: Entry, hyper: Hyper, seed: Any, job: Job, stream: int) -> Any:
    both = [_bits(entry, hyper, seed, job, stream + i) for i in range(2)]
    return ops.cast(rounding.normal(*both), entry.compute_dtype)


def updated_variable(
    entry: Entry, hyper: Hyper, seed: Any, job: Job
) -> tuple[Any, dict[str, Any]]:
    """New weights and state of one variable, or of a part of it, as they are stored."""
    return updated_together(entry, hyper, seed, [job], [entry.about])[0]


def updated_together(
    entry: Entry, hyper: Hyper, seed: Any, jobs: list[Job], abouts: list[Weights]
) -> list[tuple[Any, dict[str, Any]]]:
    """Likewise for several variables like that of an entry."""
    rule = entry.settings.rule
    ready = [prepared(entry, hyper, seed, job) for job in jobs]
    steps = [rule.direction(r.gradient, r.weights, r.state, r.hyper) for r in ready]
    steps = rule.jointly(steps, abouts, ready[0].hyper)
    return [
        finished(entry, each, step, seed, job)
        for each, step, job in zip(ready, steps, jobs)
    ]


def finished(
    entry: Entry, ready: Prepared, step: Any, seed: Any, job: Job
) -> tuple[Any, dict[str, Any]]:
    """From the direction of a rule to new weights and state, as they are stored."""
    rule, hyper, weights = entry.settings.rule, ready.hyper, ready.weights
    decays = is_on(hyper.weight_decay) and not rule.decays_itself
    coupled = hyper.weight_decay_kind == "l2"
    if (
        decays
        and not coupled
        and any(t.includes_weight_decay for t, *_ in ready.transforms)
    ):
        step = step + hyper.weight_decay * weights
        decays = False
    for transform, state, own in ready.transforms:
        step = transform.direction(step, ready.gradient, weights, state, own)
    multiplier = getattr(hyper, MULTIPLIER)
    if not (rule.direction_includes_learning_rate or rule.moves_itself):
        step = multiplier * hyper.learning_rate * step
    elif is_on(multiplier, neutral=1.0) and not rule.moves_itself:
        step = multiplier * step
    if decays:
        rate = multiplier * hyper.learning_rate
        step = step + decay.shrinkage(step, weights, rate, hyper)
    weights = weights - step
    for transform, state, own in ready.transforms:
        weights = transform.weights(weights, state, own)

    new = vars(ready.state) | {
        f"{name}.{slot}": value
        for name, (_, state, _) in zip(entry.transforms, ready.transforms)
        for slot, value in vars(state).items()
    }
    new = State(**new).collect(entry.slots, type(rule).__name__)
    stored: dict[str, Any] = {}
    for stream, (name, codec) in enumerate(entry.codecs.items(), 1):
        bits = functools.partial(_bits, entry, hyper, seed, job, stream)
        stored |= codec.encode(name, new[name], bits)
    if entry.dtype in rounding.LOW_PRECISION:
        bits = _bits(entry, hyper, seed, job, 0)
        weights = rounding.stochastic_round(weights, entry.dtype, bits)
    return weights, stored


def dtype_of(x: Any) -> str:
    """The dtype of a tensor as a string."""
    return keras.backend.standardize_dtype(x.dtype)


def is_on(value: Any, neutral: float = 0.0) -> bool:
    """Whether a number does anything; one that varies may."""
    return value is not None and (ops.is_tensor(value) or value != neutral)
