"""What can stand before, behind and after any optimizer: `transforms=[…]`."""

from keras_adamx.transforms.averages import (
    ExponentialAverage,
    Lookahead,
    StochasticWeightAverage,
)
from keras_adamx.transforms.directions import Cautious, TrustRatio, UpdateRMSClip
from keras_adamx.transforms.gradients import (
    AdaptiveGradientClipping,
    GradientCentralization,
    GradientNoise,
    GrokFast,
)

__all__ = [
    "AdaptiveGradientClipping",
    "Cautious",
    "ExponentialAverage",
    "GradientCentralization",
    "GradientNoise",
    "GrokFast",
    "Lookahead",
    "StochasticWeightAverage",
    "TrustRatio",
    "UpdateRMSClip",
]
