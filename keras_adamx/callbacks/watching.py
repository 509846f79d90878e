"""What callbacks share: the optimizer of a model, and what it measures during `fit`."""

from __future__ import annotations

from typing import Any

import keras

from keras_adamx.core import measures
from keras_adamx.core.measures import Measured
from keras_adamx.core.models import rate_in_fit, values_in_fit
from keras_adamx.core.optimizer import Optimizer


def any_optimizer_of(model: keras.Model) -> Any:
    """The optimizer of a compiled model, without a `LossScaleOptimizer` around it."""
    outer = getattr(model, "optimizer", None)
    return getattr(outer, "inner_optimizer", outer)


def optimizer_of(model: keras.Model, callback: str) -> Optimizer:
    """The optimizer, if it is of this package.

    Raises:
        TypeError: It is not.
    """
    optimizer = any_optimizer_of(model)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"{callback} needs an optimizer of keras_adamx. Received: {optimizer!r}. "
            "`keras_adamx.convert(model)` makes ours of it."
        )
    return optimizer


class Watch:
    """Measures the steps of a model's optimizer while `fit` runs.

    Args:
        model: The model.
        optimizer: Its optimizer.
        slots: Whether the norms of slots are wanted.
    """

    def __init__(
        self, model: keras.Model, optimizer: Optimizer, slots: bool = False
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        # A training step that was traced before measures nothing.
        model.train_function = None
        measures.start(optimizer, slots)
        # What is read.
        self._table: Any = None
        self._begun = False

    def begin(self) -> None:
        """Create the state, where `fit` has not yet."""
        if not self._optimizer.entries:
            self._optimizer.build(self._model.trainable_variables)
        self._begun = True
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Find out anew where to read the learning rate and the skipped steps."""
        self._seen = 0
        self._rate = rate_in_fit(self._model, self._optimizer)
        skipped = self._optimizer.skipped
        self._skipped = (
            None if skipped is None else values_in_fit(self._model, [skipped])
        )

    def begin_test(self) -> None:
        """Measure no more where `evaluate` was called, not `fit`."""
        if not self._begun:
            self.end()

    def due(self, batch: int, every: int) -> bool:
        """Whether to read after a batch; several may have passed since the last one."""
        before, self._seen = self._seen, batch + 1
        return self._seen // every > before // every

    def end(self) -> None:
        """Measure no more."""
        self._begun = False
        measures.end(self._optimizer)
        self._model.train_function = None

    def read(self) -> Measured:
        """What was measured of the last update of each variable."""
        if self._table is not self._optimizer.measured:  # There are new variables.
            self._table = self._optimizer.measured
            self._numbers = values_in_fit(self._model, [self._table])
        return Measured(self._table, self._optimizer.entries, *self._numbers())

    def learning_rate(self, measured: Measured) -> float:
        """The learning rate of the last update, or of the next if there was none."""
        rate = measured.learning_rate  # Asking for it anew would take longer.
        return self._rate() if rate is None else rate

    @property
    def skipped_steps(self) -> int:
        """How many steps the optimizer has skipped."""
        return 0 if self._skipped is None else int(self._skipped()[0])
