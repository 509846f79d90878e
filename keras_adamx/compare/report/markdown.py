"""A report as Markdown: the same tables and sentences, without the pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator

from keras_adamx.compare.report.content import (
    Cell,
    Document,
    Notes,
    Part,
    Pictures,
    Section,
    Table,
)

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~$&])")
_TICKS = re.compile("`+")


def render(document: Document) -> str:
    """The report as Markdown."""
    blocks = [f"# {escaped(document.title)}", escaped(document.lead)]
    for section in document.sections:
        blocks += _section(section, "##")
    return "\n\n".join(blocks) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Text as code in a cell of a table."""
    text = " ".join(text.split())
    longest = max(map(len, _TICKS.findall(text)), default=0)
    fence = "`" * (longest + 1)
    room = " " if longest else ""
    return f"{fence}{room}{text}{room}{fence}".replace("|", r"\|")


def _section(section: Section, level: str) -> Iterator[str]:
    yield f"{level} {escaped(section.title)}"
    for part in section.parts:
        if not isinstance(part, Pictures):
            yield _part(part)
    for inner in section.sections:
        yield from _section(inner, f"{level}#")


def _part(part: Part) -> str:
    if isinstance(part, Table):
        return _table(part)
    if isinstance(part, Notes):
        return "\n".join(f"- {escaped(item)}" for item in part.items)
    assert isinstance(part, str)
    return escaped(part)


def _table(table: Table) -> str:
    rules = ["---:" if column.right else "---" for column in table.columns]
    heads = [escaped(column.name) for column in table.columns]
    rows = [heads, rules, *([_cell(cell) for cell in row] for row in table.rows)]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{escaped(table.caption)}:\n\n{lines}"


def _cell(cell: Cell) -> str:
    text = code(cell.text) if cell.code else escaped(cell.text)
    return f"{text} ({escaped(cell.note)})" if cell.note else text
