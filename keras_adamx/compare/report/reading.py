"""What may be said of the results, and what the spread over the seeds forbids."""

from __future__ import annotations

import dataclasses
import math

from keras_adamx.compare.report import words
from keras_adamx.compare.summary import EntrySummary, Spread, Summary

MEASURES = {"steps": words.count, "seconds": words.number}


@dataclasses.dataclass(frozen=True)
class Standing:
    """How an optimizer stands to the best one of a workload.

    Args:
        text: In a few words.
        mark: `"good"` for the best if the runs tell it from all others, `"unclear"`
            for what they do not tell from the best, `"bad"` for what did not get there,
            or nothing.
    """

    text: str
    mark: str = ""


def overlap(one: Spread, other: Spread) -> bool:
    """Whether two ranges have a number in common."""
    return one.low <= other.high and other.low <= one.high


def _apart(one: Spread, other: Spread) -> bool:
    """Whether the runs tell two spreads from each other."""
    return min(one.count, other.count) > 1 and not overlap(one, other)


def apart_by_chance(seeds: int) -> float:
    """How often the ranges of two equal optimizers come out apart.

    All orders of the 2n runs are equally likely then, and in two of them, up to the
    order within each, all runs of one come before those of the other.
    """
    return 2.0 / math.comb(2 * seeds, seeds)


def target_measured(summary: Summary) -> bool:
    """Whether the best is found by its steps to the target, not by its value."""
    best = _best(summary)
    spread = None if best is None else best.steps_to_target
    return spread is not None and math.isfinite(spread.median)


def _best(summary: Summary) -> EntrySummary | None:
    first = next(iter(summary.ranking), None)
    found = None if first is None else summary[first]
    return found if found is not None and found.runs else None


def _measured(entry: EntrySummary, by_target: bool) -> Spread | None:
    return entry.steps_to_target if by_target else entry.best_value


def standings(summary: Summary) -> dict[str, Standing]:
    """How each optimizer stands to the best one."""
    by_target = target_measured(summary)
    return {e.label: _standing(summary, e, by_target) for e in summary.entries}


def _standing(summary: Summary, entry: EntrySummary, by_target: bool) -> Standing:
    best = _best(summary)
    if not entry.runs or best is None:
        return Standing("no runs", "bad")
    own, least = _measured(entry, by_target), _measured(best, by_target)
    if entry.failed == len(entry.runs):
        return Standing("failed", "bad")
    if own is None or least is None:
        return Standing("no value", "bad")
    if by_target and math.isinf(own.low):
        return Standing(words.NEVER, "bad")
    text = ""
    if by_target and math.isinf(own.median):
        text = f"{words.NEVER} by most"
    elif by_target:
        text = f"{own.median / least.median:.2f}×"
    if entry is best:
        rivals = [_measured(e, by_target) for e in summary.entries if e is not best]
        near = [r for r in rivals if r is not None and not _apart(r, own)]
        alone = len(summary.entries) == 1
        return Standing(
            text or ("" if alone else "best"), "" if near or alone else "good"
        )
    if own.count == 1 or least.count == 1:
        return Standing(", ".join(filter(None, [text, "one run"])), "unclear")
    if overlap(own, least):
        return Standing(", ".join(filter(None, [text, "overlaps"])), "unclear")
    bad = by_target and math.isinf(own.median)
    return Standing(text or "behind", "bad" if bad else "")


def sentences(summary: Summary) -> list[str]:
    """What the runs of a workload say, and what they leave open."""
    entries, task = summary.entries, summary.task
    if not any(entry.runs for entry in entries):
        return ["No test run has ended yet."]
    found = []
    if task.target is not None:
        found += [
            _first_to_target(summary, measure)
            for measure in MEASURES
            if any(entry.reached for entry in entries)
        ] or ["No run reached the target."]
    if not target_measured(summary):
        found.append(_best_value(summary))
    never = [e.label for e in entries if e.runs and not e.reached]
    if task.target is not None and never and len(never) < len(entries):
        found.append(f"In no run did {words.names(never)} reach the target.")
    seeds = max(len(entry.runs) for entry in entries)
    if len(entries) > 1:
        found.append(_chance(seeds))
    found += _open_ends(summary)
    return found


def _first_to_target(summary: Summary, measure: str) -> str:
    """Who was first at the target, and who cannot be told from it."""
    spreads = {
        entry.label: spread
        for entry in summary.entries
        if (spread := getattr(entry, f"{measure}_to_target")) is not None
    }
    first = min(spreads, key=lambda label: spreads[label].median)
    if math.isinf(spreads[first].median):
        return f"No optimizer reached the target in most of its runs ({measure})."
    text = words.to_target(spreads[first], MEASURES[measure])
    return _told_apart(
        f"Fewest {measure} to the target: {first}, {text}", first, spreads
    )


def _best_value(summary: Summary) -> str:
    task = summary.task
    spreads = {e.label: e.best_value for e in summary.entries if e.best_value}
    if not spreads:
        return f"No run has a value of the {task.metric}."
    sign = -1.0 if task.higher_is_better else 1.0
    first = min(spreads, key=lambda label: sign * spreads[label].median)
    text = words.spread(spreads[first], words.metric)
    return _told_apart(f"Best {task.metric}: {first}, {text}", first, spreads)


def _told_apart(start: str, first: str, spreads: dict[str, Spread]) -> str:
    others = [label for label in spreads if label != first]
    if not others:
        return f"{start}."
    if any(spread.count == 1 for spread in spreads.values()):
        return f"{start}. With one run of an optimizer no spread is known."
    near = [label for label in others if overlap(spreads[label], spreads[first])]
    if not near:
        return f"{start}; no other range overlaps with its range."
    verb = "overlaps" if len(near) == 1 else "overlap"
    noun = "range" if len(near) == 1 else "ranges"
    return (
        f"{start}. The {noun} of {words.names(near)} {verb} with it: these runs do not "
        "say which is better."
    )


def _chance(seeds: int) -> str:
    if seeds < 2:
        return "One seed says nothing of the spread: any order here may be chance."
    share = words.number(100.0 * apart_by_chance(seeds), 2)
    return (
        f"With {seeds} seeds the ranges of two equal optimizers come out apart in "
        f"{share} % of cases."
    )


def _open_ends(summary: Summary) -> list[str]:
    """What is wrong with the tuning or the runs, so that no one has to find it."""
    found = []
    edges: dict[tuple[str, ...], list[str]] = {}
    for entry in summary.entries:
        if entry.at_edge:
            edges.setdefault(entry.at_edge, []).append(entry.label)
        if entry.failed:
            runs = words.plural(len(entry.runs), "test run")
            found.append(f"{entry.label}: {entry.failed} of {runs} failed.")
        if entry.missing and entry.runs:
            runs = words.plural(entry.missing, "test run")
            found.append(f"{entry.label}: {runs} not made yet.")
    for names, labels in edges.items():
        found.append(
            f"{words.names(labels)}: the best {words.names(list(names))} is at the "
            "edge of what was tried; a better one may lie beyond."
        )
    return found
