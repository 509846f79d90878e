"""A small workload that worker processes can import."""

from __future__ import annotations

import os
import signal
import sys

import keras
import numpy as np

import keras_adamx
from keras_adamx.compare import Data, Part, Workload

SIZES = {"train": 70, "tuning": 20, "test": 25}


def build():
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(3),
        ]
    )


def data():
    random = np.random.default_rng(1)
    parts = {}
    for name, size in SIZES.items():
        labels = random.integers(0, 3, size)
        inputs = random.normal(size=(size, 6)).astype("float32")
        inputs[np.arange(size), labels] += 2.0
        parts[name] = Part(inputs, labels.astype("int32"))
    return Data(**parts)


def loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def metric():
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")


def build_eager():
    """A compiled model that runs op by op: so few steps take less than compiling."""
    model = build()
    model.compile(loss=loss(), metrics=[metric()], run_eagerly=True)
    return model


def workload(**changed):
    """The workload; op by op on TensorFlow, unless `build` is given."""
    if keras.backend.backend() == "tensorflow" and "build" not in changed:
        changed |= {"build": build_eager, "loss": None, "metric": None}
    given = {
        "name": "points",
        "description": "Three clouds of points; a network of two layers.",
        "build": build,
        "data": data,
        "loss": loss,
        "metric": metric,
        "metric_name": "accuracy",
        "higher_is_better": True,
        "target": 0.7,
        "steps": 10,
        "batch_size": 16,
        "jit_compile": {"tensorflow": False},
    }
    return Workload(**(given | changed))


class Unbuildable(keras.optimizers.SGD):
    """Raises an error as soon as it is to be used."""

    def build(self, variables):
        raise RuntimeError("there is no room\nfor more")


class Ended(keras.optimizers.SGD):
    """Its process is ended from outside."""

    def build(self, variables):
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()


class Deadly(keras.optimizers.SGD):
    """Takes its process with it."""

    def build(self, variables):
        os._exit(7)


def curves(comparison):
    """Everything of the runs but times, in a fixed order."""
    return sorted(
        (
            run.key,
            run.status,
            run.reason or "",
            run.state_bytes or 0,
            [(p.step, p.train_loss, p.loss, p.value) for p in run.curve],
        )
        for run in comparison.runs
    )


def compared(**changed):
    """A comparison of two optimizers, small enough for a test."""
    given = {
        "optimizers": {
            "ours": keras_adamx.SGD(0.1, jit_compile=False),
            "theirs": keras.optimizers.SGD(0.1, momentum=0.9),
        },
        "search": [0.05, 0.2],
        "seeds": 2,
        "verbose": False,
    }
    return keras_adamx.compare.compare(workload(), **(given | changed))


if __name__ == "__main__":
    from tests.compare import cases  # Its functions are not those of __main__.

    cases.compared(file=sys.argv[1])
