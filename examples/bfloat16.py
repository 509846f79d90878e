"""Weights in bfloat16: half the memory, and with stock Adam no training at all.

    python examples/bfloat16.py

bfloat16 has 8 significant bits.  `keras.optimizers.Adam` keeps its state in the
weights' type, where beta_2 = 0.999 rounds to 1; the factor sqrt(1 - beta_2^t) of its
step is then 0 and no weight ever moves.  `keras_adamx.Adam` keeps the state in
float32, and rounds the new weights stochastically: an update smaller than half the
distance to the next bfloat16 is not lost, it happens with the right probability.
"""

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Before TensorFlow is imported.

import common
import data
import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import keras_adamx

console = Console()


def main():
    """Trains both optimizers in both types, and prints what became of them."""
    args = parse_arguments()
    common.make_deterministic(args.seed)
    dataset = data.from_arguments(args)

    table = Table(title=f"{args.epochs} epochs on {dataset.name}")
    for heading in ("optimizer", "weights", "weights changed"):
        table.add_column(heading)
    for heading in ("final loss", "test accuracy"):
        table.add_column(heading, justify="right")
    changed = {}
    for name, new_optimizer in {
        "keras Adam": keras.optimizers.Adam,
        "keras_adamx Adam": keras_adamx.Adam,
    }.items():
        for dtype in ("float32", "bfloat16"):
            result = train(f"{name}, {dtype}", new_optimizer(), dtype, dataset, args)
            changed[name, dtype] = result["changed"]
            table.add_row(
                name,
                dtype,
                "[green]yes" if result["changed"] else "[red]no",
                f"{result['loss']:.4f}",
                f"{result['accuracy']:.4f}",
            )
    console.print(table)
    return 0 if changed["keras_adamx Adam", "bfloat16"] else 1


def train(description, optimizer, dtype, dataset, args):
    """Trains a model of `dtype` weights and says what came of it."""
    # Under the policy "bfloat16" the layers hold and compute bfloat16. (With
    # "mixed_bfloat16" they would compute bfloat16 and hold float32.)
    keras.config.set_dtype_policy(dtype)
    model = common.build_classifier(dataset, args.seed)
    model.compile(
        optimizer=optimizer,
        loss=common.classification_loss(),
        metrics=["accuracy"],
    )
    before = snapshot(model)
    history = model.fit(
        dataset.train(),
        epochs=args.epochs,
        steps_per_epoch=dataset.steps_per_epoch,
        callbacks=[common.ProgressBar(description)],
        shuffle=False,
        verbose=0,
    )
    return {
        "changed": any(
            np.any(a != b) for a, b in zip(before, snapshot(model), strict=True)
        ),
        "loss": history.history["loss"][-1],
        "accuracy": common.test_accuracy(model, dataset),
    }


def snapshot(model):
    """Copies of the trainable weights."""
    return [np.array(keras.ops.convert_to_numpy(w)) for w in model.trainable_variables]


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    data.add_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
