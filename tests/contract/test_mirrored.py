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
