"""The look before a training: silent on the healthy, right about what is planted."""

from __future__ import annotations

import io
import json
import random
import tracemalloc

import keras
import numpy as np
import pytest
from keras import layers, losses, ops

import keras_adamx
from keras_adamx.doctor import Finding, Report, Skipped, Thresholds, diagnose
from keras_adamx.doctor.checks import CHECKS
from tests import problem
from tests.contract import doctor_cases as cases

pytest.importorskip("sklearn", reason="the digits are scikit-learn's")

BACKEND = keras.backend.backend()
KINDS = ("mlp", "cnn", "transformer")
# Where backends differ: what they raise, differentiate, compile, convert and round.
DIFFERENT = {
    "data-not-finite",
    "embedding-index-invalid",
    "inputs-not-normalised",
    "labels-one-hot-for-sparse",
    "no-gradient",
    "outputs-activated-twice",
    "updates-lost-by-rounding",
    "learning-rate-too-high",
}
# Compiling is what takes long: PyTorch runs all by default, the others what differs.
not_on_jax = pytest.mark.backend("tensorflow", "torch")


def by_default(names, chosen):
    """Names as parameters; those that are not chosen are slow where one compiles."""
    slow = () if BACKEND == "torch" else pytest.mark.slow
    return [pytest.param(n, marks=() if n in chosen else slow) for n in names]


@pytest.mark.parametrize("kind", by_default(KINDS, {"mlp"}))
def test_nothing_is_found_in_a_healthy_model(kind):
    model, data = cases.healthy(kind)
    report = diagnose(model, data, rows=cases.ROWS)
    assert not report, str(report)
    assert not report.skipped, str(report)
    assert report.checked == [check.code for check in CHECKS]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(1, 7))
def test_nothing_is_found_whatever_the_seed(kind, seed):
    keras.utils.set_random_seed(seed)
    optimizer = (keras_adamx.AdamW(2e-3), "adam", keras.optimizers.SGD(0.05, 0.9))
    model, data = cases.healthy(kind, optimizer[seed % 3])
    report = diagnose(model, data, seed=seed)
    assert not report, str(report)


def test_every_check_has_a_case():
    assert sorted(cases.CASES) == sorted(check.code for check in CHECKS)
    codes = [check.code for check in CHECKS]
    for check in CHECKS:
        # What explains another runs before it.
        assert set(check.explained_by) < set(codes[: codes.index(check.code)]) | {""}


@pytest.mark.parametrize("code", by_default(sorted(cases.CASES), DIFFERENT))
def test_a_planted_fault_is_found(code):
    case = cases.CASES[code]
    report = diagnose(*case.make(True), rows=cases.ROWS)
    assert code in report.codes, str(report)
    assert set(report.codes) <= {code, *case.follows}, str(report)
    finding = next(each for each in report if each.code == code)
    assert finding.saw
    json.loads(report.to_json())


@pytest.mark.backend("torch")
@pytest.mark.parametrize("code", sorted(cases.CASES))
def test_its_twin_without_the_fault_is_silent(code):
    report = diagnose(*cases.CASES[code].make(False), rows=cases.ROWS)
    assert not report, str(report)


def everything(model: keras.Model) -> list[bytes]:
    """All that a look could change, as bytes."""
    found = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    return [problem.values([variable])[0].tobytes() for variable in found]


@pytest.mark.parametrize("after_training", [False, True])
def test_a_look_changes_nothing(after_training):
    model, (x, y) = cases.healthy("small", keras.optimizers.Adam(1e-3))
    if after_training:
        model.fit(x[:64], y[:64], verbose=0)
    keras.utils.set_random_seed(5)
    expected = [ops.convert_to_numpy(keras.random.normal((3,))) for _ in range(2)]
    keras.utils.set_random_seed(5)
    keras.random.normal((3,))  # From now on Keras has a generator of its own.
    before, built = everything(model), model.optimizer.built
    states = random.getstate(), str(np.random.get_state())

    diagnose(model, (x, y), rows=cases.ROWS)

    assert everything(model) == before
    assert model.optimizer.built == built
    assert (random.getstate(), str(np.random.get_state())) == states
    then = ops.convert_to_numpy(keras.random.normal((3,)))
    np.testing.assert_array_equal(then, expected[1])
    assert not any("call" in vars(layer) for layer in model.layers)
    model.fit(x[:64], y[:64], verbose=0)


def test_a_training_after_a_look_is_the_same_to_the_bit():
    weights = []
    for looks in (False, True):
        keras.utils.set_random_seed(3)
        model, (x, y) = cases.healthy("small")
        if looks:
            # One label too many: what the loss makes of it must not stay.
            diagnose(model, (x, y[:, None]), rows=300)
        model.fit(x[:256], y[:256], verbose=0)
        weights.append(problem.values(model.weights))
    problem.assert_same_bits(*weights)


@not_on_jax
def test_a_look_that_fails_leaves_the_model_as_it_was(monkeypatch):
    model, data = cases.healthy("mlp")
    before = everything(model)

    def broken(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_adamx.doctor.trial._ratio", broken)
    with pytest.raises(KeyboardInterrupt):
        diagnose(model, data, rows=300)
    assert everything(model) == before


def data_of(kind: str, x, y):
    """The same rows as another kind of data."""
    if kind == "PyDataset":
        return cases.Batches(x, y)
    if kind == "batches":
        return [(x[i : i + 100], y[i : i + 100]) for i in range(0, len(x), 100)]
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((x, y)).batch(100)


@not_on_jax
@pytest.mark.parametrize("kind", ["PyDataset", "batches", "Dataset"])
def test_kinds_of_data(kind):
    if kind == "Dataset":
        pytest.importorskip("tensorflow")
    x, y = cases.pixels(), cases.digits()[1]
    model = cases.compiled(cases.mlp())
    report = diagnose(model, data_of(kind, x, y), rows=400)
    assert not report, str(report)
    assert "400 rows" in report.looked_at or "416 rows" in report.looked_at
    report = diagnose(model, data_of(kind, 255 * x, y), rows=400)
    assert report.codes == ["inputs-not-normalised"]


class Subclassed(keras.Model):
    """Divides by itself; two heads."""

    def __init__(self, divide: bool) -> None:
        super().__init__()
        self.divide = divide
        self.hidden = layers.Dense(32, activation="relu")
        self.digit, self.large = layers.Dense(10), layers.Dense(1)

    def call(self, inputs):
        x = inputs["pixels"] / 255.0 if self.divide else inputs["pixels"]
        x = self.hidden(x)
        return {"digit": self.digit(x), "large": self.large(x)}


@pytest.mark.parametrize("divide", [True, False])
def test_a_subclassed_model_of_two_outputs(divide):
    model = Subclassed(divide)
    x = {"pixels": 255.0 * cases.pixels()}
    model(x)
    model.compile(
        "adam",
        {
            "digit": losses.SparseCategoricalCrossentropy(True),
            "large": losses.BinaryCrossentropy(True),
        },
    )
    y = {"digit": cases.digits()[1], "large": cases.is_large()}
    report = diagnose(model, (x, y), rows=cases.ROWS)
    assert report.codes == ([] if divide else ["inputs-not-normalised"]), str(report)


@not_on_jax
def test_layers_that_normalise_take_what_they_are_given():
    x, y = 255.0 * cases.pixels(), cases.digits()[1]
    for first in (layers.Rescaling(1 / 255), layers.BatchNormalization()):
        model = keras.Sequential([keras.Input((64,)), first, layers.Dense(10)])
        assert not diagnose(cases.compiled(model), (x, y), rows=cases.ROWS)


def test_what_cannot_be_judged_is_named():
    def own_loss(y_true, y_pred):
        return ops.mean(ops.square(ops.one_hot(ops.cast(y_true, "int32"), 10) - y_pred))

    model, (x, y) = cases.healthy("mlp")
    model.compile("adam", own_loss)
    report = diagnose(model, (x, y), rows=300)
    assert not report
    skipped = {each.code: each.reason for each in report.skipped}
    assert "own_loss" in skipped["labels-not-one-hot"]
    assert "not known" in skipped["initial-loss"]
    assert "labels-unrelated-to-inputs" in skipped
    assert "initial-loss" not in report.checked


@not_on_jax
def test_a_schedule_that_begins_with_nothing_is_no_finding():
    schedule = keras.optimizers.schedules.PolynomialDecay(0.0, 10_000_000, 1e-3)
    model, data = cases.healthy("mlp", keras.optimizers.Adam(schedule))
    report = diagnose(model, data, rows=cases.ROWS)
    assert not report, str(report)
    [skipped] = report.skipped
    assert (skipped.code, "warm-up" in skipped.reason) == (
        "learning-rate-too-low",
        True,
    )


def test_a_factor_of_zero_at_the_start_is_no_missing_gradient():
    inputs = keras.Input((64,))
    branch = layers.Dense(32, activation="relu")(inputs)
    branch = layers.Dense(32, kernel_initializer="zeros")(branch)
    x = layers.Dense(32, activation="relu")(inputs) + branch
    model = cases.compiled(keras.Model(inputs, layers.Dense(10)(x)))
    report = diagnose(model, (cases.pixels(), cases.digits()[1]), rows=cases.ROWS)
    assert not report, str(report)


@not_on_jax
def test_what_follows_from_another_finding_is_held_back():
    x, y = 255.0 * cases.pixels(), cases.digits()[1]
    model = cases.compiled(cases.mlp(), None, keras.optimizers.SGD(10.0))
    report = diagnose(model, (x, y), rows=cases.ROWS)
    assert report.codes == ["inputs-not-normalised"]
    held = {each.code: each.reason for each in report.skipped}
    assert "follows from inputs-not-normalised" in held["learning-rate-too-high"]


def test_a_model_without_compile():
    x, y = cases.pixels(), cases.digits()[1]
    model = cases.mlp()
    loss = losses.SparseCategoricalCrossentropy(True)
    report = diagnose(model, (x, y), loss=loss, rows=300)
    assert not report
    assert {"learning-rate-too-high", "learning-rate-too-low"} <= {
        each.code for each in report.skipped
    }
    with pytest.raises(ValueError, match="argument `loss`"):
        diagnose(model, (x, y))


def test_thresholds_move_the_line():
    model, data = cases.healthy("mlp")
    strict = Thresholds(large_input=0.3)
    report = diagnose(model, data, rows=300, thresholds=strict)
    assert "inputs-not-normalised" in report.codes
    with pytest.raises(ValueError, match="`large_input`"):
        Thresholds(large_input=-1.0)
    with pytest.raises(TypeError, match="unknown argument `large_inputs`"):
        Thresholds(large_inputs=1.0)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"rows": 1}, ValueError, "`rows` must be an integer >= 2"),
        ({"rows": 2.0}, TypeError, "`rows`"),
        ({"batch_size": 0}, ValueError, "`batch_size`"),
        ({"seed": -1}, ValueError, "`seed`"),
        ({"thresholds": 3}, TypeError, "`thresholds`"),
        ({"data": iter([])}, TypeError, "can be gone through again"),
        ({"data": np.ones((3, 2))}, TypeError, "`data`"),
        ({"data": (np.ones((3, 64)), np.ones(2))}, ValueError, r"\[2, 3\] rows"),
        ({"data": []}, ValueError, "no rows"),
        ({"model": 3}, TypeError, "`model`"),
        ({"model": keras.Sequential([layers.Dense(1)])}, ValueError, "must be built"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_arguments_are_refused(arguments, error, words):
    model, data = cases.healthy("mlp")
    with pytest.raises(error, match=words):
        diagnose(**{"model": model, "data": data, **arguments})


def some_report() -> Report:
    """Two findings and something skipped."""
    first = Finding("a-note", "note", "here", "saw 1", "why 1", "try 1", {"one": 1.5})
    second = Finding("an-error", "error", "[there]", "saw 2", "why 2", "try 2")
    skipped = Skipped("other", "the output", "not known")
    return Report([first, second], ["a-note", "an-error"], [skipped], "3 rows")


def test_reports():
    report = some_report()
    assert (len(report), bool(report), bool(Report())) == (2, True, False)
    assert report.codes == ["an-error", "a-note"]
    assert json.loads(report.to_json()) == report.to_dict()
    assert report.to_dict()["findings"][1]["numbers"] == {"one": 1.5}
    for text in (str(report), report.to_markdown()):
        for each in ("saw 1", "why 2", "try 1", "[there]", "other", "not known"):
            assert each in text
        assert "2 findings in 3 rows" in text
    with pytest.raises(ValueError, match="`severity`"):
        Finding("code", "fatal", "", "", "", "")


def test_reports_print_through_rich():
    file = io.StringIO()
    pytest.importorskip("rich.console").Console(width=60, file=file).print(
        some_report()
    )
    text = file.getvalue()
    for each in ("error an-error  [there]", "saw 2", "not known"):
        assert each in text


class Noisy(cases.Batches):
    """Draws random numbers wherever there are some."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        noise = random.random() + np.random.rand()
        return x + 1e-3 * noise, y


def test_data_that_draws_random_numbers_leaves_them_as_they_were():
    model = cases.compiled(cases.mlp())
    states = random.getstate(), str(np.random.get_state())
    diagnose(model, Noisy(cases.pixels(), cases.digits()[1]), rows=300)
    assert (random.getstate(), str(np.random.get_state())) == states


@not_on_jax
def test_rows_of_arrays_are_chosen_at_random():
    x, y = cases.pixels(), cases.digits()[1]
    order = np.argsort(y, kind="stable")
    model = cases.compiled(cases.mlp())
    report = diagnose(model, (x[order], y[order]), rows=cases.ROWS)
    assert not report, str(report)


@not_on_jax
def test_rates_that_are_tried_are_the_multiples_that_the_finding_names():
    model, data = cases.healthy("mlp", keras.optimizers.Adam(1e-8))
    [finding] = diagnose(model, data, rows=cases.ROWS)
    by_ten, by_hundred = (finding.numbers[f"change_at_{f}"] for f in (10, 100))
    assert 5 * by_ten > by_hundred > 20 * by_ten


@not_on_jax
def test_what_probes_explain_is_of_rows_that_they_have_not_seen():
    report = diagnose(*cases.CASES["labels-unrelated-to-inputs"].make(True))
    assert report.findings[0].numbers["explained"] < 0.05


@pytest.mark.backend("torch")
def test_many_classes_take_little_memory():
    number = 20_000
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    y = np.random.default_rng(1).integers(0, number, 64)
    model = cases.compiled(keras.Sequential([keras.Input((2,)), layers.Dense(number)]))
    tracemalloc.start()
    try:
        report = diagnose(model, (x, y), batch_size=32)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "initial-loss" in report.checked
    assert peak < 50 * 32 * number * 8  # A square of the classes is 600 of batches.


class Autoencoder(keras.Model):
    """Its loss is its own, and of the inputs."""

    def __init__(self):
        super().__init__()
        self.code, self.pixels = layers.Dense(8), layers.Dense(64)

    def call(self, x):
        return self.pixels(self.code(x))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **_):
        return ops.mean(ops.square(y_pred - x))


def test_a_loss_of_the_models_own():
    model = Autoencoder()
    model(cases.pixels()[:1])
    model.compile("adam")
    report = diagnose(model, (cases.pixels(), cases.digits()[1]), rows=300)
    assert not report, str(report)
    assert {"gradients-vanish", "learning-rate-too-high"} <= set(report.checked)
