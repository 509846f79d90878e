"""Groups: other hyper-parameters for some of the variables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras

from keras_adamx.core.arguments import as_schedule, hyperparameter

# What a group may set beside the arguments of the rule itself.
COMMON = (
    "weight_decay",
    "weight_decay_kind",
    "clipnorm",
    "clipvalue",
    "state_dtype",
    "sparse",
    "transforms",
)
_MULTIPLIER = hyperparameter(1.0, at_least=0.0)
_MULTIPLIER.name = "learning_rate"


@keras.saving.register_keras_serializable(package="keras_adamx")
class Group:
    """Hyper-parameters for the variables whose path a pattern finds.

    The first group of `groups` whose pattern is found (`re.search`) in the path of a
    variable, without the name of the model, holds for it. What a group does not name is
    as for all other variables.

    Args:
        pattern: Regular expression: "embedding", "^encoder/", "bias$".
        learning_rate: Factor >= 0 of the learning rate, or a `LearningRateSchedule`
            of it.
        frozen: Whether the variables stay as they are. They get no state, and their
            gradients count in no norm.
        required: Whether it is an error if the pattern is found nowhere.
        arguments: Values of other arguments: any of the optimizer's own, such as
            `beta_1`, and `weight_decay`, `weight_decay_kind`, `clipnorm`, `clipvalue`,
            `state_dtype`, `sparse`, `transforms`.

    Raises:
        TypeError: An argument is unknown to the optimizer or of the wrong type.
        ValueError: The pattern is no regular expression, or a value is out of range.

    Example:
        >>> head = keras_adamx.Group("^head/", learning_rate=10.0, weight_decay=0.0)
        >>> optimizer = keras_adamx.AdamW(1e-4, groups=[head])
    """

    def __init__(
        self,
        pattern: str,
        *,
        learning_rate: Any = 1.0,
        frozen: bool = False,
        required: bool = True,
        **arguments: Any,
    ) -> None:
        if not isinstance(pattern, str):
            raise TypeError(
                "Group: argument `pattern` must be a regular expression. Received: "
                f"pattern={pattern!r}"
            )
        try:
            self._expression = re.compile(pattern)
        except re.error as error:
            raise ValueError(
                "Group: argument `pattern` must be a regular expression. Received: "
                f"pattern={pattern!r} ({error})"
            ) from None
        for name, value in (("frozen", frozen), ("required", required)):
            if not isinstance(value, bool):
                raise TypeError(
                    f"Group: argument `{name}` must be True or False. Received: "
                    f"{name}={value!r}"
                )
        self.pattern = pattern
        self.learning_rate = _MULTIPLIER.checked(learning_rate, "Group")
        self.frozen = frozen
        self.required = required
        self.arguments = {name: as_schedule(v) for name, v in arguments.items()}

    def matches(self, path: str) -> bool:
        """Whether the pattern is found in a path."""
        return self._expression.search(path) is not None

    def get_config(self) -> dict[str, Any]:
        """The arguments, as JSON can hold them."""
        arguments = {"learning_rate": self.learning_rate, **self.arguments}
        return {
            "pattern": self.pattern,
            "frozen": self.frozen,
            "required": self.required,
            **{k: keras.saving.serialize_keras_object(v) for k, v in arguments.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Group:
        """A group from what `get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        given = {
            "learning_rate": self.learning_rate,
            "frozen": self.frozen,
            **self.arguments,
        }
        words = [repr(self.pattern), *(f"{k}={v!r}" for k, v in given.items())]
        return f"Group({', '.join(words)})"


def without_model(paths: Sequence[str]) -> list[str]:
    """Paths without the name of the model, where all of them begin with it.

    A model's name stands before those of layer and weight, so paths of two parts have
    none.
    """
    parts = [path.split("/") for path in paths]
    if all(len(p) > 2 for p in parts) and len({p[0] for p in parts}) == 1:
        return ["/".join(p[1:]) for p in parts]
    return list(paths)


def assign(groups: Sequence[Group], paths: Sequence[str], owner: str) -> list[int]:
    """For each path the number of its group, from 1; 0 for none.

    Raises:
        ValueError: A required pattern is found nowhere.
    """
    shortened = without_model(paths)
    for group in groups:
        if group.required and not any(group.matches(path) for path in shortened):
            raise ValueError(
                f"{owner}: the pattern {group.pattern!r} of `groups` is found in the "
                f"path of no variable. The paths are {shortened}"
            )
    return [
        next((i for i, g in enumerate(groups, 1) if g.matches(path)), 0)
        for path in shortened
    ]


def no_decay_on_biases_and_norms() -> Group:
    """A group without weight decay: biases, and scales and offsets of normalisation.

    To combine it with other groups, use `weight_decay_filter="matrices"` instead: a
    variable is in one group only.

    Example:
        >>> group = keras_adamx.no_decay_on_biases_and_norms()
        >>> optimizer = keras_adamx.AdamW(1e-3, groups=[group])
    """
    names = "bias|gamma|beta|scale|.*_bias|.*_gamma|.*_beta|.*_scale"
    return Group(f"(^|/)({names})$", weight_decay=None, required=False)


def layerwise_decay(model: keras.Model, decay: float = 0.75) -> list[Group]:
    """Groups whose learning rates fall with the distance from the output.

    The last layer with weights, the head, has the factor 1, the one before `decay`, the
    one before that decay² and so on. Embeddings count as the deepest layer, wherever
    they stand. Layers of a model within the model count one by one; a layer that is
    made of other layers, such as a transformer block, is one.

    Args:
        model: A built model.
        decay: Factor from one layer to the one below, in (0, 1].

    Raises:
        ValueError: The model is not built, or `decay` is out of range.

    Example:
        >>> inputs = keras.layers.Input((8,))
        >>> model = keras.Sequential([inputs, keras.layers.Dense(4)])
        >>> groups = keras_adamx.layerwise_decay(model, 0.75)
        >>> optimizer = keras_adamx.AdamW(1e-4, groups=groups)

    Source:
        Howard, Ruder 2018, arXiv:1801.06146; Clark et al. 2020 (ELECTRA),
        arXiv:2003.10555.
    """
    argument = hyperparameter(0.75, above=0.0, at_most=1.0, scheduled=False)
    argument.name = "decay"
    decay = argument.checked(decay, "layerwise_decay")
    layers = [layer for layer in _layers(model) if layer.weights]
    if not layers:
        raise ValueError(
            f"layerwise_decay: the model {model.name!r} has no weights. Build it first."
        )
    embeddings = [layer for layer in layers if _is_embedding(layer)]
    others = [layer for layer in layers if not _is_embedding(layer)]
    levels = [embeddings, *([layer] for layer in others)]
    all_paths = [v.path for v in model.trainable_variables]
    shortened = dict(zip(all_paths, without_model(all_paths)))
    groups = []
    for depth, level in enumerate(reversed(levels)):
        for layer in level:
            paths = [shortened[v.path] for v in layer.trainable_variables]
            if paths:
                words = "|".join(re.escape(path) for path in paths)
                groups.append(
                    Group(f"^({words})$", learning_rate=decay**depth, required=False)
                )
    return groups


def _layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Layers in their order, those of models within the model in its place."""
    found: list[keras.layers.Layer] = []
    for layer in model.layers:
        found += _layers(layer) if isinstance(layer, keras.Model) else [layer]
    return found


def _is_embedding(layer: keras.layers.Layer) -> bool:
    return "embedding" in type(layer).__name__.lower()
