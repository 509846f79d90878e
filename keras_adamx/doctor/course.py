"""The course of a training so far: losses, and what the optimizer did, in windows."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_adamx.core.measures import Measures
from keras_adamx.core.slots import Weights
from keras_adamx.doctor.thresholds import CourseThresholds

# Losses that are the beginning: more of them would have fallen, fewer are noise.
_FIRST = 5


class Step(NamedTuple):
    """What was measured of one step.

    Attributes:
        batch: Number of the batch, from 0, over all epochs.
        learning_rate: The learning rate.
        measures: What was measured of each variable, or None if nothing was.
        skipped_steps: How many steps `nonfinite` has skipped so far.
    """

    batch: int
    learning_rate: float
    measures: list[Measures] | None
    skipped_steps: int = 0

    def norm(self, name: str) -> float:
        """A norm over all variables."""
        return math.hypot(*(getattr(m, name) for m in self.measures or ()))

    @property
    def update_ratio(self) -> float:
        """How far the weights moved, in units of their own norm."""
        weights = self.norm("weight_norm")
        return self.norm("step_norm") / weights if weights else 0.0


class Denominator(NamedTuple):
    """What the rule of a variable divides by.

    Attributes:
        root: Root mean square of its elements.
        below: Share of the elements that is below epsilon.
        epsilon: What is added to it.
    """

    root: float
    below: float
    epsilon: float


class Course:
    """What `callbacks.Doctor` has seen of a training.

    The first and the last steps are kept, and what is between them as losses only, so
    that a long training takes no more memory than a short one.

    Args:
        thresholds: Where a number becomes a finding.
        shapes: Shape of each variable, by path.
        batches: How many batches there will be, or None.
        optimizer: The optimizer.
    """

    def __init__(
        self,
        thresholds: CourseThresholds,
        shapes: Mapping[str, tuple[int, ...]],
        batches: int | None,
        optimizer: Any,
    ) -> None:
        self.thresholds = thresholds
        self.shapes = dict(shapes)
        self.batches = batches
        self.optimizer = optimizer
        window = thresholds.window
        # Losses of batches: the first, the last ones, and the best level so far.
        self.first_losses: list[float] = []
        self.last_losses: collections.deque[float] = collections.deque(
            maxlen=2 * window
        )
        self.lowest = math.inf
        self.seen = 0
        self.last_finite_loss: float | None = None
        self.first_steps: list[Step] = []
        self.last_steps: collections.deque[Step] = collections.deque(maxlen=window)
        self.highest_rate = 0.0
        # Logs of epochs.
        self.epochs: list[dict[str, float]] = []
        # Matrices of 16 bits: elements that were compared, and those of them that the
        # epoch left as they were.
        self.unmoved: dict[str, tuple[int, int]] = {}
        # What the rule divides by, where it is a root of squared gradients.
        self.denominators: dict[str, Denominator] = {}

    def add_loss(self, loss: float, batches: int = 1) -> None:
        """One more loss: that of a batch, or the mean of several."""
        self.seen += batches
        if math.isfinite(loss):
            self.last_finite_loss = loss
        if len(self.first_losses) < self.thresholds.window:
            self.first_losses.append(loss)
        self.last_losses.append(loss)
        recent = self.recent_losses
        if len(recent) == self.thresholds.window:
            self.lowest = min(self.lowest, float(np.median(recent)))

    def add_step(self, step: Step) -> None:
        """One more step of the optimizer."""
        if len(self.first_steps) < self.thresholds.window:
            self.first_steps.append(step)
        self.last_steps.append(step)
        # Layers may have been made trainable since.
        self.shapes |= {m.path: m.shape for m in step.measures or ()}
        self.highest_rate = max(self.highest_rate, step.learning_rate)

    @property
    def recent_losses(self) -> list[float]:
        """The losses of the last window."""
        begin = max(len(self.last_losses) - self.thresholds.window, 0)
        return list(itertools.islice(self.last_losses, begin, None))

    @property
    def is_warm(self) -> bool:
        """Whether the first window and another one after it are complete."""
        return len(self.last_losses) == 2 * self.thresholds.window

    @property
    def initial_loss(self) -> float:
        """The median of the first losses, if the first step does not spoil them."""
        first = self.first_losses[:_FIRST]
        if not first:
            return math.nan
        longest = max((s.update_ratio for s in self.first_steps[:_FIRST]), default=0.0)
        spoilt = longest > self.thresholds.large_update
        return min(float(np.median(first)), first[0] if spoilt else math.inf)

    @property
    def level(self) -> float:
        """The median of the last losses."""
        return float(np.median(self.recent_losses)) if self.last_losses else math.nan

    @property
    def is_learnt(self) -> bool:
        """Whether the loss is so far below its beginning that little is left."""
        return self.level < self.thresholds.learnt * self.initial_loss

    def pace(self, steps: Iterable[Step]) -> float:
        """The median of how far steps move the weights, in units of their norm."""
        ratios = [step.update_ratio for step in steps if step.measures]
        return float(np.median(ratios)) if ratios else 0.0

    @property
    def measured(self) -> list[Step]:
        """The last steps, where the optimizer was measured."""
        return [step for step in self.last_steps if step.measures]

    def by_variable(self, steps: Iterable[Step]) -> dict[str, list[Measures]]:
        """What was measured of each variable, in the order of the steps."""
        found: dict[str, list[Measures]] = {}
        for step in steps:
            for m in step.measures or ():
                found.setdefault(m.path, []).append(m)
        return found

    def is_matrix(self, path: str) -> bool:
        """Whether a variable is the matrix of a layer that multiplies by it."""
        weights = Weights(path, self.shapes[path])
        return weights.matrix_shape is not None and not weights.is_embedding

    def rms_of_gradients(self) -> dict[str, float]:
        """Root mean square of an element of the gradient of each variable, lately."""
        return {
            path: float(np.median([m.gradient_norm for m in found]))
            / math.sqrt(max(math.prod(self.shapes[path]), 1))
            for path, found in self.by_variable(self.measured).items()
        }
