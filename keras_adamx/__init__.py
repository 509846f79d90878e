"""Optimizers for Keras: right, safe and fast.

Importing this package registers its classes, so that models saved with them load
without `custom_objects`.
"""

from importlib.metadata import version as _version

from keras_adamx import schedules
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.optimizers import (
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Adastand,
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
    "Nadam",
    "Optimizer",
    "RMSprop",
    "SDProp",
    "get",
    "list_optimizers",
    "schedules",
]
