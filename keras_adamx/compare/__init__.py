"""Comparing optimizers: the same data, the same budget, fresh seeds."""

from keras_adamx.compare.comparison import Comparison, compare
from keras_adamx.compare.records import Plan, Task
from keras_adamx.compare.summary import performance_profile
from keras_adamx.compare.workload import Data, Part, Workload

__all__ = [
    "Comparison",
    "Data",
    "Part",
    "Plan",
    "Task",
    "Workload",
    "compare",
    "performance_profile",
]
