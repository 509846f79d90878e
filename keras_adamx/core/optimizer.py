"""The base class of every optimizer: a rule on one side, Keras on the other."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_adamx.core import backend, rounding, saving
from keras_adamx.core.arguments import (
    Argument,
    choice,
    count,
    flag,
    hyperparameter,
    rate,
    text,
)
from keras_adamx.core.bridge import KerasOptimizer, path_of
from keras_adamx.core.program import Entry, Program
from keras_adamx.core.slots import Hyper, Slot, State, Weights

_DEFAULT: Any = object()


class Optimizer(KerasOptimizer):
    """Base of all optimizers: subclass it to write a rule of your own.

    A rule names the `slots` that it keeps for a variable and computes a `direction`
    from a gradient; the weights move by minus the learning rate times the direction.
    Everything else is done here, for every rule alike.

    ```python
    from keras_adamx.rule import Optimizer, Slot, ema, hyperparameter

    class Momentum(Optimizer):
        elementwise = True
        decay: float = hyperparameter(0.9, at_least=0.0, below=1.0)

        def slots(self, weights):
            yield Slot("average")

        def direction(self, gradient, weights, state, hyper):
            state.average = ema(state.average, gradient, hyper.decay)
            return state.average
    ```

    Args:
        learning_rate: Number >= 0, `LearningRateSchedule` of Keras, or callable that
            takes nothing or the number of updates made so far.
        weight_decay: Number >= 0 or None. Decoupled: with every step the weights also
            move by -learning_rate * weight_decay * weights.
        clipnorm: Number > 0 or None. Largest l2 norm of the gradient of one variable.
        clipvalue: Number > 0 or None. Largest magnitude of one element of a gradient.
        global_clipnorm: Number > 0 or None. Largest l2 norm of all gradients together.
            At most one of the three clippings may be set.
        use_ema: Whether to keep an exponential moving average of the weights, which
            replaces them at the end of `fit`.
        ema_momentum: Decay of that average, in [0, 1].
        ema_overwrite_frequency: Replace the weights by their average after every so
            many updates; None for never during training.
        loss_scale_factor: Number > 0 or None. The loss is multiplied and the gradients
            are divided by it.
        gradient_accumulation_steps: Integer >= 2 or None. The update is made once in so
            many calls, with the mean of their gradients; schedules and bias corrections
            count updates.
        jit_compile: "auto", True or False: whether the update runs as one compiled
            program where Keras does not compile it anyway. "auto" and True do so on
            TensorFlow (XLA) and JAX; PyTorch runs op by op.
        name: Name of the optimizer and prefix of the paths of its state.

    Raises:
        TypeError: An argument is unknown or of the wrong type.
        ValueError: An argument is out of its range, or two clippings are set.
    """

    # Whether the direction of an element depends on no other element of the variable. A
    # backend may then cut large variables into pieces and join small ones.
    elementwise: ClassVar[bool] = False
    # Whether the direction already contains the learning rate.
    direction_includes_learning_rate: ClassVar[bool] = False
    # State that all variables share, advanced once a step by `begin_step`.
    shared_slots: ClassVar[tuple[Slot, ...]] = ()

    mutable = frozenset({"loss_scale_factor"})

    learning_rate: Any = rate(0.001)
    weight_decay: float | None = hyperparameter(None, at_least=0.0, optional=True)
    clipnorm: float | None = hyperparameter(None, above=0.0, optional=True)
    clipvalue: float | None = hyperparameter(None, above=0.0, optional=True)
    global_clipnorm: float | None = hyperparameter(None, above=0.0, optional=True)
    use_ema: bool = flag(False)
    ema_momentum: float = hyperparameter(0.99, at_least=0.0, at_most=1.0)
    ema_overwrite_frequency: int | None = count(None, optional=True)
    loss_scale_factor: float | None = hyperparameter(None, above=0.0, optional=True)
    gradient_accumulation_steps: int | None = count(None, at_least=2, optional=True)
    jit_compile: bool | str = choice("auto", ("auto", True, False))
    name: str | None = text(None, optional=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "update_step" in vars(cls):
            raise TypeError(
                f"{cls.__name__} overrides `update_step`, which derives from the rule: "
                "override `direction` instead."
            )
        _keep_keras_attributes(cls)
        package = cls.__module__.partition(".")[0]
        keras.saving.register_keras_serializable(package=package)(cls)

    def __init__(
        self, learning_rate: Any = _DEFAULT, *args: Any, **kwargs: Any
    ) -> None:
        if args:
            raise TypeError(
                f"{type(self).__name__} takes its arguments by name, all but the "
                f"learning rate. Received: {args!r} without names. Allowed: "
                f"{', '.join(self.arguments)}"
            )
        if learning_rate is not _DEFAULT:
            kwargs["learning_rate"] = learning_rate
        values = self.bind(kwargs)
        clippings = {
            name: values[name]
            for name in ("clipnorm", "clipvalue", "global_clipnorm")
            if values[name] is not None
        }
        if len(clippings) > 1:
            raise ValueError(
                f"{type(self).__name__}: only one of `clipnorm`, `clipvalue` and "
                f"`global_clipnorm` may be set. Received: {clippings}"
            )
        keras_names = Optimizer.arguments.keys() - {"jit_compile"}
        super().__init__(**{name: values[name] for name in keras_names})
        for name in values.keys() - keras_names:
            setattr(self, name, values[name])
        self.validate()
        self._programs: dict[Any, Program] = {}
        self._executor = backend.Executor(self.jit_compile)
        # Dtype and shape of the gradients that were checked last.
        self._accepted: dict[int, Any] = {}
        self.entries: tuple[Entry, ...] = ()
        self.shared_variables: dict[str, Any] = {}
        # The widest dtype in which any variable is updated.
        self.scalar_dtype = "float32"
        self.rounding_seed: Any = None
        self._pending: dict[str, Any] | None = None
        self._undecayed_keys: set[Any] = set()
        self._undecayed_names: list[re.Pattern[str]] = []

    # What a rule says.

    def validate(self) -> None:
        """Refuse arguments that are right one by one but not together."""

    def refuse(self, name: str, *, when: Any, reason: str) -> None:
        """Raise the error for an argument that the others rule out."""
        if when:
            raise ValueError(
                f"{type(self).__name__}: argument `{name}` {reason}. Received: "
                f"{name}={getattr(self, name)!r}"
            )

    def slots(self, weights: Weights) -> Iterable[Slot]:
        """The quantities that the rule keeps for a variable."""
        return ()

    def begin_step(self, shared: State, hyper: Hyper) -> None:
        """Advance the shared state, once a step, before any variable."""

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        """Where the weights go: they move by minus the learning rate times this.

        Args:
            gradient: Gradient, float32 (float64 for float64 weights), with the shape of
                the weights; it may be flat, or a part, where the rule is `elementwise`.
            weights: The weights before the step, same dtype and shape.
            state: The slots as attributes; set them to their new values.
            hyper: The hyper-parameters, `learning_rate`, `step` and `shared`.
        """
        raise NotImplementedError

    # What the core makes of it.

    @classmethod
    def hyperparameter_names(cls) -> list[str]:
        """Names of the numbers that only the rule itself reads."""
        return [n for n in cls.arguments if n not in Optimizer.arguments]

    def hyperparameters(self) -> dict[str, Any]:
        """The rule's own arguments by name."""
        return {name: getattr(self, name) for name in self.hyperparameter_names()}

    def update(
        self,
        entry: Entry,
        hyper: Hyper,
        weight_decay: float | None,
        gradient: Any,
        weights: Any,
        slots: dict[str, Any],
    ) -> tuple[Any, dict[str, Any]]:
        """Exact new weights and new slots of one variable; a pure function."""
        if entry.compute_dtype != self.scalar_dtype:
            hyper = hyper.cast(entry.compute_dtype)
        weights = ops.cast(weights, entry.compute_dtype)
        state = State(**slots)
        step = self.direction(gradient, weights, state, hyper)
        if not self.direction_includes_learning_rate:
            step = hyper.learning_rate * step
        if weight_decay:
            step = step + hyper.learning_rate * weight_decay * weights
        return weights - step, state.collect(entry.slots, type(self).__name__)

    def build(self, variables: Sequence[Any]) -> None:
        """Create the state for the variables of a model; a second call does nothing.

        Raises:
            TypeError: A variable is not of a floating-point dtype.
            ValueError: The optimizer was built for other variables before.
        """
        variables = list(variables)
        if self.built:
            self._positions(variables)
            self._load_pending()
            return
        for variable in variables:
            if not keras.backend.is_float_dtype(_dtype(variable)):
                raise TypeError(
                    f"{type(self).__name__} cannot train the variable "
                    f"'{path_of(variable)}' of dtype {_dtype(variable)}. Allowed: "
                    "floating-point dtypes. Set `trainable=False` on its layer."
                )
        self.keep(entries=tuple(self._new_entry(i, v) for i, v in enumerate(variables)))
        if any(entry.compute_dtype == "float64" for entry in self.entries):
            self.scalar_dtype = "float64"
        self.keep(
            shared_variables={
                slot.name: self.add_variable(
                    shape=slot.shape or (),
                    initializer=_constant(slot.initial),
                    dtype=self.scalar_dtype,
                    aggregation="only_first_replica",
                    name=slot.name,
                )
                for slot in self.shared_slots
            }
        )
        if any(entry.dtype in rounding.LOW_PRECISION for entry in self.entries):
            self.rounding_seed = self.add_variable(
                shape=(),
                initializer=_constant(_draw_seed()),
                dtype="int32",
                aggregation="only_first_replica",
                name="rounding_seed",
            )
        self.register(
            variables,
            [entry.average for entry in self.entries],
            [entry.accumulator for entry in self.entries],
        )
        saving.track_for_checkpoints(self)
        self._load_pending()

    def _load_pending(self) -> None:
        """Load what was read before the variables were known; again if it failed."""
        if self._pending is not None:
            with backend.outside_graph():
                saving.load(self, self._pending)
            self._pending = None

    def _new_entry(self, position: int, variable: Any) -> Entry:
        path, dtype, shape = path_of(variable), _dtype(variable), tuple(variable.shape)
        compute_dtype = rounding.compute_dtype(dtype)
        skipped = self.overwritten_by_gradient(variable)
        slots = () if skipped else tuple(self.slots(Weights(path, shape)))
        names = [slot.name for slot in slots]
        if len(set(names)) < len(names) or saving.RESERVED & set(names):
            raise ValueError(
                f"{type(self).__name__} must name its slots differently from each "
                f"other and from {sorted(saving.RESERVED)}. Received: {names}"
            )
        if self.elementwise and any(slot.shape not in (None, shape) for slot in slots):
            raise ValueError(
                f"{type(self).__name__} is `elementwise`: its slots must have the "
                f"shape of the weights. Received: {slots}"
            )

        def state(name: str, given: tuple[int, ...] | None, initial: float) -> Any:
            like_weights = given is None
            return backend.new_variable(
                self,
                variable,
                shape=shape if like_weights else given,
                initializer=_constant(initial),
                dtype=compute_dtype,
                layout=getattr(variable, "_layout", None) if like_weights else None,
                name=f"{path.replace('/', '_')}_{name}",
            )

        return Entry(
            position=position,
            variable=variable,
            path=path,
            shape=shape,
            dtype=dtype,
            compute_dtype=compute_dtype,
            slots=slots,
            slot_variables={s.name: state(s.name, s.shape, s.initial) for s in slots},
            average=state("average", None, 0.0)
            if self.use_ema and not skipped
            else None,
            accumulator=state("gradient_sum", None, 0.0)
            if self.gradient_accumulation_steps and not skipped
            else None,
            decayed=self.key(variable) not in self._undecayed_keys
            and not any(p.search(path) for p in self._undecayed_names),
        )

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[Any] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """Exclude variables from weight decay; to be called before `build`.

        What is excluded is saved with the state and restored with it.

        Args:
            var_list: Variables.
            var_names: Regular expressions, searched in the paths of the variables on
                every backend: "bias" excludes all biases, "head" all that the layer of
                this name holds.

        Raises:
            ValueError: The optimizer is built already.
        """
        if self.built:
            raise ValueError(
                f"{type(self).__name__}.exclude_from_weight_decay must be called "
                f"before the optimizer is built. Received: var_list={var_list}, "
                f"var_names={var_names}"
            )
        self._undecayed_keys |= {self.key(variable) for variable in var_list or ()}
        self._undecayed_names += [re.compile(name) for name in var_names or ()]

    def restore_decayed(self, decayed: Sequence[bool]) -> None:
        """Take over which variables decay, unless this optimizer has its own say."""
        if self._undecayed_keys or self._undecayed_names:
            return
        if [entry.decayed for entry in self.entries] == list(decayed):
            return
        if self._programs:
            raise ValueError(
                f"{type(self).__name__}: the saved state excludes other variables from "
                "weight decay than this optimizer, which has made steps already. Load "
                "before the first step, or call `exclude_from_weight_decay` before it."
            )
        self.keep(
            entries=tuple(e._replace(decayed=d) for e, d in zip(self.entries, decayed))
        )

    def _positions(self, variables: Sequence[Any]) -> list[int]:
        """Positions of known variables."""
        positions = []
        for variable in variables:
            position = self.index(variable)
            if position is None:
                raise ValueError(
                    f"{type(self).__name__} was built for other variables and does not "
                    f"know '{path_of(variable)}' of shape {tuple(variable.shape)}. It "
                    f"knows {[entry.path for entry in self.entries]}. Create a new "
                    "optimizer for other variables."
                )
            positions.append(position)
        return positions

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None
    ) -> None:
        """Make one step.

        Args:
            grads: One gradient a variable, of its shape; None where the loss does not
                depend on the variable, which then stays as it is.
            trainable_variables: The variables; by default those given to `build`. The
                first call builds the optimizer for them.

        Raises:
            ValueError: Gradients and variables do not match, a variable is unknown or
                given twice, or there is no gradient at all.
        """
        grads = list(grads)
        if not grads:
            return
        if trainable_variables is None:
            if not self.built:
                raise ValueError(
                    f"{type(self).__name__} must be built before `apply(grads)` can do "
                    "without `trainable_variables`. Call "
                    "`optimizer.build(model.trainable_variables)` first."
                )
            trainable_variables = self.registered
        variables = list(trainable_variables)
        if len(grads) != len(variables):
            raise ValueError(
                "`grads` must have one gradient (or None) for each variable. Received: "
                f"{len(grads)} gradients for {len(variables)} variables."
            )
        if not self.built or self._pending is not None:
            self.build(variables)
        positions = self._positions(variables)
        if len(set(positions)) < len(positions):
            raise ValueError(
                "`trainable_variables` names a variable more than once. Received: "
                f"{[path_of(variable) for variable in variables]}"
            )
        by_position = {
            position: gradient
            for position, gradient in sorted(zip(positions, grads), key=lambda p: p[0])
            if gradient is not None
        }
        if not by_position:
            raise ValueError(
                "`grads` has no gradient for any variable. Received: None for "
                f"{[path_of(variable) for variable in variables]}. Does the loss "
                "depend on them, and was it computed inside the gradient tape?"
            )
        self._step(by_position)
        self.gradients_seen.assign_add(1)

    def _step(self, by_position: dict[int, Any]) -> None:
        entries = [self.entries[position] for position in by_position]
        gradients = list(by_position.values())
        if any(self.overwritten_by_gradient(entry.variable) for entry in entries):
            gradients, variables = self.overwrite_by_gradients(
                gradients, [entry.variable for entry in entries]
            )
            entries = [self.entries[i] for i in self._positions(variables)]
            if not entries:
                return
        gradients = [
            self._checked(gradient, entry)
            for gradient, entry in zip(gradients, entries)
        ]
        program = self._program(entries)
        self._executor.run(program, gradients, self._scalars(self.learning_rate))
        for entry in entries:
            if entry.variable.constraint is not None:
                entry.variable.assign(entry.variable.constraint(entry.variable))

    def _scalars(self, learning_rate: Any) -> list[Any]:
        """What a program takes beside values and gradients."""
        seed = 0 if self.rounding_seed is None else backend.read(self.rounding_seed)
        return [
            ops.cast(backend.read(learning_rate), "float32"),
            backend.read(self.gradients_seen),
            ops.cast(seed, "int32"),
        ]

    def _checked(self, gradient: Any, entry: Entry) -> Any:
        """The gradient as a dense tensor, if it fits the variable."""
        gradient = backend.to_dense(gradient)
        kind = (gradient.dtype, gradient.shape)
        if self._accepted.get(entry.position) == kind:
            return gradient
        dtype = keras.backend.standardize_dtype(gradient.dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise TypeError(
                f"The gradient of '{entry.path}' must have a floating-point dtype. "
                f"Received: {dtype}"
            )
        given = tuple(gradient.shape)
        # In a graph, TensorFlow may not know a length: None.
        if len(given) != len(entry.shape) or any(
            g not in (None, s) for g, s in zip(given, entry.shape)
        ):
            raise ValueError(
                f"The gradient of '{entry.path}' must have the shape of the variable, "
                f"{entry.shape}. Received: {given}"
            )
        self._accepted[entry.position] = kind
        return gradient

    def _program(self, entries: list[Entry]) -> Program:
        present = {entry.position for entry in entries}
        key = (tuple(sorted(present)), self.loss_scale_factor)
        if key not in self._programs:
            idle = [
                entry
                for entry in self.entries
                if entry.average is not None and entry.position not in present
            ]
            self._programs[key] = Program(self, entries, idle, key)
        return self._programs[key]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable and its slots by the bare rule.

        `apply` does not go through here: it updates all variables in one program, with
        clipping, decay, averages and accumulation.

        Args:
            gradient: Gradient of the variable.
            variable: A variable that the optimizer was built for.
            learning_rate: Scalar.
        """
        if self.shared_slots:
            raise NotImplementedError(
                f"{type(self).__name__} keeps state that all variables share and that "
                "advances once a step: call `apply` with all gradients instead of "
                "`update_step` with one."
            )
        entry = self.entries[self._positions([variable])[0]]
        gradient = self._checked(gradient, entry)
        program = Program(self, [entry], [])
        values = [backend.read(variable) for variable in program.variables]
        new = program.rule_alone(values, gradient, self._scalars(learning_rate))
        for target, value in zip([variable, *program.variables[1:]], new):
            self.assign(target, value)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Replace the weights by their averages, if `use_ema`; Keras ends `fit` so."""
        if not self.use_ema:
            return
        seen = int(ops.convert_to_numpy(backend.read(self.gradients_seen)))
        if seen < (self.gradient_accumulation_steps or 1):
            return  # The averages have not begun.
        entries = [self.entries[i] for i in self._positions(var_list)]
        backend.assign(
            [(e.variable, e.average) for e in entries if e.average is not None]
        )

    # Saving.

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON can hold them."""
        config = super().get_config()
        return {**config, **self.hyperparameters(), "jit_compile": self.jit_compile}

    def save_own_variables(self, store: Any) -> None:
        """Write the state, named by slot and variable, into a store of Keras."""
        saving.save(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Read the state back.

        Before `build` the state is kept and read when the variables are known.

        Raises:
            ValueError: The state is of another optimizer, of other variables, or
                incomplete.
        """
        if len(store.keys()) == 0:
            saving.warn_about_missing_state(self)
        elif self.built:
            saving.load(self, store)
        else:
            self._pending = saving.copy(store)
            saving.check_kind(self, self._pending)


def _dtype(variable: Any) -> str:
    return keras.backend.standardize_dtype(variable.dtype)


def _constant(value: float) -> Callable[..., Any]:
    """An initializer; that of Keras rounds to float32 on the way to float64."""
    return lambda shape, dtype=None: ops.ones(shape, dtype) * value


def _draw_seed() -> int:
    """A seed that `keras.utils.set_random_seed` determines."""
    return random.randrange(1 << 31)


def _keep_keras_attributes(cls: type) -> None:
    """Leave `learning_rate` and `name` to Keras: a property and a plain attribute."""
    for name in ("learning_rate", "name"):
        if isinstance(vars(cls).get(name), Argument):
            delattr(cls, name)


_keep_keras_attributes(Optimizer)
