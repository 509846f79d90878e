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
    """New values of some rows of weights and state, and of the table of measures."""

    weights: Any
    stored: dict[str, Any]
    measured: Any


def updated(
    entry: Entry,
    hyper: Hyper,
    rows: Rows,
    job: Job,
    table: Any,
    common: Common,
    slots: bool,
) -> Updated:
    """Update the rows that have a gradient.

    Args:
        entry: The variable.
        hyper: What its rule may know.
        rows: Its gradient.
        job: The rows of weights and state, without a gradient.
        table: What was measured before, or None.
        common: What all updates of the step need.
        slots: Whether the norms of slots are measured.
    """
    summed = clipped(rows.summed, hyper, common.norm)
    job = job._replace(gradient=ops.take(summed, rows.inverse, axis=0))
    weights, stored = updated_variable(entry, hyper, common.seed, job)
    measured = None
    if table is not None:
        given = ops.take(rows.summed, rows.inverse, axis=0)
        gradients, moved = (given, job.gradient), (job.weights, weights)
        move = measures.moved(entry, gradients, moved, stored, slots)
        share = _root_of_share(rows, entry.shape)
        measured = measures.updated(table, [_scaled(move, share)], common)
        if common.finite is not None:
            finite = ops.all(ops.isfinite(rows.summed))[None]
            table = measures.counted(table, [entry.position], finite)
    if common.due is None:
        return Updated(weights, stored, measured)
    return Updated(
        ops.where(common.due, weights, job.weights),
        {n: ops.where(common.due, v, job.stored[n]) for n, v in stored.items()},
        None if table is None else ops.where(common.due, measured, table),
    )


def _root_of_share(rows: Rows, shape: tuple[int, ...]) -> Any:
    """Root of one over how often each given row is given."""
    once = ops.ones_like(rows.inverse, "float32")
    often = ops.segment_sum(once, rows.inverse, rows.summed.shape[0])
    share = ops.rsqrt(ops.take(often, rows.inverse))
    return ops.reshape(share, (-1, *(1 for _ in shape[1:])))


def _scaled(move: measures.Move, share: Any) -> measures.Move:
    """The same with all rows scaled, so that those given repeatedly count once."""

    def scaled(x: Any) -> Any:
        return x * ops.cast(share, x.dtype)

    gradient = scaled(move.gradient)
    same = move.clipped is move.gradient
    return measures.Move(
        move.position,
        gradient,
        gradient if same else scaled(move.clipped),
        scaled(move.before),
        scaled(move.step),
        [scaled(slot) for slot in move.slots],
    )
