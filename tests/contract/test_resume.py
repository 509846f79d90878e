"""A run that is cut in two, each part in a process of its own, gives the same bits."""

import subprocess
import sys

import numpy as np

from tests.contract import resume_worker


def test_resumed_runs_equal_uninterrupted_ones(tmp_path):
    """For every optimizer, in one test: the processes are worth starting only once."""
    for part in ("whole", "first", "second"):
        subprocess.run(
            [sys.executable, "-m", "tests.contract.resume_worker", part, str(tmp_path)],
            check=True,
            timeout=900,
        )
    different = []
    for name, make in resume_worker.RUNS:
        whole, resumed = (
            list(np.load(tmp_path / f"{name}-{make.__name__}.{part}.npz").values())
            for part in ("whole", "second")
        )
        assert len(whole) == len(resumed)
        assert any(np.any(value) for value in resumed)
        if not all(np.array_equal(a, b) for a, b in zip(whole, resumed)):
            different.append((name, make.__name__))
    assert different == []
