"""Transforms: each against its formula, around every rule, saved and resumed."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_adamx
import keras_adamx.rule
from keras_adamx import transforms
from tests import problem

CLASSES = [getattr(transforms, name) for name in transforms.__all__]
RATE = 0.25


def one_step(transform, *, weights, gradient, steps=1, **arguments):
    """Weights of plain descent with a transform after some steps of one gradient."""
    variable = keras.Variable(weights, name=arguments.pop("named", "w"))
    optimizer = keras_adamx.SGD(RATE, transforms=[transform], **arguments)
    for _ in range(steps):
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
    return problem.values([variable])[0], optimizer


@pytest.fixture(name="kernel")
def _kernel():
    random = np.random.default_rng(3)
    return [random.normal(size=(3, 3, 2, 4)).astype("float32") for _ in range(2)]


def test_centralization_takes_out_the_mean_of_each_output(kernel):
    weights, gradient = kernel
    after, _ = one_step(
        transforms.GradientCentralization(), weights=weights, gradient=gradient
    )
    centred = gradient - gradient.mean(axis=(0, 1, 2), keepdims=True)
    np.testing.assert_allclose(after, weights - RATE * centred, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "named"), [((4,), "w"), ((), "w"), ((6, 4), "embeddings")]
)
def test_centralization_leaves_alone(shape, named):
    weights, gradient = np.ones(shape, "float32"), np.full(shape, 2.0, "float32")
    after, _ = one_step(
        transforms.GradientCentralization(),
        weights=weights,
        gradient=gradient,
        named=named,
    )
    np.testing.assert_array_equal(after, weights - RATE * gradient)


def test_adaptive_clipping_is_by_unit(kernel):
    weights, gradient = kernel
    gradient = gradient * np.array([1e-3, 1.0, 10.0, 0.0], "float32")
    weights = weights * np.array([1.0, 1.0, 1.0, 0.0], "float32")
    transform = transforms.AdaptiveGradientClipping(clipping=0.05, epsilon=0.01)
    after, _ = one_step(transform, weights=weights, gradient=gradient)
    size = np.maximum(np.sqrt((weights**2).sum((0, 1, 2))), 0.01)
    length = np.sqrt((gradient**2).sum((0, 1, 2)))
    factor = np.minimum(1.0, 0.05 * size / np.maximum(length, 1e-12))
    expected = weights - RATE * gradient * factor
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)
    assert factor[0] == 1.0
    assert factor[2] < 1.0


def test_adaptive_clipping_takes_vectors_whole():
    weights, gradient = np.float32([3.0, 4.0]), np.float32([30.0, -40.0])
    transform = transforms.AdaptiveGradientClipping(clipping=0.1)
    after, _ = one_step(transform, weights=weights, gradient=gradient)
    np.testing.assert_allclose(after, weights - RATE * gradient * 0.01, rtol=1e-5)


def test_noise_has_its_variance_and_fades():
    zeros = np.zeros(40_000, "float32")
    transform = transforms.GradientNoise(variance=0.5, gamma=1.0)
    first, optimizer = one_step(transform, weights=zeros, gradient=zeros)
    noise = first / RATE
    assert abs(noise.mean()) < 0.02
    assert abs(noise.var() - 0.5) < 0.02
    assert abs(np.mean(noise**4) / noise.var() ** 2 - 3.0) < 0.2
    [entry] = optimizer.entries
    before = first
    for step in (2, 3, 4):
        optimizer.apply([ops.convert_to_tensor(zeros)], [entry.variable])
        after = problem.values([entry.variable])[0]
        fresh = (after - before) / RATE
        assert abs(fresh.var() - 0.5 / step) < 0.02
        assert abs(np.corrcoef(fresh, noise)[0, 1]) < 0.03
        before = after


def test_noise_differs_between_variables_and_seeds():
    def trained():
        zeros = [keras.Variable(np.zeros(50, "float32")) for _ in range(2)]
        optimizer = keras_adamx.SGD(1.0, transforms=[transforms.GradientNoise()])
        optimizer.apply([ops.zeros(50)] * 2, zeros)
        return problem.values(zeros)

    left, right = trained()
    assert not np.allclose(left, right)
    assert not np.allclose(left, trained()[0])


def test_grokfast():
    transform = transforms.GrokFast(alpha=0.75, amplification=3.0)
    variable = keras.Variable(0.0)
    optimizer = keras_adamx.SGD(1.0, transforms=[transform])
    expected, average = 0.0, None
    for gradient in (1.0, -2.0, 0.5):
        average = gradient if average is None else average
        average = 0.75 * average + 0.25 * gradient
        expected -= gradient + 3.0 * average
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
    np.testing.assert_allclose(problem.values([variable])[0], expected, rtol=1e-6)


def test_cautious_moves_what_agrees():
    """With momentum: at the second step some elements still go the other way."""
    gradients = np.float32([[1.0, 1.0, 1.0, 1.0], [-0.5, 0.5, -2.0, 1.0]])
    variable = keras.Variable(np.zeros(4, "float32"))
    optimizer = keras_adamx.SGD(
        1.0, momentum=0.9, transforms=[transforms.Cautious(minimum=0.01)]
    )
    momentum, expected = np.zeros(4), np.zeros(4)
    for gradient in gradients:
        momentum = 0.9 * momentum + gradient
        agrees = momentum * gradient > 0
        expected -= momentum * agrees / agrees.mean()
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
    assert agrees.mean() == 0.75
    np.testing.assert_allclose(problem.values([variable])[0], expected, rtol=1e-6)


def test_trust_ratio_contains_the_decay():
    weights, gradient = np.float32([3.0, 4.0]), np.float32([0.5, -1.0])
    after, _ = one_step(
        transforms.TrustRatio(upper=2.0),
        weights=weights,
        gradient=gradient,
        weight_decay=0.125,
    )
    direction = gradient + 0.125 * weights
    expected = weights - RATE * 2.0 * direction / np.linalg.norm(direction)
    np.testing.assert_allclose(after, expected, rtol=1e-6)


def test_trust_ratio_of_nothing_is_one():
    for weights, gradient in (([0.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 0.0])):
        weights, gradient = np.float32(weights), np.float32(gradient)
        after, _ = one_step(transforms.TrustRatio(), weights=weights, gradient=gradient)
        np.testing.assert_array_equal(after, weights - RATE * gradient)


def test_update_clip():
    gradient = np.float32([3.0, -4.0])
    transform = transforms.UpdateRMSClip(threshold=0.5)
    zeros = np.zeros(2, "float32")
    after, _ = one_step(transform, weights=zeros, gradient=gradient)
    size = np.sqrt(12.5)
    np.testing.assert_allclose(after, -RATE * gradient * 0.5 / size, rtol=1e-6)
    small, _ = one_step(transform, weights=zeros, gradient=gradient / 100)
    np.testing.assert_allclose(small, -RATE * gradient / 100, rtol=1e-6)


def test_lookahead_returns():
    weights = np.float32([1.0, -1.0])
    gradient = np.float32([1.0, 2.0])
    transform = transforms.Lookahead(steps=2, alpha=0.25)
    slow = weight = weights
    for steps in range(1, 6):
        weight = weight - RATE * gradient
        if steps % 2 == 0:
            slow = weight = slow + 0.25 * (weight - slow)
        after, _ = one_step(transform, weights=weights, gradient=gradient, steps=steps)
        np.testing.assert_allclose(after, weight, rtol=1e-6)


def test_averages_begin_with_the_weights_of_the_first_step():
    """Not with those of `build`: weights may be loaded in between."""
    variable = keras.Variable(np.zeros(2, "float32"))
    transform = transforms.Lookahead(steps=1, alpha=0.5)
    optimizer = keras_adamx.SGD(1.0, transforms=[transform])
    optimizer.build([variable])
    variable.assign([8.0, 4.0])
    optimizer.apply([ops.convert_to_tensor([2.0, 2.0])], [variable])
    np.testing.assert_array_equal(problem.values([variable])[0], [7.0, 3.0])


@pytest.mark.parametrize(
    ("transform", "weights_of"),
    [
        (
            transforms.ExponentialAverage(decay=0.75),
            lambda path: 0.75 * (0.75 * path[0] + 0.25 * path[1]) + 0.25 * path[2],
        ),
        (transforms.StochasticWeightAverage(), lambda path: np.mean(path, axis=0)),
        (transforms.StochasticWeightAverage(start=9), lambda path: path[2]),
        (
            transforms.StochasticWeightAverage(start=1, every=2),
            lambda path: (path[0] + path[2]) / 2,
        ),
    ],
)
def test_averages(transform, weights_of):
    random = np.random.default_rng(0)
    variable = keras.Variable(np.float32([1.0, -2.0]))
    optimizer = keras_adamx.SGD(RATE, transforms=[transform])
    path = []
    for _ in range(3):
        gradient = random.normal(size=2).astype("float32")
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
        path.append(problem.values([variable])[0])
    [(_, average)] = optimizer.entries[0].stored.items()
    expected = weights_of(path)
    np.testing.assert_allclose(problem.values([average])[0], expected, rtol=1e-6)


def around(name):
    """Some of them together, around a rule that may not take all."""
    chosen = [
        transforms.GrokFast(amplification=0.5),
        transforms.GradientNoise(),
        transforms.AdaptiveGradientClipping(clipping=0.5),
        transforms.Cautious(),
        transforms.UpdateRMSClip(),
        transforms.Lookahead(steps=2),
        transforms.ExponentialAverage(decay=0.5),
    ]
    if keras_adamx.get(name).moves_itself:
        chosen = [t for t in chosen if not t.changes_steps]
    return keras_adamx.get(name, learning_rate=0.01, transforms=chosen)


def test_around_every_rule(name):
    """They change the steps, and what is saved goes on to the bit."""
    optimizer = around(name)
    trained = problem.train(optimizer, 3)
    assert all(np.isfinite(value).all() for value in trained)
    plain = problem.train(keras_adamx.get(name, learning_rate=0.01), 3)
    assert not all(np.array_equal(a, b) for a, b in zip(trained, plain))
    store = {}
    optimizer.save_own_variables(store)
    again = type(optimizer).from_config(json.loads(json.dumps(optimizer.get_config())))
    resumed = [keras.Variable(v, name=f"w{i}") for i, v in enumerate(trained)]
    again.build(resumed)
    again.load_own_variables(store)
    for step in (3, 4):
        gradients = problem.gradients(step)
        optimizer.apply(gradients, [e.variable for e in optimizer.entries])
        again.apply(gradients, resumed)
    problem.assert_same_bits(
        problem.values([e.variable for e in optimizer.entries]), problem.values(resumed)
    )


def test_none_is_the_same_as_no_transforms(name):
    """Averages watch the weights and change nothing."""
    if keras_adamx.get(name).moves_itself:
        pytest.skip("the rule keeps an average of its own")
    watched = keras_adamx.get(
        name,
        transforms=[
            transforms.ExponentialAverage(),
            transforms.StochasticWeightAverage(),
        ],
    )
    problem.assert_close(problem.train(watched), problem.train(keras_adamx.get(name)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_dtypes_of_weights(dtype):
    if dtype == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX has float64 only when asked")
    trained = problem.train(around("adamw"), 3, dtype=dtype)
    assert all(np.isfinite(value).all() for value in trained)


@pytest.mark.parametrize("state_dtype", ["bfloat16", "int8"])
def test_slots_of_transforms_follow_the_state_dtype(state_dtype):
    optimizer = keras_adamx.SGD(
        0.1,
        state_dtype=state_dtype,
        transforms=[transforms.GrokFast(), transforms.Lookahead()],
    )
    shapes = ((64, 64),)
    problem.train(optimizer, 2, shapes=shapes)
    [entry] = optimizer.entries
    kinds = {name: codec.dtype for name, codec in entry.codecs.items()}
    assert kinds == {"grokfast.average": state_dtype, "lookahead.slow": "float32"}


def test_schedules_for_their_arguments():
    schedule = keras_adamx.schedules.StepDecay(1.0, 1, gamma=0.5)
    transform = transforms.UpdateRMSClip(threshold=schedule)
    variable = keras.Variable(0.0)
    optimizer = keras_adamx.SGD(1.0, transforms=[transform])
    for _ in range(3):
        optimizer.apply([ops.convert_to_tensor(100.0)], [variable])
    np.testing.assert_allclose(problem.values([variable])[0], -1.75, rtol=1e-6)
    again = type(optimizer).from_config(json.loads(json.dumps(optimizer.get_config())))
    assert again.get_config() == optimizer.get_config()


def test_groups_have_their_own():
    groups = [keras_adamx.Group("w1", transforms=[])]
    optimizer = keras_adamx.SGD(
        1.0, transforms=[transforms.UpdateRMSClip(threshold=0.5)], groups=groups
    )
    trained = [keras.Variable(0.0, name=f"w{i}") for i in range(2)]
    optimizer.apply([ops.convert_to_tensor(4.0)] * 2, trained)
    assert [float(v) for v in problem.values(trained)] == [-0.5, -4.0]


def test_accumulation_transforms_the_mean():
    transform = transforms.UpdateRMSClip(threshold=0.5)
    variable = keras.Variable(0.0)
    optimizer = keras_adamx.SGD(
        1.0, gradient_accumulation_steps=2, transforms=[transform]
    )
    for gradient in (8.0, -7.0):
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
    assert float(problem.values([variable])[0]) == -0.5


def test_skipped_steps_leave_their_slots_alone():
    transform = transforms.ExponentialAverage(decay=0.5)
    variable = keras.Variable([1.0, 2.0])
    optimizer = keras_adamx.SGD(1.0, nonfinite="skip", transforms=[transform])
    optimizer.apply([ops.convert_to_tensor([1.0, 1.0])], [variable])
    slots = list(optimizer.entries[0].stored.values())
    before = problem.values([variable, *slots])
    optimizer.apply([ops.convert_to_tensor([np.nan, 1.0])], [variable])
    problem.assert_same_bits(problem.values([variable, *slots]), before)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"transforms": "cautious"}, "`transforms`.*list of `Transform`"),
        ({"transforms": [1]}, "`transforms`.*list of `Transform`"),
        (
            {"transforms": [transforms.Cautious()], "sparse": "lazy"},
            "`sparse`.*Cautious",
        ),
        (
            {
                "transforms": [transforms.TrustRatio()],
                "weight_decay_kind": "independent",
            },
            "`weight_decay_kind`.*TrustRatio",
        ),
    ],
)
def test_wrong_arguments_are_named(wrong, words):
    with pytest.raises((TypeError, ValueError), match=words):
        keras_adamx.Adam(**wrong)


@pytest.mark.parametrize(
    "cls",
    [
        keras_adamx.Adafactor,
        keras_adamx.LARS,
        keras_adamx.Prodigy,
        keras_adamx.ScheduleFreeSGD,
    ],
)
def test_trust_ratio_needs_a_bare_direction(cls):
    with pytest.raises(ValueError, match=r"`transforms`.*size of a direction"):
        cls(transforms=[transforms.TrustRatio()])


def test_schedule_free_takes_transforms_of_gradients_only():
    with pytest.raises(ValueError, match=r"`transforms`.*gradients only.*Lookahead"):
        keras_adamx.ScheduleFreeAdamW(transforms=[transforms.Lookahead()])


def test_slots_of_any_shape_beside_an_elementwise_rule():
    class Counted(transforms.UpdateRMSClip):
        def slots(self, weights):
            yield keras_adamx.rule.Slot("count", shape=())

        def direction(self, direction, gradient, weights, state, hyper):
            state.count = state.count + 1.0
            return state.count * direction

    after, _ = one_step(
        Counted(),
        weights=np.zeros(2, "float32"),
        gradient=np.ones(2, "float32"),
        steps=2,
    )
    np.testing.assert_array_equal(after, [-3 * RATE, -3 * RATE])


@pytest.mark.parametrize("cls", CLASSES)
def test_unknown_arguments_are_named(cls):
    with pytest.raises(TypeError, match=f"{cls.__name__}: unknown argument `nothing`"):
        cls(nothing=1)


@pytest.mark.parametrize("cls", CLASSES)
def test_config_survives_json(cls):
    transform = cls()
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(transform)))
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is cls
    assert again.get_config() == transform.get_config()
