"""The commands `compare` and `report`: what they write, and errors of one line."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import keras_adamx_cli
from keras_adamx.compare import Comparison, command, workloads
from keras_adamx.compare.report import svg
from keras_adamx_cli import main
from tests.compare import synthetic
from tests.contract.test_cli import failed

# What knows nothing of the backend.
once = pytest.mark.backend("jax")

MODULE = '''
"""A model of the user."""

import keras

calls = []


def build():
    calls.append(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    return model


def broken():
    raise ValueError("a fault of the user")


def none():
    return None


number = 3
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a module of the user and its data, as the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "users.py").write_text(MODULE)
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 3)).astype("float32")
    np.savez(tmp_path / "data.npz", inputs=x, labels=x.sum(axis=1, keepdims=True))
    yield tmp_path
    sys.modules.pop("users", None)


def arguments(line):
    return keras_adamx_cli.parser().parse_args(line.split())


@pytest.fixture
def without_pictures(monkeypatch):
    """They take long, and have tests of their own."""
    monkeypatch.setattr(svg, "inline", lambda *arguments: "<svg></svg>")


@pytest.fixture
def records(tmp_path):
    """Files of records of two workloads."""
    for name in ("digits", "letters"):
        (tmp_path / name).mkdir()
        synthetic.usual(name).save(tmp_path / name / "runs.jsonl")
    return tmp_path


OWN = (
    "compare --model users:build --data data.npz --optimizers sgd --trials 0 --seeds 1"
)


def test_a_model_of_the_user(folder, capsys, monkeypatch):
    line = f"{OWN} --budget 4 --evaluate-every 2 --out out --target 1e9"
    assert main(line.split()) == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "report.html",
        "report.md",
        "runs.jsonl",
        "summary.json",
    ]
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("build\tsgd\t1 of 1 at 1e+09\tsteps 2\tbest loss ")
    assert out[1:] == [
        f"written to out/{name}"
        for name in ("report.html", "report.md", "summary.json")
    ]
    before = (folder / "out" / "runs.jsonl").read_bytes()
    [made] = Comparison.load("out/runs.jsonl").runs
    assert [point.step for point in made.curve] == [2, 4]
    # The same command goes on: here nothing is left to do.
    assert main(line.split()) == 0
    assert (folder / "out" / "runs.jsonl").read_bytes() == before
    # Another plan does not fit.
    words = "4 in the file, 6 now. Give another --out"
    capsys.readouterr()
    other = line.replace("--budget 4", "--budget 6")
    assert words in failed(other.split(), capsys)


@once
def test_reports_are_made_again(records, capsys, monkeypatch, without_pictures):
    monkeypatch.chdir(records)
    assert main(["report", "digits", "letters/runs.jsonl", "--out", "both"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == (
        "digits\tadam\t3 of 3 at 0.9\tsteps 150 (100 to 200)\tbest accuracy 0.9510 "
        "(0.9500 to 0.9520)"
    )
    assert out[3].endswith("\t1 failed")
    source = (records / "both" / "report.md").read_text("utf-8")
    assert "4 optimizers on digits and letters." in source
    assert main(["report", "digits", "--target", "0.5", "--out", "other"]) == 0
    numbers = json.loads((records / "other" / "summary.json").read_text("utf-8"))
    assert numbers["comparisons"][0]["target"] == 0.5
    assert main(["report", "letters/runs.jsonl"]) == 0
    assert (records / "letters" / "report.html").exists()
    capsys.readouterr()
    assert "--out: is needed" in failed(["report", "digits", "letters"], capsys)
    # The records stay as they are.
    assert Comparison.load("digits/runs.jsonl") == synthetic.usual("digits")


@once
def test_a_quick_look_says_so():
    given = arguments("compare --workload digits --quick")
    whole = workloads.get("digits")
    changes = {"budget": command.QUICK_STEPS, "evaluate_every": 30}
    assert command._given(given, whole) == changes
    assert whole.steps > command.QUICK_STEPS
    assert command._quick(whole, given).description == (
        f"{whole.description} A quick look: 150 steps where {whole.steps} are planned, "
        "with few settings and few seeds; do not choose by it."
    )
    assert command._search(given) == (3, None)
    given = arguments("compare --workload digits --quick --budget 50 --trials 7")
    assert command._given(given, whole) == {"budget": 50, "evaluate_every": 10}
    assert command._search(given) == (7, None)
    assert command._search(arguments("compare --space")) == ("space", 5)
    assert command._search(arguments("compare --trials 0")) == (None, None)
    plain = arguments("compare --workload digits")
    assert command._quick(whole, plain) == whole
    assert command._given(plain, whole) == {}


@once
def test_several_workloads_have_a_folder_each(tmp_path, monkeypatch, without_pictures):
    given = {}

    def compare(workload, **arguments):
        given[workload.name] = arguments
        return synthetic.usual(workload.name)

    monkeypatch.setattr(command, "compare", compare)
    line = f"compare --workload digits,char_lm --out {tmp_path} --jobs 3 --seeds 7"
    line += " --schedule cosine"
    assert main(line.split()) == 0
    for name, made in given.items():
        assert made == {
            "file": tmp_path / name / "runs.jsonl",
            "optimizers": ["adam", "sdprop", "adastand", "sgd", "adafactor"],
            "search": 5,
            "trials": None,
            "seeds": 7,
            "tuning_seeds": 1,
            "jobs": 3,
            "schedule": "cosine",
            "isolate": False,
            "retry_failed": False,
        }
    assert list(given) == ["digits", "char_lm"]
    assert "digits and char" in (tmp_path / "report.md").read_text("utf-8")


X, Y = np.arange(40.0).reshape(20, 2), np.arange(20)


@once
def test_data_of_a_file(tmp_path):
    def of(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return command.data_of(tmp_path / "data.npz")

    for inputs, labels in (("inputs", "labels"), ("x", "y"), ("x_train", "y_train")):
        found = of(**{inputs: X, labels: Y})
        np.testing.assert_array_equal(found[0], X)
        np.testing.assert_array_equal(found[1], Y)
    data = of(x_train=X, y_train=Y, x_test=X[:3] + 100, y_test=Y[:3] + 100)
    assert len(data.train.inputs) == 18
    assert sorted([*data.train.labels, *data.tuning.labels]) == list(range(20))
    for part in (data.train, data.tuning):
        np.testing.assert_array_equal(part.inputs[:, 0], 2 * part.labels)
    assert list(data.test.labels) == [100, 101, 102]
    three = {"x_train": X, "y_train": Y, "x_test": X[:3], "y_test": Y[:3]}
    data = of(**three, x_val=X[:2], y_val=Y[:2])
    assert [len(part.labels) for part in (data.train, data.tuning, data.test)] == [
        20,
        2,
        3,
    ]


@once
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("compare", "--workload"),
        ("compare --workload digts", "Did you mean 'digits'"),
        ("compare --workload digits --model users:build", "--workload"),
        ("compare --workload digits,digits", "twice"),
        ("compare --workload digits,char_lm --target 1", "one workload"),
        ("compare --workload digits --loss mse", "--loss: is for --model"),
        ("compare --workload digits --optimizers adm", "Did you mean 'adam'"),
        ("compare --workload digits --optimizers keras.Adm", "'keras.Adm'"),
        ("compare --workload digits --optimizers ,", "--optimizers"),
        ("compare --workload digits --optimizers adam,adam", "names one twice: adam"),
        ("compare --workload digits --trials 1", "--trials"),
        ("compare --workload digits --trials many", "many"),
        ("compare --workload digits --seeds 0", "`seeds` must be an integer >= 1"),
        ("compare --workload digits --budget 0", "budget"),
        ("compare --workload digits --out data.npz", "data.npz"),
        ("compare --model users:build", "--data: is needed"),
        ("compare --model users --data data.npz", "MODULE:FUNCTION"),
        ("compare --model usrs:build --data data.npz", "no module 'usrs'"),
        ("compare --model users:biuld --data data.npz", "no function 'biuld'"),
        ("compare --model users:number --data data.npz", "no function 'number'"),
        ("compare --model users:none --data data.npz", "It returned: None"),
        ("compare --model users:build --data users.py", ".npz"),
        ("compare --model users:build --data no.npz", "no.npz"),
        ("compare --model users:build --data bad.npz", "bad.npz cannot be read"),
        ("compare --model users:build --data odd.npz", "Received: a, b"),
        ("compare --model users:build --data short.npz", "3 inputs, 4 labels"),
        (f"{OWN} --batch-size 1000", "`batch_size` must be at most"),
        ("report no.jsonl", "no.jsonl"),
        ("report users.py", "not a record"),
        ("report", "FILE"),
    ],
)
def test_errors_are_one_line(line, words, folder, capsys):
    (folder / "bad.npz").write_bytes(b"no zip")
    np.savez(folder / "odd.npz", a=X, b=Y)
    np.savez(folder / "short.npz", x=X[:3], y=Y[:4])
    before = sorted(folder.iterdir())
    assert words in failed(line.split(), capsys)
    left = [p for p in folder.rglob("*") if p.is_file() and p.parent == folder / "out"]
    assert left == []
    assert {p.name for p in before} <= {p.name for p in folder.iterdir()}


def test_faults_of_the_user(folder, capsys):
    """Of a module that cannot be imported, the traceback says where."""
    line = OWN.replace("users:build", "users:broken").split()
    said = failed([*line, "--out", "out"], capsys)
    assert "raised ValueError: a fault of the user" in said
    line = OWN.replace("users:build", "users.py:build").split()
    assert "not its file: users:build" in failed([*line, "--out", "out"], capsys)
    (folder / "torn.py").write_text("import there_is_no_such_module\n")
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_module"):
        command._function("torn:build")


@once
def test_files_that_are_no_records(folder, capsys):
    (folder / "out").mkdir()
    (folder / "out" / "runs.jsonl").write_text("something else\n")
    assert "not a record" in failed(f"{OWN} --out out".split(), capsys)
    assert (folder / "out" / "runs.jsonl").read_text() == "something else\n"
    two = synthetic.usual("digits")
    two.save(folder / "a.jsonl")
    two.save(folder / "b.jsonl")
    line = ["report", "a.jsonl", "b.jsonl"]
    assert "different workloads" in failed([*line, "--out", "c"], capsys)
    line += ["--out", "c", "--target", "1"]
    assert "the file of one workload" in failed(line, capsys)


@once
@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_what_is_not_installed_is_said_first(module, folder, capsys, monkeypatch):
    command.html._environment.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    assert "pip install 'keras_adamx[" in failed(f"{OWN} --out out".split(), capsys)
    assert not (folder / "out").exists()
