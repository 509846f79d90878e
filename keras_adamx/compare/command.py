"""What `keras-adamx compare` and `keras-adamx report` do."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_adamx.cli import CommandError, arrays_of, import_from_here, reported
from keras_adamx.compare import measuring, workloads
from keras_adamx.compare.comparison import Comparison, compare
from keras_adamx.compare.contender import contenders
from keras_adamx.compare.files import File
from keras_adamx.compare.given import workload_of
from keras_adamx.compare.report import html, words
from keras_adamx.compare.report.report import Report
from keras_adamx.compare.workload import Data, Part, Workload

RECORDS = "runs.jsonl"
# Under which names arrays stand in a file, in the order in which they are taken.
INPUTS = ("inputs", "x", "x_train")
LABELS = ("labels", "y", "y_train")
TUNING = ("x_tuning", "x_val"), ("y_tuning", "y_val")
TEST = "x_test", "y_test"
# What `--quick` cuts a comparison down to.
QUICK = {"trials": 3, "seeds": 2}
QUICK_STEPS = 150


def run(arguments: argparse.Namespace) -> None:
    """Compare optimizers, and write the records and the reports into a folder."""
    with reported(ImportError):
        html.require()  # What is not installed is said before what takes hours.
    search, trials = _search(arguments)
    optimizers = _listed("--optimizers", arguments.optimizers)
    with reported(TypeError, ValueError):
        contenders(optimizers, search, trials, arguments.schedule)
    out = Path(arguments.out)
    chosen = _workloads(arguments)
    compared = []
    for workload in chosen if len(chosen) > 1 else ():
        with reported(ImportError, OSError):
            workload.data()  # What is not installed is said before the first run.
    for workload in chosen:
        folder = out / workload.name if len(chosen) > 1 else out
        with reported(OSError):
            folder.mkdir(parents=True, exist_ok=True)
        compared.append(
            _compared(
                _quick(workload, arguments),
                optimizers=optimizers,
                search=search,
                trials=trials,
                seeds=_either(
                    arguments.seeds, QUICK["seeds"] if arguments.quick else 3
                ),
                tuning_seeds=arguments.tuning_seeds,
                file=folder / RECORDS,
                jobs=_either(arguments.jobs, _quick_jobs() if arguments.quick else 1),
                schedule=arguments.schedule,
                isolate=arguments.isolate,
                retry_failed=arguments.retry_failed,
                **_given(arguments, workload),
            )
        )
    _write(Report(compared), out)


def report(arguments: argparse.Namespace) -> None:
    """Write the reports again, from files of records."""
    paths = [Path(name) for name in arguments.files]
    paths = [path / RECORDS if path.is_dir() else path for path in paths]
    if arguments.out is None and len(paths) > 1:
        raise CommandError("argument --out: is needed for a report of several files")
    with reported(OSError, ValueError):
        comparisons = [Comparison.load(path) for path in paths]
    targets = {}
    if arguments.target is not None:
        if len(comparisons) > 1:
            raise CommandError(
                "argument --target: is for the file of one workload. Received: "
                f"{len(comparisons)} files"
            )
        targets[comparisons[0].plan.task.name] = arguments.target
    with reported(ValueError):
        made = Report(comparisons, targets=targets)
    _write(made, paths[0].parent if arguments.out is None else Path(arguments.out))


def _write(made: Report, out: Path) -> None:
    """Write a report, and print what it says of each optimizer."""
    with reported(ImportError, OSError):
        written = made.write(out)
    for compared in made.compared:
        task = compared.summary.task
        for label in compared.summary.ranking:
            entry = compared.summary[label]
            fields = [task.name, label]
            if task.target is not None:
                planned = len(entry.runs) + entry.missing
                fields.append(f"{entry.reached} of {planned} at {task.target:g}")
                steps = words.to_target(entry.steps_to_target, words.count)
                fields.append(f"steps {steps}")
            best = words.spread(entry.best_value, words.metric)
            fields.append(f"best {task.metric} {best}")
            if entry.failed:
                fields.append(f"{entry.failed} failed")
            print("\t".join(fields))
        failed = [run for run in compared.runs if run.status == "failed"]
        if failed:
            print(
                f"{task.name}: {words.plural(len(failed), 'run')} failed, the first by "
                f"{failed[0].reason}. They are kept; --retry-failed makes them again."
            )
    for path in written:
        print(f"written to {path}")


def _compared(workload: Workload, **arguments: Any) -> Comparison:
    with reported(OSError, ValueError):
        File(arguments["file"]).begun()
    try:
        with reported(ImportError, OSError):
            return compare(workload, **arguments)
    except (TypeError, ValueError) as error:
        # What is wrong with the arguments is told in one line; a fault elsewhere, as in
        # the user's model, keeps its traceback.
        if not str(error).startswith("compare: "):
            raise
        said = str(error).removeprefix("compare: ").replace("`file`", "--out")
        raise CommandError(said) from error


def _either(given: Any, other: Any) -> Any:
    return other if given is None else given


def _quick_jobs() -> int:
    """Runs at a time of a quick look: most of its time is compiling, on one core."""
    return min(len(measuring.cores()), 2)


def _listed(option: str, given: str) -> list[str]:
    """Names between commas."""
    found = [name.strip() for name in given.split(",") if name.strip()]
    if not found:
        raise CommandError(f"argument {option}: must be names between commas")
    if len(set(found)) < len(found):
        raise CommandError(f"argument {option}: names one twice: {', '.join(found)}")
    return found


def _search(arguments: argparse.Namespace) -> tuple[Any, int | None]:
    """What is tuned and how often, as `compare` takes it."""
    trials = _either(arguments.trials, QUICK["trials"] if arguments.quick else 5)
    if trials == 0:
        return None, None
    if trials < 2:
        raise CommandError(
            "argument --trials: must be 0, to tune nothing, or an integer >= 2. "
            f"Received: {trials}"
        )
    return ("space", trials) if arguments.space else (trials, None)


# Workloads.


def _workloads(arguments: argparse.Namespace) -> list[Workload]:
    """What is compared on."""
    if arguments.workload is not None and arguments.model is not None:
        raise CommandError("argument --workload: cannot be given with --model")
    if arguments.workload is None and arguments.model is None:
        raise CommandError(
            "argument --workload: name what to compare on, or give --model and --data. "
            f"Workloads: {', '.join(workloads.names())}"
        )
    if arguments.model is not None:
        return [_own(arguments)]
    for option in ("data", "loss", "metric"):
        if getattr(arguments, option) is not None:
            raise CommandError(
                f"argument --{option}: is for --model; a workload has its own"
            )
    names = _listed("--workload", arguments.workload)
    if arguments.target is not None and len(names) > 1:
        raise CommandError("argument --target: is for one workload")
    with reported(ValueError):
        return [workloads.get(name) for name in names]


def _given(arguments: argparse.Namespace, workload: Workload) -> dict[str, Any]:
    """What the command line says otherwise than the workload, as `compare` takes it."""
    names = ("budget", "batch_size", "evaluate_every", "target")
    given = {name: getattr(arguments, name) for name in names}
    found = {name: value for name, value in given.items() if value is not None}
    if arguments.quick:
        budget = found.setdefault("budget", min(workload.steps, QUICK_STEPS))
        found.setdefault("evaluate_every", max(budget // 5, 1))
    return found


def _quick(workload: Workload, arguments: argparse.Namespace) -> Workload:
    """A workload that says in the plan, and so in each report, how little was done."""
    if not arguments.quick:
        return workload
    steps = words.count(_given(arguments, workload)["budget"])
    return dataclasses.replace(
        workload,
        description=f"{workload.description} A quick look: {steps} steps where "
        f"{words.count(workload.steps)} are planned, with few settings and few seeds; "
        "do not choose by it.",
    )


def _own(arguments: argparse.Namespace) -> Workload:
    """The workload of a function of the user that builds a model."""
    if arguments.data is None:
        raise CommandError("argument --data: is needed with --model")
    build = _function(arguments.model)
    data = data_of(Path(arguments.data))
    try:
        workload, _ = workload_of(
            build,
            data,
            loss=arguments.loss,
            metric=arguments.metric,
            higher_is_better=None,
            target=...,
            budget=None,
            batch_size=arguments.batch_size,
            evaluate_every=None,
            jit_compile=None,
        )
    except (TypeError, ValueError) as error:
        if not str(error).startswith("compare: "):
            raise
        raise CommandError(str(error).removeprefix("compare: ")) from error
    return workload


def _function(given: str) -> Callable[[], keras.Model]:
    """The function that MODULE:FUNCTION names."""
    module, _, name = given.partition(":")
    if not module or not name:
        raise CommandError(
            f"argument --model: must be MODULE:FUNCTION. Received: {given!r}"
        )
    if module.endswith(".py"):
        raise CommandError(
            "argument --model: must name a module, not its file: "
            f"{module.removesuffix('.py').replace('/', '.')}:{name}"
        )
    import_from_here()
    # An error within the module keeps its traceback.
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise CommandError(
            f"argument --model: there is no module {module!r} in this folder, nor one "
            "that is installed"
        )
    function: Any = getattr(importlib.import_module(module), name, None)
    if not callable(function):
        raise CommandError(f"argument --model: {module!r} has no function {name!r}")
    return function


# Data.


def data_of(path: Path) -> Any:
    """The data of a file of arrays, as `compare` takes them.

    One array of inputs and one of labels are divided into three parts by `compare`. A
    file with test data of its own keeps it; without tuning data, a random tenth of the
    training data is for tuning.
    """
    if path.suffix != ".npz":
        raise CommandError(
            f"argument --data: must be an .npz file of NumPy. Received: {str(path)!r}"
        )
    arrays = arrays_of("--data", path)
    inputs = _taken(arrays, INPUTS, "inputs")
    labels = _taken(arrays, LABELS, "labels")
    if len(inputs) != len(labels):
        raise CommandError(
            f"argument --data: {path} must have as many labels as inputs. Received: "
            f"{len(inputs)} inputs, {len(labels)} labels"
        )
    if not any(name in arrays for name in TEST):
        return inputs, labels
    test = Part(*(_taken(arrays, (name,), "test data") for name in TEST))
    if any(name in arrays for names in TUNING for name in names):
        tuning = Part(*(_taken(arrays, names, "tuning data") for names in TUNING))
        return Data(Part(inputs, labels), tuning, test)
    order = np.random.default_rng(0).permutation(len(inputs))
    held, rest = np.split(order, [max(round(0.1 * len(inputs)), 1)])
    train, tuning = (Part(inputs[rows], labels[rows]) for rows in (rest, held))
    return Data(train, tuning, test)


def _taken(
    arrays: Mapping[str, np.ndarray], names: tuple[str, ...], what: str
) -> np.ndarray:
    found = next((arrays[name] for name in names if name in arrays), None)
    if found is None:
        raise CommandError(
            f"argument --data: the file has no {what}. Allowed: {', '.join(names)}. "
            f"Received: {', '.join(arrays) or 'no array'}"
        )
    if not found.ndim:
        raise CommandError(f"argument --data: the {what} are a single number")
    return found
