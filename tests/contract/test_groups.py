"""Groups: other hyper-parameters for some variables, by the paths of these."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_adamx
from keras_adamx import Group
from keras_adamx.core import groups
from tests import problem


def own_argument(name):
    """A numeric argument of the rule itself and another value for it."""
    cls = type(keras_adamx.get(name))
    for argument in ("beta_1", "rho", "epsilon", "epsilon_1"):
        if argument in cls.hyperparameter_names():
            return {argument: 0.5}
    return {"momentum": 0.5}


def alone(name, position, steps=4, **arguments):
    """One variable of the problem, trained by an optimizer of its own."""
    shape = problem.SHAPES[position]
    variable = problem.variables()[position]
    optimizer = keras_adamx.get(name, **arguments)
    for step in range(steps):
        optimizer.apply([problem.gradients(step)[position]], [variable])
    assert tuple(variable.shape) == shape
    return problem.values([variable])[0]


def test_a_group_is_an_optimizer_of_its_own(name):
    own = own_argument(name)
    if keras_adamx.get(name).has_statistics:
        pytest.skip("the rule sums over all variables of a group")
    kind = {"weight_decay": 0.25}
    if name not in problem.DECAY_INSIDE:
        kind["weight_decay_kind"] = "independent"
    optimizer = keras_adamx.get(
        name,
        learning_rate=0.25,
        weight_decay=0.125,
        groups=[
            Group("w1", **own),
            Group("w2", weight_decay=None, clipnorm=0.5),
            Group("w", **kind),
        ],
        **problem.EXTRA.get(name, {}),
    )
    trained = problem.train(optimizer, 4)
    base = {"learning_rate": 0.25, "weight_decay": 0.125, **problem.EXTRA.get(name, {})}
    expected = [
        alone(name, 0, **{**base, **kind}),
        alone(name, 1, **{**base, **own}),
        alone(name, 2, **{**base, "weight_decay": None, "clipnorm": 0.5}),
        alone(name, 3, **{**base, **kind}),
    ]
    problem.assert_close(trained, expected)


def test_multiplier(name):
    """It scales the step, for rules too that make the rate part of it."""
    start = problem.values(problem.variables())
    plain = problem.train(keras_adamx.get(name, learning_rate=0.1), 1)
    optimizer = keras_adamx.get(
        name, learning_rate=0.1, groups=[Group("w[12]", learning_rate=0.25)]
    )
    scaled = problem.train(optimizer, 1)
    for i, (w, a, b) in enumerate(zip(start, plain, scaled)):
        factor = 0.25 if i in (1, 2) else 1.0
        np.testing.assert_allclose(b - w, factor * (a - w), rtol=1e-4, atol=1e-6)


def test_schedules_in_groups(name):
    if keras_adamx.get(name).moves_itself:
        pytest.skip("the movement is not proportional to the learning rate")
    halved = keras_adamx.schedules.StepDecay(1.0, 2, gamma=0.5)
    optimizer = keras_adamx.get(
        name, learning_rate=0.1, groups=[Group("w1", learning_rate=halved)]
    )
    problem.train(optimizer, 2)
    before = problem.values([e.variable for e in optimizer.entries])
    plain = keras_adamx.get(name, learning_rate=0.1)
    same = problem.variables()
    for step in range(3):
        gradients = problem.gradients(step)
        plain.apply(gradients, same)
        if step == 1:
            middle = problem.values(same)
    problem.assert_close(before, middle)
    optimizer.apply(problem.gradients(2), [e.variable for e in optimizer.entries])
    after = problem.values([e.variable for e in optimizer.entries])
    moved = problem.values(same)[1] - middle[1]
    np.testing.assert_allclose(after[1] - before[1], 0.5 * moved, rtol=1e-4, atol=1e-6)


def test_frozen(name):
    """As if the variable were not there: no state, no part in the global norm."""
    common = {"global_clipnorm": 0.5, "use_ema": True, **problem.EXTRA.get(name, {})}
    optimizer = keras_adamx.get(name, groups=[Group("w2", frozen=True)], **common)
    start = problem.values(problem.variables())
    trained = problem.train(optimizer, 3)
    np.testing.assert_array_equal(trained[2], start[2])
    assert optimizer.entries[2].stored == {}
    assert optimizer.memory_report().rows[2].bytes == 0
    others = [problem.variables()[i] for i in (0, 1, 3)]
    plain = keras_adamx.get(name, **common)
    for step in range(3):
        gradients = problem.gradients(step)
        plain.apply([gradients[i] for i in (0, 1, 3)], others)
    problem.assert_close([trained[i] for i in (0, 1, 3)], problem.values(others))


def test_first_match_wins():
    first, second = Group("w1", learning_rate=0.0), Group("w", learning_rate=2.0)
    assert groups.assign([first, second], ["w0", "w1", "w2"], "X") == [2, 1, 2]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["m/dense/kernel", "m/head/kernel"], ["dense/kernel", "head/kernel"]),
        (["dense/kernel", "dense/bias"], ["dense/kernel", "dense/bias"]),
        (["a/dense/kernel", "b/dense/kernel"], ["a/dense/kernel", "b/dense/kernel"]),
        (["w0", "w1"], ["w0", "w1"]),
    ],
)
def test_paths_without_the_model(paths, expected):
    assert groups.without_model(paths) == expected


def test_a_pattern_that_finds_nothing_lists_the_paths():
    model = problem.compiled(keras_adamx.Adam(groups=[Group("^haed/")]))
    with pytest.raises(ValueError, match=r"Adam: .*'\^haed/'.*'dense.*'head/kernel'"):
        problem.fit(model, 1)
    problem.compiled(keras_adamx.Adam(groups=[Group("^haed/", required=False)]))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Group("["), ValueError, r"`pattern` must be a regular expression"),
        (lambda: Group(3), TypeError, r"`pattern` .*pattern=3"),
        (lambda: Group("x", learning_rate=-1.0), ValueError, r"`learning_rate`.*-1\.0"),
        (
            lambda: Group("x", frozen="yes"),
            TypeError,
            r"`frozen` must be True or False",
        ),
        (lambda: adam(Group("x", beta_3=0.5)), TypeError, r"`beta_3`.*Allowed: beta_1"),
        (lambda: adam(Group("x", beta_1=1.5)), ValueError, r"`beta_1` must be.*< 1"),
        (lambda: adam(Group("x", use_ema=True)), TypeError, r"sets `use_ema`"),
        (lambda: adam(Group("x", clipnorm=1.0), clipvalue=1.0), ValueError, "only one"),
        (lambda: keras_adamx.Adam(groups="x"), TypeError, "a list of `Group`"),
        (lambda: keras_adamx.Adam(groups=[1]), TypeError, "a list of `Group`"),
        (
            lambda: keras_adamx.SGD(groups=[Group("x", nesterov=True)]),
            ValueError,
            "`nesterov` needs momentum > 0",
        ),
        (
            lambda: keras_adamx.Adafactor(groups=[Group("x", sparse="lazy")]),
            ValueError,
            "`sparse` cannot be 'lazy'",
        ),
    ],
)
def test_wrong_groups(make, error, message):
    with pytest.raises(error, match=message):
        make()


def adam(*found, **arguments):
    return keras_adamx.Adam(groups=found, **arguments)


def test_freezing_everything_is_an_error():
    with pytest.raises(ValueError, match="freezes every variable"):
        adam(Group("", frozen=True)).build(problem.variables())


def test_groups_survive_json(name):
    schedule = keras_adamx.schedules.StepDecay(0.5, 2, gamma=0.5)
    found = [
        Group("w1", learning_rate=schedule, **own_argument(name)),
        Group("w2", weight_decay=schedule, required=False),
    ]
    optimizer = keras_adamx.get(name, groups=found, weight_decay=0.25)
    config = json.loads(json.dumps(optimizer.get_config()))
    again = type(optimizer).from_config(config)
    assert again.get_config() == optimizer.get_config()
    problem.assert_same_bits(problem.train(again), problem.train(optimizer))


def test_groups_of_a_reloaded_sequential(tmp_path):
    """Its paths have lost the name of the model; the groups are what they were."""
    found = [Group("^head/", learning_rate=10.0), Group("dense", weight_decay=0.5)]
    model = problem.compiled(keras_adamx.SGD(0.01, momentum=0.5, groups=found))
    problem.fit(model, 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    then, now = (
        [entry.group for entry in m.optimizer.entries] for m in (model, loaded)
    )
    assert then == now == [2, 2, 2, 2, 1, 1]
    for each in (model, loaded):
        problem.fit(each, 2)
    problem.assert_same_bits(model.get_weights(), loaded.get_weights())


def test_saved_groups_hold_where_automatic_names_count_on():
    """`dense_1` of the file may be `dense_3` now: the file knows which it was."""

    def built(*paths):
        optimizer = keras_adamx.SGD(1.0, groups=[Group("dense_1/", learning_rate=0.5)])
        made = [Named(path) for path in paths]
        optimizer.build(made)
        return optimizer, made

    class Named(keras.Variable):
        def __init__(self, path):
            super().__init__(np.zeros(2, "float32"))
            self._path = path

    optimizer, _ = built("dense/kernel", "dense_1/kernel", "dense_2/kernel")
    store = {}
    optimizer.save_own_variables(store)
    other, made = built("dense_1/kernel", "dense_2/kernel", "dense_3/kernel")
    assert [entry.group for entry in other.entries] == [1, 0, 0]
    other.load_own_variables(store)
    assert [entry.group for entry in other.entries] == [0, 1, 0]
    other.apply([ops.ones(2)] * 3, made)
    moved = [float(value[0]) for value in problem.values(made)]
    assert moved == [-1.0, -0.5, -1.0]
    stepped, made = built("dense_1/kernel", "dense_2/kernel", "dense_3/kernel")
    stepped.apply([ops.ones(2)] * 3, made)
    with pytest.raises(ValueError, match="in another group than this optimizer"):
        stepped.load_own_variables(store)


def transformer():
    inputs = keras.layers.Input((4,), dtype="int32")
    x = keras.layers.Embedding(7, 8, name="tokens")(inputs)
    x = keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = keras.layers.LayerNormalization(name="norm")(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="head")(x), name="small")


def test_no_decay_on_biases_and_norms():
    for arguments in (
        {"groups": [keras_adamx.no_decay_on_biases_and_norms()]},
        {"weight_decay_filter": "matrices"},
    ):
        optimizer = keras_adamx.SGD(0.1, weight_decay=0.5, **arguments)
        model = transformer()
        optimizer.build(model.trainable_variables)
        before = model.get_weights()
        variables = model.trainable_variables
        optimizer.apply([ops.zeros(v.shape) for v in variables], variables)
        for variable, old, new in zip(variables, before, model.get_weights()):
            name = variable.path.rpartition("/")[2]
            decays = name in ("kernel", "embeddings")
            np.testing.assert_allclose(new, 0.95 * old if decays else old, rtol=1e-6)
        # Attention has biases of two axes.
        assert any(v.path.endswith("bias") and len(v.shape) == 2 for v in variables)
    keras_adamx.Adam(groups=[keras_adamx.no_decay_on_biases_and_norms()]).build(
        problem.variables()
    )


def test_layerwise_decay():
    model = transformer()
    found = keras_adamx.layerwise_decay(model, 0.5)
    optimizer = keras_adamx.SGD(1.0, groups=found)
    optimizer.build(model.trainable_variables)
    rates = {
        entry.path.split("/")[0]: entry.settings.multiplier
        for entry in optimizer.entries
    }
    assert rates == {"tokens": 0.125, "attention": 0.25, "norm": 0.5, "head": 1.0}
    nested = keras.Sequential([keras.layers.Input((4,)), model], name="outer")
    found = keras_adamx.layerwise_decay(nested, 0.5)
    assert {group.learning_rate for group in found} == {0.125, 0.25, 0.5, 1.0}
    keras_adamx.SGD(groups=found).build(nested.trainable_variables)
    with pytest.raises(ValueError, match=r"`decay` must be.*decay=1\.5"):
        keras_adamx.layerwise_decay(model, 1.5)
    with pytest.raises(ValueError, match="has no weights"):
        keras_adamx.layerwise_decay(keras.Sequential(name="empty"))


def test_exclusion_from_decay_matches_paths_and_raises_after_build(name):
    model = transformer()
    optimizer = keras_adamx.get(name, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["attention/"])
    optimizer.build(model.trainable_variables)
    for entry in optimizer.entries:
        assert entry.decayed == ("attention/" not in entry.path)
    with pytest.raises(ValueError, match="before the optimizer is built"):
        optimizer.exclude_from_weight_decay(var_names=["head"])


def test_variables_that_are_made_trainable_late(name, tmp_path):
    """They get new slots; the others keep theirs; the file is that of the model."""
    optimizer = keras_adamx.get(name, learning_rate=0.05)
    model = problem.classifier()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.layers[0].trainable = False
    model.compile(optimizer, loss)
    problem.fit(model, 1)
    first = model.layers[0].get_weights()
    kept = problem.values(optimizer.entries[0].stored.values())
    known = [entry.path for entry in optimizer.entries]

    model.layers[0].trainable = True
    model.compile(optimizer, loss)
    optimizer.build(model.trainable_variables)
    assert [entry.path for entry in optimizer.entries][:4] == known
    problem.assert_same_bits(problem.values(optimizer.entries[0].stored.values()), kept)
    problem.fit(model, 1)
    assert len(optimizer.entries) == 6
    for before, after in zip(first, model.layers[0].get_weights()):
        assert not np.array_equal(before, after)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        problem.fit(each, 1)
    problem.assert_same_bits(model.get_weights(), loaded.get_weights())

    model.layers[1].trainable = False
    model.compile(optimizer, loss)
    frozen = model.layers[1].get_weights()
    problem.fit(model, 1)
    problem.assert_same_bits(model.layers[1].get_weights(), frozen)


def test_fit_alone_finds_what_was_made_trainable():
    """Without a call of `build`, after `fit` as after loading."""
    model = problem.classifier()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.layers[0].trainable = False
    model.compile(keras_adamx.Adam(0.05), loss)
    problem.fit(model, 1)
    before = model.layers[0].get_weights()
    model.layers[0].trainable = True
    model.compile(model.optimizer, loss)
    problem.fit(model, 1)
    assert not np.array_equal(before[0], model.layers[0].get_weights()[0])
    assert int(model.optimizer.iterations) == 6
