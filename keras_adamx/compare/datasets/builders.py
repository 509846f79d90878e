"""The data sets as data sets of TFDS: importing this module registers their names.

Examples are stored in blocks of a thousand, as bytes: to read 60,000 images one by one
takes longer than a training on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from keras_adamx.compare.datasets.dataset import DATASETS, Columns, Dataset, Splits

BLOCK = 1_000
# What TFDS can read without TensorFlow.
FILE_FORMAT = "array_record"


class Blocks(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Examples in blocks: each column has an axis more, of at most `BLOCK` examples."""

    VERSION = tfds.core.Version("1.0.0")

    described: ClassVar[Dataset]
    # What was read already; else the builder reads it.
    splits: Splits | None = None

    def _info(self) -> Any:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.described.description,
            homepage=self.described.homepage,
            license=self.described.licence,
            features=tfds.features.FeaturesDict(
                {
                    name: tfds.features.Tensor(
                        shape=(None, *shape), dtype=np.dtype(t), encoding="bytes"
                    )
                    for name, (t, shape) in self.described.columns.items()
                }
            ),
            # The order is that of the data set.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
        splits = self.splits or self.described.read(Path(self.data_dir))
        return {
            split: self._generate_examples(columns) for split, columns in splits.items()
        }

    def _generate_examples(self, columns: Columns) -> Iterator[tuple[int, Columns]]:
        size = len(next(iter(columns.values())))
        for begin in range(0, size, BLOCK):
            block = slice(begin, begin + BLOCK)
            yield begin, {name: values[block] for name, values in columns.items()}


def registered_name(name: str) -> str:
    """Name of a data set in TFDS, which has a fashion_mnist of its own."""
    return f"keras_adamx_{name}"


# One class a data set, which TFDS registers as it is made.
BUILDERS: dict[str, type[Blocks]] = {
    name: type(
        "".join(word.title() for word in name.split("_")),
        (Blocks,),
        {
            "__doc__": described.description,
            "__module__": __name__,
            "name": registered_name(name),
            "described": described,
        },
    )
    for name, described in DATASETS.items()
}
