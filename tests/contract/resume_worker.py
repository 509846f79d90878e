"""Trains every optimizer; in two processes with a break, or in one without.

python -m tests.contract.resume_worker whole|first|second FOLDER
"""

import sys
from pathlib import Path

import keras
import numpy as np

import keras_adamx
from tests import problem

EPOCHS = 2


def main(part: str, folder: Path) -> None:
    """Train the part and leave a file, or the weights, for each optimizer."""
    for name in keras_adamx.list_optimizers():
        path = folder / f"{name}.keras"
        if part == "second":
            model = keras.saving.load_model(path)
        else:
            keras.utils.set_random_seed(1)
            schedule = keras_adamx.schedules.StepDecay(0.01, 2, gamma=0.5)
            model = problem.compiled(
                keras_adamx.get(
                    name,
                    learning_rate=schedule,
                    use_ema=True,
                    ema_momentum=0.5,
                    gradient_accumulation_steps=2,
                    weight_decay=0.01,
                    global_clipnorm=1.0,
                )
            )
        # Fitted epoch by epoch: at the end of every `fit`, Keras puts the averages in.
        for _ in range(EPOCHS * (2 if part == "whole" else 1)):
            problem.fit(model, 1)
        if part == "first":
            model.save(path)
        else:
            weights = problem.values([*model.weights, *model.optimizer.variables])
            np.savez(folder / f"{name}-{part}.npz", *weights)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
