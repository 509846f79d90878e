"""The optimizers, one file a family."""

from keras_adamx.optimizers.adam import Adam, Adamax, AdamW, Nadam
from keras_adamx.optimizers.descent import SGD, Adadelta, Adagrad, RMSprop
from keras_adamx.optimizers.deviation import Adastand, SDProp
from keras_adamx.optimizers.factored import Adafactor
from keras_adamx.optimizers.sign import Lion

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Adastand",
    "Lion",
    "Nadam",
    "RMSprop",
    "SDProp",
]
