"""Time of one optimizer step, beside Keras' optimizer of the same name.

    python -m benchmarks.step_time --optimizers adam sgd --backends tensorflow

Each backend runs in a process of its own; ours and Keras' steps alternate.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from benchmarks import measure

SHAPES = ["300x10000", "1x20000000"]
OPTIMIZERS = ["adam", "sgd", "rmsprop", "adafactor", "sdprop"]
MODES = {
    "tensorflow": ["eager", "graph", "XLA"],
    "jax": ["jit", "eager"],
    "torch": ["eager"],
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=list(MODES))
    parser.add_argument("--optimizers", nargs="+", default=OPTIMIZERS)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="COUNTxSIZE")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def rows(arguments: argparse.Namespace) -> list[measure.Row]:
    """All rows, from one child a backend."""
    found = []
    for backend in arguments.backends:
        passed = ["--optimizers", *arguments.optimizers, "--shapes", *arguments.shapes]
        passed += ["--rounds", str(arguments.rounds)]
        found += measure.run_child("benchmarks.step_time", backend, passed)
    return found


def child(arguments: argparse.Namespace) -> None:
    """Measure everything on the backend of this process."""
    import keras

    import keras_adamx

    backend = keras.backend.backend()
    for shape in arguments.shapes:
        number, size = map(int, shape.split("x"))
        for name in arguments.optimizers:
            twin_name, twin = measure.keras_twin(name)
            for mode in MODES[backend]:
                makers = {"ours": lambda n=name: keras_adamx.get(n), "keras": twin}
                steps = {
                    k: step(make(), number, size, mode) for k, make in makers.items()
                }
                times = measure.interleaved(steps, arguments.rounds)
                measure.emit(
                    {
                        "backend": backend,
                        "variables": f"{number} × {size:,}",
                        "optimizer": name,
                        "Keras'": twin_name,
                        "mode": mode,
                        **measure.compare(times["ours"], times["keras"]),
                    }
                )


def step(optimizer: Any, number: int, size: int, mode: str) -> Callable[[], Any]:
    """A function that makes one step on random gradients."""
    import keras
    import numpy as np

    random = np.random.default_rng(0)
    # A matrix, so that Adafactor has something to factor.
    side = max(d for d in range(1, int(size**0.5) + 1) if size % d == 0)
    arrays = [random.normal(size=(side, size // side)) for _ in range(2)]
    gradients = [
        keras.ops.convert_to_tensor(arrays[0], "float32") for _ in range(number)
    ]
    variables = [keras.Variable(arrays[1], dtype="float32") for _ in range(number)]
    return measure.step(optimizer, gradients, variables, mode)


if __name__ == "__main__":
    measure.main("Time of a step", parse(), rows, child)
