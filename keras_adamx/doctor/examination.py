"""What the checks look at: a model and a sample, and what follows of them, once."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np

from keras_adamx.doctor import trial
from keras_adamx.doctor.gradients import Pass, look
from keras_adamx.doctor.keeping import kept
from keras_adamx.doctor.outputs import Output, outputs_of
from keras_adamx.doctor.registry import CannotJudgeError
from keras_adamx.doctor.sample import Sample
from keras_adamx.doctor.thresholds import Thresholds
from keras_adamx.doctor.trace import Call, activation_of, summary_of


class Examination:
    """A model, a sample of its data, and what was measured of them so far.

    Args:
        model: The model.
        sample: Rows of the data.
        thresholds: Where a number becomes a finding.
        given_loss: The loss that takes the place of the model's own, or None.
        batch_size: Rows of a batch.
        seed: Of the random numbers of the checks.
    """

    def __init__(
        self,
        model: keras.Model,
        sample: Sample,
        thresholds: Thresholds,
        given_loss: Any,
        batch_size: int,
        seed: int,
    ) -> None:
        self.model = model
        self.sample = sample
        self.thresholds = thresholds
        self.given_loss = given_loss
        self.batch_size = min(batch_size, sample.rows)
        self.seed = seed
        self._trials: dict[float, trial.Trial] = {}

    @property
    def loss(self) -> Any:
        """The loss, as the user gave it."""
        if self.given_loss is not None:
            return self.given_loss
        return getattr(self.model, "loss", None)

    @functools.cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        """The inputs of the sample by the name that findings call them."""
        x = self.sample.x
        if isinstance(x, dict):
            return {f"input '{name}'": array for name, array in x.items()}
        arrays = keras.tree.flatten(x)
        if len(arrays) == 1:
            return {"the input": arrays[0]}
        names = [tensor.name for tensor in getattr(self.model, "inputs", None) or []]
        if len(names) != len(arrays):
            names = [f"{i}" for i in range(len(arrays))]
        return {f"input '{name}'": array for name, array in zip(names, arrays)}

    @functools.cached_property
    def first(self) -> Pass:
        """A pass through the model as it is."""
        batch = self.sample.part(0, self.batch_size)
        with kept(self.model, self.given_loss):
            return look(self.model, batch, self.has_loss)

    @property
    def has_loss(self) -> bool:
        """Whether there is something to compute a loss of."""
        own = type(self.model).compute_loss is not keras.Model.compute_loss
        return self.loss is not None or own or bool(self.model.losses)

    @functools.cached_property
    def outputs(self) -> list[Output]:
        """The outputs with what they are trained on."""
        predictions = self.first.predictions
        number = 1
        if predictions is not None:
            number = len(predictions)
        elif getattr(self.model, "outputs", None):
            number = len(self.model.outputs)
        found = outputs_of(self.model, self.loss, self.sample.y, number)
        for i, output in enumerate(found):
            if predictions is not None:
                output.predictions = predictions[i]
            ends = [c.layer for c in self.first.calls or [] if c.output == i]
            if ends:
                output.activation = activation_of(ends[-1])
        return found

    def known_outputs(self, *kinds: str) -> list[Output]:
        """Outputs with targets whose loss is of one of these kinds."""
        return [o for o in self.outputs if o.kind in kinds and o.target is not None]

    @property
    def calls(self) -> list[Call]:
        """The calls of layers in the first pass."""
        if self.first.calls is None:
            raise CannotJudgeError(
                f"the layers could not be watched: {self.first.unwatched}"
            )
        return self.first.calls

    @property
    def gradients(self) -> list[np.ndarray | None]:
        """The gradients of the first batch."""
        if self.first.gradients is None:
            reason = self.first.failed or "the model has no loss"
            raise CannotJudgeError(f"there are no gradients: {reason}")
        return self.first.gradients

    def takers(self, array: np.ndarray) -> list[Call]:
        """The calls of layers that were given an input as it is.

        Known by size, mean, spread and limits: layers convert what they are given.
        """
        if self.first.calls is None:
            return []
        batch = array[: self.batch_size]
        if not np.issubdtype(batch.dtype, np.number):
            return []
        wanted = summary_of(batch)
        return [
            call
            for call in self.first.calls
            if call.given is not None
            and np.allclose(call.given, wanted, rtol=1e-2, atol=1e-6, equal_nan=True)
        ]

    def trial(self, factor: float = 1.0) -> trial.Trial:
        """Some steps of training at a multiple of the learning rate, taken back."""
        if not self.has_loss or self.first.function is None:
            reason = self.first.failed or "the model has no loss"
            raise CannotJudgeError(f"no step can be made: {reason}")
        if not self.model.trainable_variables:
            raise CannotJudgeError("no step can be made: nothing is trainable")
        if self.first.loss is None or not np.isfinite(self.first.loss):
            raise CannotJudgeError("no step can be made: the loss is not finite")
        if factor not in self._trials:
            self._trials[factor] = trial.run(self, factor)
        return self._trials[factor]
