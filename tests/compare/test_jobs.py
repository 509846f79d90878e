"""Comparisons in processes: killed ones, several at a time, and isolated ones."""

import os
import signal
import subprocess
import sys
import time

import keras
import pytest

import keras_adamx
from keras_adamx.compare import Comparison, running, worker
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
def test_processes_give_the_bits_of_one(tmp_path, capfd):
    optimizers = {
        "ours": keras_adamx.SGD(0.1, jit_compile=False),
        "theirs": keras.optimizers.SGD(0.1, momentum=0.9),
    }
    given = {"search": {"ours": [0.1, 0.2], "theirs": [0.1, 0.3]}, "seeds": 1}
    here = cases.compared(optimizers=optimizers, **given)
    path = tmp_path / "two.jsonl"
    two = cases.compared(
        optimizers={**optimizers, "deadly": cases.Deadly(0.1)},
        jobs=2,
        threads=1,
        file=path,
        **given,
    )
    assert Comparison.load(path) == two
    assert (two.machines[0].jobs, two.machines[0].threads) == (2, 1)
    died = [run for run in two.runs if run.label == "deadly"]
    alive = [c for c in cases.curves(two) if "deadly" not in c[0]]
    assert alive == cases.curves(here)
    # A process that dies is a failure of its run.
    assert [run.reason for run in died] == ["the process ended with status 7"]
    assert {run.peak_memory_bytes for run in two.runs} == {None}
    isolated = cases.compared(
        optimizers=optimizers, isolate=True, threads=1, search=None, seeds=1
    )
    again = cases.compared(optimizers=optimizers, search=None, seeds=1)
    assert cases.curves(isolated) == cases.curves(again)
    assert min(run.peak_memory_bytes for run in isolated.runs) > 50_000_000
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_a_process_is_replaced_before_it_has_grown(monkeypatch):
    started = []

    class Counted(worker.Worker):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(worker, "MOST_RUNS", 1)
    monkeypatch.setattr(running, "Worker", Counted)
    given = {"optimizers": ["sgd"], "search": None, "seeds": 3}
    found = cases.compared(jobs=2, threads=1, **given)
    assert len(found.runs) == len(started) == 3
    assert cases.curves(found) == cases.curves(cases.compared(**given))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
def test_a_process_that_somebody_ends_is_no_failure_of_the_run(tmp_path):
    optimizers = {"ended": cases.Ended(0.1)}
    path = tmp_path / "a.jsonl"
    with pytest.raises(RuntimeError, match="was ended by SIGTERM"):
        cases.compared(optimizers=optimizers, search=None, isolate=True, file=path)
    assert Comparison.load(path).runs == ()


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
