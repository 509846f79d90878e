"""The command line: what it prints, and errors of one line."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

import keras_adamx
import keras_adamx_cli
from keras_adamx import cli, documentation, plots
from keras_adamx_cli import main


def failed(arguments, capsys):
    """The one line of an error."""
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith("keras-adamx: error: ")
    assert err.count("\n") == 1
    return err


def test_list_is_whole_in_a_pipe(capsys):
    assert main(["list"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == list(documentation.optimizers())
    found = {row[0]: row[1:] for row in rows}
    assert found["adam"] == [
        "adam",
        "8.000",
        "Adam: a method for stochastic optimization, arXiv:1412.6980",
    ]
    # Row and column of a kernel of 1000 by 1000, and no more.
    assert found["adafactor"][:2] == ["factored", "0.008"]
    assert found["sgd"][1] == "0.000"
    assert found["sdprop"][2].endswith("deep neural networks, arXiv:1605.09593")
    assert found["adastand"] == ["deviation", "8.000", "Ida, Fujiwara (NTT) 2018"]


def test_list_of_a_pattern(capsys):
    assert main(["list", "*LION*"]) == 0
    assert capsys.readouterr().out.startswith("lion\tsign\t4.000\t")
    assert "'zz*'" in failed(["list", "zz*"], capsys)


def test_list_on_a_terminal_folds(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["list", "l*"]) == 0
    out = capsys.readouterr().out
    assert "bytes a" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    assert "arXiv:1904.00962" in out


def test_show_says_what_the_docs_say(capsys):
    assert main(["show", "AdaStand"]) == 0
    out = capsys.readouterr().out
    assert "    v ← β₂ v + β₂ (1 - β₂) (g - m)²      with the old m\n" in out
    for heading in ("Rule", "Arguments", "State", "Source"):
        assert f"\n{heading}\n" in out
    words = " ".join(out.split())
    assert "epsilon 1e-8 a finite number >= 0" in words
    assert "β₁ in [0, 1). The authors'" in words
    assert "Ida, Fujiwara (NTT) 2018; sample packages published by NTT." in words
    for argument in keras_adamx.Adastand.arguments:
        assert argument in words


@pytest.mark.slow
def test_show_of_each(name, capsys):
    assert main(["show", name]) == 0
    assert "\nSource\n" in capsys.readouterr().out


def test_plot_writes_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = "plot sgd=0.1 sgd=0.5 lion --learning-rate 0.25 --function saddle"
    assert main([*command.split(), "--start", "-1", "0", "--steps", "2"]) == 0
    out = capsys.readouterr().out.splitlines()
    # x ← (1 - η) x, and two steps of the sign.
    assert out == [
        f"sgd=0.1\t{0.81**2 / 2:.6g}",
        f"sgd=0.5\t{0.25**2 / 2:.6g}",
        f"lion\t{0.5**2 / 2:.6g}",
        "written to saddle.png",
    ]
    assert (tmp_path / "saddle.png").read_bytes().startswith(b"\x89PNG")


def test_plot_of_a_gif_and_of_what_diverges(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plots.trajectories, "FRAMES", 2)
    out = tmp_path / "x.gif"
    assert main(["plot", "sgd=0.1", "--steps", "20", "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("sgd=0.1\tnot finite at step ")
    assert out.read_bytes().startswith(b"GIF")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "COMMAND"),
        ("lst", "'lst'"),
        ("show adm", "no optimizer 'adm'. Did you mean 'adam'"),
        ("plot", "NAME[=RATE]"),
        ("plot adm", "no optimizer 'adm'. Did you mean 'adam'"),
        ("plot adam=x", "'adam=x'"),
        ("plot adam=-1", "learning_rate"),
        ("plot adam --function rosenbrok", "Did you mean 'rosenbrock'"),
        ("plot adam --steps 0", "steps"),
        ("plot adam --steps many", "many"),
        ("plot adam --out x.jpg", ".gif, .pdf, .png, .svg. Received: 'x.jpg'"),
        ("plot adam --steps 1 --out missing/x.png", "missing/x.png"),
    ],
)
def test_errors_are_one_line(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in failed(arguments.split(), capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [("rich.console", "show adam", "cli"), ("matplotlib", "plot adam", "plots")],
)
def test_missing_extras_are_named(module, command, extra, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    assert f"pip install 'keras_adamx[{extra}]'" in failed(command.split(), capsys)


def test_faults_of_the_program_are_not_hidden(monkeypatch):
    def broken(cls):
        raise ValueError("a fault")

    monkeypatch.setattr(documentation, "state_bytes", broken)
    with pytest.raises(ValueError, match="a fault"):
        main(["list"])


def test_interrupted(monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "listing", interrupted)
    assert main(["list"]) == 130


def test_help_names_the_functions_and_the_version(capsys):
    for arguments, words in (
        (["--help"], ("list", "show", "plot", "KERAS_BACKEND")),
        (["plot", "--help"], plots.functions.FUNCTIONS),
        (["--version"], (keras_adamx.__version__,)),
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        out = capsys.readouterr().out
        assert all(word in out for word in words)


@pytest.mark.parametrize(
    ("installed", "named", "configured", "chosen"),
    [
        ("tensorflow jax torch", "torch", "jax", "torch"),
        ("tensorflow jax torch", "", "torch", "torch"),
        ("tensorflow jax torch", "", None, "tensorflow"),
        ("jax torch", "", "tensorflow", "jax"),
        ("torch", "", None, "torch"),
        ("tensorflow jax", "", "numpy", "tensorflow"),
        ("jax", "", "{", "jax"),
        ("jax", "torch", None, "keras_adamx[torch]"),
        ("jax", "numpy", None, "must be one of.*'numpy'"),
        ("", "", None, "keras_adamx[tensorflow]"),
    ],
)
def test_choice_of_the_backend(
    installed, named, configured, chosen, monkeypatch, tmp_path
):
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name in installed.split() or None
    )
    monkeypatch.setenv("KERAS_BACKEND", named)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    if configured is not None:
        text = configured if configured == "{" else f'{{"backend": "{configured}"}}'
        (tmp_path / "keras.json").write_text(text)
    if " " not in chosen and "[" not in chosen:
        assert keras_adamx_cli.choose_backend() == chosen
    else:
        with pytest.raises(ImportError, match=chosen.replace("[", r"\[")):
            keras_adamx_cli.choose_backend()


SCRIPT = """
import sys
from keras_adamx_cli import main
assert not {"keras", "keras_adamx", "tensorflow", "jax", "torch"} & set(sys.modules)
try:
    main(["--version"])
except SystemExit:
    pass
assert not {"keras", "keras_adamx", "tensorflow", "jax", "torch"} & set(sys.modules)
sys.modules["matplotlib"] = None  # As where it is not installed.
sys.exit(main(["list", "adam"]))
"""


def test_own_process_imports_nothing_before_it_must():
    worker = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert worker.returncode == 0, worker.stderr[-3000:]
    version, row = worker.stdout.splitlines()
    assert version == f"keras-adamx {keras_adamx.__version__}"
    assert row.startswith("adam\tadam\t8.000\t")


def test_a_reader_that_leaves_is_no_error(monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["list", "adam"]) == 141
    assert capsys.readouterr().err == ""
