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
    variables = [driving.new_variable(w, dtype) for w in path.weights]
    actual = driving.apply_all(optimizer, variables, path.gradients, dtype)
    driving.assert_same_path(actual, path.trajectory, dtype)
    assert optimizer.has_averages == (path.evaluated is not None)
    if path.evaluated is not None:
        optimizer.put_in_averaged_weights()
        driving.assert_same_path([driving.values(variables)], [path.evaluated], dtype)
