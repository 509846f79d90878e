"""What a report consists of, before it is HTML or Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Args:
        text: What it says.
        code: Whether the text is code.
        note: What stands behind the text.
        mark: `"good"`, `"unclear"`, `"bad"` or nothing, for a colour; the words say the
            same, so that nothing is lost without colours.
    """

    text: str
    code: bool = False
    note: str = ""
    mark: str = ""


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: Its head.
        right: Whether its cells are numbers, which stand to the right.
    """

    name: str
    right: bool = False


def columns(*heads: str) -> tuple[Column, ...]:
    """Columns; a head that ends in > has its cells to the right."""
    return tuple(Column(h.removesuffix(">"), h.endswith(">")) for h in heads)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Args:
        caption: What it shows.
        columns: Its columns; the first names the row.
        rows: Cells, as many a row as there are columns.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture.

    Args:
        title: What it shows.
        text: The same for those who do not see it.
        draw: Draws it into axes of matplotlib.
        rows: Rows of a bar chart, which make the picture higher; 0 for other charts.
    """

    title: str
    text: str
    draw: Callable[[Any], Any]
    rows: int = 0


@dataclasses.dataclass(frozen=True)
class Notes:
    """Sentences, one an item of a list."""

    items: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Pictures that stand side by side where there is room."""

    items: tuple[Picture, ...]


Part = str | Table | Notes | Pictures


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report with a heading.

    Args:
        title: The heading.
        parts: Paragraphs, lists, tables and pictures.
        sections: Sections within this one.
        folded: Whether the reader opens it; details.
    """

    title: str
    parts: tuple[Part, ...] = ()
    sections: tuple[Section, ...] = ()
    folded: bool = False


@dataclasses.dataclass(frozen=True)
class Document:
    """A whole report.

    Args:
        title: Its title.
        lead: What it is about, in a sentence.
        sections: Its sections.
    """

    title: str
    lead: str
    sections: tuple[Section, ...]
