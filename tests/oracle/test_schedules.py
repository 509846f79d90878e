"""Schedules against their formulas in float64, those of Keras, and PyTorch's."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_adamx import schedules
from tests.schedules import CASES, LARGE, value_of, values_of

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
# A product has no length of its own.
LONG = {name: case for name, case in CASES.items() if name != "Product"}


@every_case
def test_formula_at_every_step(case):
    steps = range(max(case.boundaries) + 10)
    expected = [case.formula(step, 1) for step in steps]
    np.testing.assert_allclose(
        values_of(case.scaled(1), steps), expected, rtol=2e-6, atol=6e-8
    )


@pytest.mark.parametrize("case", LONG.values(), ids=LONG.keys())
def test_formula_around_large_boundaries(case):
    """Float32 does not hold all of these steps."""
    steps = [b * LARGE + d for b in case.boundaries for d in (-1, 0, 1)]
    steps += [10**7 - 1, 10**7, 10**7 + 1, 2**24 + 1, 2**31 - 2, 2**31 - 1]
    expected = [case.formula(step, LARGE) for step in steps]
    np.testing.assert_allclose(
        values_of(case.scaled(LARGE), steps), expected, rtol=5e-6, atol=6e-8
    )


def test_no_drift_of_powers():
    """0.9999 is no float32, and its rounding would be raised to the power too."""
    schedule = schedules.StepDecay(1.0, 3, gamma=0.9999)
    steps = [0, 299_999, 300_000, 599_999]
    expected = [0.9999 ** (step // 3) for step in steps]
    np.testing.assert_allclose(values_of(schedule, steps), expected, rtol=2e-6)


def test_factors_that_float32_does_not_hold():
    schedule = schedules.StepDecay(1.0, 2, gamma=1e-50)
    np.testing.assert_array_equal(values_of(schedule, range(4)), [1.0, 1.0, 0.0, 0.0])


def test_the_last_steps_keep_their_precision():
    """One minus a fraction would be off by a tenth of these values, or be 0."""
    linear = schedules.LinearDecay(1.0, 10**8)
    cosine = schedules.CosineWithWarmup(1.0, 10**4)
    root = schedules.WarmupStableDecay(1.0, 0, 10**8)
    steps = [10**8 - 3, 10**8 - 1]
    np.testing.assert_allclose(values_of(linear, steps), [3e-8, 1e-8], rtol=1e-6)
    np.testing.assert_allclose(values_of(root, steps), [1.5e-8, 0.5e-8], rtol=1e-6)
    expected = np.sin(0.5 * np.pi * 1e-4) ** 2
    assert value_of(cosine, 10**4 - 1) == pytest.approx(expected, rel=1e-6)


THEIRS = keras.optimizers.schedules
OF_KERAS = {
    "cosine": (
        schedules.CosineWithWarmup(0.1, 20, alpha=0.2, warmup_target=0.7),
        THEIRS.CosineDecay(0.1, 20, alpha=0.2, warmup_target=0.7),
    ),
    "cosine with warm-up": (
        schedules.CosineWithWarmup(0.1, 20, 0.2, warmup_target=0.7, warmup_steps=6),
        THEIRS.CosineDecay(0.1, 20, 0.2, warmup_target=0.7, warmup_steps=6),
    ),
    "cosine without target": (
        schedules.CosineWithWarmup(0.7, 20),
        THEIRS.CosineDecay(0.7, 20),
    ),
    "polynomial": (
        schedules.Polynomial(0.7, 20, power=2.5),
        THEIRS.PolynomialDecay(0.7, 20, power=2.5),
    ),
    "polynomial in cycles": (
        schedules.Polynomial(0.7, 8, 0.1, power=0.5, cycle=True),
        THEIRS.PolynomialDecay(0.7, 8, 0.1, power=0.5, cycle=True),
    ),
    # Theirs misplaces restarts by rounding: compared between them.
    "restarts": (
        schedules.CosineRestarts(0.7, 4.0, m_mul=0.5, alpha=0.1),
        THEIRS.CosineDecayRestarts(0.7, 4.0, m_mul=0.5, alpha=0.1),
    ),
    "restarts by a fraction": (
        schedules.CosineRestarts(0.7, 4, t_mul=1.3, m_mul=0.5, alpha=0.1),
        THEIRS.CosineDecayRestarts(0.7, 4, t_mul=1.3, m_mul=0.5, alpha=0.1),
    ),
}


@pytest.mark.parametrize(("ours", "theirs"), OF_KERAS.values(), ids=OF_KERAS)
def test_the_schedules_of_keras(ours, theirs):
    for step in (0, 1, 3, 5, 8, 9, 15, 19, 20, 26):
        found, expected = value_of(ours, step), value_of(theirs, step)
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6), step


def path_of_torch(make, steps, rate, momentum=0.9):
    """Learning rates and momenta that a scheduler of PyTorch gives."""
    import torch

    weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=rate, momentum=momentum)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates, momenta = [], []
    for _ in range(steps):
        [group] = optimizer.param_groups
        rates.append(float(group["lr"]))
        momenta.append(float(group["momentum"]))
        optimizer.step()
        scheduler.step()
    return rates, momenta


OF_TORCH = {
    "StepLR": (
        schedules.StepDecay(0.7, 3, gamma=0.4),
        lambda lr, o: lr.StepLR(o, 3, gamma=0.4),
    ),
    "MultiStepLR": (
        schedules.MultiStepDecay(0.7, [3, 11], gamma=0.4),
        lambda lr, o: lr.MultiStepLR(o, [3, 11], gamma=0.4),
    ),
    "LinearLR": (
        schedules.LinearDecay(0.7, 13, end_learning_rate=0.07),
        lambda lr, o: lr.LinearLR(o, 1.0, 0.1, total_iters=13),
    ),
    "LinearLR upwards": (
        schedules.LinearWarmup(0.7, 13, initial_learning_rate=0.07),
        lambda lr, o: lr.LinearLR(o, 0.1, total_iters=13),
    ),
    "LinearLR and CosineAnnealingLR": (
        schedules.LinearWarmup(schedules.CosineWithWarmup(0.7, 14, alpha=0.1), 6, 0.07),
        lambda lr, o: lr.SequentialLR(
            o,
            [
                lr.LinearLR(o, 0.1, total_iters=6),
                lr.CosineAnnealingLR(o, 14, eta_min=0.07),
            ],
            [6],
        ),
    ),
    "PolynomialLR": (
        schedules.Polynomial(0.7, 13, end_learning_rate=0.0, power=1.7),
        lambda lr, o: lr.PolynomialLR(o, 13, power=1.7),
    ),
    "CosineAnnealingWarmRestarts": (
        schedules.CosineRestarts(0.7, 3, t_mul=2, alpha=0.1),
        lambda lr, o: lr.CosineAnnealingWarmRestarts(o, 3, T_mult=2, eta_min=0.07),
    ),
    "CosineAnnealingWarmRestarts of equal length": (
        schedules.CosineRestarts(0.7, 5, t_mul=1, alpha=0.1),
        lambda lr, o: lr.CosineAnnealingWarmRestarts(o, 5, eta_min=0.07),
    ),
    "SequentialLR": (
        schedules.Sequential(
            [
                schedules.StepDecay(0.7, 2, gamma=0.4),
                schedules.Polynomial(0.7, 6, 0.0, power=2.0),
            ],
            [7],
        ),
        lambda lr, o: lr.SequentialLR(
            o,
            [lr.StepLR(o, 2, gamma=0.4), lr.PolynomialLR(o, 6, power=2.0)],
            [7],
        ),
    ),
    "ChainedScheduler": (
        schedules.Product(
            [
                schedules.StepDecay(0.7, 4, gamma=0.4),
                schedules.LinearWarmup(1.0, 9, initial_learning_rate=0.2),
            ]
        ),
        lambda lr, o: lr.ChainedScheduler(
            [lr.StepLR(o, 4, gamma=0.4), lr.LinearLR(o, 0.2, total_iters=9)]
        ),
    ),
    "CyclicLR": (
        schedules.Cyclic(0.1, 0.7, 4, 3),
        lambda lr, o: lr.CyclicLR(o, 0.1, 0.7, 4, 3, cycle_momentum=False),
    ),
    "CyclicLR triangular2": (
        schedules.Cyclic(0.1, 0.7, 4, mode="triangular2"),
        lambda lr, o: lr.CyclicLR(
            o, 0.1, 0.7, 4, mode="triangular2", cycle_momentum=False
        ),
    ),
    "CyclicLR exp_range": (
        schedules.Cyclic(0.1, 0.7, 4, 3, mode="exp_range", gamma=0.9),
        lambda lr, o: lr.CyclicLR(
            o, 0.1, 0.7, 4, 3, mode="exp_range", gamma=0.9, cycle_momentum=False
        ),
    ),
}


@pytest.mark.backend("torch")
@pytest.mark.parametrize(("ours", "make"), OF_TORCH.values(), ids=OF_TORCH)
def test_the_schedules_of_torch(ours, make):
    steps = 20
    expected, _ = path_of_torch(make, steps, 0.7)
    np.testing.assert_allclose(
        values_of(ours, range(steps)), expected, rtol=2e-6, atol=6e-8
    )


@pytest.mark.backend("torch")
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("anneal_strategy", ["cos", "linear"])
@pytest.mark.parametrize(("total", "share"), [(20, 0.4), (23, 0.37), (30, 0.3)])
def test_one_cycle_of_torch(total, share, anneal_strategy, three_phase):
    common = {
        "pct_start": share,
        "anneal_strategy": anneal_strategy,
        "base_momentum": 0.6,
        "max_momentum": 0.9,
        "div_factor": 7.0,
        "final_div_factor": 30.0,
        "three_phase": three_phase,
    }
    ours = schedules.OneCycle(0.7, total, **common)
    rates, momenta = path_of_torch(
        lambda lr, o: lr.OneCycleLR(o, 0.7, total, **common), total - 1, 0.7
    )
    steps = range(total - 1)
    np.testing.assert_allclose(values_of(ours, steps), rates, rtol=2e-6, atol=6e-8)
    np.testing.assert_allclose(
        values_of(ours.momentum, steps), momenta, rtol=2e-6, atol=6e-8
    )


@pytest.mark.backend("torch")
def test_cyclic_momentum_of_torch():
    """A schedule whose maximum is the smaller value."""
    _, momenta = path_of_torch(
        lambda lr, o: lr.CyclicLR(o, 0.1, 0.7, 4, 3, mode="triangular2"), 20, 0.7
    )
    ours = schedules.Cyclic(0.9, 0.8, 4, 3, mode="triangular2")
    np.testing.assert_allclose(values_of(ours, range(20)), momenta, rtol=2e-6)
