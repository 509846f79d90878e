"""Embeddings of films, where a step touches few rows: Adam with `sparse="lazy"`.

    python examples/sparse_embeddings.py

A batch of ratings looks up some hundreds of 9,066 films.  On TensorFlow the gradient
has these rows only.  Dense Adam, whose momentum goes on, moves every film that was ever
looked up; lazy Adam moves the films of the batch, and does the work of their rows.
Expect the number of rows that one step moves to differ greatly, and the error little;
the larger the table, the more time it saves.

JAX and PyTorch differentiate look-ups to dense gradients.  There `sparse="lazy"`
changes nothing, and the example shows that as well.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Before TensorFlow is imported.

import common
import keras
import numpy as np

import keras_adamx
from keras_adamx.compare import workloads


def main():
    """Trains in both ways; the exit code is 1 if lazy Adam moved another row."""
    args = parse_arguments()
    data = common.read(workloads.movielens)
    rows, moved = [], {}
    size = args.steps * args.batch_size
    # One batch more, for a last step whose rows are counted.
    ratings = common.sample(data.train, size + args.batch_size, args.seed)
    last = keras.tree.map_structure(lambda x: x[size:], ratings.inputs)
    looked_up = set(last["film"].tolist())
    for sparse in ("dense", "lazy"):
        keras.utils.set_random_seed(args.seed)
        optimizer = keras_adamx.Adam(args.learning_rate, sparse=sparse)
        model = common.compile_as(
            workloads.movielens, workloads.movielens.build(), optimizer
        )
        timer = common.StepTimer(skipped_epochs=0)
        model.fit(
            keras.tree.map_structure(lambda x: x[:size], ratings.inputs),
            ratings.labels[:size],
            batch_size=args.batch_size,
            shuffle=False,
            callbacks=[timer, common.ProgressBar(f'sparse="{sparse}"')],
            verbose=0,
        )
        films = model.get_layer("embedding_of_film")
        before = films.get_weights()[0]
        model.train_on_batch(last, ratings.labels[size:])
        changed = np.any(films.get_weights()[0] != before, axis=1)
        moved[sparse] = set(np.flatnonzero(changed).tolist())
        error = common.evaluate(model, data.test)["rmse"]
        rows.append(
            (sparse, len(moved[sparse]), f"{error:.4f}", f"{timer.milliseconds:.2f}")
        )
    backend = keras.backend.backend()
    common.print_table(
        f"{args.steps} steps on MovieLens, {backend} backend",
        ("sparse", "films moved by the last step", "test error in stars", "ms a step"),
        rows,
        caption=f"{len(looked_up)} films are in the last batch; ms: median",
    )
    if backend != "tensorflow":
        common.console.print(
            f"On {backend} the gradients of look-ups are dense: both are the same.",
            soft_wrap=True,
        )
        return 0 if moved["lazy"] == moved["dense"] else 1
    return 0 if moved["lazy"] <= looked_up else 1


def parse_arguments():
    """The command line."""
    return common.new_parser(
        __doc__, steps=600, batch_size=256, learning_rate=2e-3
    ).parse_args()


if __name__ == "__main__":
    sys.exit(main())
