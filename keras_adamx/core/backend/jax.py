"""JAX: inside a compiled training step the update is part of it; outside, compiled."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import jax
import keras

from keras_adamx.core import jobs as work

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer
    from keras_adamx.core.program import Program


def as_bits(x: Any) -> Any:
    return jax.lax.bitcast_convert_type(x, jax.numpy.int32)


def from_bits(x: Any) -> Any:
    return jax.lax.bitcast_convert_type(x, jax.numpy.float32)


def to_dense(gradient: Any) -> Any:
    if isinstance(gradient, jax.Array):
        return gradient
    return jax.numpy.asarray(gradient)


def map_elementwise(
    update: work.Update, jobs: list[work.Job]
) -> list[tuple[Any, dict[str, Any]]]:
    # Never concatenated: variables may be sharded, each in its own way.
    return [update(*job) for job in jobs]


def new_variable(optimizer: Optimizer, reference: Any, **arguments: Any) -> Any:
    return optimizer.add_variable(**arguments)


class Executor:
    """Runs programs and keeps what was compiled for them."""

    def __init__(self, jit_compile: bool | str) -> None:
        self._jit_compile = jit_compile
        self._compiled: dict[Any, Any] = {}

    def run(self, program: Program, gradients: list[Any], scalars: list[Any]) -> None:
        values = [read(variable) for variable in program.variables]
        traced = any(
            isinstance(x, jax.core.Tracer) for x in (*values, *gradients, *scalars)
        )
        if traced or self._jit_compile is False:
            run: Any = program
        else:
            if program.key not in self._compiled:
                self._compiled[program.key] = jax.jit(program)
            run = self._compiled[program.key]
        for variable, value in zip(program.variables, run(values, gradients, scalars)):
            variable.assign(value)


def assign(pairs: list[tuple[Any, Any]]) -> None:
    for target, source in pairs:
        # A copy: two variables that share one array cannot both be donated.
        target.assign(jax.numpy.array(source.value, copy=True))


outside_graph = contextlib.nullcontext


def read(x: Any) -> Any:
    return x.value if isinstance(x, keras.Variable) else x
