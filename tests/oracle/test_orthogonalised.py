"""The polynomials of Muon against the singular vectors themselves."""

import keras
import numpy as np
import pytest

from keras_adamx.optimizers import matrix


@pytest.mark.parametrize("steps", [1, 3, 8, 12])
def test_polar_express_reaches_the_orthogonal_matrix(steps):
    x = np.random.default_rng(0).normal(size=(2, 4, 9)).astype("float32")
    polynomials = matrix.coefficients("polar_express", steps)
    found = matrix.orthogonalised(keras.ops.convert_to_tensor(x), polynomials, 1.01)
    left, _, right = np.linalg.svd(x, full_matrices=False)
    error = np.abs(np.array(keras.ops.convert_to_numpy(found)) - left @ right).max()
    assert error < {1: 1.0, 3: 0.6, 8: 1e-4, 12: 1e-4}[steps]
