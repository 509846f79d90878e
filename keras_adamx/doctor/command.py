"""What `keras-adamx doctor` does: `diagnose` on files of a model and of its data."""

from __future__ import annotations

import argparse
import importlib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

import keras_adamx
from keras_adamx.cli import (
    CommandError,
    arrays_of,
    import_from_here,
    print_parts,
    reported,
    rich_console,
)
from keras_adamx.doctor.diagnose import diagnose
from keras_adamx.registry import name_and_rate

# Characters of what Keras says of a file that it cannot load.
MOST = 300
MODELS = (".keras", ".h5")
# Under which names arrays stand in a file, in the order in which they are taken.
INPUTS = ("x", "x_train", "inputs")
TARGETS = ("y", "y_train", "labels", "targets")
WEIGHTS = "sample_weight"


class Data(NamedTuple):
    """What a file of arrays holds for a model.

    Attributes:
        x: What the model is given.
        y: The targets, or None.
        sample_weight: The weights of the rows, or None.
        described: Which arrays were taken, in words.
    """

    x: Any
    y: Any
    sample_weight: Any
    described: str


def run(arguments: argparse.Namespace) -> int:
    """Print the report on the model; 1 if there is a finding, else 0."""
    if not (arguments.json or arguments.markdown):
        rich_console()  # Says what is not installed before what takes time.
    path = _file("MODEL", arguments.model, MODELS, "that `model.save` wrote")
    data_path = _file("DATA", arguments.data, (".npz",), "that `numpy.savez` wrote")
    custom = _imported(arguments.modules)
    arrays = arrays_of("DATA", data_path)
    with keras.saving.custom_object_scope(custom):
        loss = _loss(arguments.loss, arguments.from_logits)
        model = _model(path, arguments, loss)
        data = data_of(model, arrays, loss)
        with reported(TypeError, ValueError):
            if not model.built:
                _build(model, data)
            report = diagnose(
                model,
                (data.x, data.y, data.sample_weight),
                loss=loss,
                rows=arguments.rows,
                batch_size=arguments.batch_size,
                seed=arguments.seed,
            )
    if arguments.json:
        print(report.to_json())
    elif arguments.markdown:
        print(report.to_markdown(), end="")
    else:
        print_parts(rich_console(), report, data.described)
    return int(bool(report))


def _file(argument: str, name: str, endings: tuple[str, ...], what: str) -> Path:
    path = Path(name)
    if path.suffix not in endings:
        raise CommandError(
            f"argument {argument}: must be a file {what}, {' or '.join(endings)}. "
            f"Received: {name!r}"
        )
    if not path.is_file():
        raise CommandError(f"argument {argument}: there is no file {name!r}")
    return path


# The model.


def _imported(names: list[str]) -> dict[str, Any]:
    """Import modules that define classes of the model, which they need not register."""
    found: dict[str, Any] = {}
    for name in names:
        import_from_here()
        try:
            module = importlib.import_module(name)
        except Exception as error:
            raise CommandError(
                f"argument --import: {name!r} must be the name of a module, as in "
                "`import my_layers`, from this folder or installed. Importing it gave "
                f"{type(error).__name__}: {error}"
            ) from error
        found |= {n: o for n, o in vars(module).items() if callable(o)}
    return found


def _model(path: Path, arguments: argparse.Namespace, loss: Any) -> Any:
    """The model of a file, with a loss and perhaps an optimizer."""
    optimizer = None
    if arguments.optimizer is not None:
        with reported(TypeError, ValueError):
            name, rate = name_and_rate(arguments.optimizer)
            optimizer = keras_adamx.get(
                name, **({} if rate is None else {"learning_rate": rate})
            )
    # What is replaced need not be understood.
    replaced = loss is not None and optimizer is not None
    try:
        with warnings.catch_warnings():
            # Keras says so of every optimizer of its own that has made no step.
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            model: Any = keras.saving.load_model(
                path, compile=not replaced, safe_mode=not arguments.unsafe
            )
    except Exception as error:  # Whatever a file from anywhere makes of Keras.
        raise CommandError(f"argument MODEL: {path}: {_why(error)}") from error
    if optimizer is not None and loss is not None:
        model.compile(optimizer=optimizer, loss=loss)
    elif optimizer is not None and model.compiled:
        config = model.get_compile_config()
        config["optimizer"] = keras.saving.serialize_keras_object(optimizer)
        model.compile_from_config(config)
    if not model.compiled and loss is None:
        raise CommandError(
            f"argument MODEL: {path} holds a model that is not compiled. Say its loss, "
            "and the optimizer that it is to be trained with, for example: --loss "
            "sparse_categorical_crossentropy --from-logits --optimizer adam=0.001"
        )
    return model


def _why(error: Exception) -> str:
    text = str(error)
    lacking = re.search(r"Could not locate \w+ '[^']*'", text)
    if lacking:
        return f"{lacking[0]}. Name the module that defines it: --import MODULE"
    # Around the cause, Keras prints all that the file says.
    text = text.rpartition("Exception encountered: ")[2]
    words = f"{type(error).__name__}: {text[:MOST]}"
    if "lambda" in words.lower() or "safe_mode" in words:
        return f"it holds code. If you trust it, load it with --unsafe. {words}"
    return f"cannot be loaded: {words}"


def _loss(given: list[str] | None, from_logits: bool) -> Any:
    """The losses that were named: one, or one for each output."""
    if not given:
        if from_logits:
            raise CommandError("argument --from-logits: needs a --loss that it is of")
        return None
    named = [each.rpartition("=") for each in given]
    found = {output: _loss_of(name, from_logits) for output, _, name in named}
    if len(given) == 1 and "" in found:
        return found[""]
    if "" in found or len(found) < len(given):
        raise CommandError(
            "argument --loss: must be one loss, or OUTPUT=LOSS once for each output. "
            f"Received: {', '.join(given)}"
        )
    return found


def _loss_of(name: str, from_logits: bool) -> Any:
    own: Any = keras.saving.get_registered_object(name)
    if own is not None and not from_logits:
        return own() if isinstance(own, type) else own
    identifier: Any = name
    if from_logits:
        # Keras has a class for each function; only classes can be told of logits.
        cls = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
        identifier = {"class_name": cls, "config": {"from_logits": True}}
    try:
        return keras.losses.get(identifier)
    except (TypeError, ValueError) as error:
        of_logits = "that takes logits, " if from_logits else ""
        raise CommandError(
            f"argument --loss: must be a loss of Keras {of_logits}such as "
            "sparse_categorical_crossentropy, or one of a module that --import names. "
            f"Received: {name!r}"
        ) from error


def _build(model: Any, data: Data) -> None:
    """Call a model that was saved without ever having been called."""
    model(keras.tree.map_structure(lambda array: array[:1], data.x))


# The data.


def data_of(model: Any, arrays: Mapping[str, np.ndarray], loss: Any = None) -> Data:
    """What of a file's arrays a model is given, and what it is trained on.

    Args:
        model: The model.
        arrays: The arrays by name.
        loss: Its loss, where it is not compiled with one.
    """
    inputs = [tensor.name for tensor in getattr(model, "inputs", None) or []]
    outputs = list(getattr(model, "output_names", None) or [])
    left = dict(arrays)
    weights = left.pop(WEIGHTS, None)
    y, targets = _targets(left, outputs)
    if y is None and (loss is not None or getattr(model, "loss", None) is not None):
        raise _lacks("targets", [*TARGETS, *_several(outputs)], arrays)
    x, taken = _inputs(left, inputs, targets)
    if x is None:
        allowed = inputs if len(inputs) > 1 else [*INPUTS, *inputs]
        raise _lacks("inputs", allowed, arrays)
    parts = [f"inputs {', '.join(taken)}"]
    parts += [f"targets {', '.join(targets)}"] if targets else []
    parts += [WEIGHTS] if weights is not None else []
    unused = [n for n in arrays if n not in (*taken, *targets, WEIGHTS)]
    described = f"Taken from the file: {'; '.join(parts)}."
    if unused:
        described += f" Not used: {', '.join(unused)}."
    return Data(x, y, weights, described)


def _targets(arrays: Mapping[str, Any], outputs: list[str]) -> tuple[Any, list[str]]:
    """The targets and their names: one array, or one for each output."""
    if len(outputs) > 1 and set(outputs) <= set(arrays):
        return {name: arrays[name] for name in outputs}, outputs
    for name in (*TARGETS, *outputs[:1]):
        if name in arrays:
            return arrays[name], [name]
    return None, []


def _inputs(
    arrays: Mapping[str, Any], names: list[str], targets: list[str]
) -> tuple[Any, list[str]]:
    """The inputs and their names: one array, or one for each input."""
    if len(names) > 1:
        if set(names) <= set(arrays):
            return {name: arrays[name] for name in names}, names
        return None, []
    for name in (*INPUTS, *names):
        if name in arrays:
            return arrays[name], [name]
    # A class of its own may take a dictionary, of whose keys only the file knows.
    others = [name for name in arrays if name not in (*TARGETS, *targets)]
    if not names and others:
        return {name: arrays[name] for name in others}, others
    return None, []


def _several(names: list[str]) -> list[str]:
    return [f"one for each of {' and '.join(names)}"] if len(names) > 1 else []


def _lacks(what: str, allowed: list[str], arrays: Mapping[str, Any]) -> CommandError:
    return CommandError(
        f"argument DATA: the file has no array for the {what}. Allowed: "
        f"{', '.join(allowed)}. Received: {', '.join(arrays) or 'no array'}"
    )
