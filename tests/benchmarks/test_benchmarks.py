"""The benchmarks run on a tiny setting; no test asserts a time."""

import json
import math
import os
import subprocess
import sys

import pytest

from benchmarks import codecs, measure, targets

pytestmark = pytest.mark.examples


def run(*arguments):
    result = subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_step_time():
    out = run(
        "benchmarks.step_time",
        *("--backends", "tensorflow", "jax", "--optimizers", "adam", "sdprop"),
        *("--shapes", "3x12", "--rounds", "2"),
    )
    for mode in ("eager", "graph", "XLA", "jit"):
        assert mode in out
    assert "RMSprop" in out


def test_fit_time():
    small = ("--units", "8", "--rounds", "1")
    out = run("benchmarks.fit_time", "--backends", "tensorflow", *small)
    for model in ("MLP", "CNN", "eager loop"):
        assert model in out


@pytest.mark.parametrize(("kind", "size"), [("Keras", 8.0), ("int8", 2.1)])
def test_memory(kind, size):
    out = run(
        "benchmarks.memory",
        *("--child", "--optimizers", "adam", "--units", "2000"),
        *("--state-dtypes", kind),
    )
    [row] = [json.loads(line) for line in out.splitlines() if line[:1] == "{"]
    assert size - 0.1 < row["counted"] <= size
    assert math.isfinite(row["measured"])


def test_muon():
    small = ("--blocks", "1", "--width", "8", "--rounds", "1")
    out = run("benchmarks.muon", *small, "--backends", "tensorflow", "jax")
    for word in ("graph", "XLA", "jit"):
        assert word in out


def test_columns_are_told_by_name():
    """Rows may lack some, and have them in another order."""
    table = measure.markdown([{"a": 1, "b": 2}, {"c": 5, "b": 4, "a": 3}])
    assert table.splitlines()[2:] == ["| 1 | 2 | - |", "| 3 | 4 | 5 |"]


def test_abilities():
    out = run(
        "benchmarks.abilities",
        *("--backends", "tensorflow", "jax", "--shapes", "3x20x300", "--rounds", "1"),
    )
    for words in ("plain, ms", "state int8", "weights bfloat16", "eager", "jit"):
        assert words in out


def test_sparse():
    out = run("benchmarks.sparse", "--rows", "300", "--batch", "8", "--rounds", "1")
    for words in ("Adam, lazy, int8", "Adam, dense", "Keras' SGD", "XLA"):
        assert words in out


def test_accumulation():
    out = run(
        "benchmarks.accumulation",
        *("--backends", "jax", "tensorflow", "--shapes", "3x12", "--rounds", "1"),
    )
    for words in ("jit", "graph", "XLA"):
        assert words in out


def test_monitor():
    small = ("--steps", "2", "--rounds", "1", "--backends", "tensorflow", "jax")
    out = run("benchmarks.monitor", *small)
    for words in ("OptimizerMonitor()", "every=10", "Doctor()", "CPU", "jax"):
        assert words in out


def test_codecs():
    out = run(
        "benchmarks.codecs",
        *("--side", "256", "--steps", "3", "--elements", "8192", "--rounds", "1"),
    )
    for words in ("ours", "tree", "linear", "error"):
        assert words in out


def test_tree_map():
    signed, unsigned = codecs.tree_values(False), codecs.tree_values(True)
    assert len(set(signed)) == len(set(unsigned)) == 256
    assert (min(signed), max(signed), min(unsigned)) == (-0.99296875, 1.0, 0.0)


def test_markdown():
    assert (
        measure.markdown([{"a": 1, "b": "x"}]) == "| a | b |\n| --- | --- |\n| 1 | x |"
    )


def test_workloads():
    out = run(
        "benchmarks.workloads", "--names", "digits", "--steps", "2", "--rounds", "1"
    )
    for words in ("digits", "no XLA, steps/s", "True"):
        assert words in out


def test_targets(tmp_path):
    out = run(
        *("benchmarks.targets", "--names", "digits", "--folder", str(tmp_path)),
        *("--rates", "0.001", "0.01", "--tuning-seeds", "1", "--seeds", "2"),
        *("--budget", "40"),
    )
    for words in ("digits", "accuracy", "target by the rule", "at the edge"):
        assert words in out
    # What was trained is kept.
    assert (tmp_path / "digits.jsonl").read_text().count('"record": "run"') == 4


@pytest.mark.parametrize(
    ("value", "higher_is_better", "expected"),
    [
        (0.8904, True, 0.8893),  # An error of 0.1096 becomes one of 0.1107.
        (0.0944, False, 0.09535),
        (1.416, False, 1.431),
        (0.2816, False, 0.2845),
        (10.0, False, 10.1),
    ],
)
def test_rule_of_the_targets(value, higher_is_better, expected):
    assert targets.target(value, higher_is_better) == expected
