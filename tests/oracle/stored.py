"""Reading the stored trajectories of reference implementations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FOLDER = Path(__file__).parent / "trajectories"
CASES = sorted(path.stem for path in FOLDER.glob("*.json"))


class Stored(NamedTuple):
    """What one file holds: a class, its arguments and the path it must follow."""

    optimizer: str
    arguments: dict[str, Any]
    weights: list[np.ndarray]
    gradients: list[list[np.ndarray]]
    trajectory: list[list[np.ndarray]]
    #: Weights to evaluate with after the last step, where they are others.
    evaluated: list[np.ndarray] | None


def arrays(step: list[Any]) -> list[np.ndarray]:
    """Turn the nested lists of one step into one array a tensor."""
    return [np.array(tensor, dtype="float64") for tensor in step]


def load(case: str) -> Stored:
    """Read one file by its name without the ending."""
    content = json.loads((FOLDER / f"{case}.json").read_text(encoding="utf-8"))
    return Stored(
        content["optimizer"],
        content["arguments"],
        arrays(content["weights"]),
        [arrays(step) for step in content["gradients"]],
        [arrays(step) for step in content["trajectory"]],
        arrays(content["evaluated"]) if "evaluated" in content else None,
    )
