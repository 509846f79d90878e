"""Weights of 16 bits: float32 state and arithmetic, rounding right on average."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_adamx
from keras_adamx.core import rounding
from tests import problem

LOW = ("bfloat16", "float16")


def mean_after(optimizer, dtype, weight=0.1, gradient=1e-3, steps=5):
    trained = keras.Variable(np.full(1000, weight), dtype=dtype)
    for _ in range(steps):
        optimizer.apply([ops.full((1000,), gradient, dtype)], [trained])
    return float(np.mean(problem.values([trained])[0]))


@pytest.mark.parametrize("dtype", LOW)
def test_low_precision_weights_follow_float32(name, dtype):
    """Adam's five steps from 0.1 at a rate of 0.01: Keras' Adam does not move."""
    rate = 0.01
    exact = mean_after(keras_adamx.get(name, learning_rate=rate), "float32")
    rounded = mean_after(keras_adamx.get(name, learning_rate=rate), dtype)
    # The gradient itself is rounded to the dtype, too: 0.1 % in bfloat16.
    assert abs(rounded - exact) < 0.02 * abs(exact - 0.1) + 0.002 * abs(exact)


@pytest.mark.parametrize("dtype", LOW)
def test_updates_below_the_spacing_add_up(dtype):
    optimizer = keras_adamx.SGD(1.0)
    assert mean_after(optimizer, dtype, 1.0, 1e-5, 100) == pytest.approx(
        0.999, abs=3e-4
    )


@pytest.mark.parametrize("dtype", LOW)
def test_state_of_low_precision_weights_is_float32(name, dtype):
    optimizer = keras_adamx.get(name, use_ema=True, gradient_accumulation_steps=2)
    optimizer.build(problem.variables(dtype=dtype))
    for entry in optimizer.entries:
        for variable in (*entry.stored.values(), entry.average):
            assert keras.backend.standardize_dtype(variable.dtype) == "float32"


def test_small_gradients_of_float16_weights_do_not_blow_up(name):
    trained = keras.Variable(np.ones(4), dtype="float16")
    optimizer = keras_adamx.get(name, learning_rate=1e-3)
    for _ in range(3):
        optimizer.apply([ops.full((4,), 1e-3, "float16")], [trained])
    assert (np.abs(problem.values([trained])[0] - 1.0) < 0.05).all()


@pytest.mark.parametrize("dtype", LOW)
def test_rounding_is_right_on_average_and_exact_where_it_can_be(dtype):
    values = np.array(
        [0.0, -0.0, 1.0, -2.5, 0.1, -0.3, 1e-3, 255.4, 3e-5, -7e-8, 60000.0], "float32"
    )
    draws = 4000
    x = ops.convert_to_tensor(np.tile(values[:, None], (1, draws)))
    bits = rounding.random_bits(
        rounding.positions((len(values), draws)), ops.convert_to_tensor(3), 1, 0
    )
    rounded = ops.cast(rounding.stochastic_round(x, dtype, bits), "float32")
    rounded = ops.convert_to_numpy(rounded)
    nearest = ops.convert_to_numpy(
        ops.cast(ops.cast(ops.convert_to_tensor(values), dtype), "float32")
    )
    for value, results, near in zip(values, rounded, nearest):
        found = np.unique(results)
        if value == near:
            assert (found == value).all()
            continue
        assert len(found) == 2
        below, above = found
        assert below < value < above
        assert near in found
        error = np.mean(results.astype("float64")) - value
        assert abs(error) < 4 * (above - below) / np.sqrt(draws)


@pytest.mark.parametrize("dtype", LOW)
def test_rounding_of_what_is_not_finite(dtype):
    x = np.array([np.inf, -np.inf, np.nan, 3e38], "float32")
    bits = rounding.random_bits(
        rounding.positions((4,)), ops.convert_to_tensor(3), 1, 0
    )
    rounded = ops.cast(
        rounding.stochastic_round(ops.convert_to_tensor(x), dtype, bits), "float32"
    )
    expected = [np.inf, -np.inf, np.nan, np.inf if dtype == "float16" else 3e38]
    np.testing.assert_allclose(ops.convert_to_numpy(rounded), expected, rtol=1e-2)


def test_largest_float16_is_not_rounded_to_infinity():
    x = ops.full((4000,), 65510.0)
    bits = rounding.random_bits(
        rounding.positions((4000,)), ops.convert_to_tensor(3), 1, 0
    )
    rounded = ops.cast(rounding.stochastic_round(x, "float16", bits), "float32")
    assert (ops.convert_to_numpy(rounded) == 65504.0).all()


def test_random_bits():
    def draw(*arguments):
        bits = rounding.random_bits(rounding.positions((40, 50)), *arguments)
        return ops.convert_to_numpy(bits).astype("uint32")

    seed = ops.convert_to_tensor(5)
    first = draw(seed, 1, 0)
    np.testing.assert_array_equal(first, draw(seed, 1, 0))
    for other in (draw(seed, 2, 0), draw(seed, 1, 1), draw(seed + 1, 1, 0)):
        assert np.mean(first == other) < 0.01
    for bit in range(32):
        assert abs(np.mean((first >> bit) & 1) - 0.5) < 0.05
    # The same on every backend: a seed means the same run everywhere.
    assert first[0, 0] == 4153585302
    assert first[39, 49] == 1857951121


@pytest.mark.backend("tensorflow", "torch")
def test_float64_weights_are_updated_in_float64(name):
    trained = keras.Variable(np.full(3, 0.1), dtype="float64")
    optimizer = keras_adamx.get(name, learning_rate=0.5)
    optimizer.apply([ops.convert_to_tensor(np.full(3, 1e-9), "float64")], [trained])
    for entry in optimizer.entries:
        for variable in entry.stored.values():
            assert keras.backend.standardize_dtype(variable.dtype) == "float64"
    assert keras.backend.standardize_dtype(trained.dtype) == "float64"


def test_mixed_precision_of_variables(name):
    """float32 and bfloat16 variables side by side, as with a bfloat16 backbone."""
    mixed = [keras.Variable(np.ones(3), dtype=d) for d in ("float32", "bfloat16")]
    optimizer = keras_adamx.get(name, learning_rate=0.5)
    for _ in range(3):
        optimizer.apply([ops.ones(3), ops.ones(3, "bfloat16")], mixed)
    full, low = problem.values(mixed)
    np.testing.assert_allclose(full, low, rtol=0.02)
