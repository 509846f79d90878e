"""TensorFlow: the whole update compiled by XLA wherever that is possible."""

from __future__ import annotations

import functools
import logging
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_adamx.core import jobs as work

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer
    from keras_adamx.core.program import Program

logger = logging.getLogger("keras_adamx")

# Variables in a part that is compiled once for all parts like it. XLA takes some 15 ms
# for the update of a variable. A call of a part costs nothing in a graph and some
# 0.4 ms in eager mode, where the parts are therefore larger.
GRAPH_PART = 16
EAGER_PART = 64

# A step with everything bound but its gradients and scalars.
Step = Callable[[list[Any], list[Any]], None]


def as_bits(x: Any) -> Any:
    return tf.bitcast(x, tf.int32)


def from_bits(x: Any) -> Any:
    return tf.bitcast(x, tf.float32)


def to_dense(gradient: Any) -> Any:
    if isinstance(gradient, tf.Tensor):
        return gradient
    # Converting IndexedSlices sums the rows that occur more than once.
    return tf.convert_to_tensor(gradient)


def map_elementwise(
    update: work.Update, jobs: list[work.Job]
) -> list[tuple[Any, dict[str, Any]]]:
    # Never concatenated: XLA takes seconds to compile the copies, and they cost more
    # than they save.
    return [update(*job) for job in jobs]


def new_variable(optimizer: Optimizer, reference: Any, **arguments: Any) -> Any:
    with tf.distribute.get_strategy().extended.colocate_vars_with(native(reference)):
        return optimizer.add_variable(**arguments)


class Executor:
    """Runs programs and keeps what was compiled for them."""

    def __init__(self, jit_compile: bool | str) -> None:
        self._jit_compile = jit_compile
        self._compiled: dict[Any, Any] = {}
        self._said: set[str] = set()

    def run(self, program: Program, gradients: list[Any], scalars: list[Any]) -> None:
        if tf.distribute.has_strategy():
            self._say("a distribution strategy is in use")
            self._distributed_step(program, gradients, scalars)
            return
        eager = tf.executing_eagerly()
        key = (program.key, eager)
        if key not in self._compiled:
            part = EAGER_PART if eager else GRAPH_PART
            self._compiled[key] = self._compile(program, part)
        self._compiled[key](gradients, scalars)

    def _compile(self, program: Program, part: int) -> Step:
        """The step as XLA programs, or as it is where that cannot be."""
        if self._jit_compile is False:
            obstacle = "jit_compile=False"
        elif len({native(variable).device for variable in program.variables}) > 1:
            obstacle = "the variables are on several devices"
        elif platform.system() == "Darwin" and tf.config.list_physical_devices("GPU"):
            obstacle = "XLA does not compile for this GPU"
        else:
            return self._in_parts(program, part)
        self._say(obstacle)
        return functools.partial(self._step, program)

    def _in_parts(self, program: Program, size: int) -> Step:
        """Compiled programs for parts of the variables, one for all that are alike."""
        functions: dict[Any, Any] = {}
        parts = []
        for part, positions in program.parts(size):
            if part.key not in functions:
                functions[part.key] = self._function(part)
            variables = [native(variable) for variable in part.variables]
            parts.append((functions[part.key], variables, positions))

        def step(gradients: list[Any], scalars: list[Any]) -> None:
            for function, variables, positions in parts:
                function(variables, [gradients[i] for i in positions], scalars)

        return step

    @staticmethod
    def _function(program: Program) -> Any:
        def step(
            variables: list[Any], gradients: list[Any], scalars: list[Any]
        ) -> None:
            values = [tf.convert_to_tensor(variable) for variable in variables]
            for variable, value in zip(variables, program(values, gradients, scalars)):
                variable.assign(value)

        return tf.function(step, jit_compile=True, autograph=False)

    def _say(self, obstacle: str) -> None:
        if obstacle not in self._said:
            self._said.add(obstacle)
            logger.debug("The update is not compiled by XLA: %s.", obstacle)

    @staticmethod
    def _step(program: Program, gradients: list[Any], scalars: list[Any]) -> None:
        values = [read(variable) for variable in program.variables]
        for variable, value in zip(
            program.variables, program(values, gradients, scalars)
        ):
            native(variable).assign(value)

    @staticmethod
    def _distributed_step(
        program: Program, gradients: list[Any], scalars: list[Any]
    ) -> None:
        """Every replica computes the same new values from the summed gradients."""
        replica = tf.distribute.get_replica_context()
        gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        values = [read(variable) for variable in program.variables]

        def assign(strategy: Any, values: list[Any]) -> None:
            for variable, value in zip(program.variables, values):
                strategy.extended.update(
                    native(variable),
                    lambda target, value: target.assign(value),
                    args=(value,),
                    group=False,
                )

        replica.merge_call(assign, args=(program(values, gradients, scalars),))


# Keras builds an optimizer while it traces the training step.
outside_graph = tf.init_scope


def assign(pairs: list[tuple[Any, Any]]) -> None:
    for target, source in pairs:
        # The strategy that made the variable: `fit` ends outside of its scope.
        variable = native(target)
        default = tf.distribute.get_strategy()
        strategy = getattr(variable, "distribute_strategy", None) or default
        strategy.extended.update(
            variable,
            lambda a, b: a.assign(tf.cast(b, a.dtype)),
            args=(native(source),),
        )


def native(variable: Any) -> Any:
    """The tf.Variable of a Keras variable; a bare tf.Variable is its own."""
    return variable.value if isinstance(variable, keras.Variable) else variable


def read(x: Any) -> Any:
    """The value as a tensor; Keras' own conversion returns variables as they are."""
    return tf.convert_to_tensor(native(x))
