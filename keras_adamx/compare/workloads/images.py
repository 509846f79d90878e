"""Images: digits with an MLP; Fashion-MNIST with an MLP, a CNN and an autoencoder."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np

from keras_adamx.compare import datasets
from keras_adamx.compare.workload import Data, Part, Workload

SIDE = 28


def classification_loss() -> keras.losses.Loss:
    """Cross-entropy of integer labels, on logits."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def accuracy() -> keras.metrics.Metric:
    """Share of the examples whose label has the largest logit."""
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")


def images(name: str, white: int) -> Data:
    """Pictures, scaled so that `white` is 1, with their classes."""
    parts = {
        split: Part(
            columns["image"].astype("float32") / np.float32(white),
            columns["label"].astype("int32"),
        )
        for split, columns in datasets.load(name).items()
    }
    return Data(**parts)


# Made once a process: a comparison asks for the data of each run.
@functools.cache
def digit_images() -> Data:
    """Digits of 8 × 8 pixels."""
    return images("digits", white=16)


@functools.cache
def fashion_images() -> Data:
    """Clothes of 28 × 28 pixels."""
    return images("fashion_mnist", white=255)


@functools.cache
def fashion_pixels() -> Data:
    """Clothes as rows of pixels, which are their own labels."""
    found = fashion_images()
    rows = {
        name: getattr(found, name).inputs.reshape(-1, SIDE * SIDE)
        for name in ("train", "tuning", "test")
    }
    return Data(**{name: Part(values, values) for name, values in rows.items()})


def mlp(shape: tuple[int, ...], units: tuple[int, ...], name: str) -> keras.Model:
    """Dense layers with ReLU, and ten logits."""
    hidden = [
        keras.layers.Dense(size, activation="relu", name=f"hidden_{number}")
        for number, size in enumerate(units, 1)
    ]
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(name="flatten"),
            *hidden,
            keras.layers.Dense(10, name="logits"),
        ],
        name=name,
    )


def cnn() -> keras.Model:
    """Two convolutions of stride 2, and a dense layer."""
    settings: dict[str, Any] = {"strides": 2, "padding": "same", "activation": "relu"}
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            keras.layers.Conv2D(16, 3, name="convolution_1", **settings),
            keras.layers.Conv2D(32, 3, name="convolution_2", **settings),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(64, activation="relu", name="hidden"),
            keras.layers.Dense(10, name="logits"),
        ],
        name="fashion_cnn",
    )


def autoencoder() -> keras.Model:
    """Pixels through sixteen numbers, and back to logits of pixels."""
    return keras.Sequential(
        [
            keras.Input((SIDE * SIDE,)),
            keras.layers.Dense(256, activation="relu", name="encoder_1"),
            keras.layers.Dense(64, activation="relu", name="encoder_2"),
            keras.layers.Dense(16, name="code"),
            keras.layers.Dense(64, activation="relu", name="decoder_1"),
            keras.layers.Dense(256, activation="relu", name="decoder_2"),
            keras.layers.Dense(SIDE * SIDE, name="logits"),
        ],
        name="fashion_autoencoder",
    )


digits = Workload(
    name="digits",
    description="8 × 8 digits in 10 classes, MLP 64-32: for tests and a quick look.",
    build=functools.partial(mlp, (8, 8, 1), (64, 32), "digits"),
    data=digit_images,
    loss=classification_loss,
    metric=accuracy,
    metric_name="accuracy",
    higher_is_better=True,
    target=0.92,
    steps=300,
    batch_size=64,
    evaluate_every=20,
    jit_compile={"tensorflow": True},
)

fashion_mlp = Workload(
    name="fashion_mlp",
    description="28 × 28 pictures of clothes in 10 classes, MLP 256-128.",
    build=functools.partial(mlp, (SIDE, SIDE, 1), (256, 128), "fashion_mlp"),
    data=fashion_images,
    loss=classification_loss,
    metric=accuracy,
    metric_name="accuracy",
    higher_is_better=True,
    target=0.884,
    steps=2_145,  # 5 epochs
    batch_size=128,
    evaluate_every=143,
    jit_compile={"tensorflow": True},
)

fashion_cnn = Workload(
    name="fashion_cnn",
    description=(
        "28 × 28 pictures of clothes in 10 classes, CNN of two convolutions of "
        "stride 2, with 16 and 32 filters, and a dense layer of 64."
    ),
    build=cnn,
    data=fashion_images,
    loss=classification_loss,
    metric=accuracy,
    metric_name="accuracy",
    higher_is_better=True,
    target=0.9071,
    steps=2_145,  # 5 epochs
    batch_size=128,
    evaluate_every=143,
    jit_compile={"tensorflow": False},
)

fashion_autoencoder = Workload(
    name="fashion_autoencoder",
    description=(
        "28 × 28 pictures of clothes, dense autoencoder 784-256-64-16-64-256-784; "
        "the loss is the cross-entropy of a pixel, in nats."
    ),
    build=autoencoder,
    data=fashion_pixels,
    loss=functools.partial(keras.losses.BinaryCrossentropy, from_logits=True),
    metric="loss",
    metric_name="loss",
    higher_is_better=False,
    target=0.2823,
    steps=2_145,  # 5 epochs
    batch_size=128,
    evaluate_every=143,
    jit_compile={"tensorflow": True},
)
