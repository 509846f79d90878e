"""Comparing optimizers: the same data, the same budget, fresh seeds."""

from keras_adamx.compare.workload import Data, Part, Workload

__all__ = ["Data", "Part", "Workload"]
