"""What a backend needs to know to run an update over many variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Job(NamedTuple):
    """The tensors of one variable that an update reads and returns anew."""

    gradient: Any
    weights: Any
    stored: dict[str, Any]
    # Numbers of the elements in the variable; None for all of them in order.
    positions: Any = None


class Rows(NamedTuple):
    """A gradient that is zero but for some rows, in which a row may occur repeatedly.

    `indices` names the rows as they came; `summed` has one row for each different one,
    and `inverse` says for each of `indices` which one that is.
    """

    indices: Any
    summed: Any
    inverse: Any


# From a job to new weights and state.
Update = Callable[[Job], tuple[Any, dict[str, Any]]]
