"""StepDecay, the article's StepLR."""

import json

import keras
import numpy as np
import pytest

import keras_adamx
from keras_adamx.schedules import StepDecay


def test_formula_at_every_step():
    schedule = StepDecay(0.5, 3, gamma=0.5)
    rates = [float(schedule(step)) for step in range(10)]
    np.testing.assert_allclose(rates, [0.5 * 0.5 ** (s // 3) for s in range(10)])


def test_epochs():
    schedule = StepDecay(1.0, 2, gamma=0.1, steps_per_epoch=5)
    assert float(schedule(9)) == 1.0
    assert float(schedule(10)) == pytest.approx(0.1)


def test_no_drift_at_large_steps():
    period = 10**7 + 1
    schedule = StepDecay(1.0, period, gamma=0.5)
    assert float(schedule(keras.ops.convert_to_tensor(period - 1, "int32"))) == 1.0
    assert float(schedule(keras.ops.convert_to_tensor(period, "int32"))) == 0.5


def test_config():
    schedule = StepDecay(0.5, 3, gamma=0.25, steps_per_epoch=7)
    config = json.loads(json.dumps(keras.optimizers.schedules.serialize(schedule)))
    again = keras.optimizers.schedules.deserialize(config)
    assert isinstance(again, StepDecay)
    assert again.get_config() == schedule.get_config()


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"initial_learning_rate": -1.0}, "initial_learning_rate"),
        ({"step_size": 0}, "step_size"),
        ({"step_size": 2.5}, "step_size"),
        ({"gamma": 0.0}, "gamma"),
        ({"steps_per_epoch": 0}, "steps_per_epoch"),
    ],
)
def test_wrong_arguments(arguments, wrong):
    valid = {"initial_learning_rate": 0.1, "step_size": 3}
    with pytest.raises((TypeError, ValueError), match=f"`{wrong}` must be"):
        StepDecay(**{**valid, **arguments})


def test_works_with_optimizers_of_keras():
    optimizer = keras.optimizers.SGD(StepDecay(0.5, 1))
    assert float(optimizer.learning_rate) == 0.5
    assert keras_adamx.schedules.StepDecay is StepDecay
