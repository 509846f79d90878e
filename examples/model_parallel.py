"""`ModelParallel` of JAX: four devices hold one model, a quarter each.

    python examples/model_parallel.py

Cuts the host into four devices.  The first kernel is divided along its outputs, the
second along its inputs, so that between the two nothing has to be gathered; the state
of the optimizer is laid out as the weights are, without being told.  The same training
on one device must come out the same.  Expect weights that differ by rounding only, and
about a quarter of the bytes on each device.  JAX, whatever `KERAS_BACKEND` says.
"""

import contextlib
import os
import sys

os.environ["KERAS_BACKEND"] = "jax"  # The only backend with `keras.distribution`.
# Before JAX is imported. On accelerators, leave it out.
os.environ["XLA_FLAGS"] = " ".join(
    (os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=4")
)

import common
import keras
from keras import distribution

import keras_adamx

DEVICES = 4
# What rounding makes of sums in another order.
TOLERANCE = 1e-4


def main():
    """Trains on one device and on four, and compares."""
    args = parse_arguments()
    images = common.load_images(args.dataset)
    weights, rows = [], []
    for name, scope in (
        ("1", contextlib.nullcontext()),
        (str(DEVICES), divided().scope()),
    ):
        with scope:
            model = new_model(images, args)
            history = model.fit(
                *common.sample(images.train, args.steps * args.batch_size, args.seed),
                batch_size=args.batch_size,
                shuffle=False,
                callbacks=[common.ProgressBar(f"{name} device(s)")],
                verbose=0,
            )
            accuracy = common.evaluate(model, images.test)["accuracy"]
        rows.append(
            (
                name,
                f"{history.history['loss'][-1]:.6f}",
                f"{accuracy:.4f}",
                f"{bytes_of(model.trainable_variables):,}",
                f"{bytes_of(model.optimizer.variables):,}",
            )
        )
        weights.append(model.get_weights())
    common.print_table(
        f"{args.steps} steps on {images.name}",
        ("devices", "loss", "test accuracy", "bytes of weights", "bytes of state"),
        rows,
        caption="bytes on the first device",
    )
    apart = common.largest_difference(*weights)
    common.console.print(f"Largest difference of a weight: {apart:.1e}")
    return 0 if apart <= TOLERANCE else 1


def divided():
    """Which axis of which weights is divided among the devices."""
    mesh = distribution.DeviceMesh(
        (1, DEVICES), ("batch", "model"), distribution.list_devices()
    )
    layouts = distribution.LayoutMap(mesh)
    layouts[".*wide/kernel"] = (None, "model")
    layouts[".*wide/bias"] = ("model",)
    layouts[".*narrow/kernel"] = ("model", None)
    return distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")


def new_model(images, args):
    """A wide layer between two narrow ones."""
    keras.utils.set_random_seed(args.seed)
    model = keras.Sequential(
        [
            keras.Input(images.image_shape),
            keras.layers.Flatten(),
            keras.layers.Dense(1024, activation="relu", name="wide"),
            keras.layers.Dense(64, activation="relu", name="narrow"),
            keras.layers.Dense(images.num_classes, name="logits"),
        ]
    )
    # The larger epsilon keeps gradients that are nothing but rounding from becoming
    # steps of full size.
    optimizer = keras_adamx.AdamW(1e-3, epsilon=1e-4, weight_decay=0.01)
    model.compile(optimizer, common.classification_loss(), metrics=["accuracy"])
    return model


def bytes_of(variables):
    """What the first device holds of them."""
    return sum(v.value.addressable_shards[0].data.nbytes for v in variables)


def parse_arguments():
    """The command line."""
    return common.new_parser(
        __doc__, images=True, steps=200, batch_size=128
    ).parse_args()


if __name__ == "__main__":
    sys.exit(main())
