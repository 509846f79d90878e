"""What callbacks that watch the optimizer cost a training of the digits' network.

    python -m benchmarks.monitor --backends tensorflow

Each is in a `fit` of its own, beside one without. They train an epoch in turn,
in another order each round. The ratio is the median of the quotients of the rounds.
"CPU" is processor time of the process, which others on the machine disturb less.
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time
from typing import Any

import keras

from benchmarks import measure

BATCH = 32


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax", "torch"])
    parser.add_argument("--steps", type=int, default=50, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=45)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def rows(arguments: argparse.Namespace) -> list[measure.Row]:
    """All rows, from one child a backend."""
    passed = ["--steps", str(arguments.steps), "--rounds", str(arguments.rounds)]
    found = []
    for backend in arguments.backends:
        found += measure.run_child("benchmarks.monitor", backend, passed)
    return found


def child(arguments: argparse.Namespace) -> None:
    """Measure everything on the backend of this process."""
    from keras_adamx.callbacks import Doctor, OptimizerMonitor

    steps, rounds = arguments.steps, arguments.rounds
    plain = Training("none", None, steps, rounds)
    nothing = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: None
    )
    watched = [
        Training("one that does nothing", nothing, steps, rounds),
        Training("measured, not read", OptimizerMonitor(1 << 30), steps, rounds),
        Training("OptimizerMonitor()", OptimizerMonitor(), steps, rounds),
        Training("OptimizerMonitor(every=10)", OptimizerMonitor(10), steps, rounds),
        Training("Doctor()", Doctor(verbose=False), steps, rounds),
        Training("Doctor(every=10)", Doctor(10, verbose=False), steps, rounds),
    ]
    in_turn([plain, *watched], rounds)
    for each in watched:
        row = {"backend": keras.backend.backend(), "callback": each.name}
        for clock in ("elapsed", "CPU"):
            ours, without = each.milliseconds[clock], plain.milliseconds[clock]
            ratio = statistics.median(a / b for a, b in zip(ours, without))
            row[f"without, {clock} ms"] = f"{statistics.median(without):.2f}"
            row[f"ratio, {clock}"] = f"{ratio:.3f}"
        measure.emit(row)


class Training(keras.callbacks.Callback):
    """A `fit` in a thread of its own, which trains an epoch whenever it is told to.

    A `fit` for each epoch would trace and compile each time.

    Attributes:
        name: What stands in the table.
        milliseconds: A step of each epoch but the first, by clock.
    """

    def __init__(self, name: str, callback: Any, steps: int, rounds: int) -> None:
        super().__init__()
        self.name = name
        self.milliseconds: dict[str, list[float]] = {"elapsed": [], "CPU": []}
        self._callbacks = [] if callback is None else [callback]
        self._steps = steps
        self._epochs = rounds + 1
        self._go, self._ended = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._thread.start()

    def turn(self) -> None:
        """Train an epoch."""
        self._go.release()
        self._ended.acquire()
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Wait for the end of the `fit`, which follows the last turn."""
        self._thread.join()

    def _train(self) -> None:
        try:
            model, x, y = problem(self._steps)
            model.fit(
                x,
                y,
                batch_size=BATCH,
                epochs=self._epochs,
                shuffle=False,
                verbose=0,
                # Behind the others, whose work is to be counted.
                callbacks=[*self._callbacks, self],
            )
        except BaseException as error:
            self._error = error
            self._ended.release()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Wait for the turn."""
        self._go.acquire()
        self._began = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note the time of a step."""
        now = time.perf_counter(), time.process_time()
        if epoch:  # The first one compiles.
            for of_clock, end, begin in zip(
                self.milliseconds.values(), now, self._began
            ):
                of_clock.append(1e3 * (end - begin) / self._steps)
        self._ended.release()


def in_turn(trainings: list[Training], rounds: int) -> None:
    """Let all train an epoch to compile, then one each round."""
    order = list(trainings)
    shuffling = random.Random(0)
    for _ in range(rounds + 1):
        for training in order:
            training.turn()
        shuffling.shuffle(order)
    for training in trainings:
        training.finish()


def problem(steps: int) -> tuple[Any, Any, Any]:
    """The digits' network of the examples, and the rows of an epoch."""
    import numpy as np
    from sklearn.datasets import load_digits

    import keras_adamx
    from examples.common import build_classifier, classification_loss

    digits = load_digits()
    rows = np.resize(np.arange(len(digits.target)), steps * BATCH)
    x = (digits.images[..., None] / 16.0).astype("float32")[rows]
    y = digits.target.astype("int32")[rows]
    about = argparse.Namespace(image_shape=x.shape[1:], num_classes=10)
    model = build_classifier(about, 0)
    model.compile(keras_adamx.Adam(), classification_loss())
    return model, x, y


if __name__ == "__main__":
    measure.main("What watching costs", parse(), rows, child)
