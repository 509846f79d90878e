"""Schedule-Free: no schedule, and a good model after every epoch.

    python examples/schedule_free.py

A schedule has to know when the training ends: its accuracies rise to their best where
the rate falls to 0.  `ScheduleFreeAdamW` does not know it, and evaluates an average of
the weights instead, which the callback `EvaluateAveraged` puts in for validation and
after `fit`.  Beside it train AdamW with a cosine, and with the same constant rate.
Expect Schedule-Free to be near its end long before the cosine is, and the average to
have a lower loss than the weights that were trained.  Without Debian's Fashion-MNIST:
`--dataset digits`.
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
from keras_adamx.callbacks import EvaluateAveraged
from keras_adamx.compare import workloads


def main():
    """Trains the three, and evaluates the first with both of its weights."""
    args = parse_arguments()
    images = common.load_images(args.dataset)
    steps = args.epochs * math.ceil(len(images.train.labels) / args.batch_size)
    cosine = schedules.CosineWithWarmup(
        args.learning_rate, decay_steps=steps - steps // 20, warmup_steps=steps // 20
    )
    optimizers = {
        "Schedule-Free": keras_adamx.ScheduleFreeAdamW(
            args.learning_rate, warmup_steps=steps // 20
        ),
        "AdamW, cosine": keras_adamx.AdamW(cosine),
        "AdamW, constant rate": keras_adamx.AdamW(args.learning_rate),
    }
    histories, rows = {}, []
    for name, optimizer in optimizers.items():
        model = common.compile_as(
            workloads.fashion_mlp, new_model(images, args), optimizer
        )
        free = name == "Schedule-Free"
        callbacks = [EvaluateAveraged()] if free else []
        histories[name] = common.fit(model, images, args, name, callbacks)
        if free:  # The averages are in since `fit` ended.
            rows.append(row(f"{name}, average", model, images))
            optimizer.put_in_trained_weights()
            rows.append(row(f"{name}, as trained", model, images))
            optimizer.put_in_averaged_weights()
        else:
            rows.append(row(name, model, images))

    accuracies = [h.history["val_accuracy"] for h in histories.values()]
    common.print_table(
        f"Accuracy after each epoch on {images.name}",
        ("epoch", *histories),
        [
            (epoch, *(f"{accuracy:.4f}" for accuracy in each))
            for epoch, each in enumerate(zip(*accuracies), 1)
        ],
    )
    common.print_table("In the end", ("weights", "test loss", "test accuracy"), rows)
    axes = keras_adamx.plots.losses(histories, "val_loss", log=True)
    common.save_picture(axes, args.output / "losses.png")
    return 0


def row(name, model, images):
    """Loss and accuracy of the weights that are in."""
    test = common.evaluate(model, images.test)
    return name, f"{test['loss']:.4f}", f"{test['accuracy']:.4f}"


def new_model(images, args):
    """Two dense layers; no batch normalisation, whose statistics need more."""
    keras.utils.set_random_seed(args.seed)
    return keras.Sequential(
        [
            keras.Input(images.image_shape),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(images.num_classes),
        ]
    )


def parse_arguments():
    """The command line."""
    return common.new_parser(
        __doc__,
        images=True,
        epochs=8,
        batch_size=128,
        learning_rate=2.5e-3,
        output=pathlib.Path("build/schedule_free"),
    ).parse_args()


if __name__ == "__main__":
    sys.exit(main())
