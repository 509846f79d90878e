"""The benchmarks run on a tiny setting; no test asserts a time."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks import measure

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


def test_memory():
    out = run(
        "benchmarks.memory",
        *("--child", "--optimizers", "adam", "--units", "1000"),
    )
    [row] = [json.loads(line) for line in out.splitlines() if line[:1] == "{"]
    assert row["counted"] == 8.0
    assert row["measured"] > 0.0


def test_markdown():
    assert (
        measure.markdown([{"a": 1, "b": "x"}]) == "| a | b |\n| --- | --- |\n| 1 | x |"
    )
