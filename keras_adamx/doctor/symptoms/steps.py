"""What gradients and steps show, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from keras_adamx.core.measures import Measures
from keras_adamx.doctor.course import Course
from keras_adamx.doctor.registry import Seen, Unable, symptom


def _unmeasured(course: Course) -> Iterator[Unable]:
    if course.last_steps and not course.measured:
        yield Unable("the steps", "the optimizer is none of keras_adamx")


def _median(found: list[Measures], name: str) -> float:
    return float(np.median([getattr(m, name) for m in found]))


@symptom(
    "gradients-explode",
    severity="error",
    means="Gradients are far larger than they were at the beginning.",
    why="one such step can undo all that was learnt",
    advice="`global_clipnorm=1.0`, then a lower learning rate; in recurrent and very "
    "deep models, normalisation",
    cost="a norm a variable and step",
    explained_by=("training-not-finite",),
)
def gradients_explode(course: Course) -> Iterator[Seen | Unable]:
    """The median norm of a layer's gradient has grown."""
    yield from _unmeasured(course)
    if len(course.measured) < course.thresholds.window or not course.is_warm:
        return
    first = course.by_variable(course.first_steps)
    worst, where = 0.0, ""
    for path, found in course.by_variable(course.measured).items():
        before = _median(first.get(path, found), "gradient_norm")
        now = _median(found, "gradient_norm")
        if before > 0 and math.isfinite(now) and now / before > worst:
            worst, where = now / before, found[-1].layer
    if worst > course.thresholds.explosion:
        saw = f"the norm of its gradient is {worst:.3g} times that of the first steps"
        yield Seen(f"layer '{where}'", saw, {"factor": worst})


@symptom(
    "gradients-vanish",
    severity="warning",
    means="The gradients of a layer are tiny beside those of another one.",
    why="the layer stays as it was initialised, whatever the others learn",
    advice="ReLU or GELU in place of sigmoid and tanh, `he_normal` for ReLU, "
    "normalisation, residual connections",
    cost="a norm a variable and step",
)
def gradients_vanish(course: Course) -> Iterator[Seen | Unable]:
    """Matrices whose gradients differ by orders of magnitude."""
    yield from _unmeasured(course)
    if len(course.measured) < course.thresholds.window or course.is_learnt:
        return
    norms = {
        path: rms
        for path, rms in course.rms_of_gradients().items()
        if course.is_matrix(path) and math.isfinite(rms)
    }
    if len(norms) < 2 or not max(norms.values()) > 0:
        return
    least, most = min(norms, key=norms.__getitem__), max(norms, key=norms.__getitem__)
    ratio = norms[most] / norms[least] if norms[least] else math.inf
    if ratio > course.thresholds.depth_ratio:
        saw = f"an element of its gradient is {norms[least]:.2g}, one of '{most}' is "
        saw += f"{norms[most]:.2g}"
        numbers = {"least": norms[least], "most": norms[most]}
        yield Seen(f"'{least}'", saw, numbers)


@symptom(
    "updates-too-large",
    severity="warning",
    means="Steps are as large as the weights that they change.",
    why="nothing that was learnt survives a few such steps",
    advice="a learning rate ten times lower, or a warm-up",
    cost="two norms a variable and step",
    explained_by=("training-not-finite",),
)
def updates_too_large(course: Course) -> Iterator[Seen | Unable]:
    """The step of a matrix in units of the matrix."""
    yield from _unmeasured(course)
    if len(course.measured) < course.thresholds.window:
        return
    worst, where = 0.0, ""
    for path, found in course.by_variable(course.measured).items():
        if not course.is_matrix(path):
            continue  # Biases begin at zero, and a first step is larger than nothing.
        ratios = [m.step_norm / m.weight_norm for m in found if m.weight_norm > 0]
        ratio = float(np.median(ratios)) if ratios else 0.0
        if math.isfinite(ratio) and ratio > worst:
            worst, where = ratio, path
    if worst > course.thresholds.large_update:
        saw = f"its steps have {worst:.2g} times its own norm"
        yield Seen(f"'{where}'", saw, {"ratio": worst})


@symptom(
    "updates-too-small",
    severity="warning",
    means="Steps are so small that the weights stay as they are.",
    why="at this pace a training of any length changes nothing",
    advice="a learning rate a hundred times higher; "
    "`keras_adamx.find_learning_rate` for how much",
    cost="two norms a variable and step",
    explained_by=("schedule-ended-early",),
)
def updates_too_small(course: Course) -> Iterator[Seen | Unable]:
    """The step of all weights in units of the weights."""
    yield from _unmeasured(course)
    steps = [s for s in course.measured if s.norm("gradient_norm") > 0]
    if len(steps) < course.thresholds.window or course.is_learnt:
        return
    if steps[-1].learning_rate < course.highest_rate:
        return  # A schedule makes them small, on purpose.
    ratio = course.pace(steps)
    if ratio < course.thresholds.small_update:
        saw = f"they have {ratio:.2g} times the norm of the weights, at a learning rate"
        saw += f" of {steps[-1].learning_rate:.3g}"
        yield Seen("the steps", saw, {"ratio": ratio})


@symptom(
    "weights-not-moving",
    severity="error",
    means="Weights of 16 bits stay as they are, epoch after epoch.",
    why="a step of less than half the distance to the next number is rounded away, "
    "every time",
    advice="an optimizer of keras_adamx, which rounds stochastically "
    "(`keras_adamx.convert(model)`), or weights in float32 (`mixed_bfloat16`)",
    cost="a copy of up to 100 000 elements of each variable of 16 bits",
)
def weights_not_moving(course: Course) -> Iterator[Seen | Unable]:
    """Low precision swallows the steps."""
    if not course.unmoved:
        return
    compared, unmoved = np.sum(list(course.unmoved.values()), axis=0)
    share = float(unmoved / compared)
    if share > course.thresholds.unmoved and not course.is_learnt:
        saw = f"{share:.0%} of the elements of {len(course.unmoved)} matrices of 16 "
        saw += "bits are what they were an epoch ago"
        yield Seen("the weights", saw, {"unmoved": share})
