"""The package against the float64 recursions, argument by argument.

Every hyper-parameter stands away from its neutral value in some case, alone or with
others that interact with it, and every class has a case with ``epsilon=1e-3``, where
its placement shows.
"""

from __future__ import annotations

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


@pytest.mark.parametrize(("rule", "arguments"), CASES)
def test_follows_the_recursion(
    rule: str, arguments: dict[str, Any], dtype: str
) -> None:
    """Step by step, over scalars, vectors, matrices, kernels and a zero gradient."""
    optimizer = driving.build(rule, arguments)
    actual = driving.run(optimizer, WEIGHTS, GRADIENTS, dtype)
    expected = recursions.run(rule, arguments, WEIGHTS, GRADIENTS)
    driving.assert_same_path(actual, expected, dtype)


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        ("Adam", {"gradient_accumulation_steps": 4, "weight_decay": 0.25}),
        ("Nadam", {"gradient_accumulation_steps": 2, "global_clipnorm": 2.0}),
        ("SDProp", {"momentum": 0.8, "learning_rate": DECAYED}),
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


@pytest.mark.parametrize("rule", ["SGD", "RMSprop", "Nadam", "Adafactor"])
def test_variables_of_two_dtypes(rule: str) -> None:
    """Each is updated in its own precision, whichever comes first."""
    if not driving.has_float64():
        pytest.skip("the backend has no float64 here")
    arguments = {"learning_rate": RATE, "weight_decay": 0.25, **TABLE[rule][2]}
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


@pytest.mark.parametrize("rule", ["Adam", "SDProp", "Adafactor"])
def test_average_of_the_weights(rule: str, dtype: str) -> None:
    """The average replaces the weights at the end, and not before."""
    momentum = 0.75
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
