"""Details of a comparison: its protocol and machines, what was tried, what failed."""

from __future__ import annotations

from collections.abc import Sequence

from keras_adamx.compare.records import Machine, Plan, Run
from keras_adamx.compare.report import words
from keras_adamx.compare.report.content import Cell, Part, Section, Table, columns
from keras_adamx.compare.summary import Summary


def protocol(
    plan: Plan, summary: Summary, machines: Sequence[Machine], runs: Sequence[Run]
) -> Section:
    """What was compared, how and where."""
    task = plan.task
    better = "larger is better" if task.higher_is_better else "smaller is better"
    target = (
        "none" if summary.task.target is None else words.metric(summary.task.target)
    )
    if summary.task.target != task.target:
        target += " (set for this report)"
    facts = {
        "metric on held-out data": f"{task.metric}, {better}",
        "target": target,
        "steps a run": words.count(task.steps),
        "steps an epoch": words.count(task.steps_per_epoch),
        "steps between evaluations": words.count(task.evaluate_every),
        "examples a step": words.count(task.batch_size),
        "trainable parameters": words.count(task.parameters),
        "settings an optimizer may try": words.count(plan.trials),
        "seeds of tuning": ", ".join(map(str, plan.tuning_seeds)),
        "seeds of the test": ", ".join(map(str, plan.test_seeds)),
        "load of the machine during the runs": _load(runs),
    }
    entries = [
        (
            Cell(entry.label),
            Cell(entry.optimizer, code=True),
            Cell(entry.schedule),
            Cell(words.settings(entry.fixed) or "defaults", code=bool(entry.fixed)),
            Cell(
                words.settings(entry.searched) or "nothing", code=bool(entry.searched)
            ),
        )
        for entry in plan.entries
    ]
    heads = ("optimizer", "class", "learning rate over a run", "the same in all runs")
    return Section(
        f"How {task.name} was compared",
        (
            Table(
                "Protocol",
                columns("what", "value"),
                tuple((Cell(name), Cell(text)) for name, text in facts.items()),
            ),
            Table("Optimizers", columns(*heads, "tuned"), tuple(entries)),
            *_machines(machines, runs),
        ),
        folded=True,
    )


def _load(runs: Sequence[Run]) -> str:
    known = [run.load for run in runs if run.load is not None]
    if not known:
        return "not known"
    return f"{words.number(min(known), 2)} to {words.number(max(known), 2)}"


def _machines(machines: Sequence[Machine], runs: Sequence[Run]) -> list[Part]:
    if not machines:
        return ["Nothing is known of the machine."]
    rows = [
        (
            Cell(each.started),
            Cell(each.backend),
            Cell(f"{each.processor}, {words.plural(each.cores, 'core')}"),
            Cell(words.number(each.memory_bytes / 1024**3)),
            Cell(f"{each.jobs} × {words.plural(each.threads, 'thread')}"),
            Cell(", ".join(f"{n} {v}" for n, v in sorted(each.versions.items()))),
        )
        for each in machines
    ]
    heads = ("started", "backend", "processor", "memory, GiB>", "runs at a time")
    parts: list[Part] = [Table("Machines", columns(*heads, "versions"), tuple(rows))]
    kinds = {(m.processor, m.cores, m.backend, m.threads, m.jobs) for m in machines}
    if len(kinds) > 1:
        parts.append(
            "The runs were made on different machines or in different ways: seconds, "
            "update times and memory are not comparable."
        )
    loads = [run.load for run in runs if run.load is not None]
    cores = min(each.cores for each in machines)
    if loads and max(loads) > cores:
        parts.append(
            f"The load went up to {words.number(max(loads), 2)} on "
            f"{words.plural(cores, 'core')}: runs waited for the processor, and "
            "seconds and update times are too long by an unknown part."
        )
    return parts


def tuning(plan: Plan, summary: Summary) -> Section | None:
    """All settings that were tried, or None where nothing is tuned."""
    task = summary.task
    rows = []
    for entry in summary.entries:
        for trial in entry.trials:
            chosen = trial.settings == entry.settings
            notes = []
            if trial.failed:
                notes.append(f"{trial.failed} failed")
            if trial.missing:
                notes.append(f"{trial.missing} not run")
            if chosen:
                notes.append("chosen")
            rows.append(
                (
                    Cell(entry.label),
                    Cell(words.settings(trial.settings), code=True),
                    Cell(words.metric(trial.value)),
                    Cell(words.metric(trial.loss)),
                    Cell(
                        ", ".join(notes) or words.NOTHING,
                        mark="bad" if trial.failed else "good" if chosen else "",
                    ),
                )
            )
    if not rows:
        return None
    seeds = words.plural(len(plan.tuning_seeds), "seed")
    return Section(
        f"What was tried on {task.name}",
        (
            Table(
                f"Best {task.metric} on the tuning data, mean over {seeds}",
                columns("optimizer", "settings", f"{task.metric}>", "loss>", ""),
                tuple(rows),
            ),
        ),
        folded=True,
    )


def failures(plan: Plan, runs: Sequence[Run]) -> Section | None:
    """The runs that failed and why, or None where none did."""
    rows = [
        (
            Cell(run.label),
            Cell(run.phase),
            Cell(words.settings(run.settings) or "as given", code=bool(run.settings)),
            Cell(str(run.seed)),
            Cell(run.reason or "not known"),
        )
        for run in runs
        if run.status == "failed"
    ]
    if not rows:
        return None
    return Section(
        f"Runs that failed on {plan.task.name}",
        (
            Table(
                f"{len(rows)} of {words.plural(len(runs), 'run')} failed",
                columns("optimizer", "phase", "settings", "seed>", "reason"),
                tuple(rows),
            ),
        ),
        folded=True,
    )
