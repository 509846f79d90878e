"""What the second moments of an optimizer show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_adamx.doctor.course import Course
from keras_adamx.doctor.registry import Seen, Unable, symptom


@symptom(
    "epsilon-dominates",
    severity="warning",
    means="What the rule divides by is mostly `epsilon`.",
    why="the steps no longer adapt to the size of gradients: the rule is gradient "
    "descent with momentum at a rate of its own",
    advice="`epsilon=1e-8`, or a loss that is not scaled down (a mean of a sum, say)",
    cost="a look at the state, once an epoch",
)
def epsilon_dominates(course: Course) -> Iterator[Seen | Unable]:
    """Second moments below epsilon."""
    if not course.denominators or course.is_learnt:
        return
    found = list(course.denominators.values())
    share = float(np.median([each.below for each in found]))
    if share > course.thresholds.epsilon_share:
        saw = f"{share:.0%} of the elements of its denominators (median of "
        saw += f"{len(found)} variables) are below epsilon={found[0].epsilon:g}"
        yield Seen("the optimizer", saw, {"share": share})


@symptom(
    "second-moment-not-settled",
    severity="warning",
    means="The second moment still holds gradients that are long gone.",
    why="it divides by them, so that steps are far smaller than the learning rate says",
    advice="a shorter memory (`beta_2=0.99`), `global_clipnorm=1.0` against single "
    "large gradients, or a warm-up if they came in the first steps",
    cost="a look at the state, once an epoch",
)
def not_settled(course: Course) -> Iterator[Seen | Unable]:
    """Second moments far above the squares of the gradients."""
    if not course.denominators or course.is_learnt:
        return
    if len(course.measured) < course.thresholds.window:
        return
    now = course.rms_of_gradients()
    ratios = {
        path: each.root / now[path]
        for path, each in course.denominators.items()
        if now.get(path, 0.0) > 0
    }
    if not ratios:
        return
    ratio = float(np.median(list(ratios.values())))
    if ratio > course.thresholds.stale:
        saw = f"its root is {ratio:.3g} times the gradients of the last steps (median "
        saw += f"of {len(ratios)} variables)"
        yield Seen("the optimizer", saw, {"ratio": ratio})
