"""Comparing optimizers: the same data, the same budget, fresh seeds."""

from keras_adamx.compare import datasets, workloads
from keras_adamx.compare.comparison import Comparison, compare
from keras_adamx.compare.profile import PerformanceProfile, performance_profile
from keras_adamx.compare.records import Entry, Evaluation, Machine, Plan, Run, Task
from keras_adamx.compare.report import Report, plot
from keras_adamx.compare.summary import (
    EntrySummary,
    Spread,
    Summary,
    Trial,
)
from keras_adamx.compare.workload import Data, Part, Workload

__all__ = [
    "Comparison",
    "Data",
    "Entry",
    "EntrySummary",
    "Evaluation",
    "Machine",
    "Part",
    "PerformanceProfile",
    "Plan",
    "Report",
    "Run",
    "Spread",
    "Summary",
    "Task",
    "Trial",
    "Workload",
    "compare",
    "datasets",
    "performance_profile",
    "plot",
    "workloads",
]
