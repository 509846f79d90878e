"""One training of a comparison, from the initial weights to the last evaluation."""

from __future__ import annotations

import contextlib
import gc
import inspect
import math
import re
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_adamx.callbacks.evaluate_averaged import EvaluateAveraged
from keras_adamx.compare import measuring
from keras_adamx.compare.contender import Contender
from keras_adamx.compare.records import Evaluation, Run, Task
from keras_adamx.compare.workload import Data, Part, Workload
from keras_adamx.core import models
from keras_adamx.core.keeping import array_of, kept_random_states
from keras_adamx.core.optimizer import Optimizer

# Steps that TensorFlow makes in one call. Fewer leave time to Python between them.
STEPS_PER_CALL = 20
# Most examples of an evaluation at a time.
EVALUATED = 1024
# Most examples of a trial of the model, and characters of an error in the records.
TRIED = 8
LONGEST = 400
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Batches from which the statistics of batch normalisation are taken for averages.
NORMALISED = 20


@contextlib.contextmanager
def quick_collections() -> Iterator[None]:
    """Leave what is there already out of the search for what a run has left behind.

    The backends have so many objects that to look through all of them may take longer
    than a short run.
    """
    if gc.get_freeze_count():  # Somebody else does the same.
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def said(error: BaseException) -> str:
    """Kind and text of an error in a line, without what Keras adds about the call."""
    text = _COLOURS.sub("", str(error)).partition("Arguments received by")[0]
    return f"{type(error).__name__}: {' '.join(text.split())[:LONGEST]}"


def try_out(workload: Workload, data: Data) -> None:
    """Make a step and an evaluation of a few examples, not compiled.

    Raises:
        ValueError: The model and the data do not fit.
    """
    with kept_random_states():
        try:
            model = workload.build()
            compile_for(workload, model, keras.optimizers.SGD(0.0))
            model.run_eagerly = True
            model.jit_compile = False
            for part in (data.train, data.tuning, data.test):
                few = _map(lambda x: x[: min(workload.batch_size, TRIED)], tuple(part))
                if part is data.train:
                    model.fit(*few, batch_size=TRIED, verbose=0)
                else:
                    model.evaluate(*few, batch_size=TRIED, verbose=0)
        except Exception as error:
            raise ValueError(
                f"compare: the model does not train on the data: {said(error)}"
            ) from error


class NotFiniteError(Exception):
    """A number that is not finite."""


def train(
    workload: Workload,
    data: Data,
    task: Task,
    contender: Contender,
    *,
    phase: str,
    settings: dict[str, Any],
    seed: int,
    own_process: bool = False,
) -> Run:
    """Train once; what goes wrong on the way is part of the result.

    Args:
        workload: The workload.
        data: Its data.
        task: What the plan says of the workload.
        contender: The optimizer.
        phase: `"tuning"` or `"test"`: which part of the data is evaluated.
        settings: Values of what is tuned.
        seed: Seed of the initial weights and of the order of the data.
        own_process: Whether the process is for this run alone, so that its memory is
            that of the run.
    """
    curve: list[Evaluation] = []
    training: _Training | None = None
    reason, measured = None, _Measured()
    before = measuring.load()
    part = data.tuning if phase == "tuning" else data.test
    with kept_random_states():
        try:
            training = _Training(workload, data, task, contender, settings, seed)
            for point in training.points(part, measured):
                curve.append(point)
            if own_process:
                measured.peak_memory_bytes = measuring.peak_memory()
            if phase == "test":
                microseconds = measuring.update_microseconds(training.model)
                measured.update_microseconds = microseconds
        except NotFiniteError as error:
            reason = str(error)
        except Exception as error:
            at = curve[-1].step if curve else 0
            kind, _, text = said(error).partition(": ")
            reason = f"{kind} after step {at}: {text}"
        finally:
            training = None
            gc.collect()  # A model and its compiled functions refer to each other.
    loads = [each for each in (before, measuring.load()) if each is not None]
    return Run(
        label=contender.entry.label,
        phase=phase,
        settings=settings,
        seed=seed,
        status="finished" if reason is None else "failed",
        reason=reason,
        curve=tuple(curve),
        update_microseconds=measured.update_microseconds,
        state_bytes=measured.state_bytes,
        peak_memory_bytes=measured.peak_memory_bytes,
        compile_seconds=measured.compile_seconds,
        load=sum(loads) / len(loads) if loads else None,
    )


class _Measured:
    """Numbers of a run as they become known."""

    update_microseconds: float | None = None
    state_bytes: int | None = None
    peak_memory_bytes: int | None = None
    compile_seconds: float | None = None


class _Training:
    """A model with its optimizer and the order of the data."""

    def __init__(
        self,
        workload: Workload,
        data: Data,
        task: Task,
        contender: Contender,
        settings: dict[str, Any],
        seed: int,
    ) -> None:
        models.fresh_global_seed(seed)
        self.data, self.task, self.seed = data, task, seed
        self.model = workload.build()
        self.optimizer = contender.optimizer(settings, task.steps)
        compile_for(workload, self.model, self.optimizer, self._steps_per_call)
        first = self._batches(0, 1)
        if not all(layer.built for layer in models.layers_of(self.model)):
            models.build_model(self.model, tuple(first))
        # With float16, Keras has put an optimizer around it that scales the loss.
        self.model.optimizer.build(self.model.trainable_variables)
        self.averages = self._averages()
        # Some optimizers have drawn numbers by now, and some have not.
        models.fresh_global_seed(seed)

    @property
    def _steps_per_call(self) -> int:
        if keras.backend.backend() != "tensorflow":
            return 1
        return min(STEPS_PER_CALL, self.task.evaluate_every)

    def _averages(self) -> EvaluateAveraged | None:
        """What puts averages in for evaluation, if the optimizer keeps some."""
        if not isinstance(self.optimizer, Optimizer) or not self.optimizer.has_averages:
            return None
        number = min(NORMALISED, self.task.steps_per_epoch)
        inputs = self._batches(0, number).inputs
        size = self.task.batch_size
        batches = [
            _map(lambda x, i=i: x[i * size : (i + 1) * size], inputs)
            for i in range(number)
        ]
        averages = EvaluateAveraged(batch_norm_data=batches)
        averages.set_model(self.model)
        averages.on_train_begin()
        # `use_ema` would put the averages in for good at the end of each `fit`.
        self.optimizer.keeps_trained_weights = True
        return averages

    def _order(self, epoch: int) -> np.ndarray:
        """The examples of an epoch in their order; those of no full batch are left."""
        random = np.random.default_rng([self.seed, epoch])
        examples = random.permutation(length(self.data.train))
        return examples[: self.task.steps_per_epoch * self.task.batch_size]

    def _batches(self, first: int, last: int) -> Part:
        """The examples of the steps from `first` to before `last`."""
        size, epoch_steps = self.task.batch_size, self.task.steps_per_epoch
        rows = []
        for epoch in range(first // epoch_steps, (last - 1) // epoch_steps + 1):
            begin = max(first - epoch * epoch_steps, 0)
            end = min(last - epoch * epoch_steps, epoch_steps)
            rows.append(self._order(epoch)[begin * size : end * size])
        chosen = np.concatenate(rows)
        taken = _map(lambda x: x[chosen], tuple(self.data.train))
        return Part(*taken)

    def points(self, part: Part, measured: _Measured) -> Any:
        """Train, and give each evaluation.

        Raises:
            NotFiniteError: A loss or the metric is not finite.
        """
        measured.compile_seconds = self._warm_up()
        measured.state_bytes = measuring.state_bytes(self.optimizer)
        step, seconds = 0, 0.0
        while step < self.task.steps:
            until = min(step + self.task.evaluate_every, self.task.steps)
            clock = _Clock(self.optimizer)
            loss = self._fit(step, until, clock)
            seconds += clock.seconds
            if not math.isfinite(loss):
                raise NotFiniteError(f"the training loss is {loss} at step {until}")
            held_out, value = self._evaluated(part, clock)
            for name, number in (("loss", held_out), (self.task.metric, value)):
                if not math.isfinite(number):
                    raise NotFiniteError(
                        f"{name} on held-out data is {number} at {until}"
                    )
            step = until
            yield Evaluation(step, seconds, loss, held_out, value)

    def _warm_up(self) -> float:
        """Compile the step; nothing has changed afterwards. Returns its seconds."""
        number = min(self._steps_per_call, self.task.steps)
        clocks = [_Clock(self.optimizer), _Clock(self.optimizer)]
        optimizers = (self.optimizer, self.model.optimizer)
        variables = list(self.model.variables)
        variables += [v for optimizer in optimizers for v in optimizer.variables]
        before = [array_of(variable) for variable in variables]
        # Not by seeding: TensorFlow would forget what it has compiled.
        with kept_random_states():
            for clock in clocks:
                self._fit(0, number, clock)
                clock.put_back(self.model)
        for variable, value in zip(variables, before):
            variable.assign(value)
        return max(clocks[0].seconds - clocks[1].seconds, 0.0)

    def _fit(self, first: int, last: int, clock: _Clock) -> float:
        """Make some steps; returns the mean training loss."""
        inputs, labels = self._batches(first, last)
        history = self.model.fit(
            inputs,
            labels,
            batch_size=self.task.batch_size,
            shuffle=False,
            verbose=0,
            callbacks=[clock],
        )
        clock.separate(self.model)
        return float(history.history["loss"][-1])

    def _evaluated(self, part: Part, clock: _Clock) -> tuple[float, float]:
        """Loss and metric on held-out data, at the averages if there are some."""
        if self.averages is not None:
            self.averages.on_epoch_end(0)
        logs = self.model.evaluate(
            *part, batch_size=_evaluated_at_once(part), verbose=0, return_dict=True
        )
        if self.averages is not None:
            self.averages.on_epoch_begin(0)
            self.optimizer.keeps_trained_weights = True
        clock.put_back(self.model)
        others = [float(v) for name, v in logs.items() if name != "loss"]
        loss = float(logs["loss"])
        return loss, loss if self.task.metric == "loss" else others[-1]


class _Clock(keras.callbacks.Callback):
    """Seconds of the steps of a `fit`, from the first one to the end of its epoch.

    Keras' own optimizers with `use_ema` put their averages in at the end of `fit`. The
    trained weights are kept here, and put back after the evaluation.
    """

    def __init__(self, optimizer: Any) -> None:
        super().__init__()
        self.seconds = 0.0
        ours = isinstance(optimizer, Optimizer)
        self._replaced = not ours and bool(getattr(optimizer, "use_ema", False))
        self._trained: list[np.ndarray] = []
        self._start: float | None = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._start is None:
            self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        # The values of the metrics are known here: the last step has ended.
        if self._start is not None:
            self.seconds = time.perf_counter() - self._start
        if self._replaced:
            weights = self.model.trainable_variables
            self._trained = [array_of(weight) for weight in weights]

    def separate(self, model: keras.Model) -> None:
        """Give the model copies of the averages.

        On JAX they would be the same memory, which the evaluation gives away.
        """
        if self._trained:
            for variable in model.trainable_variables:
                variable.assign(array_of(variable))

    def put_back(self, model: keras.Model) -> None:
        """Give the model the weights that it had before the end of `fit`."""
        if self._trained:
            for variable, value in zip(model.trainable_variables, self._trained):
                variable.assign(value)


def compile_for(
    workload: Workload, model: keras.Model, optimizer: Any, steps_per_call: int = 1
) -> None:
    """Compile a model for a workload, or with what it was compiled with before."""
    metrics: list[Any] = []
    loss, weights = made(workload.loss), None
    jit: Any = workload.jit_compile.get(keras.backend.backend(), "auto")
    eagerly = False
    if loss is None:
        loss, weights, metrics = models.compiled_with(model)
        eagerly = model.run_eagerly
    if workload.metric == "loss":
        metrics = []
    elif workload.metric is not None:
        metrics = [made(workload.metric)]
    model.compile(
        optimizer,
        loss=loss,
        loss_weights=weights,
        metrics=metrics[:1],
        jit_compile=False if eagerly else jit,
        run_eagerly=eagerly,
        steps_per_execution=1 if eagerly else steps_per_call,
    )


def made(given: Any) -> Any:
    """What a function without arguments returns; anything else as it is."""
    if not callable(given) or isinstance(given, keras.losses.Loss):
        return given
    try:
        inspect.signature(given).bind()
    except (TypeError, ValueError):  # It takes labels and predictions.
        return given
    return given()


def length(part: Part) -> int:
    """Number of examples."""
    return len(keras.tree.flatten(part.inputs)[0])


def _map(function: Any, arrays: Any) -> Any:
    return keras.tree.map_structure(function, arrays)


def _evaluated_at_once(part: Part) -> int:
    """Size of batches that leaves no smaller one, which would be compiled anew."""
    n = length(part)
    if n <= EVALUATED:
        return n
    even = [size for size in range(EVALUATED, EVALUATED // 8, -1) if n % size == 0]
    return even[0] if even else EVALUATED
