"""Reports of comparisons: tables, pictures, sentences."""

from keras_adamx.compare.report.pictures import plot
from keras_adamx.compare.report.report import Report

__all__ = ["Report", "plot"]
