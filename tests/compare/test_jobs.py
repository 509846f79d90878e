"""Comparisons in processes: killed ones, several at a time, and isolated ones."""

import os
import signal
import subprocess
import sys
import time

import keras
import pytest

import keras_adamx
from keras_adamx.compare import Comparison
from tests.compare import cases


def runs_in(path):
    return path.read_bytes().count(b'{"record": "run"') if path.exists() else 0


@pytest.mark.slow
def test_a_killed_comparison_goes_on(tmp_path):
    path = tmp_path / "a.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.compare.cases", str(path)], env=os.environ
    ) as process:
        until = time.monotonic() + 300
        while runs_in(path) < 3 and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    half = Comparison.load(path)
    assert 3 <= len(half.runs) < 8
    found = cases.compared(file=path)
    assert cases.curves(found) == cases.curves(cases.compared())
    assert Comparison.load(path) == found
    assert len(found.machines) == 2


@pytest.mark.slow
def test_several_jobs_give_the_bits_of_one(tmp_path, capfd):
    optimizers = {
        "ours": keras_adamx.SGD(0.1, jit_compile=False),
        "theirs": keras.optimizers.SGD(0.1, momentum=0.9),
        "deadly": cases.Deadly(0.1),
    }
    given = {"optimizers": optimizers, "threads": 1, "seeds": 1}
    two = cases.compared(jobs=2, **given, file=tmp_path / "two.jsonl")
    assert Comparison.load(tmp_path / "two.jsonl") == two
    one = cases.compared(isolate=True, **given)
    assert cases.curves(one) == cases.curves(two)
    assert [m.jobs for m in (*one.machines, *two.machines)] == [1, 2]
    here = cases.compared(**given | {"threads": None, "optimizers": {
        name: optimizers[name] for name in ("ours", "theirs")
    }})  # fmt: skip
    alive = [c for c in cases.curves(one) if "deadly" not in c[0]]
    assert cases.curves(here) == alive
    # A process that dies is a failure of its run.
    reasons = {run.reason for run in two.runs if run.label == "deadly"}
    assert reasons == {"the process ended with status 7"}
    peaks = [r.peak_memory_bytes for r in one.runs if r.label != "deadly"]
    assert min(peaks) > 50_000_000
    assert {r.peak_memory_bytes for r in two.runs} == {None}
    assert capfd.readouterr().out == ""


def local():
    return cases.build()


def test_what_other_processes_cannot_import_is_refused(monkeypatch):
    def inner():
        return cases.build()

    class Inner(keras.optimizers.SGD):
        pass

    monkeypatch.setattr(local, "__module__", "__main__")
    for build in (lambda: cases.build(), inner, local):
        with pytest.raises(ValueError, match="must be able to import"):
            compare(build, ["keras.SGD"])
    with pytest.raises(ValueError, match="must be able to import"):
        compare(cases.build, [Inner])


def compare(build, optimizers):
    return keras_adamx.compare.compare(
        build, cases.data, optimizers, loss=cases.loss, budget=2, jobs=2, verbose=False
    )
