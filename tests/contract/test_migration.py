"""State from elsewhere: training goes on as the source would have gone on."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import keras_adamx
from tests import problem
from tests.contract.keras_worker import SOURCES

AS_KERAS = {
    "adam": {"epsilon_placement": "hat", "epsilon": 1e-7},
    "adamw": {"epsilon_placement": "hat", "epsilon": 1e-7, "weight_decay": 0.004},
}


def test_converted_models_go_on_as_they_would_have(tmp_path):
    """Models that another process has trained with Keras' own optimizers."""
    subprocess.run(
        [sys.executable, "-m", "tests.contract.keras_worker", str(tmp_path)],
        check=True,
        timeout=600,
    )
    for label in SOURCES:
        model = keras.saving.load_model(tmp_path / f"{label}.keras")
        optimizer = keras_adamx.convert(model)
        assert model.optimizer is optimizer
        assert isinstance(optimizer, keras_adamx.Optimizer)
        assert int(optimizer.iterations) == 6
        problem.fit(model, 1)
        expected = list(np.load(tmp_path / f"{label}.npz").values())
        for ours, theirs in zip(model.get_weights(), expected):
            # Adamax has its epsilon elsewhere.
            np.testing.assert_allclose(
                ours, theirs, rtol=1e-4, atol=1e-6, err_msg=label
            )


def test_a_converted_model_is_saved_with_its_new_optimizer(tmp_path):
    model = problem.compiled(keras.optimizers.Adam(0.01))
    problem.fit(model, 1)
    keras_adamx.convert(model)
    problem.fit(model, 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is keras_adamx.Adam
    for each in (model, loaded):
        problem.fit(each, 1)
    problem.assert_same_bits(model.get_weights(), loaded.get_weights())


def stepped(optimizer, steps=3):
    trained = problem.variables()
    optimizer.build(trained)
    for step in range(steps):
        optimizer.apply(problem.gradients(step), trained)
    return trained


def copies(trained):
    made = problem.variables()
    for variable, value in zip(made, problem.values(trained)):
        variable.assign(value)
    return made


@pytest.mark.parametrize("state_dtype", ["float32", "bfloat16", "int8"])
def test_our_own_state_of_another_dtype(name, state_dtype):
    source = keras_adamx.get(name, learning_rate=0.1, use_ema=True)
    trained = stepped(source)
    target = keras_adamx.get(
        name, learning_rate=0.1, use_ema=True, state_dtype=state_dtype
    )
    target.build(copies(trained))
    target.import_state(source)
    assert int(target.iterations) == 3
    for optimizer in (source, target):
        variables = [entry.variable for entry in optimizer.entries]
        optimizer.apply(problem.gradients(3), variables)
    left, right = ([e.variable for e in o.entries] for o in (source, target))
    problem.assert_close(problem.values(left), problem.values(right))
    left, right = ([e.average for e in o.entries] for o in (source, target))
    problem.assert_close(problem.values(left), problem.values(right))


@pytest.mark.parametrize(("giver", "taker"), [("adam", "adamw"), ("adamw", "nadam")])
def test_another_class_whose_slots_hold_the_same(giver, taker):
    source = keras_adamx.get(giver)
    trained = stepped(source)
    target = keras_adamx.get(taker)
    if taker == "nadam":
        with pytest.raises(ValueError, match="AdamW does not keep `momentum_product`"):
            target.import_state(source)
        return
    target.import_state(source)
    for a, b in zip(source.entries, target.entries):
        problem.assert_same_bits(
            problem.values(a.stored.values()), problem.values(b.stored.values())
        )
    target.apply(problem.gradients(3), trained)


@pytest.mark.parametrize(
    ("giver", "taker", "message"),
    [
        ("adam", "adastand", r"Without counterpart there: `momentum`, `variance`"),
        ("adastand", "adam", r"Without counterpart here: `momentum`, `variance`"),
        ("sgd", "adam", r"Without counterpart there: `momentum` \(moving average"),
        ("adam", "rmsprop", r"Without counterpart here: `momentum`"),
        ("rmsprop", "adam", r"Without counterpart there: `momentum`"),
    ],
)
def test_other_quantities_are_refused(giver, taker, message):
    source = keras_adamx.get(giver)
    stepped(source)
    with pytest.raises(ValueError, match=message):
        keras_adamx.get(taker).import_state(source)


def test_momentum_of_another_kind_is_refused():
    source = keras_adamx.SGD(momentum=0.9)
    stepped(source)
    with pytest.raises(ValueError, match="keeps other state for 'w0'"):
        keras_adamx.Lion().import_state(source)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: keras.optimizers.Ftrl(), TypeError, "Received: <keras"),
        (lambda: "adam", TypeError, "Received: 'adam'"),
        (lambda: keras.optimizers.Adam(), ValueError, "has no state yet"),
        (lambda: keras_adamx.Adam(), ValueError, "has no state yet"),
    ],
)
def test_wrong_sources(make, error, message):
    with pytest.raises(error, match=message):
        keras_adamx.Adam().import_state(make())


def test_other_variables_and_begun_runs_are_refused():
    source = keras.optimizers.Adam()
    source.build([keras.Variable(np.zeros(9, "float32"), name="stranger")])
    target = keras_adamx.Adam()
    target.build(problem.variables())
    with pytest.raises(ValueError, match=r"Adam has no state for 'w0'.*stranger"):
        target.import_state(source)
    target = keras_adamx.Adam()
    stepped(target)
    with pytest.raises(ValueError, match="has made steps already"):
        target.import_state(target)
    begun = keras_adamx.Adam(gradient_accumulation_steps=2)
    stepped(begun, 3)
    with pytest.raises(ValueError, match="has accumulated 1 of 2 gradients"):
        keras_adamx.Adam().import_state(begun)


def test_exclusions_and_averages_of_keras_come_along():
    source = keras.optimizers.AdamW(0.1, use_ema=True, ema_momentum=0.5)
    source.exclude_from_weight_decay(var_names=["w1"])
    trained = stepped(source)
    target = keras_adamx.AdamW(0.1, use_ema=True, ema_momentum=0.5, **AS_KERAS["adamw"])
    target.import_state(source)
    assert [entry.decayed for entry in target.entries] == [True, False, True, True]
    problem.assert_close(
        problem.values([entry.average for entry in target.entries]),
        problem.values(source._model_variables_moving_average),
    )
    assert trained is not None


def test_averages_begin_at_the_weights_where_the_source_had_none():
    source = keras_adamx.Adam()
    trained = stepped(source)
    target = keras_adamx.Adam(use_ema=True)
    target.import_state(source)
    averages = [entry.average for entry in target.entries]
    problem.assert_same_bits(problem.values(averages), problem.values(trained))


def test_accumulation_counts_updates():
    source = keras.optimizers.Adam(gradient_accumulation_steps=2)
    stepped(source, 4)
    target = keras_adamx.Adam(gradient_accumulation_steps=3)
    target.import_state(source)
    assert int(target.iterations) == 2


def test_convert_keeps_the_loss_scale():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = problem.compiled(keras.optimizers.Adam(0.01))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    problem.fit(model, 1)
    model.optimizer.dynamic_scale.assign(128.0)
    optimizer = keras_adamx.convert(model)
    assert model.optimizer.inner_optimizer is optimizer
    assert float(ops.convert_to_numpy(model.optimizer.dynamic_scale)) == 128.0
    problem.fit(model, 1)
    assert int(model.optimizer.iterations) == 6


def test_convert_needs_an_optimizer_that_it_knows():
    with pytest.raises(ValueError, match="is not compiled"):
        keras_adamx.convert(problem.classifier())
    with pytest.raises(TypeError, match=r"Received: <keras.*Ftrl"):
        keras_adamx.convert(problem.compiled(keras.optimizers.Ftrl()))


def test_convert_warns_of_schedules_that_count_otherwise():
    schedule = keras_adamx.schedules.StepDecay(0.5, 2)
    source = keras.optimizers.Adam(schedule, gradient_accumulation_steps=4)
    model = problem.compiled(source)
    with pytest.warns(UserWarning, match="4 times as long"):
        keras_adamx.convert(model)
