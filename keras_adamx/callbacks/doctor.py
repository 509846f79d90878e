"""Looks for faults while a model trains, and says what it sees."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_adamx.callbacks.watching import Watch, any_optimizer_of
from keras_adamx.core import backend, rounding
from keras_adamx.core.arguments import count
from keras_adamx.core.bridge import path_of
from keras_adamx.core.models import rate_in_fit
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.slots import SQUARE_MEAN
from keras_adamx.core.values import Entry
from keras_adamx.doctor.course import Course, Denominator, Step
from keras_adamx.doctor.registry import Check, Seen, Unable
from keras_adamx.doctor.report import Finding, Report, Skipped, show
from keras_adamx.doctor.symptoms import SYMPTOMS
from keras_adamx.doctor.thresholds import CourseThresholds

# Elements of a variable of 16 bits that are compared from epoch to epoch.
_COMPARED = 100_000


class Doctor(keras.callbacks.Callback):
    """Says what goes wrong in a training, why it thinks so, and what to try first.

    It looks at the loss of each batch, at the validation loss, and, where the optimizer
    is of this package, at gradients and steps, which are measured as part of the step.
    Each kind of fault is reported once a `fit`, when it is first seen; `report` has all
    of them. What is looked for, and from which number on, is in `CourseThresholds`.
    With another optimizer only losses and 16-bit weights are looked at; the report
    names what could not be judged.

    Args:
        every: Integer >= 1: measure after every so many batches. The loss of every
            batch is looked at.
        thresholds: `keras_adamx.doctor.CourseThresholds`, or None for its defaults.
        verbose: Whether to print findings when they are seen: with `rich`, if it is
            installed.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> doctor = keras_adamx.callbacks.Doctor(verbose=False)
        >>> doctor.report().codes
        []
    """

    every: int = count(1)

    def __init__(
        self,
        every: int = 1,
        *,
        thresholds: CourseThresholds | None = None,
        verbose: bool = True,
    ) -> None:
        super().__init__()
        self.every = every
        if thresholds is not None and not isinstance(thresholds, CourseThresholds):
            raise TypeError(
                "Doctor: argument `thresholds` must be a CourseThresholds or None. "
                f"Received: {thresholds!r}"
            )
        self._thresholds = thresholds or CourseThresholds()
        self._verbose = verbose
        self._watch: Watch | None = None
        self._course: Course | None = None
        self._findings: list[Finding] = []
        # What could not be judged, and what follows from another finding.
        self._unable: dict[tuple[str, str], Skipped] = {}
        self._held_back: dict[tuple[str, str], Skipped] = {}

    def report(self) -> Report:
        """What was found in the last `fit`, or so far in the one that runs.

        Returns:
            A `keras_adamx.doctor.Report`: findings, what was looked for, and what
            could not be judged; as text, data, JSON or Markdown.
        """
        if self._course is None:
            return Report(looked_at="0 batches")
        missed = {s.code for s in self._unable.values()} - self._codes
        checked = [s.code for s in SYMPTOMS if s.code not in missed]
        left_out = (*self._unable.values(), *self._held_back.values())
        skipped = [s for s in left_out if s.code not in self._codes]
        looked_at = f"{self._course.seen} batches"
        return Report(self._findings, checked, skipped, looked_at)

    @property
    def _codes(self) -> set[str]:
        return {finding.code for finding in self._findings}

    # What `fit` calls.

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        optimizer = any_optimizer_of(model)
        # Some releases of Keras count the variables before `on_train_begin`.
        ours = isinstance(optimizer, Optimizer)
        self._watch = Watch(model, optimizer) if ours else None

    def on_train_begin(self, logs: Any = None) -> None:
        self._findings, self._unable, self._held_back = [], {}, {}
        self._course = None
        if self._watch is not None:
            self._watch.begin()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._course is None:
            steps, epochs = self.params.get("steps"), self.params.get("epochs")
            known = steps is not None and epochs is not None
            self._course = Course(
                self._thresholds,
                {path_of(v): tuple(v.shape) for v in self.model.trainable_variables},
                steps * (epochs - epoch) if known else None,
                any_optimizer_of(self.model),
            )
        self._epoch = epoch
        # Once an epoch: on JAX, asking for the model takes as long as a step.
        self._rate = rate_in_fit(self.model, any_optimizer_of(self.model))
        # The logs have means over the epoch so far: number of batches, and their sum.
        self._so_far = (0, 0.0)
        self._weights = {path_of(v): _elements(v) for v in self._of_16_bits}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        course = self._course
        if course is None or not logs or "loss" not in logs:
            return
        number, total = self._so_far
        self._so_far = (batch + 1, float(logs["loss"]) * (batch + 1))
        more = self._so_far[0] - number
        course.add_loss((self._so_far[1] - total) / more, more)
        due = self._so_far[0] // self.every > number // self.every
        if due or not math.isfinite(logs["loss"]):
            course.add_step(self._measured(course.seen - 1))
        if (
            not math.isfinite(logs["loss"])
            or course.seen % self._thresholds.window < more
        ):
            self._look(f"epoch {self._epoch + 1}, batch {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        course = self._course
        if course is None:
            return
        course.epochs.append({n: float(v) for n, v in (logs or {}).items()})
        for v in self._of_16_bits:
            same = _elements(v) == self._weights[path_of(v)]
            course.unmoved[path_of(v)] = (same.size, int(np.sum(same)))
        if self._watch is not None:
            course.denominators = _denominators(course.optimizer)
        self._look(f"epoch {epoch + 1}")

    def on_test_begin(self, logs: Any = None) -> None:
        if self._watch is not None:
            self._watch.begin_test()

    def on_train_end(self, logs: Any = None) -> None:
        if self._watch is not None:
            self._watch.end()

    # What it does then.

    @property
    def _of_16_bits(self) -> list[Any]:
        course, variables = self._course, self.model.trainable_variables
        low = [v for v in variables if v.dtype in rounding.LOW_PRECISION]
        return [v for v in low if course is not None and course.is_matrix(path_of(v))]

    def _measured(self, batch: int) -> Step:
        if self._watch is None:
            return Step(batch, self._rate(), None)
        measured = self._watch.read()
        rate = self._watch.learning_rate(measured)
        found = [m for m in measured.each() if m.updated]
        return Step(batch, rate, found, self._watch.skipped_steps)

    def _look(self, when: str) -> None:
        """Look for every symptom that was not found yet."""
        for symptom in SYMPTOMS:
            if symptom.code in self._codes:
                continue
            for each in symptom.run(self._course):
                key = (symptom.code, each.where)
                causes = self._codes & set(symptom.explained_by)
                if isinstance(each, Unable):
                    self._unable.setdefault(key, Skipped(*key, each.reason))
                elif causes:
                    cause = min(causes)
                    reason = f"held back, since it follows from {cause}: {each.saw}"
                    self._held_back.setdefault(key, Skipped(*key, reason))
                else:
                    self._report(symptom, each, when)

    def _report(self, symptom: Check, seen: Seen, when: str) -> None:
        finding = symptom.finding(seen)
        self._findings.append(finding)
        if self._verbose:
            show(Report([finding], looked_at=when))


def _elements(variable: Any) -> np.ndarray:
    """The first elements of a variable of 16 bits."""
    flat = ops.reshape(backend.read(variable), (-1,))[:_COMPARED]
    return np.array(ops.convert_to_numpy(ops.cast(flat, "float32")))


def _denominators(optimizer: Any) -> dict[str, Denominator]:
    """What rules divide by, where it is the root of a mean of squared gradients."""
    updates = int(ops.convert_to_numpy(optimizer.iterations))
    found = {}
    for entry in optimizer.entries:
        each = _denominator(entry, updates)
        if each is not None:
            found[entry.path] = each
    return found


def _denominator(entry: Entry, updates: int) -> Denominator | None:
    rule = entry.settings.rule
    epsilon = getattr(rule, "epsilon", None)
    slots = [s for s in entry.slots if s.holds == SQUARE_MEAN and s.shape is None]
    if not isinstance(epsilon, float) or len(slots) != 1 or not updates:
        return None
    stored = {name: backend.read(v) for name, v in entry.stored.items()}
    name = slots[0].name
    moment = np.asarray(ops.convert_to_numpy(entry.codecs[name].decode(name, stored)))
    decay = getattr(rule, "beta_2", None)
    if isinstance(decay, float):  # It began at zero.
        moment = moment / max(1.0 - decay**updates, 1e-12)
    moment = moment[moment > 0]
    if not moment.size:
        return None
    inside = getattr(rule, "epsilon_placement", "outside") == "inside"
    below = np.mean((moment if inside else np.sqrt(moment)) < epsilon)
    return Denominator(float(np.sqrt(np.mean(moment))), float(below), epsilon)
