"""A report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

from keras_adamx.compare.report import content, svg
from keras_adamx.plots.style import COLOURS, pyplot

FOLDER = Path(__file__).parent


def render(document: content.Document) -> str:
    """The report as HTML.

    Raises:
        ImportError: Jinja or matplotlib is not installed.
    """
    numbers = itertools.count(1)

    def drawn(picture: content.Picture) -> Any:
        from markupsafe import Markup

        name = f"picture-{next(numbers)}"
        # The only markup that is not escaped: what matplotlib wrote, checked as XML.
        return Markup(
            svg.inline(picture.draw, picture.title, picture.text, name, picture.rows)
        )

    return str(
        _environment()
        .get_template("page.html")
        .render(
            document=document,
            kind=lambda part: type(part).__name__,
            drawn=drawn,
            colours=COLOURS,
        )
    )


def require() -> None:
    """Raise `ImportError` where what a page is made with is not installed."""
    pyplot()
    _environment()


@functools.cache
def _environment() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(
            "The HTML report is made with Jinja, which is not installed: "
            "pip install 'keras_adamx[report]'"
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["unbroken"] = _unbroken
    return environment


def _unbroken(text: str) -> str:
    """Text of a narrow column that breaks before a range, not within it."""
    before, bracket, inside = text.partition(" (")
    return before + bracket + inside.replace(" ", "\N{NO-BREAK SPACE}")
