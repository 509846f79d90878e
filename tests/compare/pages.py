"""Reading what a report has written: HTML and Markdown, back into tables."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """What stands in a page; an element that is not closed is an error."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.open, self.tables, self.attributes, self.tags = [], [], [], []
        self.style, self.texts, self.pictures, self._cell = "", [], [], None
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self._cell = ""
        elif tag == "svg":
            self.pictures.append([])

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("th", "td"):
            text = self._cell.replace("\N{NO-BREAK SPACE}", " ")
            self.tables[-1][-1].append(" ".join(text.split()))
            self._cell = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data
        if "style" in self.open:
            self.style += data
        elif "svg" in self.open:
            if data.strip():
                self.pictures[-1].append(data.strip())
        elif data.strip():
            self.texts.append(" ".join(data.split()))


def markdown_tables(source):
    """The tables of a Markdown text, as a reader sees them."""
    found, rows = [], None
    for line in source.splitlines():
        if not line.startswith("| "):
            rows = None
            continue
        cells = [seen(cell) for cell in re.split(r"(?<!\\) ?\| ?", line)[1:-1]]
        if rows is None:
            rows = []
            found.append(rows)
        elif set("".join(cells)) <= set("-:"):
            continue
        rows.append(cells)
    return found


def seen(text):
    """Text without the marks of Markdown."""
    parts = re.split(r"(?<![\\`])(`+) ?(.*?) ?\1(?!`)", text)
    plain = [re.sub(r"\\(.)", r"\1", part) for part in parts[::3]]
    code = [part.replace(r"\|", "|") for part in parts[2::3]]
    joined = [x for pair in zip(plain, [*code, ""]) for x in pair]
    return " ".join("".join(joined).split())
