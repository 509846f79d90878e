"""A training with three faults, diagnosed and mended one by one.

    python examples/rescue.py

The pixels are 0..255, the loss applies softmax to what softmax returned, and the
learning rate is far too high.  `keras_adamx.doctor.diagnose` looks before the training;
for the first fault that it names, the example does what the report advises, trains
anew and looks again, until nothing is found.
"""

import argparse
import dataclasses
import os
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Before TensorFlow is imported.

import common
import data
import keras
from rich.console import Console
from rich.table import Table

import keras_adamx

# The backend of TensorFlow notices the second softmax as well, and leaves it out.
warnings.filterwarnings("ignore", message=".*received `from_logits=True`")

console = Console()


@dataclasses.dataclass(frozen=True)
class Training:
    """What is to be trained, and how."""

    divide_by: float = 1.0
    from_logits: bool = True
    learning_rate: float = 10.0


def normalise(training):
    """Pixels in [0, 1]."""
    return dataclasses.replace(training, divide_by=255.0)


def take_probabilities(training):
    """A loss that takes what the last layer returns."""
    return dataclasses.replace(training, from_logits=False)


def slow_down(training):
    """A hundredth of the rate."""
    return dataclasses.replace(training, learning_rate=training.learning_rate / 100)


MENDED_BY = {
    "inputs-not-normalised": normalise,
    "outputs-activated-twice": take_probabilities,
    "learning-rate-too-high": slow_down,
}


def main():
    """Mends until the report is empty; the exit code is 1 if something is left."""
    args = parse_arguments()
    common.make_deterministic(args.seed)
    dataset = data.from_arguments(args)
    images = dataset.images.numpy().astype("float32")
    labels = dataset.labels.numpy().astype("int32")

    table = Table(title=f"{args.epochs} epochs on {dataset.name}")
    for heading in ("training", "findings"):
        table.add_column(heading)
    table.add_column("test accuracy", justify="right")
    training, name = Training(), "as it was"
    while True:
        model = compiled_model(training, dataset, args)
        console.rule(name)
        report = keras_adamx.doctor.diagnose(
            model, (images / training.divide_by, labels)
        )
        console.print(report)
        accuracy = accuracy_of(model, training, images, labels, dataset, args)
        table.add_row(name, ", ".join(report.codes) or "none", f"{accuracy:.4f}")
        known = [code for code in report.codes if code in MENDED_BY]
        if not known:
            break
        name = f"{known[0]} mended"
        training = MENDED_BY[known[0]](training)
    console.print(table)
    return 1 if report else 0


def compiled_model(training, dataset, args):
    """A convolutional network that ends with softmax."""
    logits = common.build_classifier(dataset, args.seed)
    model = keras.Sequential([*logits.layers, keras.layers.Softmax()])
    model.build((None, *dataset.image_shape))
    model.compile(
        optimizer=keras_adamx.SGD(training.learning_rate, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=training.from_logits
        ),
        metrics=["accuracy"],
    )
    return model


def accuracy_of(model, training, images, labels, dataset, args):
    """Trains, and returns the share of test images that are classified rightly."""
    keras.utils.set_random_seed(args.seed)
    model.fit(
        images / training.divide_by,
        labels,
        batch_size=args.batch_size,
        epochs=args.epochs,
        callbacks=[common.ProgressBar("training")],
        verbose=0,
    )
    factor = 255.0 / training.divide_by  # The test images are divided already.
    test = dataset.test.map(lambda x, y: (x * factor, y))
    return model.evaluate(test, verbose=0, return_dict=True)["accuracy"]


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    data.add_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
