"""Workloads on real data, to compare optimizers on.

`workloads.get("fashion_mlp")` or `workloads.fashion_mlp` is a `Workload`. Making one
reads nothing: its data are read, and prepared the first time, by its `data()`.
"""

from __future__ import annotations

import difflib

from keras_adamx.compare.workload import Workload
from keras_adamx.compare.workloads import images, tables, text

__all__ = ["get", "names"]

# All that the modules declare, by name.
_DECLARED = {
    value.name: value
    for module in (images, tables, text)
    for value in vars(module).values()
    if isinstance(value, Workload)
}


def names() -> list[str]:
    """Names of the workloads, sorted.

    Example:
        >>> keras_adamx.compare.workloads.names()[:3]
        ['char_lm', 'diamonds', 'digits']
    """
    return sorted(_DECLARED)


def get(name: str) -> Workload:
    """A workload by name.

    Args:
        name: A name of `names()`.

    Raises:
        ValueError: There is no workload of that name.

    Example:
        >>> keras_adamx.compare.workloads.get("fashion_mlp").steps
        2145
    """
    if name not in _DECLARED:
        close = difflib.get_close_matches(str(name), _DECLARED)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"There is no workload {name!r}.{hint} Allowed: {', '.join(names())}"
        )
    return _DECLARED[name]


def __getattr__(name: str) -> Workload:
    if name not in _DECLARED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _DECLARED[name]


def __dir__() -> list[str]:
    return sorted([*globals(), *_DECLARED])
