"""What a comparison writes down: its plan, and each run as it ends.

A file of records has one JSON object a line. Each says in "record" what it is:

    plan      the workload, the optimizers and how they are compared
    machine   where and with what the runs that follow were made
    run       one training, finished or failed

Only what was measured is written. What follows from it, such as the steps to a target,
is computed when it is asked for, so that a target can be set later.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

PHASES = ("tuning", "test")
STATUSES = ("finished", "failed")


@dataclasses.dataclass(frozen=True)
class Task:
    """The workload, as far as the results need it.

    Args:
        name: Name of the workload.
        description: One sentence: the data and the model.
        metric: What is measured on held-out data, such as `"accuracy"`.
        higher_is_better: Whether a larger value of the metric is better.
        target: Value of the metric to be reached, or None.
        steps: Budget: training steps a run.
        steps_per_epoch: Steps in which the training data is seen once.
        evaluate_every: Steps between evaluations.
        batch_size: Examples a step.
        parameters: Trainable parameters of the model.
        loss: The loss in words, or None where that is not known.
        data: Checksum of the data, or None where that is not known.

    Example:
        >>> task = keras_adamx.compare.Task(
        ...     "digits", "Digits.", "accuracy", higher_is_better=True, target=0.9,
        ...     steps=100, steps_per_epoch=50, evaluate_every=50, batch_size=32,
        ...     parameters=650,
        ... )
        >>> task.reached(0.95), task.better(0.5, 0.6)
        (True, False)
    """

    name: str
    description: str
    metric: str
    higher_is_better: bool
    target: float | None
    steps: int
    steps_per_epoch: int
    evaluate_every: int
    batch_size: int
    parameters: int
    loss: str | None = None
    data: str | None = None

    def better(self, one: float, other: float) -> bool:
        """Whether one value of the metric is better than another."""
        return one > other if self.higher_is_better else one < other

    def reached(self, value: float) -> bool:
        """Whether a value of the metric is at the target or better."""
        if self.target is None or math.isnan(value):
            return False
        return not self.better(self.target, value)


@dataclasses.dataclass(frozen=True)
class Entry:
    """An optimizer that is compared.

    Args:
        label: What it is called in the results; no two entries share it.
        optimizer: Name of the class, with its package: `"keras_adamx.Adam"`.
        schedule: The learning rate over a run: `"warmup-cosine"`, `"cosine"`,
            `"warmup-constant"`, `"constant"`, or `"own"` for one that was given with
            the optimizer.
        fixed: Arguments that are the same in all runs and no defaults.
        searched: Arguments that are tuned, each with its candidates or its range, in
            words.

    Example:
        >>> entry = keras_adamx.compare.Entry(
        ...     "adam", "keras_adamx.Adam", "warmup-cosine", fixed={"beta_1": 0.8},
        ...     searched={"learning_rate": "0.001, 0.01"},
        ... )
    """

    label: str
    optimizer: str
    schedule: str
    fixed: dict[str, Any]
    searched: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is compared and how.

    Args:
        task: The workload.
        entries: The optimizers.
        trials: Settings that each optimizer may try on the tuning data; 0 where
            nothing is tuned.
        tuning_seeds: Seeds of the tuning runs.
        test_seeds: Seeds of the runs that are reported; none of `tuning_seeds`.

    Example:
        >>> c = keras_adamx.compare
        >>> task = c.Task("t", "A task.", "loss", False, 0.1, 100, 50, 50, 32, 650)
        >>> entry = c.Entry("sgd", "keras.SGD", "own", fixed={}, searched={})
        >>> plan = c.Plan(task, (entry,), 0, tuning_seeds=(), test_seeds=(1000,))
    """

    record: ClassVar[str] = "plan"

    task: Task
    entries: tuple[Entry, ...]
    trials: int
    tuning_seeds: tuple[int, ...]
    test_seeds: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where the runs that follow were made.

    Args:
        backend: Backend of Keras.
        versions: Versions by the names of packages; Python's is among them.
        processor: Name of the processor or accelerator.
        cores: Cores that the process may use.
        memory_bytes: Memory of the machine.
        threads: Threads that each run was given.
        jobs: Runs at a time.
        started: Time of the start, in ISO 8601 with the time zone.

    Example:
        >>> machine = keras_adamx.compare.Machine(
        ...     "jax", {"python": "3.12.1"}, "a processor", cores=2,
        ...     memory_bytes=8_000_000_000, threads=2, jobs=1,
        ...     started="2030-01-01T12:00:00+00:00",
        ... )
    """

    record: ClassVar[str] = "machine"

    backend: str
    versions: dict[str, str]
    processor: str
    cores: int
    memory_bytes: int
    threads: int
    jobs: int
    started: str


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A point of a learning curve.

    Args:
        step: Training steps so far.
        seconds: Seconds of these steps, without compilation and evaluation.
        train_loss: Mean training loss since the evaluation before.
        loss: Loss on held-out data.
        value: The metric on held-out data.

    Example:
        >>> point = keras_adamx.compare.Evaluation(100, 0.5, 1.2, 1.3, 0.6)
        >>> point.step, point.value
        (100, 0.6)
    """

    step: int
    seconds: float
    train_loss: float
    loss: float
    value: float


@dataclasses.dataclass(frozen=True)
class Run:
    """One training.

    Args:
        label: Label of the entry.
        phase: `"tuning"`: evaluated on the tuning data. `"test"`: on the test data.
        settings: Values of what is tuned, by name: `{"learning_rate": 0.001}`.
        seed: Seed of the initial weights and of the order of the data.
        status: `"finished"` or `"failed"`. What diverges has failed.
        reason: Why it failed, with the step, or None.
        curve: The learning curve, up to the failure if there was one.
        update_microseconds: Time of the update of the weights alone, or None.
        state_bytes: Size of the optimizer's variables, or None.
        peak_memory_bytes: Most memory that the process held, or None.
        compile_seconds: What the first step took more than the others.
        load: Mean load of the machine during the run, or None.

    Raises:
        ValueError: `phase` or `status` is none of these.

    Example:
        >>> c = keras_adamx.compare
        >>> task = c.Task("t", "A task.", "loss", False, 0.5, 200, 50, 100, 32, 650)
        >>> curve = (c.Evaluation(100, 1.0, 0.7, 0.6, 0.6),
        ...          c.Evaluation(200, 2.0, 0.4, 0.3, 0.3))
        >>> run = c.Run(
        ...     "sgd", "test", {}, 1000, "finished", None, curve,
        ...     update_microseconds=50.0, state_bytes=0, peak_memory_bytes=None,
        ...     compile_seconds=1.0, load=0.1,
        ... )
        >>> run.best(task).value, run.at_target(task).step
        (0.3, 200)
    """

    record: ClassVar[str] = "run"

    label: str
    phase: str
    settings: dict[str, Any]
    seed: int
    status: str
    reason: str | None
    curve: tuple[Evaluation, ...]
    update_microseconds: float | None
    state_bytes: int | None
    peak_memory_bytes: int | None
    compile_seconds: float | None
    load: float | None

    def __post_init__(self) -> None:
        for name, allowed in (("phase", PHASES), ("status", STATUSES)):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(
                    f"Run: argument `{name}` must be one of {', '.join(allowed)}. "
                    f"Received: {name}={value!r}"
                )

    @property
    def key(self) -> str:
        """What tells this run from all others of its comparison."""
        return run_key(self.label, self.phase, self.settings, self.seed)

    def best(self, task: Task) -> Evaluation | None:
        """The first evaluation with the best value, or None where there is none."""
        found = None
        for point in self.curve:
            if math.isnan(point.value):
                continue
            if found is None or task.better(point.value, found.value):
                found = point
        return found

    def at_target(self, task: Task) -> Evaluation | None:
        """The first evaluation that reached the target, or None."""
        return next((p for p in self.curve if task.reached(p.value)), None)


Record = Plan | Machine | Run


def run_key(label: str, phase: str, settings: dict[str, Any], seed: int) -> str:
    """What tells a run from all others of its comparison."""
    return json.dumps([label, phase, settings, seed], sort_keys=True)


def to_line(record: Record) -> str:
    """A record as a line of JSON, with its line break; nan and infinity as strings."""
    fields = {"record": record.record, **dataclasses.asdict(record)}
    return json.dumps(without_nan(fields), allow_nan=False) + "\n"


def from_line(line: str) -> Record:
    """A record from its line.

    Raises:
        ValueError: The line is no record.
    """
    try:
        fields = json.loads(line)
        kind = fields.pop("record")
        return _READERS[kind](fields)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not a record of a comparison: {line[:80]!r}") from error


def read(lines: Iterable[str]) -> Iterator[Record]:
    """Records from the lines of a file; a last line that was cut off is left out."""
    for line in lines:
        if not line.endswith("\n"):
            return  # The process was killed while it wrote.
        if line.strip():
            yield from_line(line)


def _plan(fields: dict[str, Any]) -> Plan:
    task = Task(**fields.pop("task"))
    entries = tuple(Entry(**entry) for entry in fields.pop("entries"))
    for name in ("tuning_seeds", "test_seeds"):
        fields[name] = tuple(fields[name])
    return Plan(task=task, entries=entries, **fields)


def _run(fields: dict[str, Any]) -> Run:
    curve = tuple(
        Evaluation(int(p.pop("step")), **{n: float(v) for n, v in p.items()})
        for p in fields.pop("curve")
    )
    if not isinstance(fields["settings"], dict):
        raise TypeError
    for name, kind in (("label", str), ("phase", str), ("seed", int)):
        if not isinstance(fields[name], kind):
            raise TypeError
    return Run(curve=curve, **fields)


_READERS: dict[str, Any] = {
    Plan.record: _plan,
    Machine.record: lambda fields: Machine(**fields),
    Run.record: _run,
}


def without_nan(value: Any) -> Any:
    """The same with "nan", "inf" and "-inf" where JSON has no number."""
    if isinstance(value, dict):
        return {name: without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
