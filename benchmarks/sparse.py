"""Time of a step on an embedding of which only some rows have a gradient.

    python -m benchmarks.sparse --modes graph --optimizers "Adam, lazy"

TensorFlow only, where the gradient of a look-up is `tf.IndexedSlices`. A quarter of the
rows of a step occur twice in it; the rows change from step to step. All optimizers of a
mode alternate. A ratio is that of `keras.optimizers.Adam` to the optimizer: how many
times faster it is.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

from benchmarks import measure

MODES = ["graph", "XLA", "eager"]
PEER = "Keras' Adam"
OPTIMIZERS = [
    "Adam, lazy",
    "Adam, lazy, int8",
    "Adam, lazy, group",
    "Adam, dense",
    PEER,
    "Keras' SGD",
]


def make(name: str) -> Any:
    """An optimizer of the table."""
    import keras

    import keras_adamx

    if name == PEER:
        return keras.optimizers.Adam()
    if name == "Keras' SGD":
        return keras.optimizers.SGD()
    words = name.split(", ")
    arguments: dict[str, Any] = {"sparse": words[1]}
    if "int8" in words:
        arguments["state_dtype"] = "int8"
    if "group" in words:
        arguments["groups"] = [keras_adamx.Group("embedding", learning_rate=0.1)]
    return keras_adamx.get(words[0].lower(), **arguments)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modes", nargs="+", default=MODES)
    parser.add_argument("--optimizers", nargs="+", default=OPTIMIZERS)
    parser.add_argument("--rows", type=int, default=500_000, help="of the embedding")
    parser.add_argument("--columns", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1024, help="rows with a gradient")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def rows(arguments: argparse.Namespace) -> list[measure.Row]:
    """A row an optimizer, for each mode its time and ratio; from one child."""
    passed = ["--modes", *arguments.modes, "--optimizers", *arguments.optimizers]
    for name in ("rows", "columns", "batch", "rounds"):
        passed += [f"--{name}", str(getattr(arguments, name))]
    table: dict[str, measure.Row] = {}
    for row in measure.run_child("benchmarks.sparse", "tensorflow", passed):
        start = {"optimizer": row["optimizer"]}
        table.setdefault(row["optimizer"], start).update(row["figures"])
    return list(table.values())


def child(arguments: argparse.Namespace) -> None:
    """Measure everything."""
    names = list(dict.fromkeys([*arguments.optimizers, PEER]))
    for mode in arguments.modes:
        steps = {name: step(make(name), arguments, mode) for name in names}
        times = measure.interleaved(steps, arguments.rounds)
        for name in names:
            ratio = times[PEER][1] / times[name][1]
            figures = {
                f"{mode}, ms": f"{times[name][1]:.2f}",
                f"{mode}, times faster": f"{ratio:.1f}",
            }
            measure.emit({"optimizer": name, "figures": figures})


def step(optimizer: Any, arguments: argparse.Namespace, mode: str) -> Callable[[], Any]:
    """A function that makes one step on the next of some gradients."""
    import keras
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(0)
    shape = arguments.rows, arguments.columns
    table = random.normal(size=shape).astype("float32")
    variable = keras.Variable(table, name="embedding")
    optimizer.build([variable])
    batches = []
    for _ in range(8):
        indices = random.integers(0, arguments.rows, arguments.batch)
        repeated = arguments.batch // 4
        indices[:repeated] = indices[repeated : 2 * repeated]
        values = random.normal(size=(arguments.batch, arguments.columns))
        batches.append((tf.constant(indices), tf.constant(values, "float32")))
    upcoming = itertools.cycle(batches)

    def apply(indices: Any, values: Any) -> None:
        gradient = tf.IndexedSlices(values, indices, tf.constant(shape))
        optimizer.apply([gradient], [variable])

    if mode != "eager":
        apply = tf.function(apply, jit_compile=mode == "XLA")
    return lambda: apply(*next(upcoming))


if __name__ == "__main__":
    measure.main("A step on some rows of an embedding", parse(), rows, child)
