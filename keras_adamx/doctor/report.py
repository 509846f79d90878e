"""What a look at a training found: findings, and what could not be judged."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

# From what cannot train to what is worth a look.
SEVERITIES = ("error", "warning", "note")
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One fault, with what was seen of it.

    Args:
        code: Stable name of the kind of fault, such as `"inputs-not-normalised"`.
        severity: `"error"`: the training is wrong or cannot work. `"warning"`: it
            suffers. `"note"`: worth a look.
        where: The input, output, layer or variable.
        saw: What was measured, with its number.
        why: Why this is a fault.
        advice: What to try first.
        numbers: What was measured, by name.

    Raises:
        ValueError: The severity is none of these.

    Example:
        >>> finding = keras_adamx.doctor.Finding(
        ...     code="inputs-not-normalised",
        ...     severity="warning",
        ...     where="input 'image'",
        ...     saw="the root mean square is 104",
        ...     why="weights are initialised for inputs of about 1",
        ...     advice="divide by 255",
        ...     numbers={"rms": 104.0},
        ... )
        >>> finding.code
        'inputs-not-normalised'
    """

    code: str
    severity: str
    where: str
    saw: str
    why: str
    advice: str
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(
                f"Finding: argument `severity` must be one of {', '.join(SEVERITIES)}. "
                f"Received: severity={self.severity!r}"
            )


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A check that could not judge something, or holds back what it found.

    Args:
        code: The finding that was looked for.
        where: What could not be judged.
        reason: Why not.

    Example:
        >>> skipped = keras_adamx.doctor.Skipped("initial-loss", "the output", "own")
        >>> skipped.where
        'the output'
    """

    code: str
    where: str
    reason: str


class Report:
    """What was found, what was checked and what could not be checked.

    It prints as plain text, through `rich` with colours, and is true if there is a
    finding.

    Args:
        findings: The findings, in any order; the worst come first in the report.
        checked: Codes of what was looked for.
        skipped: What could not be judged.
        looked_at: What the report is about, in a few words.

    Example:
        >>> report = keras_adamx.doctor.Report(checked=["data-not-finite"])
        >>> len(report), bool(report)
        (0, False)
        >>> print(report)
        No findings.
        Checked: data-not-finite.
    """

    def __init__(
        self,
        findings: Sequence[Finding] = (),
        checked: Sequence[str] = (),
        skipped: Sequence[Skipped] = (),
        looked_at: str = "",
    ) -> None:
        self.findings = sorted(findings, key=lambda f: SEVERITIES.index(f.severity))
        self.checked = list(checked)
        self.skipped = list(skipped)
        self.looked_at = looked_at

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    @property
    def codes(self) -> list[str]:
        """The codes of the findings, each once, the worst first."""
        return list(dict.fromkeys(finding.code for finding in self.findings))

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        return {
            "looked_at": self.looked_at,
            "findings": [dataclasses.asdict(each) for each in self.findings],
            "checked": list(self.checked),
            "skipped": [dataclasses.asdict(each) for each in self.skipped],
        }

    def to_json(self, indent: int | None = 2) -> str:
        """The same as a string."""
        return json.dumps(self.to_dict(), indent=indent)

    def to_markdown(self) -> str:
        """A heading for each finding, then lists of what was and was not checked."""
        parts = [f"# {self._headline}"]
        for each in self.findings:
            parts.append(f"## {each.severity}: {each.code}, {each.where}")
            parts += [f"- **{label}:** {text}" for label, text in _lines(each)]
        if self.checked:
            parts += ["## Checked", ", ".join(f"`{code}`" for code in self.checked)]
        if self.skipped:
            parts.append("## Not judged")
            parts += [f"- `{s.code}`, {s.where}: {s.reason}" for s in self.skipped]
        joined = "\n\n".join(parts) + "\n"
        return joined.replace("\n\n- ", "\n- ").replace("\n- ", "\n\n- ", 1)

    @property
    def _headline(self) -> str:
        number = len(self) or "No"
        about = f" in {self.looked_at}" if self.looked_at else ""
        return f"{number} finding{'' if len(self) == 1 else 's'}{about}"

    @property
    def _footer(self) -> list[str]:
        lines = [f"Checked: {', '.join(self.checked)}."] if self.checked else []
        if self.skipped:
            lines.append("Not judged:")
            lines += [f"- {s.code}, {s.where}: {s.reason}" for s in self.skipped]
        return lines

    def __str__(self) -> str:
        lines = [f"{self._headline}."]
        for each in self.findings:
            lines += ["", f"{each.severity}: {each.code}, {each.where}"]
            for label, text in _lines(each):
                lines += _filled(f"{label + ':':11}{text}", "  ", 13)
        if self.findings:
            lines.append("")
        for line in self._footer:
            lines += _filled(line, "", 2)
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Report({', '.join(self.codes) or 'no findings'})"

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        yield Text(f"{self._headline}.", style="bold")
        for each in self.findings:
            yield Text()
            title = Text(each.severity, style=f"bold {_COLOURS[each.severity]}")
            yield title.append(f" {each.code}", style="bold").append(f"  {each.where}")
            grid = Table.grid(padding=(0, 2))
            for label, text in _lines(each):
                grid.add_row(Text(label, style="dim"), Text(text))
            yield Padding(grid, (0, 0, 0, 2))
        if self.findings:
            yield Text()
        for line in self._footer:
            yield Text(line, style="dim")


def show(report: Report) -> None:
    """Print a report, with colours where `rich` is installed."""
    try:
        from rich import print as rich_print
    except ImportError:
        print(report)
    else:
        rich_print(report)


def _lines(finding: Finding) -> list[tuple[str, str]]:
    return [
        ("saw", finding.saw),
        ("why", finding.why),
        ("try first", finding.advice),
    ]


def _filled(text: str, indent: str, hanging: int) -> list[str]:
    return textwrap.wrap(
        text,
        width=88,
        initial_indent=indent,
        subsequent_indent=" " * hanging,
        break_on_hyphens=False,
        break_long_words=False,
    )
