"""Pictures of matplotlib as SVG that stands within an HTML page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from keras_adamx.plots.style import COLOURS, pyplot

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
# About the width of a phone, in points; the page makes it wider where there is room.
WIDTH = 340.0
HEIGHT = 230.0
ROW = 19.0
_LONG = re.compile(r"-?\d+\.\d{2,}(?:e-?\d+)?")
# Up to matplotlib 3.10 in one, "font: 9px names", later apart.
_FONT = re.compile(r"(font-family:|font: (?:\w+ )*[\d.]+px) [^;]+")
_REFERENCE = re.compile(r"#([\w.-]+)")


def inline(
    draw: Callable[[Any], Any], title: str, text: str, name: str, rows: int = 0
) -> str:
    """A picture as an SVG element whose colours are those of the page.

    Args:
        draw: Draws into axes.
        title: Title of the picture.
        text: What it shows, for those who do not see it.
        name: What tells its identifiers from those of other pictures.
        rows: Rows of a bar chart.
    """
    pyplot()  # One clear error where matplotlib is missing.
    import matplotlib
    from matplotlib.figure import Figure

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": 9.0,
        "axes.linewidth": 0.7,
        "hatch.linewidth": 0.6,
        "text.usetex": False,
    }
    output = io.StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # The page stays the same whatever the user has set.
        matplotlib.rcParams.update(settings)
        # The fonts of the reader draw what matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        height = HEIGHT if not rows else 60.0 + ROW * rows
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        _legend_below(figure, axes)
        figure.savefig(output, format="svg", transparent=True, metadata={"Date": None})
    return _for_the_page(output.getvalue(), title, text, name)


def _legend_below(figure: Any, axes: Any) -> None:
    """Put the legend under the axes, and make the figure higher by its rows."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    columns = 2 if len(handles) > 1 else 1
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + (12.5 * rows + 8.0) / 72)
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8,
        borderaxespad=0.0,
    )


def _for_the_page(source: str, title: str, text: str, name: str) -> str:
    # What matplotlib has just written; no document from elsewhere is parsed.
    root = ElementTree.fromstring(source)
    for parent in list(root.iter()):
        for child in list(parent):
            # Its style would be that of the whole page.
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    used = {
        found
        for element in root.iter()
        for value in element.attrib.values()
        for found in _REFERENCE.findall(value)
    }
    for element in root.iter():
        # Line breaks between elements, which nothing shows.
        if element.text and "\n" in element.text:
            element.text = element.text.strip()
        if element.tail:
            element.tail = element.tail.strip("\n ")
        for key, value in list(element.attrib.items()):
            if key == "id" and value not in used:
                del element.attrib[key]
            elif key == "d":
                element.attrib[key] = _path(_attribute(value))
            else:
                element.attrib[key] = _attribute(value)
    for key in ("width", "height"):
        root.attrib.pop(key, None)
    root.attrib["style"] = "stroke-linejoin: round; stroke-linecap: butt"
    root.attrib["role"] = "img"
    root.attrib["aria-labelledby"] = f"{name}-title {name}-text"
    for place, (tag, words) in enumerate((("title", title), ("desc", text))):
        kind = "title" if tag == "title" else "text"
        element = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{name}-{kind}"})
        element.text = words
        root.insert(place, element)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _attribute(value: str) -> str:
    """An attribute with short numbers and with the colours and fonts of the page."""
    value = _LONG.sub(lambda found: f"{float(found[0]):.1f}", value)
    value = _FONT.sub(r"\1 var(--font)", value)
    for place, colour in enumerate(COLOURS):
        value = value.replace(colour.lower(), f"var(--series-{place})")
    return " ".join(value.split())


def _path(value: str) -> str:
    """A path in which a line goes on without a letter for each of its points."""
    kept: list[str] = []
    last = ""
    for word in value.split():
        if word == "L" and last in ("M", "L"):
            continue
        last = word if word.isalpha() else last
        kept.append(word)
    return " ".join(kept)
