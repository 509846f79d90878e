"""Images for the examples, through TensorFlow Datasets and without a network.

`load("digits")` prepares scikit-learn's bundled handwritten digits (1,797 real
8x8 images) into TFDS' own format, once, under a cache folder; nothing is
downloaded.  `load("mnist", download=True)` takes any image classification set that
TFDS knows: image shape and number of classes are read from the builder.

    data = load("digits", batch_size=32, seed=0)
    model.fit(data.train(), steps_per_epoch=data.steps_per_epoch, epochs=4)
    model.evaluate(data.test)
"""

import argparse
import dataclasses
import os
import pathlib
import urllib.error
import urllib.request

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

if keras.backend.backend() != "tensorflow":
    # TensorFlow only reads the data then; it must not take the accelerator's memory.
    tf.config.set_visible_devices([], "GPU")

DEFAULT_DATA_DIR = pathlib.Path(
    os.environ.get("KERAS_ADAMX_DATA_DIR", "~/.cache/keras_adamx/datasets")
).expanduser()

# Height and width of the images of a data set whose images differ in size.
COMMON_SIZE = (64, 64)


class DataError(Exception):
    """A data set that cannot be had; the message says why and what to do."""


class Digits(tfds.core.GeneratorBasedBuilder):
    """Scikit-learn's digits as a TFDS data set.

    Defining the class registers its name, so that after `import data` also
    `tfds.load("digits", data_dir=...)` works.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description="1,797 handwritten digits of 8x8 pixels, 17 grey levels.",
            homepage="https://archive.ics.uci.edu/dataset/80",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        # Neighbouring digits often come from the same hand. Cutting once, without
        # shuffling, keeps most writers of the test images out of the training set.
        return {
            "train": self._generate_examples(0, 1500),
            "test": self._generate_examples(1500, 1797),
        }

    def _generate_examples(self, start, stop):
        # Imported here because it is needed only once, to prepare the data set.
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype("uint8")[..., np.newaxis]
        for i in range(start, stop):
            yield i, {"image": images[i], "label": int(digits.target[i])}


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set ready for `fit`: float32 images in [0, 1] and integer labels."""

    name: str
    images: tf.Tensor  # the training images, uint8, all of them in memory
    labels: tf.Tensor
    test: tf.data.Dataset  # of batches
    num_classes: int
    batch_size: int
    seed: int

    @property
    def image_shape(self):
        """Height, width and number of channels."""
        return tuple(self.images.shape[1:])

    @property
    def steps_per_epoch(self):
        """Number of training batches in an epoch."""
        return -(-len(self.labels) // self.batch_size)

    def train(self, first_step=0):
        """Endless training batches, from step `first_step` of the run onwards.

        What a step sees is a function of the seed and of the step alone: epoch e is
        ordered by random numbers drawn from the pair (seed, e).  `shuffle(seed=...)`
        does not give that.  It draws each new order from a counter that starts at 0
        in every process, so a resumed run would see the orders of the first epochs
        once more and drift away from an uninterrupted one.

        To resume, ask for the batches from `optimizer.iterations` on.  The stream has
        no end, so give `fit` its `steps_per_epoch`.
        """
        epoch, skipped = divmod(first_step, self.steps_per_epoch)

        def order_of(epoch):
            keys = tf.random.stateless_uniform([len(self.labels)], [self.seed, epoch])
            order = tf.argsort(keys, stable=True)
            return tf.data.Dataset.from_tensor_slices(order).batch(self.batch_size)

        def batch_of(indices):
            images = tf.gather(self.images, indices)
            return _to_float(images), tf.gather(self.labels, indices)

        return (
            tf.data.Dataset.range(epoch, tf.int64.max)
            .flat_map(order_of)
            .skip(skipped)  # of an epoch that was begun: its indices, not its images
            .map(batch_of)
            .prefetch(2)
        )


def load(name="digits", *, batch_size=32, seed=0, data_dir=None, download=False):
    """Loads an image classification data set; its training images stay in memory.

    Args:
        name: `"digits"`, or a TFDS name such as `"mnist"`, `"fashion_mnist"` or
            `"cifar10"`.
        batch_size: Images a batch; the last batch of an epoch may be smaller.
        seed: Seed of the training order.
        data_dir: Folder that keeps the prepared data set. Defaults to the
            environment variable `KERAS_ADAMX_DATA_DIR`, else to
            `~/.cache/keras_adamx/datasets`.
        download: Whether a data set that is not in `data_dir` may be downloaded.

    Returns:
        A `Data`.

    Raises:
        DataError: If the data set is unknown, is not one of images with a label, or
            is neither prepared nor to be had.
    """
    data_dir = pathlib.Path(data_dir or DEFAULT_DATA_DIR)
    builder = _prepared_builder(name, data_dir, download)
    train, test = (
        builder.as_dataset(split=split, as_supervised=True, shuffle_files=False)
        for split in _splits(builder.info)
    )
    image, label = _image_and_label(builder.info)
    if None in image.shape:
        train, test = train.map(_resize), test.map(_resize)
    images, labels = train.batch(len(train)).get_single_element()
    return Data(
        name=name,
        images=images,
        labels=labels,
        test=test.batch(256).map(lambda x, y: (_to_float(x), y)).cache(),
        num_classes=label.num_classes,
        batch_size=batch_size,
        seed=seed,
    )


def add_arguments(parser: argparse.ArgumentParser):
    """Adds the command line options that all examples share."""
    parser.add_argument(
        "--dataset",
        default="digits",
        help="digits (default, offline) or any TFDS image classification set",
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help="allow TFDS to download a set that is not prepared yet",
    )
    parser.add_argument(
        "--data-dir",
        type=pathlib.Path,
        default=DEFAULT_DATA_DIR,
        help="folder of the prepared data sets (default: %(default)s)",
    )
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)


def from_arguments(args):
    """Loads what the options of `add_arguments` ask for, or ends the program."""
    try:
        return load(
            args.dataset,
            batch_size=args.batch_size,
            seed=args.seed,
            data_dir=args.data_dir,
            download=args.download,
        )
    except DataError as error:
        raise SystemExit(f"error: {error}") from error


def _prepared_builder(name, data_dir, download):
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise DataError(f"TensorFlow Datasets knows no data set {name!r}.") from error
    _image_and_label(builder.info)  # Refuses a wrong kind of data before it is fetched.
    if builder.is_prepared():
        return builder
    if not isinstance(builder, Digits):
        if not download:
            raise DataError(
                f"{name!r} is not prepared under {data_dir}, and nothing is "
                "downloaded unasked. Repeat with --download, or use --dataset "
                "digits, which needs no network."
            )
        _check_network(builder)
    tfds.display_progress_bar(not isinstance(builder, Digits))
    builder.download_and_prepare()
    return builder


def _image_and_label(info):
    """The two features of an image classification set."""
    match info.supervised_keys:
        case (str(first), str(second)):
            image, label = info.features[first], info.features[second]
            if isinstance(image, tfds.features.Image) and isinstance(
                label, tfds.features.ClassLabel
            ):
                return image, label
    raise DataError(f"{info.name!r} is not a set of images with one label each.")


def _check_network(builder, timeout=5.0):
    """Fails at once where TFDS would retry for minutes."""
    urls = list(builder.url_infos or ["https://storage.googleapis.com"])
    request = urllib.request.Request(urls[0], method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=timeout).close()
    except urllib.error.HTTPError:
        pass  # An answer, if not the file: the network is there, TFDS will say more.
    except OSError as error:
        raise DataError(
            f"{builder.name!r} would be downloaded from {request.host}, which cannot "
            f"be reached from here ({error}). Use --dataset digits, which needs no "
            "network."
        ) from error


def _to_float(images):
    return tf.cast(images, tf.float32) / 255.0


def _resize(image, label):
    image = tf.image.resize(image, COMMON_SIZE, antialias=True)
    return tf.cast(tf.round(image), tf.uint8), label


def _splits(info):
    """Names of the splits to train on and to test on."""
    for test in ("test", "validation"):
        if "train" in info.splits and test in info.splits:
            return "train", test
    raise DataError(
        f"{info.name!r} has the splits {sorted(info.splits)}, where the examples need "
        "'train' and either 'test' or 'validation'."
    )
