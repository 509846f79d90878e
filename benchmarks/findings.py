"""What the runs of `benchmarks.results` say: the tables of docs/results.md."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import measure
from keras_adamx.compare import Comparison, performance_profile
from keras_adamx.compare.report import words
from keras_adamx.compare.summary import EntrySummary, Spread, Summary

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "results.md"
TABLE = ROOT / "keras_adamx" / "measured.json"
KINDS = {
    "fashion_mlp": "dense",
    "diamonds": "dense",
    "movielens": "embeddings",
    "fashion_autoencoder": "dense",
    "fashion_cnn": "convolution",
    "char_lm": "transformer",
}
ASIDE = "defaults"  # In labels of what is not tuned, and no answer to a user.


@dataclasses.dataclass(frozen=True)
class Claim:
    """That one optimizer has less of something than another.

    Args:
        sentence: In words.
        one: Label of the one that is to have less.
        other: Label of the other.
        unit: Of the numbers.
        measured: Gives the numbers of an optimizer.
    """

    sentence: str
    one: str
    other: str
    unit: str
    measured: Callable[[EntrySummary], Spread | None]

    def rows(self, summaries: Sequence[Summary]) -> Iterator[measure.Row]:
        """A row a workload."""
        for summary in summaries:
            one, other = (self.measured(summary[n]) for n in (self.one, self.other))
            yield {
                "workload": summary.task.name,
                f"{self.one}, {self.unit}": shown(one),
                f"{self.other}, {self.unit}": shown(other),
                "holds": verdict(one, other),
            }

    def text(self, summaries: Sequence[Summary]) -> str:
        """The claim, what the runs say of it, and the numbers."""
        rows = list(self.rows(summaries))
        held = [row["holds"] for row in rows]
        yes, no = held.count("yes"), held.count("no")
        if yes == len(held):
            word = "Confirmed"
        elif yes and not no:
            word = f"Confirmed on {yes} of {len(held)}; nowhere is it the reverse"
        elif not no:
            word = "Not confirmed: they differ nowhere by more than the seeds do"
        else:
            word = "Refuted as a rule" if yes else "Refuted"
            word += f": it holds on {yes} of {len(held)}, the reverse on {no}"
        title = f"**{self.sentence}** ({self.one} against {self.other})."
        return f"{title} {word}.\n\n{measure.markdown(rows)}"


def claims() -> list[Claim]:
    """What is often said of Adam and its relatives."""

    def epochs(entry: EntrySummary) -> Spread | None:
        return entry.epochs_to_target

    def update(entry: EntrySummary) -> Spread | None:
        return entry.update_microseconds

    def step(entry: EntrySummary) -> Spread | None:
        if entry.seconds is None:
            return None
        return entry.seconds.scaled(1e3 / entry.runs[0].curve[-1].step)

    def state(entry: EntrySummary) -> Spread | None:
        return Spread.of([entry.state_bytes_per_parameter])

    faster = "Adam converges faster than SGD"
    cheaper = "SDProp takes less processing time than Adam"
    sooner = "Adastand needs fewer epochs to the target than Adam"
    return [
        Claim(faster, "adam", "sgd", "epochs", epochs),
        Claim(f"{faster} with momentum", "adam", "sgd, momentum 0.9", "epochs", epochs),
        Claim(f"{cheaper}: an update", "sdprop", "adam", "µs", update),
        Claim(f"{cheaper}: a training step", "sdprop", "adam", "ms", step),
        Claim(sooner, "adastand", "adam", "epochs", epochs),
        Claim(
            f"{sooner}, Adastand with its default learning rate",
            "adastand, defaults",
            "adam",
            "epochs",
            epochs,
        ),
        Claim(
            "Adafactor holds less state than Adam", "adafactor", "adam", "bytes", state
        ),
    ]


def verdict(one: Spread | None, other: Spread | None) -> str:
    """Whether one is less than the other beyond the spread of the seeds."""
    if one is None or other is None:
        return "not known"
    if one.low == other.low == math.inf:
        return "neither arrives"
    if one.high < other.low:
        return "yes"
    return "no" if other.high < one.low else "within the spread"


def shown(spread: Spread | None) -> str:
    """Median and range."""
    return words.to_target(spread, words.number)


def scores(summaries: Sequence[Summary]) -> list[measure.Row]:
    """A row an optimizer, the best first."""
    steps, seconds = (
        performance_profile(summaries, measure=each) for each in ("steps", "seconds")
    )
    rows = []
    for label in sorted(steps.scores, key=lambda label: -steps.scores[label]):
        entries = [summary[label] for summary in summaries]
        runs = sum(len(entry.runs) for entry in entries)
        failed = sum(entry.failed for entry in entries)
        solved = sum(math.isfinite(ratio) for ratio in steps.ratios[label])
        reached = sum(entry.reached for entry in entries)
        rows.append(
            {
                "optimizer": label,
                "score, steps": f"{steps.scores[label]:.2f}",
                "score, seconds": f"{seconds.scores[label]:.2f}",
                "targets reached": f"{solved} of {len(entries)}",
                "by runs": f"{reached} of {runs}"
                + (f", {failed} failed" * bool(failed)),
            }
        )
        for summary, ratio in zip(summaries, steps.ratios[label]):
            cell = words.NOTHING if math.isinf(ratio) else f"{ratio:.2f}"
            rows[-1][summary.task.name] = cell
    return rows


def details(summary: Summary) -> str:
    """The table of a workload."""
    task = summary.task
    rows = []
    for label in summary.ranking:
        entry = summary[label]
        rates = (entry.settings or {}).get("learning_rate")
        edge = ", at the edge" if entry.at_edge else ""
        rows.append(
            {
                "optimizer": label,
                "learning rate": "-" if rates is None else words.rate(rates) + edge,
                "steps to target": words.to_target(entry.steps_to_target, words.count),
                f"best {task.metric}": words.spread(entry.best_value, words.metric),
                "seconds": words.spread(entry.seconds),
                "update, µs": words.spread(entry.update_microseconds),
                "state, bytes/parameter": words.number(entry.state_bytes_per_parameter),
            }
        )
    head = (
        f"### {task.name}\n\n{task.description} Target: {task.metric} "
        f"{'>=' if task.higher_is_better else '<='} {words.metric(task.target)} within "
        f"{task.steps:,} steps of {task.batch_size} examples."
    )
    return f"{head}\n\n{measure.markdown(rows)}"


def losses(summaries: Sequence[Summary]) -> list[measure.Row]:
    """For each optimizer, where it does worst."""
    profile = performance_profile(summaries)
    rows = []
    for label, ratios in profile.ratios.items():
        never = [n for n, r in zip(profile.workloads, ratios) if math.isinf(r)]
        found = [(r, n) for n, r in zip(profile.workloads, ratios) if not math.isinf(r)]
        slowest = max(found, default=None)
        rows.append(
            {
                "optimizer": label,
                "never at the target": ", ".join(never) or "-",
                "slowest elsewhere": "-"
                if slowest is None
                else f"{slowest[1]}: {slowest[0]:.2f} times the fastest",
            }
        )
    return rows


def about(found: Sequence[Comparison]) -> str:
    """How many runs were made, and where."""
    runs = [run for each in found for run in each.runs]
    failed = sum(run.status == "failed" for run in runs)
    machines = [machine for each in found for machine in each.machines]
    kinds = dict.fromkeys(
        f"{machine.cores} cores of {machine.processor}, {machine.jobs} runs at a time "
        f"with {words.plural(machine.threads, 'thread')} each; "
        + ", ".join(f"{name} {version}" for name, version in machine.versions.items())
        for machine in machines
    )
    hours = sum(run.curve[-1].seconds for run in runs if run.curve) / 3600
    loads = [run.load for run in runs if run.load is not None]
    return (
        f"{len(runs):,} runs, {failed} of which diverged or failed otherwise; "
        f"{hours:.1f} hours of training steps. Backend {machines[0].backend}; "
        f"{'; or '.join(kinds)}. Load of the machine {sum(loads) / len(loads):.1f}."
    )


def table(summaries: Sequence[Summary]) -> dict[str, Any]:
    """What `keras_adamx.recommend` reads."""
    profile = performance_profile(summaries)
    optimizers: dict[str, Any] = {}
    for label, ratios in profile.ratios.items():
        entry = summaries[0][label].entry
        package, _, cls = entry.optimizer.partition(".")
        if package != "keras_adamx" or ASIDE in label:
            continue
        rates = {s.task.name: (s[label].settings or {}) for s in summaries}
        optimizers[label] = {
            "class": cls,
            "arguments": entry.fixed,
            "ratios": {
                name: None if math.isinf(ratio) else round(ratio, 4)
                for name, ratio in zip(profile.workloads, ratios)
            },
            "learning_rates": {n: s["learning_rate"] for n, s in rates.items() if s},
        }
    return {
        "kinds": {s.task.name: KINDS[s.task.name] for s in summaries},
        "batch_sizes": {s.task.name: s.task.batch_size for s in summaries},
        "optimizers": optimizers,
    }


def write(folder: Path, names: Sequence[str]) -> None:
    """Write the tables of what is complete, and what `recommend` reads."""
    every = [Comparison.load(folder / f"{name}.jsonl") for name in names]
    found = [each for each in every if not each.missing]
    for each in every:
        if each.missing:
            print(f"{each.plan.task.name} is left out: {each.missing} runs are missing")
    if not found:
        raise SystemExit("No workload is complete. Make the runs first.")
    summaries = [each.summary() for each in found]
    texts = {
        "about": about(found),
        "scores": measure.markdown(scores(summaries)),
        "claims": "\n\n".join(claim.text(summaries) for claim in claims()),
        "losses": measure.markdown(losses(summaries)),
        "workloads": "\n\n".join(map(details, summaries)),
    }
    page = PAGE.read_text()
    for name, text in texts.items():
        page = measure.replaced(page, name, text)
    PAGE.write_text(page)
    TABLE.write_text(json.dumps(table(summaries), indent=1) + "\n")
