"""The recursions against the stored trajectories of other implementations.

The package is not involved: a mistake in a recursion shows here, even if the package
makes the same one.
"""

from __future__ import annotations

import numpy as np
import pytest

from . import recursions, stored


@pytest.mark.parametrize("case", stored.CASES)
def test_recursion_follows_the_reference(case: str) -> None:
    """Both are float64: they differ by rounding, and by that of the file."""
    path = stored.load(case)
    ours = recursions.run(path.optimizer, path.arguments, path.weights, path.gradients)
    for step, (actual, expected) in enumerate(zip(ours, path.trajectory, strict=True)):
        for tensor, reference in zip(actual, expected, strict=True):
            np.testing.assert_allclose(
                tensor, reference, rtol=1e-12, atol=1e-12, err_msg=f"step {step}"
            )
    if path.evaluated is not None:
        *_, last = recursions.run(
            path.optimizer,
            path.arguments,
            path.weights,
            path.gradients,
            evaluated=True,
        )
        for tensor, reference in zip(last, path.evaluated, strict=True):
            np.testing.assert_allclose(tensor, reference, rtol=1e-12, atol=1e-12)


def test_every_rule_but_adastand_has_a_reference() -> None:
    """Adastand has no other published implementation that can be installed."""
    covered = {stored.load(case).optimizer for case in stored.CASES}
    assert covered == {*recursions.LEARNING_RATES} - {"Adastand"}


@pytest.mark.parametrize(("beta_1", "beta_2"), [(0.9, 0.999), (0.7, 0.8), (0.4, 0.5)])
def test_adastand_against_its_unrolled_sums(beta_1: float, beta_2: float) -> None:
    """Without recursion: m decays by 2 beta_1 - 1, and v is a weighted sum."""
    generator = np.random.default_rng(7)
    gradients = generator.standard_normal((10, 3))
    epsilon = 1e-3
    directions = list(
        recursions.adastand(gradients, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
    )

    def first_moment(t: int) -> np.ndarray:
        powers = (2 * beta_1 - 1) ** np.arange(t - 1, -1, -1.0)
        return (1 - beta_1) * powers @ gradients[:t]

    for t in range(1, len(gradients) + 1):
        before = np.stack([first_moment(k) for k in range(t)])
        powers = beta_2 ** np.arange(t - 1, -1, -1.0)
        v = beta_2 * (1 - beta_2) * powers @ (gradients[:t] - before) ** 2
        rate = np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        expected = rate * first_moment(t) / (np.sqrt(v) + epsilon)
        np.testing.assert_allclose(directions[t - 1], expected, rtol=1e-12)


def test_adam_of_changing_decays_against_its_unrolled_sums() -> None:
    """A corrected moment is a weighted mean: its weights add up to 1."""
    generator = np.random.default_rng(7)
    gradients = generator.standard_normal((10, 3))
    decays_1, decays_2 = generator.uniform(0.3, 0.99, (2, 10))
    epsilon = 1e-3
    arguments = {"beta_1": decays_1.__getitem__, "beta_2": decays_2.__getitem__}
    directions = recursions.adam(gradients, epsilon=epsilon, **arguments)

    def mean(values: np.ndarray, decays: np.ndarray) -> np.ndarray:
        later = np.append(np.cumprod(decays[:0:-1])[::-1], 1.0)
        weights = (1 - decays) * later
        return weights @ values / np.sum(weights)

    for t, direction in enumerate(directions, start=1):
        first = mean(gradients[:t], decays_1[:t])
        second = mean(gradients[:t] ** 2, decays_2[:t])
        expected = first / (np.sqrt(second) + epsilon)
        np.testing.assert_allclose(direction, expected, rtol=1e-12)
