"""Each schedule with its formula in float64, written from its source.

All lengths are small numbers times `k`: with k = 1 every step can be looked at, with
`LARGE` they lie beyond what float32 can count.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_adamx import schedules
from keras_adamx.core.schedules import StepsArgument

#: No power of two, so that no rounding hides.
LARGE = 2_000_003


class Case(NamedTuple):
    """One schedule.

    Attributes:
        cls: Its class.
        arguments: What it is made with, for k = 1.
        formula: Its value, from the step as an integer and k.
        boundaries: Steps at which something begins or ends, for k = 1.
        exact: Values that float32 must hold to the bit, by step for k = 1.
        ends: Whether it stays at the last value after the last boundary.
    """

    cls: Any
    arguments: dict[str, Any]
    formula: Callable[[int, int], float]
    boundaries: list[int]
    exact: dict[int, float]
    ends: bool = True

    def scaled(self, k: float, **others: Any) -> Any:
        """The schedule with its lengths times k."""

        def times(value: Any) -> Any:
            return [k * v for v in value] if isinstance(value, list) else k * value

        declared = self.cls.arguments
        arguments = {
            name: times(value) if isinstance(declared[name], StepsArgument) else value
            for name, value in self.arguments.items()
        }
        return self.cls(**arguments, **others)


def half_cosine(fraction: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * fraction))


def kept(fraction: float) -> float:
    return min(max(fraction, 0.0), 1.0)


def warmed(s: int, length: int, first: float, peak: float, after: Any) -> float:
    """A warm-up, then a share of the peak."""
    if s < length:
        return first + s / length * (peak - first)
    return peak * after(s - length)


def one_cycle(s, first, peak, last, total, share=0.4, bend=half_cosine, three=False):
    rise, end = share * total - 1, total - 1
    if s <= rise:
        return peak + (first - peak) * bend(s / rise)
    if not three:
        return last + (peak - last) * bend(kept((s - rise) / (end - rise)))
    if s <= 2 * rise:
        return first + (peak - first) * bend((s - rise) / rise)
    return last + (first - last) * bend(kept((s - 2 * rise) / (end - 2 * rise)))


def cyclic(s, up, down, scale):
    cycle, r = divmod(s, up + down)
    height = r / up if r <= up else (up + down - r) / down
    return 0.1 + 0.6 * height * scale(cycle)


def restarts(s, first, t_mul, m_mul):
    start, length, i = 0.0, first, 0
    while s >= start + length - 1e-6:
        start, length, i = start + length, length * t_mul, i + 1
    return 0.7 * (0.1 + 0.9 * m_mul**i * half_cosine((s - start) / length))


def polynomial_cycle(s, length):
    end = length * max(-(-s // length), 1)
    return 0.05 + 0.65 * (1 - s / end) ** 1.5


def wsd(shape):
    def formula(s, k):
        def after(r):
            return 0.2 + 0.8 * shape(kept((r - 7 * k) / (12 * k)))

        return warmed(s, 4 * k, 0.1, 0.7, after)

    return formula


def exponential(s, k):
    return float(
        np.exp(np.interp(s, [3 * k, 8 * k, 20 * k], np.log([0.5, 0.125, 2.0])))
    )


def pieces(s, k):
    points = [(0, 0.25), (8 * k, 1.5), (20 * k, -0.5)]
    for (x, a), (y, b) in itertools.pairwise(points):
        if s <= y:
            return b + (a - b) * half_cosine((s - x) / (y - x))
    return -0.5


RISE = {"initial_learning_rate": 0.1, "warmup_target": 0.7, "warmup_steps": 4}
CYCLE = {
    "initial_learning_rate": 0.1,
    "max_learning_rate": 0.7,
    "step_size_up": 6,
    "step_size_down": 4,
}
ONE = {"max_learning_rate": 0.7, "div_factor": 7.0, "final_div_factor": 20.0}
FALL = {"initial_learning_rate": 0.7, "decay_steps": 13}

CASES = {
    "StepDecay": Case(
        schedules.StepDecay,
        {"initial_learning_rate": 0.7, "step_size": 3, "gamma": 0.3},
        lambda s, k: 0.7 * 0.3 ** (s // (3 * k)),
        [3, 6, 9, 21],
        {0: 0.7, 2: 0.7},
        ends=False,
    ),
    "MultiStepDecay": Case(
        schedules.MultiStepDecay,
        {"initial_learning_rate": 0.7, "boundaries": [3, 5, 11], "gamma": 0.3},
        lambda s, k: 0.7 * 0.3 ** sum(s >= b * k for b in (3, 5, 11)),
        [3, 5, 11],
        {0: 0.7, 3: 0.7 * 0.3, 5: 0.7 * 0.3**2, 11: 0.7 * 0.3**3},
    ),
    "LinearWarmup": Case(
        schedules.LinearWarmup,
        {"then": 0.7, "warmup_steps": 7, "initial_learning_rate": 0.1},
        lambda s, k: 0.1 + 0.6 * kept(s / (7 * k)),
        [7],
        {0: 0.1, 7: 0.7},
    ),
    "LinearDecay": Case(
        schedules.LinearDecay,
        {**FALL, "end_learning_rate": 0.05},
        lambda s, k: 0.7 - 0.65 * kept(s / (13 * k)),
        [13],
        {0: 0.7, 13: 0.05},
    ),
    "CosineWithWarmup": Case(
        schedules.CosineWithWarmup,
        {**RISE, "decay_steps": 13, "alpha": 0.1},
        lambda s, k: warmed(
            s,
            4 * k,
            0.1,
            0.7,
            lambda r: 0.1 + 0.9 * half_cosine(kept(r / (13 * k))),
        ),
        [4, 17],
        {0: 0.1, 4: 0.7, 17: 0.1 * 0.7},
    ),
    "CosineWithWarmup without target": Case(
        schedules.CosineWithWarmup,
        {"initial_learning_rate": 0.7, "warmup_steps": 4, "decay_steps": 13},
        lambda s, k: warmed(
            s, 4 * k, 0.0, 0.7, lambda r: half_cosine(kept(r / (13 * k)))
        ),
        [4, 17],
        {0: 0.0, 4: 0.7, 17: 0.0},
    ),
    "WarmupStableDecay 1-sqrt": Case(
        schedules.WarmupStableDecay,
        {**RISE, "stable_steps": 7, "decay_steps": 12, "alpha": 0.2},
        wsd(lambda f: 1 - math.sqrt(f)),
        [4, 11, 23],
        {0: 0.1, 4: 0.7, 11: 0.7, 23: 0.2 * 0.7},
    ),
    "WarmupStableDecay linear": Case(
        schedules.WarmupStableDecay,
        {
            **RISE,
            "stable_steps": 7,
            "decay_steps": 12,
            "alpha": 0.2,
            "cooldown": "linear",
        },
        wsd(lambda f: 1 - f),
        [4, 11, 23],
        {0: 0.1, 4: 0.7, 11: 0.7, 23: 0.2 * 0.7},
    ),
    "WarmupStableDecay cosine": Case(
        schedules.WarmupStableDecay,
        {
            **RISE,
            "stable_steps": 7,
            "decay_steps": 12,
            "alpha": 0.2,
            "cooldown": "cosine",
        },
        wsd(half_cosine),
        [4, 11, 23],
        {0: 0.1, 4: 0.7, 11: 0.7, 23: 0.2 * 0.7},
    ),
    "InverseSqrt": Case(
        schedules.InverseSqrt,
        {**RISE, "timescale": 9},
        lambda s, k: warmed(
            s, 4 * k, 0.1, 0.7, lambda r: math.sqrt(9 * k / (r + 9 * k))
        ),
        [4, 31],
        {0: 0.1, 4: 0.7, 31: 0.35},
        ends=False,
    ),
    "Noam": Case(
        schedules.Noam,
        {"d_model": 48, "warmup_steps": 7, "scale": 1.5},
        lambda s, k: (
            1.5 * 48**-0.5 * min((s + 1) ** -0.5, (s + 1) * float(7 * k) ** -1.5)
        ),
        [6, 7],
        {},
        ends=False,
    ),
    "OneCycle": Case(
        schedules.OneCycle,
        {**ONE, "total_steps": 20, "pct_start": 0.4},
        lambda s, k: one_cycle(s, 0.1, 0.7, 0.005, 20 * k),
        [7, 19],
        {0: 0.7 / 7, 20: 0.7 / 7 / 20},
    ),
    "OneCycle three phases": Case(
        schedules.OneCycle,
        {
            **ONE,
            "total_steps": 20,
            "pct_start": 0.4,
            "three_phase": True,
            "anneal_strategy": "linear",
        },
        lambda s, k: one_cycle(
            s, 0.1, 0.7, 0.005, 20 * k, bend=lambda f: 1 - f, three=True
        ),
        [7, 14, 19],
        {0: 0.7 / 7, 20: 0.7 / 7 / 20},
    ),
    "OneCycle between steps": Case(
        schedules.OneCycle,
        {**ONE, "total_steps": 23, "pct_start": 0.37},
        lambda s, k: one_cycle(s, 0.1, 0.7, 0.005, 23 * k, share=0.37),
        [7, 8, 22],
        {0: 0.7 / 7, 23: 0.7 / 7 / 20},
    ),
    "OneCycleMomentum": Case(
        schedules.OneCycleMomentum,
        {
            "total_steps": 20,
            "pct_start": 0.4,
            "base_momentum": 0.6,
            "max_momentum": 0.9,
        },
        lambda s, k: one_cycle(s, 0.9, 0.6, 0.9, 20 * k),
        [7, 19],
        {0: 0.9, 20: 0.9},
    ),
    "Cyclic triangular": Case(
        schedules.Cyclic,
        CYCLE,
        lambda s, k: cyclic(s, 6 * k, 4 * k, lambda n: 1),
        [6, 10, 16, 20],
        {0: 0.1, 6: 0.7, 10: 0.1, 16: 0.7, 20: 0.1},
        ends=False,
    ),
    "Cyclic triangular2": Case(
        schedules.Cyclic,
        {**CYCLE, "mode": "triangular2"},
        lambda s, k: cyclic(s, 6 * k, 4 * k, lambda n: 0.5**n),
        [6, 10, 16, 20],
        {0: 0.1, 6: 0.7, 10: 0.1, 20: 0.1},
        ends=False,
    ),
    "Cyclic exp_range": Case(
        schedules.Cyclic,
        {**CYCLE, "mode": "exp_range", "gamma": 0.9999999},
        lambda s, k: cyclic(s, 6 * k, 4 * k, lambda n: 0.9999999**s),
        [6, 10, 16, 20],
        {0: 0.1, 10: 0.1, 20: 0.1},
        ends=False,
    ),
    "CosineRestarts": Case(
        schedules.CosineRestarts,
        {"initial_learning_rate": 0.7, "first_decay_steps": 5, "alpha": 0.1},
        lambda s, k: restarts(s, 5 * k, 2, 1.0),
        [5, 15, 35],
        {0: 0.7, 5: 0.7, 15: 0.7, 35: 0.7},
        ends=False,
    ),
    "CosineRestarts of equal length": Case(
        schedules.CosineRestarts,
        {
            "initial_learning_rate": 0.7,
            "first_decay_steps": 5,
            "alpha": 0.1,
            "t_mul": 1.0,
            "m_mul": 0.7,
        },
        lambda s, k: restarts(s, 5 * k, 1, 0.7),
        [5, 10, 15, 20, 25, 30],
        {0: 0.7},
        ends=False,
    ),
    "CosineRestarts by a fraction": Case(
        schedules.CosineRestarts,
        {
            "initial_learning_rate": 0.7,
            "first_decay_steps": 10,
            "alpha": 0.1,
            "t_mul": 1.1,
            "m_mul": 1.2,
        },
        lambda s, k: restarts(s, 10 * k, 1.1, 1.2),
        [10, 21, 33, 34],
        {0: 0.7},
        ends=False,
    ),
    "REX": Case(
        schedules.REX,
        {**FALL, "alpha": 0.1},
        lambda s, k: (
            0.7
            * (
                0.1
                + 0.9
                * (1 - kept(s / (13 * k)))
                / (0.5 + 0.5 * (1 - kept(s / (13 * k))))
            )
        ),
        [13],
        {0: 0.7, 13: 0.1 * 0.7},
    ),
    "Polynomial": Case(
        schedules.Polynomial,
        {**FALL, "end_learning_rate": 0.05, "power": 1.5},
        lambda s, k: 0.05 + 0.65 * (1 - kept(s / (13 * k))) ** 1.5,
        [13],
        {0: 0.7, 13: 0.05},
    ),
    "Polynomial in cycles": Case(
        schedules.Polynomial,
        {**FALL, "end_learning_rate": 0.05, "power": 1.5, "cycle": True},
        lambda s, k: polynomial_cycle(s, 13 * k),
        [13, 26, 39],
        {0: 0.7, 13: 0.05, 26: 0.05, 39: 0.05},
        ends=False,
    ),
    "PiecewiseInterpolated": Case(
        schedules.PiecewiseInterpolated,
        {"boundaries": [3, 8, 20], "values": [0.5, 0.1, 2.0]},
        lambda s, k: float(np.interp(s, [3 * k, 8 * k, 20 * k], [0.5, 0.1, 2.0])),
        [3, 8, 20],
        {0: 0.5, 3: 0.5, 8: 0.1, 20: 2.0},
    ),
    "PiecewiseInterpolated cosine": Case(
        schedules.PiecewiseInterpolated,
        {
            "boundaries": [0, 8, 20],
            "values": [0.25, 1.5, -0.5],
            "interpolation": "cosine",
        },
        pieces,
        [8, 20],
        {0: 0.25, 8: 1.5, 20: -0.5},
    ),
    "PiecewiseInterpolated exponential": Case(
        schedules.PiecewiseInterpolated,
        {
            "boundaries": [3, 8, 20],
            "values": [0.5, 0.125, 2.0],
            "interpolation": "exponential",
        },
        exponential,
        [3, 8, 20],
        {0: 0.5, 8: 0.125, 20: 2.0},
    ),
    "Sequential": Case(
        schedules.Sequential,
        {
            "schedules": [
                0.3,
                schedules.StepDecay(0.7, 2, gamma=0.3),
                schedules.LinearDecay(0.5, 6),
            ],
            "boundaries": [5, 11],
        },
        lambda s, k: (
            0.3
            if s < 5 * k
            else 0.7 * 0.3 ** ((s - 5 * k) // 2)
            if s < 11 * k
            else 0.5 * (1 - kept((s - 11 * k) / 6))
        ),
        [5, 11, 17],
        {0: 0.3, 5: 0.7, 11: 0.5},
    ),
    "Product": Case(
        schedules.Product,
        {
            "schedules": [
                schedules.StepDecay(0.7, 3, gamma=0.5),
                schedules.LinearWarmup(1.0, 6),
                2.0,
            ]
        },
        lambda s, k: 1.4 * 0.5 ** (s // 3) * kept(s / 6),
        [3, 6],
        {0: 0.0},
        ends=False,
    ),
}


def value_of(schedule: Any, step: Any, dtype: str | None = "int32") -> float:
    """The value at a step, given as an optimizer does; dtype None for a number."""
    if dtype is not None:
        step = ops.convert_to_tensor(step, dtype=dtype)
    return float(ops.convert_to_numpy(schedule(step)))


#: As JAX compiles every operation for every shape, there is one shape.
WIDTH = 64


def values_of(schedule: Any, steps: Any, dtype: str = "int32") -> np.ndarray:
    """The values at up to `WIDTH` steps."""
    steps = np.asarray(list(steps), dtype)
    padded = np.concatenate([steps, np.zeros(WIDTH - len(steps), dtype)])
    return ops.convert_to_numpy(schedule(ops.convert_to_tensor(padded)))[: len(steps)]
