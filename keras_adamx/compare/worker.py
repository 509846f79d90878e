"""Runs of a comparison in processes of their own.

A worker reads a pickle of what all runs have in common, and then from its input a line
of JSON for each run. It answers with the record of the run. Whatever else is printed
there goes to the standard error, and the worker ends with its input.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_adamx.compare.contender import Contender
from keras_adamx.compare.records import Run, Task, from_line, to_line
from keras_adamx.compare.workload import Data, Workload

# Before the backend is imported: how many threads each of them uses.
THREADS = (
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)
# Runs until a process is replaced: TensorFlow keeps what XLA has compiled for each of
# them, tens of megabytes, until the process ends.
MOST_RUNS = 20
# Signals that come from outside, not from what a run does.
ENDED = {
    getattr(signal, name): name
    for name in ("SIGHUP", "SIGINT", "SIGTERM")
    if hasattr(signal, name)
}
# JAX takes as many threads as there are cores for it.
_BEGIN = """
import os, sys
cores = [int(core) for core in sys.argv[2].split(",") if core]
if cores and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, cores)
from keras_adamx.compare.worker import main
main(sys.argv[1])
"""


class Planned(NamedTuple):
    """A run that is to be made."""

    label: str
    phase: str
    settings: dict[str, Any]
    seed: int


class Common(NamedTuple):
    """What all runs of a comparison have in common."""

    workload: Workload
    task: Task
    contenders: dict[str, Contender]
    floatx: str
    dtype_policy: str


class _Pickler(pickle.Pickler):
    """Refuses what another process could not import."""

    def persistent_id(self, value: Any) -> None:
        named = isinstance(value, type | types.FunctionType)
        if named and value.__module__ == "__main__":
            raise pickle.PicklingError(f"{value.__qualname__} is defined in __main__")
        if named and "<" in value.__qualname__:
            raise pickle.PicklingError(f"{value.__qualname__} has no name to import")


def write(common: Common, path: Path) -> None:
    """Put down what workers need.

    Raises:
        ValueError: A function or class cannot be imported by another process.
    """
    try:
        with path.open("wb") as file:
            _Pickler(file).dump(common)
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise ValueError(
            "compare: other processes must be able to import the functions of the "
            f"workload and the classes of the optimizers: {error}. Put them into a "
            "module, or use jobs=1 and isolate=False."
        ) from error


class Worker:
    """A process that makes runs, one at a time.

    Args:
        path: File of `write`.
        threads: Threads that it uses.
        cores: Numbers of the cores that it keeps to; empty for any.
        alone: Whether it makes a single run, whose memory is measured.
    """

    def __init__(
        self, path: Path, threads: int, cores: list[int], *, alone: bool
    ) -> None:
        self._alone = alone
        self._left = 1 if alone else MOST_RUNS
        environment = {
            **os.environ,
            **dict.fromkeys(THREADS, str(threads)),
            "KERAS_BACKEND": keras.backend.backend(),
            "PYTHONPATH": os.pathsep.join(each or os.getcwd() for each in sys.path),
        }
        listed = ",".join(map(str, cores))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN, str(path), listed],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C is for the process that has started it.
            start_new_session=True,
        )

    def run(self, planned: Planned) -> Run:
        """Make a run; a process that dies of it is a failure of the run.

        Raises:
            RuntimeError: Somebody has ended the process.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._left -= 1
        line = ""
        try:
            task = {**planned._asdict(), "own_process": self._alone}
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            pass  # It has died: its status tells of what.
        if line.endswith("\n"):
            found = from_line(line)
            assert isinstance(found, Run)
            return found
        status = self._process.wait()
        if -status in ENDED:
            raise RuntimeError(
                f"compare: a process that made runs was ended by {ENDED[-status]}. Its "
                "run is not put down; the same call goes on."
            )
        return Run(
            **planned._asdict(),
            status="failed",
            reason=f"the process ended with status {status}",
            curve=(),
            update_microseconds=None,
            state_bytes=None,
            peak_memory_bytes=None,
            compile_seconds=None,
            load=None,
        )

    @property
    def lasts(self) -> bool:
        """Whether it can make another run."""
        return self._left > 0 and self._process.poll() is None

    def close(self, *, at_once: bool = False) -> None:
        """End the process, in the middle of a run if need be."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if at_once:
            self._process.kill()
        # It may have ended without waiting for what it was told.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def main(path: str) -> None:
    """What a worker does."""
    from keras_adamx.compare.training import train

    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What the workload prints is no answer.
    with open(path, "rb") as file:
        common: Common = pickle.load(file)
    keras.config.set_floatx(common.floatx)
    keras.config.set_dtype_policy(common.dtype_policy)
    data: Data | None = None
    gc.freeze()  # See `quick_collections`.
    for line in sys.stdin:
        planned = json.loads(line)
        if data is None:
            data = common.workload.data()
        contender = common.contenders[planned.pop("label")]
        run = train(common.workload, data, common.task, contender, **planned)
        answers.write(to_line(run))
        answers.flush()


def _end_with(parent: int) -> None:
    """End when the process does that has started this one, killed or not."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
