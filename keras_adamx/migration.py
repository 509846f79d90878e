"""From `keras.optimizers` to this package, in the middle of a training."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from keras_adamx.core.bridge import replace_optimizer, state_of_keras
from keras_adamx.core.optimizer import Optimizer

# Arguments with which our classes compute what those of Keras do.
_AS_KERAS: dict[str, dict[str, Any]] = {
    "RMSprop": {"epsilon_placement": "inside"},
    "Adagrad": {"epsilon_placement": "inside"},
    "Adam": {"epsilon_placement": "hat"},
    "AdamW": {"epsilon_placement": "hat"},
    "Nadam": {"momentum_decay": 1.0},
}


def convert(model: keras.Model) -> Optimizer:
    """Swap the optimizer of a compiled model for ours, which goes on where it stopped.

    The class of the same name is used, with arguments that make it compute the same;
    state, step counter and learning rate are taken over. A `LossScaleOptimizer` stays,
    with its scale, around ours.

    Args:
        model: A model that was compiled with SGD, RMSprop, Adagrad, Adadelta, Adam,
            AdamW, Adamax, Nadam or Lion of `keras.optimizers`: one just loaded, say.

    Returns:
        The new optimizer, which is also `model.optimizer`.

    Raises:
        TypeError: The optimizer is of no class that is known.
        ValueError: The model is not compiled.

    Example:
        >>> model = keras.Sequential([keras.layers.Dense(4)])
        >>> model.compile(keras.optimizers.Adam(1e-3), "mse")
        >>> type(keras_adamx.convert(model)).__module__
        'keras_adamx.optimizers.adam'
    """
    outer = getattr(model, "optimizer", None)
    if outer is None:
        raise ValueError(
            f"convert: the model '{model.name}' is not compiled, so that it has no "
            "optimizer. Load it with `compile=True` or compile it."
        )
    scaled = isinstance(outer, keras.optimizers.LossScaleOptimizer)
    source = outer.inner_optimizer if scaled else outer
    state = state_of_keras(source)
    if state is None:
        raise TypeError(
            "convert: the optimizer of the model must be SGD, RMSprop, Adagrad, "
            "Adadelta, Adam, AdamW, Adamax, Nadam or Lion of keras.optimizers. "
            f"Received: {source!r}"
        )
    config = {**source.get_config(), **_AS_KERAS.get(state.name, {})}
    schedule = isinstance(config["learning_rate"], dict)
    if schedule and source.gradient_accumulation_steps:
        warnings.warn(
            "Keras evaluates the learning-rate schedule at the number of gradients "
            "seen, this package at the number of updates made: under "
            "`gradient_accumulation_steps` the schedule now runs "
            f"{source.gradient_accumulation_steps} times as long.",
            stacklevel=2,
        )
    cls = keras.saving.get_registered_object(f"keras_adamx>{state.name}")
    optimizer = cls.from_config(config)
    if source.built:
        optimizer.import_state(source)
    if scaled:
        replace_optimizer(model, _rescaled(outer, optimizer))
    else:
        replace_optimizer(model, optimizer)
    return optimizer


def _rescaled(outer: Any, optimizer: Optimizer) -> Any:
    """A loss-scaling wrapper like another one, around ours."""
    config = outer.get_config()
    del config["inner_optimizer"]
    wrapper = type(outer)(optimizer, **config)
    if outer.built:
        wrapper.build([entry.variable for entry in optimizer.entries])
        wrapper.step_counter.assign(outer.step_counter)
        wrapper.dynamic_scale.assign(outer.dynamic_scale)
    return wrapper
