"""A run that is cut in two, each part in a process of its own, gives the same bits."""

import subprocess
import sys

import numpy as np
import pytest

from tests import problem


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    for part in ("whole", "first", "second"):
        subprocess.run(
            [sys.executable, "-m", "tests.contract.resume_worker", part, str(folder)],
            check=True,
            timeout=600,
        )
    return folder


@pytest.mark.parametrize("how", ["plain", "grouped"])
def test_resumed_run_equals_an_uninterrupted_one(name, how, folder):
    whole, resumed = (
        list(np.load(folder / f"{name}-{how}.{part}.npz").values())
        for part in ("whole", "second")
    )
    problem.assert_same_bits(resumed, whole)
    assert any(np.any(value) for value in resumed)
