"""The learning-rate range test: what it measures, suggests, and leaves as it was."""

from __future__ import annotations

import json
import random

import keras
import numpy as np
import pytest
import rich
from keras import ops

import keras_adamx
from keras_adamx.core import backend
from keras_adamx.tuning.finder import trial_of
from tests import problem

BACKEND = keras.backend.backend()
# Compiling takes nearly all of the time: PyTorch, which does not, runs everything.
long = () if BACKEND == "torch" else (pytest.mark.slow,)
# Keras asks torch for arrays in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


@pytest.fixture(autouse=True)
def _op_by_op(monkeypatch):
    """Leave the update to TensorFlow's own operations, which XLA takes long for."""
    if BACKEND != "tensorflow":
        return
    executor = backend.Executor
    monkeypatch.setattr(problem, "op_by_op", True)
    monkeypatch.setattr(backend, "Executor", lambda jit_compile: executor(False))


def noisy(optimizer, *, built=True, **arguments):
    """A classifier with statistics, random numbers and metrics."""
    keras.utils.set_random_seed(3)
    layers = [
        keras.layers.Dense(16, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(3, name="head"),
    ]
    model = keras.Sequential([*([keras.Input((8,))] if built else []), *layers])
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **arguments,
    )
    return model


def find(model, x=None, y=None, **arguments):
    """A short test on the points of the other tests."""
    if x is None:
        x, y = problem.dataset()
    given = {"batch_size": 32, "steps": 12, "verbose": False, **arguments}
    if not hasattr(x, "shape"):
        del given["batch_size"]
    return keras_adamx.find_learning_rate(model, x, y, **given)


def state(model):
    """All numbers of a model, its optimizer and the generators of random numbers."""
    held = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    values = {
        f"{i} {v.path}": np.array(ops.convert_to_numpy(v)) for i, v in enumerate(held)
    }
    values["numpy"] = np.random.get_state()[1]
    values["python"] = np.array(random.getstate()[1])
    return values


def surroundings(model):
    """What else training changes."""
    names = ("optimizer", "train_function", "history", "stop_training")
    kept = [getattr(model, name) for name in names]
    return [*kept, model.steps_per_execution, [v.trainable for v in model.layers]]


def assert_unchanged(before, model):
    for name, value in state(model).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def trained(optimizer):
    """A model that has been trained, and is about to train on."""
    model = noisy(optimizer)
    model.fit(*problem.dataset(), batch_size=32, epochs=2, verbose=0)
    return model


def test_nothing_has_changed():
    model = trained(keras_adamx.AdamW(1e-2, use_ema=True, nonfinite="skip"))
    keras.random.uniform((2,))
    seed = keras.random.uniform((1,))
    before, around = state(model), surroundings(model)
    result = find(model, steps=30, maximum=1e3)
    assert max(result.losses) > 2.0 * min(result.losses)
    assert_unchanged(before, model)
    for now, then in zip(surroundings(model), around):
        assert now is then or now == then
    assert not np.array_equal(ops.convert_to_numpy(seed), np.zeros(1))
    # And it trains on as if nothing had been.
    other = trained(keras_adamx.AdamW(1e-2, use_ema=True, nonfinite="skip"))
    keras.random.uniform((2,))
    keras.random.uniform((1,))
    histories = []
    for each in (model, other):
        keras.utils.set_random_seed(5)
        each.fit(*problem.dataset(), batch_size=32, epochs=1, verbose=0)
        histories.append([np.array(ops.convert_to_numpy(v)) for v in each.variables])
    problem.assert_same_bits(*histories)


def test_the_generators_of_random_numbers_go_on():
    def drawn():
        return [random.random(), np.random.random(), float(keras.random.uniform(()))]

    def drawing(labels, outputs):
        random.random(), np.random.random()
        return ops.mean(ops.square(outputs))

    model = problem.classifier()
    model.compile(keras_adamx.SGD(), drawing, run_eagerly=True)
    found = []
    for test in (False, True):
        # Some releases of Keras keep their generator when they are seeded again.
        keras.backend.clear_session()
        keras.utils.set_random_seed(11)
        first = drawn()
        if test:
            find(model)
        found.append([first, drawn()])
    assert found[0] == found[1]


SCHEDULE = keras.optimizers.schedules.CosineDecay(0.02, 10)
OPTIMIZERS = {
    "rounded": lambda: keras_adamx.AdamW(1e-2, state_dtype="bfloat16"),
    "scheduled": lambda: keras_adamx.SGD(SCHEDULE, momentum=0.9),
    "of Keras": lambda: keras.optimizers.Adam(SCHEDULE),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(
        keras_adamx.Adam(1e-2), initial_scale=8.0
    ),
}


@pytest.mark.parametrize(
    ("kind", "built"),
    [
        ("rounded", True),
        pytest.param("scheduled", True, marks=long),
        pytest.param("of Keras", True, marks=long),
        pytest.param("scaled", True, marks=long),
        pytest.param("rounded", False, marks=long),
    ],
)
def test_fit_is_the_same_with_and_without(kind, built):
    ends = []
    for test in (True, False):
        model = noisy(OPTIMIZERS[kind](), built=built)
        if test:
            assert len(find(model).losses) > 3
        model.fit(*problem.dataset(), batch_size=32, epochs=2, verbose=0)
        held = [*model.variables, *model.optimizer.variables]
        ends.append([np.array(ops.convert_to_numpy(v)) for v in held])
    problem.assert_same_bits(*ends)


def good_then(ending, count=5):
    x, y = problem.dataset()
    for _ in range(count):
        yield x[:32], y[:32]
    yield from ending(x, y)


def interrupted(x, y):
    raise KeyboardInterrupt
    yield


def misshapen(x, y):
    yield x[:32, :5], y[:32]


@pytest.mark.parametrize("ending", [interrupted, misshapen])
def test_nothing_has_changed_after_an_error(ending):
    model = trained(keras_adamx.Adam(1e-2))
    before = state(model)
    # TensorFlow wraps what a generator raises into an error of its own.
    with pytest.raises((KeyboardInterrupt, Exception)):
        find(model, good_then(ending), maximum=1e-2)
    assert_unchanged(before, model)
    model.fit(*problem.dataset(), batch_size=32, epochs=1, verbose=0)


class Interrupting(keras.layers.Layer):
    """Interrupts as a user would, at a certain call."""

    calls = 0

    def call(self, x):
        self.calls += 1
        if self.calls == 4:
            raise KeyboardInterrupt
        return x


@pytest.mark.backend("torch")
def test_nothing_has_changed_after_an_interruption():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3), Interrupting()])
    model.compile(
        keras_adamx.Adam(1e-2),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.layers[1].calls = 0
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        find(model)
    assert_unchanged(before, model)
    assert not model.optimizer.variables[2:]


def line(optimizer, **arguments):
    """Y = w x, from w = 0."""
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), dense])
    model.compile(optimizer, "mse", **arguments)
    return model


compiling = pytest.mark.backend("tensorflow", "jax")


@pytest.mark.parametrize(
    ("module", "settings", "accumulated"),
    [
        (keras_adamx, {}, None),
        (keras_adamx, {}, 2),
        pytest.param(keras_adamx, {"run_eagerly": True}, None, marks=long),
        pytest.param(keras_adamx, {"steps_per_execution": 4}, None, marks=compiling),
        pytest.param(
            keras_adamx, {"jit_compile": True}, None, marks=(compiling, *long)
        ),
        (keras.optimizers, {}, None),
        pytest.param(keras.optimizers, {}, 2, marks=long),
    ],
)
def test_losses_are_those_of_the_rates(module, settings, accumulated):
    x = np.random.default_rng(0).normal(size=(8, 1)).astype("float32")
    y = 3.0 * x
    optimizer = module.SGD(0.5, gradient_accumulation_steps=accumulated)
    result = find(
        line(optimizer, **settings), x, y, minimum=1e-3, maximum=0.3, steps=20
    )
    np.testing.assert_allclose(result.learning_rates, np.geomspace(1e-3, 0.3, 20))
    weight, losses = 0.0, []
    for rate in result.learning_rates:
        losses.append(np.mean((weight * x - y) ** 2))
        weight -= rate * np.mean(2.0 * x * (weight * x - y))
    np.testing.assert_allclose(result.losses, losses, rtol=2e-5)


def test_weights_of_samples_and_classes_count():
    x, y = problem.dataset()
    model = problem.compiled(keras_adamx.SGD())
    raw = find(model, x[:32], y[:32])
    twice = find(model, x[:32], y[:32], sample_weight=np.full(32, 2.0))
    classes = find(model, x[:32], y[:32], class_weight={0: 3.0, 1: 3.0, 2: 3.0})
    assert twice.losses[0] == pytest.approx(2.0 * raw.losses[0], rel=1e-5)
    assert classes.losses[0] == pytest.approx(3.0 * raw.losses[0], rel=1e-5)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        x, y = problem.dataset()
        return x[32 * i : 32 * i + 32], y[32 * i : 32 * i + 32]


def endless():
    while True:
        yield from (Batches(workers=1)[i] for i in range(3))


def as_dataset():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices(problem.dataset()).batch(32)


def as_loader():
    torch = pytest.importorskip("torch")
    pairs = torch.utils.data.TensorDataset(*map(torch.tensor, problem.dataset()))
    return torch.utils.data.DataLoader(pairs, batch_size=32)


@pytest.mark.parametrize(
    "data",
    [
        lambda: Batches(workers=1),
        endless,
        pytest.param(as_dataset, marks=long),
        pytest.param(lambda: as_dataset().repeat(), marks=long),
        lambda: as_dataset().filter(lambda x, y: True),  # Of unknown length.
        pytest.param(as_loader, marks=long),
    ],
)
def test_what_fit_takes(data):
    model = problem.compiled(keras_adamx.Adam())
    expected = find(model, shuffle=False)
    assert len(expected.losses) == 12
    np.testing.assert_allclose(find(model, data()).losses, expected.losses, rtol=1e-5)


def test_data_that_end():
    model = problem.compiled(keras_adamx.Adam())
    few = (Batches(workers=1)[i] for i in range(3))
    with pytest.raises(ValueError, match="ended after 3 of 12 steps"):
        find(model, few)
    x, y = problem.dataset()
    assert len(find(model, x[:20], y[:20]).losses) == 12


def test_arrays_are_shuffled_by_the_seed():
    model = problem.compiled(keras_adamx.SGD())
    losses = [find(model, seed=seed).losses[0] for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_the_test_ends_where_it_diverges():
    x = np.ones((8, 1), "float32")
    found = {}
    for diverge in (2.0, 1e37):
        result = find(
            line(keras_adamx.SGD()), x, x, maximum=1e8, steps=60, diverge=diverge
        )
        found[diverge] = len(result.losses)
    assert 20 < found[2.0] < found[1e37] < 60
    assert found[1e37] == len(result.losses)
    assert not np.isfinite(result.losses[-1])
    assert np.isfinite(result.losses[:-1]).all()
    assert 1e-3 < result.suggestion < 1.0
    assert json.loads(json.dumps(result.to_dict()))["suggestion"] == result.suggestion


def test_an_optimizer_that_raises_does_not():
    x = np.ones((8, 1), "float32")
    model = line(keras_adamx.SGD(nonfinite="raise"), run_eagerly=BACKEND != "jax")
    result = find(model, x, x, maximum=1e30, steps=60, diverge=1e37)
    assert not np.isfinite(result.losses[-1])


def test_a_loss_that_never_falls_gives_no_suggestion():
    x = np.random.default_rng(0).normal(size=(400, 8)).astype("float32")
    y = np.random.default_rng(1).integers(0, 3, 400)
    result = find(problem.compiled(keras_adamx.Adam()), x, y, maximum=1e-5, steps=60)
    assert result.suggestions == {}
    assert result.to_dict()["suggestion"] is None
    assert "no rate to suggest" in str(result)
    assert "suggestions={}" in repr(result)
    with pytest.raises(ValueError, match="does not fall at any learning rate"):
        _ = result.suggestion


@pytest.mark.slow
def test_the_rate_that_is_suggested_trains():
    model = problem.compiled(keras_adamx.Adam())
    rate = find(model, steps=60).suggestion
    model.optimizer.learning_rate = rate
    history = problem.fit(model, epochs=15)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]


# The copy of the optimizer.


def test_the_copy_has_a_constant_rate_and_no_warm_up():
    trial = trial_of(keras_adamx.ScheduleFreeAdamW(SCHEDULE, warmup_steps=50), 1e-7)
    assert trial.warmup_steps == 0
    assert float(trial.learning_rate) == np.float32(1e-7)


@pytest.mark.parametrize("module", [keras_adamx, keras.optimizers])
@pytest.mark.parametrize("how", ["var_names", "var_list"])
def test_the_copy_excludes_the_same_from_decay(module, how):
    ends = []
    for copied in (False, True):
        weights = problem.variables(((3,), (2, 2)))
        optimizer = module.AdamW(0.1, weight_decay=0.5)
        given = {"var_names": ["w0"], "var_list": weights[:1]}
        optimizer.exclude_from_weight_decay(**{how: given[how]})
        optimizer.build(weights)
        if copied:
            optimizer = trial_of(optimizer, 0.1)
            optimizer.build(weights)
        nothing = [ops.zeros(w.shape) for w in weights]
        optimizer.apply(nothing, weights)
        ends.append(problem.values(weights))
    problem.assert_same_bits(*ends)
    start = problem.values(problem.variables(((3,), (2, 2))))
    np.testing.assert_array_equal(ends[0][0], start[0])
    assert not np.array_equal(ends[0][1], start[1])


def test_several_optimizers_have_no_rate():
    several = pytest.importorskip("keras.src.optimizers.multi_optimizer")
    model = problem.compiled(
        several.MultiOptimizer(several.OptimizerMap(keras_adamx.Adam()))
    )
    with pytest.raises(TypeError, match="a learning rate for each of its optimizers"):
        find(model)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("minimum", 0.0),
        ("maximum", 1e-8),
        ("maximum", float("inf")),
        ("steps", 9),
        ("steps", 20.0),
        ("smoothing", 1.0),
        ("diverge", 1.0),
        ("batch_size", 0),
        ("rule", "flattest"),
    ],
)
def test_wrong_arguments_are_named(argument, value):
    model = problem.compiled(keras_adamx.Adam())
    with pytest.raises(ValueError, match=f"`{argument}` .*{argument}={value!r}"):
        find(model, **{argument: value})


def test_data_without_rows_or_numbers_are_named():
    model = problem.compiled(keras_adamx.Adam())
    x, y = problem.dataset()
    with pytest.raises(ValueError, match="`x` must have at least one row"):
        keras_adamx.find_learning_rate(model, x[:0], y[:0], verbose=False)
    result = keras_adamx.find_learning_rate(model, np.nan * x, y, verbose=False)
    assert not result.suggestions
    with pytest.raises(ValueError, match="The first loss is nan"):
        _ = result.suggestion
    x = np.array(x)
    x[8 * 3] = np.nan
    result = keras_adamx.find_learning_rate(
        model, x, y, batch_size=8, shuffle=False, verbose=False
    )
    with pytest.raises(ValueError, match=r"is nan at step 4, .* data are finite"):
        _ = result.suggestion


def test_a_model_must_be_compiled_and_built():
    with pytest.raises(ValueError, match="`model` must be compiled"):
        find(problem.classifier())
    with pytest.raises(ValueError, match="must be built before the test"):
        find(noisy(keras_adamx.Adam(), built=False), endless())
    assert find(noisy(keras_adamx.Adam(), built=False), Batches(workers=1)).losses


def test_a_loss_must_be_told():
    class Silent(keras.Sequential):
        def train_step(self, *arguments):
            found = super().train_step(*arguments)
            if BACKEND == "jax":
                return {"other": found[0]["loss"]}, found[1]
            return {"other": found["loss"]}

    model = Silent([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile(keras_adamx.Adam(), "mse")
    with pytest.raises(ValueError, match="must return its loss as 'loss'"):
        find(model)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_shown_in_a_terminal(terminal, capsys, monkeypatch):
    # Some releases of rich look at the environment when they make their console.
    monkeypatch.setattr(rich, "_console", None)
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    else:
        monkeypatch.delenv("FORCE_COLOR", raising=False)
    find(problem.compiled(keras_adamx.SGD()), verbose=True)
    assert ("learning-rate range test" in capsys.readouterr().out) == terminal


def test_labels_of_another_number():
    model = problem.compiled(keras_adamx.Adam())
    x, y = problem.dataset()
    with pytest.raises(ValueError, match="must have as many rows as each other"):
        keras_adamx.find_learning_rate(model, x, y[:-3], verbose=False)
