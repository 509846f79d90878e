"""Run all benchmarks and write their tables into docs/benchmarks.md.

python -m benchmarks
"""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import version
from pathlib import Path
from unittest import mock

from benchmarks import fit_time, measure, memory, step_time

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def replaced(page: str, name: str, text: str) -> str:
    """The page with new text between the markers of a name."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"{PAGE.name} has no markers {begin} and {end}")
    return pattern.sub(lambda _: f"{begin}\n{text}\n{end}", page)


def main() -> None:
    """All tables, with the defaults of the scripts."""
    packages = ("keras", "tensorflow", "jax", "torch", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    machine = f"{os.cpu_count()} CPU cores, no GPU; Python {sys.version.split()[0]}, "
    texts = {"machine": machine + versions + "."}
    for module in (step_time, fit_time, memory):
        with mock.patch.object(sys, "argv", [module.__name__]):
            rows = module.rows(module.parse())
        name = module.__name__.rpartition(".")[2]
        measure.show(name, rows)
        texts[name] = measure.markdown(rows)
        page = PAGE.read_text()
        for key, text in texts.items():
            page = replaced(page, key, text)
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
