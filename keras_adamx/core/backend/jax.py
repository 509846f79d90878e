"""JAX: inside a compiled training step the update is part of it; outside, compiled."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

from keras_adamx.core import jobs as work

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer
    from keras_adamx.core.program import Program
    from keras_adamx.core.values import Scalars


def added(total: Any, gradient: Any) -> Any:
    return total + gradient


def as_bits(x: Any) -> Any:
    return jax.lax.bitcast_convert_type(x, jax.numpy.int32)


def from_bits(x: Any) -> Any:
    return jax.lax.bitcast_convert_type(x, jax.numpy.float32)


def gradient_of(function: Any, at: tuple[Any, ...]) -> tuple[Any, ...]:
    return jax.grad(function, argnums=tuple(range(len(at))))(*at)


def to_dense(gradient: Any) -> Any:
    if isinstance(gradient, jax.Array):
        return gradient
    return jax.numpy.asarray(gradient)


def to_rows(gradient: Any) -> None:
    return None  # JAX differentiates a look-up to a dense gradient.


def kept(x: Any) -> Any:
    return x


total = jax.numpy.sum


def when(condition: Any, function: Any, values: list[Any]) -> list[Any]:
    # A loop of one turn or none: XLA runs loops in place, but copies what passes
    # through a conditional.
    def body(state: tuple[Any, list[Any]]) -> tuple[Any, list[Any]]:
        return jax.numpy.zeros((), bool), function(state[1])

    start = (jax.numpy.asarray(condition), list(values))
    return jax.lax.while_loop(lambda state: state[0], body, start)[1]


def map_elementwise(
    update: work.Update, jobs: list[work.Job]
) -> list[tuple[Any, dict[str, Any]]]:
    # Never concatenated: variables may be sharded, each in its own way.
    return [update(job) for job in jobs]


def new_variable(optimizer: Optimizer, reference: Any, **arguments: Any) -> Any:
    return optimizer.add_variable(**arguments)


class Executor:
    """Runs programs and keeps what was compiled for them."""

    def __init__(self, jit_compile: bool | str) -> None:
        self._jit_compile = jit_compile
        self._compiled: dict[Any, Any] = {}

    def run(
        self, program: Program, gradients: list[Any], rows: list[Any], scalars: Scalars
    ) -> Any:
        values = [read(variable) for variable in program.variables]
        shared = [read(variable) for variable in program.shared]
        traced = any(
            isinstance(x, jax.core.Tracer)
            for x in jax.tree.leaves((values, shared, gradients, scalars))
        )
        step: Any = functools.partial(_step, program)
        if not traced and self._jit_compile is not False:
            if program.key not in self._compiled:
                self._compiled[program.key] = jax.jit(step)
            step = self._compiled[program.key]
        values, shared, finite_each, finite = step(values, shared, gradients, scalars)
        if program.optimizer.nonfinite == "raise":
            if traced:  # An error in here would leave the donated state deleted.
                jax.debug.callback(program.log_nonfinite, finite_each)
            else:
                program.refuse_nonfinite(finite_each)
        for variable, value in zip(
            (*program.variables, *program.shared), (*values, *shared)
        ):
            variable.assign(value)
        return finite


def _step(
    program: Program,
    values: list[Any],
    shared: list[Any],
    gradients: list[Any],
    scalars: Scalars,
) -> tuple[list[Any], list[Any], Any, Any]:
    shared, common = program.common(
        shared, program.accumulators(values), gradients, scalars, values
    )
    values = program.update(values, gradients, common)
    return values, shared, common.finite_each, common.finite


def assign(pairs: list[tuple[Any, Any]]) -> None:
    for target, source in pairs:
        # A copy: two variables that share one array cannot both be donated.
        target.assign(jax.numpy.array(source.value, copy=True))


def not_converted(function: Any) -> Any:
    return function


outside_graph = jax.ensure_compile_time_eval


def read(x: Any) -> Any:
    return x.value if isinstance(x, keras.Variable) else x


def reader(variables: list[Any]) -> Callable[[], list[np.ndarray]]:
    return lambda: [np.asarray(read(variable)) for variable in variables]


def whole(variable: Any) -> Any:
    value = read(variable)
    if value.is_fully_addressable or value.is_fully_replicated:
        return value
    # Parts of it are in other processes, which all come by here.
    return multihost_utils.process_allgather(value, tiled=True)


def on_cpu(x: Any) -> bool:
    return jax.default_backend() == "cpu"


def randomness_kept() -> Any:
    return contextlib.nullcontext()  # Keras keeps all of it in variables.


def scope_of(model: Any) -> Any:
    return contextlib.nullcontext()


def differentiated(function: Any, variables: list[Any], compiled: bool) -> Any:
    def pure(values: list[Any], arguments: Any) -> Any:
        mapping = list(zip(variables, values))
        # What the model assigns on its way ends with the scope.
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True):
            return function(*arguments)

    step = jax.value_and_grad(pure, has_aux=True)
    if compiled:
        step = jax.jit(step)

    def run(*arguments: Any) -> tuple[Any, Any, list[Any]]:
        values = [read(variable) for variable in variables]
        (loss, other), gradients = step(values, arguments)
        return loss, other, gradients

    return run


def applied(optimizer: Any, variables: list[Any], compiled: bool) -> Any:
    pure = jax.jit(optimizer.stateless_apply) if compiled else optimizer.stateless_apply

    def step(gradients: list[Any]) -> None:
        state = list(optimizer.variables)
        values = [read(variable) for variable in variables]
        new = pure([read(variable) for variable in state], gradients, values)
        for variable, value in zip((*variables, *state), (*new[0], *new[1])):
            variable.assign(value)

    return step


def device_name() -> str | None:
    device = jax.devices()[0]
    return None if device.platform == "cpu" else str(device.device_kind)


def timed(optimizer: Any, gradients: Any, variables: Any, jit_compile: bool) -> Any:
    # In the order of Keras' trainer. JAX gives the memory of an argument to the next
    # result of its shape: in another order, everything would be copied.
    def update(weights: Any, state: Any, gradients: Any) -> Any:
        return optimizer.stateless_apply(state, gradients, weights)

    step: Any = update
    if jit_compile:
        step = jax.jit(update, donate_argnums=(0, 1))
    state = [variable.value for variable in optimizer.variables]
    # Copies, since the memory of what goes in is given away.
    held = jax.tree.map(jax.numpy.array, [[v.value for v in variables], state])

    def run() -> None:
        held[:] = jax.block_until_ready(step(*held, gradients))

    return run
