"""Trains a convolutional classifier, and shows that nothing is lost on the way.

    python examples/digits_classifier.py

1. trains N epochs with `keras_adamx`, saves `.keras`, loads the file in a new
   process and trains N more;
2. trains 2N epochs without a break, and compares the two: every weight and every
   tensor of the optimizer's state must be equal bit for bit;
3. trains 2N epochs with `keras.optimizers.Adam` from the same initial weights on the
   same batches, and draws both loss curves.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Before TensorFlow is imported.

import common
import data
import keras
import matplotlib

# `load_model` below finds the optimizer of a saved model by its registered name.
# This import registers it; no `custom_objects` are needed.
import keras_adamx

matplotlib.use("Agg")  # Draws to files; needs no display.
from matplotlib import pyplot as plt
from rich.console import Console
from rich.table import Table

console = Console()


def main():
    """The whole demonstration; the exit code is 1 if a bit was lost."""
    args = parse_arguments()
    common.make_deterministic(args.seed)
    dataset = data.from_arguments(args)
    if args.resume_from:
        return resume(args, dataset)

    args.output.mkdir(parents=True, exist_ok=True)
    saved = args.output / "half.keras"
    ours = f"keras_adamx {args.optimizer}"
    stock = "keras Adam"
    epochs = 2 * args.epochs

    # 1. N epochs, a file, a new process, N more epochs.
    model = compiled_model(args, dataset, keras_adamx.get(args.optimizer))
    train(model, dataset, args.epochs, f"{ours}, first half")
    model.save(saved)
    resumed, resumed_losses = resume_in_new_process(saved, args)

    # 2. 2N epochs without a break.
    model = compiled_model(args, dataset, keras_adamx.get(args.optimizer))
    results = {ours: train(model, dataset, epochs, f"{ours}, no break")}
    compared = common.state_of(model)
    different = common.different_tensors(compared, common.state_of(resumed))

    # 3. Keras' own Adam: same initial weights, same batches.
    model = compiled_model(args, dataset, keras.optimizers.Adam())
    results[stock] = train(model, dataset, epochs, stock)

    console.print(result_table(results, dataset))
    picture = args.output / "loss.png"
    draw(picture, results, dataset, args.epochs, resumed_losses)
    console.print(f"Loss curves: {picture}", soft_wrap=True)

    if different:
        console.print(
            f"[red]{len(different)} of {len(compared)} tensors differ after resuming:",
            ", ".join(different),
            soft_wrap=True,
        )
        return 1
    console.print(
        f"[green]{len(compared)} of {len(compared)} tensors are equal bit for bit:"
        f"[/] {args.epochs} + {args.epochs} epochs in two processes = {epochs} epochs "
        f"in one ({len(model.weights)} weights, the rest optimizer state).",
        soft_wrap=True,
    )
    return 0


def compiled_model(args, dataset, optimizer):
    """A new model, always from the same initial weights."""
    model = common.build_classifier(dataset, args.seed)
    model.compile(
        optimizer=optimizer,
        loss=common.classification_loss(),
        metrics=["accuracy"],
    )
    return model


def train(model, dataset, epochs, description):
    """Trains up to epoch `epochs`, from wherever the optimizer stands."""
    # A loaded optimizer knows its step, and the step is all that is needed to go on:
    # the batches are a function of it (see `data.Data.train`).
    step = int(model.optimizer.iterations)
    timer = common.StepTimer()
    history = model.fit(
        dataset.train(first_step=step),
        initial_epoch=step // dataset.steps_per_epoch,
        epochs=epochs,
        steps_per_epoch=dataset.steps_per_epoch,
        callbacks=[timer, common.ProgressBar(description)],
        shuffle=False,
        verbose=0,
    )
    return {
        "losses": history.history["loss"],
        "milliseconds": timer.milliseconds,
        "accuracy": common.test_accuracy(model, dataset),
    }


def resume_in_new_process(saved, args):
    """Runs this script again, to load `saved`, train on and save the result."""
    subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--resume-from", saved], check=True
    )
    losses = json.loads((args.output / "resumed.json").read_text())
    return keras.saving.load_model(args.output / "resumed.keras"), losses


def resume(args, dataset):
    """What the new process does."""
    model = keras.saving.load_model(args.resume_from)
    description = f"{model.optimizer.name}, second half, process {os.getpid()}"
    result = train(model, dataset, 2 * args.epochs, description)
    model.save(args.output / "resumed.keras")
    (args.output / "resumed.json").write_text(json.dumps(result["losses"]))
    return 0


def result_table(results, dataset):
    """A row for each optimizer."""
    table = Table(title=f"{dataset.name}, {keras.backend.backend()} backend")
    table.add_column("optimizer")
    for heading in ("test accuracy", "ms per step", "final loss"):
        table.add_column(heading, justify="right")
    for name, result in results.items():
        table.add_row(
            name,
            f"{result['accuracy']:.4f}",
            f"{result['milliseconds']:.2f}",
            f"{result['losses'][-1]:.5f}",
        )
    table.caption = "ms per step: median, without the first epoch"
    return table


def draw(path, results, dataset, resumed_at, resumed_losses):
    """Draws the loss curves, and the points of the resumed run on top of them."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    styles = [
        {"color": "#d1495b", "linewidth": 2},
        {"color": "#30638e", "linewidth": 2, "linestyle": (0, (4, 3))},
    ]
    for (name, result), style in zip(results.items(), styles, strict=True):
        epochs = range(1, len(result["losses"]) + 1)
        axes.plot(epochs, result["losses"], label=name, **style)
    axes.plot(
        range(resumed_at + 1, resumed_at + 1 + len(resumed_losses)),
        resumed_losses,
        linestyle="none",
        marker="o",
        markersize=7,
        markerfacecolor="none",
        markeredgecolor=styles[0]["color"],
        label=f"{next(iter(results))}, resumed in a new process",
    )
    axes.axvline(resumed_at + 0.5, color="0.6", linewidth=1, linestyle=":")
    axes.annotate(
        "saved and loaded ",
        (resumed_at + 0.5, 0.04),
        xycoords=("data", "axes fraction"),
        ha="right",
        color="0.4",
        fontsize=9,
    )
    axes.set(
        title=f"Training loss on {dataset.name}",
        xlabel="epoch",
        ylabel="cross-entropy, mean of the epoch (log scale)",
        yscale="log",
    )
    axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(which="both", alpha=0.2)
    axes.legend(loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--epochs", type=int, default=10, help="N; 2N are trained (default: 10)"
    )
    parser.add_argument(
        "--optimizer", default="adam", help="any name that keras_adamx.get knows"
    )
    parser.add_argument("--output", type=pathlib.Path, default="build/demo")
    parser.add_argument("--resume-from", type=pathlib.Path, help=argparse.SUPPRESS)
    data.add_arguments(parser)
    args = parser.parse_args()
    if args.epochs < 1:
        parser.error("--epochs must be at least 1.")
    return args


if __name__ == "__main__":
    sys.exit(main())
