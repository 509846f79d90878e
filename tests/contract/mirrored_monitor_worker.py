"""What callbacks see of a training on two mirrored devices, beside that on one.

python -m tests.contract.mirrored_monitor_worker
"""

import keras
import numpy as np
import tensorflow as tf

from keras_adamx.callbacks import Doctor, OptimizerMonitor
from tests.contract.mirrored_worker import data, new_model

CASES = {
    "adamw": {"global_clipnorm": 0.1, "nonfinite": "skip"},
    "sgd": {"clipnorm": 0.05, "gradient_accumulation_steps": 2},
}


class Record(keras.callbacks.Callback):
    """Keeps the logs of each batch and each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[dict[str, float]] = []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(dict(logs))


def watched(name: str, scope: tf.distribute.Strategy) -> tuple[list, list, list]:
    """Numbers of each batch, those of the epochs, and the report of the doctor."""
    arguments = CASES[name]
    keras.utils.clear_session()  # Layers are numbered from the start again.
    keras.utils.set_random_seed(5)
    with scope.scope():
        model = new_model(name, arguments)
    monitor = OptimizerMonitor(by_layer=True, slots=True)
    doctor, record = Doctor(verbose=False), Record()
    epochs = []
    # Twice: what is measured is kept from one `fit` to the next.
    for _ in range(2):
        history = model.fit(
            data("nonfinite" in arguments),
            verbose=0,
            callbacks=[monitor, doctor, record],
        )
        epochs.append({n: values[-1] for n, values in history.history.items()})
    report = doctor.report()
    return record.batches, epochs, [report.codes, report.checked]


def main() -> None:
    """Compare, and print how many numbers are the same."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, devices)
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for name in CASES:
        one, two = (
            watched(name, scope) for scope in (tf.distribute.get_strategy(), mirrored)
        )
        numbers = 0
        for ours, theirs in zip([*one[0], *one[1]], [*two[0], *two[1]], strict=True):
            assert set(ours) == set(theirs), set(ours) ^ set(theirs)
            assert {"gradient_norm", "gradient_norm/head", "clip_rate"} <= set(ours)
            for key in ours:
                np.testing.assert_allclose(
                    ours[key], theirs[key], rtol=1e-4, atol=1e-6, err_msg=key
                )
            numbers += len(ours)
        assert one[2] == two[2], (one[2], two[2])
        norms = [batch["gradient_norm"] for batch in one[0]]
        assert len({round(norm, 5) for norm in norms}) > len(norms) // 3
        skipped = one[1][-1]["skipped_steps"]
        print(name, numbers, skipped, one[1][-1]["clip_rate"], flush=True)


if __name__ == "__main__":
    main()
