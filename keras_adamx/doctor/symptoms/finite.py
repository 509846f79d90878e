"""Numbers that are none: where they began."""

from __future__ import annotations

import math
from collections.abc import Iterator

from keras_adamx.doctor.course import Course, Step
from keras_adamx.doctor.registry import Seen, Unable, symptom


def _layers(step: Step, norm: str) -> list[str]:
    """Layers with a norm that is not finite, in the order of the model."""
    bad = [m.layer for m in step.measures or () if not math.isfinite(getattr(m, norm))]
    return list(dict.fromkeys(bad))


@symptom(
    "steps-skipped",
    severity="warning",
    means='Gradients were not finite, and `nonfinite="skip"` has left them out.',
    why="batches that are skipped teach nothing, and they have a cause",
    advice="those batches; in float16 a few at the start are usual, while the loss "
    "scale is found",
    cost="one number a batch",
)
def skipped(course: Course) -> Iterator[Seen | Unable]:
    """Steps that were not made."""
    if not course.last_steps or not course.last_steps[-1].skipped_steps:
        return
    number = course.last_steps[-1].skipped_steps
    layers = [m.layer for m in course.last_steps[-1].measures or () if m.nonfinite > 0]
    where = f"the gradient of '{layers[-1]}'" if layers else "the gradients"
    saw = f"{number} of {course.seen} steps were skipped"
    yield Seen(where, saw, {"skipped": number})


@symptom(
    "training-not-finite",
    severity="error",
    means="The loss has become NaN or infinite.",
    why="nothing that follows is of any use: every weight becomes NaN with it",
    advice="the batch that it began with (look for NaN and for zeros under a logarithm "
    "or in a denominator), a lower learning rate, `global_clipnorm=1.0`, and "
    '`nonfinite="skip"` if single batches are to blame',
    cost="one number a batch",
    explained_by=("steps-skipped",),
)
def not_finite(course: Course) -> Iterator[Seen | Unable]:
    """The loss is no number any more."""
    if not course.last_losses or math.isfinite(course.last_losses[-1]):
        return
    where, began = "the loss", "it was the first batch"
    if course.last_finite_loss is not None:
        began = f"the last finite loss was {course.last_finite_loss:.4g}"
    if course.measured:
        # The loss of this batch was computed with the weights before its step.
        earlier = [s for s in course.measured if s.batch < course.seen - 1]
        in_gradient = next((s for s in earlier if _layers(s, "gradient_norm")), None)
        in_weights = next((s for s in earlier if _layers(s, "step_norm")), None)
        if in_gradient is not None:
            layers = _layers(in_gradient, "gradient_norm")
            where = f"the gradient of '{layers[-1]}'"
            began += f"; before it, in batch {in_gradient.batch}, {len(layers)} layers "
            began += "had a gradient that is not finite"
        elif in_weights is not None:
            layers = _layers(in_weights, "step_norm")
            where = f"the step of '{layers[-1]}'"
            began += f"; in batch {in_weights.batch} its step was not finite, its "
            began += "gradient was"
        else:
            began += "; gradients and weights were finite until then"
    else:
        yield Unable("the layers", "the optimizer is not measured")
    saw = f"the loss of batch {course.seen - 1} is {course.last_losses[-1]}; {began}"
    yield Seen(where, saw, {"batch": course.seen - 1})
