"""Compares training on two devices with training on one.

python -m tests.contract.mirrored_worker [OPTIMIZER ...]
"""

import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_adamx
from keras_adamx import transforms
from tests import problem

STEPS = 20
# Every step after this one is given a gradient that is not finite.
BROKEN = 7


def cases(name: str) -> dict[str, dict]:
    """Arguments under which an optimizer is to do the same on two devices."""
    groups = [
        keras_adamx.Group("^head", learning_rate=0.5, weight_decay=0.02),
        keras_adamx.Group("bias$", weight_decay=None),
    ]
    around = [
        transforms.GradientCentralization(),
        transforms.AdaptiveGradientClipping(clipping=0.05),
    ]
    if not name.startswith("schedulefree"):  # Its points follow from its own steps.
        around += [
            transforms.Cautious(),
            transforms.Lookahead(steps=3),
            transforms.ExponentialAverage(decay=0.5),
        ]
    every = {
        "norms": {
            "clipnorm": 0.05,
            "groups": groups,
            "weight_decay": 0.01,
            "use_ema": True,
            "ema_momentum": 0.5,
            "ema_overwrite_frequency": 3,
        },
        "all": {
            "global_clipnorm": 0.1,
            "gradient_accumulation_steps": 2,
            "transforms": around,
            "nonfinite": "skip",
        },
    }
    if name not in ("adamw", "muon", "prodigy"):
        return every
    single = {
        "plain": {},
        "clipvalue": {"clipvalue": 0.005},
        "global_clipnorm": {"global_clipnorm": 0.1},
        "accumulated": {"gradient_accumulation_steps": 2},
        "transforms": {"transforms": around},
        "nonfinite": {"nonfinite": "skip"},
        "bfloat16": {"state_dtype": "bfloat16"},
        "int8": {"state_dtype": "int8"},
    }
    return every | single


def data(broken: bool) -> tf.data.Dataset:
    """One batch a step; a value of one of them, for one device, may be no number."""
    x, y = problem.dataset()
    random = np.random.default_rng(3)
    rows = random.integers(0, len(x), 32 * STEPS)
    x, y = x[rows], y[rows]
    if broken:
        x[32 * BROKEN, 0] = np.nan
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(32)


def main() -> None:
    """Print how far the weights are from those of one device, and how far they went."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, devices)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for name in sys.argv[1:] or problem.OPTIMIZERS:
        for kind, arguments in cases(name).items():
            broken = "nonfinite" in arguments
            weights, skipped = [], []
            for scope in (tf.distribute.get_strategy(), strategy):
                keras.utils.set_random_seed(5)
                with scope.scope():
                    model = new_model(name, arguments)
                model.fit(data(broken), verbose=0)
                weights.append(problem.values(model.trainable_variables))
                skipped.append(model.optimizer.skipped_steps)
            for variable in (*model.variables, *model.optimizer.variables):
                one, other = copies(strategy, variable)
                # Each device computes them anew, with sums in an order of its own.
                if kind not in ("bfloat16", "int8"):
                    np.testing.assert_allclose(
                        one, other, rtol=1e-4, atol=1e-6, err_msg=variable.path
                    )
            assert all(np.isfinite(value).all() for value in weights[0])
            assert skipped == [int(broken)] * 2, skipped
            before = problem.values(new_model(name, {}).trainable_variables)
            moved = max(map(distance, weights[0], before))
            apart = max(map(distance, *weights))
            print(name, kind, apart, moved, flush=True)


def new_model(name: str, arguments: dict[str, Any]) -> keras.Sequential:
    """A model as it is before the first step, large enough for state of few bits."""
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.layers.Input((8,)),
            keras.layers.Dense(512, activation="relu"),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(3, name="head"),
        ]
    )
    model.compile(
        keras_adamx.get(name, jit_compile=False, **problem.tame(name), **arguments),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return model


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.max(np.abs(one - other)))


def copies(strategy: Any, variable: keras.Variable) -> list[np.ndarray]:
    """The values of a variable on each device."""
    local = strategy.experimental_local_results(variable.value)
    return [tf.cast(each, tf.float32).numpy() for each in local]


if __name__ == "__main__":
    main()
