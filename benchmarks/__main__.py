"""Run benchmarks, all or some, and write their tables into docs/benchmarks.md.

python -m benchmarks [NAME ...]
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version
from pathlib import Path
from unittest import mock

from benchmarks import (
    abilities,
    accumulation,
    codecs,
    fit_time,
    measure,
    memory,
    monitor,
    muon,
    sparse,
    step_time,
    workloads,
)

MODULES = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        step_time,
        fit_time,
        memory,
        muon,
        abilities,
        sparse,
        accumulation,
        codecs,
        workloads,
        monitor,
    )
}
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main() -> None:
    """Some tables, with the defaults of the scripts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MODULES))
    names = parser.parse_args().names or list(MODULES)
    packages = ("keras", "tensorflow", "jax", "torch", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    machine = f"{os.cpu_count()} CPU cores, no GPU; Python {sys.version.split()[0]}, "
    texts = {"machine": machine + versions + "."}
    for name in names:
        module = MODULES[name]
        with mock.patch.object(sys, "argv", [module.__name__]):
            rows = module.rows(module.parse())
        measure.show(name, rows)
        texts[name] = measure.markdown(rows)
        page = PAGE.read_text()
        for key, text in texts.items():
            page = measure.replaced(page, key, text)
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
