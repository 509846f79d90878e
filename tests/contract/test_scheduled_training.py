"""Training under schedules: what a step is, and that a saved run goes on."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_adamx
from keras_adamx import schedules
from tests import problem
from tests.schedules import CASES, value_of, values_of


def path(optimizer, count):
    """A weight whose gradient is always 1."""
    weight = keras.Variable(0.0)
    found = []
    for _ in range(count):
        optimizer.apply([ops.ones(())], [weight])
        found.append(float(ops.convert_to_numpy(weight)))
    return np.array(found)


@pytest.mark.parametrize("named", ["LinearWarmup", "CosineRestarts", "OneCycle"])
def test_optimizers_follow(named):
    """A step of plain descent is as long as the schedule says, here and in Keras."""
    case = CASES[named]
    schedule = case.scaled(1)
    expected = -np.cumsum([case.formula(step, 1) for step in range(8)])
    for optimizer in (keras_adamx.SGD(schedule), keras.optimizers.SGD(schedule)):
        np.testing.assert_allclose(path(optimizer, 8), expected, rtol=2e-6, atol=1e-7)


def test_accumulation_counts_updates():
    schedule = schedules.CosineRestarts(0.5, 3, m_mul=0.5)
    optimizer = keras_adamx.SGD(schedule, gradient_accumulation_steps=2)
    expected = -np.cumsum(values_of(schedule, range(5)))
    np.testing.assert_allclose(path(optimizer, 10)[1::2], expected, rtol=1e-6)


def everything():
    """An optimizer with a schedule for every number."""
    cycle = schedules.OneCycle(0.05, 12, pct_start=0.25)
    return keras_adamx.AdamW(
        learning_rate=schedules.LinearWarmup(
            schedules.CosineRestarts(0.05, 2, t_mul=1.5), 3
        ),
        beta_1=cycle.momentum,
        beta_2=schedules.PiecewiseInterpolated([0, 6], [0.9, 0.99]),
        weight_decay=schedules.Product(
            [schedules.REX(0.1, 1.5, steps_per_epoch=4), schedules.StepDecay(1.0, 2)]
        ),
        global_clipnorm=schedules.WarmupStableDecay(1.0, 3, 4, alpha=0.5),
        name="everything",
    )


def test_training_saved_and_resumed(tmp_path):
    """Two rounds of `fit`, saved in between: the same as if nothing had been."""
    results = []
    for save in (False, True):
        keras.utils.set_random_seed(1)
        model = problem.compiled(everything())
        problem.fit(model, 1)
        if save:
            model.save(tmp_path / "model.keras")
            model = keras.saving.load_model(tmp_path / "model.keras")
        problem.fit(model, 2, 1)
        results.append(problem.values(model.trainable_variables))
        optimizer = model.optimizer
        assert optimizer.get_config() == everything().get_config()
        rate = schedules.LinearWarmup(schedules.CosineRestarts(0.05, 2, t_mul=1.5), 3)
        found = float(ops.convert_to_numpy(optimizer.learning_rate))
        assert found == value_of(rate, int(optimizer.iterations))
    for left, right in zip(*results):
        np.testing.assert_array_equal(left, right)
