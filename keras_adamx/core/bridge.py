"""The private names of Keras' optimizers and variables; `models` has those of models.

No other file touches private names of Keras.

Checked on Keras 3.10 to 3.15. Where a release renames one of them, this is the place
that breaks and the place to mend.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import keras
from keras import ops
from keras.src.backend.common.stateless_scope import get_stateless_scope
from keras.src.utils.tracking import DotNotTrackScope

from keras_adamx.core.arguments import Declared


class KerasOptimizer(Declared, keras.optimizers.Optimizer):
    """Keras' optimizer with public names for what this package needs of it."""

    @property
    def gradients_seen(self) -> Any:
        """Variable that counts calls of `apply`; Keras' `iterations` counts updates."""
        return self._iterations

    def keep(self, **attributes: Any) -> None:
        """Set attributes whose variables Keras must not take for state of its own."""
        with DotNotTrackScope():
            for name, value in attributes.items():
                setattr(self, name, value)

    # Set while the class of Keras constructs itself.
    _positions_by_id: ClassVar[dict[int, int]] = {}
    _is_built = False
    _reconsidered = False

    @property
    def built(self) -> bool:
        """Whether the state exists.

        On JAX, where a step cannot create state, False after every `fit` and `load`
        until the next `build`: what is trainable may have changed, and Keras calls
        `build` again where this is False.
        """
        return self._is_built and not self._reconsidered

    @built.setter
    def built(self, value: bool) -> None:
        self._is_built = value

    @property
    def is_built(self) -> bool:
        """Whether the state exists, whatever Keras is told."""
        return self._is_built

    def reconsider(self) -> None:
        """Let Keras call `build` again before the next `fit`."""
        self._reconsidered = keras.backend.backend() == "jax"

    def stateless_apply(
        self,
        optimizer_variables: list[Any],
        grads: list[Any],
        trainable_variables: list[Any],
    ) -> tuple[list[Any], list[Any]]:
        """One step on values in place of variables, as Keras does on JAX."""
        self._reconsidered = False
        return super().stateless_apply(optimizer_variables, grads, trainable_variables)

    def activate(self, variables: Sequence[Any]) -> None:
        """Let `apply` without variables mean these."""
        self.keep(_trainable_variables=list(variables))
        self._reconsidered = False
        if self.use_ema:  # Keras' callbacks find them under this name, in this order.
            entries = [self.entries[self.index(variable)] for variable in variables]
            averages = [e.variable if e.average is None else e.average for e in entries]
            self.keep(_model_variables_moving_average=averages)

    def register(self, variables: Sequence[Any], accumulators: list[Any]) -> None:
        """Make the variables of the model known; what Keras' own `build` does."""
        self.keep(
            _trainable_variables_indices={
                self._var_key(variable): i for i, variable in enumerate(variables)
            },
            _accumulated_gradients=accumulators,
            # Keras' own look-up costs several microseconds a variable in every step.
            _positions_by_id={id(variable): i for i, variable in enumerate(variables)},
        )
        self.built = True

    def forget_saved_rate(self) -> None:
        """The rate was set: what a file said before does not hold."""

    @property
    def registered(self) -> list[Any]:
        """The variables that were given to `build` last, in their order."""
        return self._trainable_variables

    def index(self, variable: Any) -> int | None:
        """Position of a variable of the model, or None if it is not known."""
        position = self._positions_by_id.get(id(variable))
        if position is None and self._is_built:
            position = self._trainable_variables_indices.get(self._var_key(variable))
        return position

    def overwritten_by_gradient(self, variable: Any) -> bool:
        """Whether the "gradient" is the new value itself: scales of float8 layers."""
        return self._overwrite_variable_with_gradient(variable)

    def overwrite_by_gradients(
        self, gradients: list[Any], variables: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        """Assign such new values and return the remaining pairs."""
        return self._overwrite_variables_directly_with_gradients(gradients, variables)

    def key(self, variable: Any) -> Any:
        """What identifies a variable; all copies of a mirrored one have one key."""
        return self._var_key(variable)

    def track_for_checkpoints(self, variable: Any, name: str) -> None:
        """Make a state variable part of TensorFlow's checkpoints of this object."""
        if keras.backend.backend() == "tensorflow":
            self._track_trackable(variable, name, overwrite=True)

    @property
    def learning_rate(self) -> Any:
        """The learning rate now."""
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if ops.is_tensor(value) or isinstance(value, keras.Variable):
            value = ops.convert_to_numpy(value)
        argument = self.arguments["learning_rate"]
        value = argument.checked(value, type(self).__name__)
        keras.optimizers.Optimizer.learning_rate.fset(self, value)
        self.forget_saved_rate()

    def _get_current_learning_rate(self) -> Any:
        """The rate now: schedules and callables see the number of updates made."""
        return rate_at(self._learning_rate, self.iterations)

    @property
    def saved_learning_rate(self) -> keras.Variable | None:
        """The variable that holds the rate, if it is neither schedule nor callable."""
        source = self._learning_rate
        return source if isinstance(source, keras.Variable) else None


# Where the optimizers of Keras keep what our class of the same name keeps as a slot.
_SLOTS_OF_KERAS = {
    "SGD": {"momentum": "momentums"},
    "RMSprop": {
        "velocity": "_velocities",
        "mean": "_average_gradients",
        "momentum": "_momentums",
    },
    "Adagrad": {"accumulator": "_accumulators"},
    "Adadelta": {
        "accumulator": "_accumulated_grads",
        "delta": "_accumulated_delta_vars",
    },
    "Adam": {
        "momentum": "_momentums",
        "velocity": "_velocities",
        "velocity_max": "_velocity_hats",
    },
    "AdamW": {
        "momentum": "_momentums",
        "velocity": "_velocities",
        "velocity_max": "_velocity_hats",
    },
    "Adamax": {"momentum": "_m", "norm": "_u"},
    "Nadam": {"momentum": "_momentums", "velocity": "_velocities"},
    "Lion": {"momentum": "_momentums"},
}


class KerasState(NamedTuple):
    """What an optimizer of Keras keeps.

    Attributes:
        name: Its class.
        variables: The variables of the model.
        slots: For each variable the variables that our slots correspond to.
        shared: Likewise for what all variables share.
        averages: The averages of the weights, or None.
        decayed: Whether each variable decays.
        gradients_seen: Number of gradients seen.
    """

    name: str
    variables: list[Any]
    slots: list[dict[str, Any]]
    shared: dict[str, Any]
    averages: list[Any] | None
    decayed: list[bool]
    gradients_seen: Any


def state_of_keras(optimizer: Any) -> KerasState | None:
    """What an optimizer of Keras keeps; None if it is none that we know."""
    name = type(optimizer).__name__
    known = isinstance(optimizer, getattr(keras.optimizers, name, ()))
    if not known or name not in _SLOTS_OF_KERAS:
        return None
    lists = {
        slot: getattr(optimizer, attribute, None) or None
        for slot, attribute in _SLOTS_OF_KERAS[name].items()
    }
    variables = list(optimizer._trainable_variables)
    return KerasState(
        name=name,
        variables=variables,
        slots=[
            {slot: each[i] for slot, each in lists.items() if each is not None}
            for i in range(len(variables))
        ],
        shared={"momentum_product": optimizer._u_product} if name == "Nadam" else {},
        averages=optimizer._model_variables_moving_average
        if optimizer.use_ema
        else None,
        decayed=[optimizer._use_weight_decay(variable) for variable in variables],
        gradients_seen=optimizer._iterations,
    )


def replace_optimizer(model: Any, optimizer: Any) -> None:
    """Let a compiled model go on with another optimizer."""
    model.optimizer = optimizer
    model._compile_config.config["optimizer"] = optimizer
    model.train_function = None


def copy_exclusions(source: Any, target: Any) -> None:
    """Let an optimizer exclude from weight decay what another one excludes."""
    for name in ("_exclude_from_weight_decay", "_undecayed_keys"):
        if hasattr(source, name):
            setattr(target, name, set(getattr(source, name)))
    for name in ("_exclude_from_weight_decay_pattern", "_undecayed_names"):
        if hasattr(source, name):
            setattr(target, name, getattr(source, name))
    # What a file has said of them.
    entries = getattr(source, "entries", ())
    if entries:
        target._undecayed_keys |= {
            source.key(e.variable) for e in entries if not e.decayed
        }


def undecayed_patterns(optimizer: Any) -> tuple[str, ...]:
    """Patterns of the names that an optimizer excludes from weight decay.

    Raises:
        ValueError: It excludes variables, which are those of one model.
    """
    keys = ("_exclude_from_weight_decay", "_undecayed_keys")
    if any(getattr(optimizer, name, None) for name in keys):
        raise ValueError(
            f"{type(optimizer).__name__} excludes variables of a model from weight "
            "decay. Exclude by name: exclude_from_weight_decay(var_names=[...])."
        )
    found = list(getattr(optimizer, "_undecayed_names", ()))
    theirs = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    return tuple(each.pattern for each in [*found, *([theirs] if theirs else [])])


def _takes_argument(function: Any) -> bool:
    """Whether a callable cannot do without the step: `lambda rate=rate: rate` can."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # A builtin without a signature is called as Keras calls it.
        return False
    return any(
        p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for p in parameters
    )


def rate_at(source: Any, step: Any) -> Any:
    """The rate that a schedule, a callable or a variable gives at a step."""
    if isinstance(source, keras.optimizers.schedules.LearningRateSchedule):
        return source(step)
    if isinstance(source, keras.Variable):
        return source
    return source(step) if _takes_argument(source) else source()


def within_reach(variables: Sequence[Any]) -> list[bool] | None:
    """Which variables a step on values may read and move; None for all of them.

    Where Keras keeps the state of a training outside of the variables, as it does on
    JAX, it hands over the weights that are trained now and no others.
    """
    scope = get_stateless_scope()
    if scope is None:
        return None
    return [scope.get_current_value(variable) is not None for variable in variables]


def has_value(variable: keras.Variable) -> bool:
    """False on JAX where an error ended `fit`: the values went with the step."""
    return variable._value is not None


def path_of(variable: Any) -> str:
    """Path of a variable: Keras' path, or the name of a bare tf.Variable."""
    return getattr(variable, "path", None) or variable.name.split(":")[0]


def layout_of(variable: Any) -> Any:
    """How `keras.distribution` lays a variable out over devices, or None."""
    return getattr(variable, "_layout", None)
