"""`MirroredStrategy` of TensorFlow: two devices train one model, as one device does.

    python examples/mirrored.py

Cuts the CPU into two logical devices, each of which works on half of every batch.
Gradients are summed over the devices before they are clipped and accumulated, so that
both devices make the step that one would make.  (Keras' optimizers clip on each
device, before the sum, and cannot accumulate here.)  Expect the same losses, weights
that differ by rounding only, and the same weights on both devices.  TensorFlow,
whatever `KERAS_BACKEND` says.  On a machine with several GPUs drop `two_devices` and
call `tf.distribute.MirroredStrategy()`.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Before TensorFlow is imported.
os.environ["KERAS_BACKEND"] = "tensorflow"

import common
import numpy as np
import tensorflow as tf

import keras_adamx

# What rounding makes of sums in another order.
TOLERANCE = 1e-5


def main():
    """Trains on one device and on two, and compares."""
    args = parse_arguments()
    strategy = two_devices()  # First of all: no device may have been used before.
    images = common.load_images(args.dataset)
    models, rows = [], []
    for name, scope in (
        ("one", tf.distribute.get_strategy()),
        ("two", strategy),
    ):
        with scope.scope():
            model = common.build_classifier(images, args.seed)
            model.compile(
                # The larger epsilon keeps gradients that are nothing but rounding
                # from becoming steps of full size.
                keras_adamx.AdamW(
                    1e-3,
                    epsilon=1e-4,
                    weight_decay=0.01,
                    global_clipnorm=1.0,
                    gradient_accumulation_steps=2,
                ),
                common.classification_loss(),
                metrics=["accuracy"],
                jit_compile=False,  # Not under a strategy.
            )
        history = model.fit(
            *common.sample(images.train, args.steps * args.batch_size, args.seed),
            batch_size=args.batch_size,
            shuffle=False,
            callbacks=[common.ProgressBar(f"{name} device(s)")],
            verbose=0,
        )
        accuracy = common.evaluate(model, images.test)["accuracy"]
        loss = history.history["loss"][-1]
        rows.append((name, f"{loss:.6f}", f"{accuracy:.4f}"))
        models.append(model)
    title = f"{args.steps} steps on {images.name}"
    common.print_table(title, ("devices", "loss", "test accuracy"), rows)

    apart = common.largest_difference(*(model.get_weights() for model in models))
    common.console.print(f"Largest difference of a weight: {apart:.1e}")
    copies = [
        [each.numpy() for each in strategy.experimental_local_results(v.value)]
        for v in models[1].trainable_variables
    ]
    equal = all(len(each) == 2 and np.array_equal(*each) for each in copies)
    common.console.print(f"Both devices have the same weights: {equal}")
    return 0 if apart <= TOLERANCE and equal else 1


def two_devices():
    """A strategy for two devices, which share the CPU."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def parse_arguments():
    """The command line."""
    return common.new_parser(
        __doc__, images=True, steps=200, batch_size=128
    ).parse_args()


if __name__ == "__main__":
    sys.exit(main())
