"""TensorFlow: the whole update compiled by XLA wherever that is possible."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import math
import platform
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from keras_adamx.core import jobs as work

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer
    from keras_adamx.core.program import Program
    from keras_adamx.core.values import Common, Scalars

logger = logging.getLogger("keras_adamx")

# Variables in a part that is compiled once for all parts like it. XLA takes some 15 ms
# for the update of a variable. A call of a part costs nothing in a graph and some
# 0.4 ms in eager mode, where the parts are therefore larger.
GRAPH_PART = 16
EAGER_PART = 64

# From how many elements on a sum is taken in pieces, and in how many.
LARGE = 1024
PIECES = 8
# Whether XLA compiles what is traced now.
_within_xla = contextvars.ContextVar("within_xla", default=False)

# A step with everything bound but gradients, rows and scalars. It returns which of the
# gradients are finite, and whether all are.
Step = Callable[[list[Any], list[work.Rows], Any], tuple[Any, Any]]


def added(total: Any, gradient: Any) -> Any:
    return total + gradient


def as_bits(x: Any) -> Any:
    return tf.bitcast(x, tf.int32)


def from_bits(x: Any) -> Any:
    return tf.bitcast(x, tf.float32)


def gradient_of(function: Any, at: tuple[Any, ...]) -> tuple[Any, ...]:
    with tf.GradientTape() as tape:
        tape.watch(at)
        value = function(*at)
    zero = tf.UnconnectedGradients.ZERO
    return tuple(tape.gradient(value, at, unconnected_gradients=zero))


def to_dense(gradient: Any) -> Any:
    if isinstance(gradient, tf.Tensor):
        return gradient
    # Converting IndexedSlices sums the rows that occur more than once.
    return tf.convert_to_tensor(gradient)


def to_rows(gradient: Any) -> work.Rows | None:
    if not isinstance(gradient, tf.IndexedSlices):
        return None
    if tf.distribute.has_strategy():
        raise NotImplementedError(
            "sparse='lazy' does not work under a distribution strategy. Use "
            "sparse='dense'."
        )
    # As many rows as were given, however many of them are different: what follows has
    # static shapes. Rows that are left over stay zero.
    inverse = tf.unique(gradient.indices)[1]
    number = tf.shape(gradient.indices)[0]
    summed = tf.math.unsorted_segment_sum(gradient.values, inverse, number)
    return work.Rows(gradient.indices, summed, inverse)


def kept(x: Any) -> Any:
    return x


def total(x: Any) -> Any:
    number = x.shape.num_elements()
    if not _within_xla.get() or number is None or number < LARGE or not on_cpu(x):
        return tf.reduce_sum(x)
    # XLA adds up one by one on a processor. Pieces are added as vectors.
    flat = tf.reshape(x, (-1,))
    length = number // PIECES
    pieces = [flat[i * length : (i + 1) * length] for i in range(PIECES)]
    found = tf.reduce_sum(tf.add_n(pieces))
    rest = flat[PIECES * length :]
    return found + tf.reduce_sum(rest) if rest.shape[0] else found


def when(condition: Any, function: Any, values: list[Any]) -> list[Any]:
    # A loop of one turn or none: XLA runs loops in place, but copies what passes
    # through a conditional.
    def body(_: Any, *values: Any) -> tuple[Any, ...]:
        return (tf.constant(False), *function(list(values)))

    start = (tf.convert_to_tensor(condition), *values)
    return list(tf.while_loop(lambda turn, *_: turn, body, start)[1:])


def map_elementwise(
    update: work.Update, jobs: list[work.Job]
) -> list[tuple[Any, dict[str, Any]]]:
    # Never concatenated: XLA takes seconds to compile the copies, and they cost more
    # than they save.
    return [update(job) for job in jobs]


def new_variable(optimizer: Optimizer, reference: Any, **arguments: Any) -> Any:
    variable, here = native(reference), tf.distribute.get_strategy()
    # The strategy that made the variable: a callback is called outside of its scope.
    there = getattr(variable, "distribute_strategy", None) or here
    with (
        contextlib.nullcontext() if there is here else there.scope(),
        there.extended.colocate_vars_with(variable),
    ):
        return optimizer.add_variable(**arguments)


class Executor:
    """Runs programs and keeps what was compiled for them."""

    def __init__(self, jit_compile: bool | str) -> None:
        self._jit_compile = jit_compile
        self._compiled: dict[Any, Any] = {}
        self._said: set[str] = set()

    def run(
        self,
        program: Program,
        gradients: list[Any],
        rows: list[work.Rows],
        scalars: Scalars,
    ) -> Any:
        if tf.distribute.has_strategy():
            self._say("a distribution strategy is in use")
            finite_each, finite = _distributed_step(program, gradients, scalars)
        else:
            eager = tf.executing_eagerly()
            key = (program.key, eager)
            if key not in self._compiled:
                self._compiled[key] = self._step(program, eager)
            finite_each, finite = self._compiled[key](gradients, rows, scalars)
        if program.optimizer.nonfinite == "raise":
            _refuse_nonfinite(program, finite_each)
        return finite

    def _step(self, program: Program, eager: bool) -> Step:
        """The step as XLA programs, or as it is where that cannot be."""
        variables = [native(v) for v in (*program.variables, *program.shared)]
        obstacle = None
        if self._jit_compile is False:
            obstacle = "jit_compile=False"
        elif len({variable.device for variable in variables}) > 1:
            obstacle = "the variables are on several devices"
        elif platform.system() == "Darwin" and tf.config.list_physical_devices("GPU"):
            obstacle = "XLA does not compile for this GPU"
        if obstacle is not None:
            self._say(obstacle)
            return _in_parts(program, 1 << 30, lambda function: function, eager)
        size = EAGER_PART if eager else GRAPH_PART
        if program.has_statistics:
            size = len(program.entries) + 1
        return _in_parts(program, size, _compiled, eager)

    def _say(self, obstacle: str) -> None:
        if obstacle not in self._said:
            self._said.add(obstacle)
            logger.debug("The update is not compiled by XLA: %s.", obstacle)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same compiled by XLA."""
    # A partial function counts as one of its own: TensorFlow would take functions of
    # the same code for one that is traced again and again, and warn.
    traced = functools.partial(_traced_within_xla, function)
    compiled: Callable[..., Any] = tf.function(
        traced, jit_compile=True, autograph=False
    )
    return compiled


def _traced_within_xla(function: Callable[..., Any], *arguments: Any) -> Any:
    token = _within_xla.set(True)
    try:
        return function(*arguments)
    finally:
        _within_xla.reset(token)


def _in_parts(
    program: Program, size: int, compiled: Callable[[Any], Any], eager: bool
) -> Step:
    """A step as one function, or as one for all variables and one for those alike."""
    parts = program.parts(size)
    variables = [native(variable) for variable in program.variables]
    shared = [native(variable) for variable in program.shared]
    if len(parts) == 1 and not program.rows:
        function = compiled(functools.partial(_whole, program))
        return lambda gradients, rows, scalars: function(
            variables, shared, gradients, scalars
        )
    head = compiled(functools.partial(_head, program))
    accumulators = program.accumulators(variables)
    functions: dict[Any, Any] = {}
    bound = []
    for part, positions in parts:
        if part.key not in functions:
            functions[part.key] = compiled(functools.partial(_tail, part))
        own = [native(variable) for variable in part.variables]
        bound.append((functions[part.key], own, positions))
    # Not for XLA, which would copy the whole variable to change a few rows.
    update_rows = functools.partial(_update_rows, program)
    if eager:
        update_rows = tf.function(update_rows, autograph=False, reduce_retracing=True)

    def step(
        gradients: list[Any], rows: list[work.Rows], scalars: Scalars
    ) -> tuple[Any, Any]:
        given = [*gradients, *(row.summed for row in rows)]
        common = head(shared, accumulators, given, scalars)
        for function, own, positions in bound:
            if own:
                function(own, [gradients[i] for i in positions], common)
        if rows:
            update_rows(rows, common)
        return common.finite_each, common.finite

    return step


def _whole(
    program: Program,
    variables: list[Any],
    shared: list[Any],
    gradients: list[Any],
    scalars: Scalars,
) -> tuple[Any, Any]:
    accumulators = program.accumulators(variables)
    common = _head(program, shared, accumulators, gradients, scalars, variables)
    _tail(program, variables, gradients, common)
    return common.finite_each, common.finite


def _head(
    program: Program,
    shared: list[Any],
    accumulators: list[Any],
    gradients: list[Any],
    scalars: Scalars,
    variables: list[Any] | None = None,
) -> Common:
    new, common = program.common(
        [read(x) for x in shared],
        [read(x) for x in accumulators],
        gradients,
        scalars,
        None if variables is None else [read(x) for x in variables],
    )
    for variable, value in zip(shared, new):
        variable.assign(value)
    return common


def _tail(
    program: Program, variables: list[Any], gradients: list[Any], common: Common
) -> None:
    new = program.update([read(variable) for variable in variables], gradients, common)
    for variable, value in zip(variables, new):
        variable.assign(value)


def _update_rows(program: Program, rows: list[work.Rows], common: Common) -> None:
    """Update the given rows of variables in place."""
    for entry, given in zip(program.rows, rows):
        variable = native(entry.variable)
        stored = {name: native(v) for name, v in entry.stored.items()}
        job = work.Job(
            gradient=None,
            weights=tf.gather(variable, given.indices),
            stored={n: tf.gather(v, given.indices) for n, v in stored.items()},
            positions=_positions(entry.shape, given.indices) if entry.random else None,
        )
        measured = program.optimizer.measured if program.optimizer.measuring else None
        table = None if measured is None else read(measured)
        weights, parts, table = program.updated_rows(entry, given, job, table, common)
        # A row that occurs twice is written twice, with the same values.
        variable.scatter_update(tf.IndexedSlices(weights, given.indices))
        for name, value in parts.items():
            stored[name].scatter_update(tf.IndexedSlices(value, given.indices))
        if measured is not None:
            measured.assign(table)
        if entry.average is not None:
            average = native(entry.average)
            old = [read(variable), read(average)]
            [weights], [mean] = program.averaged([old[0]], [old[1]], common)
            if common.due is not None:
                weights = tf.where(common.due, weights, old[0])
                mean = tf.where(common.due, mean, old[1])
            if program.optimizer.ema_overwrite_frequency is not None:
                variable.assign(weights)
            average.assign(mean)


def _positions(shape: tuple[int, ...], indices: Any) -> Any:
    """Numbers of the elements in some rows of a variable."""
    size = math.prod(shape[1:])
    first = tf.cast(indices, tf.int32)[:, None] * size
    return tf.reshape(first + tf.range(size)[None, :], (-1, *shape[1:]))


def _refuse_nonfinite(program: Program, finite_each: Any) -> None:
    if tf.executing_eagerly():
        program.refuse_nonfinite(finite_each)
    else:
        # XLA leaves assertions out; `finalize_variable_values` raises then.
        for name, each in zip(program.names, tf.unstack(finite_each)):
            message = f"A gradient is not finite. Nothing was changed. Variable: {name}"
            tf.debugging.Assert(each, [message])


def _distributed_step(
    program: Program, gradients: list[Any], scalars: Scalars
) -> tuple[Any, Any]:
    """Every replica computes the same new values from the summed gradients.

    The same but for the order in which its device adds up norms and products.
    """
    replica = tf.distribute.get_replica_context()
    gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    values = [read(variable) for variable in program.variables]
    shared = [read(variable) for variable in program.shared]
    new, common = program.common(
        shared, program.accumulators(values), gradients, scalars, values
    )
    new = [*program.update(values, gradients, common), *new]

    def assign(strategy: Any, values: list[Any]) -> None:
        for variable, value in zip((*program.variables, *program.shared), values):
            strategy.extended.update(
                native(variable),
                lambda target, value: target.assign(value),
                args=(value,),
                group=False,
            )

    replica.merge_call(assign, args=(new,))
    return common.finite_each, common.finite


# Our functions branch on no tensors: converting them would only take seconds of every
# trace.
not_converted = tf.autograph.experimental.do_not_convert

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


def reader(variables: list[Any]) -> Callable[[], list[np.ndarray]]:
    found = list(map(native, variables))
    default = tf.distribute.get_strategy()
    if any(
        getattr(v, "distribute_strategy", None) not in (None, default) for v in found
    ):
        return lambda: [read(variable).numpy() for variable in found]
    # What reading comes down to: a variable takes ten times as long over it.
    handles = [(variable.handle, variable.dtype) for variable in found]
    return lambda: [
        tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype).numpy()
        for handle, dtype in handles
    ]


def whole(variable: Any) -> Any:
    return read(variable)


def on_cpu(x: Any) -> bool:
    devices = tf.config.list_logical_devices()
    return all(device.device_type == "CPU" for device in devices)


@contextlib.contextmanager
def randomness_kept() -> Iterator[None]:
    # Seeds of operations whose seed is not given, after `tf.random.set_seed`; it may be
    # called meanwhile.
    owner = context.context()
    seed, generator = getattr(owner, "_seed", None), getattr(owner, "_rng", None)
    state = None if generator is None else generator.getstate()
    try:
        yield
    finally:
        owner._seed, owner._rng = seed, generator
        if generator is not None:
            generator.setstate(state)


def scope_of(model: Any) -> Any:
    return model.distribute_strategy.scope()


def differentiated(function: Any, variables: list[Any], compiled: bool) -> Any:
    def run(*arguments: Any) -> tuple[Any, Any, list[Any]]:
        with tf.GradientTape() as tape:
            loss, other = function(*arguments)
        gradients = tape.gradient(loss, [native(variable) for variable in variables])
        return loss, other, gradients

    return run


def applied(optimizer: Any, variables: list[Any], compiled: bool) -> Any:
    def step(gradients: list[Any]) -> None:
        optimizer.apply(gradients, variables)

    return step


def device_name() -> str | None:
    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        return None
    return str(tf.config.experimental.get_device_details(devices[0])["device_name"])


def timed(optimizer: Any, gradients: Any, variables: Any, jit_compile: bool) -> Any:
    @tf.function(jit_compile=jit_compile)
    def update() -> None:
        optimizer.apply(gradients, variables)

    def run() -> None:
        update()
        tf.test.experimental.sync_devices()

    return run
