"""Two mirrored devices train like one, with all that surrounds the rules."""

import subprocess
import sys

import pytest

from tests import problem


@pytest.mark.backend("tensorflow")
@pytest.mark.slow
@pytest.mark.parametrize("optimizers", [(), ("sgd",)], ids=["all", "few"])
def test_mirrored_strategy(optimizers):
    worker = subprocess.run(
        [sys.executable, "-m", "tests.contract.mirrored_worker", *optimizers],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert worker.returncode == 0, worker.stderr[-3000:]
    cases = [line.split() for line in worker.stdout.splitlines()]
    assert {name for name, *_ in cases} == set(optimizers or problem.OPTIMIZERS)
    for name, kind, apart, moved in cases:
        assert float(moved) > 1e-4, (name, kind)
        # Rounding in a gradient may move a code of low-precision state.
        bound = 1e-3 if kind in ("bfloat16", "int8") else 1e-6
        assert float(apart) < bound, (name, kind)
