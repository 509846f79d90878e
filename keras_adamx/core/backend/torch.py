"""PyTorch: runs op by op, in pieces that stay in the processor's cache."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import torch

from keras_adamx.core import jobs as work

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer
    from keras_adamx.core.program import Program

# Elements that an update works on at a time. Its temporaries then stay in the cache,
# and the fixed cost of an operation is small beside the work on so many elements.
PIECE = 1 << 17


def as_bits(x: Any) -> Any:
    return x.view(torch.int32)


def from_bits(x: Any) -> Any:
    return x.view(torch.float32)


def to_dense(gradient: Any) -> Any:
    if not isinstance(gradient, torch.Tensor):
        return keras.ops.convert_to_tensor(gradient)
    return gradient.to_dense() if gradient.is_sparse else gradient


def map_elementwise(
    update: work.Update, jobs: list[work.Job]
) -> list[tuple[Any, dict[str, Any]]]:
    """As elsewhere, but slots, and weights of the state's dtype, change in place."""
    results: list[Any] = [None] * len(jobs)
    batch: list[_Flat] = []
    waiting = 0
    for i, job in enumerate(jobs):
        if not all(x.is_contiguous() for x in _tensors(job)):
            results[i] = update(*job)
            continue
        exact = job.weights
        if exact.dtype != job.gradient.dtype:
            exact = torch.empty_like(job.gradient)
        results[i] = (exact, job.slots)
        whole = _Flat(
            [x.reshape(-1) for x in _tensors(job)],
            [x.reshape(-1) for x in (exact, *job.slots.values())],
        )
        names = list(job.slots)
        for piece in whole.pieces():
            batch.append(piece)
            waiting += piece.size
            if waiting >= PIECE:
                _update_batch(update, names, batch)
                batch, waiting = [], 0
    if batch:
        _update_batch(update, names, batch)
    return results


class _Flat(NamedTuple):
    """Flat views: gradient, weights and slots to read; weights and slots to write."""

    sources: list[Any]
    targets: list[Any]

    @property
    def size(self) -> int:
        return self.sources[0].numel()

    def pieces(self) -> Iterator[_Flat]:
        if self.size <= PIECE:
            yield self
            return
        parts = zip(
            zip(*(x.split(PIECE) for x in self.sources)),
            zip(*(x.split(PIECE) for x in self.targets)),
        )
        for sources, targets in parts:
            yield _Flat(list(sources), list(targets))


def _tensors(job: work.Job) -> list[Any]:
    return [job.gradient, job.weights, *job.slots.values()]


def _update_batch(update: work.Update, names: list[str], batch: list[_Flat]) -> None:
    columns = zip(*(piece.sources for piece in batch))
    gradient, weights, *slots = (
        torch.cat(column) if len(batch) > 1 else column[0] for column in columns
    )
    new_weights, new_slots = update(gradient, weights, dict(zip(names, slots)))
    sizes = [piece.size for piece in batch]
    new = [new_weights, *(new_slots[name] for name in names)]
    for value, targets in zip(new, zip(*(piece.targets for piece in batch))):
        torch._foreach_copy_(list(targets), list(value.split(sizes)))


def new_variable(optimizer: Optimizer, reference: Any, **arguments: Any) -> Any:
    return optimizer.add_variable(**arguments)


class Executor:
    """Runs programs and keeps what was compiled for them."""

    def __init__(self, jit_compile: bool | str) -> None:
        self._jit_compile = jit_compile

    @torch.no_grad()
    def run(self, program: Program, gradients: list[Any], scalars: list[Any]) -> None:
        values = [read(variable) for variable in program.variables]
        for variable, value in zip(
            program.variables, program(values, gradients, scalars)
        ):
            variable.value.copy_(value)


@torch.no_grad()
def assign(pairs: list[tuple[Any, Any]]) -> None:
    for target, source in pairs:
        target.value.copy_(source.value)


outside_graph = contextlib.nullcontext


def read(x: Any) -> Any:
    # Detached: what a step computes is no part of the user's graph.
    return x.value.detach() if isinstance(x, keras.Variable) else x
