"""State in files: named by slot and variable, versioned, checked on the way back.

A saved state is a table of arrays under names such as `momentum:3:dense.kernel`, beside
a manifest (JSON) that says which optimizer wrote it and for which variables. Reading
compares the manifest with the optimizer at hand and refuses what does not fit, by name.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_adamx.core import backend, building, codecs, evaluation, rounding

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer
    from keras_adamx.core.values import Entry

FORMAT = 1
MANIFEST = "manifest"
ITERATION = "iteration"
LEARNING_RATE = "learning_rate"
SKIPPED = "skipped_steps"
SEED = "rounding_seed"
EVALUATING = "evaluating"
# What a file may lack, or have beside what is needed: other arguments need other ones.
OPTIONAL = frozenset({LEARNING_RATE, SKIPPED, SEED, EVALUATING})
# How a slot may have been stored.
_DTYPES = (*codecs.STATE_DTYPES, "float64")
_NUMBER = re.compile(r"_(\d+)$")


def _named_variables(
    optimizer: Optimizer, evaluating: bool | None = None
) -> Iterator[tuple[str, Any]]:
    """Every state variable under its name in a file.

    Args:
        optimizer: The optimizer.
        evaluating: Whether averages are in the place of the weights; None for now.
    """
    yield ITERATION, optimizer.gradients_seen
    if optimizer.saved_learning_rate is not None:
        yield LEARNING_RATE, optimizer.saved_learning_rate
    if optimizer.rounding_seed is not None:
        yield SEED, optimizer.rounding_seed
    if optimizer.skipped is not None:
        yield SKIPPED, optimizer.skipped
    if evaluating is None:
        evaluating = evaluation.is_evaluating(optimizer)
    if evaluating and optimizer.evaluating is not None:
        yield EVALUATING, optimizer.evaluating
    for number, settings in enumerate(optimizer.settings):
        prefix = f"shared.{number}" if number else "shared"
        if settings.base is settings:
            for name, variable in settings.shared.items():
                yield f"{prefix}:{name}", variable
    for place, entry in enumerate(_ordered(optimizer)):
        of = f"{place}:{entry.path.replace('/', '.')}"
        for name, variable in entry.stored.items():
            yield f"{name}:{of}", variable
        if entry.average is not None:
            yield f"average:{of}", entry.average
        if entry.accumulator is not None:
            yield f"gradient_sum:{of}", entry.accumulator
        if evaluating and str(entry.position) in optimizer.trained:
            yield f"trained:{of}", optimizer.trained[str(entry.position)]


def _ordered(optimizer: Optimizer) -> list[Entry]:
    """What the optimizer knows in the order of the model, then what is frozen now.

    Variables that were made trainable late come last in the optimizer itself.
    """
    order = optimizer.positions(optimizer.registered)
    rest = [e for e in optimizer.entries if e.position not in set(order)]
    return [*(optimizer.entries[position] for position in order), *rest]


def save(optimizer: Optimizer, store: Any) -> None:
    """Write all state variables and the manifest."""
    manifest = {
        "format": FORMAT,
        "optimizer": keras.saving.get_registered_name(type(optimizer)),
        "groups": _groups(optimizer),
        "variables": [
            {
                "path": entry.path,
                "shape": list(entry.shape),
                "decayed": entry.decayed,
                "group": entry.group,
                "stream": entry.stream,
                "slots": {name: codec.dtype for name, codec in entry.codecs.items()},
            }
            for entry in _ordered(optimizer)
        ],
    }
    store[MANIFEST] = np.frombuffer(json.dumps(manifest).encode(), dtype=np.uint8)
    for name, variable in _named_variables(optimizer):
        store[name] = _array(variable)


def _groups(optimizer: Optimizer) -> list[Any]:
    return json.loads(json.dumps(keras.saving.serialize_keras_object(optimizer.groups)))


def _array(variable: Any) -> np.ndarray:
    """The value as an array; bfloat16, which files do not know, as its bits."""
    value = backend.whole(variable)
    if keras.backend.standardize_dtype(variable.dtype) != "bfloat16":
        return keras.ops.convert_to_numpy(value)
    wide = keras.ops.convert_to_numpy(keras.ops.cast(value, "float32"))
    return (wide.view(np.uint32) >> 16).astype(np.uint16)


def _from_bfloat16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def copy(store: Any) -> dict[str, np.ndarray]:
    """The store as arrays that outlive the file."""
    return {name: np.array(store[name]) for name in store.keys()}  # noqa: SIM118


def _where(optimizer: Optimizer) -> str:
    return (
        f"The saved state cannot be loaded into {type(optimizer).__name__} "
        f"'{optimizer.name}': "
    )


def check_kind(optimizer: Optimizer, saved: dict[str, np.ndarray]) -> dict[str, Any]:
    """The manifest, if the file is whole and of the same class of optimizer."""
    where = _where(optimizer)
    manifest = _manifest(saved, where)
    own = keras.saving.get_registered_name(type(optimizer))
    if manifest["optimizer"] != own:
        raise ValueError(
            f"{where}it was written by {manifest['optimizer']}, not {own}. To load the "
            "weights alone, use `load_weights(..., skip_mismatch=True)`."
        )
    return manifest


def load(optimizer: Optimizer, store: Any) -> None:
    """Check the saved state against the optimizer, then assign all of it."""
    saved = copy(store)
    where = _where(optimizer)
    manifest = check_kind(optimizer, saved)
    del saved[MANIFEST]
    variables = manifest["variables"]
    if not variables and optimizer.entries:
        # Written before the first step: there was no state yet.
        stepped = np.any(saved.get(ITERATION, 0))
        if stepped or saved.keys() - OPTIONAL - {ITERATION}:
            raise ValueError(f"{where}its manifest is damaged.")
        if int(keras.ops.convert_to_numpy(optimizer.gradients_seen)) > 0:
            warn_about_missing_state(optimizer)
        elif LEARNING_RATE in saved and optimizer.saved_learning_rate is not None:
            optimizer.saved_learning_rate.assign(saved[LEARNING_RATE])
        return
    places = _places(optimizer, variables, where)
    _drop_others(optimizer, variables, places, saved)
    entries = _ordered(optimizer)
    for entry, place in zip(entries, places):
        _convert(entry, place, variables[place], saved)

    if EVALUATING in saved:
        evaluation.prepare(optimizer)
    values = {}
    for name, variable in _named_variables(optimizer, evaluating=EVALUATING in saved):
        key = _saved_name(name, variables, places)
        if key not in saved:
            if name in OPTIONAL:
                continue
            raise ValueError(f"{where}it lacks '{name}'. {_why_missing(name)}")
        value = saved.pop(key)
        if tuple(value.shape) != tuple(variable.shape):
            raise ValueError(
                f"{where}'{name}' has the shape {tuple(variable.shape)} here and "
                f"{tuple(value.shape)} in the file."
            )
        if keras.backend.standardize_dtype(variable.dtype) == "bfloat16":
            value = _from_bfloat16(value)
        values[name] = value
    superfluous = saved.keys() - OPTIONAL
    if superfluous:
        raise ValueError(
            f"{where}it holds {sorted(superfluous)}, which this optimizer does not "
            "keep. Was it written with other arguments?"
        )
    same_groups = manifest.get("groups", []) == _groups(optimizer)
    for entry, place in zip(entries, places):
        variable = variables[place]
        building.restore(
            optimizer,
            entry,
            decayed=entry.decayed and (optimizer.excludes or variable["decayed"]),
            group=variable.get("group", 0) if same_groups else entry.group,
            stream=variable.get("stream", place),
        )
    for name, variable in _named_variables(optimizer, evaluating=EVALUATING in values):
        if name in values:
            variable.assign(values[name])
    if optimizer.evaluating is not None:
        optimizer.evaluating.assign(int(EVALUATING in values))


def _convert(
    entry: Entry, place: int, variable: dict[str, Any], saved: dict[str, np.ndarray]
) -> None:
    """Bring slots that were stored in another dtype into the one of now."""
    of = f"{place}:{variable['path'].replace('/', '.')}"
    for slot in entry.slots:
        own = entry.codecs[slot.name]
        then = codecs.of_dtype(
            variable.get("slots", {}).get(slot.name, own.dtype), slot
        )
        parts = [part.name for part in then.parts(slot, entry.shape)]
        if then == own or any(f"{name}:{of}" not in saved for name in parts):
            continue
        stored = {name: saved.pop(f"{name}:{of}") for name in parts}
        if isinstance(then, codecs.Rounded):
            stored = {name: _from_bfloat16(bits) for name, bits in stored.items()}
        tensors = {n: keras.ops.convert_to_tensor(x) for n, x in stored.items()}
        for name, value in own.encode(
            slot.name, then.decode(slot.name, tensors), rounding.to_nearest(entry.shape)
        ).items():
            saved[f"{name}:{of}"] = _array(value)


def _manifest(saved: dict[str, np.ndarray], where: str) -> dict[str, Any]:
    if MANIFEST not in saved:
        raise ValueError(
            f"{where}it has no manifest. It was written by another optimizer (of "
            "Keras, say, which numbers its variables), or the file is damaged."
        )
    try:
        manifest = json.loads(saved[MANIFEST].tobytes())
        complete = isinstance(manifest["variables"], list) and manifest["optimizer"]
        version = manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{where}its manifest is damaged.") from error
    if not complete or version != FORMAT:
        raise ValueError(
            f"{where}its format is {version!r}; this release reads {FORMAT}."
        )
    if not all(map(_is_variable, manifest["variables"])):
        raise ValueError(f"{where}its manifest is damaged.")
    return manifest


def _is_variable(found: Any) -> bool:
    """Whether a part of the manifest says what it has to say of a variable."""
    if not isinstance(found, dict):
        return False
    slots, shape = found.get("slots", {}), found.get("shape")
    return (
        isinstance(found.get("path"), str)
        and isinstance(shape, list)
        and all(type(side) is int and side >= 0 for side in shape)
        and isinstance(found.get("decayed"), bool)
        and all(type(found.get(key, 0)) is int for key in ("group", "stream"))
        and found.get("group", 0) >= 0
        and isinstance(slots, dict)
        and all(dtype in _DTYPES for dtype in slots.values())
    )


def _why_missing(name: str) -> str:
    reasons = {
        "average": "Was it written without `use_ema`?",
        "gradient_sum": "Was it written without `gradient_accumulation_steps`?",
    }
    return reasons.get(name.partition(":")[0], "Is the file truncated?")


def _saved_name(name: str, variables: list[dict[str, Any]], places: list[int]) -> str:
    """The name in the file: there, position and path are those of then."""
    kind, _, of = name.partition(":")
    position = of.partition(":")[0]
    if not position.isdigit():
        return name
    place = places[int(position)]
    return f"{kind}:{place}:{variables[place]['path'].replace('/', '.')}"


def _drop_others(
    optimizer: Optimizer,
    variables: list[dict[str, Any]],
    places: list[int],
    saved: dict[str, np.ndarray],
) -> None:
    """Leave out, with a warning, the state of variables that are not trained now."""
    others = [i for i in range(len(variables)) if i not in set(places)]
    if not others:
        return
    for name in list(saved):
        position = name.partition(":")[2].partition(":")[0]
        if position.isdigit() and int(position) in others:
            del saved[name]
    warnings.warn(
        f"The file holds state for {[variables[i]['path'] for i in others]}, which "
        f"'{optimizer.name}' does not train now: it is left out.",
        stacklevel=4,
    )


def _places(optimizer: Optimizer, saved: list[dict[str, Any]], where: str) -> list[int]:
    """Where in the file each variable is, or an error that names the first misfit.

    Number, shapes and order must agree. The file may hold more variables where the
    names leave no doubt: layers were frozen since.
    """
    entries = _ordered(optimizer)
    paths = [variable["path"] for variable in saved]
    here = [entry.path for entry in entries]
    if len(saved) != len(entries):
        found = [_matches(path, paths) for path in here]
        if len(saved) < len(entries) or any(len(places) != 1 for places in found):
            missing = [path for path, places in zip(here, found) if not places]
            surplus = [path for path in paths if not _matches(path, here)]
            raise ValueError(
                f"{where}it is for {len(saved)} variables, the model has "
                f"{len(entries)}. Not in the file: {missing}. Only there: {surplus}."
            )
        places = [place for [place] in found]
    else:
        places = list(range(len(entries)))
    same = _same_names([paths[place] for place in places], here)
    for i, (entry, place, agrees) in enumerate(zip(entries, places, same)):
        variable = saved[place]
        if tuple(variable["shape"]) != entry.shape:
            raise ValueError(
                f"{where}variable {i}, '{entry.path}', has the shape "
                f"{entry.shape} here and {tuple(variable['shape'])} "
                f"in the file (as '{variable['path']}')."
            )
        if not agrees:
            raise ValueError(
                f"{where}variable {i} is '{entry.path}' here and "
                f"'{variable['path']}' in the file. Were layers renamed or reordered?"
            )
    return places


def _matches(path: str, others: list[str]) -> list[int]:
    """Positions of the paths that are the same but for a prefix on one side."""
    pairs = [_common_suffix(path, other) for other in others]
    return [i for i, (a, b) in enumerate(pairs) if a == b]


def _same_names(saved: list[str], here: list[str]) -> list[bool]:
    """Whether each pair of paths can be the same variable.

    Paths change without the model changing: a reloaded `Sequential` loses the prefix of
    the model, and automatic names count on (`dense_3` for `dense`). So a prefix may be
    missing on one side, and of numbered names only the order has to agree.
    """
    pairs = [_common_suffix(a, b) for a, b in zip(saved, here)]
    ranks = [_ranks([pair[side] for pair in pairs]) for side in (0, 1)]
    return [
        all(_ranked(a, ranks[0]) == _ranked(b, ranks[1]) for a, b in zip(*pair))
        for pair in pairs
    ]


def _common_suffix(a: str, b: str) -> tuple[list[str], list[str]]:
    left, right = a.split("/"), b.split("/")
    length = min(len(left), len(right))
    return left[-length:], right[-length:]


def _ranks(paths: list[list[str]]) -> dict[str, list[int]]:
    """For each base name the numbers that occur behind it, in ascending order."""
    numbers: dict[str, set[int]] = {}
    for path in paths:
        for part in path:
            base, number = _split(part)
            numbers.setdefault(base, set()).add(number)
    return {base: sorted(found) for base, found in numbers.items()}


def _split(part: str) -> tuple[str, int]:
    number = _NUMBER.search(part)
    return _NUMBER.sub("", part), int(number.group(1)) if number else 0


def _ranked(part: str, ranks: dict[str, list[int]]) -> tuple[str, int]:
    base, number = _split(part)
    return base, ranks[base].index(number)


def warn_about_missing_state(optimizer: Optimizer) -> None:
    """A file of weights without optimizer state leaves the state as it is: say so."""
    warnings.warn(
        f"The file holds no state for the optimizer '{optimizer.name}': its state is "
        "left as it is.",
        stacklevel=3,
    )


def track_for_checkpoints(optimizer: Optimizer) -> None:
    """Let `tf.train.Checkpoint` see the state under its names."""
    for name, variable in _named_variables(optimizer):
        # By position: a checkpoint finds its objects by exact names, and the paths of
        # variables are other ones in the next process.
        optimizer.track_for_checkpoints(variable, "_".join(name.split(":")[:2]))
