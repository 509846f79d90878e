"""Every optimizer on six workloads: the runs behind docs/results.md.

    python -m benchmarks.results run --jobs 2
    python -m benchmarks.results page

The runs take hours. They are kept in `benchmarks/results`, a file a workload, and the
first command goes on where it was interrupted. The second one makes the page and the
table that `keras_adamx.recommend` reads.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
WORKLOADS = (
    "fashion_mlp",
    "diamonds",
    "movielens",
    "fashion_autoencoder",
    "fashion_cnn",
    "char_lm",
)
TUNING_SEEDS, TEST_SEEDS = 1, 3
# Each optimizer tries five learning rates a factor of about √10 apart. The default lies
# among them, where it is not known to be small for such short trainings.
ADAM = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
RATES: dict[str, tuple[float, ...]] = {
    "adadelta": (0.1, 0.3, 1.0, 3.0, 10.0),
    "adafactor": (1e-3, 3e-3, 1e-2, 3e-2, 0.1),
    "adagrad": (3e-3, 1e-2, 3e-2, 0.1, 0.3),
    "adam": ADAM,
    "adamax": ADAM,
    "adamw": ADAM,
    "adastand": ADAM,
    "keras.AdamW": ADAM,
    "keras.SGD": (0.03, 0.1, 0.3, 1.0, 3.0),
    "lamb": ADAM,
    "lars": (1.0, 3.0, 10.0, 30.0, 100.0),
    "lion": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
    "muon": (2e-3, 6e-3, 2e-2, 6e-2, 0.2),
    "nadam": ADAM,
    "prodigy": (0.1, 0.3, 1.0, 3.0, 10.0),
    "rmsprop": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "schedulefreeadamw": ADAM,
    "schedulefreesgd": (0.1, 0.3, 1.0, 3.0, 10.0),
    "sdprop": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "sgd": (0.03, 0.1, 0.3, 1.0, 3.0),
    "sgd, momentum 0.9": (3e-3, 1e-2, 3e-2, 0.1, 0.3),
}
# A loss that is a mean over all pixels, and rows of embeddings that few examples have,
# give gradients that are some ten times smaller.
SMALL_GRADIENTS = ("fashion_autoencoder", "movielens")
FOR_SMALL_GRADIENTS = {
    "keras.SGD": (0.3, 1.0, 3.0, 10.0, 30.0),
    "schedulefreesgd": (1.0, 3.0, 10.0, 30.0, 100.0),
    "sgd": (0.3, 1.0, 3.0, 10.0, 30.0),
    "sgd, momentum 0.9": (0.03, 0.1, 0.3, 1.0, 3.0),
}
AS_PUBLISHED = {"adastand, defaults": "adastand", "sdprop, defaults": "sdprop"}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="make the runs that are missing")
    run.add_argument("--names", nargs="+", default=list(WORKLOADS), help="workloads")
    run.add_argument("--jobs", type=int, default=1, help="runs at a time")
    commands.add_parser("page", help="write docs/results.md and the table")
    return parser.parse_args()


def optimizers() -> dict[str, Any]:
    """What is compared, by label."""
    import keras_adamx

    found: dict[str, Any] = {label: label for label in RATES}
    found["sgd, momentum 0.9"] = keras_adamx.SGD(momentum=0.9)
    return dict(sorted((found | AS_PUBLISHED).items()))


def searches(workload: str) -> dict[str, Any]:
    """The learning rates that each optimizer tries on a workload."""
    rates = dict(RATES)
    if workload in SMALL_GRADIENTS:
        rates |= FOR_SMALL_GRADIENTS
    return {label: list(each) for label, each in rates.items()}


def run(names: list[str], jobs: int) -> None:
    """Make the runs that are missing."""
    from keras_adamx.compare import compare, workloads

    FOLDER.mkdir(exist_ok=True)
    for name in names:
        print(f"{name}:", flush=True)
        path = FOLDER / f"{name}.jsonl"
        found = compare(
            workloads.get(name),
            optimizers=optimizers(),
            search=searches(name),
            tuning_seeds=TUNING_SEEDS,
            seeds=TEST_SEEDS,
            file=path,
            jobs=jobs,
        )
        short(found).save(path)


def short(comparison: Any) -> Any:
    """The same with six digits in the curves: what more there is, nobody reads."""

    def rounded(point: Any) -> Any:
        values = dataclasses.asdict(point).items()
        return type(point)(
            **{n: float(f"{v:.6g}") if isinstance(v, float) else v for n, v in values}
        )

    runs = [
        dataclasses.replace(run, curve=tuple(map(rounded, run.curve)))
        for run in comparison.runs
    ]
    return dataclasses.replace(comparison, runs=tuple(runs))


def main() -> None:
    """What the command line asks for."""
    arguments = parse()
    if arguments.command == "run":
        run(arguments.names, arguments.jobs)
        return
    # Not needed in the processes that make runs.
    from benchmarks import findings

    findings.write(FOLDER, WORKLOADS)


if __name__ == "__main__":
    main()
