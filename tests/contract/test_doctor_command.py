"""`keras-adamx doctor`: files of a model and its data, and what is printed of them."""

from __future__ import annotations

import importlib.util
import json
import sys

import keras
import numpy as np
import pytest
from keras import layers, losses

import keras_adamx
from keras_adamx_cli import main
from tests.contract import doctor_cases as cases
from tests.contract.test_cli import failed

pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
LOGITS = ["--loss", "sparse_categorical_crossentropy", "--from-logits"]
# Few rows and batches; what is found is the same.
FEW = ["--rows", "300", "--batch-size", "64"]

OWN = """
import keras

class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x

class Sum(keras.Model):
    # Its inputs have names that the file alone knows.
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.head = keras.layers.Dense(10)

    def call(self, inputs):
        return self.head(inputs["pixels"] + inputs["more"])

def own_loss(y_true, y_pred):
    return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, True)
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A test that has imported a module of this folder is not to leave it behind.
    monkeypatch.setattr(sys, "path", list(sys.path))


def saved(model=None, compiled=True, **arrays):
    """Files of a model and of arrays; the digits, if none are given."""
    model = cases.mlp() if model is None else model
    if compiled:
        cases.compiled(model, None, keras_adamx.Adam(1e-3))
    model.save("model.keras")
    x, y = cases.pixels()[:400], cases.digits()[1][:400]
    np.savez("data.npz", **(arrays or {"x": x, "y": y}))
    return ["doctor", "model.keras", "data.npz", *FEW]


def report_of(command, capsys, *more, status=0):
    """The report as data."""
    assert main([*command, *more, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def codes(report):
    return [finding["code"] for finding in report["findings"]]


def test_a_healthy_model(capsys):
    assert main(saved()) == 0
    out = capsys.readouterr().out
    assert out.startswith("No findings in 300 of 400 rows, chosen at random.\n")
    assert "learning-rate-too-high" in out
    assert "Taken from the file: inputs x; targets y." in out


def test_a_fault(capsys):
    command = saved(
        x_train=255 * cases.pixels(), y_train=cases.digits()[1], x_test=np.ones(3)
    )
    assert main(command) == 1
    out = capsys.readouterr().out
    assert "warning inputs-not-normalised  the input" in out
    assert "inputs x_train; targets y_train. Not used: x_test." in out
    assert max(map(len, out.splitlines())) <= 100
    assert codes(report_of(command, capsys, status=1)) == ["inputs-not-normalised"]
    assert main([*command, "--markdown"]) == 1
    assert "## warning: inputs-not-normalised, the input" in capsys.readouterr().out


def test_rows_and_weights_are_taken(capsys):
    x, y = cases.pixels(), cases.digits()[1]
    weights = np.ones(len(x))
    weights[:] = np.nan
    command = saved(inputs=x, labels=y, sample_weight=weights)
    report = report_of(command, capsys, "--seed", "3", status=1)
    assert "data-not-finite" in codes(report)
    assert report["looked_at"] == "300 of 1797 rows, chosen at random"


def test_a_model_that_is_not_compiled(capsys):
    command = saved(compiled=False)
    assert "--loss" in failed(command, capsys)
    report = report_of(command, capsys, *LOGITS)
    assert "learning-rate-too-high" not in report["checked"]
    command += [*LOGITS, "--optimizer"]
    report = report_of(command, capsys, "adam=0.001")
    assert "learning-rate-too-high" in report["checked"]
    assert codes(report_of(command, capsys, "sgd=1000", status=1)) == [
        "learning-rate-too-high"
    ]


def test_another_optimizer_or_loss_than_the_compiled(capsys):
    command = saved()
    report = report_of(command, capsys, "--optimizer", "adam=1e-9", status=1)
    assert codes(report) == ["learning-rate-too-low"]
    # Outputs are logits; this says that they are not.
    report = report_of(command, capsys, *LOGITS[:2], status=1)
    assert "outputs-not-probabilities" in codes(report)


def two_ends():
    inputs = [keras.Input((32,), name="left"), keras.Input((32,), name="right")]
    x = layers.Dense(32, activation="relu")(layers.concatenate(inputs))
    digit = layers.Dense(10, name="digit")(x)
    large = layers.Dense(1, name="large")(x)
    return keras.Model(inputs, {"digit": digit, "large": large})


def test_inputs_and_outputs_by_name(capsys):
    x, y, large = cases.pixels(), cases.digits()[1], cases.is_large()
    arrays = {"left": x[:, :32], "right": 255.0 * x[:, 32:], "digit": y, "large": large}
    command = saved(two_ends(), compiled=False, **arrays)
    each = ["--loss", f"digit={LOGITS[1]}", "--loss", "large=binary_crossentropy"]
    report = report_of(command, capsys, "--from-logits", *each, status=1)
    assert codes(report) == ["inputs-not-normalised"]
    assert report["findings"][0]["where"] == "input 'right'"
    assert "one loss, or OUTPUT=LOSS" in failed(
        [*command, *each, "--loss", "mse"], capsys
    )
    del arrays["right"]
    np.savez("data.npz", **arrays)
    err = failed([*command, "--from-logits", *each], capsys)
    assert "no array for the inputs. Allowed: left, right. Received: left, digit" in err


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module beside the files, which nothing has imported when the test ends."""
    (tmp_path / "own_layers.py").write_text(OWN)
    spec = importlib.util.spec_from_file_location("own_layers", "own_layers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("own_layers", None)


def test_classes_of_a_module_need_not_be_registered(own, capsys):
    model = keras.Sequential([keras.Input((64,)), own.Doubled(), layers.Dense(10)])
    command = saved(cases.compiled(model, own.own_loss), compiled=False)
    err = failed(command, capsys)
    assert "--import MODULE" in err
    assert len(err) < 500
    report = report_of(command, capsys, "--import", "own_layers")
    reasons = " ".join(skipped["reason"] for skipped in report["skipped"])
    assert "own_loss" in reasons
    report = report_of(command, capsys, "--import", "own_layers", "--loss", "own_loss")
    assert not report["findings"]


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_class_of_a_model_that_was_never_called(own, capsys):
    x, y = cases.pixels(), cases.digits()[1]
    command = saved(own.Sum(), pixels=x, more=x, labels=y)
    report = report_of(command, capsys, "--import", "own_layers")
    assert {"data-not-finite", "learning-rate-too-high"} <= set(report["checked"])


def test_code_in_a_file_has_to_be_trusted(capsys):
    model = keras.Sequential(
        [keras.Input((64,)), layers.Lambda(lambda x: x + 1.0), layers.Dense(10)]
    )
    command = saved(model)
    assert "--unsafe" in failed(command, capsys)
    assert not report_of(command, capsys, "--unsafe")["findings"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "MODEL, DATA"),
        ("none.keras data.npz", "MODEL: there is no file 'none.keras'"),
        ("data.npz model.keras", "MODEL: must be a file that `model.save` wrote"),
        ("damaged.keras data.npz", "damaged.keras: cannot be loaded"),
        ("model.keras none.npz", "DATA: there is no file 'none.npz'"),
        ("model.keras data.csv", "DATA: must be a file that `numpy.savez` wrote"),
        ("model.keras damaged.npz", "DATA: damaged.npz cannot be read"),
        ("model.keras pickled.npz", "DATA: pickled.npz cannot be read"),
        ("model.keras empty.npz", "no array for the targets. Allowed: y, y_train"),
        ("model.keras no_inputs.npz", "no array for the inputs. Allowed: x, x_train"),
        ("model.keras uneven.npz", "same number of rows"),
        ("model.keras data.npz --loss mze", "argument --loss: must be"),
        ("model.keras data.npz --loss mse --from-logits", "that takes logits"),
        ("model.keras data.npz --from-logits", "needs a --loss"),
        ("model.keras data.npz --optimizer adm", "Did you mean 'adam'"),
        ("model.keras data.npz --optimizer adam=x", "'adam=x'"),
        ("model.keras data.npz --optimizer adam=-1", "learning_rate"),
        ("model.keras data.npz --import no_module", "No module named 'no_module'"),
        ("model.keras data.npz --rows 1", "`rows` must be an integer >= 2"),
        ("model.keras data.npz --rows many", "--rows"),
        ("model.keras data.npz --json --markdown", "not allowed with"),
    ],
)
def test_errors_are_one_line(arguments, words, capsys, files):
    for name, content in files.items():
        with open(name, "wb") as file:
            file.write(content)
    assert words in failed(["doctor", *arguments.split()], capsys)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of all kinds by name."""
    folder = tmp_path_factory.mktemp("files")
    model = cases.compiled(keras.Sequential([keras.Input((3,)), layers.Dense(2)]))
    model.save(folder / "model.keras")
    x, y = np.ones((4, 3), "float32"), np.array([0, 1, 0, 1])
    for name, arrays in {
        "data": {"x": x, "y": y},
        "pickled": {"x": x, "y": np.array([{}, 1], dtype=object)},
        "empty": {},
        "no_inputs": {"images": x, "y": y},
        "uneven": {"x": x, "y": y[1:]},
    }.items():
        np.savez(folder / f"{name}.npz", **arrays)
    for name in ("damaged.keras", "damaged.npz"):
        (folder / name).write_bytes(b"PK\x03\x04 and no more")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_losses_may_be_named_as_classes(capsys):
    command = saved(compiled=False)
    report = report_of(
        command,
        capsys,
        "--loss",
        losses.SparseCategoricalCrossentropy.__name__,
        "--from-logits",
    )
    assert not report["findings"]
