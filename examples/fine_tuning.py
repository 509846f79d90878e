"""Fine-tuning with rates that fall from the head to the input.

    python examples/fine_tuning.py

A network learns five classes.  Then it is to know all ten, and there are a few pictures
of each: for a new network, for the one that knows five, with the same rate everywhere,
and with `layerwise_decay`.  Expect a layer to stay the nearer to what it was the lower
its rate is.  On Fashion-MNIST expect the new network to fall behind, and the rates that
fall to do best.  Without it: `--dataset digits`, which are too easy to show that.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Before TensorFlow is imported.

import common
import keras
import numpy as np

import keras_adamx
from keras_adamx import compare
from keras_adamx.compare import workloads

CLASSES = 5


def main():
    """Trains on some classes, and in three ways on all."""
    args = parse_arguments()
    images = common.load_images(args.dataset)
    first = first_classes(images)
    taught = new_model(first, args)
    common.compile_as(workloads.fashion_cnn, taught, keras_adamx.AdamW(2e-3))
    common.fit(taught, first, args, "pre-training")

    few = few_of_each(images, args.examples, args.seed)
    ways, moved = [], {}
    for name, start, decay in (
        ("from scratch", None, 1.0),
        ("fine-tuned, one rate", taught, 1.0),
        ("fine-tuned, rates that fall", taught, args.decay),
    ):
        model = new_model(images, args)
        if start is not None:  # All but the head, which has more classes.
            for layer, source in zip(model.layers[:-1], start.layers[:-1]):
                layer.set_weights(source.get_weights())
        groups = keras_adamx.layerwise_decay(model, decay)
        optimizer = keras_adamx.AdamW(args.learning_rate, groups=groups)
        common.compile_as(workloads.fashion_cnn, model, optimizer)
        before = model.get_weights()
        keras.utils.set_random_seed(args.seed)
        model.fit(
            *few,
            epochs=args.tuning_epochs,
            batch_size=10,
            callbacks=[common.ProgressBar(name)],
            verbose=0,
        )
        moved[name] = dict(zip((v.path for v in model.weights), shares(model, before)))
        accuracy = common.evaluate(model, images.test)["accuracy"]
        ways.append((name, f"{accuracy:.4f}"))
    factors = {e.path: e.settings.multiplier for e in optimizer.entries}

    title = f"{args.examples} pictures of each class of {images.name}"
    common.print_table(title, ("network", "test accuracy"), ways)
    _, one_rate, falling = moved.values()
    kernels = [path for path in one_rate if path.endswith("kernel")]
    common.print_table(
        "How far kernels moved, as a share of what they were",
        ("kernel", "factor of the rate", "with one rate", "with rates that fall"),
        [
            (
                path.partition("/")[2],
                f"{next(f for p, f in factors.items() if path.endswith(p)):g}",
                f"{one_rate[path]:.1%}",
                f"{falling[path]:.1%}",
            )
            for path in kernels
        ],
    )
    return 0


def first_classes(images):
    """The images of the first `CLASSES` classes."""

    def part(whole):
        chosen = whole.labels < CLASSES
        return compare.Part(whole.inputs[chosen], whole.labels[chosen])

    parts = map(part, (images.train, images.tuning, images.test))
    return common.Images(*parts, images.name, CLASSES)


def few_of_each(images, number, seed):
    """So many training examples of each class."""
    part = common.sample(images.train, len(images.train.labels), seed)
    found = [
        np.flatnonzero(part.labels == label)[:number]
        for label in range(images.num_classes)
    ]
    rows = np.concatenate(found)
    return compare.Part(part.inputs[rows], part.labels[rows])


def new_model(images, args):
    """The network, whose layers have the same names every time."""
    keras.backend.clear_session()
    return common.build_classifier(images, args.seed, strides=2)


def shares(model, before):
    """How far each of the weights moved, over its size."""
    norm = np.linalg.norm
    for new, old in zip(model.get_weights(), before):
        yield float(norm(new - old) / max(norm(old), 1e-12))


def parse_arguments():
    """The command line."""
    return common.new_parser(
        __doc__,
        images=True,
        epochs=2,
        batch_size=128,
        examples=10,
        tuning_epochs=20,
        learning_rate=3e-3,
        decay=0.5,
    ).parse_args()


if __name__ == "__main__":
    sys.exit(main())
