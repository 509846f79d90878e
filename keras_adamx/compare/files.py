"""The file of a comparison: it grows by a line a run and can be continued."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, NamedTuple

from keras_adamx.compare.records import (
    Machine,
    Plan,
    Record,
    Run,
    read,
    to_line,
)

# What a file need not say of its task.
UNKNOWN = ("loss", "data")


class Contents(NamedTuple):
    """What a file holds; of several plans the last one."""

    plan: Plan
    machines: tuple[Machine, ...]
    runs: tuple[Run, ...]


def load(path: str | os.PathLike[str]) -> Contents:
    """Read a file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not the file of a comparison.
    """
    plan: Plan | None = None
    machines: list[Machine] = []
    runs: dict[str, Run] = {}
    try:
        with open(path, encoding="utf-8", newline="") as file:
            for record in read(file):
                if isinstance(record, Plan):
                    plan = record
                elif isinstance(record, Machine):
                    machines.append(record)
                elif record.key not in runs or runs[record.key].status == "failed":
                    runs[record.key] = record  # It may have been made again.
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)!r}: {error}") from error
    if plan is None:
        raise ValueError(
            f"{os.fspath(path)!r} is not the file of a comparison: it has no plan."
        )
    return Contents(plan, tuple(machines), tuple(runs.values()))


class File:
    """A file that records are put into as they come.

    Args:
        path: Path of the file, or None to write nothing.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)

    def begun(self) -> Contents | None:
        """What is there already, or None; a line that was cut off is taken away."""
        if self.path is None or not self.path.exists():
            return None
        whole = self.path.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]
        if len(kept) < len(whole):
            if not kept and not whole.startswith(b'{"record": "'[: len(whole)]):
                raise ValueError(
                    f"{str(self.path)!r} is not the file of a comparison. Give "
                    "another `file`."
                )
            with self.path.open("r+b") as file:
                file.truncate(len(kept))
        return load(self.path) if kept else None

    def add(self, *records: Record) -> None:
        """Put records down, so that they are there whatever happens next."""
        if self.path is None or not records:
            return
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write("".join(map(to_line, records)))
            file.flush()
            os.fsync(file.fileno())


def continued(old: Plan, new: Plan) -> Plan:
    """The plan to go on with: the old one with optimizers or seeds added.

    Another target may be set as well: the runs are the same.

    Raises:
        ValueError: The plans differ otherwise.
    """
    free: dict[str, Any] = {"target": new.task.target}
    # Older files do not say.
    free |= {n: getattr(new.task, n) for n in UNKNOWN if getattr(old.task, n) is None}
    _same("", dataclasses.replace(old.task, **free), new.task)
    entries = {entry.label: entry for entry in new.entries}
    for entry in old.entries:
        if entry.label not in entries:
            _refuse(f"optimizer {entry.label!r}", entry.optimizer, "not there")
        _same(f"optimizer {entry.label!r}, ", entry, entries[entry.label])
    if any(entry.searched for entry in old.entries):
        for name in ("trials", "tuning_seeds"):
            if getattr(old, name) != getattr(new, name):
                _refuse(name, getattr(old, name), getattr(new, name))
    if old.test_seeds != new.test_seeds[: len(old.test_seeds)]:
        _refuse("test_seeds", old.test_seeds, new.test_seeds)
    labels = {entry.label for entry in old.entries}
    added = [entry for entry in new.entries if entry.label not in labels]
    return dataclasses.replace(new, entries=(*old.entries, *added))


def _same(prefix: str, old: object, new: object) -> None:
    for field in dataclasses.fields(old):  # type: ignore[arg-type]
        before, now = getattr(old, field.name), getattr(new, field.name)
        if before != now:
            _refuse(prefix + field.name, before, now)


def _refuse(name: str, old: object, new: object) -> None:
    raise ValueError(
        f"compare: the file has another plan. {name}: {old!r} in the file, {new!r} "
        "now. Give another `file`, or the arguments of before; optimizers and test "
        "seeds may be added."
    )
