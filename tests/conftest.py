"""Settings that every test runs under, whatever the backend."""

import collections
import os
import tempfile
from collections.abc import Iterator
from importlib import metadata

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Two processes share two cores: more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
# Most of the time goes into compiling. `tests/backends` runs what users get.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
)
# Data sets are prepared for the tests alone, and not where the user keeps them.
if "KERAS_ADAMX_DATA_DIR" not in os.environ:
    _datasets = tempfile.TemporaryDirectory(prefix="datasets-")
    os.environ["KERAS_ADAMX_DATA_DIR"] = _datasets.name
# Many tests compile the same on JAX: one process does, for the others of this run too.
# What releases of 2024 read back crashes.
if (
    os.environ["KERAS_BACKEND"] == "jax"
    and "JAX_COMPILATION_CACHE_DIR" not in os.environ
):
    release = [int(part) for part in metadata.version("jax").split(".")[:2]]
    if release >= [0, 6]:
        _compiled = tempfile.TemporaryDirectory(prefix="compiled-")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import hypothesis
import keras
import pytest

from keras_adamx.core import backend
from tests import problem

BACKEND = keras.backend.backend()

# How many cases are tried; `--hypothesis-profile` chooses.
for profile, number in {"some": 60, "longer": 500, "long": 10_000}.items():
    hypothesis.settings.register_profile(
        profile,
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
hypothesis.settings.load_profile("some")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run be for some of the optimizers only."""
    parser.addoption(
        "--part",
        default="0/1",
        help="run a part of the tests: 2/5 for the third of five",
    )
    parser.addoption(
        "--optimizers",
        default=",".join(problem.OPTIMIZERS),
        help="names of optimizers, for tests that run for each: adamw,muon",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `name` runs for every registered optimizer."""
    if "name" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--optimizers").split(",")
        metafunc.parametrize("name", chosen)


# One in so many cases of a formula runs on TensorFlow, where op by op is slow.
SHARE = 3


def left_to_torch(item: pytest.Item, number: int) -> bool:
    """Whether a test is one of many like it, of which PyTorch runs all.

    Where programs are compiled, the contract is tried for one rule of each kind, unless
    compiling is what a test is about, and TensorFlow runs a part of the cases of each
    formula: the rules are the same lines on all backends, which `tests/backends`
    compares step by step.
    """
    if BACKEND == "torch" or item.get_closest_marker("compiled") is not None:
        return False
    params = getattr(getattr(item, "callspec", None), "params", {})
    if item.path.parent.name == "contract":
        return params.get("name", problem.KINDS[0]) not in problem.KINDS
    of_formulas = item.path.parent.name in ("oracle", "identities")
    return BACKEND == "tensorflow" and of_formulas and number % SHARE != 0


@pytest.hookimpl(hookwrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Iterator[None]:
    """Mark what is left to PyTorch and skip what is for another backend; choose."""
    numbers: collections.Counter[str] = collections.Counter()
    for item in items:
        test = item.nodeid.partition("[")[0]
        if left_to_torch(item, numbers[test]):
            item.add_marker(pytest.mark.everywhere)
        numbers[test] += 1
        marker = item.get_closest_marker("backend")
        if marker is not None and BACKEND not in marker.args:
            item.add_marker(pytest.mark.skip(f"for {' and '.join(marker.args)}"))
    yield  # Markers and names on the command line choose.
    part, parts = map(int, config.getoption("--part").split("/"))
    others = [item for number, item in enumerate(items) if number % parts != part]
    if others:
        items[:] = items[part::parts]
        config.hook.pytest_deselected(items=others)
    # The longest comes first, so that no process waits for it in the end.
    items.sort(key=lambda item: item.path.name != "test_resume.py")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """The same random numbers for a test whatever ran before it."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _compiled_for_some(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run most optimizers op by op where the test leaves it open.

    Compiling takes nearly all of the time of a test. What surrounds the rules is the
    same for all, so that it is compiled for a few of them; that the rules themselves
    give the same results when they are compiled, tests marked `compiled` show for all.
    """
    name = getattr(getattr(request.node, "callspec", None), "params", {}).get("name")
    marked = request.node.get_closest_marker("compiled") is not None
    of_rules = request.path.parent.name in ("oracle", "identities")
    chosen = of_rules or (name is not None and name not in problem.COMPILED)
    # On JAX, op by op means to compile each operation.
    if BACKEND == "jax" or marked or not chosen:
        return
    monkeypatch.setattr(problem, "op_by_op", True)
    executor = backend.Executor
    monkeypatch.setattr(
        backend,
        "Executor",
        lambda jit_compile: executor(False if jit_compile == "auto" else jit_compile),
    )
