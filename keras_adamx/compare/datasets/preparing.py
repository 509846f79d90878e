"""Preparing data sets, once, and reading them."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_adamx.compare.datasets.dataset import (
    DATASETS,
    SPLITS,
    Columns,
    Dataset,
    MissingDataError,
    Splits,
    digest,
    is_prepared,
)

if TYPE_CHECKING:
    from keras_adamx.compare.datasets.builders import Blocks


def names() -> list[str]:
    """Names of the data sets, sorted.

    Example:
        >>> keras_adamx.compare.datasets.names()
        ['diamonds', 'digits', 'fashion_mnist', 'king_james', 'movielens']
    """
    return sorted(DATASETS)


def prepare(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, download: bool = False
) -> Path:
    """Prepare a data set, unless it is prepared, and return its folder.

    Processes that do so at the same time do not disturb each other.

    Args:
        name: A name of `names()`.
        data_dir: Folder of the prepared data sets. Defaults to the environment
            variable `KERAS_ADAMX_DATA_DIR`, else to `~/.cache/keras_adamx/datasets`.
        download: Whether TFDS may download what no installed package brings.

    Raises:
        MissingDataError: What brings the data is not installed.
        ValueError: There is no data set of that name, or the package has other data
            than those that results were made with.

    Example:
        >>> keras_adamx.compare.datasets.prepare("digits").name
        '1.0.0'
    """
    described, root = _described(name), _root(data_dir)
    builder = _builder(described, root)
    if not is_prepared(builder):
        _prepare(described, root, Path(builder.data_dir), download)
    return Path(builder.data_dir)


def load(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> Splits:
    """Splits of a data set, as NumPy arrays by column; read once a process.

    Args:
        name: A name of `names()`.
        data_dir: As in `prepare`, which is called if need be.

    Raises:
        MissingDataError: What brings the data is not installed.
        ValueError: As in `prepare`, or the prepared files are damaged.

    Example:
        >>> splits = keras_adamx.compare.datasets.load("digits")
        >>> {split: columns["image"].shape for split, columns in splits.items()}
        {'train': (1200, 8, 8, 1), 'tuning': (297, 8, 8, 1), 'test': (300, 8, 8, 1)}
    """
    return _load(_described(name).name, _root(data_dir))


@functools.cache
def _load(name: str, root: Path) -> Splits:
    described = DATASETS[name]
    folder = prepare(name, data_dir=root)
    damaged = (
        f"The prepared data set {name!r} is damaged. Remove its folder, and it will be "
        f"prepared anew: {folder}"
    )
    try:
        builder = _builder(described, root)
        splits = {split: _columns(builder, split) for split in SPLITS}
    except MissingDataError:
        raise
    except Exception as error:  # Whatever the libraries that read raise.
        raise ValueError(damaged) from error
    if digest(splits) != described.digest:
        raise ValueError(damaged)
    return splits


def _columns(builder: Blocks, split: str) -> Columns:
    blocks = list(builder.as_data_source(split=split))
    return {name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]}


def _described(name: str) -> Dataset:
    if name not in DATASETS:
        raise ValueError(
            f"There is no data set {name!r}. Allowed: {', '.join(sorted(DATASETS))}"
        )
    return DATASETS[name]


def _root(data_dir: str | os.PathLike[str] | None) -> Path:
    default = os.environ.get("KERAS_ADAMX_DATA_DIR") or "~/.cache/keras_adamx/datasets"
    return Path(data_dir or default).expanduser().absolute()


def _builder(described: Dataset, root: Path) -> Blocks:
    try:
        # TFDS imports it for data sets that live in modules, but does not ask for it.
        import importlib_resources  # noqa: F401

        from keras_adamx.compare.datasets import builders
    except ImportError as error:
        raise MissingDataError(
            f"The data set {described.name!r} is read with TensorFlow Datasets, which "
            f"is not installed ({error}): pip install 'keras_adamx[data]'"
        ) from error
    builder: Blocks = builders.BUILDERS[described.name](
        data_dir=root, file_format=builders.FILE_FORMAT
    )
    return builder


def _prepare(described: Dataset, root: Path, folder: Path, download: bool) -> None:
    """Prepare a data set beside its folder, and move it there in one step.

    TFDS does so too, but names the folder beside by Python's random numbers: processes
    that have set the same seed would write into the same one.
    """
    # Keras' seeds come from Python's random numbers, which TFDS uses up: weights must
    # not depend on whether a data set had to be prepared.
    state = random.getstate()
    try:
        splits = described.read(root, download)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="incomplete-", dir=root) as beside:
            builder = _builder(described, Path(beside))
            builder.splits = splits
            with _silently():
                builder.download_and_prepare()
            try:
                os.rename(builder.data_dir, folder)
            except OSError:
                if not folder.is_dir():
                    raise
                # Another process was faster, with the same data.
    finally:
        random.setstate(state)


@contextlib.contextmanager
def _silently() -> Iterator[None]:
    """Keep what TFDS prints to itself: it tells of a download where there is none."""
    silence = io.StringIO()
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        yield
