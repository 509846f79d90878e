"""Write the stored trajectories of reference implementations.

Needs an environment of its own, so that the tests need none of these packages::

    python -m venv reference
    reference/bin/pip install -r tests/oracle/requirements.txt
    reference/bin/python tests/oracle/make_trajectories.py

Every file in ``trajectories/`` is rewritten, and files of cases that are gone are
removed. All of it is float64 and deterministic, and each number is rounded to 14
digits, so that a second run reproduces the files.

A file holds the starting weights, the gradients of each step and the weights after
each step; which implementation made them (``package``, ``version`` and
``reference``, the call that was made); and the class and the arguments of this
package that must follow the same path (``optimizer``, ``arguments``). Learning rates
are powers of two, because Keras keeps the learning rate in float32; the values of other
schedules have few digits in base two, for the same reason.

A list among the arguments of a reference stands for a value at each step: torch reads
its groups of parameters anew each time, and optax takes functions of the step.
"""

from __future__ import annotations

import inspect
import json
import math
import operator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax
import optax.contrib
import prodigyopt
import pytorch_optimizer
import schedulefree
import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = Path(__file__).parent / "trajectories"
SEED = 20250117
STEPS = 8
#: Shape of each tensor and the size of its gradients; the last one gets none at all.
TENSORS = (
    ((), 1.0),
    ((3,), 0.25),
    ((3, 2), 2.0),
    ((2, 1, 2, 3), 0.03125),
    ((2,), 0.0),
)

Arrays = list[np.ndarray]
Transform = tuple[str, dict[str, Any]]


def draw(seed: int) -> tuple[Arrays, list[Arrays]]:
    """Draw weights and gradients that float32 holds exactly and JSON in short."""
    generator = np.random.default_rng(seed)

    def dyadic(shape: tuple[int, ...], size: float) -> np.ndarray:
        return size * np.round(64 * generator.standard_normal(shape)) / 64 + 0.0

    weights = [dyadic(shape, 1.0) for shape, _ in TENSORS]
    gradients = [[dyadic(*tensor) for tensor in TENSORS] for _ in range(STEPS)]
    return weights, gradients


def call(name: str, arguments: dict[str, Any]) -> str:
    """Write a call out as it stands in code."""
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"


def follow_torch(
    optimizer_class: type[torch.optim.Optimizer],
    arguments: dict[str, Any],
    step_lr: dict[str, Any] | None,
    weights: Arrays,
    gradients: list[Arrays],
    evaluated: Arrays,
) -> Iterable[Arrays]:
    """Follow an optimizer of torch, or one that has its interface.

    The weights to evaluate with after the last step are put into a list, if an
    optimizer has other ones.
    """
    parameters = [torch.nn.Parameter(torch.tensor(w)) for w in weights]
    changing = {k: v for k, v in arguments.items() if isinstance(v, list)}
    first = {key: values[0] for key, values in changing.items()}
    if "foreach" in inspect.signature(optimizer_class).parameters:
        first["foreach"] = False
    optimizer = optimizer_class(parameters, **{**arguments, **first})
    averages = optimizer_class.__module__.startswith("schedulefree")
    if averages:
        optimizer.train()
    scheduler = None
    if step_lr is not None:
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, **step_lr)
    for t, step in enumerate(gradients):
        for key, values in changing.items():
            optimizer.param_groups[0][key] = values[t]
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = torch.tensor(gradient)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        yield [parameter.detach().numpy().copy() for parameter in parameters]
    if averages:
        optimizer.eval()
        evaluated += [parameter.detach().numpy().copy() for parameter in parameters]


#: Transformations that take functions of the step; others need inject_hyperparams.
TAKE_FUNCTIONS = ("scale_by_learning_rate", "scale_by_schedule", "add_decayed_weights")
TAKE_FUNCTIONS += ("lamb",)


def is_table(value: Any) -> bool:
    """Tell whether an argument is a list of its values at each step."""
    return isinstance(value, list) and isinstance(value[0], float)


def is_injected(name: str, arguments: dict[str, Any]) -> bool:
    """Tell whether a transformation gets its arguments anew at each step."""
    changing = any(is_table(value) for value in arguments.values())
    return changing and name not in TAKE_FUNCTIONS


def build_optax(name: str, arguments: dict[str, Any]) -> optax.GradientTransformation:
    """Build one transformation; a list stands for a function of the step."""
    factory = operator.attrgetter(name)(optax)
    if is_injected(name, arguments):
        factory = optax.inject_hyperparams(factory)
    arguments = {
        key: jax.numpy.asarray(value).__getitem__ if is_table(value) else value
        for key, value in arguments.items()
    }
    return factory(**arguments)


def call_optax(name: str, arguments: dict[str, Any]) -> str:
    """Write one transformation out."""
    injected = is_injected(name, arguments)
    full = f"optax.inject_hyperparams(optax.{name})" if injected else f"optax.{name}"
    return call(full, arguments)


def follow_optax(
    transforms: list[Transform],
    accumulation: int,
    weights: Arrays,
    gradients: list[Arrays],
) -> Iterable[Arrays]:
    """Follow a chain of optax's transformations."""
    optimizer = optax.chain(*(build_optax(*transform) for transform in transforms))
    if accumulation > 1:
        optimizer = optax.MultiSteps(
            optimizer, accumulation, accumulator_dtype="float64"
        )
    parameters = [jax.numpy.asarray(w) for w in weights]
    state = optimizer.init(parameters)
    for step in gradients:
        updates, state = optimizer.update(
            [jax.numpy.asarray(g) for g in step], state, parameters
        )
        parameters = optax.apply_updates(parameters, updates)
        yield [np.asarray(parameter) for parameter in parameters]


def rounded(arrays: Arrays) -> list[Any]:
    """Turn arrays into nested lists of numbers of at most 14 digits."""
    return [np.vectorize(lambda x: float(f"{x:.14g}"))(a).tolist() for a in arrays]


def store(
    file: Path, head: dict[str, Any], gradients: list[Arrays], path: Iterable[Arrays]
) -> None:
    """Write one file, one line for each step."""
    lines = [f' "{key}": {json.dumps(value)},' for key, value in head.items()]
    for key, steps in (("gradients", gradients), ("trajectory", path)):
        rows = ",\n".join(f"  {json.dumps(rounded(step))}" for step in steps)
        lines.append(f' "{key}": [\n{rows}\n ],')
    text = "\n".join(["{", *lines]).removesuffix(",") + "\n}\n"
    file.write_text(text, encoding="utf-8")


RATE = 0.0625
HALVED = {"class": "StepDecay", "arguments": {"initial_learning_rate": 0.125}}
HALVED["arguments"] |= {"step_size": 3, "gamma": 0.5}
STEP_LR = {"step_size": 3, "gamma": 0.5}


def stages(*values: float) -> dict[str, Any]:
    """Name the schedule of one value for three steps, one for three, one after."""
    arguments = {"boundaries": [2, 5], "values": list(values)}
    return {"class": "PiecewiseConstantDecay", "arguments": arguments}


def each(first: Any, second: Any, third: Any) -> list[Any]:
    """Write out the values that such a schedule has at each step."""
    return [first] * 3 + [second] * 3 + [third] * (STEPS - 6)


#: name: class of torch, its arguments, arguments of its StepLR, our class and ours.
TORCH: dict[str, tuple[str, dict[str, Any], Any, str, dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": RATE}, None, "SGD", {"learning_rate": RATE}),
    "sgd_momentum": (
        "SGD",
        {"lr": 0.125, "momentum": 0.8},
        STEP_LR,
        "SGD",
        {"learning_rate": HALVED, "momentum": 0.8},
    ),
    "sgd_nesterov": (
        "SGD",
        {"lr": RATE, "momentum": 0.7, "nesterov": True},
        None,
        "SGD",
        {"learning_rate": RATE, "momentum": 0.7, "nesterov": True},
    ),
    "rmsprop": (
        "RMSprop",
        {"lr": RATE, "alpha": 0.8, "eps": 1e-3},
        None,
        "RMSprop",
        {"learning_rate": RATE, "rho": 0.8, "epsilon": 1e-3},
    ),
    "rmsprop_centered": (
        "RMSprop",
        {"lr": RATE, "alpha": 0.95, "eps": 1e-3, "centered": True},
        None,
        "RMSprop",
        {"learning_rate": RATE, "rho": 0.95, "epsilon": 1e-3, "centered": True},
    ),
    "rmsprop_centered_momentum": (
        "RMSprop",
        {"lr": 0.125, "alpha": 0.9, "eps": 1e-8, "centered": True, "momentum": 0.7},
        STEP_LR,
        "RMSprop",
        {
            "learning_rate": HALVED,
            "rho": 0.9,
            "epsilon": 1e-8,
            "centered": True,
            "momentum": 0.7,
        },
    ),
    "adagrad": (
        "Adagrad",
        {"lr": RATE, "initial_accumulator_value": 0.3, "eps": 1e-3},
        None,
        "Adagrad",
        {"learning_rate": RATE, "initial_accumulator_value": 0.3, "epsilon": 1e-3},
    ),
    "adagrad_from_zero": (
        "Adagrad",
        {"lr": 0.125, "initial_accumulator_value": 0.0, "eps": 1e-8},
        STEP_LR,
        "Adagrad",
        {"learning_rate": HALVED, "initial_accumulator_value": 0.0},
    ),
    "adadelta": (
        "Adadelta",
        {"lr": 0.5, "rho": 0.8, "eps": 1e-3},
        None,
        "Adadelta",
        {"learning_rate": 0.5, "rho": 0.8, "epsilon": 1e-3},
    ),
    "adam": (
        "Adam",
        {"lr": RATE, "betas": (0.8, 0.95), "eps": 1e-3},
        None,
        "Adam",
        {"learning_rate": RATE, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
    ),
    "adam_defaults": ("Adam", {"lr": RATE}, None, "Adam", {"learning_rate": RATE}),
    "adam_amsgrad": (
        "Adam",
        {"lr": 0.125, "betas": (0.8, 0.7), "eps": 1e-3, "amsgrad": True},
        STEP_LR,
        "Adam",
        {
            "learning_rate": HALVED,
            "beta_1": 0.8,
            "beta_2": 0.7,
            "epsilon": 1e-3,
            "amsgrad": True,
        },
    ),
    "adamw_defaults": ("AdamW", {"lr": RATE}, None, "AdamW", {"learning_rate": RATE}),
    "adamw_amsgrad": (
        "AdamW",
        {
            "lr": 0.125,
            "betas": (0.7, 0.6),
            "eps": 1e-3,
            "amsgrad": True,
            "weight_decay": 0.25,
        },
        STEP_LR,
        "AdamW",
        {
            "learning_rate": HALVED,
            "beta_1": 0.7,
            "beta_2": 0.6,
            "epsilon": 1e-3,
            "amsgrad": True,
            "weight_decay": 0.25,
        },
    ),
    "adamax": (
        "Adamax",
        {"lr": RATE, "betas": (0.8, 0.9), "eps": 1e-3},
        None,
        "Adamax",
        {"learning_rate": RATE, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
    ),
    "nadam": (
        "NAdam",
        {"lr": RATE, "betas": (0.8, 0.95), "eps": 1e-3, "momentum_decay": 0.5},
        None,
        "Nadam",
        {
            "learning_rate": RATE,
            "beta_1": 0.8,
            "beta_2": 0.95,
            "epsilon": 1e-3,
            "momentum_decay": 0.5,
        },
    ),
    "nadamw": (
        "NAdam",
        {"lr": 0.125, "weight_decay": 0.25, "decoupled_weight_decay": True},
        STEP_LR,
        "Nadam",
        {"learning_rate": HALVED, "weight_decay": 0.25},
    ),
    "adafactor": (
        "Adafactor",
        {"lr": 0.5, "eps": (1e-30, 1e-3)},
        None,
        "Adafactor",
        {"learning_rate": 0.5},
    ),
    "adafactor_decay": (
        "Adafactor",
        {
            "lr": RATE,
            "beta2_decay": -0.5,
            "eps": (1e-30, 0.75),
            "d": 1.25,
            "weight_decay": 0.25,
        },
        None,
        "Adafactor",
        {
            "learning_rate": RATE,
            "beta_2_decay": -0.5,
            "epsilon_2": 0.75,
            "clip_threshold": 1.25,
            "weight_decay": 0.25,
        },
    ),
    # The centred second moment of RMSprop, v - a**2, is the deviation of SDProp.
    "sdprop_uncorrected": (
        "RMSprop",
        {"lr": 0.125, "alpha": 0.95, "eps": 1e-3, "centered": True, "momentum": 0.6},
        STEP_LR,
        "SDProp",
        {
            "learning_rate": HALVED,
            "rho": 0.95,
            "epsilon": 1e-3,
            "momentum": 0.6,
            "bias_correction": False,
        },
    ),
    # Where torch does not say "decoupled", its decay is that of the penalty.
    "sgd_l2": (
        "SGD",
        {"lr": 0.125, "momentum": 0.7, "nesterov": True, "weight_decay": 0.25},
        STEP_LR,
        "SGD",
        {
            "learning_rate": HALVED,
            "momentum": 0.7,
            "nesterov": True,
            "weight_decay": 0.25,
            "weight_decay_kind": "l2",
        },
    ),
    "rmsprop_l2": (
        "RMSprop",
        {"lr": RATE, "alpha": 0.9, "eps": 1e-3, "momentum": 0.7, "weight_decay": 0.25},
        None,
        "RMSprop",
        {
            "learning_rate": RATE,
            "rho": 0.9,
            "epsilon": 1e-3,
            "momentum": 0.7,
            "weight_decay": 0.25,
            "weight_decay_kind": "l2",
        },
    ),
    "adam_l2": (
        "Adam",
        {"lr": 0.125, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.25},
        STEP_LR,
        "Adam",
        {
            "learning_rate": HALVED,
            "beta_1": 0.8,
            "beta_2": 0.95,
            "epsilon": 1e-3,
            "weight_decay": 0.25,
            "weight_decay_kind": "l2",
        },
    ),
    # Arguments that change. Torch corrects the bias by a power of the present decay,
    # not by the product of all: only decays that are not corrected are compared, and
    # NAdam's momentum, whose product torch keeps.
    "sgd_scheduled": (
        "SGD",
        {
            "lr": RATE,
            "momentum": each(0.5, 0.875, 0.75),
            "weight_decay": each(0.5, 0.125, 0.25),
        },
        None,
        "SGD",
        {
            "learning_rate": RATE,
            "momentum": stages(0.5, 0.875, 0.75),
            "weight_decay": stages(0.5, 0.125, 0.25),
            "weight_decay_kind": "l2",
        },
    ),
    "rmsprop_scheduled": (
        "RMSprop",
        {
            "lr": RATE,
            "alpha": each(0.875, 0.5, 0.75),
            "eps": each(0.125, 0.5, 0.25),
            "momentum": each(0.5, 0.75, 0.25),
            "centered": True,
        },
        None,
        "RMSprop",
        {
            "learning_rate": RATE,
            "rho": stages(0.875, 0.5, 0.75),
            "epsilon": stages(0.125, 0.5, 0.25),
            "momentum": stages(0.5, 0.75, 0.25),
            "centered": True,
        },
    ),
    "adadelta_scheduled": (
        "Adadelta",
        {"lr": 0.5, "rho": each(0.5, 0.875, 0.75), "eps": each(0.125, 0.25, 0.0625)},
        None,
        "Adadelta",
        {
            "learning_rate": 0.5,
            "rho": stages(0.5, 0.875, 0.75),
            "epsilon": stages(0.125, 0.25, 0.0625),
        },
    ),
    "adamax_scheduled": (
        "Adamax",
        {
            "lr": RATE,
            "betas": each((0.8, 0.875), (0.8, 0.5), (0.8, 0.75)),
            "eps": each(0.125, 0.5, 0.25),
        },
        None,
        "Adamax",
        {
            "learning_rate": RATE,
            "beta_1": 0.8,
            "beta_2": stages(0.875, 0.5, 0.75),
            "epsilon": stages(0.125, 0.5, 0.25),
        },
    ),
    "nadam_scheduled": (
        "NAdam",
        {
            "lr": RATE,
            "betas": each((0.5, 0.9), (0.875, 0.9), (0.75, 0.9)),
            "eps": each(0.125, 0.5, 0.25),
            "momentum_decay": each(0.5, 1.0, 0.25),
        },
        None,
        "Nadam",
        {
            "learning_rate": RATE,
            "beta_1": stages(0.5, 0.875, 0.75),
            "beta_2": 0.9,
            "epsilon": stages(0.125, 0.5, 0.25),
            "momentum_decay": stages(0.5, 1.0, 0.25),
        },
    ),
}

#: The same for pytorch_optimizer. It decays before the step, which is no difference
#: where neither the gradient nor the direction looks at the weights in between.
PYTORCH_OPTIMIZER: dict[str, tuple[str, dict[str, Any], Any, str, dict[str, Any]]] = {
    "adafactor_momentum": (
        "AdaFactor",
        {
            "lr": RATE,
            "betas": (0.8, 0.999),
            "decay_rate": -0.7,
            "clip_threshold": 0.8,
            "relative_step": False,
            "eps2": 0.5,
            "momentum_dtype": torch.float64,
        },
        None,
        "Adafactor",
        {
            "learning_rate": RATE,
            "beta_1": 0.8,
            "beta_2_decay": -0.7,
            "clip_threshold": 0.8,
            "relative_step": False,
            "epsilon_2": 0.5,
        },
    ),
    "adafactor_unscaled": (
        "AdaFactor",
        {
            "lr": RATE,
            "betas": (None, 0.999),
            "eps1": 1e-3,
            "relative_step": False,
            "scale_parameter": False,
        },
        None,
        "Adafactor",
        {
            "learning_rate": RATE,
            "epsilon_1": 1e-3,
            "relative_step": False,
            "scale_parameter": False,
        },
    ),
    # It measures the weights before it decays them, as we do.
    "adafactor_independent": (
        "AdaFactor",
        {
            "lr": 0.125,
            "betas": (0.8, 0.999),
            "relative_step": False,
            "eps2": 0.5,
            "momentum_dtype": torch.float64,
            "weight_decay": 0.125,
            "fixed_decay": True,
        },
        STEP_LR,
        "Adafactor",
        {
            "learning_rate": HALVED,
            "beta_1": 0.8,
            "relative_step": False,
            "epsilon_2": 0.5,
            "weight_decay": 0.125,
            "weight_decay_kind": "independent",
        },
    ),
    "adamax_independent": (
        "AdaMax",
        {
            "lr": 0.125,
            "betas": (0.8, 0.9),
            "eps": 1e-3,
            "weight_decay": 0.125,
            "weight_decouple": True,
            "fixed_decay": True,
        },
        STEP_LR,
        "Adamax",
        {
            "learning_rate": HALVED,
            "beta_1": 0.8,
            "beta_2": 0.9,
            "epsilon": 1e-3,
            "weight_decay": 0.125,
            "weight_decay_kind": "independent",
        },
    ),
    "lion_independent": (
        "Lion",
        {
            "lr": 0.125,
            "betas": (0.8, 0.95),
            "weight_decay": 0.125,
            "fixed_decay": True,
        },
        STEP_LR,
        "Lion",
        {
            "learning_rate": HALVED,
            "beta_1": 0.8,
            "beta_2": 0.95,
            "weight_decay": 0.125,
            "weight_decay_kind": "independent",
        },
    ),
    # AdamC adds epsilon to the root before that is corrected, and a hidden 1e-15 under
    # it, which is nothing beside a large epsilon. The largest learning rate is the one
    # that it is made with.
    "adamc": (
        "AdamC",
        {
            "lr": 0.125,
            "betas": (0.8, 0.95),
            "eps": 0.25,
            "weight_decay": 0.5,
            "normalized": True,
        },
        STEP_LR,
        "Adam",
        {
            "learning_rate": HALVED,
            "beta_1": 0.8,
            "beta_2": 0.95,
            "epsilon": 0.25,
            "epsilon_placement": "hat",
            "weight_decay": 0.5,
            "weight_decay_kind": "corrected",
            "peak_learning_rate": 0.125,
        },
    ),
    "adamc_independent": (
        "AdamC",
        {
            "lr": 0.125,
            "betas": (0.8, 0.95),
            "eps": 0.25,
            "weight_decay": 0.125,
            "fixed_decay": True,
        },
        STEP_LR,
        "Adam",
        {
            "learning_rate": HALVED,
            "beta_1": 0.8,
            "beta_2": 0.95,
            "epsilon": 0.25,
            "epsilon_placement": "hat",
            "weight_decay": 0.125,
            "weight_decay_kind": "independent",
        },
    ),
}

SCALE = ("scale_by_learning_rate", {"learning_rate": RATE})
DECAY = ("add_decayed_weights", {"weight_decay": 0.25})
#: 0.125 halved after every third step, as a table.
TABLE = ("scale_by_learning_rate", {"learning_rate": [0.125] * 3 + [RATE] * 3})
TABLE[1]["learning_rate"] += [0.03125] * 2
#: The factor sqrt(1 - rho**t) of SDProp for rho = 0.95.
CORRECTION = [math.sqrt(1 - 0.95**t) for t in range(1, STEPS + 1)]
#: The same where rho changes: the square root of 1 less the product of all so far.
CHANGING = (0.875, 0.5, 0.75)
CHANGING_CORRECTION = np.sqrt(1 - np.cumprod(each(*CHANGING))).tolist()
#: What turns Adam into Adam without bias correction where epsilon does not count.
UNCORRECTION = [(1 - 0.8**t) / math.sqrt(1 - 0.95**t) for t in range(1, STEPS + 1)]
ADAM = ("scale_by_adam", {"b1": 0.8, "b2": 0.95, "eps": 1e-3})
OUR_ADAM = {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}
STDDEV = {"decay": 0.95, "eps": 1e-3, "eps_in_sqrt": False}

#: name: chain of optax, gradients accumulated for a step, our class and arguments.
OPTAX: dict[str, tuple[list[Transform], int, str, dict[str, Any]]] = {
    "sgd_dampened": (
        [("ema", {"decay": 0.9, "debias": False}), SCALE],
        1,
        "SGD",
        {"learning_rate": RATE, "momentum": 0.9, "dampening": 0.9},
    ),
    "sgd_dampened_nesterov": (
        [
            ("scale", {"step_size": 0.7}),
            ("trace", {"decay": 0.8, "nesterov": True}),
            DECAY,
            TABLE,
        ],
        1,
        "SGD",
        {
            "learning_rate": HALVED,
            "momentum": 0.8,
            "dampening": 0.3,
            "nesterov": True,
            "weight_decay": 0.25,
        },
    ),
    "rmsprop_inside": (
        [("scale_by_rms", {"decay": 0.8, "eps": 1e-3}), SCALE],
        1,
        "RMSprop",
        {
            "learning_rate": RATE,
            "rho": 0.8,
            "epsilon": 1e-3,
            "epsilon_placement": "inside",
        },
    ),
    "rmsprop_inside_centered_momentum": (
        [
            ("scale_by_stddev", {"decay": 0.9, "eps": 1e-3}),
            ("trace", {"decay": 0.7}),
            DECAY,
            TABLE,
        ],
        1,
        "RMSprop",
        {
            "learning_rate": HALVED,
            "rho": 0.9,
            "momentum": 0.7,
            "epsilon": 1e-3,
            "centered": True,
            "epsilon_placement": "inside",
            "weight_decay": 0.25,
        },
    ),
    "adagrad_inside": (
        [
            ("scale_by_rss", {"initial_accumulator_value": 0.3, "eps": 1e-3}),
            DECAY,
            SCALE,
        ],
        1,
        "Adagrad",
        {
            "learning_rate": RATE,
            "initial_accumulator_value": 0.3,
            "epsilon": 1e-3,
            "epsilon_placement": "inside",
            "weight_decay": 0.25,
        },
    ),
    "adadelta_decay": (
        [("scale_by_adadelta", {"rho": 0.9, "eps": 1e-6}), DECAY, TABLE],
        1,
        "Adadelta",
        {"learning_rate": HALVED, "rho": 0.9, "epsilon": 1e-6, "weight_decay": 0.25},
    ),
    "adam_inside": (
        [
            ("scale_by_adam", {"b1": 0.8, "b2": 0.95, "eps": 0.0, "eps_root": 1e-3}),
            SCALE,
        ],
        1,
        "Adam",
        {"learning_rate": RATE, **OUR_ADAM, "epsilon_placement": "inside"},
    ),
    "adam_uncorrected": (
        [
            ("scale_by_adam", {"b1": 0.8, "b2": 0.95, "eps": 1e-20}),
            ("scale_by_schedule", {"step_size_fn": UNCORRECTION}),
            SCALE,
        ],
        1,
        "Adam",
        {
            "learning_rate": RATE,
            "beta_1": 0.8,
            "beta_2": 0.95,
            "epsilon": 1e-20,
            "bias_correction": False,
        },
    ),
    "adam_uncorrected_inside": (
        [("scale_by_rms", {"decay": 0.8, "eps": 1e-3}), SCALE],
        1,
        "Adam",
        {
            "learning_rate": RATE,
            "beta_1": 0.0,
            "beta_2": 0.8,
            "epsilon": 1e-3,
            "bias_correction": False,
            "epsilon_placement": "inside",
        },
    ),
    "adam_clipvalue": (
        [("clip", {"max_delta": 0.25}), ADAM, SCALE],
        1,
        "Adam",
        {"learning_rate": RATE, **OUR_ADAM, "clipvalue": 0.25},
    ),
    "adam_global_clipnorm": (
        [("clip_by_global_norm", {"max_norm": 4.0}), ADAM, SCALE],
        1,
        "Adam",
        {"learning_rate": RATE, **OUR_ADAM, "global_clipnorm": 4.0},
    ),
    "adam_accumulated": (
        [ADAM, DECAY, SCALE],
        2,
        "Adam",
        {
            "learning_rate": RATE,
            **OUR_ADAM,
            "weight_decay": 0.25,
            "gradient_accumulation_steps": 2,
        },
    ),
    "adamw": (
        [ADAM, DECAY, TABLE],
        1,
        "AdamW",
        {"learning_rate": HALVED, **OUR_ADAM, "weight_decay": 0.25},
    ),
    "adamaxw": (
        [
            ("scale_by_adamax", {"b1": 0.8, "b2": 0.9, "eps": 1e-3}),
            DECAY,
            TABLE,
        ],
        1,
        "Adamax",
        {
            "learning_rate": HALVED,
            "beta_1": 0.8,
            "beta_2": 0.9,
            "epsilon": 1e-3,
            "weight_decay": 0.25,
        },
    ),
    "sdprop": (
        [
            ("scale_by_stddev", STDDEV),
            ("scale_by_schedule", {"step_size_fn": CORRECTION}),
            DECAY,
            SCALE,
        ],
        1,
        "SDProp",
        {
            "learning_rate": RATE,
            "rho": 0.95,
            "epsilon": 1e-3,
            "weight_decay": 0.25,
        },
    ),
    "sdprop_momentum": (
        [
            ("scale_by_stddev", STDDEV),
            ("scale_by_schedule", {"step_size_fn": CORRECTION}),
            ("trace", {"decay": 0.6}),
            TABLE,
        ],
        1,
        "SDProp",
        {"learning_rate": HALVED, "rho": 0.95, "epsilon": 1e-3, "momentum": 0.6},
    ),
    "lion": (
        [("scale_by_lion", {"b1": 0.8, "b2": 0.95}), DECAY, TABLE],
        1,
        "Lion",
        {
            "learning_rate": HALVED,
            "beta_1": 0.8,
            "beta_2": 0.95,
            "weight_decay": 0.25,
        },
    ),
    # The penalty is added to what is left after clipping.
    "sgd_clipped_l2": (
        [
            ("clip_by_global_norm", {"max_norm": 4.0}),
            DECAY,
            ("trace", {"decay": 0.8}),
            TABLE,
        ],
        1,
        "SGD",
        {
            "learning_rate": HALVED,
            "momentum": 0.8,
            "global_clipnorm": 4.0,
            "weight_decay": 0.25,
            "weight_decay_kind": "l2",
        },
    ),
    "adam_clipped_l2": (
        [("clip", {"max_delta": 0.25}), DECAY, ADAM, TABLE],
        1,
        "Adam",
        {
            "learning_rate": HALVED,
            **OUR_ADAM,
            "clipvalue": 0.25,
            "weight_decay": 0.25,
            "weight_decay_kind": "l2",
        },
    ),
    # Behind the learning rate the updates have their sign already.
    "sgd_independent": (
        [
            ("trace", {"decay": 0.8}),
            TABLE,
            ("add_decayed_weights", {"weight_decay": -0.125}),
        ],
        1,
        "SGD",
        {
            "learning_rate": HALVED,
            "momentum": 0.8,
            "weight_decay": 0.125,
            "weight_decay_kind": "independent",
        },
    ),
    # The quotient of learning rate and largest learning rate, as a table.
    "sgd_corrected": (
        [
            ("trace", {"decay": 0.8}),
            ("add_decayed_weights", {"weight_decay": each(0.5, 0.25, 0.125)}),
            TABLE,
        ],
        1,
        "SGD",
        {
            "learning_rate": HALVED,
            "momentum": 0.8,
            "weight_decay": 0.5,
            "weight_decay_kind": "corrected",
            "peak_learning_rate": 0.125,
        },
    ),
    # Arguments that change. Of the decays of Adam optax keeps no product either.
    "adam_scheduled": (
        [
            ("clip_by_global_norm", {"max_norm": each(4.0, 2.0, 3.0)}),
            ("scale_by_adam", {"b1": 0.8, "b2": 0.95, "eps": each(0.125, 0.5, 0.25)}),
            ("add_decayed_weights", {"weight_decay": each(0.5, 0.125, 0.25)}),
            SCALE,
        ],
        1,
        "Adam",
        {
            "learning_rate": RATE,
            "beta_1": 0.8,
            "beta_2": 0.95,
            "epsilon": stages(0.125, 0.5, 0.25),
            "global_clipnorm": stages(4.0, 2.0, 3.0),
            "weight_decay": stages(0.5, 0.125, 0.25),
        },
    ),
    "adam_clipvalue_scheduled": (
        [("clip", {"max_delta": each(0.25, 1.0, 0.125)}), ADAM, SCALE],
        1,
        "Adam",
        {"learning_rate": RATE, **OUR_ADAM, "clipvalue": stages(0.25, 1.0, 0.125)},
    ),
    "lion_scheduled": (
        [
            (
                "scale_by_lion",
                {"b1": each(0.5, 0.875, 0.75), "b2": each(0.875, 0.75, 0.9375)},
            ),
            SCALE,
        ],
        1,
        "Lion",
        {
            "learning_rate": RATE,
            "beta_1": stages(0.5, 0.875, 0.75),
            "beta_2": stages(0.875, 0.75, 0.9375),
        },
    ),
    # The deviation is optax's; what corrects it is the table of the products.
    "sdprop_scheduled": (
        [
            (
                "scale_by_stddev",
                {
                    "decay": each(*CHANGING),
                    "eps": each(0.125, 0.5, 0.25),
                    "eps_in_sqrt": False,
                },
            ),
            ("scale_by_schedule", {"step_size_fn": CHANGING_CORRECTION}),
            ("trace", {"decay": each(0.5, 0.75, 0.25)}),
            SCALE,
        ],
        1,
        "SDProp",
        {
            "learning_rate": RATE,
            "rho": stages(*CHANGING),
            "epsilon": stages(0.125, 0.5, 0.25),
            "momentum": stages(0.5, 0.75, 0.25),
        },
    ),
}

LAMB = {"b1": 0.8, "b2": 0.95, "eps": 1e-3, "weight_decay": 0.25}
#: Which axes of each tensor are inputs and outputs; None goes to AdamW.
KERNELS = [
    None,
    None,
    optax.contrib.MuonDimensionNumbers(0, 1),
    optax.contrib.MuonDimensionNumbers((0, 1, 2), 3),
    None,
]
#: optax divides the momentum by 1 - 0.75**t, which only what is beside its norm feels.
BESIDE_NORM = [1e-7 / (1 - 0.75**t) for t in range(1, STEPS + 1)]
MUON = {"nesterov": False, "muon_weight_dimension_numbers": KERNELS}
OPTAX |= {
    "lamb": (
        [("lamb", {"learning_rate": TABLE[1]["learning_rate"], **LAMB})],
        1,
        "LAMB",
        {"learning_rate": HALVED, **OUR_ADAM, "weight_decay": 0.25},
    ),
    "lamb_inside": (
        [
            (
                "lamb",
                {
                    "learning_rate": RATE,
                    "b1": 0.8,
                    "b2": 0.95,
                    "eps": 0.0,
                    "eps_root": 1e-3,
                },
            )
        ],
        1,
        "LAMB",
        {
            "learning_rate": RATE,
            **OUR_ADAM,
            "epsilon_placement": "inside",
            "weight_decay": 0.0,
        },
    ),
    "lamb_defaults": (
        [("lamb", {"learning_rate": RATE, "weight_decay": 0.01})],
        1,
        "LAMB",
        {"learning_rate": RATE},
    ),
    # Vectors stand still, since they would feel what is beside the norm, too.
    "muon": (
        [
            (
                "contrib.muon",
                {
                    "learning_rate": TABLE[1]["learning_rate"],
                    "beta": 0.75,
                    "eps": BESIDE_NORM,
                    "weight_decay": 0.25,
                    "adam_learning_rate": 0.0,
                    **MUON,
                },
            )
        ],
        1,
        "Muon",
        {
            "learning_rate": HALVED,
            "momentum": 0.75,
            "nesterov": False,
            "weight_decay": 0.25,
            "exclude_head": False,
            "adam_lr_ratio": 0.0,
        },
    ),
    "muon_moonlight": (
        [
            (
                "contrib.muon",
                {
                    "learning_rate": RATE,
                    "beta": 0.0,
                    "eps": 1e-7,
                    "ns_steps": 4,
                    "consistent_rms": 0.25,
                    "weight_decay": 0.25,
                    "adam_learning_rate": RATE / 2,
                    "adam_b1": 0.8,
                    "adam_b2": 0.9,
                    "adam_weight_decay": 0.5,
                    **MUON,
                },
            )
        ],
        1,
        "Muon",
        {
            "learning_rate": RATE,
            "momentum": 0.0,
            "nesterov": False,
            "scale": "moonlight",
            "rms_rate": 0.25,
            "ns_steps": 4,
            "weight_decay": 0.25,
            "exclude_head": False,
            "adam_lr_ratio": 0.5,
            "adam_beta_1": 0.8,
            "adam_beta_2": 0.9,
            "adam_weight_decay": 0.5,
            "epsilon": 1e-7,
        },
    ),
}

#: pytorch_optimizer's LARS has no epsilon.
PYTORCH_OPTIMIZER |= {
    "lars": (
        "LARS",
        {"lr": 0.125, "trust_coefficient": 0.25, "weight_decay": 0.25},
        STEP_LR,
        "LARS",
        {
            "learning_rate": HALVED,
            "trust_coefficient": 0.25,
            "weight_decay": 0.25,
            "epsilon": 0.0,
        },
    ),
    "lars_nesterov": (
        "LARS",
        {
            "lr": RATE,
            "momentum": 0.75,
            "nesterov": True,
            "trust_coefficient": 0.5,
            "weight_decay": 0.125,
        },
        None,
        "LARS",
        {
            "learning_rate": RATE,
            "momentum": 0.75,
            "nesterov": True,
            "trust_coefficient": 0.5,
            "weight_decay": 0.125,
            "epsilon": 0.0,
        },
    ),
}

FREE = {"warmup_steps": 5, "r": 0.5, "weight_lr_power": 1.5, "weight_decay": 0.25}
SCHEDULEFREE: dict[str, tuple[str, dict[str, Any], Any, str, dict[str, Any]]] = {
    "sgd": (
        "SGDScheduleFree",
        {"lr": RATE, "momentum": 0.75},
        None,
        "ScheduleFreeSGD",
        {"learning_rate": RATE, "beta_1": 0.75},
    ),
    "sgd_warmup": (
        "SGDScheduleFree",
        {"lr": 0.125, **FREE},
        STEP_LR,
        "ScheduleFreeSGD",
        {"learning_rate": HALVED, **FREE},
    ),
    "adamw": (
        "AdamWScheduleFree",
        {"lr": RATE, "betas": (0.8, 0.9), "eps": 1e-3},
        None,
        "ScheduleFreeAdamW",
        {"learning_rate": RATE, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
    ),
    "adamw_warmup": (
        "AdamWScheduleFree",
        {"lr": 0.125, **FREE},
        STEP_LR,
        "ScheduleFreeAdamW",
        {"learning_rate": HALVED, **FREE},
    ),
}

#: With steps of a size at which the estimate grows.
PRODIGYOPT: dict[str, tuple[str, dict[str, Any], Any, str, dict[str, Any]]] = {
    "prodigy": (
        "Prodigy",
        {"d0": RATE, "d_coef": 4.0},
        None,
        "Prodigy",
        {"d0": RATE, "d_coef": 4.0},
    ),
    "prodigy_corrected": (
        "Prodigy",
        {
            "lr": 0.5,
            "d0": RATE,
            "d_coef": 8.0,
            "betas": (0.8, 0.9),
            "eps": 1e-3,
            "use_bias_correction": True,
            "growth_rate": 1.25,
            "weight_decay": 0.125,
        },
        {"step_size": 3, "gamma": 0.5},
        "Prodigy",
        {
            "learning_rate": {
                "class": "StepDecay",
                "arguments": {
                    "initial_learning_rate": 0.5,
                    "step_size": 3,
                    "gamma": 0.5,
                },
            },
            "d0": RATE,
            "d_coef": 8.0,
            "beta_1": 0.8,
            "beta_2": 0.9,
            "epsilon": 1e-3,
            "bias_correction": True,
            "growth_rate": 1.25,
            "weight_decay": 0.125,
        },
    ),
    "prodigy_safeguarded": (
        "Prodigy",
        {
            "lr": 0.5,
            "d0": RATE,
            "d_coef": 16.0,
            "beta3": 0.75,
            "eps": 1e-3,
            "safeguard_warmup": True,
            "weight_decay": 0.25,
        },
        None,
        "Prodigy",
        {
            "learning_rate": 0.5,
            "d0": RATE,
            "d_coef": 16.0,
            "beta_3": 0.75,
            "epsilon": 1e-3,
            "safeguard_warmup": True,
            "weight_decay": 0.25,
        },
    ),
}


def main() -> None:
    """Write every file anew."""
    jax.config.update("jax_enable_x64", True)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.json"):
        path.unlink()
    weights, gradients = draw(SEED)

    def keep(
        case: str,
        reference: str,
        ours: tuple[str, dict[str, Any]],
        path: Iterable[Arrays],
        evaluated: Arrays,
    ) -> None:
        path = list(path)
        package = reference.partition(".")[0]
        head = {
            "package": package,
            "version": metadata.version(package).partition("+")[0],
            "reference": reference,
            "seed": SEED,
            "optimizer": ours[0],
            "arguments": ours[1],
            "weights": rounded(weights),
        }
        if evaluated:
            head["evaluated"] = rounded(evaluated)
        store(FOLDER / f"{package}_{case}.json", head, gradients, path)

    like_torch = (
        (torch.optim, TORCH),
        (pytorch_optimizer, PYTORCH_OPTIMIZER),
        (schedulefree, SCHEDULEFREE),
        (prodigyopt, PRODIGYOPT),
    )
    for package, cases in like_torch:
        for case, (name, arguments, step_lr, *ours) in cases.items():
            reference = call(f"{package.__name__}.{name}", arguments)
            if step_lr is not None:
                reference += ", " + call("StepLR", step_lr)
            optimizer_class = getattr(package, name)
            evaluated: Arrays = []
            path = follow_torch(
                optimizer_class, arguments, step_lr, weights, gradients, evaluated
            )
            keep(case, reference, ours, path, evaluated)
    for case, (transforms, accumulation, *ours) in OPTAX.items():
        reference = ", ".join(call_optax(n, a) for n, a in transforms)
        reference = f"optax.chain({reference})"
        if accumulation > 1:
            reference = f"optax.MultiSteps({reference}, {accumulation})"
        path = follow_optax(transforms, accumulation, weights, gradients)
        keep(case, reference, ours, path, [])


if __name__ == "__main__":
    main()
