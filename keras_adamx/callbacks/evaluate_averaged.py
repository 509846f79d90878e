"""Averages of the weights in place during validation, saving and after `fit`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_adamx.callbacks.watching import any_optimizer_of, optimizer_of
from keras_adamx.core.models import layers_of
from keras_adamx.core.optimizer import Optimizer


class EvaluateAveraged(keras.callbacks.Callback):
    """Evaluates and saves the averages of the weights that an optimizer keeps.

    The averages are put in for validation and stay in until the next epoch begins: what
    callbacks behind this one in the list do at the end of an epoch, saving for example,
    sees them. Training goes on with the trained weights. The averages are in after
    `fit`, and the next `fit` with this callback takes them out again, also if the model
    was saved and loaded in between.

    For `ScheduleFreeAdamW`, `ScheduleFreeSGD`, the transforms `ExponentialAverage`,
    `StochasticWeightAverage` and `Lookahead` (its slow weights), and `use_ema`, whose
    averages then do not replace the weights for good at the end of `fit`.

    Args:
        batch_norm_data: Batches of inputs, or None: an iterable that can be gone
            through again, of which the moving statistics of `BatchNormalization` are
            computed anew whenever averages are put in. They belong to the weights that
            were trained otherwise.

    Raises:
        TypeError: The optimizer is not of this package.
        ValueError: The optimizer keeps no averages.

    Example:
        >>> callback = keras_adamx.callbacks.EvaluateAveraged()
        >>> optimizer = keras_adamx.ScheduleFreeAdamW(2.5e-3)
    """

    def __init__(self, *, batch_norm_data: Iterable[Any] | None = None) -> None:
        super().__init__()
        if batch_norm_data is not None and not isinstance(batch_norm_data, Iterable):
            raise TypeError(
                "EvaluateAveraged: argument `batch_norm_data` must be an iterable of "
                f"batches or None. Received: batch_norm_data={batch_norm_data!r}"
            )
        self._data = batch_norm_data
        # The statistics that belong to the trained weights.
        self._statistics: list[np.ndarray] | None = None
        self._fitting = False

    @property
    def _optimizer(self) -> Optimizer:
        return optimizer_of(self.model, type(self).__name__)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        # Some releases of Keras count the variables before `on_train_begin`.
        optimizer = any_optimizer_of(model)
        if isinstance(optimizer, Optimizer) and optimizer.entries:
            optimizer.prepare_averaged_weights()

    def on_train_begin(self, logs: Any = None) -> None:
        optimizer = self._optimizer
        if not optimizer.entries:
            optimizer.build(self.model.trainable_variables)
        if not optimizer.has_averages:
            raise ValueError(
                f"EvaluateAveraged: {type(optimizer).__name__} keeps no averages of "
                "the weights. Allowed: a Schedule-Free optimizer, `use_ema=True`, or "
                "one of the transforms ExponentialAverage, StochasticWeightAverage and "
                "Lookahead."
            )
        self._fitting = True
        optimizer.prepare_averaged_weights()
        self._take_out()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # Only while an epoch has ended: a `fit` that is interrupted leaves nothing set.
        self._optimizer.keeps_trained_weights = False
        self._take_out()

    def on_test_begin(self, logs: Any = None) -> None:
        if self._fitting:
            self._put_in()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._optimizer.keeps_trained_weights = True
        self._put_in()

    def on_train_end(self, logs: Any = None) -> None:
        self._put_in()
        self._fitting = False
        self._optimizer.keeps_trained_weights = False
        # The next `fit` is to trace again, and to find out if it has no such callback.
        self.model.train_function = None

    def _put_in(self) -> None:
        optimizer = self._optimizer
        if optimizer.holds_averages:
            return
        optimizer.put_in_averaged_weights()
        if self._data is not None and optimizer.holds_averages:
            self._recompute(self._data)

    def _take_out(self) -> None:
        self._optimizer.put_in_trained_weights()
        if self._statistics is not None:
            for variable, value in zip(self._moving, self._statistics):
                variable.assign(value)
            self._statistics = None

    @property
    def _norms(self) -> list[Any]:
        norm = keras.layers.BatchNormalization
        return [layer for layer in layers_of(self.model) if isinstance(layer, norm)]

    @property
    def _moving(self) -> list[Any]:
        return [v for n in self._norms for v in (n.moving_mean, n.moving_variance)]

    def _recompute(self, data: Iterable[Any]) -> None:
        """Mean of the statistics of all batches; nothing else changes."""
        norms = self._norms
        if not norms:
            return
        self._statistics = [_array(v) for v in self._moving]
        moving = {id(v) for v in self._moving}
        others = [v for v in self.model.variables if id(v) not in moving]
        others = [v for v in others if not v.trainable]
        kept = [_array(v) for v in others]
        momenta = [norm.momentum for norm in norms]
        try:
            for number, batch in enumerate(data):
                for norm in norms:
                    norm.momentum = number / (number + 1.0)
                inputs = batch[0] if isinstance(batch, tuple) else batch
                self.model(inputs, training=True)
        finally:
            for norm, momentum in zip(norms, momenta):
                norm.momentum = momentum
            for variable, value in zip(others, kept):
                variable.assign(value)


def _array(variable: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(variable))
