"""callbacks.Doctor: every planted fault is found, and healthy trainings are silent."""

import json

import keras
import numpy as np
import pytest

pytest.importorskip("sklearn")

import keras_adamx
from keras_adamx.callbacks import Doctor
from keras_adamx.doctor import CourseThresholds
from keras_adamx.doctor.symptoms import SYMPTOMS
from tests.contract import course_cases, doctor_cases
from tests.contract.course_cases import CASES, Training

BACKEND = keras.backend.backend()
# Of the others the course is the same on every backend.
SOME = ("loss-diverges", "training-not-finite", "weights-not-moving")


def fit(training: Training, **arguments):
    """Train under the eyes of a doctor, who is returned."""
    doctor = Doctor(**{"verbose": False, **arguments})
    training.model.fit(
        training.x,
        training.y,
        batch_size=32,
        epochs=training.epochs,
        validation_data=training.validation,
        shuffle=False,
        verbose=0,
        callbacks=[doctor],
    )
    return doctor


def made(code, fault):
    keras.utils.set_random_seed(0)
    return CASES[code].make(fault)


def test_every_symptom_has_a_case():
    assert set(CASES) == {symptom.code for symptom in SYMPTOMS}


@pytest.mark.parametrize("code", CASES)
def test_a_planted_fault_is_found(code):
    if BACKEND != "torch" and code not in SOME:
        pytest.skip("the course is the same on every backend")
    report = fit(made(code, True)).report()
    assert code in report.codes
    assert set(report.codes) <= {code, *CASES[code].follows}
    [finding] = [f for f in report if f.code == code]
    assert any(digit in finding.saw for digit in "0123456789") or "nan" in finding.saw
    assert json.loads(report.to_json())["findings"]
    assert finding.advice in report.to_markdown()


@pytest.mark.parametrize("code", CASES)
def test_its_healthy_twin_is_silent(code):
    if BACKEND != "torch" and code not in SOME:
        pytest.skip("the course is the same on every backend")
    assert fit(made(code, False)).report().codes == []


HEALTHY = [(kind, seed) for kind in ("mlp", "cnn", "transformer") for seed in range(7)]


@pytest.mark.backend("torch")
@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        pytest.param(*each, marks=pytest.mark.slow if each[1] else ())
        for each in HEALTHY
    ],
)
def test_healthy_trainings_are_silent(kind, seed):
    keras.utils.set_random_seed(seed)
    model, (x, y) = doctor_cases.healthy(kind, keras_adamx.AdamW(1e-3))
    n = course_cases.TRAINED
    parts = x if isinstance(x, list) else [x]
    known, held_out = ([p[s] for p in parts] for s in (slice(n), slice(n, None)))
    if len(parts) == 1:
        known, held_out = known[0], held_out[0]
    training = Training(model, known, y[:n], 6, (held_out, y[n:]))
    doctor = fit(training)
    assert doctor.report().codes == []
    assert doctor.report().skipped == []


def test_a_gradient_that_is_not_finite_is_located():
    """The loss is finite for one more batch; the root at zero has no derivative."""
    inputs = keras.Input((1,))
    x = keras.layers.Dense(1, use_bias=False, name="early")(inputs)
    x = keras.layers.Dense(1, use_bias=False, name="at_the_root")(x)
    model = keras.Model(inputs, keras.layers.Lambda(keras.ops.sqrt)(x))
    for layer in model.layers[1:3]:
        layer.kernel.assign([[1.0]])
    model.compile(keras_adamx.SGD(1e-3), "mse")
    x = np.ones((96, 1), "float32")
    y = np.ones((96, 1), "float32")
    x[32:64] = 0.0
    report = fit(Training(model, x, y, 1)).report()
    [finding] = report.findings
    assert finding.code == "training-not-finite"
    assert finding.where == "the gradient of 'at_the_root'"
    assert finding.numbers["batch"] == 2


def test_layers_frozen_between_fits():
    training = course_cases.training(keras_adamx.Adam())
    fit(training)
    training.model.layers[0].trainable = False
    training.model.compile(training.model.optimizer, training.model.loss)
    doctor = fit(training)
    assert doctor.report().checked


def test_with_an_optimizer_of_keras():
    """Losses are looked at; what cannot be is named."""
    healthy = course_cases.training(keras.optimizers.Adam())
    report = fit(healthy).report()
    assert report.codes == []
    assert {"gradients-explode"} <= {each.code for each in report.skipped}
    assert "gradients-explode" not in report.checked
    model = doctor_cases.mlp(course_cases.KEEPS_NAN)
    faulty = course_cases.training(keras.optimizers.SGD(0.05), model)
    faulty.x[800] = np.nan
    assert fit(faulty).report().codes == ["training-not-finite"]


@pytest.mark.backend("torch")
def test_a_doctor_for_one_model_after_another():
    """Nothing of the optimizer that was watched before is taken for that of now."""
    doctor = fit(made("training-not-finite", False)._replace(epochs=1))
    other = course_cases.training(keras.optimizers.Adam())
    other.model.fit(other.x, other.y, verbose=0, callbacks=[doctor])
    skipped = {each.code for each in doctor.report().skipped}
    assert {"gradients-explode", "overfitting"} <= skipped
    assert "overfitting" not in doctor.report().checked


@pytest.mark.backend("torch")
def test_what_follows_is_held_back_and_was_checked():
    report = fit(made("schedule-ended-early", True)).report()
    assert report.codes == ["schedule-ended-early"]
    first = fit(made("steps-skipped", True)).report()
    [held] = [s for s in first.skipped if s.code == "training-not-finite"]
    assert "follows from steps-skipped" in held.reason
    assert "training-not-finite" in first.checked


@pytest.mark.backend("torch")
def test_epsilon_of_an_inner_rule():
    """Muon has AdamW for vectors: what it divides by is that of the inner rule."""
    training = course_cases.training(keras_adamx.Muon(epsilon=1.0))
    assert set(fit(training).report().codes) <= {"epsilon-dominates"}


def test_findings_are_printed_once(capsys):
    fit(made("training-not-finite", True), verbose=True)
    printed = capsys.readouterr().out
    assert printed.count("training-not-finite") == 1
    assert "epoch 1, batch 26" in printed
    assert "try first" in printed


@pytest.mark.backend("torch")
def test_a_second_fit_begins_anew():
    faulty = made("training-not-finite", True)
    doctor = fit(faulty)
    assert doctor.report().codes == ["training-not-finite"]
    healthy = made("training-not-finite", False)
    healthy.model.fit(healthy.x, healthy.y, verbose=0, callbacks=[doctor])
    assert doctor.report().codes == []


@pytest.mark.backend("torch")
def test_every_few_batches():
    report = fit(made("updates-too-large", True), every=3).report()
    assert "updates-too-large" in report.codes


@pytest.mark.backend("torch")
def test_thresholds():
    strict = CourseThresholds(large_update=1e-6)
    training = made("training-not-finite", False)
    assert fit(training, thresholds=strict).report().codes == ["updates-too-large"]


def test_training_is_the_same():
    weights = []
    for watched in (False, True):
        training = made("training-not-finite", False)._replace(epochs=1)
        if watched:
            fit(training)
        else:
            training.model.fit(
                training.x, training.y, shuffle=False, verbose=0, batch_size=32
            )
        weights.append([v.numpy() for v in training.model.weights])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"every": 0}, ValueError, "`every` must be an integer >= 1"),
        ({"every": 1.5}, TypeError, "`every` must be an integer >= 1"),
        ({"thresholds": 3}, TypeError, "`thresholds` must be a CourseThresholds"),
    ],
    ids=["zero", "fraction", "thresholds"],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        Doctor(**arguments)
    with pytest.raises(ValueError, match="`patience` must be"):
        CourseThresholds(patience=0)
