"""The words in which a rule is written: what to import for an optimizer of your own."""

from keras_adamx.core.arguments import choice, count, decay, flag, hyperparameter, rate
from keras_adamx.core.arithmetic import (
    bias_correction,
    debias,
    denominator,
    ema,
    maximum,
    mean,
    minimum,
    norm,
    rms,
    sign,
    trust_ratio,
)
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.schedules import Schedule, steps
from keras_adamx.core.slots import Hyper, Slot, State, Weights
from keras_adamx.core.steps import Step
from keras_adamx.core.transforms import Transform

__all__ = [
    "Hyper",
    "Optimizer",
    "Schedule",
    "Slot",
    "State",
    "Step",
    "Transform",
    "Weights",
    "bias_correction",
    "choice",
    "count",
    "debias",
    "decay",
    "denominator",
    "ema",
    "flag",
    "hyperparameter",
    "maximum",
    "mean",
    "minimum",
    "norm",
    "rate",
    "rms",
    "sign",
    "steps",
    "trust_ratio",
]
