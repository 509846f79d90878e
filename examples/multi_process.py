"""Two processes of JAX train one model, and each holds half of the optimizer's state.

    python examples/multi_process.py

Starts the processes on this machine, where they find each other through the loopback
device; on several machines, each would start its own and name the address of the
first. A process works on its share of every batch. With `shard_state=True` the moments
are divided among the processes, and so is the work of updating them; the weights are
whole everywhere. All of it must come out as it does in one process, and the file that
is saved is the same as that of one.
"""

import argparse
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

os.environ["KERAS_BACKEND"] = "jax"  # The only backend with `keras.distribution`.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Before TensorFlow is imported.
# On a CPU the processes talk through this library.
os.environ["JAX_CPU_COLLECTIVES_IMPLEMENTATION"] = "gloo"

import common
import data
import keras
import numpy as np
from keras import distribution
from rich.console import Console
from rich.table import Table

import keras_adamx

console = Console()


def main():
    """Trains in one process and in several, and compares weights and state."""
    args = parse_arguments()
    if args.rank is not None:
        return train(args)
    with tempfile.TemporaryDirectory() as folder:
        files = pathlib.Path(folder)
        run(args, 1, files)
        run(args, args.processes, files)
        numbers = {n: np.load(files / f"{n}.npz") for n in (1, args.processes)}
        alone, shared = (
            common.state_of(keras.saving.load_model(files / f"{n}.keras"))
            for n in numbers
        )
    table = Table(title=f"{args.epochs} epochs on {args.dataset}")
    for heading in ("processes", "final loss", "bytes of state a process"):
        table.add_column(heading, justify="right")
    for n, each in numbers.items():
        table.add_row(str(n), f"{each['loss']:.4f}", f"{int(each['bytes']):,}")
    console.print(table)

    apart = max(
        float(np.max(np.abs(np.subtract(*map(keras.ops.convert_to_numpy, pair)))))
        for pair in zip(alone, shared, strict=True)
    )
    console.print(
        f"Largest difference of a weight or a tensor of the state: {apart:.1e}",
        soft_wrap=True,
    )
    return 0 if apart < 1e-3 else 1


def run(args, processes, files):
    """Starts the processes and waits for them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, __file__, *sys.argv[1:], "--port", str(port)]
    command += ["--processes", str(processes), "--output", str(files)]
    children = [
        subprocess.Popen([*command, "--rank", str(rank)]) for rank in range(processes)
    ]
    try:
        if any(child.wait() for child in children):
            raise SystemExit("error: a process failed")
    finally:
        for child in children:
            child.kill()


def train(args):
    """What each process does."""
    if args.processes > 1:
        # First of all: no device may have been used before.
        distribution.initialize(
            job_addresses=f"localhost:{args.port}",
            num_processes=args.processes,
            process_id=args.rank,
        )
        # The batches below are cut already.
        distribution.set_distribution(
            distribution.DataParallel(auto_shard_dataset=False)
        )
    common.make_deterministic(args.seed)
    dataset = data.from_arguments(args)
    batches = dataset.train().map(
        lambda x, y: (x[args.rank :: args.processes], y[args.rank :: args.processes])
    )
    model = common.build_classifier(dataset, args.seed)
    model.compile(
        # The larger epsilon keeps gradients that are nothing but rounding, and so
        # differ from run to run, from becoming steps of full size.
        keras_adamx.AdamW(epsilon=1e-4, weight_decay=0.01, shard_state=True),
        common.classification_loss(),
    )
    history = model.fit(
        batches,
        epochs=args.epochs,
        steps_per_epoch=dataset.steps_per_epoch,
        shuffle=False,
        verbose=0,
    )
    # Saving gathers the state: all processes take part, one of them keeps the file.
    model.save(args.output / f"{args.processes}{'-copy' * args.rank}.keras")
    if args.rank == 0:
        held = sum(
            shard.data.nbytes
            for variable in model.optimizer.variables
            for shard in variable.value.addressable_shards
        )
        loss = history.history["loss"][-1]
        np.savez(args.output / f"{args.processes}.npz", loss=loss, bytes=held)
    return 0


def parse_arguments():
    """The options of this example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=pathlib.Path, help=argparse.SUPPRESS)
    data.add_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
