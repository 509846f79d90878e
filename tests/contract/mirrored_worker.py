"""Compares training on two devices with training on one.

python -m tests.contract.mirrored_worker
"""

import keras
import numpy as np
import tensorflow as tf

import keras_adamx
from tests import problem

ARGUMENTS = {
    "plain": {},
    "clipped": {"global_clipnorm": 0.1},
    "accumulated": {"gradient_accumulation_steps": 2},
    "averaged": {"use_ema": True, "ema_overwrite_frequency": 2},
}


def main() -> None:
    """Print, for each optimizer, how far the weights are from those of one device."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, devices)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    x, y = problem.dataset()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
    for name in keras_adamx.list_optimizers():
        for kind, arguments in ARGUMENTS.items():
            if kind != "plain" and name != "nadam":
                continue
            weights = []
            for scope in (tf.distribute.get_strategy(), strategy):
                keras.utils.set_random_seed(5)
                with scope.scope():
                    model = problem.compiled(keras_adamx.get(name, **arguments))
                model.fit(data, epochs=2, verbose=0)
                weights.append(problem.values(model.trainable_variables))
            apart = max(np.max(np.abs(a - b)) for a, b in zip(*weights))
            print(name, kind, float(apart))


if __name__ == "__main__":
    main()
