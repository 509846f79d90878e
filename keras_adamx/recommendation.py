"""Which optimizer suits a model: an answer from a table of what was measured.

The table, `measured.json`, is made from the runs behind the page "Results" of the
documentation. Nothing is trained here.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import statistics
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import keras

from keras_adamx.compare.profile import score
from keras_adamx.compare.report import words
from keras_adamx.core.models import layers_of
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.report import planned_bytes
from keras_adamx.registry import class_of

# How the state may be stored, from the plain form to the smallest.
STORED = ("float32", "bfloat16", "int8")
BASELINE = "adamw"
KINDS = {
    "transformer": "has attention",
    "convolution": "has convolutions",
    "embeddings": "has embeddings",
    "dense": "is made of dense layers",
}
_LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "transformer",
        ("MultiHeadAttention", "GroupQueryAttention", "Attention", "AdditiveAttention"),
    ),
    (
        "convolution",
        ("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D"),
    ),
    ("embeddings", ("Embedding",)),
)
_SMALL_BATCH, _LARGE_BATCH = 32, 2048
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of one optimizer.

    Attributes:
        label: What it is called on the page of results.
        cls: Name of the class.
        arguments: Its arguments, the learning rate apart.
        ratios: For each workload, the steps to the target over those of the fastest
            optimizer; infinite where it did not reach it.
        learning_rates: For each workload, the best learning rate of those tried.
    """

    label: str
    cls: str
    arguments: dict[str, Any]
    ratios: dict[str, float]
    learning_rates: dict[str, float]

    def score(self, workloads: list[str]) -> float:
        """From 1 for the fastest on all workloads to 0 for four times as slow."""
        return score(self.ratios[name] for name in workloads)


@dataclasses.dataclass(frozen=True)
class Table:
    """What was measured of all optimizers.

    Attributes:
        kinds: For each workload, what kind of model it trains.
        batch_sizes: For each workload, its batch size.
        rows: The optimizers.
    """

    kinds: dict[str, str]
    batch_sizes: dict[str, int]
    rows: tuple[Row, ...]

    def like(self, kind: str) -> list[str]:
        """Names of the workloads of a kind; of all where there is none."""
        found = [name for name, each in self.kinds.items() if each == kind]
        return found or list(self.kinds)

    def score(self, row: Row, kind: str) -> float:
        """The mean of the score on workloads of a kind and of that on all of them."""
        return (row.score(self.like(kind)) + row.score(list(self.kinds))) / 2.0

    def ranking(self, kind: str) -> list[Row]:
        """The optimizers, from the best for a kind to the worst."""
        return sorted(self.rows, key=lambda row: -self.score(row, kind))


@functools.cache
def table() -> Table:
    """The table of the page "Results"."""
    text = files("keras_adamx").joinpath("measured.json").read_text(encoding="utf-8")
    found = json.loads(text)
    rows = []
    for label, each in found["optimizers"].items():
        ratios = {n: math.inf if r is None else r for n, r in each["ratios"].items()}
        rates = each["learning_rates"]
        rows.append(Row(label, each["class"], each["arguments"], ratios, rates))
    return Table(found["kinds"], found["batch_sizes"], tuple(rows))


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """An optimizer for a model, and why; prints as a short text.

    Args:
        optimizer: The optimizer, for `model.compile`.
        code: How it is made.
        state_bytes: What its state takes for this model.
        reasons: Why this one.
        cautions: What the answer does not know.
        alternatives: What else to try, and why.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
        >>> found = keras_adamx.recommend(model, memory=8)
        >>> found.state_bytes <= 8
        True
    """

    optimizer: Optimizer
    code: str
    state_bytes: int
    reasons: tuple[str, ...]
    cautions: tuple[str, ...]
    alternatives: tuple[str, ...]

    def __str__(self) -> str:
        lines = [self.code, "", *(f"- {reason}" for reason in self.reasons)]
        for title, texts in (
            ("Mind:", self.cautions),
            ("Or:", self.alternatives),
        ):
            if texts:
                lines += ["", title, *(f"- {text}" for text in texts)]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class _Candidate:
    row: Row
    stored: str
    optimizer: Optimizer
    code: str
    bytes: int


def recommend(
    model: keras.Model,
    *,
    memory: float | None = None,
    schedule_known: bool = True,
    batch_size: int | None = None,
) -> Recommendation:
    """Which optimizer to begin with for a model, and why.

    The answer comes from a table of steps to a target on small workloads, which the
    page "Results" of the documentation shows. Of the optimizers that meet the
    conditions, the one with the best score is taken: a mean over the workloads of the
    same kind of model and over all of them. It is where to start, not what is best for
    your model: `keras_adamx.compare` finds that out.

    Args:
        model: A model whose variables exist.
        memory: Bytes that the state of the optimizer may take, or None for any number.
            Where the state of the best rule does not fit, it is stored in fewer bits
            before another rule is taken.
        schedule_known: Whether you know how long you will train, so that the learning
            rate can fall towards the end.
        batch_size: Examples a step, or None if it is not known yet.

    Returns:
        A `Recommendation`; print it.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: The model has no variables to train, or a number is out of range.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
        >>> found = keras_adamx.recommend(model, schedule_known=False)
        >>> type(found.optimizer).__name__.startswith("ScheduleFree")
        True
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"recommend: argument `model` must be a keras.Model. Received: {model!r}"
        )
    _check("memory", memory, int | float, 0)
    _check("batch_size", batch_size, int, 1)
    if not isinstance(schedule_known, bool):
        raise TypeError(
            "recommend: argument `schedule_known` must be True or False. Received: "
            f"schedule_known={schedule_known!r}"
        )
    variables = model.trainable_variables
    if not variables:
        raise ValueError(
            "recommend: argument `model` has no trainable variables. Build it first: "
            "`model.build(input_shape)`, or call it once."
        )
    known, kind = table(), kind_of(model)
    suited = [
        row
        for row in known.ranking(kind)
        if schedule_known or class_of(row.cls).suited_schedule.endswith("constant")
    ]
    limit = math.inf if memory is None else float(memory)
    fitting = [
        found
        for row in suited
        if (found := _fitting(row, known, kind, variables, limit)) is not None
    ]
    cautions = list(_cautions(known, kind, batch_size))
    if not fitting:
        every = [
            _candidate(row, known, kind, variables, stored)
            for row in suited
            for stored in STORED
        ]
        fitting = [min(every, key=lambda candidate: candidate.bytes)]
        cautions.insert(
            0,
            f"No optimizer fits into {size(limit)}; this one comes nearest, with "
            f"{size(fitting[0].bytes)}.",
        )
    best = fitting[0]
    return Recommendation(
        optimizer=best.optimizer,
        code=best.code,
        state_bytes=best.bytes,
        reasons=tuple(_reasons(best, known, kind, model, memory, schedule_known)),
        cautions=tuple(cautions),
        alternatives=tuple(_alternatives(fitting, known, kind, batch_size)),
    )


def kind_of(model: keras.Model) -> str:
    """What kind of model it is, for the table."""
    layers = layers_of(model)
    for kind, names in _LAYERS:
        classes = tuple(getattr(keras.layers, n) for n in names)
        if any(isinstance(layer, classes) for layer in layers):
            return kind
    return "dense"


def size(number: float) -> str:
    """Bytes in words."""
    unit = 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.4g} {_UNITS[unit]}"


def _check(name: str, value: Any, kind: Any, least: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, kind):
        word = "an integer" if kind is int else "a number"
        raise TypeError(
            f"recommend: argument `{name}` must be {word} or None. Received: "
            f"{name}={value!r}"
        )
    if not value >= least:
        raise ValueError(
            f"recommend: argument `{name}` must be >= {least}. Received: "
            f"{name}={value!r}"
        )


def _candidate(
    row: Row, known: Table, kind: str, variables: list[Any], stored: str
) -> _Candidate:
    """An optimizer with the learning rate that was best for models of the kind."""
    rates = [row.learning_rates[name] for name in known.like(kind)]
    middle = math.exp(statistics.median(map(math.log, rates)))
    arguments = {"learning_rate": float(f"{middle:.1g}"), **row.arguments}
    if stored != "float32":
        arguments["state_dtype"] = stored
    optimizer = class_of(row.cls)(**arguments)
    words = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    taken = planned_bytes(optimizer, variables)
    return _Candidate(row, stored, optimizer, f"keras_adamx.{row.cls}({words})", taken)


def _fitting(
    row: Row, known: Table, kind: str, variables: list[Any], limit: float
) -> _Candidate | None:
    """The optimizer in the first form that fits."""
    for stored in STORED:
        found = _candidate(row, known, kind, variables, stored)
        if found.bytes <= limit:
            return found
    return None


def _reasons(
    best: _Candidate,
    known: Table,
    kind: str,
    model: keras.Model,
    memory: float | None,
    schedule_known: bool,
) -> Iterator[str]:
    names = known.like(kind)
    count = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    if kind in known.kinds.values():
        alike = f", as {words.names(names)} of the page Results"
    else:
        alike = (
            ", and no workload of the page Results does; this answers for all of them"
        )
    yield f"The model {KINDS[kind]}{alike}. It has {count:,} parameters to train."
    yield f"{_compared(best.row, names)}."
    if not schedule_known:
        yield (
            "It needs no falling learning rate, so you can stop at any time; weights "
            "are evaluated with keras_adamx.callbacks.EvaluateAveraged."
        )
    else:
        yield (
            "It was measured with a learning rate that rises over the first 5 % of the "
            "steps and falls to 0 along a cosine, as keras_adamx.schedules."
            "CosineWithWarmup does; the rate here is the best one of that comparison."
        )
    state = f"Its state takes {size(best.bytes)} in {best.stored}"
    if memory is not None and best.bytes <= memory:
        state += f", of {size(float(memory))}"
    yield f"{state}."


def _compared(row: Row, names: list[str]) -> str:
    """How long a row took to the targets."""
    texts = []
    for name in names:
        ratio = row.ratios[name]
        if math.isinf(ratio):
            texts.append(f"does not reach the target of {name}")
        elif ratio == 1.0:
            texts.append(f"is the fastest to the target of {name}")
        else:
            texts.append(f"takes {ratio:.2f} times the steps of the fastest on {name}")
    return f"{row.label} {', '.join(texts)}"


def _cautions(known: Table, kind: str, batch_size: int | None) -> Iterator[str]:
    sizes = known.batch_sizes.values()
    yield (
        "The workloads are small, and a learning rate for one model says little about "
        "another: try the rates around this one, or keras_adamx.find_learning_rate."
    )
    if batch_size is None:
        return
    if batch_size < _SMALL_BATCH:
        yield (
            f"The smallest batch that was measured is {min(sizes)}. For smaller ones, "
            "keep the memory of the squared gradients the same in examples: beta_2 ** "
            f"({batch_size} / {min(sizes)}) (arXiv:2507.07101)."
        )
    elif batch_size > max(sizes):
        yield (
            f"The largest batch that was measured is {max(sizes)}. A larger one wants "
            "a larger learning rate and a longer warm-up."
        )


def _alternatives(
    fitting: list[_Candidate], known: Table, kind: str, batch_size: int | None
) -> Iterator[str]:
    names = known.like(kind)
    chosen = [each for each in fitting[1:3] if each.row.cls != fitting[0].row.cls]
    chosen += [
        each
        for each in fitting[1:]
        if each.row.label == BASELINE and each not in chosen
    ]
    for each in chosen:
        yield f"{each.code}: {_compared(each.row, names)}; state {size(each.bytes)}."
    if batch_size is not None and batch_size >= _LARGE_BATCH:
        yield (
            "keras_adamx.LAMB: made for large batches (arXiv:1904.00962), which were "
            "not measured."
        )
