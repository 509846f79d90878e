"""Settings that every test runs under, whatever the backend."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest

import keras_adamx

BACKEND = keras.backend.backend()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `name` runs for every registered optimizer."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", keras_adamx.list_optimizers())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked for another backend."""
    for item in items:
        marker = item.get_closest_marker("backend")
        if marker is not None and BACKEND not in marker.args:
            item.add_marker(pytest.mark.skip(f"for {' and '.join(marker.args)}"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """The same random numbers for a test whatever ran before it."""
    keras.utils.set_random_seed(0)
