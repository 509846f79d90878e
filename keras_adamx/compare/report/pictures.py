"""The pictures of a comparison, drawn into axes of matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_adamx.compare.profile import PerformanceProfile
from keras_adamx.compare.report import words
from keras_adamx.compare.summary import EntrySummary, Spread, Summary
from keras_adamx.plots.curves import curve, draw_curve
from keras_adamx.plots.style import look, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Characters of a label that a picture has room for.
ROOM = 26
Colours = Mapping[str, int]


class Kind(NamedTuple):
    """A kind of picture.

    Attributes:
        draw: Draws a summary into axes, with the places of the labels among the
            colours.
        bars: Whether each optimizer has a row.
        values: What it draws of an optimizer; None or nothing where there is none.
    """

    draw: Callable[..., None]
    bars: bool
    values: Callable[[EntrySummary], Any]


def plot(comparison: Any, kind: str = "steps", *, axes: Axes | None = None) -> Axes:
    """Draw one of the pictures of a report.

    Args:
        comparison: A `Comparison`, or its `Summary`.
        kind: `"steps"`: learning curves against steps, as the median of the seeds with
            a band from the least to the largest. `"seconds"`: against seconds of
            training steps. `"steps-to-target"` and `"seconds-to-target"`: bars with the
            range over the seeds. `"sensitivity"`: the value against the learning rate.
            `"update"`, `"state"` and `"memory"`: time of an update, bytes of state a
            parameter and peak memory.
        axes: matplotlib's axes to draw into, or None for a new figure.

    Returns:
        matplotlib's axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There is no picture of that kind, or the runs have nothing to draw
            in it, as without a target or without tuning.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(100, 4)).astype("float32")
        >>> def build():
        ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        >>> found = keras_adamx.compare.compare(
        ...     build, (x, x.sum(axis=1, keepdims=True)), ["sgd"], loss="mse",
        ...     budget=4, evaluate_every=2, seeds=1, search=None, verbose=False,
        ... )
        >>> axes = keras_adamx.compare.plot(found, "steps")
        >>> [int(step) for step in axes.lines[0].get_xdata()]
        [2, 4]
    """
    summary = comparison if isinstance(comparison, Summary) else comparison.summary()
    if kind not in KINDS:
        raise ValueError(
            f"plot: argument `kind` must be one of {', '.join(map(repr, KINDS))}. "
            f"Received: {kind=}"
        )
    if not drawable(kind, summary):
        raise ValueError(
            f"plot: the runs of {summary.task.name!r} have nothing to draw. Received: "
            f"{kind=}"
        )
    if axes is None:
        axes = pyplot().subplots(figsize=(6.4, 4.2), layout="constrained")[1]
    assert axes is not None
    places = {label: place for place, label in enumerate(labels_of([summary]))}
    KINDS[kind].draw(summary, axes, colours=places)
    handles, names = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, names, frameon=False)
    return axes


def labels_of(summaries: Iterable[Summary]) -> list[str]:
    """The labels of all, each once, in the order in which they come."""
    return list(dict.fromkeys(e.label for s in summaries for e in s.entries))


def drawable(kind: str, summary: Summary) -> bool:
    """Whether there is anything to draw."""
    return any(KINDS[kind].values(entry) for entry in summary.entries)


def shown(label: str) -> str:
    """A label as matplotlib shows it: not as a formula, not hidden, not too long."""
    if len(label) > ROOM:
        label = f"{label[: ROOM // 2]}…{label[-(ROOM // 2 - 1) :]}"
    label = " ".join(label.split()).replace("$", r"\$")
    return f" {label}" if label.startswith("_") else label


# Learning curves.


def _against_steps(summary: Summary, axes: Axes, colours: Colours) -> None:
    _curves(summary, axes, colours, "step")


def _against_seconds(summary: Summary, axes: Axes, colours: Colours) -> None:
    _curves(summary, axes, colours, "seconds of training steps")


def _curves(summary: Summary, axes: Axes, colours: Colours, label: str) -> None:
    task = summary.task
    inside: list[float] = []
    for entry in summary.entries:
        runs = [run for run in entry.runs if run.curve]
        if not runs:
            continue
        # `curve` counts epochs from 1 where a history counts them from 0.
        histories = [
            {
                "value": [point.value for point in run.curve],
                "epoch": [point.step - 1 for point in run.curve],
            }
            for run in runs
        ]
        found = curve(histories, "value", label=entry.label)
        if label != "step":
            found = found._replace(epochs=_seconds_at(runs, found.epochs))
        style = look(colours[entry.label])
        draw_curve(axes, found, _with_runs(entry), style)
        for run in runs:
            if run.status == "failed":
                _mark_failure(axes, run, style["color"], label)
            else:
                inside += [p.value for p in run.curve if math.isfinite(p.value)]
    _frame(axes, summary, inside)
    if task.target is not None:
        axes.axhline(task.target, color="gray", linewidth=1.0, linestyle=":")
    axes.set(xlabel=label, ylabel=shown(task.metric))
    axes.grid(alpha=0.3)


def _with_runs(entry: EntrySummary) -> str:
    many = words.plural(len(entry.runs), "run")
    failed = f", {entry.failed} failed" if entry.failed else ""
    return f"{shown(entry.label)} ({many}{failed})"


def _seconds_at(runs: Sequence[Any], steps: np.ndarray) -> np.ndarray:
    """The median of the seconds at some steps; it never falls where runs have ended."""
    taken: dict[int, list[float]] = {int(step): [] for step in steps}
    for run in runs:
        for point in run.curve:
            if point.step in taken:
                taken[point.step].append(point.seconds)
    medians = [float(np.median(each)) for each in taken.values()]
    return np.maximum.accumulate(np.array(medians)) if medians else np.empty(0)


def _mark_failure(axes: Axes, run: Any, colour: str, label: str) -> None:
    finite = [point for point in run.curve if math.isfinite(point.value)]
    if finite:
        last = finite[-1]
        x = last.step if label == "step" else last.seconds
        axes.plot([x], [last.value], marker="x", color=colour, linestyle="none")


def _frame(axes: Axes, summary: Summary, values: Sequence[float]) -> None:
    """Fit the vertical axis to values, so that what diverges does not flatten them."""
    if not values:
        return
    low, high = min(values), max(values)
    if not summary.task.higher_is_better and low > 0.0 and high > 20.0 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
        return
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    axes.set_ylim(low - margin, high + margin)


# Bars.


def _bars(
    summary: Summary,
    axes: Axes,
    colours: Colours,
    spreads: dict[str, Spread | None],
    label: str,
    write: Callable[[float | None], str],
    budget: float | None = None,
) -> None:
    """A row an optimizer: a bar to the median, a line over the range, the words.

    With a budget the bars are of times to the target; one that was not reached is a
    hatched bar over the budget.
    """
    ends = [x for s in spreads.values() if s for x in (s.median, s.high)]
    end = max([x for x in (*ends, budget or 0.0) if math.isfinite(x)]) or 1.0
    for row, entry in enumerate(summary.entries):
        spread = spreads[entry.label]
        if spread is None:
            axes.text(0.0, row, " no run", va="center", fontsize="small")
            continue
        colour = look(colours[entry.label])["color"]
        reached = math.isfinite(spread.median)
        high = min(spread.high, end)
        if reached:
            axes.barh(row, spread.median, color=colour, height=0.6)
        else:
            hatched: dict[str, Any] = {"color": "none", "hatch": "//", "linewidth": 0.8}
            axes.barh(row, end, edgecolor=colour, height=0.6, **hatched)
        if spread.low < high:
            axes.plot([spread.low, high], [row, row], color="black", linewidth=1.2)
        text = write(spread.median) if reached else words.NEVER
        if budget is not None:
            text += f", {entry.reached} of {len(entry.runs) + entry.missing}"
        behind = max(high, spread.median) if reached else end
        axes.text(behind + 0.02 * end, row, text, va="center", fontsize="small")
    rows = [shown(entry.label) for entry in summary.entries]
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    # Room for the words behind the bars.
    axes.set_xlim(0.0, end * 1.6)
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= end * 1.01])
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)


def _steps_to_target(summary: Summary, axes: Axes, colours: Colours) -> None:
    spreads = {e.label: e.steps_to_target for e in summary.entries}
    steps = float(summary.task.steps)
    _bars(summary, axes, colours, spreads, "steps", words.count, steps)


def _seconds_to_target(summary: Summary, axes: Axes, colours: Colours) -> None:
    spreads = {e.label: e.seconds_to_target for e in summary.entries}
    longest = max([e.seconds.high for e in summary.entries if e.seconds], default=0.0)
    _bars(summary, axes, colours, spreads, "seconds", words.number, longest)


def _update(summary: Summary, axes: Axes, colours: Colours) -> None:
    spreads = {e.label: e.update_microseconds for e in summary.entries}
    _bars(summary, axes, colours, spreads, "µs an update", words.number)


def _state(summary: Summary, axes: Axes, colours: Colours) -> None:
    sizes = {e.label: e.state_bytes_per_parameter for e in summary.entries}
    spreads = {label: Spread.of([size]) for label, size in sizes.items()}
    _bars(summary, axes, colours, spreads, "bytes a parameter", words.number)


def _memory(summary: Summary, axes: Axes, colours: Colours) -> None:
    sizes = {e.label: e.peak_memory_bytes for e in summary.entries}
    spreads = {n: s and s.scaled(1.0 / words.MEBIBYTE) for n, s in sizes.items()}
    _bars(summary, axes, colours, spreads, "MiB", words.number)


# Sensitivity.


def _sensitivity(summary: Summary, axes: Axes, colours: Colours) -> None:
    values = [value for e in summary.entries for _, value in e.sensitivity()]
    _frame(axes, summary, [value for value in values if math.isfinite(value)])
    axes.set_xscale("log")
    for entry in summary.entries:
        found = entry.sensitivity()
        if not found:
            continue
        style = look(colours[entry.label])
        # Where more is tuned than the rate, a line would join what is not alike.
        if any(len(trial.settings) > 1 for trial in entry.trials):
            style = {**style, "linestyle": "none"}
        finite = [pair for pair in found if math.isfinite(pair[1])]
        axes.plot(*_columns(finite), marker=".", label=shown(entry.label), **style)
        alone: dict[str, Any] = {"color": style["color"], "linestyle": "none"}
        chosen = [
            (trial.settings["learning_rate"], trial.value)
            for trial in entry.trials
            if trial.settings == entry.settings
        ]
        ring: dict[str, Any] = {"marker": "o", "markersize": 9, "fillstyle": "none"}
        axes.plot(*_columns(chosen), **ring, **alone)
        # What failed has no value: it stands at the worse end, in the axes' fractions.
        failed = [rate for rate, value in found if math.isnan(value)]
        if failed:
            height = 0.03 if summary.task.higher_is_better else 0.97
            across = axes.get_xaxis_transform()
            heights = [height] * len(failed)
            axes.plot(failed, heights, marker="x", transform=across, **alone)
    axes.set(
        xlabel="learning rate", ylabel=f"{shown(summary.task.metric)}, tuning data"
    )
    axes.grid(alpha=0.3)


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]


# Several workloads.


def draw_profile(profile: PerformanceProfile, axes: Axes) -> None:
    """Draw for each optimizer on what share of the workloads it is how near."""
    for place, (label, shares) in enumerate(profile.shares.items()):
        style = look(place)
        axes.step(profile.factors, shares, where="post", label=shown(label), **style)
    axes.set_ylim(-0.03, 1.03)
    axes.set(xlabel=f"{profile.measure}, factor of the fastest", ylabel="share solved")
    axes.grid(alpha=0.3)


def _rates(entry: EntrySummary) -> Any:
    return any(rate > 0.0 for rate, _ in entry.sensitivity())


KINDS: dict[str, Kind] = {
    "steps": Kind(_against_steps, False, lambda e: any(r.curve for r in e.runs)),
    "seconds": Kind(_against_seconds, False, lambda e: any(r.curve for r in e.runs)),
    "steps-to-target": Kind(_steps_to_target, True, lambda e: e.steps_to_target),
    "seconds-to-target": Kind(_seconds_to_target, True, lambda e: e.seconds_to_target),
    "sensitivity": Kind(_sensitivity, False, _rates),
    "update": Kind(_update, True, lambda e: e.update_microseconds),
    "state": Kind(_state, True, lambda e: e.state_bytes_per_parameter is not None),
    "memory": Kind(_memory, True, lambda e: e.peak_memory_bytes),
}
