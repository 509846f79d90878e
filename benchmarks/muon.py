"""Time of a step of Muon on the matrices of a transformer, beside other Muons.

    python -m benchmarks.muon --blocks 1

A block has four matrices of 768 x 768 (attention), one of 768 x 3072 and one of
3072 x 768, for a width of 768. The peers are `keras.optimizers.Muon` and, on JAX,
`optax.contrib.muon` where optax is installed (`pip install optax`). All of them make
five steps of Newton and Schulz with the standard coefficients on every matrix, and
alternate.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from typing import Any

from benchmarks import measure

MODES = {"tensorflow": ["graph", "XLA"], "jax": ["jit"], "torch": ["eager"]}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=list(MODES))
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def rows(arguments: argparse.Namespace) -> list[measure.Row]:
    """All rows, from one child a backend."""
    found = []
    for backend in arguments.backends:
        passed = []
        for name in ("blocks", "width", "rounds"):
            passed += [f"--{name}", str(getattr(arguments, name))]
        found += measure.run_child("benchmarks.muon", backend, passed)
    return found


def child(arguments: argparse.Namespace) -> None:
    """Measure everything on the backend of this process."""
    import keras

    backend = keras.backend.backend()
    for mode in MODES[backend]:
        steps = {"ours": ours(arguments, mode), "Keras": of_keras(arguments, mode)}
        if backend == "jax" and importlib.util.find_spec("optax"):
            steps["optax"] = of_optax(arguments)
        times = measure.interleaved(steps, arguments.rounds)
        row = {"backend": backend, "mode": mode}
        row |= {f"{name}, ms": f"{time[1]:.0f}" for name, time in times.items()}
        for name in list(steps)[1:]:
            row[f"ratio to {name}"] = f"{times['ours'][1] / times[name][1]:.2f}"
        row |= {f"{name}, first s": f"{time[0]:.1f}" for name, time in times.items()}
        measure.emit(row)


def tensors(arguments: argparse.Namespace) -> tuple[list[Any], list[Any]]:
    """Gradients as tensors and variables."""
    import keras
    import numpy as np

    random = np.random.default_rng(0)
    width = arguments.width
    shapes = [(width, width)] * 4 + [(width, 4 * width), (4 * width, width)]
    arrays = [
        random.standard_normal(shape, dtype="float32")
        for shape in shapes * arguments.blocks
    ]
    gradients = [keras.ops.convert_to_tensor(array) for array in arrays]
    return gradients, [keras.Variable(array, name="kernel") for array in arrays]


def ours(arguments: argparse.Namespace, mode: str) -> Callable[[], Any]:
    import keras_adamx

    optimizer = keras_adamx.Muon(exclude_head=False)
    return measure.step(optimizer, *tensors(arguments), mode)


def of_keras(arguments: argparse.Namespace, mode: str) -> Callable[[], Any]:
    import keras

    return measure.step(keras.optimizers.Muon(0.02), *tensors(arguments), mode)


def of_optax(arguments: argparse.Namespace) -> Callable[[], Any]:
    import jax
    import optax

    gradients, variables = tensors(arguments)
    weights = [variable.value for variable in variables]
    rule = optax.contrib.muon(0.02)

    def update(weights: Any, state: Any, gradients: Any) -> Any:
        steps, state = rule.update(gradients, state, weights)
        return optax.apply_updates(weights, steps), state

    compiled = jax.jit(update, donate_argnums=(0, 1))
    held = [weights, rule.init(weights)]

    def step() -> None:
        held[:] = jax.block_until_ready(compiled(*held, gradients))

    return step


if __name__ == "__main__":
    measure.main(
        "A step of Muon on the matrices of a transformer", parse(), rows, child
    )
