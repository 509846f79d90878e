"""What a data set says of itself, and what its files must be."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

# Arrays by the names of the columns, examples first.
Columns = dict[str, np.ndarray]
# Columns by the names of the splits.
Splits = dict[str, Columns]
SPLITS = ("train", "tuning", "test")


class MissingDataError(ImportError):
    """What brings a data set is not installed.

    Args:
        message: What is missing, and the command that installs it.

    Example:
        >>> try:
        ...     splits = keras_adamx.compare.datasets.load("digits")
        ... except keras_adamx.compare.datasets.MissingDataError as error:
        ...     print(error)
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


class Reader(Protocol):
    """What reads the data of a package."""

    def __call__(self, *, data_dir: Path, download: bool) -> Splits:
        """Read all.

        Args:
            data_dir: Folder of prepared data sets.
            download: Whether something may be downloaded.
        """


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Where data come from, and what they are.

    Args:
        name: Name, for `load`.
        description: What an example is, and how the splits were made.
        origin: Who made the data.
        homepage: Where they are described.
        licence: Terms of the data, and of the package that brings them.
        install: Command that installs the package.
        columns: Type and shape of an example, by column.
        digest: SHA-256 of the splits: results can be compared where data are the same.
        reader: What reads the package.
    """

    name: str
    description: str
    origin: str
    homepage: str
    licence: str
    install: str
    columns: dict[str, tuple[str, tuple[int, ...]]]
    digest: str
    reader: Reader

    def read(self, data_dir: Path, download: bool = False) -> Splits:
        """The data of the package, in splits.

        Raises:
            MissingDataError: The package is not installed.
            ValueError: It has other data than it had.
        """
        splits = self.reader(data_dir=data_dir, download=download)
        if digest(splits) != self.digest:
            raise ValueError(
                f"The data of {self.name!r} are not those that results and targets "
                f"were made with: another release of what `{self.install}` installs, "
                "or damaged files."
            )
        return splits

    def missing(self) -> MissingDataError:
        """The error where the package is not installed."""
        return MissingDataError(
            f"The data set {self.name!r} is not installed: {self.install}"
        )


def is_prepared(builder: Any) -> bool:
    """Whether a data set of TFDS is prepared; its own method warns if not."""
    return (Path(builder.data_dir) / "dataset_info.json").is_file()


def digest(splits: Splits) -> str:
    """SHA-256 of all names, types, shapes and values."""
    found = hashlib.sha256()
    for split, columns in sorted(splits.items()):
        for column, values in sorted(columns.items()):
            found.update(f"{split} {column} {values.dtype} {values.shape} ".encode())
            found.update(np.ascontiguousarray(values).data)
    return found.hexdigest()


def order(rows: np.ndarray) -> np.ndarray:
    """Numbers of the rows in an order that follows from their contents alone.

    It is as good as random, the same in whatever order a package has the rows, and
    does not change with the release of NumPy as that of a generator may.
    """
    rows = np.ascontiguousarray(rows)
    keys = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__))


def divided(columns: Columns, tuning: int, test: int) -> Splits:
    """The last rows for the test, those before for tuning, the first for training."""
    size = len(next(iter(columns.values())))
    ends = (0, size - test - tuning, size - test, size)
    return {
        split: {name: values[begin:end] for name, values in columns.items()}
        for split, begin, end in zip(SPLITS, ends, ends[1:])
    }


# The data sets by name; the modules that declare them put them here.
DATASETS: dict[str, Dataset] = {}


def dataset(
    name: str,
    *,
    description: str,
    origin: str,
    homepage: str,
    licence: str,
    install: str,
    columns: dict[str, tuple[str, tuple[int, ...]]],
    digest: str,
) -> Callable[[Reader], Reader]:
    """Put a data set into the list, by what reads it."""

    def register(reader: Reader) -> Reader:
        DATASETS[name] = Dataset(
            name=name,
            description=description,
            origin=origin,
            homepage=homepage,
            licence=licence,
            install=install,
            columns=columns,
            digest=digest,
            reader=reader,
        )
        return reader

    return register
