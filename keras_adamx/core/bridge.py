"""The only file that touches private names of Keras.

Checked on Keras 3.10 to 3.15. Where a release renames one of them, this is the place
that breaks and the place to mend.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops
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

    def register(
        self, variables: Sequence[Any], averages: list[Any], accumulators: list[Any]
    ) -> None:
        """Make the variables of the model known; what Keras' own `build` does."""
        self.keep(
            _trainable_variables=list(variables),
            _trainable_variables_indices={
                self._var_key(variable): i for i, variable in enumerate(variables)
            },
            _accumulated_gradients=accumulators,
            # Keras' own look-up costs several microseconds a variable in every step.
            _positions_by_id={id(variable): i for i, variable in enumerate(variables)},
        )
        if self.use_ema:  # Keras' callbacks find them under this name.
            self.keep(_model_variables_moving_average=averages)
        self.built = True

    @property
    def registered(self) -> list[Any]:
        """The variables of the model, in the order given to `build`."""
        return self._trainable_variables

    def index(self, variable: Any) -> int | None:
        """Position of a variable of the model, or None if it is not known."""
        position = self._positions_by_id.get(id(variable))
        if position is None:
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

    def _get_current_learning_rate(self) -> Any:
        """The rate now: schedules and callables see the number of updates made."""
        source = self._learning_rate
        if isinstance(source, keras.optimizers.schedules.LearningRateSchedule):
            return source(self.iterations)
        if isinstance(source, keras.Variable):
            return source
        return source(self.iterations) if _takes_argument(source) else source()

    @property
    def saved_learning_rate(self) -> keras.Variable | None:
        """The variable that holds the rate, if it is neither schedule nor callable."""
        source = self._learning_rate
        return source if isinstance(source, keras.Variable) else None


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


def path_of(variable: Any) -> str:
    """Path of a variable: Keras' path, or the name of a bare tf.Variable."""
    return getattr(variable, "path", None) or variable.name.split(":")[0]
