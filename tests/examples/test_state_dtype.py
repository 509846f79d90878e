"""Real data: state of fewer bits learns as well as that of 32."""

import functools

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_adamx

pytestmark = pytest.mark.examples
SEEDS = range(5)


@functools.cache
def accuracy(state_dtype: str, seed: int) -> float:
    """Accuracy on held-out digits after a short training."""
    x, y = load_digits(return_X_y=True)
    split = train_test_split(x / 16.0, y, test_size=0.4, random_state=seed, stratify=y)
    x_train, x_test, y_train, y_test = split
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.layers.Input((64,)),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    optimizer = keras_adamx.Adam(1e-3, state_dtype=state_dtype)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    model.fit(x_train, y_train, batch_size=32, epochs=8, verbose=0)
    kinds = {codec.dtype for e in optimizer.entries for codec in e.codecs.values()}
    assert kinds == {"float32", state_dtype}
    return model.evaluate(x_test, y_test, batch_size=719, verbose=0)[1]


@pytest.mark.parametrize("state_dtype", ["bfloat16", "int8"])
def test_digits(state_dtype):
    exact, low = (
        np.mean([accuracy(dtype, seed) for seed in SEEDS])
        for dtype in ("float32", state_dtype)
    )
    assert exact > 0.94
    assert low > exact - 0.005
