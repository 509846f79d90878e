"""The package against the float64 recursions, argument by argument.

Every hyper-parameter stands away from its neutral value in some case, alone or with
others that interact with it, and every class has a case with ``epsilon=1e-3``, where
its placement shows.
"""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest

import keras_adamx

from . import driving, recursions

# Keras converts torch's tensors, which do not know the copy argument of NumPy 2 yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

STEPS = 12
RATE = 0.0625
#: Shape of each tensor and the size of its gradients; the last gets none at all.
TENSORS = (
    ((), 1.0),
    ((5,), 0.25),
    ((4, 3), 2.0),
    ((3, 3, 2, 4), 0.03125),
    ((2,), 0.0),
)

#: Schedules with values that are powers of two, as float32 must hold them.
DECAYED = {
    "class": "StepDecay",
    "arguments": {"initial_learning_rate": 0.125, "step_size": 5, "gamma": 0.25},
}
DECAYED_BY_EPOCH = {
    "class": "StepDecay",
    "arguments": {
        "initial_learning_rate": RATE,
        "step_size": 2,
        "gamma": 0.5,
        "steps_per_epoch": 3,
    },
}
PIECEWISE = {
    "class": "PiecewiseConstantDecay",
    "arguments": {"boundaries": [2, 7], "values": [RATE, 0.25, 0.03125]},
}


def stages(first: float, second: float, third: float) -> dict[str, Any]:
    """Name the schedule of one value for two steps, one for five, one after."""
    arguments = {"boundaries": [1, 6], "values": [first, second, third]}
    return {"class": "PiecewiseConstantDecay", "arguments": arguments}


#: Decays, and epsilons that count, with values that float32 holds.
RISING = stages(0.5, 0.75, 0.9375)
WAVY = stages(0.875, 0.625, 0.8125)
EPSILONS = stages(0.125, 0.5, 0.0625)
#: Sizes of decay and of clipping.
DECAYS = stages(0.5, 0.125, 0.25)
LIMITS = stages(1.0, 0.25, 0.5)

SGD: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.25},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.8, "dampening": 0.3},
    {"momentum": 0.8, "dampening": 0.8, "nesterov": True},
    {"momentum": 0.9, "weight_decay": 0.25, "learning_rate": DECAYED},
    {"momentum": 0.9, "nesterov": True, "learning_rate": PIECEWISE},
    {"momentum": 0.9, "clipnorm": 0.5},
    {"momentum": 0.9, "gradient_accumulation_steps": 3, "weight_decay": 0.25},
]
RMSPROP: list[dict[str, Any]] = [
    {},
    {"epsilon": 1e-3, "rho": 0.7},
    {"epsilon": 1e-3, "epsilon_placement": "inside"},
    {"epsilon": 1e-3, "centered": True},
    {"epsilon": 1e-3, "centered": True, "epsilon_placement": "inside", "rho": 0.8},
    {"momentum": 0.8, "epsilon": 1e-3, "learning_rate": DECAYED},
    {"momentum": 0.7, "centered": True, "weight_decay": 0.25},
    {"momentum": 0.6, "epsilon_placement": "inside", "learning_rate": PIECEWISE},
]
ADAGRAD: list[dict[str, Any]] = [
    {},
    {"initial_accumulator_value": 0.5, "epsilon": 1e-3},
    {"epsilon": 1e-3, "epsilon_placement": "inside", "weight_decay": 0.25},
    {"initial_accumulator_value": 0.0, "epsilon": 1e-3, "learning_rate": DECAYED},
]
ADADELTA: list[dict[str, Any]] = [
    {"learning_rate": 1.0},
    {"learning_rate": 1.0, "epsilon": 1e-3, "rho": 0.8},
    {"epsilon": 1e-3, "weight_decay": 0.25, "learning_rate": PIECEWISE},
]
ADAM: list[dict[str, Any]] = [
    {},
    {"beta_1": 0.8, "beta_2": 0.95},
    {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3},
    {"beta_2": 0.9, "epsilon": 1e-3, "epsilon_placement": "hat"},
    {"beta_2": 0.9, "epsilon": 1e-3, "epsilon_placement": "inside"},
    {"beta_2": 0.6, "amsgrad": True, "epsilon": 1e-3},
    {"beta_2": 0.6, "amsgrad": True, "epsilon": 1e-3, "epsilon_placement": "hat"},
    {"beta_2": 0.6, "amsgrad": True, "epsilon": 1e-3, "epsilon_placement": "inside"},
    {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "bias_correction": False},
    {
        "beta_2": 0.9,
        "epsilon": 1e-3,
        "bias_correction": False,
        "epsilon_placement": "inside",
    },
    {
        "beta_2": 0.9,
        "epsilon": 1e-3,
        "bias_correction": False,
        "epsilon_placement": "hat",
    },
    {"beta_2": 0.6, "amsgrad": True, "bias_correction": False, "weight_decay": 0.25},
    {"beta_1": 0.0, "beta_2": 0.9, "epsilon": 1e-3},
    {"weight_decay": 0.25, "learning_rate": DECAYED},
    {"epsilon": 1e-3, "learning_rate": DECAYED_BY_EPOCH},
    {"epsilon": 1e-3, "clipnorm": 0.5},
    {"epsilon": 1e-3, "clipvalue": 0.25},
    {"epsilon": 1e-3, "global_clipnorm": 2.0},
    {"epsilon": 1e-3, "loss_scale_factor": 1024.0},
    {"epsilon": 1e-3, "loss_scale_factor": 0.5, "global_clipnorm": 2.0},
    {"epsilon": 1e-3, "gradient_accumulation_steps": 4},
    {"epsilon": 1e-3, "gradient_accumulation_steps": 2, "clipvalue": 0.25},
    {"gradient_accumulation_steps": 2, "learning_rate": PIECEWISE},
]
ADAMW: list[dict[str, Any]] = [
    {},
    {"epsilon": 1e-3, "beta_1": 0.8, "beta_2": 0.9, "weight_decay": 0.25},
    {"amsgrad": True, "beta_2": 0.6, "weight_decay": 0.125, "learning_rate": PIECEWISE},
    {"epsilon": 1e-3, "epsilon_placement": "hat", "weight_decay": 0.25},
    {"epsilon": 1e-3, "gradient_accumulation_steps": 3, "weight_decay": 0.25},
]
ADAMAX: list[dict[str, Any]] = [
    {},
    {"beta_1": 0.8, "beta_2": 0.7, "epsilon": 1e-3},
    {"beta_2": 0.9, "weight_decay": 0.25, "learning_rate": DECAYED},
]
NADAM: list[dict[str, Any]] = [
    {},
    {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
    {"momentum_decay": 1.0, "epsilon": 1e-3},
    {"momentum_decay": 0.25, "weight_decay": 0.25, "learning_rate": DECAYED},
    {"momentum_decay": 0.5, "gradient_accumulation_steps": 3},
]
SDPROP: list[dict[str, Any]] = [
    {},
    {"rho": 0.9, "epsilon": 1e-3},
    {"rho": 0.9, "epsilon": 1e-3, "bias_correction": False},
    {"rho": 0.9, "epsilon": 1e-3, "momentum": 0.8},
    {"momentum": 0.7, "bias_correction": False, "learning_rate": DECAYED},
    {"rho": 0.8, "momentum": 0.6, "weight_decay": 0.25, "learning_rate": PIECEWISE},
    {"epsilon": 1e-3, "gradient_accumulation_steps": 2, "global_clipnorm": 2.0},
]
ADASTAND: list[dict[str, Any]] = [
    {},
    {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3},
    {"beta_2": 0.6, "epsilon": 1e-3, "amsgrad": True},
    {"beta_1": 0.4, "beta_2": 0.9, "weight_decay": 0.25, "learning_rate": DECAYED},
]
ADAFACTOR: list[dict[str, Any]] = [
    {"learning_rate": 0.5},
    {"beta_2_decay": -0.5},
    {"epsilon_1": 1e-3},
    {"epsilon_2": 1.0},
    {"clip_threshold": 0.5},
    {"relative_step": False, "learning_rate": 0.5},
    {"scale_parameter": False, "learning_rate": 0.5},
    {"beta_1": 0.8, "learning_rate": DECAYED},
    {"relative_step": False, "scale_parameter": False, "learning_rate": PIECEWISE},
    {"weight_decay": 0.25, "learning_rate": 0.5},
    {"beta_1": 0.9, "weight_decay": 0.25, "relative_step": False, "epsilon_1": 1e-3},
]
LION: list[dict[str, Any]] = [
    {},
    {"beta_1": 0.8, "beta_2": 0.95},
    {"beta_1": 0.95, "beta_2": 0.8, "weight_decay": 0.25, "learning_rate": DECAYED},
    {"beta_1": 0.9, "beta_2": 0.9, "gradient_accumulation_steps": 3},
]
LAMB: list[dict[str, Any]] = [
    {},
    {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "weight_decay": 0.25},
    {"weight_decay": 0.0, "epsilon": 1e-3},
    {"lower": 1.5, "weight_decay": 0.25},
    {"upper": 1.25, "weight_decay": 0.25},
    {"lower": 1.0, "upper": 2.0, "epsilon": 1e-3, "learning_rate": DECAYED},
    {"epsilon": 1e-3, "epsilon_placement": "hat", "weight_decay": 0.25},
    {"epsilon": 1e-3, "epsilon_placement": "inside", "weight_decay": 0.25},
    {"beta_2": 0.6, "amsgrad": True, "weight_decay": 0.125},
    {"epsilon": 1e-3, "bias_correction": False, "weight_decay": 0.125},
    {"weight_decay": 0.25, "weight_decay_kind": "l2", "learning_rate": PIECEWISE},
    {"weight_decay": 0.25, "gradient_accumulation_steps": 3, "clipnorm": 0.5},
]
LARS: list[dict[str, Any]] = [
    {},
    {"trust_coefficient": 0.25},
    {"trust_coefficient": 0.25, "weight_decay": 0.25, "epsilon": 1e-3},
    {"trust_coefficient": 0.25, "epsilon": 0.5, "momentum": 0.75},
    {"trust_coefficient": 0.25, "weight_decay": 0.0, "momentum": 0.0},
    {"trust_coefficient": 0.25, "weight_decay": 0.125, "nesterov": True},
    {"trust_coefficient": 0.5, "weight_decay": 0.25, "learning_rate": DECAYED},
    {"trust_coefficient": 0.5, "gradient_accumulation_steps": 3, "clipnorm": 0.5},
]
#: Matrices and the kernel follow Muon, unless one is the head.
MUON: list[dict[str, Any]] = [
    {},
    {"exclude_head": False},
    {"exclude_head": False, "nesterov": False, "momentum": 0.75},
    {"exclude_head": False, "momentum": 0.5, "weight_decay": 0.25},
    {"exclude_head": False, "scale": "moonlight", "rms_rate": 0.5, "momentum": 0.75},
    {"exclude_head": False, "scale": "spectral", "nesterov": False, "ns_steps": 3},
    {"exclude_head": False, "coefficients": "polar_express", "ns_steps": 8},
    {"exclude_head": False, "coefficients": "polar_express"},
    {"exclude_head": False, "coefficients": "polar_express", "ns_steps": 10},
    {"coefficients": "polar_express", "ns_steps": 8, "scale": "moonlight"},
    {"adam_lr_ratio": 1.0, "adam_beta_1": 0.75, "adam_beta_2": 0.8, "epsilon": 1e-3},
    {"adam_lr_ratio": 0.5, "weight_decay": 0.25, "learning_rate": DECAYED},
    {"adam_lr_ratio": 0.5, "weight_decay": 0.125, "adam_weight_decay": 0.5},
    {"adam_lr_ratio": 0.5, "weight_decay": 0.125, "adam_weight_decay": 0.0},
    {"adam_lr_ratio": 0.5, "clipnorm": 0.5, "gradient_accumulation_steps": 3},
]
SCHEDULE_FREE_SGD: list[dict[str, Any]] = [
    {},
    {"beta_1": 0.5, "weight_decay": 0.25},
    {"warmup_steps": 5, "beta_1": 0.75},
    {"r": 1.5, "beta_1": 0.75},
    {"weight_lr_power": 0.0, "learning_rate": PIECEWISE},
    {"weight_lr_power": 1.5, "warmup_steps": 20, "r": 0.5, "weight_decay": 0.25},
    {"warmup_steps": 5, "learning_rate": DECAYED},
    {"warmup_steps": 2, "gradient_accumulation_steps": 3, "clipnorm": 0.5},
]
SCHEDULE_FREE_ADAMW: list[dict[str, Any]] = [
    *SCHEDULE_FREE_SGD,
    {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "weight_decay": 0.25},
    {"beta_2": 0.0, "epsilon": 1e-3, "warmup_steps": 5, "r": 0.5},
]
#: Estimates that grow several times within a dozen steps.
FALLING = {
    "class": "StepDecay",
    "arguments": {"initial_learning_rate": 1.0, "step_size": 5, "gamma": 0.25},
}
GROWING = {"d0": 0.0625, "d_coef": 8.0, "learning_rate": 1.0}
GROWING |= {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}
PRODIGY: list[dict[str, Any]] = [
    {"d0": 0.03125, "learning_rate": 1.0},
    {"d0": 0.03125, "d_coef": 4.0, "learning_rate": 1.0},
    {**GROWING, "weight_decay": 0.25},
    {**GROWING, "beta_3": 0.5},
    {**GROWING, "bias_correction": True, "weight_decay": 0.25},
    {**GROWING, "growth_rate": 1.25},
    {**GROWING, "d_coef": 24.0, "safeguard_warmup": True, "learning_rate": FALLING},
    {**GROWING, "d_coef": 32.0, "learning_rate": PIECEWISE},
    {
        **GROWING,
        "bias_correction": True,
        "safeguard_warmup": True,
        "growth_rate": 1.25,
        "beta_3": 0.75,
        "weight_decay": 0.125,
        "learning_rate": 0.5,
    },
    {**GROWING, "gradient_accumulation_steps": 3, "clipnorm": 0.5},
]
TABLE = {
    "SGD": SGD,
    "RMSprop": RMSPROP,
    "Adagrad": ADAGRAD,
    "Adadelta": ADADELTA,
    "Adam": ADAM,
    "AdamW": ADAMW,
    "Adamax": ADAMAX,
    "Nadam": NADAM,
    "SDProp": SDPROP,
    "Adastand": ADASTAND,
    "Adafactor": ADAFACTOR,
    "Lion": LION,
    "LAMB": LAMB,
    "LARS": LARS,
    "Muon": MUON,
    "ScheduleFreeSGD": SCHEDULE_FREE_SGD,
    "ScheduleFreeAdamW": SCHEDULE_FREE_ADAMW,
    "Prodigy": PRODIGY,
}

#: A rule of one moment, one of two, one that looks at the weights and whose direction
#: includes the learning rate; with momentum each, so that its step and the gradient do
#: not always go the same way.
DECAYING: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9},
    "Adam": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
    "Adafactor": {"beta_1": 0.8},
    "Muon": {"momentum": 0.8, "adam_lr_ratio": 0.5, "epsilon": 1e-3},
}
KINDS: list[dict[str, Any]] = [
    {"weight_decay_kind": "decoupled"},
    {"weight_decay_kind": "l2"},
    {"weight_decay_kind": "independent"},
    # Above all rates, at the first of them, and below.
    {"weight_decay_kind": "corrected", "peak_learning_rate": 0.5},
    {"weight_decay_kind": "corrected", "peak_learning_rate": 0.125},
    {"weight_decay_kind": "corrected", "peak_learning_rate": RATE},
    {"weight_decay_kind": "cautious"},
]
#: What l2 and decay come after or before.
SURROUNDED: list[dict[str, Any]] = [
    {"weight_decay_kind": "l2", "clipnorm": 0.5},
    {"weight_decay_kind": "l2", "clipvalue": 0.25},
    {"weight_decay_kind": "l2", "global_clipnorm": 1.0},
    {"weight_decay_kind": "l2", "gradient_accumulation_steps": 3},
    {"weight_decay_kind": "l2", "loss_scale_factor": 0.25, "clipnorm": 0.5},
    {"weight_decay_kind": "cautious", "gradient_accumulation_steps": 3},
    {"weight_decay_kind": "cautious", "clipnorm": 0.5},
]
#: Arguments that change in the course of training.
SCHEDULED: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {"momentum": RISING},
        {"momentum": WAVY, "dampening": RISING},
        {"momentum": RISING, "dampening": 0.25, "nesterov": True},
        {"momentum": 0.75, "clipnorm": LIMITS, "weight_decay": DECAYS},
    ],
    "RMSprop": [
        {"rho": WAVY},
        {"rho": RISING, "epsilon": EPSILONS, "epsilon_placement": "inside"},
        {"rho": WAVY, "epsilon": EPSILONS, "centered": True, "momentum": RISING},
    ],
    "Adagrad": [
        {"epsilon": EPSILONS},
        {"epsilon": EPSILONS, "epsilon_placement": "inside", "clipvalue": LIMITS},
    ],
    "Adadelta": [
        {"rho": WAVY, "epsilon": 1e-3, "learning_rate": 1.0},
        {"rho": 0.75, "epsilon": EPSILONS},
    ],
    "Adam": [
        {"beta_1": RISING},
        {"beta_2": RISING},
        {"epsilon": EPSILONS},
        {"beta_1": WAVY, "beta_2": RISING, "epsilon": EPSILONS},
        {"beta_1": WAVY, "beta_2": RISING, "epsilon": 1e-3, "epsilon_placement": "hat"},
        {"beta_1": WAVY, "beta_2": RISING, "epsilon_placement": "inside"},
        {"beta_1": RISING, "beta_2": WAVY, "amsgrad": True, "epsilon": EPSILONS},
        {"beta_1": RISING, "beta_2": WAVY, "bias_correction": False},
        # After a decay of zero nothing is left to correct, ever.
        {"beta_1": stages(0.0, 0.5, 0.75), "beta_2": RISING, "epsilon": 1e-3},
        {"beta_1": RISING, "beta_2": stages(0.75, 0.0, 0.875), "epsilon": 1e-3},
        {"beta_1": WAVY, "beta_2": RISING, "learning_rate": DECAYED},
        {
            "beta_1": WAVY,
            "beta_2": stages(0.5, 0.75, 0.875),
            "weight_decay": DECAYS,
            "global_clipnorm": LIMITS,
            "gradient_accumulation_steps": 2,
        },
    ],
    "AdamW": [{"beta_1": RISING, "beta_2": WAVY, "weight_decay": DECAYS}],
    "Adamax": [
        {"beta_1": RISING},
        {"beta_1": WAVY, "beta_2": RISING, "epsilon": EPSILONS},
    ],
    "Nadam": [
        {"beta_1": RISING},
        {"beta_2": WAVY},
        {"momentum_decay": stages(0.5, 2.0, 1.0)},
        {
            "beta_1": WAVY,
            "beta_2": RISING,
            "epsilon": EPSILONS,
            "momentum_decay": stages(0.5, 2.0, 1.0),
            "gradient_accumulation_steps": 2,
        },
    ],
    "SDProp": [
        {"rho": WAVY, "epsilon": 1e-3},
        {"rho": RISING, "epsilon": EPSILONS, "momentum": WAVY},
        {"rho": WAVY, "epsilon": 1e-3, "bias_correction": False},
    ],
    "Adastand": [
        {"beta_1": RISING, "epsilon": 1e-3},
        {"beta_2": WAVY, "epsilon": 1e-3},
        {"beta_1": WAVY, "beta_2": RISING, "epsilon": EPSILONS, "amsgrad": True},
    ],
    "Adafactor": [
        {"beta_1": WAVY},
        {"beta_2_decay": stages(-0.5, -1.0, -0.75)},
        {"epsilon_1": EPSILONS},
        {"epsilon_2": stages(0.5, 2.0, 1.0)},
        {"clip_threshold": stages(1.0, 0.25, 0.5)},
        {"beta_1": RISING, "weight_decay": DECAYS, "learning_rate": DECAYED},
    ],
    "Lion": [
        {"beta_1": WAVY},
        {"beta_2": WAVY},
        {"beta_1": RISING, "beta_2": WAVY, "weight_decay": DECAYS},
    ],
    "LAMB": [
        {"beta_1": WAVY, "beta_2": RISING, "epsilon": EPSILONS, "weight_decay": DECAYS},
        {"lower": stages(0.25, 4.0, 1.0), "weight_decay": 0.25},
        {"upper": stages(4.0, 0.25, 1.0), "weight_decay": 0.25},
    ],
    "LARS": [
        {"momentum": WAVY, "trust_coefficient": 0.5},
        {"trust_coefficient": stages(0.25, 0.5, 1.0), "weight_decay": DECAYS},
        {
            "epsilon": stages(0.5, 4.0, 1.0),
            "momentum": RISING,
            "nesterov": True,
            "trust_coefficient": 0.5,
        },
    ],
    "Muon": [
        {"momentum": RISING, "weight_decay": DECAYS, "exclude_head": False},
        {"scale": "moonlight", "rms_rate": stages(0.25, 0.5, 0.125)},
        {
            "adam_lr_ratio": 1.0,
            "adam_beta_1": WAVY,
            "adam_beta_2": RISING,
            "adam_weight_decay": DECAYS,
            "epsilon": EPSILONS,
        },
    ],
    "ScheduleFreeSGD": [
        {"r": stages(1.0, 0.25, 2.0), "weight_decay": DECAYS},
        {"weight_lr_power": stages(1.0, 0.25, 0.5)},
    ],
    "ScheduleFreeAdamW": [
        {"beta_2": WAVY, "epsilon": EPSILONS, "weight_decay": DECAYS},
        {"r": stages(1.0, 0.25, 2.0)},
    ],
    "Prodigy": [
        {
            **GROWING,
            "beta_1": WAVY,
            "beta_2": RISING,
            "beta_3": WAVY,
            "epsilon": EPSILONS,
            "weight_decay": DECAYS,
        },
        {**GROWING, "beta_1": WAVY, "bias_correction": True},
        {**GROWING, "beta_2": RISING, "beta_3": 0.875, "bias_correction": True},
        {**GROWING, "d_coef": stages(8.0, 2.0, 16.0)},
        {**GROWING, "growth_rate": stages(1.125, 1.5, 1.25)},
    ],
}


def case(name: str, arguments: dict[str, Any]) -> Any:
    """Make one case, named after what it sets."""
    told = [
        f"{key}={value['class'] if isinstance(value, dict) else value}"
        for key, value in arguments.items()
    ]
    arguments = {"learning_rate": RATE, **arguments}
    return pytest.param(name, arguments, id="-".join([name, *told]))


CASES = [case(name, arguments) for name, table in TABLE.items() for arguments in table]
KIND_CASES = [
    case(name, {**own, "weight_decay": decay, **kind, "learning_rate": DECAYED})
    for name, own in DECAYING.items()
    for decay in (0.25, DECAYS)
    for kind in KINDS
]
KIND_CASES += [
    case(name, {**own, "weight_decay": 0.25, **more, "learning_rate": DECAYED})
    for name, own in DECAYING.items()
    for more in SURROUNDED
]
SCHEDULED_CASES = [
    case(name, arguments) for name, table in SCHEDULED.items() for arguments in table
]


def draw() -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """Draw weights and gradients that float32 holds exactly."""
    generator = np.random.default_rng(11)

    def normal(shape: tuple[int, ...], size: float) -> np.ndarray:
        values = size * generator.standard_normal(shape)
        return np.asarray(values, "float32").astype("float64")

    weights = [normal(shape, 1.0) for shape, _ in TENSORS]
    gradients = [[normal(*tensor) for tensor in TENSORS] for _ in range(STEPS)]
    return weights, gradients


WEIGHTS, GRADIENTS = draw()


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    """Give each dtype that the backend keeps."""
    if request.param == "float64" and not driving.has_float64():
        pytest.skip("the backend has no float64 here")
    return request.param


def whole_rules(cases: list[Any]) -> list[Any]:
    """Choose the rules that look at weights, at all tensors or at singular values."""
    names = {"LAMB", "LARS", "Muon", "Prodigy", *recursions.SCHEDULE_FREE}
    return [each for each in cases if each.values[0] in names]


def gap(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    """Find the largest difference between the weights of two paths."""
    return max(np.max(np.abs(a - b)) for a, b in zip(one, other, strict=True))


def assert_follows_the_recursion(
    rule: str, arguments: dict[str, Any], dtype: str
) -> None:
    """Compare step by step."""
    optimizer = driving.build(rule, arguments)
    actual = driving.run(optimizer, WEIGHTS, GRADIENTS, dtype)
    expected = recursions.run(rule, arguments, WEIGHTS, GRADIENTS)
    driving.assert_same_path(actual, expected, dtype)


@pytest.mark.parametrize(("rule", "arguments"), CASES)
def test_follows_the_recursion(
    rule: str, arguments: dict[str, Any], dtype: str
) -> None:
    """Step by step, over scalars, vectors, matrices, kernels and a zero gradient."""
    assert_follows_the_recursion(rule, arguments, dtype)


@pytest.mark.parametrize(("rule", "arguments"), whole_rules(CASES))
def test_each_argument_of_a_case_matters(rule: str, arguments: dict[str, Any]) -> None:
    """Without it the path is another one, by more than the cases tolerate."""
    path = recursions.run(rule, arguments, WEIGHTS, GRADIENTS)
    for name in arguments.keys() - {"learning_rate"}:
        rest = {key: value for key, value in arguments.items() if key != name}
        other = recursions.run(rule, rest, WEIGHTS, GRADIENTS)
        assert gap(path[-1], other[-1]) > 1e-6, name


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [c for c in CASES + SCHEDULED_CASES if c.values[0] in recursions.SCHEDULE_FREE],
)
def test_evaluates_at_the_average(
    rule: str, arguments: dict[str, Any], dtype: str
) -> None:
    """What is evaluated comes and goes without a trace, wherever training stands."""
    optimizer = driving.build(rule, arguments)
    variables = [driving.new_variable(w, dtype) for w in WEIGHTS]
    trained, evaluated = [], []
    for step in GRADIENTS:
        trained += driving.apply_all(optimizer, variables, [step], dtype)
        optimizer.put_in_averaged_weights()
        evaluated.append(driving.values(variables))
        optimizer.put_in_trained_weights()
    points = (WEIGHTS, GRADIENTS)
    expected = recursions.run(rule, arguments, *points, evaluated=True)
    driving.assert_same_path(evaluated, expected, dtype)
    expected = recursions.run(rule, arguments, *points)
    driving.assert_same_path(trained, expected, dtype)


@pytest.mark.parametrize(("rule", "arguments"), KIND_CASES)
def test_kinds_of_weight_decay(rule: str, arguments: dict[str, Any]) -> None:
    """While the learning rate falls, in the best precision that the backend has."""
    assert_follows_the_recursion(rule, arguments, driving.best_precision())


def test_no_two_kinds_of_weight_decay_are_the_same() -> None:
    """What the cases compare differs by far more than they tolerate."""
    for rule, own in DECAYING.items():
        arguments = {"weight_decay": 0.25, "learning_rate": DECAYED, **own}
        *_, last = zip(
            *(
                recursions.run(rule, {**arguments, **kind}, WEIGHTS, GRADIENTS)
                for kind in KINDS
            ),
            strict=True,
        )
        for one, other in itertools.combinations(last, 2):
            assert gap(one, other) > 1e-3


def test_the_peak_is_the_learning_rate_unless_given(dtype: str) -> None:
    """A number is its own peak; a later change of the learning rate leaves it there."""
    arguments = {"momentum": 0.9, "weight_decay": 0.5, "weight_decay_kind": "corrected"}
    optimizer = driving.build("SGD", {"learning_rate": 0.125, **arguments})
    variables = [driving.new_variable(w, dtype) for w in WEIGHTS]
    path = driving.apply_all(optimizer, variables, GRADIENTS[:5], dtype)
    optimizer.learning_rate = 0.03125
    path += driving.apply_all(optimizer, variables, GRADIENTS[5:10], dtype)
    arguments |= {"learning_rate": DECAYED, "peak_learning_rate": 0.125}
    expected = recursions.run("SGD", arguments, WEIGHTS, GRADIENTS[:10])
    driving.assert_same_path(path, expected, dtype)


@pytest.mark.parametrize(("rule", "arguments"), SCHEDULED_CASES)
def test_scheduled_arguments(rule: str, arguments: dict[str, Any], dtype: str) -> None:
    """Whatever is a number may change from step to step."""
    assert_follows_the_recursion(rule, arguments, dtype)


@pytest.mark.parametrize(("rule", "arguments"), SCHEDULED_CASES)
def test_schedules_matter(rule: str, arguments: dict[str, Any]) -> None:
    """No schedule among the cases may be replaced by its first value."""
    path = recursions.run(rule, arguments, WEIGHTS, GRADIENTS)
    for name, value in arguments.items():
        if isinstance(value, dict) and value["class"] == "PiecewiseConstantDecay":
            first = {**arguments, name: value["arguments"]["values"][0]}
            other = recursions.run(rule, first, WEIGHTS, GRADIENTS)
            assert gap(path[-1], other[-1]) > 1e-3, name


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        ("Adam", {"gradient_accumulation_steps": 4, "weight_decay": 0.25}),
        ("Nadam", {"gradient_accumulation_steps": 2, "global_clipnorm": 2.0}),
        ("SDProp", {"momentum": 0.8, "learning_rate": DECAYED}),
        (
            "Adam",
            {
                "beta_1": stages(0.0, 0.5, 0.75),
                "beta_2": RISING,
                "weight_decay": DECAYS,
                "weight_decay_kind": "cautious",
            },
        ),
    ],
)
def test_compiled(rule: str, arguments: dict[str, Any]) -> None:
    """A step that is one program does what its operations do one by one."""
    arguments = {"learning_rate": RATE, "epsilon": 1e-3, **arguments}
    optimizer = driving.build(rule, {**arguments, "jit_compile": "auto"})
    actual = driving.run(optimizer, WEIGHTS, GRADIENTS, "float32")
    expected = recursions.run(rule, arguments, WEIGHTS, GRADIENTS)
    driving.assert_same_path(actual, expected, "float32")


@pytest.mark.parametrize("rule", TABLE)
def test_defaults(rule: str) -> None:
    """With no argument at all: the learning rate and the compilation are defaults."""
    optimizer = getattr(keras_adamx, rule)()
    actual = driving.run(optimizer, WEIGHTS, GRADIENTS, "float32")
    expected = recursions.run(rule, {}, WEIGHTS, GRADIENTS)
    driving.assert_same_path(actual, expected, "float32")


@pytest.mark.parametrize(
    ("rule", "own"),
    [
        *((rule, TABLE[rule][2]) for rule in ("SGD", "RMSprop", "Nadam", "Adafactor")),
        ("Adam", {"beta_1": WAVY, "beta_2": RISING, "weight_decay": DECAYS}),
    ],
)
def test_variables_of_two_dtypes(rule: str, own: dict[str, Any]) -> None:
    """Each is updated in its own precision, whichever comes first."""
    if not driving.has_float64():
        pytest.skip("the backend has no float64 here")
    arguments = {"learning_rate": RATE, "weight_decay": 0.25, **own}
    expected = recursions.run(rule, arguments, WEIGHTS, GRADIENTS)
    for dtypes in (("float32", "float64"), ("float64", "float32")):
        optimizer = driving.build(rule, arguments)
        variables = [
            driving.new_variable(w, dtype) for dtype in dtypes for w in WEIGHTS
        ]
        optimizer.build(variables)
        half = len(WEIGHTS)
        for step, reference in zip(GRADIENTS, expected, strict=True):
            tensors = [
                keras.ops.convert_to_tensor(g, dtype=dtype)
                for dtype in dtypes
                for g in step
            ]
            optimizer.apply(tensors, variables)
            values = driving.values(variables)
            driving.assert_same_path([values[:half]], [reference], dtypes[0])
            driving.assert_same_path([values[half:]], [reference], dtypes[1])


@pytest.mark.parametrize(
    ("rule", "momentum"),
    [("Adam", 0.75), ("SDProp", 0.75), ("Adafactor", 0.75), ("Adam", WAVY)],
)
def test_average_of_the_weights(rule: str, momentum: Any, dtype: str) -> None:
    """The average replaces the weights at the end, and not before."""
    arguments = {"learning_rate": RATE, "weight_decay": 0.25}
    averaging = {"use_ema": True, "ema_momentum": momentum}
    optimizer = driving.build(rule, {**arguments, **averaging})
    variables = [driving.new_variable(w, dtype) for w in WEIGHTS]
    path = driving.apply_all(optimizer, variables, GRADIENTS, dtype)
    expected = recursions.run(rule, arguments, WEIGHTS, GRADIENTS)
    driving.assert_same_path(path, expected, dtype)
    optimizer.finalize_variable_values(variables)
    averages = [
        recursions.moving_average(own, momentum)[-1]
        for own in zip(*expected, strict=True)
    ]
    driving.assert_same_path([driving.values(variables)], [averages], dtype)


@pytest.mark.parametrize("rule", ["SGD", "Adam", "Adastand"])
def test_average_that_overwrites_the_weights(rule: str, dtype: str) -> None:
    """Each fifth step ends on the average; the steps themselves do not change."""
    momentum, every = 0.75, 5
    arguments = {"learning_rate": RATE}
    averaging = {"use_ema": True, "ema_momentum": momentum}
    averaging["ema_overwrite_frequency"] = every
    optimizer = driving.build(rule, {**arguments, **averaging})
    gradients = GRADIENTS[: 2 * every - 1]
    actual = driving.run(optimizer, WEIGHTS, gradients, dtype)
    plain = recursions.run(rule, arguments, WEIGHTS, gradients)
    averages = [
        recursions.moving_average(own, momentum)[every - 1]
        for own in zip(*plain, strict=True)
    ]
    expected = [
        *plain[: every - 1],
        *(
            [
                a + w - old
                for a, w, old in zip(averages, now, plain[every - 1], strict=True)
            ]
            for now in plain[every - 1 :]
        ),
    ]
    driving.assert_same_path(actual, expected, dtype)
