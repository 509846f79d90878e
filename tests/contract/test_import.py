"""What happens at import."""

import os
import subprocess
import sys


def test_a_backend_that_cannot_train_is_named():
    worker = subprocess.run(
        [sys.executable, "-c", "import keras_adamx"],
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert worker.returncode != 0
    assert "set the environment variable KERAS_BACKEND" in worker.stderr
