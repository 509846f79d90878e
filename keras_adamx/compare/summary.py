"""What follows from the runs of a comparison, by arithmetic alone.

    summarize(plan, runs)  -> Summary, with an EntrySummary for each optimizer

Everything is computed from the records when it is asked for, so that another target
can be set after the runs, or a half-finished file be looked at.
"""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from keras_adamx.compare.records import Entry, Plan, Run, Task
from keras_adamx.core.report import aligned


@dataclasses.dataclass(frozen=True)
class Spread:
    """A number over the seeds.

    Args:
        median: Median; infinite where at most half of the runs have a finite number.
        low: Least.
        high: Largest.
        count: Number of runs.

    Example:
        >>> keras_adamx.compare.Spread.of([3.0, 1.0, float("inf")])
        Spread(median=3.0, low=1.0, high=inf, count=3)
    """

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """The spread of what is known, or None where nothing is; infinities count."""
        known = [float(v) for v in values if v is not None and not math.isnan(v)]
        if not known:
            return None
        return cls(statistics.median(known), min(known), max(known), len(known))

    def scaled(self, factor: float) -> Spread:
        """The same in another unit."""
        low, median, high = (x * factor for x in (self.low, self.median, self.high))
        return Spread(median, low, high, self.count)


@dataclasses.dataclass(frozen=True)
class Trial:
    """A setting that was tried on the tuning data.

    Args:
        settings: Values of what is tuned, by name.
        value: Mean over the tuning seeds of the best value of the metric; nan where a
            run failed or none has ended.
        loss: Mean of the held-out loss at these evaluations, or nan.
        values: Best value of each run in the order of the seeds; nan where it failed.
        failed: How many of the runs failed.
        missing: How many have not ended yet.

    Example:
        >>> trial = keras_adamx.compare.Trial(
        ...     {"learning_rate": 0.1}, value=0.8, loss=0.5, values=(0.7, 0.9),
        ...     failed=0, missing=0,
        ... )
    """

    settings: dict[str, Any]
    value: float
    loss: float
    values: tuple[float, ...]
    failed: int
    missing: int


@dataclasses.dataclass(frozen=True)
class EntrySummary:
    """What the runs say of one optimizer.

    Args:
        entry: The optimizer, as the plan has it.
        trials: What was tried on the tuning data, sorted by the settings; empty where
            nothing is tuned.
        settings: The best of these settings, `{}` where nothing is tuned, or None where
            each setting has failed or not all tuning runs have ended.
        at_edge: Names of what has its least or largest tried value in `settings`: a
            better one may lie beyond.
        runs: The test runs at `settings`, in the order of the seeds.
        missing: How many of the test runs have not ended yet.
        failed: How many of `runs` failed.
        reached: How many of `runs` reached the target.
        steps_to_target: Steps to the first evaluation at the target; infinite for runs
            that never were there. None without a target or a run. So are the next two.
        epochs_to_target: The same in epochs.
        seconds_to_target: The same in seconds of training steps.
        best_value: Best value of the metric in each run, those that failed included as
            far as they came.
        final_value: Value of the metric at the last evaluation of each finished run.
        final_loss: Held-out loss there.
        final_train_loss: Training loss there.
        seconds: Seconds of the training steps of each finished run.
        update_microseconds: Time of one update of the weights.
        state_bytes: Size of the optimizer's variables, or None.
        state_bytes_per_parameter: The same, a trainable parameter of the model.
        peak_memory_bytes: Most memory that the process held.

    Example:
        >>> c = keras_adamx.compare
        >>> task = c.Task("t", "A task.", "loss", False, 0.5, 200, 50, 100, 32, 650)
        >>> entry = c.Entry("sgd", "keras.SGD", "own", fixed={}, searched={})
        >>> plan = c.Plan(task, (entry,), 0, tuning_seeds=(), test_seeds=(1000,))
        >>> found = c.Comparison(plan, (), ()).summary()["sgd"]
        >>> found.label, found.missing, found.best_value
        ('sgd', 1, None)
    """

    entry: Entry
    trials: tuple[Trial, ...]
    settings: dict[str, Any] | None
    at_edge: tuple[str, ...]
    runs: tuple[Run, ...]
    missing: int
    failed: int
    reached: int
    steps_to_target: Spread | None
    epochs_to_target: Spread | None
    seconds_to_target: Spread | None
    best_value: Spread | None
    final_value: Spread | None
    final_loss: Spread | None
    final_train_loss: Spread | None
    seconds: Spread | None
    update_microseconds: Spread | None
    state_bytes: int | None
    state_bytes_per_parameter: float | None
    peak_memory_bytes: Spread | None

    @property
    def label(self) -> str:
        """What the optimizer is called."""
        return self.entry.label

    def sensitivity(self, name: str = "learning_rate") -> list[tuple[float, float]]:
        """Pairs of a tuned number and the value of the metric, by the number.

        Args:
            name: Name of what was tuned; nothing comes back for what was not. The value
                is nan where the trial failed.
        """
        found = [(t.settings[name], t.value) for t in self.trials if name in t.settings]
        return sorted(pair for pair in found if is_number(pair[0]))


@dataclasses.dataclass(frozen=True)
class Summary:
    """What the runs say of all optimizers on a workload.

    Args:
        task: The workload, with the target that was asked for.
        entries: One for each optimizer, in the order of the plan.
        ranking: Labels from the best to the worst: those that reached the target in
            most of the seeds by their median steps to it, then the others by the
            median of their best value; last, those without a test run.

    Example:
        >>> c = keras_adamx.compare
        >>> task = c.Task("t", "A task.", "loss", False, 0.5, 200, 50, 100, 32, 650)
        >>> plan = c.Plan(task, (), 0, tuning_seeds=(), test_seeds=(1000,))
        >>> c.Comparison(plan, (), ()).summary(target=0.4).task.target
        0.4
    """

    task: Task
    entries: tuple[EntrySummary, ...]
    ranking: tuple[str, ...]

    def __getitem__(self, label: str) -> EntrySummary:
        for entry in self.entries:
            if entry.label == label:
                return entry
        known = ", ".join(entry.label for entry in self.entries)
        raise KeyError(f"No optimizer is called {label!r}. Labels: {known}")

    def __str__(self) -> str:
        """A table, the best first."""
        from keras_adamx.compare.report import words  # It needs this module.

        target = self.task.target
        heads = ["optimizer", "settings", f"best {self.task.metric}"]
        lines = [heads if target is None else [*heads, "steps to target", "reached"]]
        for label in self.ranking:
            entry = self[label]
            settings = "-" if entry.settings is None else words.settings(entry.settings)
            best = words.spread(entry.best_value, words.metric)
            lines.append([label, settings or "as given", best])
            if target is not None:
                steps = words.to_target(entry.steps_to_target, words.count)
                lines[-1] += [steps, f"{entry.reached} of {len(entry.runs)}"]
        return aligned(lines, left=(0, 1))


def summarize(plan: Plan, runs: Iterable[Run], *, target: Any = ...) -> Summary:
    """What the runs say of each optimizer.

    Args:
        plan: The plan of the comparison.
        runs: Its runs, in any order; those of no entry of the plan are left out.
        target: Another target than that of the plan, or None for none.
    """
    task = plan.task
    if target is not ...:
        task = dataclasses.replace(task, target=target)
    every = list(runs)
    entries = tuple(
        _summary(task, plan, entry, [r for r in every if r.label == entry.label])
        for entry in plan.entries
    )
    return Summary(task, entries, _ranking(task, entries))


def trials_of(task: Task, plan: Plan, runs: Iterable[Run]) -> tuple[Trial, ...]:
    """The settings that one optimizer has tried, from its tuning runs."""
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        if run.phase == "tuning" and run.seed in plan.tuning_seeds:
            grouped.setdefault(_frozen(run.settings), []).append(run)
    found = []
    # Not as they ended: which of equals is chosen would hang on the number of jobs.
    for group in sorted(grouped.values(), key=lambda group: _order(group[0].settings)):
        by_seed = {run.seed: run for run in group}
        ended = [by_seed[seed] for seed in plan.tuning_seeds if seed in by_seed]
        best = [run.best(task) if run.status == "finished" else None for run in ended]
        values = tuple(math.nan if p is None else p.value for p in best)
        losses = [math.nan if p is None else p.loss for p in best]
        found.append(
            Trial(
                settings=group[0].settings,
                value=statistics.fmean(values),
                loss=statistics.fmean(losses),
                values=values,
                failed=sum(run.status == "failed" for run in ended),
                missing=len(plan.tuning_seeds) - len(ended),
            )
        )
    return tuple(found)


def best_trial(task: Task, trials: Iterable[Trial]) -> Trial | None:
    """The trial with the best value; of equals, that with the least held-out loss.

    A setting with which a run failed is never chosen. The target plays no part, so that
    the choice stays the same where another target is set later.
    """
    found = None
    for trial in trials:
        if math.isnan(trial.value):
            continue
        if (
            found is None
            or task.better(trial.value, found.value)
            or (trial.value == found.value and trial.loss < found.loss)
        ):
            found = trial
    return found


def edges(trials: Sequence[Trial], settings: dict[str, Any]) -> tuple[str, ...]:
    """Names of the numbers in some settings that are the least or largest tried."""
    found = []
    for name, value in settings.items():
        tried = {trial.settings.get(name) for trial in trials}
        numbers: list[Any] = [each for each in tried if is_number(each)]
        if len(numbers) > 1 and value in (min(numbers), max(numbers)):
            found.append(name)
    return tuple(found)


def _summary(task: Task, plan: Plan, entry: Entry, runs: list[Run]) -> EntrySummary:
    trials = trials_of(task, plan, runs)
    settings: dict[str, Any] | None = {}
    if entry.searched:
        complete = len(trials) >= plan.trials and not any(t.missing for t in trials)
        chosen = best_trial(task, trials) if complete else None
        settings = None if chosen is None else chosen.settings
    by_seed = {
        run.seed: run
        for run in runs
        if run.phase == "test" and run.settings == settings
    }
    tested = tuple(by_seed[seed] for seed in plan.test_seeds if seed in by_seed)
    finished = [run for run in tested if run.status == "finished"]
    ends = [run.curve[-1] for run in finished if run.curve]
    best = [run.best(task) for run in tested]
    targets = [run.at_target(task) for run in tested] if task.target is not None else []
    steps = Spread.of([math.inf if p is None else p.step for p in targets])
    seconds = Spread.of([math.inf if p is None else p.seconds for p in targets])
    sizes = [run.state_bytes for run in tested if run.state_bytes is not None]
    size = max(sizes) if sizes else None
    return EntrySummary(
        entry=entry,
        trials=trials,
        settings=settings,
        at_edge=() if settings is None else edges(trials, settings),
        runs=tested,
        missing=len(plan.test_seeds) - len(tested),
        failed=len(tested) - len(finished),
        reached=sum(point is not None for point in targets),
        steps_to_target=steps,
        epochs_to_target=steps and steps.scaled(1.0 / task.steps_per_epoch),
        seconds_to_target=seconds,
        best_value=Spread.of([None if p is None else p.value for p in best]),
        final_value=Spread.of([point.value for point in ends]),
        final_loss=Spread.of([point.loss for point in ends]),
        final_train_loss=Spread.of([point.train_loss for point in ends]),
        seconds=Spread.of([point.seconds for point in ends]),
        update_microseconds=Spread.of([run.update_microseconds for run in tested]),
        state_bytes=size,
        state_bytes_per_parameter=None if size is None else size / task.parameters,
        peak_memory_bytes=Spread.of([run.peak_memory_bytes for run in tested]),
    )


def _ranking(task: Task, entries: Iterable[EntrySummary]) -> tuple[str, ...]:
    def place(one: EntrySummary) -> tuple[float, float, float]:
        sign = -1.0 if task.higher_is_better else 1.0
        value = math.inf if one.best_value is None else sign * one.best_value.median
        steps = math.inf if one.steps_to_target is None else one.steps_to_target.median
        return (one.best_value is None, steps, value)

    return tuple(one.label for one in sorted(entries, key=place))


def _order(settings: dict[str, Any]) -> list[Any]:
    """What settings are sorted by: numbers by their size, all else as text."""
    return [
        (name, (0, value, "") if is_number(value) else (1, 0.0, str(value)))
        for name, value in sorted(settings.items())
    ]


def _frozen(settings: dict[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)


def is_number(value: Any) -> bool:
    """Whether a value is a number, which True is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
