"""The private names of Keras' models, and of their training.

Checked on Keras 3.10 to 3.15, as `bridge` is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src.backend.common import global_state
from keras.src.trainers.compile_utils import CompileLoss
from keras.src.utils.tracking import DotNotTrackScope

from keras_adamx.core import backend
from keras_adamx.core.bridge import KerasOptimizer, rate_at


def compiled_with(model: Any) -> tuple[Any, Any, list[Any]]:
    """Loss, weights of the loss and metrics with which a model was compiled."""
    loss, metrics = model._compile_loss, model._compile_metrics
    return (
        loss and loss._user_loss,
        loss and loss._user_loss_weights,
        keras.tree.flatten(metrics._user_metrics if metrics is not None else []),
    )


def metric_direction(metric: Any) -> str | None:
    """`"up"` or `"down"`, if a metric says in which direction it is better."""
    return getattr(metric, "_direction", None)


def fresh_global_seed(seed: int) -> None:
    """Seed everything, random numbers without a seed of their own included."""
    keras.utils.set_random_seed(seed)
    # Older releases of Keras let them go on.
    global_state.set_global_attribute("global_seed_generator", None)


@contextlib.contextmanager
def loss_only(model: Any) -> Iterator[None]:
    """Let `fit` compute no metrics, and build the loss in a copy.

    What Keras builds on the first call of `fit` takes random numbers on PyTorch.
    """
    metrics, loss = model._compile_metrics, model._compile_loss
    copied = loss and type(loss)(
        loss._user_loss, loss._user_loss_weights, output_names=loss.output_names
    )
    try:
        set_untracked(model, _compile_metrics=None, _compile_loss=copied)
        yield
    finally:
        set_untracked(model, _compile_metrics=metrics, _compile_loss=loss)


def set_untracked(model: Any, **attributes: Any) -> None:
    """Set attributes of a model as `compile` does: as no part of it."""
    with DotNotTrackScope():
        for name, value in attributes.items():
            setattr(model, name, value)


def build_model(model: Any, batch: Any) -> None:
    """Build a compiled model, its loss and its optimizer for a batch."""
    model._symbolic_build(data_batch=batch)


def synchronize(model: Any) -> None:
    """Give the variables of a model in `fit` their values, which JAX keeps apart."""
    if keras.backend.backend() == "jax":
        model.jax_state_sync()


def end_fit(model: Any) -> None:
    """Forget the values that JAX keeps apart where an error ended `fit`."""
    if keras.backend.backend() == "jax":
        model._jax_state = None
        model._jax_state_synced = True


def training_modes(model: Any) -> list[tuple[Any, bool]]:
    """The modules of PyTorch in a model, and whether they are in training mode."""
    if keras.backend.backend() != "torch":
        return []
    return [(module, module.training) for module in model.modules()]


def set_training_modes(modes: list[tuple[Any, bool]]) -> None:
    """Put modules of PyTorch back into their modes."""
    for module, training in modes:
        module.training = training


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers, those within layers included."""
    return list(model._flatten_layers(include_self=False))


def rate_in_fit(model: keras.Model, optimizer: Any) -> Callable[[], float]:
    """What gives the learning rate of the last step."""
    source = optimizer._learning_rate
    if isinstance(source, keras.Variable):
        read = values_in_fit(model, [source])
        return lambda: float(read()[0])
    read = values_in_fit(model, [optimizer._iterations])
    # Keras counts gradients, not updates.
    of_keras = isinstance(optimizer, KerasOptimizer)
    every = (optimizer.gradient_accumulation_steps or 1) if of_keras else 1

    def rate() -> float:
        last = max(int(read()[0]) - 1, 0) // every
        at = rate_at(source, np.asarray(last, "int32"))
        return float(ops.convert_to_numpy(at))

    return rate


def values_in_fit(
    model: keras.Model, variables: Sequence[Any]
) -> Callable[[], list[np.ndarray]]:
    """What gives the values of variables of the optimizer after the last step.

    While `fit` runs on JAX, they are not in the variables but on their way from step to
    step; what asks a callback for its model brings all of them back, which takes long.
    They may be overwritten in the next step.
    """
    read = backend.reader(list(variables))
    wanted = {id(variable): i for i, variable in enumerate(variables)}
    places: list[int] = []

    def values() -> list[np.ndarray]:
        state = getattr(model, "_jax_state", None)
        if state is None or model._jax_state_synced:
            return read()
        if not places:
            of_all = {id(v): i for i, v in enumerate(model.optimizer.variables)}
            places.extend(of_all[key] for key in wanted)
        held = state["optimizer_variables"]
        return [np.asarray(held[place]) for place in places]

    return values


def leaves_of(layer: Any) -> list[keras.layers.Layer]:
    """The innermost layers whose calls stand for themselves.

    What loops over a layer of its own (recurrent layers, wrappers) is taken as one: its
    inner calls are part of a loop that the backend may trace.
    """
    found = []
    for inner in layer._layers:
        whole = isinstance(inner, (keras.layers.RNN, keras.layers.Wrapper))
        found += [inner] if whole or not inner._layers else leaves_of(inner)
    return list({id(leaf): leaf for leaf in found}.values())


def call_for_training(model: keras.Model, x: Any) -> Any:
    """The outputs of a model as `fit` asks for them."""
    return model(x, training=True) if model._call_has_training_arg else model(x)


@contextlib.contextmanager
def fresh_loss(model: keras.Model, loss: Any = None) -> Iterator[None]:
    """A model with a loss that was not called yet: its own one, or another.

    What Keras makes of a loss depends on the first targets that it sees.
    """
    kept = model._compile_loss
    arguments: dict[str, Any] = {}
    if loss is None and kept is not None:
        loss, arguments["loss_weights"] = kept._user_loss, kept._user_loss_weights
        arguments["output_names"] = kept.output_names
    else:
        arguments["output_names"] = getattr(model, "output_names", None)
    vars(model)["_compile_loss"] = loss and CompileLoss(loss, **arguments)
    try:
        yield
    finally:
        vars(model)["_compile_loss"] = kept
        model._clear_losses()


def _copied(variable: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(variable))


@contextlib.contextmanager
def kept_global_seed() -> Iterator[None]:
    """Random numbers without a seed of their own go on afterwards as before."""
    name, seed_name = "global_seed_generator", "global_random_seed"
    generator = global_state.get_global_attribute(name)
    seed = global_state.get_global_attribute(seed_name)
    state = None if generator is None else _copied(generator.state)
    try:
        yield
    finally:
        if generator is not None:
            generator.state.assign(state)
        global_state.set_global_attribute(name, generator)
        global_state.set_global_attribute(seed_name, seed)
