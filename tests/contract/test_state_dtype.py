"""State in fewer than 32 bits: small errors, few bytes, right after a restart."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_adamx
from keras_adamx.core import codecs
from keras_adamx.rule import Slot
from tests import problem

LOW = ("bfloat16", "int8")
KINDS = ("float32", *LOW)
# Whole blocks, a block and a half, less than a block; and what stays float32.
SHAPES = ((16, 512), (16, 384), (3, 20, 100), (4096,), (5000,), (64, 8), (7, 3), ())


def never():
    raise AssertionError("this codec draws no random numbers")


def round_trip(value, nonnegative):
    codec = codecs.Blocks(nonnegative)
    stored = codec.encode("x", ops.convert_to_tensor(value), never)
    kinds = {n: keras.backend.standardize_dtype(v.dtype) for n, v in stored.items()}
    assert kinds == {"x": "uint8" if nonnegative else "int8", "x.scale": "float32"}
    assert tuple(stored["x"].shape) == value.shape
    return ops.convert_to_numpy(codec.decode("x", stored))


@pytest.mark.parametrize("shape", SHAPES[:5])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_codes_keep_relative_precision_over_many_decades(shape, nonnegative):
    random = np.random.default_rng(0)
    value = random.normal(size=shape) * 10.0 ** random.uniform(-3, 0, shape)
    value = np.square(value) if nonnegative else value
    value = value.astype("float32")
    back = round_trip(value, nonnegative)
    block = codecs.block_of(shape[-1])
    pad = [(0, 0)] * (len(shape) - 1) + [(0, -shape[-1] % block)]
    scale = np.abs(np.pad(value, pad)).reshape(*shape[:-1], -1, block).max(-1)
    scale = np.repeat(scale, block, -1)[..., : shape[-1]]
    # Half the distance to the next code, where the exponent of the map is p.
    power, codes = (8, 255) if nonnegative else (4, 127)
    relative = np.abs(value) / scale
    bound = power / 2 / codes * relative ** (-1 / power)
    large = relative > 1e-6
    error = np.abs(back - value) / np.abs(value)
    assert (error[large] <= 1.3 * bound[large] + 1e-5).all()
    assert np.mean(error[large]) < 0.06


def test_codes_of_zeros_and_extremes():
    value = np.zeros((2, 512), "float32")
    value[0, 0], value[0, 1], value[0, 300] = 1.0, 1e-30, 1e-37
    back = round_trip(value, nonnegative=True)
    np.testing.assert_array_equal(back[1], 0.0)
    np.testing.assert_array_equal(back == 0.0, value == 0.0)
    assert back[0, 0] == 1.0
    signed = round_trip(
        np.where(np.arange(256) % 2, -2.5, 2.5)[None].astype("f"), False
    )
    np.testing.assert_allclose(np.abs(signed), 2.5, rtol=1e-6)
    assert (np.sign(signed[0]) == np.where(np.arange(256) % 2, -1, 1)).all()


def test_only_large_slots_of_the_shape_of_the_weights_are_stored_in_few_bits():
    def kind(shape, state_dtype, slot=None):
        slot = slot or Slot("x")
        return codecs.choose(slot, slot.shape or shape, state_dtype, "float32").dtype

    for state_dtype in LOW:
        assert kind((16, 256), state_dtype) == state_dtype
        assert kind((15, 256), state_dtype) == "float32"
        assert kind((9, 9), state_dtype, Slot("x", shape=(9000,))) == "float32"
        exact = Slot("x", low_precision=False)
        assert kind((16, 256), state_dtype, exact) == "float32"
    assert kind((1000, 8), "int8") == "float32"
    assert kind((1000, 8), "bfloat16") == "bfloat16"


def test_initial_values(name):
    """Slots that do not begin at zero begin there in every form."""
    for state_dtype in LOW:
        optimizer = keras_adamx.get(name, state_dtype=state_dtype)
        optimizer.build(problem.variables(((16, 512),)))
        [entry] = optimizer.entries
        for slot in entry.slots:
            stored = {n: ops.convert_to_tensor(v) for n, v in entry.stored.items()}
            value = entry.codecs[slot.name].decode(slot.name, stored)
            np.testing.assert_allclose(
                ops.convert_to_numpy(value), slot.initial, rtol=4e-3
            )


@pytest.mark.parametrize("state_dtype", LOW)
def test_steps_follow_those_of_float32(name, state_dtype):
    shapes = ((64, 256), (5, 3))
    start = problem.values(problem.variables(shapes))
    exact = problem.train(
        keras_adamx.get(name, jit_compile=False), steps=10, shapes=shapes
    )
    optimizer = keras_adamx.get(name, state_dtype=state_dtype, jit_compile=False)
    rounded = problem.train(optimizer, steps=10, shapes=shapes)
    moved = np.linalg.norm(exact[0] - start[0])
    assert np.linalg.norm(rounded[0] - exact[0]) < 0.07 * moved
    # Small variables are not affected at all.
    problem.assert_close(rounded[1:], exact[1:])


def test_every_path_gives_the_same_weights(name):
    shapes = ((16, 384), (16, 256), (4, 3))
    results = []
    for jit_compile in (False, "auto"):
        keras.utils.set_random_seed(5)
        optimizer = keras_adamx.get(
            name,
            state_dtype="int8",
            groups=[keras_adamx.Group("w1", state_dtype="bfloat16")],
            jit_compile=jit_compile,
        )
        results.append(problem.train(optimizer, steps=3, shapes=shapes))
    # A last bit of difference may become that of a code.
    for a, b in zip(*results):
        assert np.mean(~np.isclose(a, b, rtol=1e-5, atol=1e-6)) < 0.002


def test_adam_in_eight_bits_as_bitsandbytes_tests_it():
    """Its sizes, its bounds; after each step, both go on from the same weights."""
    random = np.random.default_rng(0)
    shape = (1024, 1024)
    start = (0.1 * random.normal(size=shape)).astype("float32")
    exact, coded = (keras.Variable(start) for _ in range(2))
    ours = [keras_adamx.Adam(1e-3, state_dtype=d) for d in ("float32", "int8")]
    for _ in range(50):
        gradient = ops.convert_to_tensor(0.01 * random.normal(size=shape), "float32")
        for optimizer, variable in zip(ours, (exact, coded)):
            optimizer.apply([gradient], [variable])
        a, b = problem.values([exact, coded])
        error = np.abs(a - b)
        assert error.mean() < 6e-5
        assert (error / (np.abs(a) + 1e-9)).mean() < 6e-4
        coded.assign(exact.value)
        synchronize(*ours)


def synchronize(exact, coded):
    """Let the float32 state be that of the codes, as bitsandbytes' test does."""
    [entry], [other] = exact.entries, coded.entries
    stored = {n: ops.convert_to_tensor(v) for n, v in other.stored.items()}
    for name, codec in other.codecs.items():
        entry.stored[name].assign(codec.decode(name, stored))


def test_adam_in_eight_bits_left_to_itself():
    random = np.random.default_rng(0)
    shape = (256, 1024)
    start = (0.1 * random.normal(size=shape)).astype("float32")
    weights = [keras.Variable(start) for _ in range(2)]
    ours = [keras_adamx.Adam(1e-3, state_dtype=d) for d in ("float32", "int8")]
    for _ in range(50):
        gradient = ops.convert_to_tensor(0.01 * random.normal(size=shape), "float32")
        for optimizer, variable in zip(ours, weights):
            optimizer.apply([gradient], [variable])
    exact, coded = problem.values(weights)
    # The dynamic map of 8-bit Adam, on the same numbers: 1.2e-4.
    assert np.abs(exact - coded).mean() < 1.6e-4


def test_second_moments_follow_gradients_that_shrink():
    """Rounding to the nearest code must not hold a decaying average where it was."""
    weight = keras.Variable(np.zeros((16, 256), "float32"))
    optimizer = keras_adamx.RMSprop(1e-3, rho=0.99, state_dtype="int8")
    for size in [1.0] * 20 + [0.01] * 1500:
        optimizer.apply([ops.full((16, 256), size)], [weight])
    before = problem.values([weight])[0].copy()
    optimizer.apply([ops.full((16, 256), 0.01)], [weight])
    np.testing.assert_allclose(before - problem.values([weight])[0], 1e-3, rtol=0.05)


@pytest.mark.parametrize("state_dtype", LOW)
def test_bytes(state_dtype):
    optimizer = keras_adamx.Adam(state_dtype=state_dtype)
    optimizer.build([keras.Variable(np.zeros((1000, 1000), "float32"), name="kernel")])
    report = optimizer.memory_report()
    counted = sum(
        np.prod(v.shape) * {"int8": 1, "uint8": 1, "bfloat16": 2}.get(dtype, 4)
        for v in optimizer.entries[0].stored.values()
        for dtype in [keras.backend.standardize_dtype(v.dtype)]
    )
    assert report.total.bytes == counted
    limit = 2.1 if state_dtype == "int8" else 4.0
    assert report.total.bytes_per_parameter <= limit
    assert f"momentum {state_dtype}, velocity {state_dtype}" in str(report)


def test_memory_report_names_all_state(name):
    optimizer = keras_adamx.get(name, use_ema=True, gradient_accumulation_steps=2)
    with pytest.raises(ValueError, match="needs a built optimizer"):
        optimizer.memory_report()
    optimizer.build(problem.variables())
    report = optimizer.memory_report()
    assert [row.variable for row in report.rows] == ["w0", "w1", "w2", "w3"]
    whole = [v for v in optimizer.variables if v.path.split("/")[-1] not in COUNTERS]
    assert report.total.bytes == 4 * sum(int(np.prod(v.shape)) for v in whole)
    assert report.rows[1].slots["average"] == "float32"
    assert str(report).splitlines()[-1].startswith("total")


COUNTERS = ("iteration", "learning_rate")


@pytest.mark.parametrize(
    ("then", "now"), [(a, b) for a in KINDS for b in KINDS if a != b]
)
def test_loading_converts(then, now, name):
    """State of one dtype goes into an optimizer of another, as near as that can be."""
    shapes = ((16, 512), (4, 3))
    written = keras_adamx.get(name, state_dtype=then, jit_compile=False)
    problem.train(written, 3, shapes)
    store = {}
    written.save_own_variables(store)
    read = keras_adamx.get(name, state_dtype=now)
    read.build(problem.variables(shapes))
    read.load_own_variables(store)
    assert int(read.iterations) == 3
    coarse = {"float32": 0.0, "bfloat16": 4e-3, "int8": 0.02}
    for a, b in zip(written.entries, read.entries):
        for slot in a.slots:
            left, right = (
                ops.convert_to_numpy(
                    e.codecs[slot.name].decode(
                        slot.name,
                        {n: ops.convert_to_tensor(v) for n, v in e.stored.items()},
                    )
                )
                for e in (a, b)
            )
            error = np.linalg.norm(left - right)
            assert error <= coarse[now] * np.linalg.norm(left)


@pytest.mark.parametrize("state_dtype", LOW)
def test_files_hold_every_code_and_bit(name, state_dtype, tmp_path):
    shapes = ((16, 512), (4, 3))
    whole = keras_adamx.get(name, state_dtype=state_dtype, jit_compile=False)
    trained = problem.variables(shapes)
    for step in range(3):
        whole.apply(problem.gradients(step, shapes), trained)
    store = {}
    whole.save_own_variables(store)
    resumed = keras_adamx.get(name, state_dtype=state_dtype, jit_compile=False)
    again = problem.variables(shapes)
    for variable, value in zip(again, problem.values(trained)):
        variable.assign(value)
    resumed.build(again)
    resumed.load_own_variables(store)
    for step in range(3, 6):
        whole.apply(problem.gradients(step, shapes), trained)
        resumed.apply(problem.gradients(step, shapes), again)
    problem.assert_same_bits(problem.values(again), problem.values(trained))


def test_unknown_state_dtype():
    with pytest.raises(
        ValueError, match=r"`state_dtype` must be one of.*'int8'.*'fp8'"
    ):
        keras_adamx.Adam(state_dtype="fp8")


def test_blocks_divide_the_axis_where_they_can():
    assert [codecs.block_of(n) for n in (1, 17, 256, 768, 5000, 513)] == [
        1,
        17,
        256,
        256,
        200,
        171,
    ]
    assert codecs.block_of(50257) == 256  # A prime.
