"""Two mirrored devices train like one, with all that surrounds the rules."""

import pytest

from tests import problem

QUARTERS = [problem.OPTIMIZERS[i::4] for i in range(4)]


@pytest.mark.backend("tensorflow")
@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizers", [*QUARTERS, ("sgd",)], ids=["1", "2", "3", "4", "few"]
)
def test_mirrored_strategy(optimizers):
    cases = problem.run_worker("mirrored_worker", *optimizers)
    assert {name for name, *_ in cases} == set(optimizers)
    for name, kind, apart, moved in cases:
        assert float(moved) > 1e-4, (name, kind)
        # Rounding in a gradient may move a code of low-precision state.
        bound = 1e-3 if kind in ("bfloat16", "int8") else 1e-6
        assert float(apart) < bound, (name, kind)


@pytest.mark.backend("tensorflow")
@pytest.mark.slow
def test_callbacks_see_the_same():
    """Norms are those of the gradients of all devices together."""
    cases = {name: row for name, *row in problem.run_worker("mirrored_monitor_worker")}
    assert set(cases) == {"adamw", "sgd"}
    assert all(int(numbers) > 500 for numbers, *_ in cases.values())
    assert float(cases["adamw"][1]) == 2  # One in each `fit`.
    assert all(float(rate) > 0.5 for *_, rate in cases.values())
