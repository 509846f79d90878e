"""Loss curves of several runs, with bands over the seeds."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_adamx.plots.style import look, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BANDS = {"range": (0.0, 1.0), "quartiles": (0.25, 0.75)}


class Curve(NamedTuple):
    """Several runs as one line and a band.

    Attributes:
        epochs: Epochs, counted from 1, in which any run has a value.
        middle: Median of the runs that have one.
        lower: Lower edge of the band; nan where there are less than two runs.
        upper: Upper edge of the band.
        runs: How many runs have a value.
        total: How many runs there are.
        diverged: How many runs end with a value that is not finite.
    """

    epochs: np.ndarray
    middle: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    runs: np.ndarray
    total: int
    diverged: int


def losses(
    histories: Mapping[str, Any],
    key: str = "loss",
    *,
    band: str | None = "range",
    smoothing: float = 0.0,
    log: bool = False,
    axes: Axes | None = None,
) -> Axes:
    """Draw the losses of several optimizers, each the median of its runs with a band.

    Runs may differ in length. The line is dotted where runs have ended already, since
    what is left is no fair sample, and there is a band only where there are two runs or
    more. A run ends before the first value that is not finite; the legend counts
    those.

    Args:
        histories: Dictionary of labels and runs: the `History` that `fit` returns, or a
            dictionary of lists as its `history`, or a list of these, one for each seed.
            A dictionary may have the epochs of its values, counted from 0, as "epoch".
        key: Which list: "loss", "val_loss", a metric.
        band: "range" from the lowest run to the highest, "quartiles" for the middle
            half of the runs, None for no band.
        smoothing: Number in [0, 1): decay of a moving average along each run, corrected
            for its start.
        log: Whether the vertical axis is logarithmic.
        axes: matplotlib's axes to draw into, or None for a new figure.

    Returns:
        matplotlib's axes.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: A run is neither a `History` nor a dictionary of lists.
        ValueError: A run has no list of that key, an argument is out of its range, or
            `log` is True and a value is not positive.

    Example:
        >>> axes = keras_adamx.plots.losses(
        ...     {
        ...         "adam": [{"loss": [2.0, 1.0, 0.5]}, {"loss": [2.2, 1.1, 0.4]}],
        ...         "sgd": {"loss": [2.1, 1.6, 1.3]},
        ...     },
        ...     log=True,
        ... )
        >>> [text.get_text() for text in axes.get_legend().get_texts()]
        ['adam (2 runs)', 'sgd']
    """
    plt = pyplot()
    if not isinstance(histories, Mapping) or not histories:
        raise TypeError(
            "Argument `histories` must be a dictionary of labels and runs. Received: "
            f"{histories!r}"
        )
    curves = {
        label: curve(runs, key, band=band, smoothing=smoothing, label=label)
        for label, runs in histories.items()
    }
    if log:
        for label, found in curves.items():
            _require_positive(found, f"{label!r}, {key!r}")
    if axes is None:
        axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")[1]
    assert axes is not None
    for position, (label, found) in enumerate(curves.items()):
        draw_curve(axes, found, _legend(label, found), look(position))
    if log:
        axes.set_yscale("log")
    axes.set(xlabel="epoch", ylabel=key)
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return axes


def curve(
    runs: Any,
    key: str = "loss",
    *,
    band: str | None = "range",
    smoothing: float = 0.0,
    label: str = "run",
) -> Curve:
    """The line and the band of the runs of one label."""
    if band is not None and band not in BANDS:
        raise ValueError(
            f"Argument `band` must be one of {', '.join(map(repr, BANDS))}, or None. "
            f"Received: {band=}"
        )
    if not isinstance(smoothing, numbers.Real) or not 0.0 <= smoothing < 1.0:
        raise ValueError(
            f"Argument `smoothing` must be a number in [0, 1). Received: {smoothing=}"
        )
    whole = isinstance(runs, Sequence) and not isinstance(runs, str)
    given = list(runs) if whole else [runs]
    if not given:
        raise ValueError(f"Label {label!r} has no runs.")
    found = [_values(run, key, f"{label!r}") for run in given]
    finite = [_until_not_finite(run) for run in found]
    epochs = sorted(set().union(*finite))
    table = np.full((len(finite), len(epochs)), np.nan)
    place = {epoch: i for i, epoch in enumerate(epochs)}
    for row, run in zip(table, finite):
        for epoch, value in _smoothed(run, float(smoothing)).items():
            row[place[epoch]] = value
    count = np.isfinite(table).sum(axis=0)
    low, high = BANDS[band or "range"]
    lower, middle, upper = (
        np.nanquantile(table, [low, 0.5, high], axis=0) if epochs else np.empty((3, 0))
    )
    banded = (count >= 2) & (band is not None)
    return Curve(
        np.array(epochs),
        middle,
        np.where(banded, lower, np.nan),
        np.where(banded, upper, np.nan),
        count,
        len(given),
        sum(len(f) < len(r) for f, r in zip(finite, found)),
    )


def _values(run: Any, key: str, owner: str) -> dict[int, float]:
    """The values of a run by epoch, counted from 1."""
    lists = getattr(run, "history", run)
    if not isinstance(lists, Mapping):
        raise TypeError(
            f"A run of {owner} must be a History or a dictionary of lists. Received: "
            f"{run!r}"
        )
    if key not in lists:
        raise ValueError(
            f"A run of {owner} has no {key!r}. It has: {', '.join(map(str, lists))}"
        )
    values = [float(value) for value in lists[key]]
    epochs = lists.get("epoch", getattr(run, "epoch", range(len(values))))
    if len(epochs) != len(values):
        raise ValueError(
            f"A run of {owner} has {len(values)} values of {key!r} in {len(epochs)} "
            "epochs, and which they belong to is not known: pass a dictionary with "
            "their epochs, counted from 0, as 'epoch'."
        )
    return {int(epoch) + 1: value for epoch, value in zip(epochs, values)}


def _until_not_finite(run: dict[int, float]) -> dict[int, float]:
    found = {}
    for epoch, value in run.items():
        if not math.isfinite(value):
            break
        found[epoch] = value
    return found


def _smoothed(run: dict[int, float], decay: float) -> dict[int, float]:
    found, average = {}, 0.0
    for step, (epoch, value) in enumerate(run.items(), 1):
        average = decay * average + (1.0 - decay) * value
        found[epoch] = average / (1.0 - decay**step)
    return found


def _legend(label: str, found: Curve) -> str:
    words = [f"{found.total} runs"] if found.total > 1 else []
    if found.diverged:
        words.append(f"{found.diverged} not finite in the end")
    return f"{label} ({', '.join(words)})" if words else label


def _require_positive(found: Curve, owner: str) -> None:
    for values in (found.middle, found.lower):
        if (values <= 0.0).any():
            epoch = found.epochs[values <= 0.0][0]
            raise ValueError(
                "Argument `log` needs positive values; "
                f"{owner} has {values[values <= 0.0][0]:g} in epoch {epoch}."
            )


def draw_curve(axes: Axes, found: Curve, label: str, style: dict[str, Any]) -> None:
    """Draw a line with its band; it is dotted where runs have ended already."""
    # The last epoch that no run has ended before.
    complete = np.flatnonzero(found.runs == found.runs.max(initial=0))
    ended = int(complete[-1]) if len(complete) else 0
    head, tail = slice(ended + 1), slice(ended, None)
    alone: dict[str, Any] = {"marker": "o"} if len(found.epochs) == 1 else {}
    axes.plot(found.epochs[head], found.middle[head], label=label, **style, **alone)
    if ended + 1 < len(found.epochs):
        dotted: dict[str, Any] = {**style, "linestyle": (0, (1, 2))}
        axes.plot(found.epochs[tail], found.middle[tail], **dotted)
    axes.fill_between(
        found.epochs, found.lower, found.upper, color=style["color"], alpha=0.2, lw=0
    )
