"""What the optimizer does in every step, for logs and for TensorBoard."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_adamx.callbacks.watching import Watch, any_optimizer_of, optimizer_of
from keras_adamx.core import backend, measures
from keras_adamx.core.arguments import count
from keras_adamx.core.measures import Measured, Measures
from keras_adamx.core.optimizer import Optimizer

_COLUMNS = (measures.GRADIENT, measures.STEP, measures.WEIGHTS)


class OptimizerMonitor(keras.callbacks.Callback):
    """Logs what the steps of an optimizer of this package are like.

    With the gradient g before clipping, the weights w before the step, the step Δw that
    they made, and norms over all variables together, it adds to the logs:

        gradient_norm              ‖g‖
        update_ratio               ‖Δw‖ / ‖w‖
        effective_learning_rate    ‖Δw‖ / ‖g‖
        learning_rate              as the optimizer had it
        clip_rate                  share of gradients that were clipped
        skipped_steps              how many steps `nonfinite` has skipped so far

    They are measured as part of the step, on the device, and read after it. The
    progress bar and the callbacks behind this one in the list see them after each
    batch; `History`, `CSVLogger` and `TensorBoard` see their means over an epoch
    (`learning_rate` and `skipped_steps` as they were last). Under accumulation they
    are those of the last update. With `sparse="lazy"`, norms are those of the rows that
    were updated; Δw is taken before a weight constraint.

    Args:
        every: Integer >= 1: read them after every so many batches.
        by_layer: Whether to add the norms of each layer too: "gradient_norm/dense".
        slots: Whether to add the norm of what the optimizer keeps: "momentum_norm".
        prefix: What the names begin with.
        log_dir: Folder for TensorBoard, or None: histograms of the weights and of what
            the optimizer keeps for them are written there. Needs TensorFlow, whatever
            the backend.
        histogram_every: Integer >= 1: in epochs.

    Raises:
        TypeError: The optimizer is not of this package; an argument is of a wrong type.
        ValueError: An argument is out of its range.
        ImportError: `log_dir` is given and TensorFlow is not installed.

    Example:
        >>> monitor = keras_adamx.callbacks.OptimizerMonitor(by_layer=True)
    """

    every: int = count(1)
    histogram_every: int = count(1)

    def __init__(
        self,
        every: int = 1,
        *,
        by_layer: bool = False,
        slots: bool = False,
        prefix: str = "",
        log_dir: str | None = None,
        histogram_every: int = 1,
    ) -> None:
        super().__init__()
        self.every = every
        self._by_layer = by_layer
        self._slots = slots
        self._prefix = prefix
        self._watch: Any = None
        self.histogram_every = histogram_every
        self._summary: Any = None
        self._writer: Any = None
        if log_dir is not None:
            self._summary = _tensorflow().summary
            self._writer = self._summary.create_file_writer(str(log_dir))

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        # Some releases of Keras count the variables before `on_train_begin`.
        if isinstance(any_optimizer_of(model), Optimizer):
            self._watch = Watch(model, any_optimizer_of(model), self._slots)

    def on_train_begin(self, logs: Any = None) -> None:
        self._optimizer = optimizer_of(self.model, type(self).__name__)
        # Asked for once: on JAX, asking for the model takes as long as a step.
        self._model_name = f"{self.model.name}/"
        self._watch.begin()
        self._before = self._watch.read()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._read: list[dict[str, float]] = []
        self._at_begin = self._before
        self._watch.begin_epoch()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self._watch.due(batch, self.every):
            return
        measured = self._watch.read()
        found = self._numbers(measured)
        self._before = measured
        if measured.any:  # Under accumulation, the first one may still be to come.
            self._read.append(found)
        if logs is not None:
            logs.update(found)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._read and logs is not None:
            names = self._read[-1]
            number = len(self._read)
            means = {n: sum(r[n] for r in self._read) / number for n in names}
            kept = [self._prefix + n for n in ("learning_rate", "skipped_steps")]
            means |= {name: self._read[-1][name] for name in kept}
            clip_rate = _clip_rate(self._before, self._at_begin)
            logs.update(means | {self._prefix + "clip_rate": clip_rate})
        if self._writer is not None and (epoch + 1) % self.histogram_every == 0:
            self._write_histograms(epoch)

    def on_test_begin(self, logs: Any = None) -> None:
        if self._watch is not None:
            self._watch.begin_test()

    def on_train_end(self, logs: Any = None) -> None:
        self._watch.end()
        if self._writer is not None:
            self._writer.flush()

    def _numbers(self, measured: Measured) -> dict[str, float]:
        """What is logged."""
        found = _norms(*map(measured.norm, _COLUMNS))
        found["clip_rate"] = _clip_rate(measured, self._before)
        found["learning_rate"] = self._watch.learning_rate(measured)
        found["skipped_steps"] = float(self._watch.skipped_steps)
        if self._slots or self._by_layer:
            each = measured.each()
            found |= self._of_slots(each) if self._slots else {}
            found |= self._of_layers(each) if self._by_layer else {}
        return {self._prefix + name: value for name, value in found.items()}

    def _of_slots(self, each: list[Measures]) -> dict[str, float]:
        norms: dict[str, list[float]] = {}
        for m in each:
            for name, norm in m.slot_norms.items():
                norms.setdefault(f"{name}_norm", []).append(norm)
        return {name: math.hypot(*values) for name, values in norms.items()}

    def _of_layers(self, each: list[Measures]) -> dict[str, float]:
        layers: dict[str, list[Measures]] = {}
        for m in each:
            # Not the name of the model, which a loaded one may have lost.
            layer = m.layer.removeprefix(self._model_name)
            layers.setdefault(layer, []).append(m)
        fields = ("gradient_norm", "step_norm", "weight_norm")
        return {
            f"{name}/{layer}": value
            for layer, members in layers.items()
            for name, value in _norms(
                *(math.hypot(*(getattr(m, field) for m in members)) for field in fields)
            ).items()
        }

    def _write_histograms(self, epoch: int) -> None:
        with self._writer.as_default():
            for entry in self._optimizer.entries:
                stored = {name: backend.read(v) for name, v in entry.stored.items()}
                values = {n: c.decode(n, stored) for n, c in entry.codecs.items()}
                values["weights"] = ops.cast(backend.read(entry.variable), "float32")
                for name, value in values.items():
                    tag = f"{self._prefix}{entry.path}/{name}"
                    array = ops.convert_to_numpy(value)
                    self._summary.histogram(tag, array, step=epoch)


def _norms(gradient: float, step: float, weights: float) -> dict[str, float]:
    """What is logged of three norms."""
    return {
        "gradient_norm": gradient,
        "update_ratio": step / weights if weights else 0.0,
        "effective_learning_rate": step / gradient if gradient else 0.0,
    }


def _clip_rate(measured: Measured, before: Measured) -> float:
    """The share of gradients that were clipped since then."""
    updates = measured.since(before, measures.UPDATES)
    return measured.since(before, measures.CLIPPED) / updates if updates else 0.0


def _tensorflow() -> Any:
    try:
        import tensorflow
    except ImportError as error:
        raise ImportError(
            "OptimizerMonitor writes histograms with TensorFlow: pip install tensorflow"
        ) from error
    return tensorflow
