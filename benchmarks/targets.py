"""The targets of the workloads, by the rule of docs/workloads.md.

    python -m benchmarks.targets --names fashion_mlp diamonds

`keras.optimizers.AdamW` is tuned on the tuning part and trained with fresh seeds; the
target is the median of the best values on the test part, made easier by a margin. Runs
are kept in a folder, one file a workload: the same command goes on where it was
interrupted. What it prints is put into `keras_adamx/compare/workloads/` by hand.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from benchmarks import measure

# What the error (one minus an accuracy, or a loss) may be more than that of AdamW.
MARGIN = 0.01
DIGITS = 4
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="+", default=[], help="workloads; else all")
    parser.add_argument("--rates", nargs="+", type=float, default=list(RATES))
    parser.add_argument("--tuning-seeds", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=5, help="of the test")
    parser.add_argument("--budget", type=int, help="steps; else those of the workload")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--folder", type=Path, default=Path("build", "targets"))
    return parser.parse_args()


def rows(arguments: argparse.Namespace) -> list[measure.Row]:
    """A row a workload."""
    from keras_adamx.compare import workloads

    arguments.folder.mkdir(parents=True, exist_ok=True)
    names = arguments.names or workloads.names()
    return [row(workloads.get(name), arguments) for name in names]


def row(workload: Any, arguments: argparse.Namespace) -> measure.Row:
    """What AdamW reaches on a workload, and the target that follows."""
    from keras_adamx.compare import compare

    found = compare(
        workload,
        optimizers={"AdamW": "keras.AdamW"},
        search=sorted(arguments.rates),
        tuning_seeds=arguments.tuning_seeds,
        seeds=arguments.seeds,
        budget=arguments.budget,
        file=arguments.folder / f"{workload.name}.jsonl",
        jobs=arguments.jobs,
    ).summary()["AdamW"]
    values = found.best_value
    if found.settings is None or found.failed or found.missing or values is None:
        raise SystemExit(f"{workload.name}: not all runs of AdamW have finished.")
    rate = f"{found.settings['learning_rate']:g}"
    return {
        "workload": workload.name,
        "metric": workload.metric_name,
        "target now": f"{workload.target:g}",
        "target by the rule": f"{target(values.median, workload.higher_is_better):g}",
        "AdamW, median": f"{values.median:.4f}",
        "over the seeds": f"{values.low:.4f} to {values.high:.4f}",
        "learning rate": f"{rate}, at the edge" if found.at_edge else rate,
    }


def target(value: float, higher_is_better: bool) -> float:
    """A value of the metric, made easier by the margin and rounded to be easier."""
    if higher_is_better:
        eased = 1.0 - (1.0 - value) * (1.0 + MARGIN)
    else:
        eased = value * (1.0 + MARGIN)
    places = DIGITS - 1 - math.floor(math.log10(abs(eased)))
    rounded = math.floor if higher_is_better else math.ceil
    # What is a number of so many digits but for its last bit is that number.
    return rounded(round(eased * 10**places, 6)) / 10**places


if __name__ == "__main__":
    options = parse()
    measure.show("Targets", rows(options))
