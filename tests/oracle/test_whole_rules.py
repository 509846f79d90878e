"""Rules that look at the weights, or at all variables at once, in float64 by hand.

Written from the papers, each over all tensors together; ``test_recursions`` has those
that follow the gradients of one tensor.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import keras_adamx

from . import driving

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

STEPS = 10
RATE = 0.0625
Arrays = list[np.ndarray]


def problem() -> tuple[Arrays, list[Arrays]]:
    """Weights of a vector, a tall and a wide matrix, and their gradients."""
    random = np.random.default_rng(11)
    shapes = ((5,), (6, 3), (3, 6), (4, 4))
    weights = [random.normal(size=shape) for shape in shapes]
    gradients = [
        [random.normal(size=shape) * 2.0 ** (i - 2) for i, shape in enumerate(shapes)]
        for _ in range(STEPS)
    ]
    return weights, gradients


def warm(step: int, warmup: int) -> float:
    return min(1.0, step / warmup) if warmup else 1.0


def schedule_free(
    w: Arrays,
    gradients: list[Arrays],
    *,
    adam: bool,
    rate: float,
    beta_1: float,
    beta_2: float = 0.0,
    epsilon: float = 0.0,
    weight_decay: float = 0.0,
    warmup_steps: int = 0,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
) -> tuple[Arrays, Arrays]:
    """The three points as the paper has them; returns y and x."""
    x, y, z = list(w), list(w), list(w)
    v = [0.0 for _ in w]
    total = largest = 0.0
    for t, step in enumerate(gradients, 1):
        eta = rate * warm(t, warmup_steps)
        largest = max(largest, eta)
        weight = t**r * largest**weight_lr_power
        total += weight
        c = weight / total
        for i, g in enumerate(step):
            direction = g
            if adam:
                v[i] = beta_2 * v[i] + (1 - beta_2) * g**2
                direction = g / (np.sqrt(v[i] / (1 - beta_2**t)) + epsilon)
            z[i] = z[i] - eta * (direction + weight_decay * y[i])
            x[i] = (1 - c) * x[i] + c * z[i]
            y[i] = (1 - beta_1) * z[i] + beta_1 * x[i]
    return y, x


def prodigy(
    w: Arrays,
    gradients: list[Arrays],
    *,
    rate: float,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    beta_3: float | None = None,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    bias_correction: bool = False,
    safeguard_warmup: bool = False,
    d0: float = 1e-6,
    d_coef: float = 1.0,
    growth_rate: float = np.inf,
) -> Arrays:
    """One estimate for all tensors."""
    b3 = np.sqrt(beta_2) if beta_3 is None else beta_3
    start, w = list(w), list(w)
    m, v, s = ([np.zeros_like(x) for x in w] for _ in range(3))
    d = d_max = d0
    r = 0.0
    for t, step in enumerate(gradients, 1):
        c = np.sqrt(1 - beta_2**t) / (1 - beta_1**t) if bias_correction else 1.0
        delta = d * rate * c
        inner = sum(np.sum(g * (a - b)) for g, a, b in zip(step, start, w, strict=True))
        r = b3 * r + d / d0 * delta * inner
        for i, g in enumerate(step):
            m[i] = beta_1 * m[i] + (1 - beta_1) * d * g
            v[i] = beta_2 * v[i] + (1 - beta_2) * d**2 * g**2
            s[i] = b3 * s[i] + d / d0 * (d if safeguard_warmup else delta) * g
        estimate = d_coef * r / sum(np.abs(x).sum() for x in s)
        if d == d0:
            d = max(d, estimate)
        d_max = max(d_max, estimate)
        d = min(d_max, d * growth_rate)
        for i in range(len(w)):
            move = m[i] / (np.sqrt(v[i]) + d * epsilon) + weight_decay * w[i]
            w[i] = w[i] - delta * move
    return w


def lamb(
    w: Arrays,
    gradients: list[Arrays],
    *,
    rate: float,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-6,
    weight_decay: float = 0.01,
    lower: float = 0.0,
    upper: float = np.inf,
) -> Arrays:
    """The decay inside of the ratio."""
    w = list(w)
    m, v = ([np.zeros_like(x) for x in w] for _ in range(2))
    for t, step in enumerate(gradients, 1):
        for i, g in enumerate(step):
            m[i] = beta_1 * m[i] + (1 - beta_1) * g
            v[i] = beta_2 * v[i] + (1 - beta_2) * g**2
            u = m[i] / (1 - beta_1**t)
            u = u / (np.sqrt(v[i] / (1 - beta_2**t)) + epsilon) + weight_decay * w[i]
            size = np.clip(np.linalg.norm(w[i]), lower, upper)
            w[i] = w[i] - rate * size / np.linalg.norm(u) * u
    return w


def lars(
    w: Arrays,
    gradients: list[Arrays],
    *,
    rate: float,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    trust_coefficient: float = 1e-3,
    epsilon: float = 1e-8,
    nesterov: bool = False,
) -> Arrays:
    """Vectors neither scaled nor decayed."""
    w, b = list(w), [np.zeros_like(x) for x in w]
    for step in gradients:
        for i, g in enumerate(step):
            u = g
            if g.ndim > 1:
                size, length = np.linalg.norm(w[i]), np.linalg.norm(g)
                r = trust_coefficient * size / (length + weight_decay * size + epsilon)
                u = r * (g + weight_decay * w[i])
            b[i] = momentum * b[i] + u
            w[i] = w[i] - rate * (u + momentum * b[i] if nesterov else b[i])
    return w


STANDARD = [(3.4445, -4.7750, 2.0315)]


def newton_schulz(x: np.ndarray, steps: int) -> np.ndarray:
    """The polynomial on the singular values themselves."""
    left, values, right = np.linalg.svd(x / np.linalg.norm(x), full_matrices=False)
    a, b, c = STANDARD[0]
    for _ in range(steps):
        values = a * values + b * values**3 + c * values**5
    return left * values @ right


def muon(
    w: Arrays,
    gradients: list[Arrays],
    *,
    rate: float,
    momentum: float = 0.95,
    nesterov: bool = True,
    scale: str = "plain",
    rms_rate: float = 0.2,
    ns_steps: int = 5,
    weight_decay: float = 0.0,
    exclude_head: bool = True,
    adam_lr_ratio: float = 0.015,
    adam_beta_1: float = 0.9,
    adam_beta_2: float = 0.95,
    adam_weight_decay: float | None = None,
    epsilon: float = 1e-10,
) -> Arrays:
    """Vectors, and the last matrix, by AdamW."""
    w = list(w)
    m, v = ([np.zeros_like(x) for x in w] for _ in range(2))
    decay = weight_decay if adam_weight_decay is None else adam_weight_decay
    for t, step in enumerate(gradients, 1):
        for i, g in enumerate(step):
            if g.ndim < 2 or (exclude_head and i == len(w) - 1):
                m[i] = adam_beta_1 * m[i] + (1 - adam_beta_1) * g
                v[i] = adam_beta_2 * v[i] + (1 - adam_beta_2) * g**2
                u = m[i] / (1 - adam_beta_1**t)
                u = u / (np.sqrt(v[i] / (1 - adam_beta_2**t)) + epsilon)
                w[i] = w[i] - rate * adam_lr_ratio * (u + decay * w[i])
                continue
            m[i] = momentum * m[i] + (1 - momentum) * g
            u = momentum * m[i] + (1 - momentum) * g if nesterov else m[i]
            inputs, outputs = g.shape
            size = {
                "plain": np.sqrt(max(1.0, outputs / inputs)),
                "moonlight": rms_rate * np.sqrt(max(inputs, outputs)),
                "spectral": np.sqrt(outputs / inputs),
            }[scale]
            u = size * newton_schulz(u, ns_steps)
            w[i] = w[i] - rate * (u + weight_decay * w[i])
    return w


FREE = {"weight_decay": 0.125, "warmup_steps": 4, "r": 0.5, "weight_lr_power": 1.5}
ADAPTIVE = {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "weight_decay": 0.125}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("ScheduleFreeSGD", {"beta_1": 0.75}),
    ("ScheduleFreeSGD", {"beta_1": 0.9, **FREE}),
    ("ScheduleFreeAdamW", {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}),
    ("ScheduleFreeAdamW", {**ADAPTIVE, **FREE}),
    ("Prodigy", {"d0": 0.125}),
    ("Prodigy", {"d0": 0.03125, **ADAPTIVE}),
    ("Prodigy", {"d0": 0.03125, "bias_correction": True, "d_coef": 0.5, **ADAPTIVE}),
    ("Prodigy", {"d0": 0.03125, "safeguard_warmup": True, "beta_3": 0.8, **ADAPTIVE}),
    ("Prodigy", {"d0": 0.03125, "growth_rate": 1.25, **ADAPTIVE}),
    ("LAMB", {}),
    ("LAMB", ADAPTIVE),
    ("LAMB", {"lower": 3.0, "upper": 4.0, **ADAPTIVE}),
    ("LARS", {"trust_coefficient": 0.0625}),
    ("LARS", {"trust_coefficient": 0.0625, "weight_decay": 0.25, "epsilon": 1e-3}),
    (
        "LARS",
        {
            "trust_coefficient": 0.125,
            "momentum": 0.75,
            "nesterov": True,
            "weight_decay": 0.125,
        },
    ),
    ("Muon", {}),
    ("Muon", {"nesterov": False, "momentum": 0.75, "weight_decay": 0.125}),
    ("Muon", {"scale": "moonlight", "rms_rate": 0.25, "exclude_head": False}),
    ("Muon", {"scale": "spectral", "ns_steps": 3, "exclude_head": False}),
    (
        "Muon",
        {
            "adam_lr_ratio": 0.5,
            "adam_beta_1": 0.75,
            "adam_beta_2": 0.875,
            "adam_weight_decay": 0.25,
            "weight_decay": 0.125,
            "epsilon": 1e-3,
        },
    ),
]


def expected(name: str, arguments: dict[str, Any], rate: float) -> list[Arrays]:
    """Trained weights, and those to evaluate with where they are others."""
    weights, gradients = problem()
    if name.startswith("ScheduleFree"):
        adam = name == "ScheduleFreeAdamW"
        return list(
            schedule_free(weights, gradients, adam=adam, rate=rate, **arguments)
        )
    rule = {"Prodigy": prodigy, "LAMB": lamb, "LARS": lars, "Muon": muon}[name]
    return [rule(weights, gradients, rate=rate, **arguments)]


@pytest.mark.parametrize(("name_of", "arguments"), CASES)
def test_follows_the_paper(name_of, arguments):
    rate = 1.0 if name_of == "Prodigy" else RATE
    dtype = driving.best_precision()
    weights, gradients = problem()
    optimizer = getattr(keras_adamx, name_of)(rate, **arguments)
    trained = [driving.new_variable(w, dtype) for w in weights]
    for step in gradients:
        tensors = [keras.ops.convert_to_tensor(g, dtype) for g in step]
        optimizer.apply(tensors, trained)
    points = [[np.array(keras.ops.convert_to_numpy(v)) for v in trained]]
    if optimizer.has_averages:
        optimizer.put_in_averaged_weights()
        points.append([np.array(keras.ops.convert_to_numpy(v)) for v in trained])
    references = expected(name_of, arguments, rate)
    assert len(points) == len(references)
    # The norm by which Muon divides has 1e-7 beside it here, and none in the oracle.
    tight = dtype == "float64" and name_of != "Muon"
    tolerance = 1e-10 if tight else 2e-5
    for ours, theirs in zip(points, references, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("steps", [1, 3, 8, 12])
def test_polar_express_reaches_the_orthogonal_matrix(steps):
    from keras_adamx.optimizers import matrix

    x = np.random.default_rng(0).normal(size=(2, 4, 9)).astype("float32")
    polynomials = matrix.coefficients("polar_express", steps)
    found = matrix.orthogonalised(keras.ops.convert_to_tensor(x), polynomials, 1.01)
    left, _, right = np.linalg.svd(x, full_matrices=False)
    error = np.abs(np.array(keras.ops.convert_to_numpy(found)) - left @ right).max()
    assert error < {1: 1.0, 3: 0.6, 8: 1e-4, 12: 1e-4}[steps]
