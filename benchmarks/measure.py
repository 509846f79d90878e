"""What the benchmarks share: interleaved timing, child processes, tables."""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Row = dict[str, Any]


def interleaved(
    functions: dict[str, Callable[[], Any]], rounds: int
) -> dict[str, tuple[float, float]]:
    """Time functions in turn, so that what disturbs the machine disturbs all of them.

    Returns:
        For each, seconds of the first call and median milliseconds of the others.
    """
    first, times = {}, {}
    for name, function in functions.items():
        first[name] = _seconds(function)
        times[name] = []
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(_seconds(function))
    return {n: (first[n], 1e3 * statistics.median(times[n])) for n in functions}


def _seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def of_keras(name: str) -> Callable[..., Any] | None:
    """Keras' optimizer of the same name, if there is one."""
    import keras

    classes = {n.lower(): getattr(keras.optimizers, n) for n in dir(keras.optimizers)}
    return classes.get(name)


def keras_twin(name: str) -> tuple[str, Callable[..., Any]]:
    """Keras' optimizer to compare with: of the same name, or the nearest in kind."""
    nearest = {"sdprop": "rmsprop", "adastand": "adam"}
    twin = of_keras(nearest.get(name, name))
    assert twin is not None, name
    return twin.__name__, twin


def step(
    optimizer: Any, gradients: list[Any], variables: list[Any], mode: str
) -> Callable[[], Any]:
    """A function that makes one step.

    Args:
        optimizer: Ours or one of Keras.
        gradients: One a variable.
        variables: Variables of Keras.
        mode: "eager"; on TensorFlow also "graph" and "XLA", on JAX "jit".
    """
    import keras

    optimizer.build(variables)

    def apply() -> None:
        optimizer.apply(gradients, variables)

    backend = keras.backend.backend()
    if backend == "tensorflow" and mode != "eager":
        import tensorflow as tf

        return tf.function(apply, jit_compile=mode == "XLA")
    if backend == "jax":
        import jax

        if mode == "eager":
            return lambda: (
                apply(),
                jax.block_until_ready([v.value for v in variables]),
            )

        # In the order of Keras' trainer. JAX gives the memory of an argument to the
        # next result of its shape: in another order, everything would be copied.
        def update(weights: Any, state: Any, gradients: Any) -> Any:
            return optimizer.stateless_apply(state, gradients, weights)

        compiled = jax.jit(update, donate_argnums=(0, 1))
        held = [[v.value for v in variables], [v.value for v in optimizer.variables]]

        def stateless() -> None:
            held[:] = jax.block_until_ready(compiled(*held, gradients))

        return stateless
    return apply


def compare(ours: tuple[float, float], keras: tuple[float, float]) -> Row:
    """The columns of two timings and their ratio."""
    return {
        "ours, ms": f"{ours[1]:.2f}",
        "Keras, ms": f"{keras[1]:.2f}",
        "ratio": f"{ours[1] / keras[1]:.2f}",
        "ours, first s": f"{ours[0]:.2f}",
        "Keras, first s": f"{keras[0]:.2f}",
    }


def run_child(module: str, backend: str, arguments: Sequence[str]) -> list[Row]:
    """Rows that a benchmark prints as JSON in a process of its own."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    child = subprocess.run(
        [sys.executable, "-m", module, "--child", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in child.stdout.splitlines() if line[:1] == "{"]


def emit(row: Row) -> None:
    """Hand a row to the parent."""
    print(json.dumps(row), flush=True)


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows as a table."""
    heads, *lines = _lines(rows)
    table = Table(*heads, title=title)
    for line in lines:
        table.add_row(*line)
    Console().print(table)


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a table in Markdown."""
    heads, *lines = _lines(rows)
    lines = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def replaced(page: str, name: str, text: str) -> str:
    """The page with new text between the markers of a name."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"The page has no markers {begin} and {end}")
    return pattern.sub(lambda _: f"{begin}\n{text}\n{end}", page)


def _lines(rows: Sequence[Row]) -> list[list[str]]:
    """The names of all columns, then their cells; "-" where a row has none."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [names, *([str(row.get(name, "-")) for name in names] for row in rows)]


def main(
    title: str,
    options: argparse.Namespace,
    rows: Callable[[argparse.Namespace], Sequence[Row]],
    child: Callable[[argparse.Namespace], None],
) -> None:
    """What every benchmark does as a program: measure as a child, else show a table."""
    if options.child:
        child(options)
    else:
        show(title, rows(options))
