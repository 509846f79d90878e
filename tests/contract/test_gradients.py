"""Gradients as they come: not finite, absent, of a few rows, a part at a time."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

import keras_adamx
from keras_adamx import Group
from tests import problem

BAD = (np.nan, np.inf, -np.inf)


def spoiled(step, which, value):
    """The gradients of a step, one element of one of them replaced."""
    arrays = problem.values(problem.gradients(step))
    arrays[which].reshape(-1)[-1:] = value
    return [ops.convert_to_tensor(array) for array in arrays]


@pytest.mark.parametrize("value", BAD)
def test_skipped_steps_change_nothing_but_a_counter(name, value):
    arguments = {
        "use_ema": True,
        "global_clipnorm": 1.0,
        "weight_decay": keras_adamx.schedules.StepDecay(0.5, 1, gamma=0.5),
        "learning_rate": keras_adamx.schedules.StepDecay(0.5, 1, gamma=0.5),
    }
    optimizer = keras_adamx.get(name, nonfinite="skip", **arguments)
    trained = problem.variables()
    for step in range(4):
        optimizer.apply(problem.gradients(step), trained)
        if step < 2:
            before = problem.values([*trained, *optimizer.variables])
            optimizer.apply(spoiled(step, 2, value), trained)
            after = problem.values([*trained, *optimizer.variables])
            changed = [
                v.path.split("/")[-1]
                for v, a, b in zip(
                    [*trained, *optimizer.variables], before, after, strict=True
                )
                if not np.array_equal(a, b)
            ]
            assert changed == ["skipped_steps"]
    assert optimizer.skipped_steps == 2
    assert int(optimizer.iterations) == 4
    plain = problem.train(keras_adamx.get(name, **arguments), 4)
    problem.assert_close(problem.values(trained), plain)


def test_skipping_under_accumulation(name):
    """A window is made of finite gradients: the bad one is left out of it."""
    arguments = {
        "gradient_accumulation_steps": 2,
        "learning_rate": 0.1,
        "jit_compile": False,
    }
    optimizer = keras_adamx.get(name, nonfinite="skip", **arguments)
    trained = problem.variables()
    optimizer.apply(problem.gradients(0), trained)
    optimizer.apply(spoiled(1, 1, np.nan), trained)
    start = problem.values(problem.variables())
    problem.assert_same_bits(problem.values(trained), start)
    optimizer.apply(problem.gradients(1), trained)
    problem.assert_close(
        problem.values(trained), problem.train(keras_adamx.get(name, **arguments), 2)
    )
    assert optimizer.skipped_steps == 1


@pytest.mark.parametrize("jit_compile", [False, "auto"])
def test_nonfinite_gradients_raise_and_are_named(name, jit_compile):
    optimizer = keras_adamx.get(name, nonfinite="raise", jit_compile=jit_compile)
    trained = problem.variables()
    before = problem.values(trained)
    with pytest.raises(FloatingPointError, match=r"not finite.*\['w2'\]"):
        optimizer.apply(spoiled(0, 2, np.nan), trained)
    problem.assert_same_bits(problem.values(trained), before)
    assert int(optimizer.iterations) == 0
    optimizer.apply(problem.gradients(0), trained)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_nonfinite_gradients_end_fit(jit_compile):
    if keras.backend.backend() == "torch" and jit_compile:
        pytest.skip("Keras would need a C++ compiler and a minute")
    optimizer = keras_adamx.Adam(nonfinite="raise")
    model = problem.compiled(optimizer, jit_compile=jit_compile)
    x, y = problem.dataset()
    x = x.copy()
    x[40] = np.nan
    with pytest.raises(Exception, match="not finite"):
        model.fit(x, y, batch_size=32, shuffle=False, verbose=0)
    for weight in model.get_weights():
        assert np.isfinite(weight).all()


def test_nonfinite_gradients_pass_through_by_default(name):
    optimizer = keras_adamx.get(name)
    trained = problem.variables()
    optimizer.apply(spoiled(0, 1, np.nan), trained)
    assert np.isnan(problem.values(trained)[1]).any()
    for i in (0, 2, 3):
        assert np.isfinite(problem.values(trained)[i]).all()
    assert optimizer.skipped_steps == 0


def test_fit_goes_on_after_a_skipped_batch():
    model = problem.compiled(keras_adamx.Adam(0.05, nonfinite="skip"))
    x, y = problem.dataset()
    x = x.copy()
    x[40] = np.inf
    history = model.fit(x, y, batch_size=32, epochs=8, shuffle=False, verbose=0)
    assert model.optimizer.skipped_steps == 8
    assert int(model.optimizer.iterations) == 16
    for weight in model.get_weights():
        assert np.isfinite(weight).all()
    assert len(history.history["loss"]) == 8


def test_absent_gradients_in_a_window_count_as_zeros(name):
    """Given in the first call or in the last of a window: the mean is the same."""

    def train(order):
        optimizer = keras_adamx.get(
            name,
            learning_rate=0.1,
            gradient_accumulation_steps=2,
            weight_decay=0.25,
            jit_compile=False,
        )
        trained = problem.variables()
        for update in range(2):
            one, other = (
                problem.gradients(2 * update),
                problem.gradients(2 * update + 1),
            )
            other[2] = None
            for gradients in (one, other)[::order]:
                optimizer.apply(gradients, trained)
        return problem.values(trained)

    problem.assert_close(train(1), train(-1))


def test_variables_without_gradient_in_a_window_stay(name):
    optimizer = keras_adamx.get(
        name,
        learning_rate=0.1,
        gradient_accumulation_steps=2,
        weight_decay=0.25,
        jit_compile=False,
    )
    trained = problem.variables()
    optimizer.apply(problem.gradients(0), trained)
    optimizer.apply(problem.gradients(1), trained)
    [w] = problem.values([trained[2]])
    slots = problem.values(optimizer.entries[2].stored.values())
    for step in range(2, 4):
        gradients = problem.gradients(step)
        gradients[2] = None
        optimizer.apply(gradients, trained)
    np.testing.assert_array_equal(problem.values([trained[2]])[0], w)
    problem.assert_same_bits(
        problem.values(optimizer.entries[2].stored.values()), slots
    )


def test_an_incomplete_window_is_saved_and_resumed(name):
    whole = keras_adamx.get(
        name, learning_rate=0.1, gradient_accumulation_steps=3, jit_compile=False
    )
    expected = problem.train(whole, 6)
    first = keras_adamx.get(
        name, learning_rate=0.1, gradient_accumulation_steps=3, jit_compile=False
    )
    trained = problem.variables()
    for step in range(4):
        first.apply(problem.gradients(step), trained)
    store = {}
    first.save_own_variables(store)
    second = keras_adamx.get(
        name, learning_rate=0.1, gradient_accumulation_steps=3, jit_compile=False
    )
    second.build(trained)
    second.load_own_variables(store)
    for step in range(4, 6):
        second.apply(problem.gradients(step), trained)
    problem.assert_same_bits(problem.values(trained), expected)


def test_clipping_is_on_the_mean_of_a_window(name):
    arguments = {"learning_rate": 0.1, "global_clipnorm": 0.5, "jit_compile": False}
    optimizer = keras_adamx.get(name, gradient_accumulation_steps=2, **arguments)
    trained = problem.train(optimizer, 2)
    once, expected = keras_adamx.get(name, **arguments), problem.variables()
    both = zip(problem.gradients(0), problem.gradients(1))
    once.apply([(a + b) / 2.0 for a, b in both], expected)
    problem.assert_close(trained, problem.values(expected), rtol=1e-5)


@pytest.mark.parametrize("size", [1023, 1024, 1031, 40_000])
def test_norms_of_large_variables(size):
    gradient = np.random.default_rng(0).normal(size=size).astype("float32")
    gradient[[0, -1]] = 300.0, 400.0
    weights = keras.Variable(np.full(size, 2.0, "float32"))
    optimizer = keras_adamx.SGD(1.0, global_clipnorm=3.0)
    optimizer.apply([ops.convert_to_tensor(gradient)], [weights])
    norm = np.linalg.norm(gradient.astype("float64"))
    expected = 2.0 - 3.0 * gradient / norm
    problem.assert_close(problem.values([weights]), [expected])


# On JAX, Keras' wrapper works inside of `fit` only: `test_mixed_float16_in_fit`.
@pytest.mark.backend("tensorflow", "torch")
@pytest.mark.parametrize("bad", [False, True])
def test_loss_scale_optimizer_around_ours(name, bad):
    """A step that it skips is none; its scale is divided out before ours sees it."""
    scale = 64.0
    outer = keras.optimizers.LossScaleOptimizer(
        keras_adamx.get(name, learning_rate=0.1), initial_scale=scale
    )
    trained = problem.variables()
    outer.build(trained)

    def apply(gradients):
        outer.apply(gradients, trained)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        apply = tf.function(apply)
    for step in range(3):
        apply([scale * g for g in problem.gradients(step)])
        if bad and step == 2:
            before = problem.values(trained)
            apply(spoiled(3, 1, np.inf))
            problem.assert_same_bits(problem.values(trained), before)
    assert int(outer.iterations) == 3
    plain = problem.train(keras_adamx.get(name, learning_rate=0.1), 3)
    problem.assert_close(problem.values(trained), plain)


def test_mixed_float16_in_fit(name):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = problem.compiled(keras_adamx.get(name, learning_rate=0.01))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    loss = problem.fit(model, 2).history["loss"]
    assert np.isfinite(loss).all()
    for weight in model.get_weights():
        assert np.isfinite(weight).all()


# Rows of an embedding, on TensorFlow.

ROWS = np.array([7, 2, 7, 31, 2, 7])
TABLE = (40, 256)


def slices(step, scale=1.0):
    import tensorflow as tf

    random = np.random.default_rng(step)
    values = random.normal(size=(len(ROWS), *TABLE[1:])) * scale
    indices = (ROWS + step) % TABLE[0]
    shape = tf.constant(TABLE)
    return tf.IndexedSlices(tf.constant(values, tf.float32), indices, shape)


def summed(step):
    return ops.convert_to_tensor(slices(step))


def train_rows(optimizer, gradients, steps=4, wrap=None):
    """A table and a vector, trained on sparse and dense gradients."""
    trained = problem.variables((TABLE, (5,)))
    optimizer.build(trained)

    def apply(table, vector):
        optimizer.apply([table, vector], trained)

    run = wrap(apply) if wrap else apply
    for step in range(steps):
        run(gradients(step), problem.gradients(step, ((5,),))[0])
    return problem.values(trained)


@pytest.mark.backend("tensorflow")
def test_repeated_rows_are_summed(name):
    """Keras squares each of them: 0.5975 where 0.7 is right."""
    arguments = {"learning_rate": 0.1, "weight_decay": 0.125, "clipnorm": 1.0}
    problem.assert_close(
        train_rows(keras_adamx.get(name, **arguments), slices),
        train_rows(keras_adamx.get(name, **arguments), summed),
    )


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("state_dtype", ["float32", "bfloat16", "int8"])
def test_lazy_rows(name, state_dtype):
    """The rule on the given rows alone: as if each row were a variable of its own."""
    rule = keras_adamx.get(name)
    if rule.has_statistics or not rule.elementwise:
        with pytest.raises(ValueError, match="cannot be 'lazy'"):
            keras_adamx.get(name, sparse="lazy")
        return
    arguments = {
        "learning_rate": 0.1,
        "weight_decay": 0.125,
        "global_clipnorm": 2.0,
        "groups": [Group("w0", learning_rate=0.5)],
        "state_dtype": state_dtype,
    }
    # Compiled once, for one of the dtypes: the rows themselves never are.
    jit_compile = "auto" if state_dtype == "float32" else False
    lazy = keras_adamx.get(name, sparse="lazy", jit_compile=jit_compile, **arguments)
    trained = train_rows(lazy, slices)
    expected = rows_one_by_one(name, arguments)
    tolerance = 2e-6 if state_dtype == "float32" else 0.02
    np.testing.assert_allclose(trained[0], expected, rtol=tolerance, atol=tolerance)
    untouched = np.ones(TABLE[0], bool)
    for step in range(4):
        untouched[(ROWS + step) % TABLE[0]] = False
    start = problem.values(problem.variables((TABLE,)))[0]
    np.testing.assert_array_equal(trained[0][untouched], start[untouched])


def rows_one_by_one(name, arguments):
    """The same by dense means: a gradient of None for the rows that are not given."""
    arguments = {**arguments, "groups": [Group("r", learning_rate=0.5)]}
    optimizer = keras_adamx.get(name, jit_compile=False, **arguments)
    start = problem.values(problem.variables((TABLE,)))[0]
    rows = [keras.Variable(row, name=f"r{i}") for i, row in enumerate(start)]
    vector = problem.variables((TABLE, (5,)))[1]
    for step in range(4):
        dense = ops.convert_to_numpy(summed(step))
        given = set((ROWS + step) % TABLE[0])
        gradients = [
            ops.convert_to_tensor(dense[i]) if i in given else None
            for i in range(TABLE[0])
        ]
        extra = problem.gradients(step, ((5,),))[0]
        optimizer.apply([*gradients, extra], [*rows, vector])
    return np.stack(problem.values(rows))


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_lazy_rows_in_graphs(name, jit_compile):
    import tensorflow as tf

    rule = keras_adamx.get(name)
    if rule.has_statistics or not rule.elementwise:
        pytest.skip("works on whole variables")

    def wrap(apply):
        @functools.partial(tf.function, jit_compile=jit_compile)
        def step(values, indices, vector):
            apply(tf.IndexedSlices(values, indices, TABLE), vector)

        return lambda rows, vector: step(rows.values, rows.indices, vector)

    make = functools.partial(keras_adamx.get, name, learning_rate=0.1, sparse="lazy")
    arguments = {"use_ema": True, "nonfinite": "skip"}
    problem.assert_close(
        train_rows(make(**arguments), slices, 2, wrap=wrap),
        train_rows(make(**arguments, jit_compile=False), slices, 2),
    )


@pytest.mark.backend("tensorflow")
def test_lazy_rows_of_low_precision_weights():
    """Each row is rounded by random numbers of its own."""
    import tensorflow as tf

    table = keras.Variable(np.ones(TABLE, "float32"), dtype="bfloat16")
    optimizer = keras_adamx.SGD(1.0, sparse="lazy")
    for _ in range(100):
        rows = tf.IndexedSlices(tf.fill((3, 256), 1e-4), [3, 9, 30], TABLE)
        optimizer.apply([rows], [table])
    [values] = problem.values([table])
    np.testing.assert_allclose(values[[3, 9, 30]].mean(), 0.99, atol=1e-3)
    assert not np.array_equal(values[3], values[9])
    assert (np.delete(values, [3, 9, 30], axis=0) == 1.0).all()


@pytest.mark.backend("tensorflow")
def test_lazy_rows_skip_and_average():
    optimizer = keras_adamx.Adam(
        0.1, sparse="lazy", nonfinite="skip", use_ema=True, ema_momentum=0.5
    )
    trained = problem.variables((TABLE, (5,)))
    vector = problem.gradients(0, ((5,),))[0]
    optimizer.apply([slices(0), vector], trained)
    one = problem.values([*trained, *optimizer.variables])
    optimizer.apply([slices(1, np.nan), vector], trained)
    two = problem.values([*trained, *optimizer.variables])
    assert sum(not np.array_equal(a, b) for a, b in zip(one, two)) == 1
    first = problem.values(trained)
    optimizer.apply([slices(1), vector], trained)
    means = [0.5 * a + 0.5 * b for a, b in zip(first, problem.values(trained))]
    problem.assert_close(problem.values([e.average for e in optimizer.entries]), means)


@pytest.mark.backend("tensorflow")
def test_lazy_embedding_in_fit():
    def trained(sparse, **how):
        keras.utils.set_random_seed(2)
        model = keras.Sequential(
            [
                keras.layers.Input((4,), dtype="int32"),
                keras.layers.Embedding(50, 8, name="table"),
                keras.layers.Flatten(),
                keras.layers.Dense(3, name="head"),
            ]
        )
        optimizer = keras_adamx.Adam(0.05, sparse=sparse)
        model.compile(optimizer, "mse", **how)
        x = np.random.default_rng(0).integers(0, 20, (64, 4))
        y = np.random.default_rng(1).normal(size=(64, 3))
        history = model.fit(x, y, batch_size=16, epochs=6, shuffle=False, verbose=0)
        return history.history["loss"], model.get_weights()

    lazy, weights = trained("lazy")
    _, others = trained("dense")
    assert lazy[-1] < 0.8 * lazy[0]
    np.testing.assert_array_equal(weights[0][20:], others[0][20:])
    assert not np.array_equal(weights[0], others[0])
    for a, b in zip(weights, trained("lazy", jit_compile=True)[1]):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_lazy_and_accumulation_exclude_each_other():
    with pytest.raises(ValueError, match=r"`sparse`.*gradient_accumulation_steps"):
        keras_adamx.Adam(sparse="lazy", gradient_accumulation_steps=2)
