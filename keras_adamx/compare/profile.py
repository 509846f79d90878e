"""Optimizers over several workloads: how often one is how near to the fastest."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from keras_adamx.compare.summary import Summary, is_number

MEASURES = ("steps", "seconds")
# Factor of the fastest from which on slower is no worse.
LARGEST = 4.0


@dataclasses.dataclass(frozen=True)
class PerformanceProfile:
    """On what share of the workloads an optimizer is within a factor of the best.

    Args:
        measure: `"steps"` or `"seconds"` to the target.
        workloads: Names of the workloads.
        ratios: By label, for each workload the time to the target over that of the
            fastest; infinite where it was not reached.
        factors: The factors at which a share changes, from 1 on, and the largest one.
        shares: By label, at each of `factors` the share of the workloads whose ratio is
            at most the factor.
        scores: By label, the mean of the share over the factors from 1 to the largest.

    Example:
        >>> profile = keras_adamx.compare.PerformanceProfile(
        ...     "steps", ("digits",), {"adam": (1.0,), "sgd": (1.5,)},
        ...     factors=(1.0, 1.5, 4.0),
        ...     shares={"adam": (1.0, 1.0, 1.0), "sgd": (0.0, 1.0, 1.0)},
        ...     scores={"adam": 1.0, "sgd": 0.833},
        ... )
    """

    measure: str
    workloads: tuple[str, ...]
    ratios: dict[str, tuple[float, ...]]
    factors: tuple[float, ...]
    shares: dict[str, tuple[float, ...]]
    scores: dict[str, float]


def performance_profile(
    summaries: Iterable[Summary], *, measure: str = "steps", largest: float = LARGEST
) -> PerformanceProfile:
    """Over several workloads, how often an optimizer is how near to the fastest.

    The time of an optimizer on a workload is the median over the seeds; a workload
    where it does not reach the target counts as not solved.

    Args:
        summaries: A `Summary` for each workload, each with a target and the same
            labels.
        measure: `"steps"` or `"seconds"`.
        largest: Largest factor that is looked at, above 1.

    Raises:
        ValueError: There is no workload, one has no target or other labels than the
            first, or an argument is not allowed.

    Example:
        >>> c = keras_adamx.compare
        >>> def run(label, step):
        ...     curve = (c.Evaluation(step, 1.0, 0.1, 0.1, 0.1),)
        ...     return c.Run(
        ...         label, "test", {}, 1000, "finished", None, curve, None, None, None,
        ...         None, None,
        ...     )
        >>> task = c.Task("t", "A task.", "loss", False, 0.5, 200, 50, 100, 32, 650)
        >>> entries = [c.Entry(n, "keras.SGD", "own", {}, {}) for n in ("a", "b")]
        >>> plan = c.Plan(task, tuple(entries), 0, (), (1000,))
        >>> found = c.Comparison(plan, (), (run("a", 100), run("b", 150)))
        >>> c.performance_profile([found.summary()]).ratios
        {'a': (1.0,), 'b': (1.5,)}

    Source:
        Dolan and Moré 2002, "Benchmarking optimization software with performance
        profiles", arXiv:cs/0102001; the score is that of Dahl et al. 2023,
        arXiv:2306.07179.
    """
    found = list(summaries)
    if measure not in MEASURES:
        raise ValueError(
            f"performance_profile: argument `measure` must be one of "
            f"{', '.join(MEASURES)}. Received: measure={measure!r}"
        )
    if not is_number(largest) or not 1.0 < largest < math.inf:
        raise ValueError(
            "performance_profile: argument `largest` must be a number > 1. Received: "
            f"largest={largest!r}"
        )
    labels = _common_labels(found)
    times: dict[str, list[float]] = {label: [] for label in labels}
    for summary in found:
        for label in labels:
            spread = getattr(summary[label], f"{measure}_to_target")
            times[label].append(math.inf if spread is None else spread.median)
    fastest = [min(each) for each in zip(*times.values())]
    ratios = {
        label: tuple(_ratio(time, best) for time, best in zip(own, fastest))
        for label, own in times.items()
    }
    changes = {r for own in ratios.values() for r in own if r <= largest}
    factors = tuple(sorted({1.0, largest, *changes}))
    shares = {
        label: tuple(sum(r <= f for r in own) / len(own) for f in factors)
        for label, own in ratios.items()
    }
    return PerformanceProfile(
        measure=measure,
        workloads=tuple(summary.task.name for summary in found),
        ratios=ratios,
        factors=factors,
        shares=shares,
        scores={label: score(own, largest) for label, own in ratios.items()},
    )


def _common_labels(summaries: list[Summary]) -> list[str]:
    if not summaries:
        raise ValueError(
            "performance_profile: argument `summaries` must have one of a workload or "
            "more. Received: none"
        )
    labels = [entry.label for entry in summaries[0].entries]
    for summary in summaries:
        name = summary.task.name
        if summary.task.target is None:
            raise ValueError(
                f"performance_profile: the workload {name!r} has no target. Set one."
            )
        others = [entry.label for entry in summary.entries]
        if set(others) != set(labels):
            raise ValueError(
                "performance_profile: all workloads must compare the same optimizers. "
                f"Received: {', '.join(others)} on {name!r}, {', '.join(labels)} on "
                f"{summaries[0].task.name!r}"
            )
    return labels


def score(ratios: Iterable[float], largest: float = LARGEST) -> float:
    """The area under a performance profile, over the factors from 1 to the largest.

    1 for the fastest on each workload, 0 for one that takes `largest` times as long on
    each: a workload counts (largest - ratio) / (largest - 1), but not less than 0.
    """
    found = [max(largest - ratio, 0.0) / (largest - 1.0) for ratio in ratios]
    return sum(found) / len(found)


def _ratio(time: float, best: float) -> float:
    if time == best < math.inf:
        return 1.0
    return math.inf if math.isinf(time) or best == 0.0 else time / best
