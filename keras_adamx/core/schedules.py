"""What all schedules share: arguments, epochs, configurations."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Iterable
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_adamx.core.arguments import (
    REQUIRED,
    Argument,
    Declared,
    _number,
    as_schedule,
    count,
)
from keras_adamx.core.steps import LAST, Step, value_dtype


class StepsArgument(Argument):
    """A number of steps, or of epochs where `steps_per_epoch` is given; or several."""


def _whole(value: Any, at_least: int) -> float:
    """A number of steps or epochs; a whole one as an integer."""
    value = _number(value)
    # Epochs may be fractions, steps may not: that shows when both are known.
    if not (value >= at_least or (at_least == 1 and value > 0.0)) or value > LAST:
        raise ValueError
    return int(value) if value.is_integer() else value


def steps(
    default: float | None = REQUIRED, *, at_least: int = 1, optional: bool = False
) -> Any:
    """A number of steps, or of epochs where `steps_per_epoch` is given.

    `self.in_steps(name)` converts it.
    """

    def check(value: Any) -> Any:
        return None if value is None and optional else _whole(value, at_least)

    allowed = f"whole steps >= {at_least}, or epochs that make them"
    return StepsArgument(default, check, allowed + (", or None" if optional else ""))


def boundaries(*, at_least: int = 1) -> Any:
    """An increasing list of steps, or of epochs."""

    def check(value: Any) -> Any:
        found = [_whole(v, at_least) for v in _listed(value)]
        if any(a >= b for a, b in itertools.pairwise(found)):
            raise ValueError
        return found

    allowed = f"a list of increasing steps >= {at_least}, or epochs that make them"
    return StepsArgument(REQUIRED, check, allowed)


def numbers() -> Any:
    """A list of numbers."""

    def check(value: Any) -> Any:
        found = [_number(v) for v in _listed(value)]
        if not found or any(map(math.isinf, found)):
            raise ValueError
        return found

    return Argument(REQUIRED, check, "a list of finite numbers")


def sources() -> Any:
    """A list of schedules and numbers."""

    def check(value: Any) -> Any:
        found = [_source(v) for v in _listed(value)]
        if not found:
            raise ValueError
        return found

    return Argument(REQUIRED, check, "a list of schedules and finite numbers")


def source() -> Any:
    """A schedule or a number."""
    return Argument(REQUIRED, _source, "a finite number or a LearningRateSchedule")


def _listed(value: Any) -> Iterable[Any]:
    if isinstance(value, (str, dict)) or not isinstance(value, Iterable):
        raise TypeError
    return value


def _source(value: Any) -> Any:
    value = as_schedule(value)
    if isinstance(value, LearningRateSchedule):
        return value
    value = _number(value)
    if math.isinf(value):
        raise ValueError
    return value


def evaluated(source: Any, step: Step) -> Any:
    """The value of a schedule, of this package or not, or of a number."""
    if isinstance(source, Schedule):
        return source.value(step)
    if isinstance(source, LearningRateSchedule):
        return ops.cast(source(step.tensor), value_dtype())
    return step.filled(source)


def _signature(arguments: dict[str, Argument]) -> inspect.Signature:
    """What must be given comes first, whichever class of the line declares it."""
    ordered = sorted(arguments.items(), key=lambda a: a[1].default is not REQUIRED)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature(
        [
            inspect.Parameter(name, kind, default=argument.default)
            for name, argument in ordered
        ]
    )


class Schedule(Declared, LearningRateSchedule):
    """Base of all schedules: subclass it to write one of your own.

    A schedule says what its value is at a step. Steps count from 0; those before count
    as 0. Any optimizer of Keras takes it as its learning rate, and the optimizers of
    this package for any other number as well.

    ```python
    from keras_adamx.rule import Schedule, hyperparameter, steps

    class Halving(Schedule):
        initial_learning_rate: float = hyperparameter(at_least=0.0, scheduled=False)
        half_life: int = steps()

        def value(self, step):
            passed = step.since(0) / self.in_steps("half_life")
            return self.initial_learning_rate * 0.5**passed
    ```

    Args:
        steps_per_epoch: Integer >= 1: steps of all other arguments are then epochs,
            which may be fractions if they make a whole number of steps. None to count
            steps.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument is out of its range, or does not make whole steps.

    Example:
        >>> by_epoch = keras_adamx.schedules.LinearDecay(0.5, 1.5, steps_per_epoch=4)
        >>> [float(by_epoch(step)) for step in (0, 3, 6, 7)]
        [0.5, 0.25, 0.0, 0.0]
    """

    steps_per_epoch: int | None = count(None, optional=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        arguments = {**cls.arguments}
        arguments.pop("steps_per_epoch", None)
        if any(isinstance(argument, StepsArgument) for argument in arguments.values()):
            arguments["steps_per_epoch"] = vars(Schedule)["steps_per_epoch"]
        cls.arguments = arguments
        cls.__signature__ = _signature(arguments)
        package = cls.__module__.partition(".")[0]
        keras.saving.register_keras_serializable(package=package)(cls)

    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__()
        owner = type(self).__name__
        names = list(inspect.signature(type(self)).parameters)
        if len(args) > len(names):
            raise TypeError(
                f"{owner} takes at most {len(names)} arguments: {', '.join(names)}. "
                f"Received: {args}"
            )
        given = dict(zip(names, args))
        for name in given.keys() & arguments.keys():
            raise TypeError(
                f"{owner}: argument `{name}` is given twice. Received: "
                f"{given[name]!r} and {arguments[name]!r}"
            )
        for name, value in self.bind({**given, **arguments}).items():
            setattr(self, name, value)
        for name, argument in self.arguments.items():
            if isinstance(argument, StepsArgument):
                self.in_steps(name)
        self.validate()

    def validate(self) -> None:
        """Refuse arguments that are right one by one but not together."""

    def value(self, step: Step) -> Any:
        """The value at a step.

        Args:
            step: The step: `step.since(n)` are the steps since step n as float32,
                `step.phase(n, length)` tells how much of a phase is passed and left,
                `step.divided(n)` counts periods. All of them are exact at any step.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define `value(self, step)`."
        )

    def __call__(self, step: Any) -> Any:
        """The value at a step, or at each of an array of steps, as a float32 tensor."""
        return ops.cast(self.value(Step.of(step)), value_dtype())

    def in_steps(self, name: str) -> Any:
        """The argument of this name in whole steps, whether given as epochs or not."""
        value = getattr(self, name)
        if isinstance(value, list):
            return [self._converted(name, each) for each in value]
        return None if value is None else self._converted(name, value)

    def _converted(self, name: str, value: float) -> int:
        result = value * (self.steps_per_epoch or 1)
        whole = round(result)
        # A third of an epoch is no exact number.
        if abs(result - whole) > 1e-6 or whole > LAST:
            raise ValueError(
                f"{type(self).__name__}: argument `{name}` must be "
                f"{self.arguments[name].allowed}, and at most {LAST} steps. Received: "
                f"{name}={getattr(self, name)!r}, "
                f"steps_per_epoch={self.steps_per_epoch}"
            )
        return whole

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON can hold them."""
        values = {name: getattr(self, name) for name in self.arguments}
        return {k: keras.saving.serialize_keras_object(v) for k, v in values.items()}

    def __repr__(self) -> str:
        words = [
            f"{name}={getattr(self, name)!r}"
            for name in inspect.signature(type(self)).parameters
            if getattr(self, name) != self.arguments[name].default
        ]
        return f"{type(self).__name__}({', '.join(words)})"


Schedule.__signature__ = _signature(Schedule.arguments)
