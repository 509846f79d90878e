"""What the examples share beside their data: a model, a clock, a bit-for-bit check."""

import math
import time

import keras
import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


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


def build_classifier(data, seed):
    """A small convolutional network; the same seed gives the same initial weights."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input(data.image_shape),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
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

    The first epoch is left out: it holds tracing, compilation and cold caches.
    """

    def __init__(self):
        super().__init__()
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
        if self._epochs > 1 and self._last is not None:
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
