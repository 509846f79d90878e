"""Callbacks for `fit`."""

from keras_adamx.callbacks.doctor import Doctor
from keras_adamx.callbacks.evaluate_averaged import EvaluateAveraged
from keras_adamx.callbacks.optimizer_monitor import OptimizerMonitor

__all__ = ["Doctor", "EvaluateAveraged", "OptimizerMonitor"]
