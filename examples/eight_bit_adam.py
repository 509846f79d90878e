"""Adam with state of eight bits, which a training goes on with midway.

    python examples/eight_bit_adam.py

The first half is trained with moments in float32.  Then a new Adam with
`state_dtype="int8"` takes over the state, which takes a quarter of the bytes from there
on, and trains the second half.  A second training keeps float32 throughout.  Expect
`memory_report()` to fall from 8 bytes a weight to little more than 2, and the
accuracies to be as close as those of two seeds.  Without Debian's Fashion-MNIST:
`--dataset digits`.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Before TensorFlow is imported.

import common
import keras

import keras_adamx
from keras_adamx.compare import workloads


def main():
    """Trains both ways, and prints what the state takes before and after."""
    args = parse_arguments()
    images = common.load_images(args.dataset)
    rows = []
    for name, state_dtype in (
        ("float32 throughout", "float32"),
        ("int8 from the middle on", "int8"),
    ):
        model = new_model(images, args)
        common.compile_as(
            workloads.fashion_mlp, model, keras_adamx.Adam(args.learning_rate)
        )
        common.fit(model, images, args, f"{name}, first half")
        before = model.optimizer.memory_report()

        if state_dtype != "float32":
            optimizer = keras_adamx.Adam(args.learning_rate, state_dtype=state_dtype)
            optimizer.build(model.trainable_variables)
            optimizer.import_state(model.optimizer)  # Moments, and number of steps.
            common.compile_as(workloads.fashion_mlp, model, optimizer)
        common.fit(model, images, args, f"{name}, second half")
        after = model.optimizer.memory_report()
        accuracy = common.evaluate(model, images.test)["accuracy"]
        rows.append((name, f"{after.total.bytes:,}", f"{accuracy:.4f}"))

    for title, report in (("Before", before), ("After", after)):
        common.console.rule(title)
        common.console.print(str(report), highlight=False, soft_wrap=True)
    common.print_table(
        f"{args.epochs} + {args.epochs} epochs on {images.name}",
        ("state", "bytes in the end", "test accuracy"),
        rows,
    )
    return 0 if after.total.bytes < 0.3 * before.total.bytes else 1


def new_model(images, args):
    """Dense layers, wide enough for a state that counts."""
    keras.utils.set_random_seed(args.seed)
    return keras.Sequential(
        [
            keras.Input(images.image_shape),
            keras.layers.Flatten(),
            keras.layers.Dense(512, activation="relu", name="hidden_1"),
            keras.layers.Dense(256, activation="relu", name="hidden_2"),
            keras.layers.Dense(images.num_classes, name="logits"),
        ]
    )


def parse_arguments():
    """The command line."""
    return common.new_parser(
        __doc__, images=True, epochs=2, batch_size=128, learning_rate=1e-3
    ).parse_args()


if __name__ == "__main__":
    sys.exit(main())
