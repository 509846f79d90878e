"""The price of diamonds: SDProp and Adastand beside Adam.

    python examples/diamonds_regression.py

A dense network learns the logarithm of the price from weight, size and grades of
43,748 diamonds.  The error is then about the relative error of the price.  Each
optimizer has a learning rate that suits it and falls to 0 along a cosine; the network
and the order of the data are the same.  Expect errors within a few percent of each
other, and other ways to get there.
"""

import math
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Before TensorFlow is imported.

import common
import keras

import keras_adamx
from keras_adamx import schedules
from keras_adamx.compare import workloads

RATES = {"adam": 3e-3, "sdprop": 4e-3, "adastand": 4e-3}


def main():
    """Trains with each optimizer, prints the errors and draws the curves."""
    args = parse_arguments()
    data = common.read(workloads.diamonds)
    steps = args.epochs * math.ceil(len(data.train.labels) / args.batch_size)
    histories, rows = {}, []
    for name in args.optimizers:
        keras.utils.set_random_seed(args.seed)
        rate = schedules.CosineWithWarmup(
            RATES[name], decay_steps=steps - steps // 20, warmup_steps=steps // 20
        )
        model = common.compile_as(
            workloads.diamonds,
            workloads.diamonds.build(),
            keras_adamx.get(name, learning_rate=rate),
        )
        history = common.fit(model, data, args, name)
        error = common.evaluate(model, data.test)["rmse"]
        first = history.history["val_rmse"][0]
        histories[name] = history
        rows.append((name, f"{RATES[name]:g}", f"{first:.4f}", f"{error:.4f}"))
    common.print_table(
        f"{args.epochs} epochs on diamonds, {keras.backend.backend()} backend",
        ("optimizer", "learning rate", "error after an epoch", "test error"),
        rows,
        caption="root of the mean squared error of the logarithm of the price",
    )
    axes = keras_adamx.plots.losses(histories, "val_rmse", log=True)
    common.save_picture(axes, args.output / "errors.png")
    return 0


def parse_arguments():
    """The command line."""
    parser = common.new_parser(
        __doc__,
        epochs=10,
        batch_size=256,
        output=pathlib.Path("build/diamonds_regression"),
    )
    parser.add_argument("--optimizers", nargs="+", choices=RATES, default=[*RATES])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
