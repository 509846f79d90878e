"""Optimizers for Keras: right, safe and fast.

Importing this package registers its classes, so that models saved with them load
without `custom_objects`.
"""

from importlib.metadata import version as _version

from keras_adamx import callbacks, compare, doctor, plots, schedules, transforms, tuning
from keras_adamx.core.groups import (
    Group,
    layerwise_decay,
    no_decay_on_biases_and_norms,
)
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.migration import convert
from keras_adamx.optimizers import (
    LAMB,
    LARS,
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Adastand,
    Lion,
    Muon,
    Nadam,
    Prodigy,
    RMSprop,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    SDProp,
)
from keras_adamx.recommendation import Recommendation, recommend
from keras_adamx.registry import get, list_optimizers
from keras_adamx.tuning.finder import find_learning_rate
from keras_adamx.tuning.space import search_space

__version__ = _version("keras_adamx")

__all__ = [
    "LAMB",
    "LARS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Adastand",
    "Group",
    "Lion",
    "Muon",
    "Nadam",
    "Optimizer",
    "Prodigy",
    "RMSprop",
    "Recommendation",
    "SDProp",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "callbacks",
    "compare",
    "convert",
    "doctor",
    "find_learning_rate",
    "get",
    "layerwise_decay",
    "list_optimizers",
    "no_decay_on_biases_and_norms",
    "plots",
    "recommend",
    "schedules",
    "search_space",
    "transforms",
    "tuning",
]
