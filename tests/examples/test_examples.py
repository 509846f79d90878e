"""Runs every example as a user does, on a small setting, and reads what it prints."""

import importlib.util
import math
import os
import re
import signal

import pytest

from tests.examples.reading import EXAMPLES, table_rows

NEEDED = (
    "keras_tuner",
    "matplotlib",
    "rich",
    "sklearn",
    "tensorflow",
    "tensorflow_datasets",
)

pytestmark = [
    pytest.mark.examples,
    pytest.mark.skipif(
        # Found, not imported: only the examples' own processes need them.
        not all(importlib.util.find_spec(module) for module in NEEDED),
        reason="needs the extra 'examples'",
    ),
]


def test_digits_classifier(run, tmp_path):
    output = run(EXAMPLES / "digits_classifier.py", "--epochs", 3, "--output", tmp_path)

    equal, compared = re.search(
        r"(\d+) of (\d+) tensors are equal bit for bit: 3 \+ 3 epochs", output
    ).groups()
    # 8 weights with two moments each, the step and the learning rate, if not more.
    assert equal == compared
    assert int(compared) >= 26

    ours, stock = table_rows(output)
    assert (ours[0], stock[0]) == ("keras_adamx adam", "keras Adam")
    for _, accuracy, milliseconds, loss in (ours, stock):
        assert float(accuracy) > 0.8
        assert float(milliseconds) > 0
        assert float(loss) < 0.3
    # The same algorithm: Keras' differs by where its epsilon stands.
    assert math.isclose(float(ours[3]), float(stock[3]), rel_tol=0.1)

    picture = tmp_path / "loss.png"
    assert f"Loss curves: {picture}" in output
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_digits_classifier_takes_any_optimizer(run, tmp_path):
    output = run(
        EXAMPLES / "digits_classifier.py",
        *("--optimizer", "adamw", "--epochs", 1, "--output", tmp_path),
    )
    assert "tensors are equal bit for bit: 1 + 1 epochs" in output
    assert table_rows(output)[0][0] == "keras_adamx adamw"


def test_custom_training_loop(run):
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        pytest.skip("GradientTape is TensorFlow's.")
    output = run(EXAMPLES / "custom_training_loop.py", "--steps", 60)

    rows = table_rows(output)
    assert [row[1] for row in rows] == ["eager", "tf.function"] * 2
    for _, _, first, last, milliseconds in rows:
        assert float(last) < 0.7 * float(first)
        assert float(milliseconds) > 0
    assert "eager against tf.function: largest difference of a weight" in output


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX only")
def test_resume_training(run):
    output = run(EXAMPLES / "resume_training.py", "--epochs", 2, "--kill-at", 58)

    assert (
        "killed by SIGKILL in epoch 2 of 2, at its step 11 of 47; the last checkpoint "
        "is of step 50"
    ) in output
    assert "trained from step 50 to 94" in output
    assert "trained from step 0 to 94" in output
    equal, compared = re.search(
        r"(\d+) of (\d+) tensors are equal bit for bit", output
    ).groups()
    assert equal == compared
    assert int(compared) >= 26


def test_keras_tuner_search(run):
    output = run(
        EXAMPLES / "keras_tuner_search.py",
        *("--trials", 3, "--epochs", 2, "--optimizer", "sgd"),
    )
    assert "Best of 3 trials:" in output
    found = dict(re.findall(r"  (\w+) = (\S+)", output))
    assert found.keys() == {"learning_rate", "momentum"}
    assert 1e-4 <= float(found["learning_rate"]) <= 10.0
    default, tuned = table_rows(output)
    assert (default[0], tuned[0]) == ("default", "tuned")
    assert float(tuned[1]) > 0.5
    assert float(tuned[2]) < float(default[2])


def test_bfloat16(run):
    output = run(EXAMPLES / "bfloat16.py", "--epochs", 4)

    rows = {(name, dtype): rest for name, dtype, *rest in table_rows(output)}
    assert len(rows) == 4
    for dtype in ("float32", "bfloat16"):
        changed, loss, accuracy = rows["keras_adamx Adam", dtype]
        assert changed == "yes"
        assert float(loss) < 0.4
        assert float(accuracy) > 0.8


def test_multi_process(run):
    output = run(EXAMPLES / "multi_process.py", "--epochs", 1)

    (one, loss, whole), (two, same, half) = table_rows(output)
    assert (one, two) == ("1", "2")
    assert abs(float(loss) - float(same)) < 1e-3
    assert float(half.replace(",", "")) < 0.51 * float(whole.replace(",", ""))
    assert float(re.search(r"tensor of the state: (\S+)", output)[1]) < 1e-5


def test_rescue(run):
    output = run(EXAMPLES / "rescue.py", "--epochs", 2)

    rows = [row for row in table_rows(output) if len(row) == 3]
    assert rows[0][0] == "as it was"
    mended = [name.removesuffix(" mended") for name, _, _ in rows[1:]]
    assert mended == [
        "outputs-activated-twice",
        "inputs-not-normalised",
        "learning-rate-too-high",
    ]
    assert all(code in rows[i][1] for i, code in enumerate(mended))
    assert rows[-1][1] == "none"
    assert float(rows[0][2]) < 0.3
    assert float(rows[-1][2]) > 0.8
    assert "follows from inputs-not-normalised" in " ".join(output.split())


def test_batches_depend_on_seed_and_step_alone(run):
    output = run(
        "-c",
        """if True:
        import itertools, keras, numpy as np, data
        def labels(seed, first_step, global_seed):
            keras.utils.set_random_seed(global_seed)
            batches = data.load(batch_size=200, seed=seed).train(first_step)
            return [y.numpy().tolist() for x, y in itertools.islice(batches, 20)]
        run = labels(seed=7, first_step=0, global_seed=1)
        later = labels(seed=7, first_step=11, global_seed=2)
        assert run[11:] == later[:9]
        assert run[:8] != run[8:16], "every epoch has an order of its own"
        assert sorted(sum(run[:8], [])) == sorted(sum(run[8:16], []))
        assert run != labels(seed=8, first_step=0, global_seed=1)
        data_ = data.load(batch_size=200)
        for x, y in (next(iter(data_.train())), next(iter(data_.test))):
            assert x.dtype == "float32" and x.shape[1:] == (8, 8, 1)
            assert x.numpy().min() == 0 and x.numpy().max() == 1
        print("checked", len(data_.labels), sum(len(y) for _, y in data_.test))
        """,
    )
    assert "checked 1500 297" in output


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("mnist", "is not prepared under"),
        ("no_such_set", "knows no data set"),
        ("glue", "is not a set of images with one label each"),
        ("titanic", "is not a set of images with one label each"),
    ],
)
def test_data_that_cannot_be_had_is_one_clear_error(run, dataset, message):
    output = run(
        "-c",
        f"""if True:
        import data
        try:
            data.load({dataset!r})
        except data.DataError as error:
            print(error)
        """,
    )
    assert message in output


def test_images_of_varying_size_get_one_size(run):
    output = run(
        "-c",
        """if True:
        import numpy as np, tensorflow_datasets as tfds, data
        class Varied(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")
            def _info(self):
                features = {
                    "picture": tfds.features.Image(shape=(None, None, 3)),
                    "kind": tfds.features.ClassLabel(num_classes=5),
                }
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(features),
                    supervised_keys=("picture", "kind"),
                )
            def _split_generators(self, dl_manager):
                splits = ("train", "validation")
                return {split: self._generate_examples() for split in splits}
            def _generate_examples(self):
                for i in range(5):
                    image = np.full((20 + i, 30, 3), 51 * i, "uint8")
                    yield i, {"picture": image, "kind": i}
        Varied(data_dir=data.DEFAULT_DATA_DIR).download_and_prepare()
        varied = data.load("varied")
        (x, y), = varied.test
        assert varied.image_shape == x.shape[1:] == (64, 64, 3), x.shape
        assert varied.num_classes == 5
        np.testing.assert_allclose(x[:, 0, 0, 0], 0.2 * y.numpy(), atol=1e-6)
        print("checked")
        """,
    )
    assert "checked" in output
