"""The update of some rows of a variable, the others staying as they are."""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops

from keras_adamx.core import measures
from keras_adamx.core.clipping import clipped
from keras_adamx.core.jobs import Job, Rows
from keras_adamx.core.slots import Hyper
from keras_adamx.core.update import updated_variable
from keras_adamx.core.values import Common, Entry


class Updated(NamedTuple):
    """New values of the rows of weights and state, and what was measured."""

    weights: Any
    stored: dict[str, Any]
    measures: Any


def updated(
    entry: Entry,
    hyper: Hyper,
    rows: Rows,
    job: Job,
    vector: Any,
    common: Common,
    slots: bool,
) -> Updated:
    """Update the rows that have a gradient.

    Args:
        entry: The variable.
        hyper: What its rule may know.
        rows: Its gradient.
        job: The rows of weights and state, without a gradient.
        vector: What was measured before, or None.
        common: What all updates of the step need.
        slots: Whether the norms of slots are measured.
    """
    given = rows.summed
    summed = clipped(given, hyper, common.norm)
    job = job._replace(gradient=ops.take(summed, rows.inverse, axis=0))
    weights, stored = updated_variable(entry, hyper, common.seed, job)
    measured = None
    if vector is not None:
        gradient = ops.take(given, rows.inverse, axis=0)
        moved = [job.weights, weights]
        share = _share(rows, entry.shape)
        measured = measures.of_update(
            entry, vector, gradient, job.gradient, moved, stored, slots, share
        )
        if common.finite is not None:
            [vector] = measures.counted([vector], [given])
    if common.due is None:
        return Updated(weights, stored, measured)
    return Updated(
        ops.where(common.due, weights, job.weights),
        {n: ops.where(common.due, v, job.stored[n]) for n, v in stored.items()},
        None if vector is None else ops.where(common.due, measured, vector),
    )


def _share(rows: Rows, shape: tuple[int, ...]) -> Any:
    """Of each given row one over how often it is given."""
    once = ops.ones_like(rows.inverse, "float32")
    often = ops.segment_sum(once, rows.inverse, rows.summed.shape[0])
    share = 1.0 / ops.take(often, rows.inverse)
    return ops.reshape(share, (-1, *(1 for _ in shape[1:])))
