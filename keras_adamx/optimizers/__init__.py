"""The optimizers, one file a family."""

from keras_adamx.optimizers.adam import Adam, Adamax, AdamW, Nadam
from keras_adamx.optimizers.descent import SGD, Adadelta, Adagrad, RMSprop
from keras_adamx.optimizers.deviation import Adastand, SDProp
from keras_adamx.optimizers.factored import Adafactor
from keras_adamx.optimizers.layerwise import LAMB, LARS
from keras_adamx.optimizers.learning_rate_free import Prodigy
from keras_adamx.optimizers.matrix import Muon
from keras_adamx.optimizers.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from keras_adamx.optimizers.sign import Lion

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
    "Lion",
    "Muon",
    "Nadam",
    "Prodigy",
    "RMSprop",
    "SDProp",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
]
