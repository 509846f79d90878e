"""Learning-rate schedules; any optimizer of Keras takes them as well."""

from keras_adamx.core.schedules import Schedule
from keras_adamx.schedules.combined import PiecewiseInterpolated, Product, Sequential
from keras_adamx.schedules.cyclic import (
    CosineRestarts,
    Cyclic,
    OneCycle,
    OneCycleMomentum,
)
from keras_adamx.schedules.decay import REX, LinearDecay, Polynomial
from keras_adamx.schedules.plotting import plot
from keras_adamx.schedules.stepwise import MultiStepDecay, StepDecay
from keras_adamx.schedules.warmup import (
    CosineWithWarmup,
    InverseSqrt,
    LinearWarmup,
    Noam,
    WarmupStableDecay,
)

__all__ = [
    "REX",
    "CosineRestarts",
    "CosineWithWarmup",
    "Cyclic",
    "InverseSqrt",
    "LinearDecay",
    "LinearWarmup",
    "MultiStepDecay",
    "Noam",
    "OneCycle",
    "OneCycleMomentum",
    "PiecewiseInterpolated",
    "Polynomial",
    "Product",
    "Schedule",
    "Sequential",
    "StepDecay",
    "WarmupStableDecay",
    "plot",
]
