"""What each ability of the optimizers costs: time of a step beside that of plain Adam.

    python -m benchmarks.abilities --backends tensorflow --abilities "state int8"

Each backend runs in a process of its own; the step of plain `keras_adamx.Adam` and the
one of Adam with the ability alternate. The single variable is a matrix of 20 million
elements: 4000 × 5000, where 200 elements share a scale in state of 8 bits, or 4883 ×
4096, where 256 do.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks import measure

SHAPES = ["1x4000x5000", "1x4883x4096", "300x100x100"]
# Rows that are a multiple of a block matter to this ability alone.
IN_BLOCKS = {"1x4883x4096": ["state int8"]}
MODES = {"tensorflow": ["XLA", "eager"], "jax": ["jit"], "torch": ["eager"]}
PLAIN = "plain, ms"


def abilities() -> dict[str, tuple[Callable[[], Any], str]]:
    """For each ability what makes the optimizer, and the dtype of the weights."""
    import keras

    from keras_adamx import Adam, Group

    rising = keras.optimizers.schedules.PolynomialDecay(0.9, 1000, 0.95)
    arguments: dict[str, dict[str, Any]] = {
        "state bfloat16": {"state_dtype": "bfloat16"},
        "state int8": {"state_dtype": "int8"},
        "group on half": {"groups": [Group("even", learning_rate=0.1)]},
        "beta_1 scheduled": {"beta_1": rising},
        "decay, decoupled": {"weight_decay": 0.01},
        "decay, cautious": {"weight_decay": 0.01, "weight_decay_kind": "cautious"},
        "global_clipnorm": {"global_clipnorm": 1.0},
        "nonfinite skipped": {"nonfinite": "skip"},
        "use_ema": {"use_ema": True},
        "weights bfloat16": {},
    }
    return {
        name: (
            functools.partial(Adam, **given),
            "bfloat16" if name == "weights bfloat16" else "float32",
        )
        for name, given in arguments.items()
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=list(MODES))
    parser.add_argument("--abilities", nargs="*", default=[])
    parser.add_argument(
        "--shapes", nargs="+", default=SHAPES, metavar="COUNTxROWSxCOLUMNS"
    )
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def rows(arguments: argparse.Namespace) -> list[measure.Row]:
    """A row an ability and shape, a column a mode; ratios, but for plain Adam."""
    passed = ["--shapes", *arguments.shapes, "--rounds", str(arguments.rounds)]
    passed += ["--abilities", *arguments.abilities]
    table: dict[tuple[str, str], measure.Row] = {}
    for backend in arguments.backends:
        for row in measure.run_child("benchmarks.abilities", backend, passed):
            column = f"{backend}, {row['mode']}"
            key = row["variables"], row["ability"]
            start = {"variables": key[0], "Adam": key[1]}
            table.setdefault(key, start)[column] = row["figure"]
    return list(table.values())


def child(arguments: argparse.Namespace) -> None:
    """Measure everything on the backend of this process."""
    import keras

    from keras_adamx import Adam

    makers = abilities()
    for shape in arguments.shapes:
        number, *sides = map(int, shape.split("x"))
        names = arguments.abilities or IN_BLOCKS.get(shape) or list(makers)
        for mode in MODES[keras.backend.backend()]:
            found, plain = {}, []
            for name in names:
                make, dtype = makers[name]
                steps = {
                    "plain": step(Adam(), number, sides, "float32", mode),
                    "able": step(make(), number, sides, dtype, mode),
                }
                times = measure.interleaved(steps, arguments.rounds)
                plain.append(times["plain"][1])
                found[name] = f"{times['able'][1] / times['plain'][1]:.2f}"
            found = {PLAIN: f"{statistics.median(plain):.1f}", **found}
            for name, figure in found.items():
                measure.emit(
                    {
                        "variables": " × ".join(f"{n:,}" for n in (number, *sides)),
                        "mode": mode,
                        "ability": name,
                        "figure": figure,
                    }
                )


def step(
    optimizer: Any, number: int, sides: list[int], dtype: str, mode: str
) -> Callable[[], Any]:
    """A function that makes one step on random gradients."""
    import keras
    import numpy as np

    random = np.random.default_rng(0)
    weights, gradient = (random.normal(size=sides).astype("float32") for _ in range(2))
    variables = [
        keras.Variable(weights, dtype=dtype, name=f"{'odd' if i % 2 else 'even'}_{i}")
        for i in range(number)
    ]
    gradients = [keras.ops.convert_to_tensor(gradient, dtype) for _ in variables]
    return measure.step(optimizer, gradients, variables, mode)


if __name__ == "__main__":
    measure.main("Ratio to the step of plain Adam", parse(), rows, child)
