"""OptimizerMonitor: what it logs is what the optimizer did."""

import csv

import keras
import numpy as np
import pytest

import keras_adamx
from keras_adamx.callbacks import Doctor, OptimizerMonitor
from keras_adamx.core import measures
from tests import problem


class Record(keras.callbacks.Callback):
    """Keeps the logs of each batch."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(dict(logs))


def linear(optimizer, **compiling):
    """One layer of one weight: gradient and step are known."""
    inputs = keras.Input((1,))
    dense = keras.layers.Dense(
        1, use_bias=False, kernel_initializer="ones", name="dense"
    )
    model = keras.Model(inputs, dense(inputs))
    model.compile(optimizer, "mse", **compiling)
    return model


def fit_linear(optimizer, monitor, targets, epochs=1, **compiling):
    """Loss (w - target)², its gradient 2 (w - target)."""
    model, record = linear(optimizer, **compiling), Record()
    x = np.ones((len(targets), 1), "float32")
    y = np.asarray(targets, "float32")[:, None]
    history = model.fit(
        x,
        y,
        batch_size=1,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[monitor, record],
    )
    return record.batches, history.history, model


@pytest.mark.parametrize("eagerly", [False, True])
def test_numbers_of_each_step(eagerly):
    optimizer = keras_adamx.SGD(0.25, clipnorm=2.0)
    batches, history, _ = fit_linear(
        optimizer, OptimizerMonitor(), [0.5, 3.0, -3.0], run_eagerly=eagerly
    )
    w, expected = 1.0, []
    for target in (0.5, 3.0, -3.0):
        gradient = 2 * (w - target)
        step = 0.25 * np.clip(gradient, -2, 2)
        expected.append(
            {
                "gradient_norm": abs(gradient),
                "update_ratio": abs(step / w),
                "effective_learning_rate": abs(step / gradient),
                "learning_rate": 0.25,
                "clip_rate": float(abs(gradient) > 2),
                "skipped_steps": 0.0,
            }
        )
        w -= step
    for found, wanted in zip(batches, expected, strict=True):
        assert {n: found[n] for n in wanted} == pytest.approx(wanted, rel=1e-5)
    for name in ("gradient_norm", "update_ratio", "clip_rate"):
        mean = np.mean([wanted[name] for wanted in expected])
        assert history[name] == [pytest.approx(mean, rel=1e-5)]


def test_rates_of_a_schedule():
    schedule = keras_adamx.schedules.StepDecay(0.5, 2, gamma=0.5)
    batches, history, _ = fit_linear(
        keras_adamx.SGD(schedule), OptimizerMonitor(), [0.0] * 5
    )
    assert [b["learning_rate"] for b in batches] == [0.5, 0.5, 0.25, 0.25, 0.125]
    assert history["learning_rate"] == [0.125]


def test_skipped_steps():
    batches, history, _ = fit_linear(
        keras_adamx.SGD(0.25, nonfinite="skip"), OptimizerMonitor(), [0.0, np.nan, 0.0]
    )
    assert [b["skipped_steps"] for b in batches] == [0, 1, 1]
    assert history["skipped_steps"] == [1]
    assert all(np.isfinite(b["gradient_norm"]) for b in batches)


def test_accumulation():
    """What is seen is the last update, with the mean of the gradients."""
    batches, _, _ = fit_linear(
        keras_adamx.SGD(0.25, gradient_accumulation_steps=2),
        OptimizerMonitor(),
        [0.0, 2.0, 1.0, 1.0],
    )
    assert [b["gradient_norm"] for b in batches] == [0.0, 0.0, 0.0, 0.0]
    batches, _, _ = fit_linear(
        keras_adamx.SGD(0.25, gradient_accumulation_steps=2),
        OptimizerMonitor(),
        [0.0, 0.0, -1.0, -2.0],
    )
    assert [b["gradient_norm"] for b in batches] == [0.0, 2.0, 2.0, 4.0]


def test_every_few_batches():
    batches, _, _ = fit_linear(
        keras_adamx.SGD(0.25), OptimizerMonitor(every=2), [0.0] * 5
    )
    assert ["gradient_norm" in b for b in batches] == [False, True, False, True, False]


@pytest.mark.parametrize("rule", ["adamw", "muon", "prodigy"])
def test_training_is_the_same(rule, tmp_path):
    """To the bit; a second `fit` watches again, one without the callback does not."""
    weights, files = [], []
    for monitored in (False, True):
        keras.utils.set_random_seed(3)
        model = problem.compiled(keras_adamx.get(rule, **problem.tame(rule)))
        for _ in range(2):
            callbacks = [OptimizerMonitor(by_layer=True)] if monitored else []
            history = problem.fit(model, 1, callbacks=callbacks).history
            assert ("gradient_norm" in history) == monitored
        if monitored:
            assert 0 < history["gradient_norm"][0] < np.inf
            assert 0 < history["update_ratio"][0] < 1
        assert "gradient_norm" not in problem.fit(model, 1).history
        weights.append(problem.values(model.weights))
        path = tmp_path / f"{monitored}.keras"
        model.save(path)
        files.append(keras.saving.load_model(path).optimizer.variables)
    problem.assert_same_bits(*weights)
    problem.assert_same_bits(*map(problem.values, files))


def test_layers_and_slots():
    model = problem.compiled(keras_adamx.Adam(0.01))
    monitor = OptimizerMonitor(by_layer=True, slots=True, prefix="adam/")
    logs = problem.fit(model, 1, callbacks=[monitor]).history
    layers = {
        name.removeprefix("adam/gradient_norm/")
        for name in logs
        if name.startswith("adam/gradient_norm/")
    }
    assert layers == {layer.name for layer in model.layers}
    assert logs["adam/momentum_norm"][0] > 0
    assert logs["adam/velocity_norm"][0] > 0
    # Of the last step alone the layers add up.
    measured = monitor._watch.read().each()
    optimizer = model.optimizer
    for entry, m in zip(optimizer.entries, measured, strict=True):
        [momentum] = problem.values([entry.stored["momentum"]])
        assert m.slot_norms["momentum"] == pytest.approx(
            np.linalg.norm(momentum), rel=1e-5
        )


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    callbacks = [OptimizerMonitor(), keras.callbacks.CSVLogger(path)]
    problem.fit(problem.compiled(keras_adamx.Adam()), 2, callbacks=callbacks)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [float(row["gradient_norm"]) > 0 for row in rows] == [True, True]


@pytest.mark.backend("tensorflow")
def test_sparse_rows():
    """Rows that occur repeatedly count once."""
    optimizer = keras_adamx.SGD(0.25, sparse="lazy")
    model = keras.Sequential(
        [
            keras.layers.Input((3,), dtype="int32"),
            keras.layers.Embedding(5, 2, embeddings_initializer="ones"),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(1, kernel_initializer="ones", trainable=False),
        ]
    )
    model.compile(optimizer, "mse")
    record = Record()
    x, y = np.array([[1, 1, 4]]), np.array([[0.5]])
    model.fit(x, y, verbose=0, callbacks=[OptimizerMonitor(), record])
    # The output is 2, the loss 1.5², its gradient 3; a third of it for each look-up.
    norm = np.linalg.norm([2.0, 2.0, 1.0, 1.0])
    assert record.batches[0]["gradient_norm"] == pytest.approx(norm)
    assert record.batches[0]["update_ratio"] == pytest.approx(0.25 * norm / 2)


@pytest.mark.backend("tensorflow")
def test_histograms(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator

    model = problem.compiled(keras_adamx.Adam(state_dtype="int8"))
    monitor = OptimizerMonitor(log_dir=tmp_path, histogram_every=2)
    problem.fit(model, 4, callbacks=[monitor])
    events = event_accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    path = model.trainable_variables[0].path
    assert {f"{path}/{n}" for n in ("weights", "momentum")} <= set(
        events.Tags()["tensors"]
    )
    assert [e.step for e in events.Tensors(f"{path}/weights")] == [1, 3]


@pytest.mark.backend("jax")
@pytest.mark.parametrize("callback", [OptimizerMonitor, Doctor])
def test_state_stays_where_it_is_between_steps(callback, monkeypatch):
    """On JAX, bringing all of it back after each batch takes as long as a step."""
    calls = []
    sync = keras.Model.jax_state_sync
    monkeypatch.setattr(
        keras.Model, "jax_state_sync", lambda self: (calls.append(1), sync(self))[1]
    )
    numbers = []
    for rows in (96, 480):
        x, y = np.ones((rows, 1), "float32"), np.zeros((rows, 1), "float32")
        calls.clear()
        model = linear(keras_adamx.SGD(0.01))
        model.fit(x, y, batch_size=8, verbose=0, callbacks=[callback()])
        numbers.append(len(calls))
    assert numbers[0] == numbers[1]


def test_norms_of_slots_are_measured_for_whom_asks():
    model = problem.compiled(keras_adamx.Adam(0.01))
    problem.fit(model, 1, callbacks=[OptimizerMonitor()])
    assert not model.optimizer.measuring_slots
    monitor = OptimizerMonitor(slots=True)
    # One that does not ask changes nothing for one that does.
    logs = problem.fit(model, 1, callbacks=[monitor, OptimizerMonitor(prefix="b/")])
    assert logs.history["momentum_norm"][0] > 0
    assert "b/momentum_norm" not in logs.history


def test_loss_scale_optimizer():
    optimizer = keras.optimizers.LossScaleOptimizer(keras_adamx.SGD(0.25))
    batches, _, _ = fit_linear(optimizer, OptimizerMonitor(), [0.5, 0.5])
    assert batches[0]["gradient_norm"] == pytest.approx(1.0)


def test_late_variables_are_measured_too():
    model = problem.compiled(keras_adamx.Adam(0.01))
    model.layers[0].trainable = False
    model.compile(model.optimizer, model.loss)
    first = problem.fit(model, 1, callbacks=[OptimizerMonitor(by_layer=True)]).history
    model.layers[0].trainable = True
    model.compile(model.optimizer, model.loss)
    second = problem.fit(model, 1, callbacks=[OptimizerMonitor(by_layer=True)]).history
    assert len(second) > len(first)


def test_optimizers_of_others_are_refused():
    with pytest.raises(TypeError, match="OptimizerMonitor needs an optimizer of"):
        fit_linear(keras.optimizers.SGD(), OptimizerMonitor(), [0.0])


@pytest.mark.parametrize("argument", ["every", "histogram_every"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, None])
def test_wrong_arguments(argument, value):
    with pytest.raises((TypeError, ValueError), match=f"`{argument}` must be"):
        OptimizerMonitor(**{argument: value})


def two_layers(optimizer, **compiling):
    inputs = keras.Input((4,))
    x = keras.layers.Dense(3, name="a")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="b")(x))
    model.compile(optimizer, "mse", **compiling)
    return model


def rows(number=64):
    x = np.random.default_rng(0).normal(size=(number, 4)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def test_variables_that_were_frozen_count_no_more():
    optimizer = keras_adamx.Adam(0.01)
    model = two_layers(optimizer)
    x, y = rows()
    model.fit(x, 1e4 * y, verbose=0, callbacks=[OptimizerMonitor()])
    model.get_layer("a").trainable = False
    model.compile(optimizer, "mse")
    monitor = OptimizerMonitor(by_layer=True)
    found = model.fit(x, y, verbose=0, callbacks=[monitor]).history
    assert found["gradient_norm"][0] < 100.0
    assert found["gradient_norm"] == pytest.approx(found["gradient_norm/b"])
    assert found["gradient_norm/a"] == [0.0]


def test_what_had_no_gradient_in_the_last_step():
    first, second = (keras.Variable([3.0], name=name) for name in ("a", "b"))
    optimizer = keras_adamx.SGD(0.5)
    optimizer.build([first, second])
    measures.start(optimizer, slots=False)
    one = keras.ops.ones((1,))
    optimizer.apply([one, one], [first, second])
    optimizer.learning_rate = 0.0
    optimizer.apply([2.0 * one, None], [first, second])
    [numbers] = problem.values([optimizer.measured])
    found = measures.Measured(optimizer.measured, optimizer.entries, numbers)
    assert found.norm(measures.GRADIENT) == 2.0
    assert found.learning_rate == 0.0
    assert [m.updated for m in found.each()] == [True, False]
    assert [m.updates for m in found.each()] == [2, 1]
    assert found.each()[1].gradient_norm == 0.0


def test_clip_rate_counts_updates_that_were():
    first, second = (keras.Variable([3.0], name=name) for name in ("a", "b"))
    optimizer = keras_adamx.SGD(0.5, gradient_accumulation_steps=2, clipnorm=1e-3)
    optimizer.build([first, second])
    measures.start(optimizer, slots=False)
    for _ in range(4):
        optimizer.apply([keras.ops.ones((1,)), None], [first, second])
    [numbers] = problem.values([optimizer.measured])
    found = measures.Measured(optimizer.measured, optimizer.entries, numbers)
    assert [(m.updates, m.clipped) for m in found.each()] == [(2, 2), (0, 0)]


def test_what_is_no_number_was_not_clipped():
    variable = keras.Variable([3.0, 1.0], name="a")
    optimizer = keras_adamx.SGD(0.5, clipnorm=1e6)
    optimizer.build([variable])
    measures.start(optimizer, slots=False)
    optimizer.apply([keras.ops.convert_to_tensor([np.nan, 1.0])], [variable])
    [numbers] = problem.values([optimizer.measured])
    found = measures.Measured(optimizer.measured, optimizer.entries, numbers)
    assert found.each()[0].clipped == 0


def test_norms_of_large_variables():
    variable = keras.Variable(np.ones((2000, 1000), "float32"), name="a")
    optimizer = keras_adamx.SGD(0.5)
    optimizer.build([variable])
    measures.start(optimizer, slots=False)
    optimizer.apply([keras.ops.full((2000, 1000), 0.1)], [variable])
    [numbers] = problem.values([optimizer.measured])
    found = measures.Measured(optimizer.measured, optimizer.entries, numbers)
    assert found.norm(measures.GRADIENT) == pytest.approx(0.1 * 2e6**0.5, rel=1e-4)


@pytest.mark.parametrize("callback", [OptimizerMonitor, Doctor])
def test_evaluating_measures_nothing_afterwards(callback):
    optimizer = keras_adamx.SGD(0.01)
    model, (x, y) = two_layers(optimizer), rows()
    watching = callback()
    model.evaluate(x, y, verbose=0, callbacks=[watching])
    assert not optimizer.measuring
    validation = {"validation_data": (x, y)}
    found = model.fit(x, y, verbose=0, epochs=2, callbacks=[watching], **validation)
    assert not optimizer.measuring
    if callback is OptimizerMonitor:
        assert np.all(np.greater(found.history["gradient_norm"], 0.0))


@pytest.mark.backend("tensorflow")
def test_several_steps_at_a_time():
    model = two_layers(keras_adamx.SGD(0.01), steps_per_execution=4)
    x, y = rows(64)
    monitor = OptimizerMonitor(every=5)
    found = model.fit(x, y, batch_size=4, verbose=0, callbacks=[monitor]).history
    assert found["gradient_norm"][0] > 0


def test_batches_before_the_first_update_are_no_zeros_in_the_mean():
    optimizer = keras_adamx.SGD(0.0, gradient_accumulation_steps=2)
    _, history, _ = fit_linear(optimizer, OptimizerMonitor(), [0.0] * 4)
    assert history["gradient_norm"] == [pytest.approx(2.0)]


@pytest.mark.backend("tensorflow")
def test_short_steps_of_repeated_rows():
    optimizer = keras_adamx.SGD(1e-6, sparse="lazy")
    model = keras.Sequential(
        [
            keras.layers.Input((3,), dtype="int32"),
            keras.layers.Embedding(5, 2, embeddings_initializer=Threes()),
            keras.layers.Flatten(),
            keras.layers.Dense(1, kernel_initializer="ones", trainable=False),
        ]
    )
    model.compile(optimizer, "mse")
    [before] = problem.values([model.layers[0].embeddings])
    record = Record()
    x, y = np.array([[1, 1, 1]]), np.array([[0.0]], "float32")
    model.fit(x, y, verbose=0, callbacks=[OptimizerMonitor(), record])
    step = np.linalg.norm(problem.values([model.layers[0].embeddings])[0] - before)
    weights = np.linalg.norm(before[1])
    assert record.batches[0]["update_ratio"] == pytest.approx(step / weights, rel=1e-5)


class Threes(keras.initializers.Initializer):
    """Weights beside which a short step loses digits."""

    def __call__(self, shape, dtype=None):
        return keras.ops.full(shape, 3.3, dtype)
