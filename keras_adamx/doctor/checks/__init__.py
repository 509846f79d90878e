"""All checks, in the order in which they run: causes before what follows from them."""

# isort: off
from keras_adamx.doctor.checks import data, labels, relation
from keras_adamx.doctor.checks import initialisation, precision, learning_rate

# isort: on
from keras_adamx.doctor.registry import CHECKS

__all__ = [
    "CHECKS",
    "data",
    "initialisation",
    "labels",
    "learning_rate",
    "precision",
    "relation",
]
