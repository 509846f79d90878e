"""Schedules that are made of points or of other schedules."""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy as np
from keras import ops

from keras_adamx.core.arguments import choice
from keras_adamx.core.schedules import (
    Schedule,
    boundaries,
    evaluated,
    numbers,
    sources,
)
from keras_adamx.core.steps import Step, pick


class PiecewiseInterpolated(Schedule):
    """Goes through given points.

    Between values a at step x and b at step y, with f = (s - x) / (y - x):

        (1 - f) a + f b               "linear"
        b + (a - b) (1 + cos π f) / 2 "cosine"
        a^(1 - f) b^f                 "exponential"

    Before the first point it is the first value, after the last one the last.

    Args:
        boundaries: Increasing steps >= 0, or epochs.
        values: As many numbers; all > 0 for "exponential".
        interpolation: How to go from point to point.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range, or there are more values than
            boundaries, or fewer.

    Example:
        >>> schedule = keras_adamx.schedules.PiecewiseInterpolated(
        ...     [0, 100, 1000], [0.0, 1.0, 0.5]
        ... )
        >>> [float(schedule(step)) for step in (0, 50, 100, 550, 2000)]
        [0.0, 0.5, 1.0, 0.75, 0.5]
    """

    boundaries: list[float] = boundaries(at_least=0)
    values: list[float] = numbers()
    interpolation: str = choice("linear", ("linear", "cosine", "exponential"))

    def validate(self) -> None:
        self.refuse(
            "values",
            when=len(self.values) != len(self.boundaries),
            reason=f"must have one value for each of {self.boundaries}",
        )
        self.refuse(
            "values",
            when=self.interpolation == "exponential" and min(self.values) <= 0.0,
            reason="must all be > 0 for interpolation='exponential'",
        )

    def value(self, step: Step) -> Any:
        points, values = np.array(self.in_steps("boundaries")), np.array(self.values)
        if len(points) == 1:
            return step.filled(self.values[0])
        index = step.count(points[1:-1])
        phase = step.phase(points[:-1], np.diff(points), index)
        first, last = pick(values[:-1], index), pick(values[1:], index)
        if self.interpolation == "exponential":
            rate = pick(np.log(values[1:] / values[:-1]), index)
            return ops.where(
                phase.left > 0.0, first * ops.exp(phase.passed * rate), last
            )
        bent = phase.cosine() if self.interpolation == "cosine" else phase
        return bent.between(first, last)


class Sequential(Schedule):
    """Follows one schedule after another, each from its own step 0.

    With boundaries b₁ < b₂ < …:

        η(s) = schedules[0](s)         for s < b₁
        η(s) = schedules[i](s - bᵢ)    for bᵢ <= s < bᵢ₊₁

    PyTorch calls it SequentialLR.

    Args:
        schedules: Schedules and numbers.
        boundaries: Increasing steps >= 1, or epochs > 0, one less than `schedules`.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range, or there are not as many
            boundaries as there must be.

    Example:
        >>> schedules = keras_adamx.schedules
        >>> schedule = schedules.Sequential(
        ...     [0.5, schedules.LinearDecay(1.0, 100)], boundaries=[1000]
        ... )
        >>> [float(schedule(step)) for step in (0, 999, 1000, 1050)]
        [0.5, 0.5, 1.0, 0.5]
    """

    schedules: list[Any] = sources()
    boundaries: list[float] = boundaries()

    def validate(self) -> None:
        self.refuse(
            "boundaries",
            when=len(self.boundaries) != len(self.schedules) - 1,
            reason=f"must be {len(self.schedules) - 1}, between as many `schedules`",
        )

    def value(self, step: Step) -> Any:
        result = evaluated(self.schedules[0], step)
        for start, schedule in zip(self.in_steps("boundaries"), self.schedules[1:]):
            value = evaluated(schedule, step.later(start))
            result = ops.where(step.since(start) >= 0.0, value, result)
        return result


class Product(Schedule):
    """The product of several schedules.

        η(s) = schedules[0](s) · schedules[1](s) · …

    PyTorch calls it ChainedScheduler.

    Args:
        schedules: Schedules and numbers.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> schedules = keras_adamx.schedules
        >>> warmup = schedules.LinearWarmup(1.0, warmup_steps=100)
        >>> schedule = schedules.Product([warmup, schedules.StepDecay(0.5, 400, 0.5)])
        >>> [float(schedule(step)) for step in (0, 50, 100, 400)]
        [0.0, 0.25, 0.5, 0.25]
    """

    schedules: list[Any] = sources()

    def value(self, step: Step) -> Any:
        values = [evaluated(schedule, step) for schedule in self.schedules]
        return functools.reduce(operator.mul, values)
