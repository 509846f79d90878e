"""Optimizers on a function of two numbers: where they go, without any drawing."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_adamx.plots.functions import Function, Point, function_of
from keras_adamx.registry import get


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectory:
    """Where one optimizer went.

    Args:
        label: What it is called.
        points: Array of shape (steps + 1, 2): the start and the point after each step,
            as far as they are finite.
        values: Array of shape (steps + 1,): the value of the function there.
        diverged_at: The step, counted from 1, with which the point, the value or the
            gradient stopped being finite, or None.

    Example:
        >>> found = keras_adamx.plots.run("sgd", "valley", steps=3, learning_rate=0.01)
        >>> [round(float(y), 3) for _, y in found["sgd"].points]
        [1.0, 0.0, 0.0, 0.0]
    """

    label: str
    points: np.ndarray
    values: np.ndarray
    diverged_at: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectories:
    """Where several optimizers went from the same start on the same function.

    Index it by a label.

    Args:
        function: The `Function`.
        start: Where all began.
        paths: One `Trajectory` for each optimizer, by label.

    Example:
        >>> found = keras_adamx.plots.run(["adam", "sgd"], steps=1)
        >>> found.function.name, found.start, list(found.paths)
        ('rosenbrock', (-1.2, 1.0), ['adam', 'sgd'])
    """

    function: Function
    start: Point
    paths: dict[str, Trajectory]

    def __getitem__(self, label: str) -> Trajectory:
        return self.paths[label]


def run(
    optimizers: Any,
    function: Any = "rosenbrock",
    *,
    start: Point | None = None,
    steps: int = 200,
    learning_rate: Any = None,
) -> Trajectories:
    """Let optimizers descend a function of two numbers.

    The point is one float32 variable of shape (2,), and every step is an `apply` of the
    optimizer with the exact gradient. An optimizer that is given as an instance stays
    as it is: a copy, made from its configuration, does the steps. One that evaluates
    with averages, such as `ScheduleFreeSGD`, shows the weights that it trains.

    Args:
        optimizers: Name of `list_optimizers`, or optimizer; or a list of these; or a
            dictionary of labels and these.
        function: "rosenbrock", "beale", "rastrigin", "saddle", "valley" (a quadratic
            100 times as steep in y as in x), a `plots.Function`, or a callable of two
            tensors, x and y, written in `keras.ops`, which the backend differentiates.
        start: Pair of numbers, or None for the usual start of the function.
        steps: Integer >= 1.
        learning_rate: Number or schedule for all, dictionary of labels and these, or
            None for the optimizer's own.

    Returns:
        `Trajectories`.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: There is no optimizer or function of that name, two optimizers have
            the same label, or an argument is out of its range.

    Example:
        >>> found = keras_adamx.plots.run("adam", "valley", steps=1, learning_rate=0.1)
        >>> found["adam"].points.round(3).tolist()
        [[-4.0, 1.0], [-3.9, 0.9]]
    """
    chosen = function_of(function)
    given = _labelled(optimizers)
    first = _pair("start", chosen.start if start is None else start, chosen.name)
    if isinstance(steps, bool) or not isinstance(steps, numbers.Integral):
        raise TypeError(f"Argument `steps` must be an integer. Received: {steps=}")
    if steps < 1:
        raise ValueError(f"Argument `steps` must be >= 1. Received: {steps=}")
    rates = _rates(learning_rate, given)
    made = {label: _copy(one, rates[label]) for label, one in given.items()}
    paths = {
        label: descend(label, optimizer, chosen, first, int(steps))
        for label, optimizer in made.items()
    }
    return Trajectories(chosen, first, paths)


def descend(
    label: str, optimizer: Any, function: Function, start: Point, steps: int
) -> Trajectory:
    """Steps of a fresh optimizer, as long as everything is finite."""
    variable = keras.Variable(
        np.asarray(start, "float32"), dtype="float32", name="point"
    )
    points, values = [], []
    # What overflows is what is looked for.
    with np.errstate(all="ignore"):
        for step in range(steps + 1):
            point = np.array(ops.convert_to_numpy(variable), "float64")
            value = float(function.at(*point))
            if not np.isfinite([*point, value]).all():
                break
            points.append(point)
            values.append(value)
            if step == steps:
                break
            gradient = function.slope(*point).astype("float32")
            if not np.isfinite(gradient).all():
                break
            optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
    if not points:
        raise ValueError(
            f"Function {function.name!r} is not finite at its start {start}."
        )
    diverged_at = len(points) if len(points) <= steps else None
    return Trajectory(label, np.array(points), np.array(values), diverged_at)


def _labelled(optimizers: Any) -> dict[str, Any]:
    """The optimizers by label; those without one are called by their name."""
    if isinstance(optimizers, Mapping):
        found = dict(optimizers)
    else:
        if isinstance(optimizers, (str, keras.optimizers.Optimizer)):
            optimizers = [optimizers]
        if not isinstance(optimizers, Iterable):
            raise TypeError(
                "Argument `optimizers` must be a name, an optimizer, a list or a "
                f"dictionary of these. Received: {optimizers=}"
            )
        found = {}
        for one in optimizers:
            label = str(getattr(one, "name", one))
            if label in found:
                raise ValueError(
                    f"Two optimizers are called {label!r}: pass a dictionary of labels "
                    "and optimizers."
                )
            found[label] = one
    if not found:
        raise ValueError("Argument `optimizers` must name at least one optimizer.")
    return found


def _rates(learning_rate: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The learning rate of each label; None for the optimizer's own."""
    if not isinstance(learning_rate, Mapping):
        return dict.fromkeys(given, learning_rate)
    unknown = [label for label in learning_rate if label not in given]
    if unknown:
        raise ValueError(
            f"Argument `learning_rate` has {unknown[0]!r}, which is no label of an "
            f"optimizer. Labels: {', '.join(given)}"
        )
    return {label: learning_rate.get(label) for label in given}


def _copy(given: Any, rate: Any) -> Any:
    """A fresh optimizer of the same configuration."""
    arguments = {} if rate is None else {"learning_rate": rate}
    if isinstance(given, str):
        return get(given, **arguments)
    if not isinstance(given, keras.optimizers.Optimizer):
        raise TypeError(
            f"Argument `optimizers` must hold names and optimizers. Received: {given!r}"
        )
    return type(given).from_config({**given.get_config(), **arguments})


def _pair(name: str, value: Any, function: str) -> Point:
    if value is None:
        raise ValueError(
            f"Argument `{name}` is needed: the function {function!r} has none of its "
            "own."
        )
    try:
        x, y = (float(number) for number in value)
    except (TypeError, ValueError):
        raise ValueError(
            f"Argument `{name}` must be a pair of numbers. Received: {name}={value!r}"
        ) from None
    if not np.isfinite([x, y]).all():
        raise ValueError(
            f"Argument `{name}` must be finite. Received: {name}={value!r}"
        )
    return x, y
