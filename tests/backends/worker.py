"""Trains every optimizer on the backend at hand and stores the weights of each step.

python -m tests.backends.worker FILE
"""

import sys

import numpy as np

import keras_adamx
from tests import problem

ARGUMENTS = {"weight_decay": 0.125, "global_clipnorm": 2.0, "use_ema": True}


def main(path: str) -> None:
    """Store the trajectories of all optimizers, in float32 and bfloat16."""
    trajectories = {}
    for name in keras_adamx.list_optimizers():
        for dtype in ("float32", "bfloat16"):
            optimizer = keras_adamx.get(name, learning_rate=0.0625, **ARGUMENTS)
            trained = problem.variables(dtype=dtype)
            optimizer.build(trained)
            if optimizer.rounding_seed is not None:
                optimizer.rounding_seed.assign(7)
            for step in range(6):
                optimizer.apply(problem.gradients(step, dtype=dtype), trained)
                for i, value in enumerate(problem.values(trained)):
                    trajectories[f"{name}/{dtype}/{step}/{i}"] = value
    np.savez(path, **trajectories)


if __name__ == "__main__":
    main(sys.argv[1])
