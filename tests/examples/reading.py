"""Where the examples are, and what they print."""

import pathlib

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def table_rows(output):
    """Cells of the body rows of rich's tables."""
    return [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in output.splitlines()
        if line.startswith("│")
    ]
