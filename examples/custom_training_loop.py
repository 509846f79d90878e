"""A hand-written TensorFlow loop: eager and as a `tf.function`, the same weights.

    python examples/custom_training_loop.py

The same step is run op by op and as a graph, with `keras_adamx` and with
`keras.optimizers.Adam`, each time from the same weights on the same batches.
"""

import argparse
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Before TensorFlow is imported.
os.environ["KERAS_BACKEND"] = "tensorflow"  # `GradientTape` is TensorFlow's.

import common
import data
import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import track
from rich.table import Table

import keras_adamx

# Weights of magnitude 0.1 may differ by some float32 roundings a step, because a
# graph fuses operations that eager mode rounds one by one.
TOLERANCE = 1e-5

console = Console()


def main():
    """Runs the four loops and compares them."""
    args = parse_arguments()
    common.make_deterministic(args.seed)
    dataset = data.from_arguments(args)

    weights, rows = {}, []
    for name, new_optimizer in {
        "keras_adamx Adam": keras_adamx.Adam,
        "keras Adam": keras.optimizers.Adam,
    }.items():
        for mode in ("eager", "tf.function"):
            model, losses, milliseconds = train(
                f"{name}, {mode}", new_optimizer(), dataset, args, mode
            )
            weights[name, mode] = model.get_weights()
            rows.append((name, mode, losses[0], losses[-1], milliseconds))

    table = Table(title=f"{args.steps} steps on {dataset.name}")
    for heading in ("optimizer", "loop"):
        table.add_column(heading)
    for heading in ("first loss", "last loss", "ms per step"):
        table.add_column(heading, justify="right")
    for name, mode, first, last, milliseconds in rows:
        table.add_row(name, mode, f"{first:.4f}", f"{last:.4f}", f"{milliseconds:.2f}")
    table.caption = "ms per step: median, without the first ten steps"
    console.print(table)

    difference = max(
        float(np.max(np.abs(a - b)))
        for a, b in zip(
            weights["keras_adamx Adam", "eager"],
            weights["keras_adamx Adam", "tf.function"],
            strict=True,
        )
    )
    console.print(
        "keras_adamx Adam, eager against tf.function: largest difference of a weight "
        f"{difference:.1e} (allowed: {TOLERANCE:.0e}).",
        soft_wrap=True,
    )
    return 0 if difference <= TOLERANCE else 1


def train(description, optimizer, dataset, args, mode):
    """The loop. Returns the model, the losses and the median ms per step."""
    model = common.build_classifier(dataset, args.seed)
    loss_function = common.classification_loss()
    # Creates the optimizer's variables. Without it the first `apply` does so, which
    # is right as well, but then a `tf.function` is traced twice.
    optimizer.build(model.trainable_variables)

    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = loss_function(labels, model(images, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    if mode == "tf.function":
        # Batches of two sizes (the last of an epoch is smaller) would be two graphs.
        step = tf.function(step, reduce_retracing=True)

    losses, seconds = [], []
    batches = dataset.train().take(args.steps)
    for images, labels in track(batches, description, total=args.steps):
        start = time.perf_counter()
        losses.append(float(step(images, labels)))
        seconds.append(time.perf_counter() - start)
    return model, losses, 1e3 * float(np.median(seconds[10:]))


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    data.add_arguments(parser)
    args = parser.parse_args()
    if args.steps <= 10:
        parser.error("--steps must be more than 10: the first ten are not timed.")
    return args


if __name__ == "__main__":
    sys.exit(main())
