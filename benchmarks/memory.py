"""Bytes of optimizer state a parameter: counted, and measured in the process.

    python -m benchmarks.memory --optimizers adam adafactor --state-dtypes int8

Counted: the sizes of `optimizer.variables` for one square kernel and a bias. Measured:
how much the resident memory of a process of its own has grown after `build` and one
step; weights and gradients are there before, and a first optimizer of the same class
has already paid for what is compiled and loaded on demand. Ours once for each dtype in
which it can store its state.
"""

from __future__ import annotations

import argparse
import gc
from typing import Any

from benchmarks import measure

# Keras has nothing like them.
WITHOUT_TWIN = ("adastand", "lars", "prodigy", "schedulefreesgd", "sdprop")
STATE_DTYPES = ("float32", "bfloat16", "int8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--optimizers", nargs="*", default=[])
    parser.add_argument("--state-dtypes", nargs="+", default=list(STATE_DTYPES))
    parser.add_argument("--units", type=int, default=5000, help="side of the kernel")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--library", default="ours", help=argparse.SUPPRESS)
    return parser.parse_args()


def rows(arguments: argparse.Namespace) -> list[measure.Row]:
    """A row an optimizer, from a child for Keras' and one for each dtype of ours."""
    import keras_adamx

    found = []
    for name in arguments.optimizers or keras_adamx.list_optimizers():
        row: measure.Row = {"optimizer": name}
        for library in ("keras", *arguments.state_dtypes):
            label = "Keras" if library == "keras" else library
            if library == "keras" and name in WITHOUT_TWIN:
                row |= {"Keras, counted": "-", "Keras, measured": "-"}
                continue
            passed = ["--optimizers", name, "--units", str(arguments.units)]
            if library == "keras":
                passed += ["--library", "keras"]
            else:
                passed += ["--state-dtypes", library]
            [result] = measure.run_child("benchmarks.memory", arguments.backend, passed)
            row |= {f"{label}, {k}": f"{v:.3f}" for k, v in result.items()}
        found.append(row)
    return found


def child(arguments: argparse.Namespace) -> None:
    """Measure one optimizer."""
    import psutil

    import keras_adamx

    name = arguments.optimizers[0]

    def make() -> Any:
        if arguments.library == "ours":
            return keras_adamx.get(name, state_dtype=arguments.state_dtypes[0])
        return measure.keras_twin(name)[1]()

    one_step(make(), *tensors(3))
    variables, gradients = tensors(arguments.units)
    parameters = arguments.units**2 + arguments.units
    optimizer = make()
    gc.collect()
    before = psutil.Process().memory_info().rss
    one_step(optimizer, variables, gradients)
    gc.collect()
    grown = psutil.Process().memory_info().rss - before
    counted = sum(v.numpy().nbytes for v in optimizer.variables if len(v.shape) > 0)
    measure.emit({"counted": counted / parameters, "measured": grown / parameters})


def tensors(units: int) -> tuple[list[Any], list[Any]]:
    import keras
    import numpy as np

    random = np.random.default_rng(0)
    arrays = [
        random.normal(size=s).astype("float32") for s in ((units, units), (units,))
    ]
    variables = [keras.Variable(array) for array in arrays]
    return variables, [keras.ops.convert_to_tensor(array) for array in arrays]


def one_step(optimizer: Any, variables: list[Any], gradients: list[Any]) -> None:
    """A step in a graph, where Keras' optimizers need no temporaries of their own."""
    import keras

    optimizer.build(variables)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.function(lambda: optimizer.apply(gradients, variables))()
    else:
        optimizer.apply(gradients, variables)


if __name__ == "__main__":
    options = parse()
    if options.child:
        child(options)
    else:
        measure.show("Bytes of state a parameter", rows(options))
