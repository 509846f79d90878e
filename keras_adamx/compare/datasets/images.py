"""Images: scikit-learn's digits, and Fashion-MNIST."""

from __future__ import annotations

import gzip
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_adamx.compare.datasets.dataset import (
    DATASETS,
    Columns,
    MissingDataError,
    Splits,
    dataset,
    divided,
    is_prepared,
    order,
)

# Where Debian's package, below a folder of shared data, keeps its files.
FOLDER = Path("datasets", "fashion-mnist")
FILES = {"train": "train", "test": "t10k"}
TUNING = 5_000
# The numbers in front of the values of an IDX file of images, and of one of labels.
IMAGES_MAGIC, LABELS_MAGIC = 0x803, 0x801


@dataset(
    "digits",
    description=(
        "1,797 handwritten digits of 8 × 8 pixels with 17 grey levels. 297 are for "
        "tuning, 300 for the test; which ones follows from hashes of the pictures."
    ),
    origin="E. Alpaydin and C. Kaynak, through scikit-learn",
    homepage="https://archive.ics.uci.edu/dataset/80",
    licence="CC BY 4.0; scikit-learn: BSD-3-Clause",
    install="pip install 'keras_adamx[data]'",
    columns={"image": ("uint8", (8, 8, 1)), "label": ("uint8", ())},
    digest="4844464aecd59af33ed71694b96c7f360a0725b3c37e5c94394bba2760b435f3",
)
def digits(*, data_dir: Path, download: bool) -> Splits:
    """Read scikit-learn's digits."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DATASETS["digits"].missing() from error
    found = load_digits()
    images = found.images.astype("uint8")[..., np.newaxis]
    columns = {"image": images, "label": found.target.astype("uint8")}
    return divided(_ordered(columns), 297, 300)


@dataset(
    "fashion_mnist",
    description=(
        "70,000 pictures of clothes of 28 × 28 pixels in 10 classes. The test set is "
        "that of its makers; 5,000 of their training pictures are for tuning, which "
        "ones follows from hashes of the pictures."
    ),
    origin="H. Xiao, K. Rasul and R. Vollgraf, Zalando",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    licence="MIT (Expat)",
    install="apt-get install dataset-fashion-mnist",
    columns={"image": ("uint8", (28, 28, 1)), "label": ("uint8", ())},
    digest="f926bcf83c4f8200c2a75d760980f770b5eba0973f214e9acdaf8574fed3a90b",
)
def fashion_mnist(*, data_dir: Path, download: bool) -> Splits:
    """Read the files of Debian's package, else what TFDS prepared or may download."""
    for folder in folders():
        if folder.is_dir():
            whole = {split: _of_files(folder, name) for split, name in FILES.items()}
            break
    else:
        whole = _of_tfds(data_dir, download)
    train, test = (_ordered(whole[split]) for split in ("train", "test"))
    return {**divided(train, TUNING, 0), "test": test}


def folders() -> Iterator[Path]:
    """Where the files of Debian's package may be: the folders of shared data."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    for root in (home, *shared.split(os.pathsep)):
        yield Path(root).expanduser() / FOLDER


def _ordered(columns: Columns) -> Columns:
    """The same in an order that does not depend on where the data came from."""
    positions = order(columns["image"])
    return {name: values[positions] for name, values in columns.items()}


def _of_files(folder: Path, name: str) -> Columns:
    images = _idx(folder / f"{name}-images-idx3-ubyte.gz", IMAGES_MAGIC, 3)
    labels = _idx(folder / f"{name}-labels-idx1-ubyte.gz", LABELS_MAGIC, 1)
    return {"image": images[..., np.newaxis], "label": labels}


def _idx(path: Path, magic: int, axes: int) -> np.ndarray:
    """The array of an IDX file: a number for its kind, its shape, its values."""
    content = gzip.decompress(path.read_bytes())
    found, *shape = np.frombuffer(content, ">u4", 1 + axes).tolist()
    values = np.frombuffer(content, np.uint8, offset=4 * (1 + axes))
    if found != magic or values.size != np.prod(shape):
        raise ValueError(f"{path} is damaged, or no IDX file of such data.")
    return values.reshape(shape)


def _of_tfds(data_dir: Path, download: bool) -> Splits:
    """What TFDS has prepared of its own fashion_mnist, or downloads."""
    import tensorflow_datasets as tfds

    # In the folder of our data sets, or in that of TFDS.
    builders = [tfds.builder("fashion_mnist", data_dir=d) for d in (data_dir, None)]
    builder = next(filter(is_prepared, builders), builders[0])
    if not is_prepared(builder):
        if not download:
            raise MissingDataError(
                f"{DATASETS['fashion_mnist'].missing()}. Or, with a network: "
                "keras_adamx.compare.datasets.prepare('fashion_mnist', download=True)"
            )
        _check_network(builder)
        builder.download_and_prepare()
    _keep_off_the_gpu()
    return {
        split: {name: columns[name].astype("uint8") for name in ("image", "label")}
        for split, columns in (
            (s, tfds.as_numpy(builder.as_dataset(split=s, batch_size=-1)))
            for s in FILES
        )
    }


def _keep_off_the_gpu() -> None:
    """TensorFlow only reads; it must not take the memory of another backend."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingDataError(
            "TFDS keeps fashion_mnist in files that TensorFlow reads: pip install "
            f"tensorflow. Or: {DATASETS['fashion_mnist'].install}"
        ) from error
    if keras.backend.backend() != "tensorflow":
        tf.config.set_visible_devices([], "GPU")


def _check_network(builder: Any, timeout: float = 5.0) -> None:
    """Fail at once where TFDS would try again for minutes."""
    request = urllib.request.Request(next(iter(builder.url_infos)), method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=timeout).close()
    except urllib.error.HTTPError:
        pass  # An answer, if not the file: there is a network, and TFDS says more.
    except OSError as error:
        raise MissingDataError(
            f"fashion_mnist would be downloaded from {request.host}, which cannot be "
            f"reached ({error}). Or: {DATASETS['fashion_mnist'].install}"
        ) from error
