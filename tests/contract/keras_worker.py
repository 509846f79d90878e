"""Trains with an optimizer of Keras, saves, and trains on: what ours must equal.

python -m tests.contract.keras_worker FOLDER
"""

import sys
from pathlib import Path

import keras
import numpy as np

from tests import problem

SOURCES = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "rmsprop": ("RMSprop", {"rho": 0.8, "momentum": 0.5}),
    "centered": ("RMSprop", {"rho": 0.8, "momentum": 0.5, "centered": True}),
    "adagrad": ("Adagrad", {"learning_rate": 0.1}),
    "adadelta": ("Adadelta", {"learning_rate": 1.0}),
    "adam": ("Adam", {"beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1}),
    "amsgrad": ("Adam", {"beta_2": 0.95, "amsgrad": True}),
    "adamw": ("AdamW", {"global_clipnorm": 0.5, "weight_decay": 0.1}),
    "adamax": ("Adamax", {}),
    "nadam": ("Nadam", {}),
    "lion": ("Lion", {}),
}


def main(folder: Path) -> None:
    """Leave a model and its weights after one more epoch, for each source."""
    for label, (name, arguments) in SOURCES.items():
        keras.utils.set_random_seed(1)
        arguments = {"learning_rate": 0.01, **arguments}
        model = problem.compiled(getattr(keras.optimizers, name)(**arguments))
        problem.fit(model, 2)
        model.save(folder / f"{label}.keras")
        problem.fit(model, 1)
        np.savez(folder / f"{label}.npz", *model.get_weights())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
