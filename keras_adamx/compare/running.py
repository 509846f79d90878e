"""The runs of a comparison in their order, in this process or in several."""

from __future__ import annotations

import contextlib
import queue
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import keras

from keras_adamx.compare import measuring
from keras_adamx.compare.contender import Contender
from keras_adamx.compare.records import Plan, Run
from keras_adamx.compare.summary import best_trial, trials_of
from keras_adamx.compare.training import quick_collections, train
from keras_adamx.compare.worker import Common, Planned, Worker, write
from keras_adamx.compare.workload import Data, Workload


def planned_tuning(plan: Plan, contenders: Iterable[Contender]) -> list[Planned]:
    """The runs on the tuning data: seed by seed, trial by trial, each optimizer."""
    tuned = [contender for contender in contenders if contender.tuned]
    return [
        Planned(contender.entry.label, "tuning", contender.trials[number], seed)
        for seed in plan.tuning_seeds
        for number in range(plan.trials)
        for contender in tuned
    ]


def planned_tests(
    plan: Plan, contenders: Iterable[Contender], runs: Iterable[Run]
) -> list[Planned]:
    """The runs at the best settings: seed by seed, each optimizer.

    There is none for an optimizer of which each setting has failed.
    """
    every, chosen = list(runs), {}
    for contender in contenders:
        label = contender.entry.label
        if not contender.tuned:
            chosen[label] = contender.trials[0]
            continue
        own = [run for run in every if run.label == label]
        best = best_trial(plan.task, trials_of(plan.task, plan, own))
        if best is not None:
            chosen[label] = best.settings
    return [
        Planned(label, "test", settings, seed)
        for seed in plan.test_seeds
        for label, settings in chosen.items()
    ]


class Runner:
    """Makes runs in this process.

    Args:
        workload: The workload.
        data: Its data.
        plan: The plan.
        contenders: The optimizers.
    """

    def __init__(
        self,
        workload: Workload,
        data: Data,
        plan: Plan,
        contenders: Iterable[Contender],
    ) -> None:
        self._workload, self._data, self._plan = workload, data, plan
        self._contenders = {each.entry.label: each for each in contenders}

    def runs(self, planned: list[Planned]) -> Iterator[Run]:
        """Make runs, and give each as it ends."""
        with quick_collections():
            for each in planned:
                yield train(
                    self._workload,
                    self._data,
                    self._plan.task,
                    self._contenders[each.label],
                    phase=each.phase,
                    settings=each.settings,
                    seed=each.seed,
                )

    def close(self) -> None:
        """Nothing is left to end."""


class Workers:
    """Makes runs in processes of their own.

    Args:
        workload: The workload.
        plan: The plan.
        contenders: The optimizers.
        jobs: Number of processes.
        threads: Threads of each.
        isolate: Whether each run has a new process.

    Raises:
        ValueError: Other processes cannot import what is needed.
    """

    def __init__(
        self,
        workload: Workload,
        plan: Plan,
        contenders: Iterable[Contender],
        *,
        jobs: int,
        threads: int,
        isolate: bool,
    ) -> None:
        self._threads, self._isolate = threads, isolate
        self._folder = tempfile.TemporaryDirectory(prefix="keras-adamx-")
        self._path = Path(self._folder.name) / "common.pickle"
        common = Common(
            workload,
            plan.task,
            {each.entry.label: each for each in contenders},
            keras.config.floatx(),
            keras.config.dtype_policy().name,
        )
        try:
            write(common, self._path)
        except ValueError:
            self._folder.cleanup()
            raise
        self._workers: list[Worker | None] = [None] * jobs
        self._lock = threading.Lock()
        self._closed = False

    def runs(self, planned: list[Planned]) -> Iterator[Run]:
        """Make runs, and give each as it ends."""
        waiting: queue.SimpleQueue[Planned] = queue.SimpleQueue()
        ended: queue.SimpleQueue[Run | BaseException] = queue.SimpleQueue()
        for each in planned:
            waiting.put(each)
        threads = [
            threading.Thread(
                target=self._serve, args=(number, waiting, ended), daemon=True
            )
            for number in range(min(len(self._workers), len(planned)))
        ]
        for thread in threads:
            thread.start()
        for _ in planned:
            run = ended.get()
            if isinstance(run, BaseException):
                raise run
            yield run

    def _serve(
        self,
        number: int,
        waiting: queue.SimpleQueue[Planned],
        ended: queue.SimpleQueue[Run | BaseException],
    ) -> None:
        """Let one worker make runs for as long as there are any."""
        try:
            while True:
                try:
                    planned = waiting.get_nowait()
                except queue.Empty:
                    return
                worker = self._worker(number)
                if worker is None:
                    return
                ended.put(worker.run(planned))
        except BaseException as error:  # The thread that waits is to know.
            ended.put(error)

    def _worker(self, number: int) -> Worker | None:
        """The process of a number, a new one where need be; None after the end."""
        worker = self._workers[number]
        if worker is not None and not worker.lasts:
            worker.close()
            worker = None
        with self._lock:
            if self._closed:
                return None
            if worker is None:
                worker = Worker(
                    self._path, self._threads, self._cores(number), alone=self._isolate
                )
                self._workers[number] = worker
        return worker

    def _cores(self, number: int) -> list[int]:
        """The cores of a worker, if there are enough for all."""
        found = measuring.cores()
        if len(found) < self._threads * len(self._workers):
            return []
        return found[number * self._threads : (number + 1) * self._threads]

    def close(self) -> None:
        """End all processes, those in the middle of a run as well."""
        with self._lock:
            self._closed = True
        for worker in self._workers:
            if worker is not None:
                worker.close(at_once=True)
        with contextlib.suppress(OSError):  # Windows: a file may still be open.
            self._folder.cleanup()
