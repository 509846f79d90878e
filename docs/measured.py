"""What MkDocs makes of the results: the profile, and a table for each kind of model."""

from __future__ import annotations

import dataclasses
import io
import math
import re
from pathlib import Path
from typing import Any

from keras_adamx.compare import Comparison, performance_profile
from keras_adamx.compare.report.pictures import draw_profile
from keras_adamx.recommendation import KINDS, table

RUNS = Path(__file__).parent.parent / "benchmarks" / "results"
# As many lines as can be told from each other, and rows as answer the question.
LINES, ROWS = 8, 6


def profile_picture() -> bytes:
    """The performance profile of the best optimizers, as SVG for light and dark."""
    import matplotlib
    from matplotlib.figure import Figure

    found = [Comparison.load(path) for path in sorted(RUNS.glob("*.jsonl"))]
    profile = performance_profile(
        [each.summary() for each in found if not each.missing]
    )
    best = sorted(profile.scores, key=lambda label: -profile.scores[label])[:LINES]
    shares = {label: profile.shares[label] for label in best}
    grey = "#808080"
    names = ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    settings = {**dict.fromkeys(names, grey), "text.color": grey}
    with matplotlib.rc_context(settings | {"svg.hashsalt": "results"}):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        axes = figure.subplots()
        draw_profile(dataclasses.replace(profile, shares=shares), axes)
        axes.legend(framealpha=0.0, loc="center left", bbox_to_anchor=(1.0, 0.5))
        output = io.BytesIO()
        figure.savefig(output, format="svg", transparent=True, metadata={"Date": None})
    return output.getvalue()


def ranking() -> str:
    """For each kind of model the optimizers that were the best for it."""
    known, parts = table(), []
    for kind, words in KINDS.items():
        if kind not in known.kinds.values():
            continue
        names = known.like(kind)
        lines = [
            ["optimizer", "score", *(f"steps, {n}" for n in names), "learning rates"],
            ["---"] * (len(names) + 3),
        ]
        for row in known.ranking(kind)[:ROWS]:
            ratios = (row.ratios[name] for name in names)
            cells = ("–" if math.isinf(r) else f"{r:.2f}" for r in ratios)
            rates = dict.fromkeys(f"{row.learning_rates[name]:g}" for name in names)
            score = f"{known.score(row, kind):.2f}"
            lines.append([f"`{row.label}`", score, *cells, ", ".join(rates)])
        rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"The model {words}:\n\n{rows}")
    return "\n\n".join(parts)


TABLES = {"ranking": ranking}


def on_files(files: Any, config: Any) -> Any:
    """Add the picture."""
    from mkdocs.structure.files import File

    path = "pictures/results-profile.svg"
    files.append(File.generated(config, path, content=profile_picture()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace `<!-- measured: NAME -->` by the table of that name."""
    return re.sub(r"<!-- measured: (\w+) -->", lambda m: TABLES[m[1]](), markdown)
