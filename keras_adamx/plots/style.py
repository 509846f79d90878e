"""How pictures look: colours that the colour-blind can tell apart, and line styles."""

from __future__ import annotations

from typing import Any

# Okabe and Ito's palette, without the yellow, which a white page swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# In print without colours, and where colours are used up, the line tells.
LINES = ("-", "--", "-.", (0, (6, 2, 1, 2, 1, 2)))


def look(position: int) -> dict[str, Any]:
    """Colour and line style of the n-th curve; no two of the first 28 are alike."""
    turn, place = divmod(position, len(COLOURS))
    line = LINES[(place + turn) % len(LINES)]
    return {"color": COLOURS[place], "linestyle": line}


def pyplot() -> Any:
    """The pyplot of matplotlib, or an error that says how to install it."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "keras_adamx.plots draws with matplotlib, which is not installed: "
            "pip install 'keras_adamx[plots]'"
        ) from error
    return pyplot
