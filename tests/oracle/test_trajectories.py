"""The package against the stored trajectories of reference implementations."""

from __future__ import annotations

import pytest

from . import driving, stored

# Keras converts torch's tensors, which do not know the copy argument of NumPy 2 yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


@pytest.mark.parametrize("case", stored.CASES)
def test_follows_the_reference(case: str) -> None:
    """In the best precision that the backend has, the references being float64."""
    path = stored.load(case)
    dtype = driving.best_precision()
    optimizer = driving.build(path.optimizer, path.arguments)
    actual = driving.run(optimizer, path.weights, path.gradients, dtype)
    driving.assert_same_path(actual, path.trajectory, dtype)
