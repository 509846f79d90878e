"""Time of a step that only accumulates, with `gradient_accumulation_steps=4`.

    python -m benchmarks.accumulation --backends jax

Four calls make one update: three that only add gradients to their sums, and a fourth
that updates. "adds" is the median of the former, "updates" of the latter, for
`keras_adamx.Adam` and `keras.optimizers.Adam`. "bare" is a function that does nothing
but add the gradients to sums that it may overwrite. All three alternate.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks import measure

SHAPES = ["1x10000000", "100x100000"]
STEPS = 4
MODES = {"jax": ["jit"], "tensorflow": ["graph", "XLA"], "torch": ["eager"]}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=list(MODES))
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="COUNTxSIZE")
    parser.add_argument("--rounds", type=int, default=11, help="of four calls each")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def rows(arguments: argparse.Namespace) -> list[measure.Row]:
    """All rows, from one child a backend."""
    passed = ["--shapes", *arguments.shapes, "--rounds", str(arguments.rounds)]
    found = []
    for backend in arguments.backends:
        found += measure.run_child("benchmarks.accumulation", backend, passed)
    return found


def child(arguments: argparse.Namespace) -> None:
    """Measure everything on the backend of this process."""
    import keras

    import keras_adamx

    backend = keras.backend.backend()
    for shape in arguments.shapes:
        number, size = map(int, shape.split("x"))
        for mode in MODES[backend]:
            steps = {"bare": bare(*tensors(number, size), mode)}
            for name, cls in (
                ("ours", keras_adamx.Adam),
                ("Keras", keras.optimizers.Adam),
            ):
                optimizer = cls(gradient_accumulation_steps=STEPS)
                steps[name] = measure.step(optimizer, *tensors(number, size), mode)
            adds, updates = interleaved(steps, arguments.rounds)
            measure.emit(
                {
                    "backend": backend,
                    "variables": f"{number} × {size:,}",
                    "mode": mode,
                    "bare, ms": f"{adds['bare']:.2f}",
                    "ours adds, ms": f"{adds['ours']:.2f}",
                    "Keras adds, ms": f"{adds['Keras']:.2f}",
                    "ours / bare": f"{adds['ours'] / adds['bare']:.2f}",
                    "ours / Keras": f"{adds['ours'] / adds['Keras']:.2f}",
                    "ours updates, ms": f"{updates['ours']:.2f}",
                    "Keras updates, ms": f"{updates['Keras']:.2f}",
                }
            )


def interleaved(
    steps: dict[str, Callable[[], Any]], rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Median milliseconds of the calls that only add, and of those that update."""
    times: dict[str, list[list[float]]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            window = []
            for _ in range(STEPS):
                start = time.perf_counter()
                step()
                window.append(1e3 * (time.perf_counter() - start))
            times[name].append(window)
    adds, updates = {}, {}
    for name, (_, *windows) in times.items():
        adds[name] = statistics.median(ms for window in windows for ms in window[:-1])
        updates[name] = statistics.median(window[-1] for window in windows)
    return adds, updates


def tensors(number: int, size: int) -> tuple[list[Any], list[Any]]:
    """Gradients and variables, of random numbers."""
    import keras
    import numpy as np

    random = np.random.default_rng(0)
    gradient, weights = (random.normal(size=size).astype("float32") for _ in range(2))
    gradients = [keras.ops.convert_to_tensor(gradient) for _ in range(number)]
    return gradients, [keras.Variable(weights) for _ in range(number)]


def bare(gradients: list[Any], sums: list[Any], mode: str) -> Callable[[], Any]:
    """A function that adds gradients to sums."""
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        def added(sums: list[Any], gradients: list[Any]) -> list[Any]:
            return [a + g for a, g in zip(sums, gradients)]

        function = jax.jit(added, donate_argnums=0)
        held = [[variable.value for variable in sums]]

        def step() -> None:
            held[0] = jax.block_until_ready(function(held[0], gradients))

        return step
    if backend == "tensorflow":
        import tensorflow as tf

        def add() -> None:
            for total, gradient in zip(sums, gradients):
                total.value.assign_add(gradient)

        return tf.function(add, jit_compile=mode == "XLA")

    import torch

    values = [variable.value.detach() for variable in sums]
    return lambda: torch._foreach_add_(values, gradients)


if __name__ == "__main__":
    measure.main("A step that only accumulates", parse(), rows, child)
