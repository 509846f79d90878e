"""Time of a training step, model included, beside `keras.optimizers.Adam`.

    python -m benchmarks.fit_time --backends tensorflow

- "MLP": `fit` of four dense layers of 2048 units (16.8 million weights), batch 32;
- "CNN": `fit` of a small convolutional network on images of 8 × 8, batch 32;
- "eager loop": a hand-written loop with a GradientTape over 42 variables (TensorFlow).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from benchmarks import measure

STEPS = 20


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax", "torch"])
    parser.add_argument("--units", type=int, default=2048, help="of a layer of the MLP")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def rows(arguments: argparse.Namespace) -> list[measure.Row]:
    """All rows, from one child a backend."""
    passed = ["--units", str(arguments.units), "--rounds", str(arguments.rounds)]
    found = []
    for backend in arguments.backends:
        found += measure.run_child("benchmarks.fit_time", backend, passed)
    return found


def child(arguments: argparse.Namespace) -> None:
    """Measure everything on the backend of this process."""
    import keras

    import keras_adamx

    cases = {
        "MLP": lambda optimizer: fit(mlp(arguments.units), optimizer),
        "CNN": lambda optimizer: fit(cnn(), optimizer),
    }
    if keras.backend.backend() == "tensorflow":
        cases["eager loop"] = eager_loop
    for case, make in cases.items():
        runs = {
            "ours": make(keras_adamx.Adam()),
            "keras": make(keras.optimizers.Adam()),
        }
        times = measure.interleaved(runs, arguments.rounds)
        a_step = {k: (first, ms / STEPS) for k, (first, ms) in times.items()}
        measure.emit(
            {
                "backend": keras.backend.backend(),
                "model": case,
                **measure.compare(a_step["ours"], a_step["keras"]),
            }
        )


def mlp(units: int) -> tuple[Any, tuple[int, ...], int]:
    import keras

    layers = [keras.layers.Dense(units, activation="relu") for _ in range(4)]
    return keras.Sequential([keras.Input((units,)), *layers]), (units,), units


def cnn() -> tuple[Any, tuple[int, ...], int]:
    import keras

    layers = [
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10),
    ]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers]), (8, 8, 1), 10


def fit(problem: tuple[Any, tuple[int, ...], int], optimizer: Any) -> Callable[[], Any]:
    """A function that trains for one epoch of `STEPS` batches."""
    import numpy as np

    model, shape, outputs = problem
    model.compile(optimizer, "mse")
    random = np.random.default_rng(0)
    x = random.normal(size=(32 * STEPS, *shape)).astype("float32")
    y = random.normal(size=(32 * STEPS, outputs)).astype("float32")
    return lambda: model.fit(x, y, batch_size=32, verbose=0, shuffle=False)


def eager_loop(optimizer: Any) -> Callable[[], Any]:
    """A function that makes `STEPS` eager steps over 42 variables."""
    import keras
    import tensorflow as tf

    layers = [keras.layers.Dense(64, activation="relu") for _ in range(21)]
    model = keras.Sequential([keras.Input((64,)), *layers])
    x = tf.random.normal((32, 64))

    def run() -> None:
        for _ in range(STEPS):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(model(x)))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)

    return run


if __name__ == "__main__":
    measure.main("Time of a training step", parse(), rows, child)
