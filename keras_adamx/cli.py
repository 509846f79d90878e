"""What the commands of `keras-adamx` do; `keras_adamx_cli` parses and reports."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import keras_adamx
from keras_adamx import documentation, plots
from keras_adamx.plots.style import pyplot
from keras_adamx.plots.trajectories import ENDINGS
from keras_adamx.registry import name_and_rate

if TYPE_CHECKING:
    from rich.console import Console

# Characters a line where no terminal says how many there are.
WIDTH = 100


class CommandError(Exception):
    """What the user can mend; reported in one line, without a traceback."""


@contextlib.contextmanager
def reported(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors of these kinds into what the user is told in one line."""
    try:
        yield
    except kinds as error:
        raise CommandError(error) from error


class Row(NamedTuple):
    """An optimizer in the list, in words."""

    name: str
    family: str
    bytes: str
    paper: str


def listing(arguments: argparse.Namespace) -> None:
    """Print the optimizers: a table on a terminal, else fields between tabs."""
    classes: dict[str, Any] = documentation.optimizers()
    names = keras_adamx.list_optimizers(arguments.pattern)
    rows = [_row(name, cls) for name, cls in classes.items() if name in names]
    if not rows:
        raise CommandError(
            f"There is no optimizer {arguments.pattern!r}. Allowed: "
            f"{', '.join(classes)}, or a pattern such as '*adam*'"
        )
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(row) + "\n" for row in rows)
        return
    console = rich_console()
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("name", no_wrap=True)
    table.add_column("family", no_wrap=True)
    table.add_column("bytes a\nparameter", justify="right", no_wrap=True)
    table.add_column("paper", overflow="fold")
    for row in rows:
        table.add_row(*row)
    print_parts(console, table)


def _row(name: str, cls: Any) -> Row:
    size = f"{documentation.state_bytes(cls):.3f}"
    return Row(name, documentation.family(cls), size, documentation.paper(cls))


def show(arguments: argparse.Namespace) -> None:
    """Print what the docs say of an optimizer."""
    with reported(ValueError):
        cls = type(keras_adamx.get(arguments.name))
    console = rich_console()
    from rich.table import Table
    from rich.text import Text

    text = documentation.description(cls)
    source = documentation.parsed(cls.__doc__ or "")[1].get("Source", "")
    names = dict.fromkeys(["learning_rate", *documentation.own_arguments(cls)])
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("argument", "default", "allowed", "meaning"):
        table.add_column(heading, overflow="fold")
    for words in documentation.argument_texts(cls, list(names)):
        table.add_row(*map(Text, words))
    common = "All optimizers also take: "
    common += ", ".join(n for n in keras_adamx.Optimizer.arguments if n not in names)
    sections = {
        "Rule": Text(text.rule),
        "Arguments": table,
        "": Text(f"{common}."),
        **{label: Text(words) for label, words in text.labelled.items()},
        "Source": Text(" ".join(source.split())),
    }
    parts: list[Any] = [Text(f"{cls.__name__}: {text.first}")]
    for heading, content in sections.items():
        parts.append(Text(f"\n{heading}" if heading else "", style="bold"))
        parts.append(content)
    print_parts(console, *parts)


def plot(arguments: argparse.Namespace) -> None:
    """Draw trajectories into a file, and print where each ended."""
    out = Path(arguments.out or f"{arguments.function}.png")
    if out.suffix.lower() not in ENDINGS:
        raise CommandError(
            f"argument --out: the file must end in {', '.join(ENDINGS)}. Received: "
            f"{str(out)!r}"
        )
    with reported(ValueError):
        named = {given: name_and_rate(given) for given in arguments.names}
    with reported(ImportError, TypeError, ValueError):
        # Without a display, or a window that nobody asked for.
        pyplot().switch_backend("Agg")
        picture = plots.trajectory(
            {label: name for label, (name, _) in named.items()},
            arguments.function,
            start=arguments.start,
            steps=arguments.steps,
            learning_rate={
                label: arguments.learning_rate if rate is None else rate
                for label, (_, rate) in named.items()
            },
        )
    with reported(OSError):
        picture.save(out)
    for label, path in picture.paths.items():
        ended = f"{path.values[-1]:.6g}"
        if path.diverged_at is not None:
            ended = f"not finite at step {path.diverged_at}"
        print(f"{label}\t{ended}")
    print(f"written to {out}")


def arrays_of(argument: str, path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # Whatever a damaged file makes of NumPy.
        raise CommandError(
            f"argument {argument}: {path} cannot be read: {error}"
        ) from error


def import_from_here() -> None:
    """Let modules of this folder be imported: an installed program looks elsewhere."""
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)


def rich_console() -> Console:
    """A console as wide as the terminal, or of `WIDTH` in a pipe."""
    try:
        from rich.console import Console
    except ImportError as error:
        raise CommandError(
            "keras-adamx prints with rich, which is not installed: "
            "pip install 'keras_adamx[cli]'"
        ) from error
    width = None if sys.stdout.isatty() else WIDTH
    return Console(width=width, highlight=False, soft_wrap=False)


def print_parts(console: Console, *parts: Any) -> None:
    """Print through `sys.stdout`, so that a pipe that is closed is met in one place."""
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    lines = captured.get().splitlines()
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in lines)
