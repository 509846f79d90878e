"""Training that is killed in the middle of an epoch, resumed to the same bits.

    python examples/resume_training.py

A process trains, and writes a checkpoint every few steps.  In the middle of an epoch
it is killed with SIGKILL, which no handler can catch: what it did since the last
checkpoint is lost.  A second process goes on from the checkpoint.  In the end it has
the weights and the optimizer state of a run that was never interrupted.

That needs three things:

* a checkpoint of weights *and* optimizer state; a `.keras` file holds both;
* batches that depend on the step alone and not on how often the process was started:
  see `data.Data.train`.  The step is in the checkpoint too, as
  `optimizer.iterations`.  (`keras.callbacks.BackupAndRestore` restarts the begun epoch
  from its first batch instead, and trains on some images once more.)
* a checkpoint that is whole or not there at all, wherever the kill falls: it is
  written beside the old one and then takes its place in one move.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Before TensorFlow is imported.

import common
import data
import keras
from rich.console import Console

# Registers the optimizer, so that `load_model` finds it without `custom_objects`.
import keras_adamx

console = Console()


class Checkpoint(keras.callbacks.Callback):
    """Saves the model every `every` steps of the optimizer."""

    def __init__(self, path, every):
        super().__init__()
        self.path, self.every = path, every

    def on_train_batch_end(self, batch, logs=None):
        """Saves, if it is time."""
        if int(self.model.optimizer.iterations) % self.every == 0:
            unfinished = self.path.with_suffix(".unfinished.keras")
            self.model.save(unfinished)
            os.replace(unfinished, self.path)


class Kill(keras.callbacks.Callback):
    """Kills this process after step `step`, without a chance to say goodbye."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        """Kills, if this is the step."""
        if int(self.model.optimizer.iterations) == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def main():
    """Kills, resumes, and compares with a run without interruption."""
    args = parse_arguments()
    common.make_deterministic(args.seed)
    dataset = data.from_arguments(args)
    if args.checkpoint:
        return train_in_child(args, dataset)

    steps = dataset.steps_per_epoch
    kill_at = args.kill_at or args.epochs // 2 * steps + steps // 2
    if not args.save_every <= kill_at < args.epochs * steps:
        raise SystemExit(
            f"error: --kill-at {kill_at} must lie between the first checkpoint, at "
            f"step {args.save_every}, and the end, at step {args.epochs * steps}."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "checkpoint.keras")

        console.print(f"A process that will be killed after step {kill_at}:")
        killed = run_child(path, "--die-at", kill_at)
        if killed.returncode != -signal.SIGKILL:
            raise SystemExit(f"error: not killed, but ended with {killed.returncode}")
        saved = int(keras.saving.load_model(path).optimizer.iterations)
        console.print(
            f"  killed by SIGKILL in epoch {(kill_at - 1) // steps + 1} of "
            f"{args.epochs}, at its step {(kill_at - 1) % steps + 1} of {steps}; the "
            f"last checkpoint is of step {saved}",
            soft_wrap=True,
        )

        console.print("A second process, from the checkpoint:")
        run_child(path).check_returncode()
        resumed = keras.saving.load_model(path)

    console.print("A run without interruption:")
    straight = train(compiled_model(args, dataset), dataset, args.epochs)

    compared = common.state_of(straight)
    different = common.different_tensors(compared, common.state_of(resumed))
    if different:
        console.print(
            f"[red]{len(different)} of {len(compared)} tensors differ:",
            ", ".join(different),
            soft_wrap=True,
        )
        return 1
    console.print(
        f"[green]{len(compared)} of {len(compared)} tensors are equal bit for bit:[/] "
        "killed and resumed = never interrupted.",
        soft_wrap=True,
    )
    return 0


def compiled_model(args, dataset):
    """A new model, always from the same initial weights."""
    model = common.build_classifier(dataset, args.seed)
    model.compile(optimizer=keras_adamx.Adam(), loss=common.classification_loss())
    return model


def train(model, dataset, epochs, callbacks=()):
    """Trains up to `epochs`, from whatever step the optimizer stands at."""
    steps = dataset.steps_per_epoch
    while (step := int(model.optimizer.iterations)) < epochs * steps:
        epoch, done = divmod(step, steps)
        # `fit` counts whole epochs. So the rest of one that was begun is a `fit` of
        # its own; usually `done` is 0 and a single call does everything.
        history = model.fit(
            dataset.train(first_step=step),
            initial_epoch=epoch,
            epochs=epoch + 1 if done else epochs,
            steps_per_epoch=steps - done,
            callbacks=list(callbacks),
            shuffle=False,
            verbose=0,
        )
        console.print(
            f"  trained from step {step} to {int(model.optimizer.iterations)}, "
            f"loss {history.history['loss'][-1]:.4f}"
        )
    return model


def run_child(path, *options):
    """Runs this script again in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--checkpoint", path, *options]
    return subprocess.run([str(part) for part in command])


def train_in_child(args, dataset):
    """What a child process does: trains on from its checkpoint, if there is one."""
    if args.checkpoint.exists():
        model = keras.saving.load_model(args.checkpoint)
    else:
        model = compiled_model(args, dataset)
    callbacks = [Checkpoint(args.checkpoint, args.save_every)]
    if args.die_at:
        callbacks.append(Kill(args.die_at))
    train(model, dataset, args.epochs, callbacks)
    model.save(args.checkpoint)
    return 0


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--save-every", type=int, default=10, help="steps")
    parser.add_argument(
        "--kill-at", type=int, help="step (default: amid an epoch in mid-run)"
    )
    # What main() tells its child processes.
    parser.add_argument("--checkpoint", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--die-at", type=int, help=argparse.SUPPRESS)
    data.add_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
