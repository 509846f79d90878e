"""From what a user gives to a workload and what the plan says of it."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_adamx.compare.records import Task
from keras_adamx.compare.training import compile_for, length, made, said
from keras_adamx.compare.workload import Data, Part, Workload
from keras_adamx.core import models
from keras_adamx.core.keeping import kept_random_states

# Of all examples, in this order: the rest is for training.
SHARES = {"test": 0.1, "tuning": 0.1}
EPOCHS = 10


@dataclasses.dataclass(frozen=True)
class Given:
    """Data that were given as such, as a function that worker processes can have."""

    data: Data

    def __call__(self) -> Data:
        """The data."""
        return self.data


def split(inputs: Any, labels: Any, seed: int = 0) -> Data:
    """Examples in random parts: 80 % for training, 10 % each for tuning and test.

    Raises:
        ValueError: There are fewer than 10 examples, or not as many labels as inputs.
    """
    if any(np.ndim(each) == 0 for each in keras.tree.flatten((inputs, labels))):
        raise TypeError(
            "compare: argument `data` must hold arrays. Received: numbers in lists; "
            "use numpy.asarray."
        )
    inputs = keras.tree.map_structure(np.asarray, inputs)
    labels = keras.tree.map_structure(np.asarray, labels)
    sizes = {len(each) for each in keras.tree.flatten((inputs, labels))}
    if len(sizes) != 1 or min(sizes) < 10:
        raise ValueError(
            "compare: argument `data` must have as many labels as inputs, and 10 of "
            f"them at least. Received: {', '.join(map(str, sorted(sizes)))} examples"
        )
    [n] = sizes
    order = np.random.default_rng(seed).permutation(n)
    parts, begin = {}, 0
    for name, share in SHARES.items():
        parts[name] = order[begin : begin + round(share * n)]
        begin += round(share * n)
    parts["train"] = order[begin:]

    def taken(rows: np.ndarray) -> Part:
        return Part(
            *keras.tree.map_structure(lambda x: x[rows], (inputs, labels)),
        )

    return Data(**{name: taken(rows) for name, rows in parts.items()})


def workload_of(
    given: Any,
    data: Any,
    *,
    loss: Any,
    metric: Any,
    higher_is_better: bool | None,
    target: Any,
    budget: int | None,
    batch_size: int | None,
    evaluate_every: int | None,
    jit_compile: Any,
) -> tuple[Workload, Data]:
    """The workload of a comparison, and its data.

    Raises:
        TypeError: The first argument is neither a workload nor a function, or the data
            are none.
        ValueError: An argument is missing, out of its range or does not fit.
    """
    changes: dict[str, Any] = {}
    numbers = {"steps": budget, "batch_size": batch_size}
    for name, value in (numbers | {"evaluate_every": evaluate_every}).items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            called = "budget" if name == "steps" else name
            raise ValueError(
                f"compare: argument `{called}` must be an integer >= 1. Received: "
                f"{called}={value!r}"
            )
        changes[name] = value
    if target is not ...:
        changes["target"] = target
    if jit_compile is not None:
        changes["jit_compile"] = {keras.backend.backend(): jit_compile}
    if isinstance(given, Workload):
        own = {
            "data": data,
            "loss": loss,
            "metric": metric,
            "higher_is_better": higher_is_better,
        }
        for name, value in own.items():
            if value is not None:
                raise ValueError(
                    f"compare: argument `{name}` is for a function that returns a "
                    "model: a Workload has its own."
                )
        found = dataclasses.replace(given, **changes)
        return found, _checked(found, found.data())
    if isinstance(given, keras.Model) or not callable(given):
        raise TypeError(
            "compare: the first argument must be a Workload or a function that "
            "returns a new model at each call: each run begins with fresh weights. "
            f"Received: {given!r}"
        )
    prepared = _prepared(data)
    name = str(getattr(given, "__name__", type(given).__name__))
    number = sum(length(part) for part in dataclasses.astuple(prepared) if part)
    model = _built(given)
    compiled = bool(getattr(model, "compiled", False))
    if loss is None and not compiled:
        raise ValueError(
            "compare: argument `loss` is needed: the model is not compiled."
        )
    if isinstance(metric, keras.metrics.Metric):
        raise TypeError(
            "compare: argument `metric` must be a name or a function that returns a "
            f"new metric, since each run has its own. Received: metric={metric!r}"
        )
    if loss is None:
        kept = models.compiled_with(model)[2]
        metric = metric if metric is not None else kept[0] if kept else "loss"
        own_metric = None if kept and metric is kept[0] else metric
    else:
        metric = "loss" if metric is None else metric
        own_metric = metric
    metric_name, direction = _named(metric, higher_is_better)
    found = Workload(
        name=name,
        description=f"The model of {name} on {number:,} examples.",
        build=given,
        data=Given(prepared),
        loss=loss,
        metric=own_metric,
        metric_name=metric_name,
        higher_is_better=direction,
        target=None,
        steps=EPOCHS * max(length(prepared.train) // (batch_size or 32), 1),
        batch_size=32,
    )
    found = dataclasses.replace(found, **changes)
    return found, _checked(found, prepared)


def task_of(workload: Workload, data: Data) -> Task:
    """What the plan says of a workload; the model is built and compiled for it.

    Raises:
        ValueError: The function gives the same model or another one at each call.
    """
    epoch = length(data.train) // workload.batch_size
    with kept_random_states():
        model, other = _built(workload.build), _built(workload.build)
        compile_for(workload, model, keras.optimizers.SGD(0.0))
        loss = _in_words(models.compiled_with(model)[0])
        if not all(layer.built for layer in models.layers_of(model)):
            first = keras.tree.map_structure(
                lambda x: x[: workload.batch_size], tuple(data.train)
            )
            models.build_model(model, first)
    _check_fresh(model, other)
    return Task(
        name=workload.name,
        description=workload.description,
        metric="loss" if workload.metric == "loss" else workload.metric_name,
        higher_is_better=workload.higher_is_better,
        target=workload.target,
        steps=workload.steps,
        steps_per_epoch=epoch,
        evaluate_every=min(workload.evaluate_every or epoch, workload.steps),
        batch_size=workload.batch_size,
        parameters=sum(int(np.prod(v.shape)) for v in model.trainable_variables),
        loss=loss,
        data=_checksum(data),
    )


def _check_fresh(model: keras.Model, other: keras.Model) -> None:
    """Refuse a function that does not return a new model of the same kind each time."""
    shared = {id(v) for v in model.variables} & {id(v) for v in other.variables}
    if model is other or shared:
        raise ValueError(
            "compare: the function that builds the model must return a new one at each "
            "call: each run begins with fresh weights. It returned the same twice."
        )
    if not all(layer.built for layer in models.layers_of(other)):
        return
    one, two = ([tuple(v.shape) for v in each.variables] for each in (model, other))
    if one != two:
        raise ValueError(
            "compare: the function that builds the model must return the same kind at "
            f"each call. It returned variables of shapes {one}, then {two}."
        )


def _checksum(data: Data) -> str:
    """A number that changes with the data."""
    found = 0
    parts = [tuple(part) for part in (data.train, data.tuning, data.test)]
    for each in keras.tree.flatten(parts):
        array = np.ascontiguousarray(each)
        about = f"{array.dtype}{array.shape}".encode()
        raw: Any = repr(array.tolist()).encode() if array.dtype.kind in "OU" else array
        found = zlib.crc32(memoryview(raw).cast("B"), zlib.crc32(about, found))
    return f"{found:08x}"


def _in_words(loss: Any) -> str:
    """A loss so that two different ones have different words."""
    if isinstance(loss, dict):
        return ", ".join(f"{name}: {_in_words(each)}" for name, each in loss.items())
    if isinstance(loss, list | tuple):
        return ", ".join(map(_in_words, loss))
    if isinstance(loss, keras.losses.Loss):
        config = {n: v for n, v in loss.get_config().items() if not callable(v)}
        config.pop("fn", None)
        words = ", ".join(f"{name}={value!r}" for name, value in config.items())
        return f"{type(loss).__name__}({words})"
    return str(getattr(loss, "__qualname__", loss))


def _prepared(data: Any) -> Data:
    if isinstance(data, Data):
        return data
    if callable(data):
        data = data()
        if isinstance(data, Data):
            return data
    if isinstance(data, tuple | list) and len(data) == 2:
        return split(*data)
    raise TypeError(
        "compare: argument `data` must be a Data, a pair of inputs and labels, or a "
        f"function that returns one of them. Received: {type(data).__name__}"
    )


def _checked(workload: Workload, data: Data) -> Data:
    n = length(data.train)
    if workload.batch_size > n:
        raise ValueError(
            "compare: argument `batch_size` must be at most the number of examples to "
            f"train on, {n}. Received: batch_size={workload.batch_size}"
        )
    for name in ("tuning", "test"):
        if length(getattr(data, name)) == 0:
            raise ValueError(f"compare: argument `data` has no examples in `{name}`.")
    if workload.metric == "loss" and workload.higher_is_better:
        raise ValueError(
            "compare: argument `higher_is_better` must be False where the metric is "
            "the loss."
        )
    return data


def _built(build: Callable[[], Any]) -> Any:
    with kept_random_states():
        try:
            model = build()
        except Exception as error:
            raise ValueError(
                f"compare: the function that builds the model raised {said(error)}"
            ) from error
    if not isinstance(model, keras.Model):
        raise TypeError(
            "compare: the first argument must be a Workload or a function that returns "
            f"a new model at each call. It returned: {model!r}"
        )
    return model


def _named(metric: Any, higher_is_better: bool | None) -> tuple[str, bool]:
    """What a metric is called, and whether more of it is better."""
    if metric == "loss":
        return "loss", bool(higher_is_better)
    found = made(metric)
    name = str(getattr(found, "name", None) or getattr(found, "__name__", found))
    if isinstance(found, str):
        name = found = {"acc": "accuracy"}.get(found, found)  # As `compile` does.
        try:
            found = keras.metrics.get(found)
        except ValueError as error:
            raise ValueError(
                "compare: argument `metric` must be 'loss', a name of keras.metrics, "
                f"or a function that returns a metric. Received: metric={found!r}"
            ) from error
    direction = models.metric_direction(found)
    if higher_is_better is None and direction is None:
        raise ValueError(
            "compare: argument `higher_is_better` is needed: the metric "
            f"{name!r} does not say whether more of it is better."
        )
    if higher_is_better is not None:
        return name, higher_is_better
    return name, direction == "up"
