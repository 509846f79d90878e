"""The list of checks, and the words that checks are written in.

A check is a generator that looks at an `Examination` and yields `Seen` for every fault
and `Unable` for what it cannot judge:

    @check("data-not-finite", severity="error", means=..., why=..., cost=...)
    def data_not_finite(examination):
        yield Seen("input 'x'", "3 of 1000 values are NaN", {"nan": 3})

The findings, and the table of the docs, take their words from the declaration.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from keras_adamx.doctor.report import Finding


class Seen(NamedTuple):
    """A fault that a check saw.

    Attributes:
        where: The input, output, layer or variable.
        saw: What was measured, in words.
        numbers: What was measured, by name.
        advice: What to try first, if the check knows better than its declaration.
    """

    where: str
    saw: str
    numbers: dict[str, Any]
    advice: str | None = None


class Unable(NamedTuple):
    """Something that a check cannot judge, and why."""

    where: str
    reason: str


class CannotJudgeError(Exception):
    """What a check needs cannot be had; the text says why."""


# Of an `Examination`, or of the `Course` of a training.
Run = Callable[[Any], Iterator[Seen | Unable]]


class Check(NamedTuple):
    """A declared check.

    Attributes:
        code: Code of its findings.
        severity: Of its findings.
        means: What a finding means, for the docs.
        why: Why it is a fault, for the report.
        advice: What to try first.
        cost: What it costs, in passes through a batch.
        explained_by: Codes of findings from which this one follows: beside one of them
            it is held back.
        run: The check.
    """

    code: str
    severity: str
    means: str
    why: str
    advice: str
    cost: str
    explained_by: tuple[str, ...]
    run: Run

    def finding(self, seen: Seen) -> Finding:
        """A fault in the words of the declaration."""
        return Finding(
            code=self.code,
            severity=self.severity,
            where=seen.where,
            saw=seen.saw,
            why=self.why,
            advice=seen.advice or self.advice,
            numbers=seen.numbers,
        )


# What is looked for before a training, and during one.
CHECKS: list[Check] = []
SYMPTOMS: list[Check] = []


def check(
    code: str,
    *,
    severity: str,
    means: str,
    why: str,
    advice: str,
    cost: str,
    explained_by: Sequence[str] = (),
    among: list[Check] = CHECKS,
) -> Callable[[Run], Run]:
    """Put a check into the list; it runs after all that stand before it."""

    def register(run: Run) -> Run:
        among.append(
            Check(code, severity, means, why, advice, cost, tuple(explained_by), run)
        )
        return run

    return register


symptom = functools.partial(check, among=SYMPTOMS)
