"""The learning-rate range test, which leaves the model as it was."""

from __future__ import annotations

import contextlib
import math
import numbers
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_adamx.core import backend, bridge, models
from keras_adamx.core.keeping import kept_random_states, kept_values
from keras_adamx.tuning.curve import RangeTest, smoothed

# What `fit` sets on a model beside its variables.
_SET_BY_FIT = ("optimizer", "train_function", "stop_training", "steps_per_execution")


def find_learning_rate(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    batch_size: int | None = None,
    sample_weight: Any = None,
    class_weight: dict[int, float] | None = None,
    minimum: float = 1e-7,
    maximum: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.9,
    diverge: float = 4.0,
    rule: str = "steepest",
    shuffle: bool = True,
    seed: int = 0,
    verbose: bool = True,
) -> RangeTest:
    """Train for some steps while the learning rate rises, and suggest a rate.

    Step i has the learning rate

        η_i = minimum · (maximum / minimum)^(i / (steps - 1))

    The test ends early where the smoothed loss exceeds `diverge` times its lowest value
    so far, or a loss is not finite.

    Nothing of the model has changed afterwards, nor where the test was interrupted:
    weights, statistics, seeds and metrics are put back, and a copy of the optimizer was
    trained, without state, schedule of the learning rate and warm-up. Random numbers of
    Python, NumPy and the backend go on as if there had been no test. What the data
    count themselves is not put back: the items of a generator are gone, a shuffled
    `tf.data.Dataset` is in its next order, and `on_epoch_end` of a `PyDataset` was
    called if it was gone through.

    Args:
        model: A compiled model.
        x: What `fit` takes: arrays, `tf.data.Dataset`, `PyDataset`, `DataLoader` or a
            generator. A data set that ends before the test does is begun again.
        y: Targets, where `x` is an array.
        batch_size: Number of samples a step of arrays; 32 by default.
        sample_weight: As `fit` takes it.
        class_weight: As `fit` takes it.
        minimum: First learning rate > 0.
        maximum: Last learning rate, above `minimum`.
        steps: Number >= 10 of updates. With `gradient_accumulation_steps`, each takes
            so many batches, and its loss is their mean.
        smoothing: β in [0, 1) of the smoothed loss.
        diverge: Number > 1.
        rule: "steepest", "valley" or "minimum": see `keras_adamx.tuning.RangeTest`.
        shuffle: Whether arrays are gone through in a random order.
        seed: Integer >= 0, the seed of that order.
        verbose: Whether to show a progress bar, if `rich` is installed.

    Returns:
        A `RangeTest`; its `suggestion` is the learning rate.

    Raises:
        TypeError: The optimizer is a `MultiOptimizer`, which has no learning rate, or
            an argument is of the wrong type.
        ValueError: The model is not compiled, an argument is out of range, or a
            generator ends before the test.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(256, 4))
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        >>> model.compile(keras_adamx.Adam(), "mse")
        >>> result = keras_adamx.find_learning_rate(
        ...     model, x, x.sum(axis=1, keepdims=True), minimum=1e-5, verbose=False
        ... )
        >>> 1e-3 < result.suggestion < 1.0
        True

    Source:
        Smith 2015, "Cyclical learning rates for training neural networks",
        arXiv:1506.01186.
    """
    if not getattr(model, "compiled", False) or model.optimizer is None:
        raise ValueError(
            "find_learning_rate: argument `model` must be compiled with an optimizer."
        )
    _check_arguments(minimum, maximum, steps, smoothing, diverge, batch_size)
    RangeTest([], [], smoothing=smoothing, rule=rule)  # Refuses what it does not know.
    rates = np.geomspace(minimum, maximum, steps).tolist()
    with _left_alone(model):
        with backend.scope_of(model):
            trial = trial_of(model.optimizer, rates[0])
        each = _inner(trial).gradient_accumulation_steps or 1
        test = _Test(rates, each, smoothing, diverge, verbose)
        data = {"x": x, "y": y, "sample_weight": sample_weight}
        if _are_arrays(data):
            batch_size = batch_size or 32
            data = _rows(data, batch_size, steps * each, shuffle, seed)
        models.set_untracked(
            model, optimizer=trial, train_function=None, steps_per_execution=1
        )
        if not all(layer.built for layer in models.layers_of(model)):
            models.build_model(model, _first_batch(data, batch_size))
        with _variables_kept(model), test.progress(), warnings.catch_warnings():
            # Keras warns of the end of data whose length it does not know.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            model.fit(
                **data,
                batch_size=batch_size,
                class_weight=class_weight,
                shuffle=False,
                # Where a generator begins again, Keras gives its first batches again.
                epochs=1 if _is_spent(x) else steps * each,
                verbose=0,
                callbacks=[test],
            )
    if not test.ended:
        raise ValueError(
            f"find_learning_rate: the data ended after {len(test.losses)} of {steps} "
            "steps and could not be begun again. Give more of them, or fewer `steps`."
        )
    return RangeTest(
        rates[: len(test.losses)], test.losses, smoothing=smoothing, rule=rule
    )


class _Test(keras.callbacks.Callback):
    """Sets the rate before each step and notes the loss after it."""

    def __init__(
        self,
        rates: list[float],
        each: int,
        smoothing: float,
        diverge: float,
        verbose: bool,
    ) -> None:
        super().__init__()
        self.rates = rates
        self.losses: list[float] = []
        self.ended = False
        self._each = each
        self._smoothing = smoothing
        self._diverge = diverge
        self._bar = _progress() if verbose else None
        # Losses of the batches of this step.
        self._batches: list[float] = []
        self._any = False

    @contextlib.contextmanager
    def progress(self) -> Iterator[None]:
        """Show the bar while the test runs."""
        with self._bar or contextlib.nullcontext():
            if self._bar is not None:
                self._bar.add_task("learning-rate range test", total=len(self.rates))
            yield

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._any = False

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        # On JAX the variables are elsewhere during `fit`, and are read anew after this.
        models.synchronize(self.model)
        # The loss that Keras tells is the mean since the metrics were reset.
        self.model.reset_metrics()
        self.model.optimizer.learning_rate = self.rates[len(self.losses)]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._any = True
        if "loss" not in (logs or {}):
            raise ValueError(
                "find_learning_rate: `train_step` of the model must return its loss as "
                f"'loss'. Received: {sorted(logs or {})}"
            )
        self._batches.append(float(ops.convert_to_numpy(logs["loss"])))
        if len(self._batches) == self._each:
            self.losses.append(float(np.mean(self._batches)))
            self._batches = []
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], advance=1)
            self.ended = len(self.losses) == len(self.rates) or self._diverged()
            self.model.stop_training = self.ended

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not self._any:  # A generator that has ended.
            self.model.stop_training = True

    def _diverged(self) -> bool:
        curve = smoothed(self.losses, self._smoothing)
        lowest = min(curve)
        # Of a loss below zero, as far above it as of one that is as far above zero.
        limit = lowest + (self._diverge - 1.0) * abs(lowest)
        return not math.isfinite(self.losses[-1]) or curve[-1] > limit


def _progress() -> Any:
    try:
        import rich
        from rich.progress import Progress
    except ImportError:
        return None
    console = rich.get_console()
    return Progress(
        transient=True, disable=not (console.is_terminal or console.is_jupyter)
    )


def trial_of(optimizer: Any, rate: float) -> Any:
    """A copy of an optimizer without state, with a constant learning rate."""
    if hasattr(optimizer, "optimizers"):
        raise TypeError(
            f"find_learning_rate: {type(optimizer).__name__} has a learning rate for "
            "each of its optimizers. Compile with one of them, or with groups of "
            "keras_adamx, whose rates are factors of one."
        )
    config = optimizer.get_config()
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        return type(optimizer)(**{**config, "inner_optimizer": trial_of(inner, rate)})
    config["learning_rate"] = rate
    if config.get("warmup_steps"):
        config["warmup_steps"] = 0
    if config.get("nonfinite") == "raise":  # The test ends there without an error.
        config["nonfinite"] = "propagate"
    trial = type(optimizer).from_config(config)
    bridge.copy_exclusions(optimizer, trial)
    return trial


def _inner(optimizer: Any) -> Any:
    return getattr(optimizer, "inner_optimizer", optimizer)


# Data.


def _are_arrays(data: dict[str, Any]) -> bool:
    """Whether data are of arrays, whose rows can be taken."""
    leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
    return all(
        hasattr(leaf, "shape") and hasattr(leaf, "__getitem__") and not _sparse(leaf)
        for leaf in leaves
    )


def _sparse(leaf: Any) -> bool:
    name = type(leaf).__name__.lower()
    return "sparse" in name or "ragged" in name or hasattr(leaf, "tocsr")


def _is_spent(x: Any) -> bool:
    """Whether data are there once only: a generator."""
    return isinstance(x, Iterator)


def _rows(
    data: dict[str, Any], batch_size: int, batches: int, shuffle: bool, seed: int
) -> dict[str, Any]:
    """Rows for so many whole batches, or for as many as there are."""
    leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
    numbers = list(dict.fromkeys(len(leaf) for leaf in leaves))
    number = numbers[0]
    if len(numbers) > 1:
        raise ValueError(
            "find_learning_rate: x, y and sample_weight must have as many rows as each "
            f"other. Received: {', '.join(map(str, numbers))}"
        )
    if not number:
        raise ValueError(
            "find_learning_rate: argument `x` must have at least one row. Received: "
            "an array of none"
        )
    rows = np.arange(number)
    if shuffle:
        rows = np.random.default_rng(seed).permutation(number)
    if number > batch_size:
        rows = rows[: min(batches, number // batch_size) * batch_size]

    def take(leaf: Any) -> Any:
        return None if leaf is None else np.asarray(ops.convert_to_numpy(leaf))[rows]

    return keras.tree.map_structure(take, data)


def _first_batch(data: dict[str, Any], size: int | None) -> Any:
    """One batch to build a model with."""
    if _are_arrays(data):
        names = ("x", "y", "sample_weight")
        return tuple(
            keras.tree.map_structure(lambda a: None if a is None else a[:size], data[n])
            for n in names
        )
    x = data["x"]
    if isinstance(x, keras.utils.PyDataset):
        return x[0]
    if _is_spent(x):
        raise ValueError(
            "find_learning_rate: the model must be built before the test where `x` is "
            "a generator. Call it on a batch, or begin it with `keras.Input`."
        )
    return next(iter(x))


# What is put back.


@contextlib.contextmanager
def _left_alone(model: Any) -> Iterator[None]:
    """Put back what a test changes beside the variables of the model."""
    with kept_random_states(), models.loss_only(model), _attributes_kept(model):
        yield


@contextlib.contextmanager
def _attributes_kept(model: Any) -> Iterator[None]:
    """Put back what `fit` sets on a model."""
    kept = {name: getattr(model, name) for name in _SET_BY_FIT}
    history = getattr(model, "history", None)
    modes = models.training_modes(model)
    try:
        yield
    finally:
        models.set_untracked(model, **kept)
        if history is not None:
            model.history = history
        elif hasattr(model, "history"):
            del model.history
        models.set_training_modes(modes)


@contextlib.contextmanager
def _variables_kept(model: Any) -> Iterator[None]:
    """Put back the values of all variables of a model and of its metrics."""
    with kept_values([*model.variables, *model.metrics_variables]):
        try:
            yield
        finally:
            models.end_fit(model)


def _check_arguments(
    minimum: Any,
    maximum: Any,
    steps: Any,
    smoothing: Any,
    diverge: Any,
    batch_size: Any,
) -> None:
    def refuse(name: str, value: Any, allowed: str) -> None:
        raise ValueError(
            f"find_learning_rate: argument `{name}` must be {allowed}. Received: "
            f"{name}={value!r}"
        )

    def between(value: Any, low: float, high: float) -> bool:
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        return real and low < value < high

    if not between(minimum, 0.0, math.inf):
        refuse("minimum", minimum, "a finite number > 0")
    if not between(maximum, minimum, math.inf):
        refuse("maximum", maximum, f"a finite number > `minimum` ({minimum!r})")
    if not isinstance(steps, numbers.Integral) or steps < 10:
        refuse("steps", steps, "an integer >= 10")
    if smoothing != 0 and not between(smoothing, 0.0, 1.0):
        refuse("smoothing", smoothing, "a number in [0, 1)")
    if not between(diverge, 1.0, math.inf):
        refuse("diverge", diverge, "a finite number > 1")
    if batch_size is not None and (
        not isinstance(batch_size, numbers.Integral) or batch_size < 1
    ):
        refuse("batch_size", batch_size, "an integer >= 1 or None")
