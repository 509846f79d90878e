"""Small training problems that the tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

import keras_adamx

# As they are on import: tests define classes of their own.
OPTIMIZERS = keras_adamx.list_optimizers()
# One that works element by element and one that works on whole variables.
COMPILED = ("adafactor", "adamw")
# One of each kind: plain, with decay, with numbers that all variables share, on whole
# variables, with another rule inside, that moves itself, with sums over all variables.
KINDS = ("adafactor", "adamw", "muon", "nadam", "prodigy", "schedulefreeadamw", "sgd")
# Whether `compiled` runs the training step op by op; set for each test.
op_by_op = False

# Where the weight decay is part of the rule, and has no other kinds.
DECAY_INSIDE = ("lamb", "lars", "prodigy", "schedulefreeadamw", "schedulefreesgd")
# Arguments with which every variable is treated alike, whatever others there are, and
# with which an unbounded problem does not end at infinity at once.
EXTRA = {
    "muon": {"exclude_head": False, "adam_lr_ratio": 1.0},
    "prodigy": {"growth_rate": 1.02},
}

# A scalar, a vector, a matrix, a convolution kernel.
SHAPES = ((), (5,), (4, 3), (3, 3, 2, 4))


def arrays(shapes: Sequence[tuple[int, ...]] = SHAPES, seed: int = 0) -> list[Any]:
    """Normally distributed float32 arrays."""
    random = np.random.default_rng(seed)
    return [random.normal(size=shape).astype("float32") for shape in shapes]


def variables(
    shapes: Sequence[tuple[int, ...]] = SHAPES, dtype: str = "float32", seed: int = 0
) -> list[keras.Variable]:
    """Variables with random values."""
    return [
        keras.Variable(value, dtype=dtype, name=f"w{i}")
        for i, value in enumerate(arrays(shapes, seed))
    ]


def gradients(
    step: int, shapes: Sequence[tuple[int, ...]] = SHAPES, dtype: str = "float32"
) -> list[Any]:
    """Random gradients, other ones at every step."""
    return [ops.convert_to_tensor(g, dtype) for g in arrays(shapes, seed=100 + step)]


def values(trained: Sequence[Any]) -> list[np.ndarray]:
    """Copies of variables as arrays, low precision widened."""
    return [
        np.array(ops.convert_to_numpy(ops.cast(ops.convert_to_tensor(v), "float32")))
        if keras.backend.standardize_dtype(v.dtype) in ("bfloat16", "float16")
        else np.array(ops.convert_to_numpy(v))
        for v in trained
    ]


def train(
    optimizer: keras.optimizers.Optimizer,
    steps: int = 5,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
    dtype: str = "float32",
    apply: Callable[..., Any] | None = None,
) -> list[np.ndarray]:
    """Weights after some steps on random gradients."""
    trained = variables(shapes, dtype)
    optimizer.build(trained)
    for step in range(steps):
        (apply or optimizer.apply)(gradients(step, shapes, dtype), trained)
    return values(trained)


def assert_same_bits(left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> None:
    """Equal in every bit."""
    assert len(left) == len(right)
    for a, b in zip(left, right):
        np.testing.assert_array_equal(a, b)


def assert_close(
    left: Sequence[np.ndarray], right: Sequence[np.ndarray], rtol: float = 2e-6
) -> None:
    """Equal up to the rounding of a few float32 operations."""
    assert len(left) == len(right)
    for a, b in zip(left, right):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=5e-7)


def classifier() -> keras.Sequential:
    """A small model whose layers name themselves, as a user would write it."""
    return keras.Sequential(
        [
            keras.layers.Input((8,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(3, name="head"),
        ]
    )


def dataset() -> tuple[np.ndarray, np.ndarray]:
    """96 points of three classes that a small model can tell apart."""
    random = np.random.default_rng(7)
    labels = random.integers(0, 3, 96)
    points = random.normal(size=(96, 8)).astype("float32")
    points[np.arange(96), labels] += 3.0
    return points, labels.astype("int32")


def compiled(optimizer: Any, **arguments: Any) -> keras.Sequential:
    """The classifier, compiled; run eagerly where the test does not say how."""
    model = classifier()
    if not arguments.keys() & {"jit_compile", "run_eagerly"}:
        arguments["run_eagerly"] = op_by_op
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **arguments,
    )
    return model


def tame(name: str) -> dict[str, Any]:
    """Arguments with which rounding in gradients stays rounding in the weights.

    The steps are large enough to compare, and what rounding leaves of a gradient of
    zero becomes none.
    """
    found = {
        "adadelta": {"learning_rate": 1.0},
        "lars": {"learning_rate": 0.2, "trust_coefficient": 0.01},
        "muon": {"learning_rate": 0.002},
        "prodigy": {"learning_rate": 1.0, "d0": 1e-3, "growth_rate": 1.02},
    }.get(name, {"learning_rate": 0.01})
    if name != "adadelta" and "epsilon" in keras_adamx.get(name).arguments:
        found["epsilon"] = 1e-2
    return found


def fit(model: keras.Model, epochs: int, initial_epoch: int = 0, **more: Any) -> Any:
    """Train in a fixed order of batches."""
    x, y = dataset()
    return model.fit(
        x,
        y,
        batch_size=32,
        epochs=epochs,
        initial_epoch=initial_epoch,
        shuffle=False,
        verbose=0,
        **more,
    )


def run_worker(module: str, *arguments: Any, **environment: str) -> list[list[str]]:
    """The words of the lines that a module of the tests prints in its own process."""
    worker = subprocess.run(
        [sys.executable, "-m", f"tests.contract.{module}", *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert worker.returncode == 0, worker.stderr[-3000:]
    return [line.split() for line in worker.stdout.splitlines()]
