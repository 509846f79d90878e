"""What a backend needs to know to run an update over many variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Job(NamedTuple):
    """The tensors of one variable that an update reads and returns anew."""

    gradient: Any
    weights: Any
    slots: dict[str, Any]


# From gradient, weights and slots to new weights and slots.
Update = Callable[[Any, Any, dict[str, Any]], tuple[Any, dict[str, Any]]]
