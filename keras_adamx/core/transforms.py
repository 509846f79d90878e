"""What can stand before, behind and after any rule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import keras

from keras_adamx.core.arguments import Declared
from keras_adamx.core.slots import Hyper, Slot, State, Weights


class Transform(Declared):
    """Base of all transforms: subclass it to write one of your own.

    A transform changes the gradient before the rule sees it, the direction that the
    rule returns, the weights after the step, or several of these. It may keep `slots`,
    as a rule does.

    ```python
    from keras_adamx.rule import Transform, hyperparameter

    class Damping(Transform):
        elementwise = True
        factor: float = hyperparameter(0.5, above=0.0)

        def direction(self, direction, gradient, weights, state, hyper):
            return hyper.factor * direction
    ```
    """

    # Whether an element depends on no other element of the variable.
    elementwise: ClassVar[bool] = False
    # Whether `direction` is to see the rule's direction with decoupled weight decay in
    # it.
    includes_weight_decay: ClassVar[bool] = False
    # Whether `hyper.normal` is called.
    random: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        package = cls.__module__.partition(".")[0]
        keras.saving.register_keras_serializable(package=package)(cls)

    def __init__(self, **arguments: Any) -> None:
        for name, value in self.bind(arguments).items():
            setattr(self, name, value)
        self.validate()

    @property
    def changes_steps(self) -> bool:
        """Whether the transform works on directions or on weights."""
        own, base = type(self), Transform
        return own.direction is not base.direction or own.weights is not base.weights

    def validate(self) -> None:
        """Refuse arguments that are right one by one but not together."""

    def takes(self, weights: Weights) -> bool:
        """Whether the transform is for a variable; the others it leaves alone."""
        return True

    def slots(self, weights: Weights) -> Iterable[Slot]:
        """The quantities that the transform keeps for a variable."""
        return ()

    def gradient(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        """The gradient that the rule is to see.

        Args:
            gradient: The gradient after clipping.
            weights: The weights before the step.
            state: The slots of the transform as attributes, to be set anew.
            hyper: The arguments of the transform, `learning_rate`, `step`, and
                `normal()`, random numbers of the shape of the gradient.
        """
        return gradient

    def direction(
        self, direction: Any, gradient: Any, weights: Any, state: State, hyper: Hyper
    ) -> Any:
        """The direction by which the weights are to move, times minus the rate.

        Args:
            direction: What the rule returned, or the transform before.
            gradient: The gradient that the rule saw.
            weights: The weights before the step.
            state: As for `gradient`.
            hyper: As for `gradient`.
        """
        return direction

    def weights(self, weights: Any, state: State, hyper: Hyper) -> Any:
        """The weights that are to be kept, from those after the step."""
        return weights

    def evaluated(self, weights: Any, state: State, hyper: Hyper) -> Any:
        """The weights to evaluate the model with, from those that are trained."""
        return weights

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON can hold them."""
        values = {name: getattr(self, name) for name in self.arguments}
        return {k: keras.saving.serialize_keras_object(v) for k, v in values.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Transform:
        """A transform from what `get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        words = [f"{name}={getattr(self, name)!r}" for name in self.arguments]
        return f"{type(self).__name__}({', '.join(words)})"


def transform_list(value: Any) -> tuple[Transform, ...]:
    """Transforms, or their configurations, as a tuple."""
    if isinstance(value, (Transform, str, dict)) or not isinstance(value, Iterable):
        raise TypeError
    found = [
        keras.saving.deserialize_keras_object(v) if isinstance(v, dict) else v
        for v in value
    ]
    if not all(isinstance(transform, Transform) for transform in found):
        raise TypeError
    return tuple(found)


def named(transforms: Iterable[Transform]) -> dict[str, Transform]:
    """Transforms under names for their slots, counted where a class occurs again."""
    found: dict[str, Transform] = {}
    for transform in transforms:
        base = name = type(transform).__name__.lower()
        number = 1
        while name in found:
            number += 1
            name = f"{base}_{number}"
        found[name] = transform
    return found
