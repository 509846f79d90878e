"""What is measured beside the learning curve: updates, state, memory, the machine."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import statistics
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_adamx.compare.records import Machine
from keras_adamx.core import backend
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.report import size_of

# Updates that are timed: so many seconds of them, between the least and the most.
SECONDS, LEAST, MOST = 0.2, 10, 200
PACKAGES = ("keras", "keras_adamx", "numpy")


def update_microseconds(model: keras.Model) -> float:
    """Median time of one update on fixed gradients, compiled as in training.

    The model is not to be used afterwards: its weights have moved, and on JAX those of
    the optimizer may be gone.
    """
    variables = model.trainable_variables
    random = np.random.default_rng(0)
    gradients = [
        ops.convert_to_tensor(1e-3 * random.normal(size=v.shape), dtype=v.dtype)
        for v in variables
    ]
    compiled = bool(model.jit_compile) and not model.run_eagerly
    run = backend.timed(model.optimizer, gradients, variables, compiled)
    for _ in range(3):  # Compiles, and fills the caches.
        run()
    times: list[float] = []
    while len(times) < LEAST or (sum(times) < SECONDS and len(times) < MOST):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times)


def state_bytes(optimizer: Any) -> int:
    """Size of what an optimizer keeps, without its counter and its learning rate."""
    if isinstance(optimizer, Optimizer):
        return int(optimizer.memory_report().total.bytes)
    left_out = {
        id(optimizer.iterations),
        id(getattr(optimizer, "_learning_rate", None)),
    }
    kept = [v for v in optimizer.variables if id(v) not in left_out]
    return sum(size_of(variable) for variable in kept)


def peak_memory() -> int | None:
    """Most memory that this process has held so far, in bytes, where that is known."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows.
        return None
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def load() -> float | None:
    """Mean number of processes that wanted to run in the last minute."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows.
        return None


def cores() -> list[int]:
    """Numbers of the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def threads_here() -> int:
    """Threads that this process uses, as far as its environment says."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(said), len(cores())) if said.isdigit() else len(cores())


def machine(threads: int, jobs: int) -> Machine:
    """Where the runs that begin now are made."""
    versions = {"python": platform.python_version()}
    used = keras.backend.backend()
    for name in (*PACKAGES, used, *(["jaxlib"] if used == "jax" else [])):
        # TensorFlow has a distribution for processors alone.
        for distribution in (name, f"{name}-cpu"):
            with contextlib.suppress(metadata.PackageNotFoundError):
                versions.setdefault(name, metadata.version(distribution))
    return Machine(
        backend=used,
        versions=versions,
        processor=backend.device_name() or _processor(),
        cores=len(cores()),
        memory_bytes=_memory(),
        threads=threads,
        jobs=jobs,
        started=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    )


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _memory() -> int:
    """Memory of the machine in bytes, 0 where it cannot be read."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows.
        return 0
