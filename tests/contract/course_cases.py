"""Trainings with a fault each, and the same without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, losses

import keras_adamx
from tests.contract import doctor_cases as cases

TRAINED = 1408


class Training(NamedTuple):
    """What is fitted, and for how long."""

    model: keras.Model
    x: Any
    y: np.ndarray
    epochs: int = 4
    validation: Any = None


class Case(NamedTuple):
    """A training with and without a fault.

    Attributes:
        make: Gives the training, with the fault if it is told True.
        follows: Codes that may be reported beside, since they follow from the fault.
    """

    make: Callable[[bool], Training]
    follows: tuple[str, ...] = ()


CASES: dict[str, Case] = {}


def plants(code: str, *follows: str) -> Callable[..., Any]:
    """The function makes a training with the fault of this code."""

    def register(make: Callable[[bool], Training]) -> Any:
        CASES[code] = Case(make, follows)
        return make

    return register


def training(optimizer: Any, model: keras.Model | None = None, **more: Any) -> Training:
    """A model of dense layers on digits."""
    model = model or cases.mlp()
    model.compile(optimizer, losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = cases.pixels()[:TRAINED].copy(), cases.digits()[1][:TRAINED]
    return Training(model, x, y, **more)


# On TensorFlow, oneDNN makes zeros of what is not a number on some processors, where it
# joins a product and a ReLU.
KEEPS_NAN = "tanh"


@plants("training-not-finite")
def a_pixel_is_not_a_number(fault: bool) -> Training:
    found = training(keras_adamx.Adam(), cases.mlp(KEEPS_NAN))
    if fault:
        found.x[800, 3] = np.nan
    return found


@plants("steps-skipped")
def a_pixel_is_not_a_number_and_skipped(fault: bool) -> Training:
    found = training(keras_adamx.Adam(nonfinite="skip"), cases.mlp(KEEPS_NAN))
    if fault:
        found.x[800, 3] = np.nan
    return found


@plants("loss-diverges", "updates-too-large", "gradients-explode")
def a_rate_of_one(fault: bool) -> Training:
    hidden = [layers.Dense(32) for _ in range(2)]
    model = keras.Sequential([keras.Input((64,)), *hidden, layers.Dense(10)])
    return training(keras_adamx.Adam(1.0 if fault else 1e-3), model)


@plants("loss-oscillates", "updates-too-large", "loss-diverges")
def a_rate_at_the_edge(fault: bool) -> Training:
    hidden = [layers.Dense(32, "tanh") for _ in range(2)]
    model = keras.Sequential([keras.Input((64,)), *hidden, layers.Dense(10)])
    return training(keras_adamx.SGD(1.0 if fault else 0.05), model)


@plants("plateau-from-the-start")
def kernels_of_zeros(fault: bool) -> Training:
    model = cases.mlp()
    if fault:
        for layer in model.layers:
            layer.kernel.assign(np.zeros(layer.kernel.shape, "float32"))
    return training(keras_adamx.Adam(), model)


@plants("overfitting")
def few_rows_for_long(fault: bool) -> Training:
    rows = 96 if fault else TRAINED
    random = np.random.default_rng(0)
    found = training(keras_adamx.Adam(1e-2 if fault else 1e-3))
    y = found.y[:rows].copy()
    if fault:
        y[::4] = random.integers(0, 10, len(y[::4]))
    held_out = (cases.pixels()[TRAINED:], cases.digits()[1][TRAINED:])
    epochs = 25 if fault else 8
    return found._replace(x=found.x[:rows], y=y, epochs=epochs, validation=held_out)


@plants("schedule-ended-early")
def a_schedule_for_one_epoch(fault: bool) -> Training:
    steps = 44 * (1 if fault else 4)
    return training(keras_adamx.Adam(keras_adamx.schedules.LinearDecay(1e-3, steps)))


@plants("gradients-explode", "loss-diverges", "second-moment-not-settled")
def rows_that_were_not_scaled(fault: bool) -> Training:
    found = training(keras_adamx.Adam())
    if fault:
        found.x[960:] *= 1000.0
    return found


@plants("gradients-vanish", "plateau-from-the-start")
def many_sigmoids(fault: bool) -> Training:
    activation = "sigmoid" if fault else "relu"
    hidden = [layers.Dense(32, activation=activation) for _ in range(8)]
    model = keras.Sequential([keras.Input((64,)), *hidden, layers.Dense(10)])
    return training(keras_adamx.Adam(), model)


@plants("updates-too-large", "plateau-from-the-start")
def steps_as_large_as_weights(fault: bool) -> Training:
    model = cases.mlp(kernel_constraint=keras.constraints.UnitNorm())
    return training(keras_adamx.Lion(0.3 if fault else 1e-4), model)


@plants("updates-too-small", "plateau-from-the-start")
def a_tiny_rate(fault: bool) -> Training:
    return training(keras_adamx.SGD(1e-7 if fault else 0.05))


@plants("weights-not-moving", "plateau-from-the-start")
def bfloat16_without_stochastic_rounding(fault: bool) -> Training:
    policy = "bfloat16" if fault else "float32"
    model = cases.mlp()
    model = keras.Sequential(
        [keras.Input((64,))]
        + [
            layers.Dense(n, activation=a, dtype=policy)
            for n, a in ((32, "relu"), (32, "relu"), (10, None))
        ]
    )
    return training(keras.optimizers.SGD(1e-4 if fault else 0.05), model)


@plants("epsilon-dominates")
def epsilon_of_one(fault: bool) -> Training:
    return training(keras_adamx.Adam(epsilon=1.0 if fault else 1e-8))


@plants("second-moment-not-settled", "plateau-from-the-start")
def a_first_batch_that_is_remembered(fault: bool) -> Training:
    found = training(keras_adamx.Adam(beta_2=0.99999))
    if fault:
        found.x[:32] *= 1e4
    return found
