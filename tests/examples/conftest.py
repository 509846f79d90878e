"""How the examples are run."""

import os
import subprocess
import sys

import pytest

from tests.examples.reading import EXAMPLES, ROOT


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Folder of the prepared data: it is made once, and never the user's own."""
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture
def run(data_dir, tmp_path):
    """Runs a Python file or `-c` code, in an empty folder as working directory."""

    def run(*arguments):
        path = [str(ROOT), str(EXAMPLES), os.environ.get("PYTHONPATH", "")]
        process = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, path)),
                "KERAS_ADAMX_DATA_DIR": str(data_dir),
                "COLUMNS": "120",
                "NO_COLOR": "1",
            },
            capture_output=True,
            encoding="utf-8",
            timeout=300,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    return run
