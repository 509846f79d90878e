"""A small workload that worker processes can import."""

from __future__ import annotations

import keras
import numpy as np

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


def workload(**changed):
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
    }
    return Workload(**(given | changed))
