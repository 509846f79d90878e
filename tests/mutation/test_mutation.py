"""Tests of the tests: every deliberate fault must make one of them fail."""

import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from tests.mutation.faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.mutation


def copied(folder: Path) -> Path:
    """The package and its tests in another folder."""
    for name in ("keras_adamx", "tests"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


# What a child does: it has imported nothing of the package yet.
CHILD = """
import os, sys
os.chdir(folder)
sys.path.insert(0, folder)
output = os.open("output", os.O_CREAT | os.O_WRONLY)
os.dup2(output, 1)
os.dup2(output, 2)
import pytest
sys.exit(int(pytest.main(arguments)))
"""
# The children are forks of a process that has imported what takes long.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["keras", "numpy", "pytest"])


def run(folder: Path, fault: Fault) -> tuple[int, str]:
    """Run the tests that are to find a fault, as far as the first that fails."""
    arguments = ["--quiet", "-x", "-p", "no:cacheprovider", "--tb=line"]
    arguments += [*fault.tests.split(), "-m", "not mutation"]
    if fault.chosen:
        arguments += ["-k", fault.chosen]
    if fault.backend == keras.backend.backend():
        names = {"folder": str(folder), "arguments": arguments}
        child = FORKS.Process(target=exec, args=(CHILD, names))
        child.start()
        child.join(timeout=300)
        child.kill()
        return child.exitcode, (folder / "output").read_text("utf-8")
    child = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=folder,
        env=os.environ | {"KERAS_BACKEND": fault.backend, "PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return child.returncode, child.stdout


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_found(fault, tmp_path):
    folder = copied(tmp_path / "copy")
    file = folder / "keras_adamx" / fault.file
    text = file.read_text("utf-8")
    assert text.count(fault.right) == 1, f"{fault.file} has changed"
    file.write_text(text.replace(fault.right, fault.wrong), "utf-8")
    code, output = run(folder, fault)
    # 1: some test failed; 2 and more: pytest itself did, or found no test.
    assert code == 1, output[-2000:]


def test_without_a_fault_nothing_is_found(tmp_path):
    """Tests pass on the copy, as they do elsewhere: what fails above is the fault."""
    folder = copied(tmp_path / "copy")
    quick = next(f for f in FAULTS if f.backend == keras.backend.backend())
    code, output = run(folder, quick)
    assert code == 0, output[-2000:]
