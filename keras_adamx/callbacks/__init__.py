"""Callbacks for `fit`."""

from keras_adamx.callbacks.evaluate_averaged import EvaluateAveraged

__all__ = ["EvaluateAveraged"]
