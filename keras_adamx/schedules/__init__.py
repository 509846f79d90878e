"""Learning-rate schedules; any optimizer of Keras takes them as well."""

from keras_adamx.schedules.stepwise import StepDecay

__all__ = ["StepDecay"]
