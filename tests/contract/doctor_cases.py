"""Healthy models on the digits of scikit-learn, and the faults that tests plant."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, losses, ops

ROWS = 400


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images with pixels in [0, 1] and their digits."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images / 16.0).astype("float32"), found.target.astype("int32")


def mlp(hidden: str = "relu", **last: Any) -> keras.Model:
    """Dense layers on pixels in a row; logits, unless the last layer is told else."""
    return keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(32, activation=hidden, name="first"),
            layers.Dense(32, activation=hidden, name="second"),
            layers.Dense(**{"units": 10, "name": "head", **last}),
        ]
    )


def cnn() -> keras.Model:
    """Convolutions with normalisation and dropout; probabilities."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )


def small() -> keras.Model:
    """Statistics and seeds that a training changes, in few layers; logits."""
    return keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.1),
            layers.Dense(10),
        ]
    )


def transformer() -> keras.Model:
    """Attention among the rows of an image, whose number is embedded."""
    rows = keras.Input((8, 8), name="rows")
    places = keras.Input((8,), name="places", dtype="int32")
    x = layers.Dense(16)(rows) + layers.Embedding(8, 16)(places)
    y = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention(2, 8)(y, y)
    y = layers.LayerNormalization()(x)
    x = x + layers.Dense(16)(layers.Dense(32, activation="gelu")(y))
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model([rows, places], layers.Dense(10)(x))


def pixels() -> np.ndarray:
    """The images as rows of pixels."""
    return digits()[0].reshape(-1, 64)


def healthy(kind: str, optimizer: Any = "adam") -> tuple[keras.Model, Any]:
    """A compiled model without faults, and its data."""
    x, y = digits()
    if kind in ("mlp", "small"):
        model, inputs, from_logits = (mlp if kind == "mlp" else small)(), pixels(), True
    elif kind == "cnn":
        model, inputs, from_logits = cnn(), x[..., None], False
    else:
        model, from_logits = transformer(), True
        inputs = [x, np.tile(np.arange(8, dtype="int32"), (len(x), 1))]
    model.compile(optimizer, losses.SparseCategoricalCrossentropy(from_logits))
    return model, (inputs, y)


class Case(NamedTuple):
    """A model and its data, with and without a fault.

    Attributes:
        make: Gives model and data, with the fault if it is told True.
        follows: Codes that may be reported beside, since they follow from the fault.
    """

    make: Callable[[bool], tuple[keras.Model, Any]]
    follows: tuple[str, ...] = ()


CASES: dict[str, Case] = {}


def plants(code: str, *follows: str) -> Callable[..., Any]:
    """The function makes a model with the fault of this code."""

    def register(make: Callable[[bool], tuple[keras.Model, Any]]) -> Any:
        CASES[code] = Case(make, follows)
        return make

    return register


def compiled(
    model: keras.Model, loss: Any = None, optimizer: Any = "adam", **more: Any
):
    """A model with cross-entropy of logits, if nothing else is said."""
    loss = losses.SparseCategoricalCrossentropy(True) if loss is None else loss
    model.compile(optimizer, loss, **more)
    return model


def one_hot() -> np.ndarray:
    """Labels as rows."""
    return np.eye(10, dtype="float32")[digits()[1]]


def is_large() -> np.ndarray:
    """Whether a digit is above 4, as a column."""
    return (digits()[1] > 4).astype("float32")[:, None]


@plants("data-not-finite")
def gaps(fault: bool):
    x = pixels().copy()
    if fault:
        x[::7, 20] = np.nan
    return compiled(mlp()), (x, digits()[1])


@plants("embedding-index-invalid", "step-fails")
def beyond_the_table(fault: bool):
    tokens = (pixels() * 16).astype("int32")
    model = keras.Sequential(
        [
            keras.Input((64,), dtype="int32"),
            layers.Embedding(16 if fault else 17, 8),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    return compiled(model), (tokens, digits()[1])


@plants("constant-columns")
def constant(fault: bool):
    x = pixels().copy()
    if fault:
        x[:, 10:13] = 0.5
    return compiled(mlp()), (x, digits()[1])


@plants("inputs-not-normalised")
def pixels_of_bytes(fault: bool):
    x = pixels() * (255.0 if fault else 1.0)
    return compiled(mlp()), (x, digits()[1])


@plants("sample-weight-invalid")
def negative_weights(fault: bool):
    weights = np.linspace(-1.0 if fault else 0.1, 2.0, len(pixels()))
    return compiled(mlp()), (pixels(), digits()[1], weights)


@plants("labels-not-one-hot")
def numbers_into_categorical(fault: bool):
    y = digits()[1] if fault else one_hot()
    return compiled(mlp(), losses.CategoricalCrossentropy(True)), (pixels(), y)


@plants("labels-one-hot-for-sparse")
def rows_into_sparse(fault: bool):
    return compiled(mlp()), (pixels(), one_hot() if fault else digits()[1])


@plants("label-out-of-range")
def counted_from_one(fault: bool):
    return compiled(mlp()), (pixels(), digits()[1] + int(fault))


@plants("labels-not-binary")
def plus_and_minus(fault: bool):
    y = 2 * is_large() - 1 if fault else is_large()
    return compiled(mlp(units=1), losses.BinaryCrossentropy(True)), (pixels(), y)


@plants("shapes-broadcast")
def a_vector_against_a_column(fault: bool):
    y = is_large()[:, 0] if fault else is_large()
    return compiled(mlp(units=1), "mse"), (pixels(), y)


@plants("softmax-over-one-unit")
def one_class(fault: bool):
    model = mlp(units=1, activation="softmax" if fault else "sigmoid")
    return compiled(model, "binary_crossentropy"), (pixels(), is_large())


@plants("outputs-not-probabilities")
def logits(fault: bool):
    model = mlp(activation=None if fault else "softmax")
    return compiled(model, "sparse_categorical_crossentropy"), (pixels(), digits()[1])


@plants("outputs-activated-twice")
def softmax_twice(fault: bool):
    model = mlp(activation="softmax" if fault else None)
    return compiled(model), (pixels(), digits()[1])


@plants("binary-loss-for-classes")
def independent_classes(fault: bool):
    model = mlp(activation="softmax")
    loss = "binary_crossentropy" if fault else "categorical_crossentropy"
    return compiled(model, loss), (pixels(), one_hot())


@plants("target-out-of-reach")
def beyond_sigmoid(fault: bool):
    y = digits()[1][:, None] / 3.0 - 1.5
    model = mlp(units=1, activation="sigmoid" if fault else None)
    return compiled(model, "mse"), (pixels(), y)


@plants("targets-not-normalised")
def prices(fault: bool):
    y = (digits()[1][:, None] - 4.5) / 3.0
    model = mlp(units=1)
    return compiled(model, "mse"), (pixels(), 1000.0 * y + 5000.0 if fault else y)


class Batches(keras.utils.PyDataset):
    """Batches of 32 rows; random access, no shuffling of rows."""

    def __init__(self, x: Any, y: Any) -> None:
        super().__init__()
        self.arrays = x, y

    def __len__(self) -> int:
        return len(self.arrays[0]) // 32

    def __getitem__(self, index: int) -> Any:
        rows = slice(32 * index, 32 * (index + 1))
        return tuple(array[rows] for array in self.arrays)


@plants("labels-in-order")
def sorted_rows(fault: bool):
    x, y = pixels(), digits()[1]
    order = np.argsort(y, kind="stable") if fault else slice(None)
    return compiled(mlp()), Batches(x[order], y[order])


@plants("class-imbalance")
def rare_class(fault: bool):
    x, y = pixels(), digits()[1]
    kept = (y != 3) | (np.arange(len(y)) % (25 if fault else 1) == 0)
    return compiled(mlp()), (x[kept], y[kept])


@plants("labels-unrelated-to-inputs")
def shuffled_labels(fault: bool):
    y = digits()[1]
    shuffled = np.random.default_rng(1).permutation(y)
    return compiled(mlp()), (pixels(), shuffled if fault else y)


@plants("step-fails")
def two_outputs_too_few(fault: bool):
    y = one_hot()[:, :8] if fault else one_hot()
    return compiled(mlp(), losses.CategoricalHinge()), (pixels(), y)


@plants("loss-not-finite")
def logarithm_of_zero(fault: bool):
    inputs = keras.Input((64,))
    x = ops.log(inputs) if fault else ops.log(inputs + 0.1)
    return compiled(keras.Model(inputs, layers.Dense(10)(x))), (pixels(), digits()[1])


@plants("nothing-trainable")
def all_frozen(fault: bool):
    model = mlp()
    model.trainable = not fault
    return compiled(model), (pixels(), digits()[1])


def deep(depth: int, **arguments: Any) -> keras.Model:
    """Many layers of 32 units; logits."""
    hidden = [layers.Dense(32, **arguments) for _ in range(depth)]
    return keras.Sequential([keras.Input((64,)), *hidden, layers.Dense(10)])


@plants("activations-vanish", "gradients-vanish")
def small_weights(fault: bool):
    initializer = keras.initializers.RandomNormal(stddev=0.02) if fault else "he_normal"
    model = deep(6, activation="relu", kernel_initializer=initializer)
    return compiled(model), (pixels(), digits()[1])


@plants("activations-explode")
def large_weights(fault: bool):
    initializer = keras.initializers.RandomNormal(stddev=2.0) if fault else "he_normal"
    model = deep(6, activation="relu", kernel_initializer=initializer)
    return compiled(model), (pixels(), digits()[1])


@plants("gradients-vanish")
def sigmoids(fault: bool):
    model = deep(8, activation="sigmoid" if fault else "relu")
    return compiled(model), (pixels(), digits()[1])


@plants("gradients-explode", "learning-rate-too-high")
def exploding_gradients(fault: bool):
    # Normalised in between, so that only the gradients see the sizes of the weights.
    inputs = x = keras.Input((64,))
    for _ in range(6):
        x = layers.Dense(32, kernel_initializer="he_normal")(x)
        if fault:  # The same forwards, ten times the gradient.
            x = 10.0 * x - ops.stop_gradient(9.0 * x)
        x = layers.Activation("relu")(x)
    return compiled(keras.Model(inputs, layers.Dense(10)(x))), (pixels(), digits()[1])


@plants("dead-units")
def buried_bias(fault: bool):
    bias = keras.initializers.Constant(-20.0 if fault else 0.0)
    model = deep(2, activation="relu", bias_initializer=bias)
    return compiled(model), (pixels(), digits()[1])


@plants("no-gradient")
def unused_layer(fault: bool):
    inputs = keras.Input((64,))
    x = layers.Dense(32, activation="relu", name="used")(inputs)
    y = layers.Dense(32, activation="relu", name="unused")(inputs)
    x = x + (ops.stop_gradient(y) if fault else y)
    return compiled(keras.Model(inputs, layers.Dense(10)(x))), (pixels(), digits()[1])


@plants("initial-loss")
def confident_head(fault: bool):
    size = keras.initializers.RandomNormal(stddev=4.0) if fault else "glorot_uniform"
    model = mlp(kernel_initializer=size)
    return compiled(model), (pixels(), digits()[1])


def in_dtype(dtype: str) -> keras.Model:
    """The dense model under a policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        return mlp()
    finally:
        keras.config.set_dtype_policy(before)


@plants("float16-without-loss-scale")
def no_loss_scale(fault: bool):
    model = in_dtype("mixed_float16")
    return compiled(model, auto_scale_loss=not fault), (pixels(), digits()[1])


@plants("epsilon-lost", "updates-lost-by-rounding", "learning-rate-too-high")
def epsilon_of_float16(fault: bool):
    optimizer = keras.optimizers.RMSprop(
        1e-2, epsilon=1e-8 if fault else 1e-3, loss_scale_factor=1.0
    )
    return compiled(in_dtype("float16"), None, optimizer), (pixels(), digits()[1])


@plants("updates-lost-by-rounding")
def bfloat16_weights(fault: bool):
    from keras_adamx import Adam

    optimizer = keras.optimizers.Adam(1e-3) if fault else Adam(1e-3)
    return compiled(in_dtype("bfloat16"), None, optimizer), (pixels(), digits()[1])


@plants("learning-rate-too-high")
def a_rate_of_ten(fault: bool):
    optimizer = keras.optimizers.SGD(10.0 if fault else 0.1)
    return compiled(mlp(), None, optimizer), (pixels(), digits()[1])


@plants("learning-rate-too-low")
def a_rate_of_nothing(fault: bool):
    optimizer = keras.optimizers.Adam(1e-9 if fault else 1e-3)
    return compiled(mlp(), None, optimizer), (pixels(), digits()[1])
