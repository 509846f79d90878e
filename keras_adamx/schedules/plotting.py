"""Pictures of schedules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_adamx.core.schedules import Schedule

# A line of so many points looks smooth.
POINTS = 1000


def plot(schedule: Any, steps: int, *, ax: Any = None) -> Any:
    """Draw one schedule, or several to compare them.

    Needs matplotlib: `pip install "keras_adamx[plots]"`.

    Args:
        schedule: A schedule of this package or of Keras, a list of them, or a dict of
            label to schedule.
        steps: Number of steps >= 1 to draw, from 0 on.
        ax: Axes of matplotlib to draw into; None for a new figure.

    Returns:
        The Axes.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: `schedule` or `steps` is of the wrong type.
        ValueError: `steps` is out of its range, or there is no schedule.

    Example:
        >>> schedule = keras_adamx.schedules.OneCycle(0.1, total_steps=1000)
        >>> ax = keras_adamx.schedules.plot({"1cycle": schedule}, 1000)
        >>> ax.get_xlabel()
        'step'
    """
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise TypeError(f"plot: `steps` must be an integer >= 1. Received: {steps!r}")
    if steps < 1:
        raise ValueError(f"plot: `steps` must be an integer >= 1. Received: {steps}")
    labelled = _labelled(schedule)
    if ax is None:
        ax = _new_axes()
    shown = np.unique(np.linspace(0, steps - 1, min(steps, POINTS)).round())
    for label, each in labelled.items():
        ax.plot(shown, _values(each, shown.astype("int32")), label=label)
    ax.set_xlabel("step")
    ax.set_ylabel("value")
    ax.grid(visible=True, alpha=0.3)
    if len(labelled) > 1 or isinstance(schedule, Mapping):
        ax.legend()
    return ax


def _values(schedule: Any, steps: Any) -> Any:
    """The values at some steps: all at once, or one by one for schedules of Keras."""
    if _takes_arrays(schedule):
        return ops.convert_to_numpy(schedule(ops.convert_to_tensor(steps)))
    return [float(ops.convert_to_numpy(schedule(int(step)))) for step in steps]


def _takes_arrays(schedule: Any) -> bool:
    """Whether a schedule, and each within it, is of this package."""
    if not isinstance(schedule, Schedule):
        return False
    held = [getattr(schedule, name) for name in schedule.arguments]
    flat = [v for each in held for v in (each if isinstance(each, list) else [each])]
    return all(_takes_arrays(v) for v in flat if isinstance(v, LearningRateSchedule))


def _new_axes() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            'keras_adamx.schedules.plot needs matplotlib: pip install "keras_adamx'
            '[plots]"'
        ) from error
    return pyplot.subplots()[1]


def _labelled(schedule: Any) -> dict[str, Any]:
    """Schedules by their labels."""
    if isinstance(schedule, Mapping):
        found = {str(label): each for label, each in schedule.items()}
    elif isinstance(schedule, Iterable):
        found = {f"{i}: {type(s).__name__}": s for i, s in enumerate(schedule)}
    else:
        found = {type(schedule).__name__: schedule}
    if not found:
        raise ValueError(
            f"plot: `schedule` must have at least one schedule. Received: {schedule!r}"
        )
    for each in found.values():
        if not isinstance(each, LearningRateSchedule):
            raise TypeError(
                "plot: `schedule` must be a LearningRateSchedule, a list of them, or a "
                f"dict of label to schedule. Received: {each!r}"
            )
    return found
