"""Finding hyperparameters: ranges to search them in, and what a search returns.

`keras_adamx.find_learning_rate` and `keras_adamx.search_space` are the two ways in.
"""

from keras_adamx.core.search import Choice, Linear, Log, OneMinusLog
from keras_adamx.tuning.curve import RangeTest
from keras_adamx.tuning.space import SearchSpace

__all__ = ["Choice", "Linear", "Log", "OneMinusLog", "RangeTest", "SearchSpace"]
