"""Four devices of JAX train like one; each holds the part of the state that is its."""

import pytest

from tests import problem

QUARTERS = [problem.OPTIMIZERS[i::4] for i in range(4)]


@pytest.mark.backend("tensorflow")  # In processes of its own, once.
@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizers", [*QUARTERS, ("adam", "adamw")], ids=["1", "2", "3", "4", "few"]
)
def test_sharded_variables(tmp_path, optimizers):
    cases = problem.run_worker(
        "sharded_worker",
        tmp_path,
        *optimizers,
        KERAS_BACKEND="jax",
        XLA_FLAGS="--xla_force_host_platform_device_count=4",
    )
    # What is said of files and of large variables, it says of AdamW in any case.
    assert {name for name, *_ in cases} == {*optimizers, "adamw"}
    for name, kind, where, apart, moved, share in cases:
        assert float(moved) > 1e-4, (name, kind)
        bound = 2e-4 if kind == "int8" and where != "sharding" else 1e-6
        assert float(apart) < bound, (name, kind, where)
        # Biases that cannot be divided are everywhere.
        assert float(share) < 0.26, (name, kind)
