"""Entry of the command line: arguments, choice of the backend, errors in one line.

It stands outside of the package, whose import imports Keras and with it a backend: that
takes seconds, which `--help` has no use for, and fails where the backend of Keras is
not installed though another one is. What the commands do is `keras_adamx.cli`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, NoReturn

# In the order in which they are preferred.
BACKENDS = ("tensorflow", "jax", "torch")


class Command(NamedTuple):
    """A command of the program.

    Attributes:
        name: Its name.
        help: What it does, in one sentence.
        arguments: Adds its arguments to a parser.
        function: What runs it, as "module:function"; imported when it is run.
    """

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    function: str


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, and leave with 2."""
        raise SystemExit(fail(message))


def fail(message: object) -> int:
    """Say in one line what went wrong; the exit status for it."""
    print("keras-adamx: error:", *str(message).split(), file=sys.stderr)
    return 2


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pattern", nargs="?", default="*", help='shell pattern: "*adam*"'
    )


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of an optimizer, in any case")


def _plot_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME[=RATE]",
        help="optimizers; with a learning rate of their own: adam=0.1",
    )
    parser.add_argument(
        "--function",
        default="rosenbrock",
        help="rosenbrock, beale, rastrigin, saddle or valley (default: %(default)s)",
    )
    parser.add_argument(
        "--steps", type=int, default=200, help="number of steps (default: %(default)s)"
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        metavar="RATE",
        help="for those without a rate of their own (default: each optimizer's)",
    )
    parser.add_argument(
        "--start",
        nargs=2,
        type=float,
        metavar=("X", "Y"),
        help="where to begin (default: the usual start of the function)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help=".png, .svg, .pdf, or .gif, which moves (default: FUNCTION.png)",
    )


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workload",
        metavar="NAME[,NAME]",
        help="workloads of the package: fashion_mlp; an unknown one lists them",
    )
    parser.add_argument(
        "--model",
        metavar="MODULE:FUNCTION",
        help="in the place of a workload: what returns a new model at each call",
    )
    parser.add_argument(
        "--data", metavar="FILE", help="for --model: .npz file with inputs and labels"
    )
    parser.add_argument("--loss", help="for a --model that is not compiled")
    parser.add_argument(
        "--metric", help="for --model (default: its first, or the loss)"
    )
    parser.add_argument(
        "--optimizers",
        default="adam,sdprop,adastand,sgd,adafactor",
        metavar="NAME[,NAME]",
        help="names, with a rate of their own as adam=0.01; those of Keras as "
        "keras.AdamW (default: %(default)s)",
    )
    for name, words in (
        ("--trials", "settings each may try, 0 to tune nothing (default: 5)"),
        ("--seeds", "seeds of the runs that are reported (default: 3)"),
        ("--budget", "training steps a run (default: that of the workload)"),
        ("--batch-size", "examples a step (default: that of the workload)"),
        ("--evaluate-every", "steps between evaluations (default: an epoch)"),
        ("--jobs", "runs at a time (default: 1; with --quick 2, of two cores or more)"),
    ):
        parser.add_argument(name, type=int, metavar="N", help=words)
    parser.add_argument(
        "--tuning-seeds",
        type=int,
        default=1,
        metavar="N",
        help="seeds of the runs of a setting (default: %(default)s)",
    )
    parser.add_argument(
        "--target", type=float, metavar="VALUE", help="value of the metric to reach"
    )
    parser.add_argument(
        "--schedule",
        metavar="NAME",
        help="course of the learning rate, for all: warmup-cosine, cosine, "
        "warmup-constant or constant (default: what suits each)",
    )
    parser.add_argument(
        "--space", action="store_true", help="tune more than the learning rate"
    )
    parser.add_argument(
        "--isolate",
        action="store_true",
        help="a process for each run, so that its memory is known",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="make again the runs that failed"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a look of two minutes, no result"
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        default="comparison",
        help="folder of the records and the report (default: %(default)s)",
    )


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="runs.jsonl of a comparison, or its folder; one for each workload",
    )
    parser.add_argument(
        "--target",
        type=float,
        metavar="VALUE",
        help="another value of the metric to reach, for a single file",
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="folder of the report (default: that of a single file)",
    )


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="file that `model.save` wrote: .keras or .h5"
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        help=".npz file with arrays x and y, x_train and y_train, inputs and labels, "
        "or one for each input and output of the model by name; sample_weight",
    )
    parser.add_argument(
        "--loss",
        action="append",
        metavar="[OUTPUT=]LOSS",
        help="in the place of the compiled one: sparse_categorical_crossentropy; once "
        "for each output of several",
    )
    parser.add_argument(
        "--from-logits",
        action="store_true",
        help="the losses that are given take logits, not probabilities",
    )
    parser.add_argument(
        "--optimizer",
        metavar="NAME[=RATE]",
        help="one of `keras-adamx list` in the place of the compiled one: adam=0.001",
    )
    parser.add_argument(
        "--import",
        action="append",
        default=[],
        dest="modules",
        metavar="MODULE",
        help="import a module that defines classes of the model; may be repeated",
    )
    parser.add_argument(
        "--unsafe",
        action="store_true",
        help="load a file that holds code, as that of a Lambda layer does",
    )
    for name, default, words in (
        ("--rows", 2000, "rows to look at"),
        ("--batch-size", 128, "rows of a batch"),
        ("--seed", 0, "of the choice of rows"),
    ):
        parser.add_argument(
            name,
            type=int,
            default=default,
            metavar="N",
            help=f"{words} (default: %(default)s)",
        )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the report as JSON")
    form.add_argument("--markdown", action="store_true", help="print it as Markdown")


COMMANDS = (
    Command("list", "List the optimizers.", _list_arguments, "keras_adamx.cli:listing"),
    Command(
        "show",
        "Show an optimizer: rule, arguments, state, source.",
        _show_arguments,
        "keras_adamx.cli:show",
    ),
    Command(
        "plot",
        "Draw how optimizers descend a function of two numbers.",
        _plot_arguments,
        "keras_adamx.cli:plot",
    ),
    Command(
        "compare",
        "Train a model with several optimizers, tuned alike, and report.",
        _compare_arguments,
        "keras_adamx.compare.command:run",
    ),
    Command(
        "report",
        "Report on comparisons again, from their records.",
        _report_arguments,
        "keras_adamx.compare.command:report",
    ),
    Command(
        "doctor",
        "Look for faults of a saved model and its data; status 1 if there are some.",
        _doctor_arguments,
        "keras_adamx.doctor.command:run",
    ),
)


def parser() -> argparse.ArgumentParser:
    """The parser of the program with one of each command."""
    made = Parser(
        prog="keras-adamx",
        description="Optimizers for Keras: look them up and watch them.",
        epilog="The backend is that of KERAS_BACKEND; without it that of Keras' "
        "configuration, or the first of tensorflow, jax and torch that is installed.",
    )
    made.add_argument(
        "--version", action="version", version=f"%(prog)s {version('keras_adamx')}"
    )
    commands = made.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for command in COMMANDS:
        one = commands.add_parser(
            command.name, help=command.help, description=command.help
        )
        command.arguments(one)
        one.set_defaults(run_by=command.function)
    return made


def choose_backend() -> str:
    """The backend that Keras is to take.

    Raises:
        ImportError: KERAS_BACKEND names none that is installed, or none is.
    """
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    named = os.environ.get("KERAS_BACKEND")
    if named and named not in BACKENDS:
        raise ImportError(
            f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}. Received: {named!r}"
        )
    if (named or not installed) and named not in installed:
        wanted = named or BACKENDS[0]
        raise ImportError(
            f"the backend {wanted} is not installed: pip install "
            f"'keras_adamx[{wanted}]', or set KERAS_BACKEND to another of "
            f"{', '.join(BACKENDS)}"
        )
    return next(n for n in (named, _configured(), *installed) if n in installed)


def _configured() -> str:
    """The backend that Keras would take by itself."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    try:
        settings = json.loads((Path(home) / "keras.json").read_text("utf-8"))
        return str(settings.get("backend", BACKENDS[0]))
    except (OSError, ValueError, AttributeError):
        return BACKENDS[0]  # As Keras does with a file that it cannot read.


def run(arguments: argparse.Namespace) -> int:
    """Run the command that was parsed."""
    try:
        if "keras" not in sys.modules:
            os.environ["KERAS_BACKEND"] = choose_backend()
        # What TensorFlow says of the machine is not what was asked for.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        cli = importlib.import_module("keras_adamx.cli")
        module, _, function = arguments.run_by.partition(":")
        command = getattr(importlib.import_module(module), function)
    except ImportError as error:
        return fail(error)
    try:
        status = command(arguments)
        sys.stdout.flush()
    except cli.CommandError as error:
        return fail(error)
    return status or 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Better a question mark than a traceback where the terminal has no Greek.
        sys.stdout.reconfigure(errors="replace")
    try:
        return run(parser().parse_args(argv))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has enough. Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
