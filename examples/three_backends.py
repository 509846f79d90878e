"""One program on TensorFlow, JAX and PyTorch: the same losses.

    python examples/three_backends.py

Starts itself once for each backend that is installed.  All begin with the same weights,
which NumPy draws (Keras' initializers follow the random numbers of the backend), and
see the same batches.  Expect the same loss at every epoch to four digits or more, and
weights that differ by what rounding adds up to.
"""

import argparse
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Before TensorFlow is imported.

import numpy as np

BACKENDS = ("tensorflow", "jax", "torch")
# By how much losses may differ, relatively, and weights.
LOSSES, WEIGHTS = 1e-3, 1e-3


def main():
    """Trains on each backend, in a process of its own, and compares."""
    args = parse_arguments()
    if args.child:
        return train(args)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for backend in args.backends:
            path = pathlib.Path(folder, f"{backend}.npz")
            command = [sys.executable, __file__, *sys.argv[1:], "--child", str(path)]
            environment = {**os.environ, "KERAS_BACKEND": backend}
            subprocess.run(command, env=environment, check=True)
            found[backend] = dict(np.load(path))

    import common  # Not above: no backend is to be loaded before the others run.

    losses = [each.pop("losses") for each in found.values()]
    common.print_table(
        f"Losses of {args.optimizer}",
        ("epoch", *found),
        [
            (epoch, *(f"{loss:.6f}" for loss in each))
            for epoch, each in enumerate(zip(*losses), 1)
        ],
    )
    first, *others = (list(each.values()) for each in found.values())
    apart = max(common.largest_difference(first, other) for other in others)
    common.console.print(f"Largest difference of a weight: {apart:.1e}")
    close = all(np.allclose(losses[0], each, rtol=LOSSES, atol=0) for each in losses)
    return 0 if close and apart <= WEIGHTS else 1


def train(args):
    """What a child does: trains on its backend, and writes losses and weights."""
    import common
    import keras

    import keras_adamx
    from keras_adamx.compare import workloads

    data = common.read(workloads.digits)
    model = workloads.digits.build()
    random = np.random.default_rng(args.seed)
    for variable in model.trainable_variables:
        if len(variable.shape) == 2:  # He's initial values; biases begin at 0.
            scale = np.sqrt(2 / variable.shape[0])
            variable.assign(random.normal(scale=scale, size=variable.shape))
    # The larger epsilon keeps gradients that are nothing but rounding from becoming
    # steps of full size.
    arguments = {"epsilon": 1e-4} if args.optimizer == "adamw" else {}
    optimizer = keras_adamx.get(args.optimizer, **arguments)
    common.compile_as(workloads.digits, model, optimizer)
    history = model.fit(
        *data.train,
        epochs=args.epochs,
        batch_size=args.batch_size,
        shuffle=False,
        callbacks=[common.ProgressBar(keras.backend.backend())],
        verbose=0,
    )
    weights = {v.path: keras.ops.convert_to_numpy(v) for v in model.trainable_variables}
    np.savez(args.child, losses=history.history["loss"], **weights)
    return 0


def parse_arguments():
    """The command line; not that of `common`, which loads a backend."""
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=installed)
    parser.add_argument("--optimizer", default="adamw", help="a name of keras_adamx")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    missing = set(args.backends) - set(installed)
    if missing or len(args.backends) < 2:
        parser.error(f"needs two backends of those that are installed: {installed}")
    return args


if __name__ == "__main__":
    sys.exit(main())
