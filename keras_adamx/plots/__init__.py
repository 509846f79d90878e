"""Pictures of training: loss curves over seeds, and trajectories on test functions.

They need matplotlib: `pip install "keras_adamx[plots]"`. What is computed, by `run`,
needs nothing.
"""

from keras_adamx.plots.curves import losses
from keras_adamx.plots.functions import Function
from keras_adamx.plots.running import Trajectories, Trajectory, run
from keras_adamx.plots.trajectories import Picture, draw, trajectory

__all__ = [
    "Function",
    "Picture",
    "Trajectories",
    "Trajectory",
    "draw",
    "losses",
    "run",
    "trajectory",
]
