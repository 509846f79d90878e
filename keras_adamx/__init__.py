"""Optimizers for Keras: right, safe and fast.

Importing this package registers its classes, so that models saved with them load
without `custom_objects`.
"""

from importlib.metadata import version as _version

from keras_adamx import schedules
from keras_adamx.core.groups import (
    Group,
    layerwise_decay,
    no_decay_on_biases_and_norms,
)
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.migration import convert
from keras_adamx.optimizers import (
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Adastand,
    Lion,
    Nadam,
    RMSprop,
    SDProp,
)
from keras_adamx.registry import get, list_optimizers

__version__ = _version("keras_adamx")

__all__ = [
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
    "Nadam",
    "Optimizer",
    "RMSprop",
    "SDProp",
    "convert",
    "get",
    "layerwise_decay",
    "list_optimizers",
    "no_decay_on_biases_and_norms",
    "schedules",
]
