"""Maps from numbers to codes of 8 bits: what they cost in accuracy and in time.

    python -m benchmarks.codecs --maps ours tree

Each map keeps the moments of Adam as codes relative to the largest magnitude among 256:

- "ours": the power map of `keras_adamx.core.codecs`;
- "tree": the dynamic tree map of bitsandbytes, 256 values with as many digits as fit
  beside the exponent, nearest value by binary search (Dettmers et al. 2021,
  arXiv:2110.02861);
- "linear": 127 or 255 equal steps.

Error: mean distance of the weights from those of Adam with moments of float32, after
some steps that each run goes by itself, and how far the weights went on average in
those steps. "alike" has gradients of one scale, "decades" a scale for each element of
its own, 10 to the power of a normal number. Time: of writing and reading the two
moments of 20 million weights, compiled by XLA (TensorFlow).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Protocol

from benchmarks import measure

BLOCK = 256


class Map(Protocol):
    """From values to codes and scales, and back."""

    def encode(self, x: Any) -> tuple[Any, Any]:
        """Codes and scales of values."""

    def decode(self, codes: Any, scales: Any) -> Any:
        """Values of codes and scales."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", nargs="+", default=["ours", "tree", "linear"])
    parser.add_argument("--side", type=int, default=1024, help="of the weights")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--elements", type=int, default=20_000_000, help="to be timed")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def rows(arguments: argparse.Namespace) -> list[measure.Row]:
    """A row a map, from one child."""
    passed = ["--maps", *arguments.maps]
    for name in ("side", "steps", "elements", "rounds"):
        passed += [f"--{name}", str(getattr(arguments, name))]
    return measure.run_child("benchmarks.codecs", "tensorflow", passed)


def child(arguments: argparse.Namespace) -> None:
    """Measure everything."""
    steps: dict[str, Callable[[], Any]] = {}
    for name in arguments.maps:
        steps |= timed(name, arguments.elements)
    times = measure.interleaved(steps, arguments.rounds)
    problems = {"alike": 0.0, "decades": 1.0}
    exact = {
        problem: run(None, spread, arguments) for problem, spread in problems.items()
    }
    for name in arguments.maps:
        row: measure.Row = {"map": name}
        for problem, spread in problems.items():
            before, after = exact[problem]
            error = abs(run(moments(name), spread, arguments)[1] - after).mean()
            row[f"error, {problem}"] = f"{error:.1e}"
            row[f"of the way, {problem}"] = f"{error / abs(after - before).mean():.2%}"
        row |= {
            f"{k}, ms": f"{times[f'{name}, {k}'][1]:.0f}" for k in ("write", "read")
        }
        measure.emit(row)


def moments(name: str) -> tuple[Map, Map]:
    """The maps of a first and of a second moment."""
    cls = {"ours": Ours, "tree": Tree, "linear": Linear}[name]
    return cls(nonnegative=False), cls(nonnegative=True)


class Ours:
    """That of the package."""

    def __init__(self, nonnegative: bool) -> None:
        from keras_adamx.core import codecs

        self._codec = codecs.Blocks(nonnegative)

    def encode(self, x: Any) -> tuple[Any, Any]:  # noqa: D102
        stored = self._codec.encode("x", x, lambda: None)
        return stored["x"], stored["x.scale"]

    def decode(self, codes: Any, scales: Any) -> Any:  # noqa: D102
        return self._codec.decode("x", {"x": codes, "x.scale": scales})


class Linear:
    """Equal steps."""

    def __init__(self, nonnegative: bool) -> None:
        self._steps = 255.0 if nonnegative else 127.0
        self._dtype = "uint8" if nonnegative else "int8"

    def encode(self, x: Any) -> tuple[Any, Any]:  # noqa: D102
        from keras import ops

        relative, scales = in_blocks(x)
        codes = ops.floor(relative * self._steps + 0.5)
        return ops.cast(ops.reshape(codes, x.shape), self._dtype), scales

    def decode(self, codes: Any, scales: Any) -> Any:  # noqa: D102
        from keras import ops

        relative = ops.cast(codes, "float32") * (1.0 / self._steps)
        return out_of_blocks(relative, scales)


class Tree:
    """The nearest of 256 values, by eight comparisons."""

    def __init__(self, nonnegative: bool) -> None:
        import numpy as np

        self.values = np.asarray(tree_values(nonnegative), "float32")
        self._middles = (self.values[1:] + self.values[:-1]) / 2

    def encode(self, x: Any) -> tuple[Any, Any]:  # noqa: D102
        from keras import ops

        relative, scales = in_blocks(x)
        middles = ops.convert_to_tensor(self._middles)
        codes = ops.zeros(relative.shape, "int32")
        for bit in (128, 64, 32, 16, 8, 4, 2, 1):
            above = relative > ops.take(middles, codes + (bit - 1), axis=0)
            codes = codes + ops.where(above, bit, 0)
        return ops.cast(ops.reshape(codes, x.shape), "uint8"), scales

    def decode(self, codes: Any, scales: Any) -> Any:  # noqa: D102
        from keras import ops

        values = ops.convert_to_tensor(self.values)
        return out_of_blocks(ops.take(values, ops.cast(codes, "int32"), axis=0), scales)


def tree_values(nonnegative: bool) -> list[float]:
    """The 256 values of the dynamic tree map in their order."""
    import numpy as np

    values = [0.0, 1.0]
    for i in range(7):
        edges = np.linspace(0.1, 1.0, 2 ** (i + (1 if nonnegative else 0)) + 1)
        means = 10.0 ** (i - 6) * (edges[1:] + edges[:-1]) / 2
        values += [*means] if nonnegative else [*means, *-means]
    return sorted(values)


def in_blocks(x: Any) -> tuple[Any, Any]:
    """Values relative to the scale of their block, and the scales."""
    from keras import ops

    blocks = ops.reshape(x, (-1, BLOCK))
    scales = ops.max(ops.abs(blocks), axis=-1, keepdims=True)
    return blocks * (1.0 / ops.where(scales > 0.0, scales, 1.0)), scales


def out_of_blocks(relative: Any, scales: Any) -> Any:
    """The values again."""
    from keras import ops

    blocks = ops.reshape(relative, (-1, BLOCK)) * scales
    return ops.reshape(blocks, relative.shape)


def run(
    maps: tuple[Map, Map] | None, spread: float, arguments: argparse.Namespace
) -> tuple[Any, Any]:
    """Weights before and after some steps of Adam; in float32 without maps."""
    import numpy as np
    from keras import ops

    random = np.random.default_rng(0)
    shape = arguments.side, arguments.side
    scales = 0.01 * 10.0 ** (spread * random.normal(size=shape))
    start = weights = (0.1 * random.normal(size=shape)).astype("float32")

    def read(which: int, kept: Any) -> Any:
        return kept if maps is None else maps[which].decode(*kept)

    def write(which: int, value: Any) -> Any:
        return value if maps is None else maps[which].encode(value)

    def step(weights: Any, kept: Any, gradient: Any, number: Any) -> Any:
        first = 0.9 * read(0, kept[0]) + 0.1 * gradient
        second = 0.999 * read(1, kept[1]) + 0.001 * ops.square(gradient)
        mean = first / (1.0 - 0.9**number)
        root = ops.sqrt(second / (1.0 - 0.999**number))
        weights = weights - 1e-3 * mean / (root + 1e-8)
        return weights, (write(0, first), write(1, second))

    compiled = jitted(step)
    zeros = ops.zeros(shape)
    kept = write(0, zeros), write(1, zeros)
    for number in range(1, arguments.steps + 1):
        gradient = (scales * random.normal(size=shape)).astype("float32")
        weights, kept = compiled(
            ops.convert_to_tensor(weights),
            kept,
            ops.convert_to_tensor(gradient),
            ops.convert_to_tensor(float(number)),
        )
    return start, ops.convert_to_numpy(weights)


def jitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled by XLA."""
    import tensorflow as tf

    return tf.function(function, jit_compile=True)


def timed(name: str, elements: int) -> dict[str, Callable[[], Any]]:
    """Functions that write and read two tensors, into memory that exists already."""
    import keras
    import numpy as np

    width = 4096 if elements >= 4096 else BLOCK
    random = np.random.default_rng(0)
    plain, coded, maps = [], [], moments(name)
    for each in maps:
        x = np.square(random.normal(size=(elements // width, width)))
        plain.append(keras.Variable(x.astype("float32")))
        coded.append([keras.Variable(y, dtype=y.dtype) for y in each.encode(plain[-1])])

    def write() -> None:
        for each, variable, targets in zip(maps, plain, coded):
            for target, value in zip(targets, each.encode(variable.value + 0.0)):
                target.assign(value)

    def read() -> None:
        for each, variable, kept in zip(maps, plain, coded):
            variable.assign(each.decode(*(x.value + 0 for x in kept)))

    return {f"{name}, write": jitted(write), f"{name}, read": jitted(read)}


if __name__ == "__main__":
    measure.main("Maps of 8 bits", parse(), rows, child)
