"""Comparisons that were never run: records whose results are known beforehand."""

from __future__ import annotations

import dataclasses
import math

from keras_adamx.compare.comparison import Comparison
from keras_adamx.compare.records import Entry, Evaluation, Machine, Plan, Run, Task

MACHINE = Machine(
    backend="torch",
    versions={"python": "3.11.2", "keras": "3.12.0"},
    processor="Some <processor>",
    cores=2,
    memory_bytes=8 * 1024**3,
    threads=1,
    jobs=2,
    started="2026-01-02T03:04:05+00:00",
)
RATES = (0.001, 0.01, 0.1)
STEPS = 400
EVERY = 50


def task(name="digits", **changes):
    fields = {
        "name": name,
        "description": "Images of digits; a small network.",
        "metric": "accuracy",
        "higher_is_better": True,
        "target": 0.9,
        "steps": STEPS,
        "steps_per_epoch": 40,
        "evaluate_every": EVERY,
        "batch_size": 32,
        "parameters": 1000,
    }
    return Task(**{**fields, **changes})


def entry(label, *, tuned=True):
    searched = {"learning_rate": "0.001, 0.01, 0.1"} if tuned else {}
    return Entry(label, "keras_adamx.Adam", "warmup-cosine", {"beta_1": 0.9}, searched)


def curve(reach, top=0.95, until=STEPS, seconds=0.01):
    """Accuracies that pass 0.9 at the step `reach`, or end below it with None."""
    points = []
    for step in range(EVERY, until + 1, EVERY):
        value = 0.85 * step / STEPS if reach is None or step < reach else top
        points.append(Evaluation(step, step * seconds, 1.0 - value, 1.1 - value, value))
    return tuple(points)


def run(label, phase, seed, points, *, settings=None, reason=None, **changes):
    fields = {
        "update_microseconds": 100.0 + seed,
        "state_bytes": 8000,
        "peak_memory_bytes": (500 + seed) * 1024**2,
        "compile_seconds": 2.0,
        "load": 1.25,
    }
    status = "failed" if reason else "finished"
    given = {"learning_rate": 0.01} if settings is None else settings
    return Run(
        label, phase, given, seed, status, reason, points, **{**fields, **changes}
    )


def tuning(label, values, rates=RATES):
    """A tuning run for each rate; nan is a run that failed."""
    for rate, value in zip(rates, values):
        given = {"learning_rate": rate}
        if math.isnan(value):
            points, reason = curve(None, until=EVERY), "loss is nan at step 60"
        else:
            points, reason = curve(100, top=value), None
        yield run(label, "tuning", 100, points, settings=given, reason=reason)


def compared(entries, runs, *, seeds=3, machines=(MACHINE,), trials=3, **changes):
    """A comparison of these runs."""
    plan = Plan(task(**changes), tuple(entries), trials, (100,), tuple(range(seeds)))
    return Comparison(plan, machines, tuple(runs))


def usual(name="digits", **changes):
    """Four optimizers: two that overlap, one apart and at the edge, one that fails."""
    labels = ("adam", "sdprop", "sgd", "wild")
    runs = [
        *tuning("adam", (0.91, 0.95, 0.92)),
        *tuning("sdprop", (0.91, 0.95, 0.92)),
        *tuning("sgd", (0.5, 0.7, 0.91), rates=(1e-4, 1e-3, 0.01)),
        *tuning("wild", (0.6, 0.8, math.nan)),
    ]
    for label, reach in (
        ("adam", (100, 150, 200)),
        ("sdprop", (200, 250, 300)),
        ("sgd", (350, 400, None)),
    ):
        for seed, step in enumerate(reach):
            runs.append(run(label, "test", seed, curve(step, top=0.95 + seed / 1000)))
    for seed in range(3):
        points, reason = curve(None), None
        if seed == 2:
            points, reason = curve(None, until=100), "loss is inf at step 123"
        runs.append(run("wild", "test", seed, points, reason=reason))
    return compared(map(entry, labels), runs, name=name, **changes)


def renamed(comparison, name):
    """The same comparison with another label for its first optimizer."""
    old = comparison.plan.entries[0].label
    entries = tuple(
        dataclasses.replace(e, label=name if e.label == old else e.label)
        for e in comparison.plan.entries
    )
    plan = dataclasses.replace(comparison.plan, entries=entries)
    runs = tuple(
        dataclasses.replace(r, label=name if r.label == old else r.label)
        for r in comparison.runs
    )
    return Comparison(plan, comparison.machines, runs)
