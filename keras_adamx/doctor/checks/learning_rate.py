"""Whether the learning rate is out of proportion, by a few steps at it.

Not by a range test: in the seconds that there are for it, its suggestions for healthy
trainings lie further from their rates than a rate is from one that deserves a finding.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_adamx.doctor import trial
from keras_adamx.doctor.checks.initialisation import _INPUTS, _OUTPUTS
from keras_adamx.doctor.checks.labels import _WRONG_LABELS
from keras_adamx.doctor.examination import Examination
from keras_adamx.doctor.keeping import optimizer_of
from keras_adamx.doctor.registry import CannotJudgeError, Seen, Unable, check
from keras_adamx.optimizers import Prodigy

_CAUSES = (
    *_INPUTS,
    *_OUTPUTS,
    *_WRONG_LABELS,
    "loss-not-finite",
    "activations-explode",
    "gradients-explode",
    "targets-not-normalised",
)


@check(
    "learning-rate-too-high",
    severity="error",
    means="The loss explodes within the first steps.",
    why="steps that are too long leave the region in which the gradient says anything",
    advice="a hundredth of it; `keras_adamx.find_learning_rate` then narrows it down",
    cost="the steps of the trial: 8, and one pass more",
    explained_by=_CAUSES,
)
def learning_rate_too_high(examination: Examination) -> Iterator[Seen | Unable]:
    """The loss at the configured rate."""
    tried = examination.trial()
    first, after = tried.losses[0], tried.losses[1:]
    worst = max(after, key=lambda loss: loss if np.isfinite(loss) else np.inf)
    if np.isfinite(worst) and worst <= examination.thresholds.high_rate * abs(first):
        return
    step = after.index(worst) + 1
    saw = (
        f"at a rate of {tried.rate:g} the loss goes from {first:.3g} to {worst:.3g} in "
    )
    saw += f"{step} step{'s' if step > 1 else ''}"
    # JSON has no NaN.
    last = float(worst) if np.isfinite(worst) else str(worst)
    numbers = {"rate": tried.rate, "first": first, "worst": last, "steps": step}
    yield Seen("the optimizer", saw, numbers)


@check(
    "learning-rate-too-low",
    severity="warning",
    means="The steps are so small that the weights do not move.",
    why="a training of thousands of such steps ends where it began",
    advice="a hundred times as much; a rate of 1e-3 is usual for Adam, 1e-2 to 1e-1 "
    "for SGD; `keras_adamx.find_learning_rate` then narrows it down",
    cost="the steps of the trial; where they are small, twice as many again",
    explained_by=(
        *_CAUSES,
        "dead-units",
        "no-gradient",
        "learning-rate-too-high",
        "updates-lost-by-rounding",
    ),
)
def learning_rate_too_low(examination: Examination) -> Iterator[Seen | Unable]:
    """The size of steps against that of the weights."""
    optimizer = optimizer_of(examination.model)
    if isinstance(getattr(optimizer, "inner_optimizer", optimizer), Prodigy):
        yield Unable("the optimizer", "Prodigy finds its rate itself, from a tiny one")
        return
    tried = examination.trial()
    ratios = [
        ratio
        for ratio, variable in zip(tried.updates, examination.model.trainable_variables)
        if ratio is not None and len(variable.shape) > 1
    ]
    if not ratios:
        raise CannotJudgeError("no kernel has weights other than zero")
    ratio = float(np.median(ratios))
    if ratio >= examination.thresholds.low_rate:
        return
    if trial.is_scheduled(optimizer):
        reason = (
            f"a step moves weights by {ratio:.1g} of their size at the beginning of "
        )
        yield Unable("the optimizer", f"{reason}a schedule, which may be a warm-up")
        return
    saw = (
        f"at a rate of {tried.rate:g} a step moves weights by {ratio:.1g} of their size"
    )
    numbers = {"rate": tried.rate, "ratio": ratio}
    for factor in (10.0, 100.0):
        losses = examination.trial(factor).losses
        numbers[f"change_at_{factor:g}"] = losses[-1] - losses[0]
        saw += f"; at {factor:g} times the rate {len(losses) - 1} steps change the "
        saw += f"loss by {losses[-1] - losses[0]:.2g}"
    yield Seen("the optimizer", saw, numbers)
