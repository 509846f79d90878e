"""Making the state of an optimizer for the variables of a model."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_adamx.core import backend, codecs, groups, layouts, measures, rounding
from keras_adamx.core.bridge import path_of
from keras_adamx.core.settings import Settings, product_of
from keras_adamx.core.slots import RESERVED, Slot, Weights
from keras_adamx.core.values import Entry

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer


def extend(optimizer: Optimizer, variables: list[Any]) -> None:
    """Add state for variables that the optimizer does not know yet."""
    owner = type(optimizer).__name__
    new = [v for v in variables if optimizer.index(v) is None]
    for variable in new:
        dtype = dtype_of(variable)
        if not keras.backend.is_float_dtype(dtype):
            raise TypeError(
                f"{owner} cannot train the variable '{path_of(variable)}' of dtype "
                f"{dtype}. Allowed: floating-point dtypes. Set `trainable=False` on "
                "its layer."
            )
    known = [entry.variable for entry in optimizer.entries]
    paths = [path_of(variable) for variable in (*known, *new)]
    assigned = groups.assign(optimizer.groups, paths, owner)[len(known) :]
    if not known:
        if any(dtype_of(variable) == "float64" for variable in new):
            optimizer.scalar_dtype = "float64"
        for settings in optimizer.settings:
            if settings.base is settings:
                _share(optimizer, settings)
    abouts = dict(zip(map(optimizer.key, variables), _abouts(variables)))
    entries = [
        _entry(optimizer, position, variable, group, abouts[optimizer.key(variable)])
        for position, (variable, group) in enumerate(zip(new, assigned), len(known))
    ]
    if known:
        _refuse_another_head(optimizer, abouts)
    optimizer.keep(entries=(*optimizer.entries, *entries))
    if optimizer.measuring:
        measures.make_room(optimizer)
    if known and optimizer.has_begun():
        # So have the averages of the others.
        backend.assign(
            [(e.average, e.variable) for e in entries if e.average is not None]
        )
    if all(entry.settings.frozen for entry in optimizer.entries) and entries:
        raise ValueError(f"{owner}: argument `groups` freezes every variable.")
    if optimizer.rounding_seed is None and any(entry.random for entry in entries):
        optimizer.rounding_seed = optimizer.add_variable(
            shape=(),
            initializer=_Constant(random.randrange(1 << 31)),
            dtype="int32",
            aggregation="only_first_replica",
            name="rounding_seed",
        )
    if optimizer.skipped is None and optimizer.nonfinite != "propagate":
        optimizer.skipped = optimizer.add_variable(
            shape=(),
            initializer="zeros",
            dtype="int32",
            aggregation="only_first_replica",
            name="skipped_steps",
        )
    optimizer.register(
        [entry.variable for entry in optimizer.entries],
        [entry.accumulator for entry in optimizer.entries],
    )


def restore(
    optimizer: Optimizer, entry: Entry, *, decayed: bool, group: int, stream: int
) -> None:
    """Take over from a file what was resolved for a variable."""
    new = entry._replace(
        decayed=decayed,
        group=group,
        settings=optimizer.settings[group].of(entry.about),
        stream=stream,
    )
    if new.resolved == entry.resolved:
        return
    rule = new.settings.rule
    transforms = _transforms(new.settings, entry.about)
    slots = _slots(new.settings, entry.about, transforms)
    new = new._replace(transforms=transforms)
    kept = rule.state_dtype == entry.settings.rule.state_dtype
    frozen = new.settings.frozen or entry.settings.frozen
    if group != entry.group and (slots != entry.slots or not kept or frozen):
        raise ValueError(
            f"{type(optimizer).__name__}: '{entry.path}' was in group {group} of "
            "`groups` when the state was saved, and its pattern does not find it now. "
            "Adapt the pattern."
        )
    if optimizer.programs:
        raise ValueError(
            f"{type(optimizer).__name__}: the saved state has '{entry.path}' in "
            "another group than this optimizer, which has made steps already, or "
            "excludes it from weight decay. Load before the first step."
        )
    entries = list(optimizer.entries)
    entries[entry.position] = new
    optimizer.keep(entries=tuple(entries))


def _abouts(variables: list[Any]) -> list[Weights]:
    """What a rule may know of each variable of a model."""
    abouts = [weights_of(variable) for variable in variables]
    matrices = [i for i, each in enumerate(abouts) if each.matrix_shape is not None]
    if len(matrices) > 1:
        abouts[matrices[-1]] = abouts[matrices[-1]]._replace(is_head=True)
    return abouts


def _refuse_another_head(optimizer: Optimizer, abouts: dict[Any, Weights]) -> None:
    """Variables that come late must not change which rule the others follow."""
    for entry in optimizer.entries:
        about = abouts.get(optimizer.key(entry.variable), entry.about)
        if optimizer.settings[entry.group].of(about) is not entry.settings:
            raise ValueError(
                f"{type(optimizer).__name__}: '{entry.path}' was "
                f"{'the' if entry.about.is_head else 'not the'} last matrix when the "
                "optimizer was built, and follows another rule for it. Build it with "
                "all variables before some are frozen."
            )


def _share(optimizer: Optimizer, settings: Settings) -> None:
    """Create the state that all variables of some settings share."""
    number = optimizer.settings.index(settings)
    slots = [
        *settings.rule.shared_slots,
        *(Slot(product_of(name), shape=()) for name in settings.decays),
    ]
    variables = {
        slot.name: optimizer.add_variable(
            shape=slot.shape or (),
            initializer=_Constant(slot.initial),
            dtype=optimizer.scalar_dtype,
            aggregation="only_first_replica",
            name=f"{slot.name}_of_group_{number}" if number else slot.name,
        )
        for slot in slots
    }
    settings.shared = variables


def _entry(
    optimizer: Optimizer, position: int, variable: Any, group: int, about: Weights
) -> Entry:
    path, dtype, shape = path_of(variable), dtype_of(variable), tuple(variable.shape)
    compute_dtype = rounding.compute_dtype(dtype)
    settings = optimizer.settings[group].of(about)
    # What has no state: frozen variables, and those whose gradient is their new value.
    overwritten = optimizer.overwritten_by_gradient(variable)
    bare = settings.frozen or overwritten
    transforms = () if bare else _transforms(settings, about)
    slots = () if bare else _slots(settings, about, transforms)
    if not bare:
        _check_slots(settings, about, slots)

    def state(slot: Slot, part: codecs.Part) -> Any:
        return backend.new_variable(
            optimizer,
            variable,
            shape=part.shape,
            initializer=_Constant(part.initial),
            dtype=part.dtype,
            layout=layouts.of_state(variable, slot, part, spread=optimizer.shard_state),
            name=f"{path.replace('/', '_')}_{part.name.replace('.', '_')}",
        )

    def whole(name: str) -> Any:
        return state(Slot(name), codecs.Part(name, shape, compute_dtype, 0.0))

    chosen: dict[str, codecs.Codec] = {}
    stored: dict[str, Any] = {}
    for slot, codec, parts in _forms(settings, slots, shape, compute_dtype):
        chosen[slot.name] = codec
        stored |= {part.name: state(slot, part) for part in parts}
    return Entry(
        position=position,
        variable=variable,
        path=path,
        shape=shape,
        about=about,
        dtype=dtype,
        compute_dtype=compute_dtype,
        group=group,
        settings=settings,
        overwritten=overwritten,
        slots=slots,
        transforms=transforms,
        codecs=chosen,
        stored=stored,
        average=whole("average") if optimizer.use_ema and not bare else None,
        accumulator=whole("gradient_sum")
        if optimizer.gradient_accumulation_steps and not bare
        else None,
        stream=position,
        decayed=not optimizer.is_excluded(variable) and _passes_filter(settings, about),
    )


def planned(optimizer: Optimizer, variables: list[Any]) -> Iterator[codecs.Part]:
    """What the state of an optimizer without groups would be; nothing is made."""
    for variable, about in zip(variables, _abouts(variables)):
        settings = optimizer.settings[0].of(about)
        slots = _slots(settings, about, _transforms(settings, about))
        compute_dtype = rounding.compute_dtype(dtype_of(variable))
        for _, _, parts in _forms(settings, slots, about.shape, compute_dtype):
            yield from parts


def _forms(
    settings: Settings,
    slots: Iterable[Slot],
    shape: tuple[int, ...],
    compute_dtype: str,
) -> Iterator[tuple[Slot, codecs.Codec, list[codecs.Part]]]:
    """For each slot how it is stored, and in what parts."""
    for slot in slots:
        own = shape if slot.shape is None else slot.shape
        codec = codecs.choose(
            slot, slot.shape or shape, settings.rule.state_dtype, compute_dtype
        )
        yield slot, codec, codec.parts(slot, own)


def _transforms(settings: Settings, weights: Weights) -> tuple[str, ...]:
    """Names of the transforms that are for a variable."""
    return tuple(n for n, t in settings.transforms.items() if t.takes(weights))


def _slots(
    settings: Settings, weights: Weights, transforms: Iterable[str]
) -> tuple[Slot, ...]:
    """The slots of the rule, then those of the transforms as `transform.slot`."""
    own = list(settings.rule.slots(weights))
    for name in transforms:
        for slot in settings.transforms[name].slots(weights):
            own.append(slot._replace(name=f"{name}.{slot.name}"))
    return tuple(slot.for_weights(weights) for slot in own)


def _check_slots(settings: Settings, weights: Weights, slots: Iterable[Slot]) -> None:
    rule, shape = settings.rule, weights.shape
    names = [slot.name for slot in slots]
    if len(set(names)) < len(names) or RESERVED & set(names):
        raise ValueError(
            f"{type(rule).__name__} must name its slots differently from each other "
            f"and from {sorted(RESERVED)}. Received: {names}"
        )
    if not all(part.isidentifier() for name in names for part in name.split(".")):
        raise ValueError(
            f"{type(rule).__name__} must give its slots names of letters, digits and "
            f"underscores. Received: {names}"
        )
    for each in (rule, *settings.transforms.values()):
        own = [slot.for_weights(weights) for slot in each.slots(weights)]
        if each.elementwise and any(slot.shape not in (None, shape) for slot in own):
            raise ValueError(
                f"{type(each).__name__} is `elementwise`: its slots must have the "
                f"shape of the weights. Received: {own}"
            )


def _passes_filter(settings: Settings, about: Weights) -> bool:
    if settings.rule.weight_decay_filter is None:
        return True
    return len(about.shape) >= 2 and not about.is_bias


def weights_of(variable: Any) -> Weights:
    """What a rule may know of a variable."""
    return Weights(path_of(variable), tuple(variable.shape))


def dtype_of(variable: Any) -> str:
    """The dtype of a variable as a string."""
    return keras.backend.standardize_dtype(variable.dtype)


class _Constant(keras.initializers.Initializer):
    """Initializer; that of Keras rounds to float32 on the way to float64.

    Not a function: Keras compiles the method `__call__` where a variable is large and
    divided among devices.
    """

    def __init__(self, value: float) -> None:
        self._value = value

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        wide = "float64" if dtype == "float64" else "float32"
        return ops.cast(ops.ones(shape, wide) * self._value, dtype)
