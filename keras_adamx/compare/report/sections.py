"""The sections of a report, from the records of its comparisons."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from keras_adamx.compare.profile import PerformanceProfile
from keras_adamx.compare.records import Plan
from keras_adamx.compare.report import details, pictures, reading, words
from keras_adamx.compare.report.content import (
    Cell,
    Column,
    Document,
    Notes,
    Part,
    Picture,
    Pictures,
    Section,
    Table,
    columns,
)
from keras_adamx.compare.summary import EntrySummary, Summary

if TYPE_CHECKING:
    from keras_adamx.compare.report.report import Compared


def document(title: str, compared: Sequence[Compared], profiles: Any) -> Document:
    """The whole report.

    Args:
        title: Its title.
        compared: The comparisons with their summaries.
        profiles: Performance profiles, or why there is none, in a sentence.
    """
    sections = [_workload(each) for each in compared]
    if len(compared) > 1:
        sections.insert(0, _overview(compared, profiles))
    labels = pictures.labels_of([each.summary for each in compared])
    lead = f"{words.plural(len(labels), 'optimizer')} on " + words.names(
        [each.plan.task.name for each in compared]
    )
    return Document(title, f"{lead}.", (*sections, _how_to_read()))


# Several workloads.


def _overview(compared: Sequence[Compared], profiles: Any) -> Section:
    summaries = [each.summary for each in compared]
    stand = [reading.standings(summary) for summary in summaries]
    missing = reading.Standing("not compared")
    rows = [
        (Cell(label), *(_standing_cell(s.get(label, missing)) for s in stand))
        for label in pictures.labels_of(summaries)
    ]
    heads = [summary.task.name for summary in summaries]
    matrix = Table(
        "Each optimizer on each workload: its median steps to the target over those of "
        "the first, or how its best value stands where the target is none or is out of "
        "reach",
        (Column("optimizer"), *(Column(head, right=True) for head in heads)),
        tuple(rows),
    )
    parts: list[Part] = [matrix]
    if isinstance(profiles, str):
        return Section("All workloads", (*parts, profiles))
    parts += [
        _profile_table(profiles),
        Pictures(tuple(map(_profile_picture, profiles))),
    ]
    return Section("All workloads", tuple(parts))


def _profile_table(profiles: Sequence[PerformanceProfile]) -> Table:
    first = profiles[0]
    order = sorted(first.scores, key=lambda label: -first.scores[label])
    rows = [
        (Cell(label), *(Cell(words.number(p.scores[label])) for p in profiles))
        for label in order
    ]
    largest = words.number(first.factors[-1])
    return Table(
        f"Performance profile: mean share of the {len(first.workloads)} workloads that "
        f"are solved within a factor of the fastest, over the factors from 1 to "
        f"{largest}. Medians over the seeds; their spread plays no part",
        columns("optimizer", *(f"by {p.measure}>" for p in profiles)),
        tuple(rows),
    )


def _profile_picture(profile: PerformanceProfile) -> Picture:
    return Picture(
        f"Performance profile by {profile.measure}",
        f"For each optimizer the share of the workloads that it solves within a factor "
        f"of the {profile.measure} of the fastest.",
        functools.partial(pictures.draw_profile, profile),
    )


# One workload.


def _workload(compared: Compared) -> Section:
    plan, summary = compared.plan, compared.summary
    reading_of = Notes(tuple(reading.sentences(summary)))
    folded = [
        details.protocol(plan, summary, compared.machines, compared.runs),
        details.tuning(plan, summary),
        details.failures(plan, compared.runs),
    ]
    return Section(
        plan.task.name,
        (
            plan.task.description,
            _in_short(plan, summary),
            reading_of,
            _results(plan, summary),
            _costs(summary),
            Pictures(tuple(_pictures(compared))),
        ),
        tuple(each for each in folded if each is not None),
    )


def _in_short(plan: Plan, summary: Summary) -> str:
    task = summary.task
    target = "No target."
    if task.target is not None:
        side = "at least" if task.higher_is_better else "at most"
        target = f"Target: {task.metric} {side} {words.metric(task.target)}."
    epochs = words.number(task.steps / task.steps_per_epoch)
    seeds = words.plural(len(plan.test_seeds), "seed")
    budget = f"Budget: {words.count(task.steps)} steps of {task.batch_size} examples"
    tuned = f"Nothing is tuned. The tables show the runs of {seeds}"
    if any(entry.searched for entry in plan.entries):
        given = [entry.label for entry in plan.entries if not entry.searched]
        but = f" ({words.names(given)} ran as given)" if given else ""
        tuned = (
            f"Each optimizer{but} tried {words.plural(plan.trials, 'setting')} on the "
            f"tuning data and then ran with the best of them on {seeds} not used "
            "before. The tables show these runs"
        )
    return (
        f"{target} {budget} ({epochs} epochs) a run. {tuned} on the test data, as "
        "median (least to largest)."
    )


def _standing_cell(standing: reading.Standing) -> Cell:
    return Cell(standing.text or words.NOTHING, mark=standing.mark)


def _in_order(summary: Summary) -> Iterable[EntrySummary]:
    return (summary[label] for label in summary.ranking)


def _settings_cell(plan: Plan, entry: EntrySummary) -> Cell:
    if entry.settings:
        note = ""
        if entry.at_edge:
            several = len(entry.settings) > 1
            note = words.names(list(entry.at_edge)) if several else ""
            note = f"{note} at the edge".strip()
        mark = "unclear" if note else ""
        return Cell(words.settings(entry.settings), True, note, mark)
    if entry.settings is not None:
        return Cell("as given")
    ended = sum(not trial.missing for trial in entry.trials)
    if ended < plan.trials:
        return Cell(f"tuning not ended: {ended} of {plan.trials}", mark="unclear")
    return Cell("all settings failed", mark="bad")


def _of(part: int, entry: EntrySummary) -> Cell:
    planned = len(entry.runs) + entry.missing
    notes = []
    if entry.failed:
        notes.append(f"{entry.failed} failed")
    if entry.missing:
        notes.append(f"{entry.missing} not run")
    mark = "bad" if entry.failed else "unclear" if entry.missing else ""
    return Cell(f"{part} of {planned}", note=", ".join(notes), mark=mark)


def _results(plan: Plan, summary: Summary) -> Table:
    task = summary.task
    stand = reading.standings(summary)
    with_target = task.target is not None
    heads = ["optimizer", "tuned settings"]
    heads += (
        ["reached>", "steps to target>", "epochs to target>"] if with_target else []
    )
    heads += ["seconds to target>"] if with_target else ["finished>"]
    heads += [f"best {task.metric}>", "to the best>"]
    rows = []
    for entry in _in_order(summary):
        cells = [Cell(entry.label), _settings_cell(plan, entry)]
        if with_target:
            cells.append(_of(entry.reached, entry))
            for spread, write in (
                (entry.steps_to_target, words.count),
                (entry.epochs_to_target, words.number),
                (entry.seconds_to_target, words.number),
            ):
                cells.append(Cell(words.to_target(spread, write)))
        else:
            cells.append(_of(len(entry.runs) - entry.failed, entry))
        cells.append(Cell(words.spread(entry.best_value, words.metric)))
        cells.append(_standing_cell(stand[entry.label]))
        rows.append(tuple(cells))
    return Table("Results", columns(*heads), tuple(rows))


def _costs(summary: Summary) -> Table:
    rows = [
        (
            Cell(entry.label),
            Cell(words.spread(entry.final_value, words.metric)),
            Cell(words.spread(entry.final_loss, words.metric)),
            Cell(words.spread(entry.final_train_loss, words.metric)),
            Cell(words.spread(entry.seconds)),
            Cell(words.spread(entry.update_microseconds)),
            Cell(words.number(entry.state_bytes_per_parameter)),
            Cell(words.spread(entry.peak_memory_bytes, words.mebibytes)),
        )
        for entry in _in_order(summary)
    ]
    heads = [f"final {summary.task.metric}>", "final loss>", "training loss>"]
    heads += ["training, s>", "update, µs>", "bytes a parameter>", "peak memory, MiB>"]
    caption = "At the end of the budget, of the runs that finished, and costs"
    return Table(caption, columns("optimizer", *heads), tuple(rows))


def _pictures(compared: Compared) -> Iterable[Picture]:
    texts = {
        "steps": "Learning curves against steps: median of the seeds, band from the "
        "least to the largest",
        "seconds": "Learning curves against seconds of training steps",
        "steps-to-target": "Steps to the target",
        "seconds-to-target": "Seconds of training steps to the target",
        "update": "Time of one update of the weights",
        "state": "State of the optimizer",
        "memory": "Most memory that the process held",
        "sensitivity": "Best value on the tuning data against the learning rate; a "
        "cross is a rate with which a run failed, a ring the chosen one",
    }
    many = len(compared.summary.entries)
    for kind, text in texts.items():
        if not pictures.drawable(kind, compared.summary):
            continue
        yield Picture(
            text,
            f"{text}. Workload {compared.plan.task.name}, "
            f"{words.plural(many, 'optimizer')}. The tables have the numbers.",
            functools.partial(
                pictures.KINDS[kind].draw, compared.summary, colours=compared.colours
            ),
            rows=many if pictures.KINDS[kind].bars else 0,
        )


def _how_to_read() -> Section:
    return Section(
        "How to read this",
        (
            Notes(
                (
                    "Times are those of the training steps alone: no compilation, no "
                    "evaluation, no reading of data.",
                    "A run is at the target with the first evaluation that has it. The "
                    "runs that never had it count as longer than any other, so that a "
                    "median is “not reached” where half of them or more did not get "
                    "there.",
                    "“To the best” is the median of the steps over that of the first. "
                    "“Overlaps”: the ranges over the seeds have values in common, and "
                    "the order of the two may be chance; “behind”: they have none, "
                    "which with few seeds is no proof.",
                    "A dash stands for what was not measured.",
                    "The results hold for this model, this data, this budget and this "
                    "way of tuning. Another of them may turn the order around.",
                )
            ),
        ),
    )
