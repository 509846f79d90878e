"""Bytes of optimizer state a parameter: counted, and measured in the process.

    python -m benchmarks.memory --optimizers adam adafactor --state-dtypes int8

Counted: the sizes of `optimizer.variables` for one square kernel and a bias. Measured:
how much the resident memory of a process of its own has grown after `build` and two
steps, beyond what it grows for a kernel of 1000 x 1000, divided by the parameters that
the one has more; of each, the median of several in that process. So what compiling
leaves behind, the same for both, does not count, nor does what the first large one
leaves for those after it, nor what was freed, which the allocator is told to give back.
Weights and gradients are there before. Ours once for each dtype in which it can store
its state.

"each of 4": counted on one of four devices of JAX that share the data, with
`shard_state`.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import gc
import os
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks import measure

# One of each kind of state.
OPTIMIZERS = ["sgd", "rmsprop", "adam", "adafactor", "lion", "prodigy"]
STATE_DTYPES = ("float32", "bfloat16", "int8")
# Label of the optimizer of Keras among those dtypes.
KERAS = "Keras"
# Side of the kernel beyond whose growth that of the larger one is measured.
SMALL = 1000
# Optimizers before those that are measured: they load and allocate what all share.
WARM_UP = 3
# The small ones, of which the growth varies more than that of the large ones.
REPEATS = {"small": 9, "large": 3}
DEVICES = 4
# `M_MMAP_THRESHOLD` of glibc: from which size memory comes from the system, and goes
# back to it.
MALLOPT_MMAP_THRESHOLD = -3


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--optimizers", nargs="+", default=OPTIMIZERS)
    parser.add_argument("--state-dtypes", nargs="+", default=list(STATE_DTYPES))
    parser.add_argument("--units", type=int, default=10000, help="side of the kernel")
    parser.add_argument("--devices", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def rows(arguments: argparse.Namespace) -> list[measure.Row]:
    """A row an optimizer, from a child for each kind of state and one for the last."""
    found = []
    for name in arguments.optimizers:
        passed = ["--optimizers", name, "--units", str(arguments.units)]
        row: measure.Row = {"optimizer": name}
        for label in (KERAS, *arguments.state_dtypes):
            for result in measure.run_child(
                "benchmarks.memory",
                arguments.backend,
                [*passed, "--state-dtypes", label],
            ):
                row |= {f"{label}, {k}": f"{v:.3f}" for k, v in result.items()}
        passed += ["--devices", str(DEVICES)]
        [result] = measure.run_child("benchmarks.memory", "jax", passed)
        row |= {f"float32, each of {DEVICES}": f"{result['counted']:.3f}"}
        found.append(row)
    return found


def child(arguments: argparse.Namespace) -> None:
    """Measure one optimizer with one kind of state."""
    [name], [label] = arguments.optimizers, arguments.state_dtypes
    make = maker(name, label)
    if make is None:
        return
    # Else glibc would learn to keep what was freed, the larger the longer.
    ctypes.CDLL("libc.so.6").mallopt(MALLOPT_MMAP_THRESHOLD, 65536)
    # Nothing is freed before the last measurement.
    kept = [grow(make(), SMALL) for _ in range(WARM_UP)]
    small = [grow(make(), SMALL) for _ in range(REPEATS["small"])]
    large = [grow(make(), arguments.units) for _ in range(REPEATS["large"])]
    kept += [*small, *large]
    compiled, grown = (
        statistics.median(each.growth for each in some) for some in (small, large)
    )
    counted = sum(
        v.numpy().nbytes for v in large[0].optimizer.variables if len(v.shape) > 0
    )
    more = parameters_of(arguments.units) - parameters_of(SMALL)
    measure.emit(
        {
            "counted": counted / parameters_of(arguments.units),
            "measured": (grown - compiled) / more,
        }
    )


def maker(name: str, label: str) -> Callable[[], Any] | None:
    """What makes the optimizer of Keras or ours; None where Keras has none."""
    import keras_adamx

    if label == KERAS:
        return measure.of_keras(name)
    return functools.partial(keras_adamx.get, name, state_dtype=label)


def child_on_devices(arguments: argparse.Namespace) -> None:
    """Count what the first of several devices holds."""
    os.environ["XLA_FLAGS"] = (
        f"--xla_force_host_platform_device_count={arguments.devices}"
    )
    import keras

    import keras_adamx

    mesh = keras.distribution.DeviceMesh((arguments.devices,), ("batch",))
    keras.distribution.set_distribution(keras.distribution.DataParallel(mesh))
    optimizer = keras_adamx.get(arguments.optimizers[0], shard_state=True)
    optimizer.build(tensors(arguments.units)[0])
    held = sum(
        v.value.addressable_shards[0].data.nbytes
        for v in optimizer.variables
        if len(v.shape) > 0
    )
    measure.emit({"counted": held / parameters_of(arguments.units)})


def parameters_of(units: int) -> int:
    return units**2 + units


class Grown(NamedTuple):
    """What an optimizer has added to the process, and all that is to stay alive."""

    growth: int
    optimizer: Any
    others: Any


def grow(optimizer: Any, units: int) -> Grown:
    """Let an optimizer make its state and use it."""
    variables, gradients = tensors(units)
    before = resident()
    steps = two_steps(optimizer, variables, gradients)
    return Grown(resident() - before, optimizer, (variables, gradients, steps))


def resident() -> int:
    """Bytes of memory that the process holds and uses."""
    import keras
    import psutil

    # TensorFlow gives an array back only when it is next called.
    keras.ops.convert_to_tensor([0.0])
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return psutil.Process().memory_info().rss


def tensors(units: int) -> tuple[list[Any], list[Any]]:
    import keras
    import numpy as np

    random = np.random.default_rng(0)
    arrays = [
        random.standard_normal(size, dtype="float32")
        for size in ((units, units), (units,))
    ]
    variables = [keras.Variable(array) for array in arrays]
    return variables, [keras.ops.convert_to_tensor(array) for array in arrays]


def two_steps(optimizer: Any, variables: list[Any], gradients: list[Any]) -> Any:
    """In a graph, where Keras' optimizers need no temporaries of their own."""
    import keras

    optimizer.build(variables)

    def step() -> None:
        optimizer.apply(gradients, variables)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        step = tf.function(step)
    for _ in range(2):
        step()
    return step


if __name__ == "__main__":
    options = parse()
    counting = child_on_devices if options.devices else child
    measure.main("Bytes of state a parameter", options, rows, counting)
