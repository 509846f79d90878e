"""State in files: complete, named, checked."""

import json

import h5py
import keras
import numpy as np
import pytest

import keras_adamx
from keras_adamx.core import saving
from tests import problem


def state(optimizer):
    return problem.values(optimizer.variables)


def trained_model(name, **arguments):
    model = problem.compiled(keras_adamx.get(name, **arguments))
    problem.fit(model, 2)
    return model


def test_keras_file(name, tmp_path):
    model = trained_model(name, use_ema=True, gradient_accumulation_steps=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(model.optimizer)
    problem.assert_same_bits(state(loaded.optimizer), state(model.optimizer))
    problem.fit(model, 2)
    problem.fit(loaded, 2)
    problem.assert_same_bits(
        problem.values(loaded.weights), problem.values(model.weights)
    )


def test_weights_file(name, tmp_path):
    model = trained_model(name)
    model.save_weights(tmp_path / "model.weights.h5")
    # Other automatic names, and the optimizer is not built when the file is read.
    other = problem.compiled(keras_adamx.get(name))
    assert other.layers[0].name != model.layers[0].name
    other.load_weights(tmp_path / "model.weights.h5")
    problem.fit(model, 1)
    problem.fit(other, 1)
    problem.assert_same_bits(
        problem.values(other.weights), problem.values(model.weights)
    )
    problem.assert_same_bits(state(other.optimizer), state(model.optimizer))


@pytest.mark.backend("tensorflow")
def test_tensorflow_checkpoint(name, tmp_path):
    import tensorflow as tf

    model = trained_model(name, use_ema=True)
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(
        tmp_path / "checkpoint"
    )
    names = [n for n, _ in tf.train.list_variables(path)]
    for slot in model.optimizer.entries[0].slots:
        assert any(f"/{slot.name}_0/" in n for n in names)
    other = problem.compiled(keras_adamx.get(name, use_ema=True))
    other.optimizer.build(other.trainable_variables)
    status = tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path)
    status.assert_existing_objects_matched()
    problem.assert_same_bits(state(other.optimizer), state(model.optimizer))
    problem.fit(model, 1)
    problem.fit(other, 1)
    problem.assert_same_bits(
        problem.values(other.weights), problem.values(model.weights)
    )


def test_low_precision_run_continues_to_the_bit(name, tmp_path):
    keras.config.set_dtype_policy("bfloat16")
    try:
        model = trained_model(name)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        for each in (model, loaded):
            problem.fit(each, 1)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.trainable_variables[0].dtype == "bfloat16"
    problem.assert_same_bits(
        problem.values(loaded.weights), problem.values(model.weights)
    )


def stored(optimizer):
    """What the optimizer writes, as a plain dictionary."""
    store = {}
    optimizer.save_own_variables(store)
    return store


def built(name="adam", **arguments):
    optimizer = keras_adamx.get(name, **arguments)
    problem.train(optimizer, 2)
    return optimizer


def test_names_of_what_is_saved():
    store = stored(built(use_ema=True))
    assert {"iteration", "learning_rate", "momentum:2:w2", "average:0:w0"} <= set(store)
    manifest = json.loads(store["manifest"].tobytes())
    assert manifest["optimizer"] == "keras_adamx>Adam"
    assert manifest["format"] == saving.FORMAT
    assert manifest["variables"][2] == {
        "path": "w2",
        "shape": [4, 3],
        "decayed": True,
        "group": 0,
        "stream": 2,
        "slots": {"momentum": "float32", "velocity": "float32"},
    }


def test_another_optimizer_is_refused():
    with pytest.raises(
        ValueError, match=r"written by keras_adamx>AdamW, not .*>Adam\."
    ):
        built("adam").load_own_variables(stored(built("adamw")))


def test_state_of_keras_is_refused():
    optimizer = keras.optimizers.Adam()
    problem.train(optimizer, 1)
    store = {}
    optimizer.save_own_variables(store)
    with pytest.raises(ValueError, match="no manifest"):
        built("adam").load_own_variables(store)


@pytest.mark.parametrize(
    ("written", "read", "message"),
    [
        ({}, {"use_ema": True}, r"lacks 'average:0:w0'.*without `use_ema`"),
        ({"use_ema": True}, {}, r"holds \['average:0:w0'.*does not keep"),
        ({}, {"amsgrad": True}, "lacks 'velocity_max:0:w0'"),
        ({}, {"gradient_accumulation_steps": 2}, "lacks 'gradient_sum:0:w0'"),
    ],
)
def test_other_arguments_are_refused(written, read, message):
    with pytest.raises(ValueError, match=message):
        built(**read).load_own_variables(stored(built(**written)))


def test_a_missing_or_misshapen_slot_is_named(name):
    whole = stored(built(name))
    slots = [key for key in whole if ":2:" in key]
    for key in slots:
        truncated = {k: v for k, v in whole.items() if k != key}
        with pytest.raises(ValueError, match=f"lacks '{key}'"):
            built(name).load_own_variables(truncated)
        misshapen = {**whole, key: np.zeros((2, 2), "float32")}
        with pytest.raises(ValueError, match=rf"'{key}' has the shape .*\(2, 2\)"):
            built(name).load_own_variables(misshapen)


def test_a_damaged_manifest_is_refused():
    store = stored(built("sgd"))
    # What has made steps has variables, be it without slots.
    without = json.loads(store["manifest"].tobytes()) | {"variables": []}
    for damaged in (
        b"{",
        b"[]",
        b'{"format": 99, "optimizer": "x", "variables": []}',
        json.dumps(without).encode(),
    ):
        store["manifest"] = np.frombuffer(damaged, dtype=np.uint8)
        with pytest.raises(ValueError, match=r"manifest is damaged|format is 99"):
            built("sgd").load_own_variables(store)


def load(written, read):
    """Read the state written for some paths into an optimizer for others."""
    optimizers = []
    for paths in (written, read):
        optimizer = keras_adamx.Adam()
        optimizer.build([PathVariable(path) for path in paths])
        optimizers.append(optimizer)
    optimizers[1].load_own_variables(stored(optimizers[0]))


class PathVariable(keras.Variable):
    """A variable with the path of one deep in a model."""

    def __init__(self, path):
        shape = (2, 3) if path.endswith("wide") else (2, 2)
        super().__init__(np.zeros(shape, "float32"), name=path.split("/")[-1])
        self._path = path


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["sequential/a/kernel", "sequential/b/kernel"], ["a/kernel", "b/kernel"]),
        (["a/kernel"], ["sequential_7/a/kernel"]),
        (["dense/kernel", "dense_1/kernel"], ["dense_4/kernel", "dense_5/kernel"]),
        (["dense_1/kernel", "dense_2/kernel"], ["dense/kernel", "dense_1/kernel"]),
        (["model/a/kernel", "model/a/bias"], ["model_1/a/kernel", "model_1/a/bias"]),
    ],
)
def test_paths_that_mean_the_same_model(written, read):
    load(written, read)


@pytest.mark.parametrize(
    ("written", "read", "message"),
    [
        (["a/kernel", "b/kernel"], ["b/kernel", "a/kernel"], "'b/kernel' here and 'a/"),
        (["d/kernel", "d_1/kernel"], ["d_1/kernel", "d/kernel"], "reordered"),
        (["a/kernel", "a/bias"], ["a/bias", "a/kernel"], "renamed or reordered"),
        (["m/a/kernel"], ["m/a/wide"], r"'m/a/wide', has the shape \(2, 3\)"),
        (["a/kernel"], ["a/kernel", "b/kernel"], r"1 variables.*2.*\['b/kernel'\]"),
    ],
)
def test_paths_of_another_model_are_refused(written, read, message):
    with pytest.raises(ValueError, match=message):
        load(written, read)


def test_nothing_is_assigned_when_loading_fails():
    store = stored(built())
    del store["velocity:3:w3"]
    optimizer = built("adam", beta_1=0.5)
    before = state(optimizer)
    with pytest.raises(ValueError, match="lacks"):
        optimizer.load_own_variables(store)
    problem.assert_same_bits(state(optimizer), before)


def test_truncated_keras_file_is_refused(tmp_path):
    model = trained_model("adam")
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        group = file["optimizer/vars"]
        del group[next(key for key in group if key.startswith("velocity:2"))]
    with pytest.raises(ValueError, match="lacks 'velocity:2:"):
        trained_model("adam").load_weights(path)


def test_weights_without_optimizer_state_leave_it_alone(tmp_path):
    bare = problem.classifier()
    bare.save_weights(tmp_path / "bare.weights.h5")
    model = trained_model("adam")
    before = state(model.optimizer)
    with pytest.warns(UserWarning, match="holds no state for the optimizer"):
        model.load_weights(tmp_path / "bare.weights.h5")
    problem.assert_same_bits(state(model.optimizer), before)


def test_learning_rate_travels_as_a_number_only():
    source = built(learning_rate=0.5)
    source.learning_rate = 0.25
    target = built(learning_rate=0.125)
    target.load_own_variables(stored(source))
    assert float(target.learning_rate.numpy()) == 0.25
    schedule = keras_adamx.schedules.StepDecay(0.5, 10)
    scheduled = built(learning_rate=schedule)
    scheduled.load_own_variables(stored(source))
    assert float(scheduled.learning_rate) == 0.5
    assert int(scheduled.iterations) == 2
    target.load_own_variables(stored(scheduled))
    assert float(target.learning_rate.numpy()) == 0.25


def test_state_is_the_optimizers_own(name):
    model = trained_model(name, use_ema=True, gradient_accumulation_steps=2)
    optimizer = model.optimizer
    own = {id(variable) for variable in optimizer.variables}
    assert len(own) == len(optimizer.variables)
    assert not own & {id(variable) for variable in model.weights}
    slots = sum(len(e.slots) + 2 for e in optimizer.entries)
    assert len(own) == 2 + slots + len(optimizer.shared_slots)


def test_exclusion_from_weight_decay_is_saved_and_matches_paths(tmp_path):
    def model():
        optimizer = keras_adamx.AdamW(0.01, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=["bias", "head"])
        return problem.compiled(optimizer)

    def decayed(model):
        return [entry.decayed for entry in model.optimizer.entries]

    trained = model()
    problem.fit(trained, 1)
    assert decayed(trained) == [True, False, True, False, False, False]
    trained.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert decayed(loaded) == decayed(trained)
    for each in (trained, loaded):
        problem.fit(each, 1)
    problem.assert_same_bits(
        problem.values(loaded.weights), problem.values(trained.weights)
    )
    with pytest.raises(ValueError, match="must be called before"):
        loaded.optimizer.exclude_from_weight_decay(var_names=["kernel"])


def test_a_model_that_was_not_fitted_yet(name, tmp_path):
    fresh = problem.compiled(keras_adamx.get(name, learning_rate=0.5))
    fresh.save(tmp_path / "fresh.keras")
    loaded = keras.saving.load_model(tmp_path / "fresh.keras")
    for each in (fresh, loaded):
        problem.fit(each, 1)
    problem.assert_same_bits(
        problem.values(loaded.weights), problem.values(fresh.weights)
    )


def test_layers_frozen_after_training(tmp_path):
    model = trained_model("adam", use_ema=True)
    model.layers[0].trainable = False
    model.save(tmp_path / "frozen.keras")
    with pytest.warns(UserWarning, match="holds state for .*dense.*left out"):
        loaded = keras.saving.load_model(tmp_path / "frozen.keras")
    problem.assert_same_bits(
        problem.values(e.average for e in loaded.optimizer.entries),
        problem.values(e.average for e in model.optimizer.entries[2:]),
    )
    problem.fit(loaded, 1)


def test_a_wrong_file_is_refused_before_the_optimizer_is_built(tmp_path):
    trained_model("adamw").save_weights(tmp_path / "model.weights.h5")
    other = problem.compiled(keras_adamx.SGD())
    with pytest.raises(ValueError, match=r"written by .*AdamW.*skip_mismatch=True"):
        other.load_weights(tmp_path / "model.weights.h5")


def test_state_that_failed_to_load_is_not_forgotten():
    optimizer = keras_adamx.Adam(amsgrad=True)
    optimizer.load_own_variables(stored(built("adam")))
    trained = problem.variables()
    for _ in range(2):
        with pytest.raises(ValueError, match="lacks 'velocity_max:0:w0'"):
            optimizer.apply(problem.gradients(0), trained)


def test_restored_exclusions_cannot_change_a_run_that_has_begun():
    excluded = keras_adamx.Adam(weight_decay=0.5)
    excluded.exclude_from_weight_decay(var_names=["w1"])
    problem.train(excluded, 1)
    with pytest.raises(ValueError, match="excludes it from weight decay"):
        built("adam", weight_decay=0.5).load_own_variables(stored(excluded))
