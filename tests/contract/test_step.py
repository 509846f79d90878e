"""What every optimizer does in one step, on every path that runs it."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_adamx
from tests import problem


@pytest.mark.compiled
def test_every_path_gives_the_same_weights(name):
    """Op by op, compiled, in a graph, under XLA, stateless, by `update_step`."""
    reference = problem.train(keras_adamx.get(name, jit_compile=False))
    problem.assert_close(problem.train(keras_adamx.get(name)), reference)
    for apply_for in paths():
        optimizer = keras_adamx.get(name)
        trained = problem.train(optimizer, apply=apply_for(optimizer))
        problem.assert_close(trained, reference)


def paths():
    """Ways to run a step that only one backend has."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for jit_compile in (False, True):

            def graph(optimizer, jit_compile=jit_compile):
                step = tf.function(
                    lambda gradients: optimizer.apply(gradients),
                    jit_compile=jit_compile,
                )
                return lambda gradients, trained: step(gradients)

            yield graph
    elif keras.backend.backend() == "jax":
        import jax

        def stateless(optimizer):
            step = jax.jit(optimizer.stateless_apply, donate_argnums=(0, 2))

            def apply(gradients, trained):
                new, state = step(
                    [v.value for v in optimizer.variables],
                    gradients,
                    [v.value for v in trained],
                )
                for variable, value in zip(trained, new):
                    variable.assign(value)
                for variable, value in zip(optimizer.variables, state):
                    variable.assign(value)

            return apply

        yield stateless
    else:
        yield lambda optimizer: optimizer.apply


def test_update_step_is_the_bare_rule(name):
    optimizer = keras_adamx.get(name, weight_decay=None)
    if optimizer.shared_slots:
        with pytest.raises(NotImplementedError, match="call `apply`"):
            optimizer.update_step(None, None, None)
        return

    def apply(gradients, trained):
        for gradient, variable in zip(gradients, trained):
            optimizer.update_step(gradient, variable, optimizer.learning_rate)
        optimizer.iterations.assign_add(1)

    problem.assert_close(
        problem.train(optimizer, apply=apply),
        problem.train(keras_adamx.get(name, weight_decay=None)),
    )


def test_a_variable_without_gradient_stays(name):
    optimizer = keras_adamx.get(name, learning_rate=0.1)
    trained = problem.variables()
    before = problem.values(trained)
    for step in range(3):
        gradients = problem.gradients(step)
        gradients[1] = None
        optimizer.apply(gradients, trained)
    after = problem.values(trained)
    np.testing.assert_array_equal(after[1], before[1])
    for i in (0, 2, 3):
        assert not np.array_equal(after[i], before[i])


def test_gradients_that_come_and_go(name):
    """A step without one variable is a step that leaves out that variable alone."""
    optimizer = keras_adamx.get(name, learning_rate=0.1)
    trained = problem.variables()
    for step in range(4):
        gradients = problem.gradients(step)
        if step % 2:
            gradients[2] = None
        optimizer.apply(gradients, trained)
    full = problem.train(keras_adamx.get(name, learning_rate=0.1), steps=4)
    others = [problem.values(trained)[i] for i in (0, 1, 3)]
    problem.assert_close(others, [full[0], full[1], full[3]])
    assert np.isfinite(problem.values(trained)[2]).all()


def test_empty_and_single_element_variables(name):
    shapes = ((0,), (1,), (0, 3), (3, 0), (1, 1), ())
    trained = problem.train(keras_adamx.get(name), shapes=shapes)
    assert [v.shape for v in trained] == list(shapes)
    for value in trained:
        assert np.isfinite(value).all()


def test_zero_gradients_do_no_harm(name):
    optimizer = keras_adamx.get(name, weight_decay=None)
    trained = problem.variables()
    before = problem.values(trained)
    for _ in range(3):
        optimizer.apply([ops.zeros(v.shape) for v in trained], trained)
    problem.assert_same_bits(problem.values(trained), before)


def test_constant_gradients_stay_finite(name):
    optimizer = keras_adamx.get(name, **problem.EXTRA.get(name, {}))
    trained = problem.variables(((5,), (2, 4)))
    for _ in range(100):
        optimizer.apply([ops.full(v.shape, 0.5) for v in trained], trained)
    for value in problem.values(trained):
        assert np.isfinite(value).all()


def test_elementwise_rules_are_elementwise(name):
    """The claim that lets a backend cut and join variables, checked."""
    optimizer = keras_adamx.get(name)
    if not optimizer.elementwise:
        pytest.skip("works on whole variables")
    whole = problem.train(keras_adamx.get(name), shapes=((6, 4),))[0]
    trained = [keras.Variable(row) for row in problem.arrays(((6, 4),))[0]]
    for step in range(5):
        rows = list(ops.unstack(problem.gradients(step, ((6, 4),))[0]))
        optimizer.apply(rows, trained)
    problem.assert_close(problem.values(trained), list(whole))


def test_large_variables_are_updated_like_small_ones(name):
    """Backends that work in pieces must not lose an element at the seams."""
    if not keras_adamx.get(name).elementwise:
        pytest.skip("works on whole variables")
    shapes = ((700, 401), (3, 5), (90_000,), (60_000,))
    trained = problem.train(keras_adamx.get(name), steps=3, shapes=shapes)
    parts = [v.reshape(-1)[-7:] for v in trained]
    optimizer = keras_adamx.get(name)
    tails = [keras.Variable(v.reshape(-1)[-7:].copy()) for v in problem.arrays(shapes)]
    for step in range(3):
        tail = [ops.reshape(g, (-1,))[-7:] for g in problem.gradients(step, shapes)]
        optimizer.apply(tail, tails)
    problem.assert_close(problem.values(tails), parts)


def test_decay_inside_the_rule_can_be_excluded(name):
    """A variable that is excluded moves as if there were no decay."""
    if name not in problem.DECAY_INSIDE or keras_adamx.get(name).has_statistics:
        pytest.skip("the decay stands outside of the rule, or all move together")
    decayed = keras_adamx.get(name, learning_rate=0.25, weight_decay=0.5)
    decayed.exclude_from_weight_decay(var_names=["w2"])
    plain = keras_adamx.get(name, learning_rate=0.25, weight_decay=None)
    one, other = problem.train(decayed, 2), problem.train(plain, 2)
    np.testing.assert_array_equal(one[2], other[2])
    assert not np.allclose(one[3], other[3], rtol=1e-3)


def test_weight_decay_is_decoupled_and_can_be_excluded(name):
    if name in problem.DECAY_INSIDE:
        pytest.skip("the decay is part of the rule")
    common = {"learning_rate": 0.25, **problem.EXTRA.get(name, {})}
    decayed = keras_adamx.get(name, weight_decay=0.5, **common)
    plain = keras_adamx.get(name, weight_decay=None, **common)
    decayed.exclude_from_weight_decay(var_names=["w1"])
    start = problem.values(problem.variables())
    one, other = problem.train(decayed, 1), problem.train(plain, 1)
    for i, (a, b, w) in enumerate(zip(one, other, start)):
        expected = b if i == 1 else b - 0.25 * 0.5 * w
        # Compiled another way, products of matrices are rounded otherwise.
        rtol, atol = (1e-5, 5e-6) if name == "muon" else (2e-6, 1e-7)
        np.testing.assert_allclose(a, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("clipping", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_clipping_leaves_small_gradients_alone(clipping):
    clipped = problem.train(keras_adamx.SGD(0.1, **{clipping: 1e6}))
    problem.assert_close(clipped, problem.train(keras_adamx.SGD(0.1)))


@pytest.mark.parametrize("clipping", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_clipping(name, clipping):
    bound = 0.3
    clipped = []
    for step in range(5):
        arrays = problem.values(problem.gradients(step))
        if clipping == "clipvalue":
            arrays = [np.clip(g, -bound, bound) for g in arrays]
        elif clipping == "clipnorm":
            arrays = [g * bound / max(np.linalg.norm(g), bound) for g in arrays]
        else:
            norm = np.sqrt(sum(np.sum(np.square(g)) for g in arrays))
            arrays = [g * bound / max(norm, bound) for g in arrays]
        clipped.append([ops.convert_to_tensor(g, "float32") for g in arrays])
    by_hand = keras_adamx.get(name)
    trained = problem.variables()
    for gradients in clipped:
        by_hand.apply(gradients, trained)
    optimizer = keras_adamx.get(name, **{clipping: bound})
    problem.assert_close(problem.train(optimizer), problem.values(trained), rtol=1e-5)


def test_loss_scale(name):
    optimizer = keras_adamx.get(name, loss_scale_factor=8.0)
    assert float(optimizer.scale_loss(2.0)) == 16.0
    trained = problem.variables()
    for step in range(3):
        optimizer.apply([8.0 * g for g in problem.gradients(step)], trained)
    problem.assert_close(
        problem.values(trained), problem.train(keras_adamx.get(name), steps=3)
    )


def test_accumulation_is_one_step_with_the_mean(name):
    schedule = keras_adamx.schedules.StepDecay(0.5, 1, gamma=0.5)
    optimizer = keras_adamx.get(
        name, learning_rate=schedule, gradient_accumulation_steps=3, use_ema=True
    )
    trained = problem.variables()
    start = problem.values(trained)
    for step in range(6):
        optimizer.apply(problem.gradients(step), trained)
        if step < 2:
            problem.assert_same_bits(problem.values(trained), start)
    assert int(optimizer.iterations) == 2

    once = keras_adamx.get(name, learning_rate=schedule, use_ema=True)
    expected = problem.variables()
    for update in range(2):
        several = [problem.gradients(3 * update + i) for i in range(3)]
        once.apply([sum(g) / 3.0 for g in zip(*several)], expected)
    problem.assert_close(problem.values(trained), problem.values(expected), rtol=1e-5)
    problem.assert_close(
        problem.values([e.average for e in optimizer.entries]),
        problem.values([e.average for e in once.entries]),
        rtol=1e-5,
    )


def test_average_of_the_weights(name):
    optimizer = keras_adamx.get(name, use_ema=True, ema_momentum=0.75)
    trained = problem.variables()
    expected = None
    for step in range(4):
        gradients = problem.gradients(step)
        gradients[0] = None  # Averages of variables without a gradient are kept too.
        optimizer.apply(gradients, trained)
        now = problem.values(trained)
        expected = (
            now
            if expected is None
            else [0.75 * a + 0.25 * w for a, w in zip(expected, now)]
        )
    problem.assert_close(
        problem.values([entry.average for entry in optimizer.entries]), expected
    )
    optimizer.finalize_variable_values(trained)
    problem.assert_close(problem.values(trained), expected)


def test_average_before_the_first_step_leaves_the_weights():
    optimizer = keras_adamx.SGD(use_ema=True)
    trained = problem.variables()
    before = problem.values(trained)
    optimizer.build(trained)
    optimizer.finalize_variable_values(trained)
    problem.assert_same_bits(problem.values(trained), before)


def test_average_overwrites_the_weights():
    optimizer = keras_adamx.SGD(0.5, use_ema=True, ema_overwrite_frequency=2)
    weight = keras.Variable(1.0)
    seen = []
    for _ in range(3):
        optimizer.apply([ops.convert_to_tensor(1.0)], [weight])
        seen.append(float(ops.convert_to_numpy(weight)))
    average = 0.99 * 0.5 + 0.01 * 0.0
    np.testing.assert_allclose(seen, [0.5, average, average - 0.5], rtol=1e-6)


def test_constraints(name):
    optimizer = keras_adamx.get(name, learning_rate=1.0)
    weight = keras.Variable(np.full(3, 0.1, "float32"))
    weight.constraint = keras.constraints.NonNeg()
    for _ in range(3):
        optimizer.apply([ops.ones(3)], [weight])
        assert (ops.convert_to_numpy(weight) >= 0.0).all()


def test_wrong_gradients_and_variables():
    optimizer = keras_adamx.Adam()
    trained = problem.variables()
    good = problem.gradients(0)
    with pytest.raises(ValueError, match="must be built before"):
        optimizer.apply(good)
    with pytest.raises(ValueError, match="3 gradients for 4 variables"):
        optimizer.apply(good[:3], trained)
    with pytest.raises(ValueError, match=r"no gradient for any variable.*w0.*w3"):
        optimizer.apply([None] * 4, trained)
    with pytest.raises(ValueError, match=r"'w1' must have the shape.*\(5,\).*\(4, 3\)"):
        optimizer.apply([good[0], good[2], good[2], good[3]], trained)
    with pytest.raises(TypeError, match=r"'w1' must have a floating-point dtype.*int"):
        optimizer.apply([good[0], ops.ones(5, "int32"), *good[2:]], trained)
    with pytest.raises(ValueError, match="more than once"):
        optimizer.apply([good[0], good[0]], [trained[0], trained[0]])
    assert int(optimizer.iterations) == 0


@pytest.mark.parametrize("dtype", ["int32", "complex64", "bool"])
def test_variables_that_cannot_be_trained(dtype):
    try:
        variable = keras.Variable(np.ones(3), dtype=dtype, name="odd")
    except (RuntimeError, TypeError, ValueError):
        pytest.skip("Keras makes no such variable on this backend")
    with pytest.raises(TypeError, match=f"'odd' of dtype {dtype}"):
        keras_adamx.Adam().build([variable])


def test_a_subset_in_any_order(name):
    optimizer = keras_adamx.get(name)
    trained = problem.variables()
    optimizer.build(trained)
    for step in range(5):
        gradients = problem.gradients(step)
        order = [3, 0, 2, 1]
        optimizer.apply([gradients[i] for i in order], [trained[i] for i in order])
    problem.assert_same_bits(
        problem.values(trained), problem.train(keras_adamx.get(name))
    )


def test_rules_must_set_the_slots_they_declare():
    class Forgetful(keras_adamx.Optimizer):
        def direction(self, gradient, weights, state, hyper):
            state.surplus = gradient
            return gradient

    with pytest.raises(AttributeError, match=r"Forgetful declares.*surplus"):
        Forgetful(jit_compile=False).apply([ops.ones(2)], [keras.Variable([1.0, 1.0])])


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"weight_decay": 0.5, "clipnorm": 0.5},
        {"use_ema": True, "ema_overwrite_frequency": 2},
        {"gradient_accumulation_steps": 2},
        {"global_clipnorm": 0.5},
    ],
)
def test_parts_that_share_a_program(monkeypatch, arguments, dtype):
    """Alike variables run the same compiled program, each with its own values."""
    from keras_adamx.core.backend import tensorflow

    monkeypatch.setattr(tensorflow, "EAGER_PART", 2)
    shapes = ((3, 2),) * 7 + ((5,),) * 5 + ((2, 2),)
    results = []
    for jit_compile in (False, "auto"):
        keras.utils.set_random_seed(4)
        optimizer = keras_adamx.Adam(0.1, jit_compile=jit_compile, **arguments)
        optimizer.exclude_from_weight_decay(var_names=["w1$", "w8"])
        results.append(problem.train(optimizer, 4, shapes, dtype))
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=5e-7)


@pytest.mark.backend("tensorflow")
def test_many_optimizers_are_no_frequent_tracing(caplog):
    for size in range(8):
        optimizer = keras_adamx.SGD(0.1)
        weights = keras.Variable(np.ones(size + 1, "float32"))
        for _ in range(2):
            optimizer.apply([ops.ones(size + 1)], [weights])
    assert "retracing" not in caplog.text
