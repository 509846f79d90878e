"""Lines of code of each rule and transform, without docstrings, comments and blanks.

python .ci/code_lines.py
"""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
FOLDERS = ("keras_adamx/optimizers", "keras_adamx/transforms")
LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> set[int]:
    """Numbers of the lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in LAYOUT:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body:
            continue
        first = body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            lines -= set(range(first.lineno, first.end_lineno + 1))
    return lines


def main() -> None:
    """A table, the longest class first."""
    found = []
    for file in sorted(file for name in FOLDERS for file in (ROOT / name).glob("*.py")):
        source = file.read_text("utf-8")
        lines = code_lines(source)
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                own = lines & set(range(node.lineno, node.end_lineno + 1))
                found.append((len(own), node.name, file.name))
    table = Table(title="Lines of code")
    for heading in ("class", "file"):
        table.add_column(heading)
    table.add_column("lines", justify="right")
    for number, name, file in sorted(found, reverse=True):
        table.add_row(name, file, str(number))
    Console().print(table)


if __name__ == "__main__":
    main()
