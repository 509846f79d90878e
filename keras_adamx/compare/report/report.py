"""A report of one or several comparisons, as HTML, Markdown and JSON."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_adamx.compare.profile import (
    MEASURES,
    PerformanceProfile,
    performance_profile,
)
from keras_adamx.compare.records import Machine, Plan, Run, without_nan
from keras_adamx.compare.report import html, markdown, pictures, sections
from keras_adamx.compare.report.content import Document
from keras_adamx.compare.summary import Summary

TITLE = "Comparison of optimizers"
FILES = ("report.html", "report.md", "summary.json")


@dataclasses.dataclass(frozen=True)
class Compared:
    """A comparison as the sections need it.

    Args:
        plan: Its plan.
        machines: Where its runs were made.
        runs: Its runs.
        summary: What follows from them.
        colours: For each label its place among the colours of the whole report.
    """

    plan: Plan
    machines: Sequence[Machine]
    runs: Sequence[Run]
    summary: Summary
    colours: dict[str, int]


class Report:
    """What one or several comparisons say, in tables, pictures and sentences.

    What is in the HTML page, the Markdown and the JSON is computed once, from the
    records. The page is one file without scripts that loads nothing. It needs
    `pip install "keras_adamx[report]"`; the others need nothing.

    Args:
        comparisons: A `Comparison`, or several, each of another workload.
        title: Title of the report.
        targets: By the names of workloads, another value of the metric to be reached,
            or None for none.

    Raises:
        ValueError: There is no comparison, two are of the same workload, or `targets`
            names another one.

    Example:
        >>> task = keras_adamx.compare.Task(
        ...     "digits", "Digits.", "accuracy", True, 0.9, 100, 50, 50, 32, 650
        ... )
        >>> plan = keras_adamx.compare.Plan(task, (), 0, (), (1000,))
        >>> report = keras_adamx.compare.Report(
        ...     keras_adamx.compare.Comparison(plan, (), ())
        ... )
        >>> report.to_markdown().splitlines()[2]
        '0 optimizers on digits.'
    """

    def __init__(
        self,
        comparisons: Any,
        *,
        title: str = TITLE,
        targets: Mapping[str, float | None] | None = None,
    ) -> None:
        single = hasattr(comparisons, "plan")
        given = [comparisons] if single else list(comparisons)
        if not given:
            raise ValueError(
                "Report: argument `comparisons` must have one comparison or more. "
                "Received: none"
            )
        names = [each.plan.task.name for each in given]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(
                "Report: the comparisons must be of different workloads. Received: "
                f"{names.count(twice[0])} of {twice[0]!r}"
            )
        others = targets or {}
        unknown = [name for name in others if name not in names]
        if unknown:
            raise ValueError(
                f"Report: argument `targets` has {unknown[0]!r}, which is no workload "
                f"of the comparisons. Allowed: {', '.join(names)}"
            )
        summaries = [c.summary(target=others.get(c.plan.task.name, ...)) for c in given]
        labels = pictures.labels_of(summaries)
        colours = {label: place for place, label in enumerate(labels)}
        self.title = title
        self.compared = [
            Compared(c.plan, tuple(c.machines), tuple(c.runs), summary, colours)
            for c, summary in zip(given, summaries)
        ]

    @functools.cached_property
    def document(self) -> Document:
        """What the report consists of."""
        return sections.document(self.title, self.compared, self._profiles())

    def _profiles(self) -> list[PerformanceProfile] | str:
        summaries = [each.summary for each in self.compared]
        if len(summaries) < 2:
            return "One workload has no performance profile."
        try:
            return [performance_profile(summaries, measure=m) for m in MEASURES]
        except ValueError as error:
            reason = str(error).partition(": ")[2]
            return f"There is no performance profile: {reason}"

    def to_html(self) -> str:
        """The report as a page that needs nothing but itself.

        Raises:
            ImportError: Jinja or matplotlib is not installed.
        """
        return html.render(self.document)

    def to_markdown(self) -> str:
        """The same without the pictures."""
        return markdown.render(self.document)

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON can hold them; without the learning curves.

        What is infinite, such as the steps to a target that was never reached, is the
        string "inf", and what is not a number "nan".
        """
        found: dict[str, Any] = {
            "title": self.title,
            "comparisons": [_numbers(each) for each in self.compared],
        }
        profiles = self._profiles()
        if not isinstance(profiles, str):
            found["performance_profiles"] = [dataclasses.asdict(p) for p in profiles]
        numbers: dict[str, Any] = without_nan(found)
        return numbers

    def to_json(self, indent: int | None = 2) -> str:
        """The same as a string."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False) + "\n"

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write report.html, report.md and summary.json; files there are replaced.

        Args:
            folder: Where to; it is made if it is not there.

        Returns:
            The paths of the files.

        Raises:
            ImportError: Jinja or matplotlib is not installed.
            OSError: A file cannot be written.
        """
        # All is made before any file is touched.
        texts = (self.to_html(), self.to_markdown(), self.to_json())
        out = Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        written = []
        for name, text in zip(FILES, texts):
            path = out / name
            part = path.with_name(f".{name}.part")
            part.write_text(text, encoding="utf-8", newline="\n")
            part.replace(path)
            written.append(path)
        return written


def _numbers(compared: Compared) -> dict[str, Any]:
    summary = compared.summary
    entries = []
    for entry in summary.entries:
        fields = dataclasses.asdict(entry)
        runs = fields.pop("runs")
        fields["runs"] = [
            {
                "seed": run["seed"],
                "status": run["status"],
                "reason": run["reason"],
                "load": run["load"],
            }
            for run in runs
        ]
        entries.append(fields)
    return {
        "plan": dataclasses.asdict(compared.plan),
        "machines": [dataclasses.asdict(machine) for machine in compared.machines],
        "target": summary.task.target,
        "ranking": list(summary.ranking),
        "entries": entries,
    }
