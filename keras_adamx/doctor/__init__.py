"""Finds faults of a model, its data and its training."""

from keras_adamx.doctor.diagnose import diagnose
from keras_adamx.doctor.report import Finding, Report, Skipped
from keras_adamx.doctor.thresholds import CourseThresholds, Thresholds

__all__ = ["CourseThresholds", "Finding", "Report", "Skipped", "Thresholds", "diagnose"]
