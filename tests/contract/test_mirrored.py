"""Two mirrored devices train like one, clipping included."""

import subprocess
import sys

import pytest


@pytest.mark.backend("tensorflow")
@pytest.mark.slow
def test_mirrored_strategy():
    worker = subprocess.run(
        [sys.executable, "-m", "tests.contract.mirrored_worker"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert worker.returncode == 0, worker.stderr[-3000:]
    apart = {
        " ".join(words): float(distance)
        for *words, distance in map(str.split, worker.stdout.splitlines())
    }
    assert len(apart) > 10
    for case, distance in apart.items():
        assert distance < 1e-5, case
