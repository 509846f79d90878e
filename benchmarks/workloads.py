"""Training steps a second of each workload on TensorFlow, without and with XLA.

    python -m benchmarks.workloads --names fashion_mlp diamonds

`jit_compile` of the workloads follows from it: Keras' own choice on a CPU is no XLA.
The two take turns in one process, in `fit` with `keras.optimizers.AdamW`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from benchmarks import measure


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="+", default=[], help="workloads; else all")
    parser.add_argument("--steps", type=int, default=50, help="of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def rows(arguments: argparse.Namespace) -> list[measure.Row]:
    """A row a workload."""
    passed = ["--steps", str(arguments.steps), "--rounds", str(arguments.rounds)]
    if arguments.names:
        passed += ["--names", *arguments.names]
    return measure.run_child("benchmarks.workloads", "tensorflow", passed)


def child(arguments: argparse.Namespace) -> None:
    """Measure the workloads in this process."""
    from keras_adamx.compare import workloads

    for name in arguments.names or workloads.names():
        workload = workloads.get(name)
        data = workload.data().train
        times = measure.interleaved(
            {
                jit_compile: fit(workload, data, jit_compile, arguments.steps)
                for jit_compile in (False, True)
            },
            arguments.rounds,
        )
        (_, plain), (first, compiled) = times[False], times[True]
        measure.emit(
            {
                "workload": name,
                "no XLA, steps/s": f"{1e3 * arguments.steps / plain:.0f}",
                "XLA, steps/s": f"{1e3 * arguments.steps / compiled:.0f}",
                "ratio": f"{plain / compiled:.2f}",
                "XLA, first s": f"{first:.1f}",
                "jit_compile": str(workload.jit_compile.get("tensorflow", "-")),
            }
        )


def fit(workload: Any, data: Any, jit_compile: bool, steps: int) -> Callable[[], Any]:
    """A function that trains for some steps."""
    import keras

    keras.utils.set_random_seed(0)
    model = workload.build()
    loss = workload.loss() if callable(workload.loss) else workload.loss
    model.compile(keras.optimizers.AdamW(), loss, jit_compile=jit_compile)
    batches = dataset(data, workload.batch_size, steps)
    return lambda: model.fit(batches, verbose=0, shuffle=False)


def dataset(data: Any, batch_size: int, steps: int) -> Any:
    """As many batches as steps, from the first examples, over and over if need be."""
    import tensorflow as tf

    return (
        tf.data.Dataset.from_tensor_slices((data.inputs, data.labels))
        .repeat()
        .batch(batch_size)
        .take(steps)
        .prefetch(2)
    )


if __name__ == "__main__":
    measure.main("Steps a second of the workloads", parse(), rows, child)
