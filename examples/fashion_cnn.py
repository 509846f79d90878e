"""A convolutional network, trained with a schedule that rises, stays and falls.

    python examples/fashion_cnn.py

`WarmupStableDecay` keeps the learning rate high until it is time to stop.  The same
training is run twice, with a constant rate and with the schedule: until the cool-down
they learn alike, and in the cool-down the schedule gains what a high rate cannot
reach.  Expect a better accuracy and a clearly lower loss of the schedule.  Without
Debian's Fashion-MNIST: `--dataset digits`.
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


def main():
    """Trains with both rates, prints them epoch by epoch, and draws the losses."""
    args = parse_arguments()
    images = common.load_images(args.dataset)
    steps = args.epochs * math.ceil(len(images.train.labels) / args.batch_size)
    warmup, cooldown = steps // 20, steps * 3 // 10
    schedule = schedules.WarmupStableDecay(
        args.learning_rate,
        warmup_steps=warmup,
        stable_steps=steps - warmup - cooldown,
        decay_steps=cooldown,
    )
    histories, rows = {}, []
    for name, rate in {
        "constant": args.learning_rate,
        "warmup-stable-decay": schedule,
    }.items():
        model = common.compile_as(
            workloads.fashion_cnn,
            common.build_classifier(images, args.seed, strides=2),
            keras_adamx.AdamW(rate, weight_decay=0.01),
        )
        histories[name] = common.fit(model, images, args, name)
        test = common.evaluate(model, images.test)
        rows.append((name, f"{test['loss']:.4f}", f"{test['accuracy']:.4f}"))

    constant, scheduled = (each.history for each in histories.values())
    epochs = [(i + 1, (i + 1) * steps // args.epochs) for i in range(args.epochs)]
    common.print_table(
        f"{images.name}, {keras.backend.backend()} backend",
        ("epoch", "learning rate at its end", "accuracy", "with a constant rate"),
        [
            (epoch, f"{float(schedule(step)):.2e}", f"{one:.4f}", f"{other:.4f}")
            for (epoch, step), one, other in zip(
                epochs, scheduled["val_accuracy"], constant["val_accuracy"]
            )
        ],
        caption="accuracy on the pictures for tuning",
    )
    headings = ("learning rate", "test loss", "test accuracy")
    common.print_table("In the end", headings, rows)
    axes = keras_adamx.plots.losses(histories, "val_loss", log=True)
    common.save_picture(axes, args.output / "losses.png")
    return 0


def parse_arguments():
    """The command line."""
    return common.new_parser(
        __doc__,
        images=True,
        epochs=5,
        batch_size=128,
        learning_rate=5e-3,
        output=pathlib.Path("build/fashion_cnn"),
    ).parse_args()


if __name__ == "__main__":
    sys.exit(main())
