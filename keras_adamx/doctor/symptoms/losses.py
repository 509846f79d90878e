"""What losses alone show."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from keras_adamx.doctor.course import Course
from keras_adamx.doctor.registry import Seen, Unable, symptom


@symptom(
    "loss-diverges",
    severity="error",
    means="The loss is far above where it began.",
    why="a model that knows nothing is better: steps overshoot",
    advice="a learning rate ten times lower, or a warm-up "
    "(`keras_adamx.schedules.LinearWarmup`); then `global_clipnorm=1.0`",
    cost="one number a batch",
)
def diverges(course: Course) -> Iterator[Seen | Unable]:
    """The level of the loss rises above its beginning."""
    if len(course.first_losses) < course.thresholds.window:
        return
    if not course.initial_loss > 0 or not math.isfinite(course.level):
        return
    factor = course.level / course.initial_loss
    if factor > course.thresholds.divergence:
        saw = f"the last {course.thresholds.window} losses have the median "
        saw += f"{course.level:.4g}, {factor:.3g} times what they began with"
        yield Seen("the loss", saw, {"level": course.level, "factor": factor})


@symptom(
    "loss-oscillates",
    severity="warning",
    means="The loss goes up and down and does not fall, and the steps are long.",
    why="steps that are too long jump from one side of the valley to the other",
    advice="a learning rate three to ten times lower, then larger batches, then a "
    "shorter memory (`beta_1`, `momentum`)",
    cost="two norms a variable and step",
    explained_by=("loss-diverges", "training-not-finite"),
)
def oscillates(course: Course) -> Iterator[Seen | Unable]:
    """Long steps at a level that does not fall."""
    if course.last_steps and not course.measured:
        yield Unable("the steps", "the optimizer is none of keras_adamx")
    if not course.is_warm or not course.measured or not course.level > 0:
        return
    changes = np.sign(np.diff(list(course.last_losses)))
    turns = float(np.mean(changes[1:] != changes[:-1]))
    pace, fallen = course.pace(course.measured), 1 - course.level / course.initial_loss
    if turns > 0.5 and fallen < 0.3 and pace > course.thresholds.long_step:
        saw = f"at a level of {course.level:.4g}, which began at "
        saw += f"{course.initial_loss:.4g}, it turns after {turns:.0%} of the batches; "
        saw += f"steps have {pace:.2g} times the norm of the weights"
        yield Seen("the loss", saw, {"turns": turns, "pace": pace})


@symptom(
    "plateau-from-the-start",
    severity="warning",
    means="The loss has not fallen since the training began.",
    why="either nothing moves, or there is nothing that this model can learn",
    advice="`keras_adamx.doctor.diagnose(model, data)` for data and initialisation, "
    "then the learning rate: ten times higher, and ten times lower",
    cost="one number a batch",
    explained_by=("loss-diverges", "loss-oscillates", "training-not-finite"),
)
def plateau(course: Course) -> Iterator[Seen | Unable]:
    """No better than at the start."""
    if not course.is_warm or course.seen < course.thresholds.plateau_batches:
        return
    gone = 1.0 - course.lowest / course.initial_loss if course.initial_loss else 1.0
    if course.initial_loss > 0.0 and gone < course.thresholds.plateau:
        saw = f"after {course.seen} batches the best level of the loss is "
        saw += f"{course.lowest:.4g}, it began at {course.initial_loss:.4g}"
        yield Seen("the loss", saw, {"gone": gone, "batches": course.seen})


@symptom(
    "overfitting",
    severity="warning",
    means="The validation loss rises while the training loss falls.",
    why="the model learns its data by heart",
    advice="stop at the best epoch (`keras.callbacks.EarlyStopping("
    "restore_best_weights=True)`); then weight decay, dropout, augmentation, more data",
    cost="two numbers an epoch",
)
def overfitting(course: Course) -> Iterator[Seen | Unable]:
    """The distance between training and validation grows."""
    losses = [e.get("val_loss", math.nan) for e in course.epochs]
    trained = [e.get("loss", math.nan) for e in course.epochs]
    if losses and np.isnan(losses).all():
        yield Unable("the validation loss", "there is none")
    if not np.isfinite(losses).any():
        return
    best = int(np.nanargmin(losses))
    now, lowest = losses[-1], losses[best]
    since = len(losses) - 1 - best
    falls = trained[-1] < trained[best]
    high = now > course.thresholds.overfitting * lowest
    if since >= course.thresholds.patience and high and falls:
        saw = f"the validation loss was {lowest:.4g} in epoch {best + 1} and is "
        saw += f"{now:.4g} in epoch {len(losses)}; the training loss went from "
        saw += f"{trained[best]:.4g} to {trained[-1]:.4g}"
        yield Seen("the validation loss", saw, {"best": lowest, "now": now})


@symptom(
    "schedule-ended-early",
    severity="warning",
    means="The learning rate is next to zero long before the training ends.",
    why="the batches that remain change nothing",
    advice="the length of the schedule: its steps are updates, epochs times batches an "
    "epoch (divided by `gradient_accumulation_steps`)",
    cost="one number a batch",
)
def ended_early(course: Course) -> Iterator[Seen | Unable]:
    """A schedule that is shorter than the training."""
    if course.batches is None:
        yield Unable("the schedule", "how many batches there will be is not known")
        return
    if not course.last_steps:
        return
    rate, over = course.last_steps[-1].learning_rate, course.seen / course.batches
    ended = rate <= course.thresholds.ended_rate * course.highest_rate
    if ended and course.highest_rate > 0 and over < course.thresholds.ended_before:
        saw = f"it is {rate:.3g} after {course.seen} of {course.batches} batches; its "
        saw += f"highest value was {course.highest_rate:.3g}"
        yield Seen("the learning rate", saw, {"rate": rate, "over": over})
