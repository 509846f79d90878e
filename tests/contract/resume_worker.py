"""Trains every optimizer; in two processes with a break, or in one without.

python -m tests.contract.resume_worker whole|first|second FOLDER
"""

import itertools
import sys
from pathlib import Path

import keras
import numpy as np

import keras_adamx
from tests import problem

EPOCHS = 1


def jit_compile(optimizer: str) -> str | bool:
    """Compiled for a few of them, op by op for the others: compiling takes long."""
    return "auto" if optimizer in problem.COMPILED else False


def plain(optimizer: str) -> keras.Sequential:
    """What every optimizer can do with float32 state."""
    return problem.compiled(
        keras_adamx.get(
            optimizer,
            learning_rate=keras_adamx.schedules.StepDecay(0.01, 2, gamma=0.5),
            use_ema=True,
            ema_momentum=0.5,
            gradient_accumulation_steps=2,
            weight_decay=0.01,
            global_clipnorm=1.0,
            jit_compile=jit_compile(optimizer),
        ),
        run_eagerly=optimizer not in problem.COMPILED,
    )


def grouped(optimizer: str) -> keras.Sequential:
    """State of fewer bits, groups, and decay under a schedule."""
    model = keras.Sequential(
        [
            keras.layers.Input((8,)),
            keras.layers.Dense(600, activation="relu", name="wide"),
            keras.layers.Dense(16, activation="relu", name="deep"),
            keras.layers.Dense(3, name="head"),
        ]
    )
    model.compile(
        keras_adamx.get(
            optimizer,
            learning_rate=0.01,
            state_dtype="int8",
            weight_decay=keras_adamx.schedules.StepDecay(0.01, 2, gamma=0.5),
            weight_decay_kind="decoupled"
            if optimizer in problem.DECAY_INSIDE
            else "cautious",
            groups=[
                keras_adamx.Group("^deep", learning_rate=0.5, state_dtype="bfloat16"),
                keras_adamx.Group("bias$", weight_decay=None),
            ],
            nonfinite="skip",
            jit_compile=jit_compile(optimizer),
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=optimizer not in problem.COMPILED,
    )
    return model


# Under both the slots are those of the rule; what surrounds them is the core's.
RUNS = [
    *itertools.product(problem.OPTIMIZERS, (grouped,)),
    *itertools.product(problem.KINDS, (plain,)),
]


def main(part: str, folder: Path) -> None:
    """Train the part and leave a file, or the weights, for each run."""
    for name, make in RUNS:
        path = folder / f"{name}-{make.__name__}.keras"
        if part == "second":
            model = keras.saving.load_model(path)
        else:
            keras.utils.set_random_seed(1)
            model = make(name)
        # Fitted epoch by epoch: at the end of every `fit`, Keras puts the averages in.
        for _ in range(EPOCHS * (2 if part == "whole" else 1)):
            problem.fit(model, 1)
        if part == "first":
            model.save(path)
        else:
            weights = problem.values([*model.weights, *model.optimizer.variables])
            np.savez(path.with_suffix(f".{part}.npz"), *weights)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
