"""Telling how far a comparison has come."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from keras_adamx.compare.records import Run, Task


class Progress:
    """A bar where `rich` and a terminal are there, else a line for each run.

    It goes to the standard error.

    Args:
        total: Number of all runs.
        done: How many of them were made before.
        task: The workload.
        jobs: Runs at a time.
        verbose: Whether to tell anything.
    """

    def __init__(
        self, total: int, done: int, task: Task, jobs: int, *, verbose: bool
    ) -> None:
        self._total, self._done, self._task, self._jobs = total, done, task, jobs
        self._verbose = verbose
        self._begun, self._made = time.perf_counter(), 0
        self._bar = _bar() if verbose else None
        self._id: Any = None

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar as long as it is needed."""
        if self._bar is None:
            if self._verbose and self._done:
                self._say(f"{self._done} of {self._total} runs are in the file")
            yield
            return
        with self._bar:
            self._id = self._bar.add_task(
                self._task.name,
                total=self._total,
                completed=self._done,
                left="",
                run="",
            )
            yield

    def fewer(self, number: int) -> None:
        """Some runs are not made after all."""
        self._total -= number
        if self._bar is not None:
            self._bar.update(self._id, total=self._total)

    def ended(self, run: Run) -> None:
        """A run has ended."""
        self._done += 1
        self._made += 1
        if not self._verbose:
            return
        each = (time.perf_counter() - self._begun) / self._made
        left = _span(each * (self._total - self._done))
        if self._bar is None:
            self._say(
                f"[{self._done}/{self._total}] {described(run, self._task)}; "
                f"{left} left"
            )
            return
        self._bar.update(
            self._id, completed=self._done, left=left, run=described(run, self._task)
        )

    def interrupted(self, file: Any) -> None:
        """Say what is left of it."""
        if self._verbose:
            kept = "lost, without a file"
            if file is not None:
                kept = f"in {file}; the same call or command goes on"
            self._say(f"interrupted: {self._done} of {self._total} runs are {kept}")

    def _say(self, line: str) -> None:
        print(f"{self._task.name}: {line}", file=sys.stderr, flush=True)


def described(run: Run, task: Task) -> str:
    """A run and how it has ended, in a line."""
    parts = [run.label]
    parts += [
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in run.settings.items()
    ]
    parts.append(f"{run.phase} seed {run.seed}:")
    best = run.best(task)
    if run.status == "failed" or best is None:
        return " ".join([*parts, f"failed, {run.reason}"])
    return " ".join([*parts, f"{task.metric} {best.value:.4g}"])


def _span(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


def _bar() -> Any:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar
    except ImportError:
        return None
    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        return None
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[run]}"),
        console=console,
    )
