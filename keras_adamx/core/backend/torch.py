"""PyTorch: runs op by op, in pieces that stay in the processor's cache."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import torch

from keras_adamx.core import jobs as work

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer
    from keras_adamx.core.program import Program
    from keras_adamx.core.values import Scalars

# Elements that an update works on at a time. Its temporaries then stay in the cache,
# and the fixed cost of an operation is small beside the work on so many elements.
PIECE = 1 << 17


def added(total: Any, gradient: Any) -> Any:
    return total.add_(gradient)


def as_bits(x: Any) -> Any:
    return x.view(torch.int32)


def from_bits(x: Any) -> Any:
    return x.view(torch.float32)


def gradient_of(function: Any, at: tuple[Any, ...]) -> tuple[Any, ...]:
    with torch.enable_grad():
        at = tuple(x.detach().requires_grad_() for x in at)
        value = function(*at)
        return torch.autograd.grad(value, at, allow_unused=True, materialize_grads=True)


def to_dense(gradient: Any) -> Any:
    if not isinstance(gradient, torch.Tensor):
        return keras.ops.convert_to_tensor(gradient)
    return gradient.to_dense() if gradient.is_sparse else gradient


def to_rows(gradient: Any) -> None:
    return None  # Keras' look-up gives dense gradients.


def kept(x: Any) -> Any:
    return x.clone()


total = torch.sum


def when(condition: Any, function: Any, values: list[Any]) -> list[Any]:
    return function(values) if condition else values


def map_elementwise(
    update: work.Update, jobs: list[work.Job]
) -> list[tuple[Any, dict[str, Any]]]:
    """As elsewhere, but weights and state change in place, a piece at a time."""
    results: list[Any] = [None] * len(jobs)
    batch: list[work.Job] = []
    waiting = 0
    for i, job in enumerate(jobs):
        kept = list(job.stored.values())
        plain = all(
            x.is_contiguous() and x.dtype == job.gradient.dtype
            for x in (job.gradient, job.weights, *kept)
        )
        if not plain:
            results[i] = update(job)
            continue
        results[i] = (job.weights, job.stored)
        for piece in _pieces(job):
            batch.append(piece)
            waiting += piece.gradient.numel()
            if waiting >= PIECE:
                _update_batch(update, batch)
                batch, waiting = [], 0
    if batch:
        _update_batch(update, batch)
    return results


def _pieces(job: work.Job) -> Iterator[work.Job]:
    """Flat views of a job in pieces."""
    columns = [x.reshape(-1) for x in (job.gradient, job.weights, *job.stored.values())]
    for gradient, weights, *kept in zip(*(x.split(PIECE) for x in columns)):
        yield work.Job(gradient, weights, dict(zip(job.stored, kept)))


def _update_batch(update: work.Update, batch: list[work.Job]) -> None:
    names = list(batch[0].stored)
    if len(batch) > 1:
        joined = work.Job(
            torch.cat([piece.gradient for piece in batch]),
            torch.cat([piece.weights for piece in batch]),
            {n: torch.cat([piece.stored[n] for piece in batch]) for n in names},
        )
    else:
        joined = batch[0]
    weights, stored = update(joined)
    sizes = [piece.gradient.numel() for piece in batch]
    results = [weights, *(stored[n] for n in names)]
    if len(batch) == 1:
        results = _apart(results, [joined.weights, *joined.stored.values()])
    columns = [[piece.weights, *piece.stored.values()] for piece in batch]
    for value, targets in zip(results, zip(*columns)):
        torch._foreach_copy_(list(targets), list(value.split(sizes)))


def _apart(values: list[Any], targets: list[Any]) -> list[Any]:
    """The values, copied where they are another target, which is overwritten first."""
    owners = {x.untyped_storage().data_ptr(): i for i, x in enumerate(targets)}
    return [
        x.clone() if owners.get(x.untyped_storage().data_ptr(), i) != i else x
        for i, x in enumerate(values)
    ]


def new_variable(optimizer: Optimizer, reference: Any, **arguments: Any) -> Any:
    return optimizer.add_variable(**arguments)


class Executor:
    """Runs programs and keeps what was compiled for them."""

    def __init__(self, jit_compile: bool | str) -> None:
        self._jit_compile = jit_compile

    @torch.no_grad()
    def run(
        self, program: Program, gradients: list[Any], rows: list[Any], scalars: Scalars
    ) -> Any:
        values = [read(variable) for variable in program.variables]
        shared = [read(variable) for variable in program.shared]
        new, common = program.common(
            shared, program.accumulators(values), gradients, scalars, values
        )
        if program.optimizer.nonfinite == "raise":
            program.refuse_nonfinite(common.finite_each)
        new = [*program.update(values, gradients, common), *new]
        old = [*values, *shared]
        new = _apart(new, old)
        variables = [*program.variables, *program.shared]
        for variable, before, after in zip(variables, old, new):
            if after is not before:  # Else it has not changed, or in place.
                variable.value.copy_(after)
        return common.finite


@torch.no_grad()
def assign(pairs: list[tuple[Any, Any]]) -> None:
    for target, source in pairs:
        target.value.copy_(source.value)


def not_converted(function: Any) -> Any:
    return function


outside_graph = contextlib.nullcontext


def read(x: Any) -> Any:
    # Detached: what a step computes is no part of the user's graph.
    return x.value.detach() if isinstance(x, keras.Variable) else x


def reader(variables: list[Any]) -> Callable[[], list[np.ndarray]]:
    return lambda: [read(variable).cpu().numpy() for variable in variables]


def whole(variable: Any) -> Any:
    return read(variable)


def on_cpu(x: Any) -> bool:
    return x.device.type == "cpu"


@contextlib.contextmanager
def randomness_kept() -> Iterator[None]:
    used = torch.cuda.is_available() and torch.cuda.is_initialized()
    devices = [torch.cuda.current_device()] if used else []
    with torch.random.fork_rng(devices=devices):
        yield


def scope_of(model: Any) -> Any:
    return contextlib.nullcontext()


def differentiated(function: Any, variables: list[Any], compiled: bool) -> Any:
    def run(*arguments: Any) -> tuple[Any, Any, list[Any]]:
        with torch.enable_grad():
            loss, other = function(*arguments)
        gradients: list[Any] = [None] * len(variables)
        if variables and loss.requires_grad:
            values = [variable.value for variable in variables]
            gradients = list(torch.autograd.grad(loss, values, allow_unused=True))
        return loss, other, gradients

    return run


def applied(optimizer: Any, variables: list[Any], compiled: bool) -> Any:
    @torch.no_grad()
    def step(gradients: list[Any]) -> None:
        optimizer.apply(gradients, variables)

    return step


def device_name() -> str | None:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def timed(optimizer: Any, gradients: Any, variables: Any, jit_compile: bool) -> Any:
    step = applied(optimizer, variables, compiled=jit_compile)

    def run() -> None:
        step(gradients)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return run
