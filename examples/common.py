"""What the examples share: options, data, a model, a clock, a bit-for-bit check."""

import argparse
import dataclasses
import math
import os
import time

os.environ.setdefault("MPLBACKEND", "Agg")  # Draws to files; needs no display.

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from keras_adamx import compare

console = Console()

# Workloads that bring the images which `load_images` knows.
IMAGES = {
    "fashion_mnist": compare.workloads.fashion_mlp,
    "digits": compare.workloads.digits,
}


def new_parser(description, *, images=False, **defaults):
    """A parser with an option for each default, and for the seed.

    Args:
        description: Docstring of the example.
        images: Whether the data are images, to be chosen.
        defaults: Names and default values. Integers must be at least 1.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    if images:
        parser.add_argument(
            "--dataset",
            choices=IMAGES,
            default="fashion_mnist",
            help="default: %(default)s; digits are few, small and always there",
        )
    for name, default in defaults.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=at_least_one if isinstance(default, int) else type(default),
            default=default,
            help="default: %(default)s",
        )
    parser.add_argument("--seed", type=int, default=0)
    return parser


def at_least_one(text):
    """An integer of the command line."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return int(text)


@dataclasses.dataclass(frozen=True)
class Images(compare.Data):
    """Images in [0, 1] with their classes, in three parts."""

    name: str
    num_classes: int = 10

    @property
    def image_shape(self):
        """Height, width and number of channels."""
        return self.train.inputs.shape[1:]


def load_images(name):
    """The images of that name, or the end of the program where there are none."""
    data = read(IMAGES[name], "--dataset digits needs nothing but the extra 'data'.")
    return Images(data.train, data.tuning, data.test, name)


def read(workload, otherwise=""):
    """The data of a workload, or the end of the program with a line that says why."""
    try:
        return workload.data()
    except compare.datasets.MissingDataError as error:
        raise SystemExit(f"error: {error}. {otherwise}".rstrip()) from error


def compile_as(workload, model, optimizer):
    """Compiles a model with loss and metric of a workload, and with XLA as it says."""
    model.compile(
        optimizer,
        loss=workload.loss() if callable(workload.loss) else workload.loss,
        metrics=[workload.metric()] if callable(workload.metric) else [],
        # On a CPU XLA speeds dense layers up, and slows convolutions down.
        jit_compile=workload.jit_compile.get(keras.backend.backend(), "auto"),
    )
    return model


def fit(model, data, args, description, callbacks=()):
    """Trains with the options `--epochs` and `--batch-size`, and a bar."""
    keras.utils.set_random_seed(args.seed)  # The order of the examples follows from it.
    return model.fit(
        *data.train,
        validation_data=tuple(data.tuning),
        epochs=args.epochs,
        batch_size=args.batch_size,
        callbacks=[*callbacks, ProgressBar(description)],
        verbose=0,
    )


def sample(part, size, seed):
    """So many examples of a part in a random order, each as often as the others."""
    random = np.random.default_rng(seed)
    rounds = -(-size // len(part.labels))
    rows = [random.permutation(len(part.labels)) for _ in range(rounds)]
    rows = np.concatenate(rows)[:size]
    return compare.Part(
        keras.tree.map_structure(lambda x: x[rows], part.inputs), part.labels[rows]
    )


def evaluate(model, part):
    """Loss and metrics on a part of the data, by name."""
    return model.evaluate(*part, batch_size=1000, verbose=0, return_dict=True)


def print_table(title, headings, rows, caption=None):
    """A table whose first column is text, and whose others are numbers."""
    table = Table(title=title, caption=caption)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if position else "left")
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)


def save_picture(axes, path):
    """Writes the figure of these axes, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    axes.figure.savefig(path, dpi=120)
    console.print(f"Picture: {path}", soft_wrap=True)


def largest_difference(first, second):
    """How far two lists of arrays are apart, where they are farthest."""
    return max(float(np.max(np.abs(a - b))) for a, b in zip(first, second, strict=True))


def make_deterministic(seed):
    """Seeds everything, and asks the backend for the same bits on every run."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Also makes Keras' `jit_compile="auto"` leave XLA alone.
        tf.config.experimental.enable_op_determinism()
    elif keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)


def build_classifier(data, seed, strides=1):
    """A small convolutional network; the same seed gives the same initial weights.

    Args:
        data: Has an `image_shape` and `num_classes`.
        seed: Of the initial weights.
        strides: Of the first convolution; 2 for a quarter of the work.
    """
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input(data.image_shape),
            keras.layers.Conv2D(
                16, 3, strides=strides, padding="same", activation="relu"
            ),
            keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(data.num_classes),
        ]
    )


def classification_loss():
    """Cross-entropy of integer labels, on the logits `build_classifier` returns."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def different_tensors(first, second):
    """Names of the variables whose dtype, shape or bits differ.

    Args:
        first: List of Keras variables.
        second: As many variables in the same order.
    """
    names = []
    for a, b in zip(first, second, strict=True):
        x, y = keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
        # Bytes, not values: 0.0 == -0.0 and nan != nan would both mislead here.
        if (x.dtype, x.shape, x.tobytes()) != (y.dtype, y.shape, y.tobytes()):
            names.append(a.path)
    return names


def test_accuracy(model, data):
    """Share of the test images that a compiled model classifies rightly."""
    return model.evaluate(data.test, verbose=0, return_dict=True)["accuracy"]


def state_of(model):
    """Everything that training changes: weights, then the optimizer's variables."""
    return [*model.weights, *model.optimizer.variables]


class StepTimer(keras.callbacks.Callback):
    """Measures the time between the ends of successive training steps.

    The first epoch is left out: it holds tracing, compilation and cold caches. Where
    there is but one, `skipped_epochs=0` counts it; the median leaves out what is rare.
    """

    def __init__(self, skipped_epochs=1):
        super().__init__()
        self.skipped_epochs = skipped_epochs
        self.seconds = []
        self._epochs = 0
        self._last = None

    def on_epoch_begin(self, epoch, logs=None):
        """Forgets the last step: what lies between two epochs is no step."""
        self._epochs += 1
        self._last = None

    def on_train_batch_end(self, batch, logs=None):
        """Notes the time since the step before."""
        now = time.perf_counter()
        if self._epochs > self.skipped_epochs and self._last is not None:
            self.seconds.append(now - self._last)
        self._last = now

    @property
    def milliseconds(self):
        """Median milliseconds a step; nan where only one epoch was trained."""
        return 1e3 * float(np.median(self.seconds)) if self.seconds else math.nan


class ProgressBar(keras.callbacks.Callback):
    """One bar for a whole `fit`, however many epochs it has."""

    def __init__(self, description):
        super().__init__()
        self.description = description

    def on_train_begin(self, logs=None):
        """Shows the bar."""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("epoch {task.fields[epoch]}"),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TimeElapsedColumn(),
        )
        self._task = None
        self._bar.start()

    def on_epoch_begin(self, epoch, logs=None):
        """Shows the epoch; the first one also tells how many steps are ahead."""
        epochs, steps = self.params["epochs"], self.params["steps"]
        if self._task is None:
            self._task = self._bar.add_task(
                self.description,
                total=(epochs - epoch) * steps,
                epoch="",
                loss=float("nan"),
            )
        self._bar.update(self._task, epoch=f"{epoch + 1}/{epochs}")

    def on_train_batch_end(self, batch, logs=None):
        """Moves on by a step."""
        self._bar.update(self._task, advance=1, loss=logs["loss"])

    def on_train_end(self, logs=None):
        """Leaves the full bar standing."""
        self._bar.stop()
