"""Comparing optimizers: what is asked for and what comes of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from typing import Any

import keras

from keras_adamx.compare import files, measuring, running
from keras_adamx.compare.contender import contenders
from keras_adamx.compare.given import task_of, workload_of
from keras_adamx.compare.progress import Progress
from keras_adamx.compare.records import Machine, Plan, Run, run_key
from keras_adamx.compare.summary import Summary, summarize
from keras_adamx.compare.training import try_out

# Seeds of tests begin here, so that both kinds can grow without meeting.
FIRST_TEST_SEED = 1000


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A plan, and the runs that were made for it.

    Args:
        plan: What is compared and how.
        machines: Where runs were made: one for each time that `compare` was called.
        runs: The runs, in the order in which they ended.

    Example:
        >>> c = keras_adamx.compare
        >>> task = c.Task("t", "A task.", "loss", False, 0.5, 200, 50, 100, 32, 650)
        >>> plan = c.Plan(task, (), 0, tuning_seeds=(), test_seeds=(1000,))
        >>> c.Comparison(plan, machines=(), runs=()).missing
        0
    """

    plan: Plan
    machines: tuple[Machine, ...]
    runs: tuple[Run, ...]

    def summary(self, *, target: Any = ...) -> Summary:
        """What the runs say of each optimizer.

        Args:
            target: Another value of the metric to be reached, or None for none.
        """
        return summarize(self.plan, self.runs, target=target)

    def __str__(self) -> str:
        """The table of the summary."""
        return str(self.summary())

    @property
    def missing(self) -> int:
        """How many runs have not ended, where `compare` was interrupted."""
        return _missing(self.plan, self.runs)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Comparison:
        """Read the file of a comparison, be it finished or not.

        Args:
            path: Path of the file that `compare` or `save` has written.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is not the file of a comparison.
        """
        return cls(*files.load(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file, which `compare` can go on with. It replaces another one.

        Args:
            path: Path of the file.
        """
        part = f"{os.fspath(path)}.part"
        if os.path.exists(part):
            os.remove(part)
        files.File(part).add(self.plan, *self.machines, *self.runs)
        os.replace(part, path)


def compare(
    model_or_workload: Any,
    data: Any = None,
    optimizers: Any = ("adam", "sgd"),
    *,
    target: Any = ...,
    budget: int | None = None,
    seeds: int = 3,
    tuning_seeds: int = 1,
    search: Any = 5,
    trials: int | None = None,
    schedule: str | None = None,
    loss: Any = None,
    metric: Any = None,
    higher_is_better: bool | None = None,
    batch_size: int | None = None,
    evaluate_every: int | None = None,
    jit_compile: Any = None,
    file: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    isolate: bool = False,
    threads: int | None = None,
    retry_failed: bool = False,
    verbose: bool = True,
) -> Comparison:
    """Train a model with each optimizer, tuned alike, and evaluate with fresh seeds.

    Each optimizer tries as many settings as every other; each is trained with the
    tuning seeds and evaluated on the tuning data. The setting with the best value of
    the metric is then trained with fresh seeds and evaluated on the test data. A seed
    gives all optimizers the same initial weights and the same order of the data.

    The learning rate rises over the first 5 % of the budget and falls to 0 along half a
    cosine, unless the class says what suits it better, as Schedule-Free does, or an
    optimizer is given with a schedule of its own, which is then not tuned. Where an
    optimizer keeps averages of the weights, these are evaluated.

    Args:
        model_or_workload: A `Workload`; or a function that returns a new model at each
            call, compiled (its loss and its first metric are taken) or not.
        data: For a function: `Data`; a pair of inputs and labels, of which random 80 %
            are for training and 10 % each for tuning and test; or a function that
            returns one of them.
        optimizers: List of names (`"adam"`; `"keras.AdamW"` for those of Keras;
            `"adam=0.01"` with a learning rate), classes and optimizers, whose
            configuration is taken; or a dictionary of labels and these.
        target: Value of the metric to be reached, or None; by default that of the
            workload.
        budget: Training steps of a run; by default that of the workload, or 10 epochs.
        seeds: Number >= 1 of test runs.
        tuning_seeds: Number >= 1 of runs for each setting.
        search: What is tuned: number >= 2 of learning rates around that of the
            optimizer, a factor of √10 apart or as its class says; list of learning
            rates; dictionary of arguments and ranges of `keras_adamx.tuning`;
            `"space"` for the ranges of `keras_adamx.search_space`; dictionary of labels
            and these; or None to take everything as it is given.
        trials: Number >= 2 of settings, for ranges: they are filled evenly.
        schedule: `"warmup-cosine"`, `"cosine"`, `"warmup-constant"` or `"constant"`,
            for all; None for what suits each class.
        loss: Loss, for a model that is not compiled: what `compile` takes, or a
            function without arguments that returns it.
        metric: Name of a metric, function without arguments that returns one, or
            `"loss"`; by default the first metric of a compiled model, or the loss.
        higher_is_better: Whether more of the metric is better, if it does not say so
            itself.
        batch_size: Examples a step; by default that of the workload, or 32. Those that
            fill no batch at the end of an epoch are left out of it.
        evaluate_every: Steps between evaluations; by default that of the workload, or
            an epoch.
        jit_compile: As `compile` takes it; by default that of the workload.
        file: Path of a file that each run is put into as it ends. If it is there, what
            is missing is made: optimizers and test seeds may have been added, and
            another target been set.
        jobs: Runs at a time, each in a process with its share of the cores. Their times
            are not those of a machine that does nothing else.
        isolate: Whether each run has a process of its own, so that its peak memory is
            known; it includes what the backend takes.
        threads: Threads of each process; by default the cores divided by `jobs`.
        retry_failed: Whether to make again what has failed in `file`.
        verbose: Whether to show the progress on the standard error.

    Returns:
        A `Comparison`.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of its range or does not fit, `file` is of
            another comparison or backend, the model does not train on the data, or
            other processes cannot import the functions.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(100, 4)).astype("float32")
        >>> def build():
        ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        >>> found = keras_adamx.compare.compare(
        ...     build, (x, x.sum(axis=1, keepdims=True)), ["sgd"], loss="mse",
        ...     budget=4, seeds=1, search=None, verbose=False,
        ... )
        >>> found.summary()["sgd"].runs[0].curve[-1].step
        4

    Source:
        The protocol follows Dahl et al. 2023, "Benchmarking neural network training
        algorithms", arXiv:2306.07179.
    """
    counts = {"seeds": seeds, "tuning_seeds": tuning_seeds, "jobs": jobs}
    for name, value in (counts | {"threads": threads}).items():
        if name == "threads" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(
                f"compare: argument `{name}` must be an integer >= 1. Received: "
                f"{name}={value!r}"
            )
    if threads is not None and jobs == 1 and not isolate:
        raise ValueError(
            "compare: argument `threads` is for processes of their own: set isolate or "
            f"jobs > 1. Received: threads={threads!r}"
        )
    workload, parts = workload_of(
        model_or_workload,
        data,
        loss=loss,
        metric=metric,
        higher_is_better=higher_is_better,
        target=target,
        budget=budget,
        batch_size=batch_size,
        evaluate_every=evaluate_every,
        jit_compile=jit_compile,
    )
    chosen = contenders(optimizers, search, trials, schedule)
    tuned = [len(each.trials) for each in chosen if each.tuned]
    plan = Plan(
        task=task_of(workload, parts),
        entries=tuple(each.entry for each in chosen),
        trials=tuned[0] if tuned else 0,
        tuning_seeds=tuple(range(tuning_seeds)) if tuned else (),
        test_seeds=tuple(range(FIRST_TEST_SEED, FIRST_TEST_SEED + seeds)),
    )
    record = files.File(file)
    before = record.begun()
    if before is not None:
        plan = files.continued(before.plan, plan)
        order = [entry.label for entry in plan.entries]
        chosen = tuple(sorted(chosen, key=lambda each: order.index(each.entry.label)))
    old = () if before is None else before.runs
    if retry_failed:
        old = tuple(run for run in old if run.status != "failed")
    started: list[Machine] = [] if before is None else list(before.machines)
    _same_backend(started)
    changed = [] if before is not None and before.plan == plan else [plan]
    if not _missing(plan, old):
        record.add(*changed)
        return Comparison(plan, tuple(started), tuple(old))
    try_out(workload, parts)
    runner: running.Runner | running.Workers
    if jobs == 1 and not isolate:
        threads = measuring.threads_here()
        runner = running.Runner(workload, parts, plan, chosen)
    else:
        threads = threads or max(len(measuring.cores()) // jobs, 1)
        runner = running.Workers(
            workload, plan, chosen, jobs=jobs, threads=threads, isolate=isolate
        )
    started.append(measuring.machine(threads, jobs))
    record.add(*changed, started[-1])
    made = {run.key: run for run in old}
    every = len(running.planned_tuning(plan, chosen)) + len(chosen) * seeds
    progress = Progress(every, len(old), plan.task, jobs, verbose=verbose)
    try:
        with progress.shown():
            for phase in ("tuning", "test"):
                planned = running.planned_tuning(plan, chosen)
                if phase == "test":
                    planned = running.planned_tests(plan, chosen, made.values())
                    progress.fewer(len(chosen) * seeds - len(planned))
                left = [each for each in planned if run_key(*each) not in made]
                for run in runner.runs(left):
                    record.add(run)
                    made[run.key] = run
                    progress.ended(run)
    except KeyboardInterrupt:
        progress.interrupted(file)
        raise
    finally:
        runner.close()
    return Comparison(plan, tuple(started), tuple(made.values()))


def _same_backend(machines: list[Machine]) -> None:
    """Refuse to put times and weights of two backends into one table."""
    backend = keras.backend.backend()
    if machines and machines[-1].backend != backend:
        raise ValueError(
            f"compare: the runs in the file were made with {machines[-1].backend}. "
            f"Received: the backend {backend}. Give another `file`."
        )


def _missing(plan: Plan, runs: Iterable[Run]) -> int:
    """How many runs of a plan have not ended."""
    missing = 0
    for summary in summarize(plan, runs).entries:
        tuning = 0
        if summary.entry.searched:
            ended = sum(len(trial.values) for trial in summary.trials)
            tuning = plan.trials * len(plan.tuning_seeds) - ended
        # Where each setting has failed, there is none to test.
        hopeless = summary.settings is None and tuning == 0
        missing += tuning + (0 if hopeless else summary.missing)
    return missing
