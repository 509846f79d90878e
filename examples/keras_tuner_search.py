"""Tunes learning rate, decays and epsilon of an optimizer with KerasTuner.

The ranges are those of `keras_adamx.search_space`. Trials train on a part of the
training images and are judged by the rest; the best one and the defaults then train on
all of them, and both are tested.
"""

import argparse
import sys
import tempfile

import common
import data
import keras_tuner
import numpy as np
from rich.console import Console
from rich.table import Table

import keras_adamx

HELD_OUT = 0.2  # share of the training images that judge the trials


def main():
    """Searches, trains the best and the default, and prints both."""
    args = parse_arguments()
    dataset = data.from_arguments(args)
    images = np.asarray(dataset.images, "float32") / 255.0
    labels = np.asarray(dataset.labels)
    arguments = keras_adamx.get(args.optimizer).arguments
    tuned = [n for n in arguments if is_tuned(n) and arguments[n].search is not None]
    space = keras_adamx.search_space(args.optimizer, only=tuned)

    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.BayesianOptimization(
            lambda hp: compiled(space.optimizer(hp), dataset, args.seed),
            objective=keras_tuner.Objective("val_loss", "min"),
            max_trials=args.trials,
            num_initial_points=min(args.trials, 2 * len(space)),
            seed=args.seed,
            directory=folder,
            project_name=args.optimizer,
        )
        first = round(HELD_OUT * len(labels))
        tuner.search(
            images[first:],
            labels[first:],
            validation_data=(images[:first], labels[:first]),
            batch_size=args.batch_size,
            epochs=args.epochs,
            verbose=0,
        )
        best = space.sample(tuner.get_best_hyperparameters()[0])

    console = Console()
    console.print(f"Best of {args.trials} trials:")
    for name, value in best.items():
        console.print(f"  {name} = {value:.4g}")
    table = Table(title=f"{args.optimizer} on {dataset.name}")
    for heading in ("arguments", "test accuracy", "test loss"):
        table.add_column(heading, justify="left" if heading == "arguments" else "right")
    for title, chosen in (("default", {}), ("tuned", best)):
        model = compiled(keras_adamx.get(args.optimizer, **chosen), dataset, args.seed)
        model.fit(
            images, labels, batch_size=args.batch_size, epochs=args.epochs, verbose=0
        )
        result = model.evaluate(dataset.test, verbose=0, return_dict=True)
        table.add_row(title, f"{result['accuracy']:.4f}", f"{result['loss']:.4f}")
    console.print(table)


def is_tuned(name):
    """Whether an argument is a learning rate, the decay of an average or an epsilon."""
    return name in ("learning_rate", "momentum", "rho", "epsilon") or "beta" in name


def compiled(optimizer, dataset, seed):
    """The classifier with the same initial weights every time."""
    model = common.build_classifier(dataset, seed)
    model.compile(optimizer, common.classification_loss(), metrics=["accuracy"])
    return model


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=4, help="of every training")
    parser.add_argument(
        "--optimizer", default="adam", help="any name that keras_adamx.get knows"
    )
    data.add_arguments(parser)
    args = parser.parse_args()
    if args.trials < 1 or args.epochs < 1:
        parser.error("--trials and --epochs must be at least 1.")
    return args


if __name__ == "__main__":
    sys.exit(main())
