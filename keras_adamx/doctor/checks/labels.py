"""Targets against the loss and the outputs that they are compared with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_adamx.doctor.checks.data import is_numeric
from keras_adamx.doctor.examination import Examination
from keras_adamx.doctor.outputs import CLASSES, NUMBERS, Output
from keras_adamx.doctor.registry import Seen, Unable, check

_ROW_SUM = 1e-2  # Rows of probabilities of 16 bits add up to 1 within this.
_WRONG_LABELS = (
    "data-not-finite",
    "labels-not-one-hot",
    "labels-one-hot-for-sparse",
    "label-out-of-range",
    "labels-not-binary",
    "shapes-broadcast",
)


def _judged(
    examination: Examination, *kinds: str, predicted: bool = False
) -> Iterator[Output]:
    """Outputs of these kinds that can be judged."""
    for output in examination.known_outputs(*kinds):
        y, missing = output.target, predicted and output.predictions is None
        if y is not None and is_numeric(_numbers(y)) and not missing:
            yield output


def _numbers(target: np.ndarray) -> np.ndarray:
    return target.astype(np.int32) if target.dtype == bool else target


def _unknown(examination: Examination) -> Iterator[Unable]:
    """Outputs about whose labels nothing can be said."""
    for output in examination.outputs:
        if output.target is None:
            yield Unable(output.name, "its targets are not in the data by its name")
        elif not output.kind:
            yield Unable(output.name, f"its loss is not one of Keras: {output.loss!r}")


@check(
    "labels-not-one-hot",
    severity="error",
    means="`categorical_crossentropy` is given class numbers, or rows that do not add "
    "up to 1.",
    why="this loss expects a probability for each class; numbers of classes are "
    "compared with the wrong thing, or fail",
    advice="use `sparse_categorical_crossentropy` for class numbers, "
    "`binary_crossentropy` for several labels a row",
    cost="none",
)
def labels_not_one_hot(examination: Examination) -> Iterator[Seen | Unable]:
    """Class numbers where rows of probabilities belong."""
    yield from _unknown(examination)
    for output in _judged(examination, "categorical"):
        y = output.target
        assert y is not None
        classes = output.classes
        if y.ndim == 1 or (y.shape[-1] == 1 and classes != 1):
            saw = f"labels of shape {y.shape}, from {y.min():g} to {y.max():g}"
            yield Seen(output.name, saw, {"largest": float(y.max())})
            continue
        sums = _numbers(y).astype(np.float64).sum(-1)
        wrong = float(np.mean(np.abs(sums - 1.0) > _ROW_SUM))
        if wrong:
            saw = f"{wrong:.0%} of the rows do not add up to 1; the first adds up to "
            saw += f"{sums[np.abs(sums - 1.0) > _ROW_SUM][0]:g}"
            yield Seen(output.name, saw, {"share": wrong})


@check(
    "labels-one-hot-for-sparse",
    severity="error",
    means="`sparse_categorical_crossentropy` is given rows with a number for each "
    "class.",
    why="this loss expects the number of the class",
    advice="use `categorical_crossentropy`, or give `y.argmax(-1)`",
    cost="none",
)
def labels_one_hot_for_sparse(examination: Examination) -> Iterator[Seen | Unable]:
    """Rows of probabilities where class numbers belong."""
    for output in _judged(examination, "sparse"):
        y, classes = output.target, output.classes
        assert y is not None
        same_rank = output.predictions is None or y.ndim == output.predictions.ndim
        wide = y.ndim > 1 and y.shape[-1] > 1 and classes in (None, y.shape[-1])
        if wide and same_rank and np.isin(y, (0, 1)).all() and (y.sum(-1) == 1).all():
            saw = f"labels of shape {y.shape} with one 1 in every row"
            yield Seen(output.name, saw, {"classes": int(y.shape[-1])})


@check(
    "label-out-of-range",
    severity="error",
    means="A class number is negative, not whole, or beyond the number of outputs.",
    why="there is no output for it: some backends raise an error, others return NaN or "
    "take another class",
    advice="count classes from 0, and give the last layer as many units as there are "
    "classes; mark what is to be left out with the loss' `ignore_class`",
    cost="1 forward and backward pass, shared",
    explained_by=("labels-one-hot-for-sparse", "data-not-finite"),
)
def label_out_of_range(examination: Examination) -> Iterator[Seen | Unable]:
    """Class numbers against the number of outputs."""
    for output in _judged(examination, "sparse"):
        y, classes = output.labels(), output.classes
        assert y is not None
        ignored = getattr(output.loss, "ignore_class", None)
        y = y if ignored is None else y[y != ignored]
        if classes is None:
            yield Unable(output.name, "the number of outputs is not known")
        elif not len(y):
            yield Unable(output.name, "all of its labels are left out")
        elif y.min() < 0 or y.max() >= classes or np.any(y != np.floor(y)):
            saw = f"labels from {y.min():g} to {y.max():g} for {classes} outputs"
            if np.any(y != np.floor(y)):
                saw += ", and not all of them are whole numbers"
            numbers = {
                "smallest": float(y.min()),
                "largest": float(y.max()),
                "classes": classes,
            }
            yield Seen(output.name, saw, numbers)


@check(
    "labels-not-binary",
    severity="error",
    means="`binary_crossentropy` is given labels outside of [0, 1].",
    why="the loss is then not bounded below: it falls for ever, away from what is "
    "wanted",
    advice="map {-1, 1} to {0, 1}; for several classes use "
    "`sparse_categorical_crossentropy`",
    cost="none",
    explained_by=("data-not-finite",),
)
def labels_not_binary(examination: Examination) -> Iterator[Seen | Unable]:
    """Labels that are no probabilities."""
    for output in _judged(examination, "binary"):
        y = output.target
        assert y is not None
        if y.min() < 0 or y.max() > 1:
            saw = f"labels from {y.min():g} to {y.max():g}"
            numbers = {"smallest": float(y.min()), "largest": float(y.max())}
            yield Seen(output.name, saw, numbers)


@check(
    "shapes-broadcast",
    severity="error",
    means="Targets and outputs differ in shape and are stretched to fit, or would be.",
    why="element-wise losses compare, silently in many versions, every target with "
    "every output: what is learnt is the mean",
    advice="give targets the shape of the outputs: `y[:, None]` for a last layer of "
    "one unit, or a `Reshape(())` behind it",
    cost="1 forward and backward pass, shared",
)
def shapes_broadcast(examination: Examination) -> Iterator[Seen | Unable]:
    """Targets of one shape, outputs of another, that NumPy's rules would join."""
    for output in _judged(examination, "binary", *NUMBERS, predicted=True):
        y, p = output.target, output.predictions
        assert y is not None
        assert p is not None
        if y.shape[1:] == p.shape[1:]:
            continue
        saw = f"targets of shape (n, {_rest(y)}) and outputs of shape (n, {_rest(p)})"
        saw = saw.replace(", )", ",)")
        yield Seen(output.name, saw, {"target_rank": y.ndim, "output_rank": p.ndim})


def _rest(array: np.ndarray) -> str:
    return ", ".join(map(str, array.shape[1:]))


@check(
    "softmax-over-one-unit",
    severity="error",
    means="Softmax over one unit: the output is always 1.",
    why="a probability among one is 1, whatever the weights are: there is no gradient",
    advice="one unit with `sigmoid` and `binary_crossentropy`, or two units with "
    "`softmax` and `sparse_categorical_crossentropy`",
    cost="1 forward and backward pass, shared",
)
def softmax_over_one_unit(examination: Examination) -> Iterator[Seen | Unable]:
    """An output that cannot change."""
    for output in examination.outputs:
        p = output.predictions
        if p is None or p.ndim < 2 or p.shape[-1] != 1:
            continue
        unknown = output.activation is None
        ones = bool(np.all(np.abs(p - 1.0) < 1e-6))  # Some backends round it.
        if (output.activation == "softmax" or unknown) and ones:
            saw = f"the last of {p.ndim} axes has 1 unit, and all outputs are 1"
            yield Seen(output.name, saw, {"units": 1})


def _are_probabilities(output: Output) -> bool:
    """Whether what the model says are probabilities of classes."""
    p = output.predictions
    assert p is not None
    p = p.astype(np.float64)
    if p.min() < 0.0 or p.max() > 1.0 + _ROW_SUM:
        return False
    return output.kind == "binary" or bool(np.abs(p.sum(-1) - 1.0).max() < _ROW_SUM)


@check(
    "outputs-not-probabilities",
    severity="error",
    means="The loss expects probabilities and is given logits.",
    why="negative numbers are clipped to the smallest probability and have no "
    "gradient, the others are taken for what they are not",
    advice="give the loss `from_logits=True` and leave the last layer linear",
    cost="1 forward and backward pass, shared",
    explained_by=("softmax-over-one-unit", "labels-not-one-hot"),
)
def outputs_not_probabilities(examination: Examination) -> Iterator[Seen | Unable]:
    """Logits in a loss that takes probabilities."""
    for output in _judged(examination, *CLASSES, predicted=True):
        p = output.predictions
        assert p is not None
        if output.from_logits or not np.isfinite(p).all():
            continue
        if _are_probabilities(output) and output.activation != "linear":
            continue
        saw = f"outputs from {p.min():.3g} to {p.max():.3g}"
        numbers = {"smallest": float(p.min()), "largest": float(p.max())}
        if output.kind != "binary":
            numbers["row_sum"] = float(p[..., :].sum(-1).flat[0])
            saw += f"; the first row adds up to {numbers['row_sum']:.3g}"
        known = f" (the last activation is {output.activation})"
        saw += known if output.activation else ""
        yield Seen(output.name, f"{saw}, with from_logits=False", numbers)


@check(
    "outputs-activated-twice",
    severity="error",
    means="The loss takes logits and is given what softmax or sigmoid returned.",
    why="it applies the function a second time: probabilities cannot get near 0 or 1, "
    "and gradients are small",
    advice="leave the last layer linear, or drop `from_logits=True`",
    cost="1 forward and backward pass, shared",
    explained_by=("softmax-over-one-unit",),
)
def outputs_activated_twice(examination: Examination) -> Iterator[Seen | Unable]:
    """Probabilities in a loss that takes logits."""
    for output in _judged(examination, *CLASSES, predicted=True):
        p = output.predictions
        assert p is not None
        if not output.from_logits or not np.isfinite(p).all():
            continue
        named = output.activation in ("softmax", "sigmoid")
        # A row of logits that are positive and add up to 1 is no accident.
        seen = output.kind != "binary" and p.shape[-1] > 1
        if not (_are_probabilities(output) and (named or seen)):
            continue
        saw = f"outputs from {p.min():.3g} to {p.max():.3g}"
        if output.kind != "binary":
            saw += ", every row of which adds up to 1"
        numbers = {"smallest": float(p.min()), "largest": float(p.max())}
        yield Seen(output.name, f"{saw}, with from_logits=True", numbers)


@check(
    "binary-loss-for-classes",
    severity="warning",
    means="`binary_crossentropy` on a softmax over classes of which one is right.",
    why="it judges every class by itself, with most of its weight on the wrong ones, "
    "and the metric `accuracy` becomes the binary one, near 1 for any model",
    advice="use `categorical_crossentropy`",
    cost="1 forward and backward pass, shared",
    explained_by=_WRONG_LABELS,
)
def binary_loss_for_classes(examination: Examination) -> Iterator[Seen | Unable]:
    """A loss for independent labels on labels that exclude each other."""
    for output in _judged(examination, "binary", predicted=True):
        y, p = output.target, output.predictions
        assert y is not None
        assert p is not None
        if p.shape[-1] < 2 or y.shape[1:] != p.shape[1:]:
            continue
        exclusive = bool(np.all(np.abs(_numbers(y).sum(-1) - 1.0) < _ROW_SUM))
        sums = np.abs(p.astype(np.float64).sum(-1) - 1.0)
        if exclusive and sums.max() < _ROW_SUM:
            saw = f"labels and outputs of {p.shape[-1]} classes add up to 1 in all rows"
            yield Seen(output.name, saw, {"classes": int(p.shape[-1])})


@check(
    "target-out-of-reach",
    severity="error",
    means="Targets lie where the last activation never comes.",
    why="sigmoid, tanh, ReLU and softmax have a range; beyond it there is nothing to "
    "learn",
    advice="leave the last layer linear for regression, or scale the targets into its "
    "range",
    cost="1 forward and backward pass, shared",
)
def target_out_of_reach(examination: Examination) -> Iterator[Seen | Unable]:
    """Numbers to be predicted that cannot be."""
    ranges = {
        "sigmoid": (0.0, 1.0),
        "softmax": (0.0, 1.0),
        "tanh": (-1.0, 1.0),
        "relu": (0.0, np.inf),
    }
    for output in _judged(examination, *NUMBERS, predicted=True):
        y = output.target
        assert y is not None
        low, high = ranges.get(output.activation or "", (-np.inf, np.inf))
        share = float(np.mean((y < low) | (y > high)))
        if share:
            saw = (
                f"{share:.0%} of the targets, from {y.min():.3g} to {y.max():.3g}, are "
            )
            saw += f"outside of [{low:g}, {high:g}], the range of {output.activation}"
            yield Seen(output.name, saw, {"share": share})


@check(
    "targets-not-normalised",
    severity="warning",
    means="Numbers to be predicted are far from a size of 1.",
    why="the loss and its gradients grow with the square of their size, and the bias "
    "of the last layer has a long way to go",
    advice="standardise the targets for training and undo it for predictions",
    cost="none",
    explained_by=("data-not-finite", "target-out-of-reach"),
)
def targets_not_normalised(examination: Examination) -> Iterator[Seen | Unable]:
    """Targets whose size no initialiser expects."""
    limits = examination.thresholds
    for output in _judged(examination, *NUMBERS):
        y = output.target
        assert y is not None
        y = y.astype(np.float64)
        mean, spread = float(y.mean()), float(y.std())
        size = float(np.sqrt(mean**2 + spread**2))
        offset = spread > 0 and abs(mean) > limits.offset * spread
        if size > limits.large_input or 0 < size < limits.small_input or offset:
            saw = f"mean {mean:.3g}, standard deviation {spread:.3g}"
            yield Seen(output.name, saw, {"mean": mean, "std": spread})


@check(
    "labels-in-order",
    severity="warning",
    means="Rows of the same class follow each other in a data set that `fit` does not "
    "shuffle.",
    why="a batch holds one class only, and the model forgets the others meanwhile",
    advice="`dataset.shuffle(...)` with a buffer larger than a class, or store the "
    "rows in a random order",
    cost="none",
    explained_by=_WRONG_LABELS,
)
def labels_in_order(examination: Examination) -> Iterator[Seen | Unable]:
    """Neighbours of the same class, more often than by chance."""
    if not examination.sample.in_order:
        return
    for output in _judged(examination, *CLASSES):
        y = output.labels()
        if y is None or len(y) != examination.sample.rows or len(y) < 20:
            continue
        shares = np.unique(y, return_counts=True)[1] / len(y)
        chance = float(np.sum(shares**2))
        if chance == 1.0:
            continue
        same = float(np.mean(y[1:] == y[:-1]))
        deviations = (same - chance) / np.sqrt(chance * (1 - chance) / (len(y) - 1))
        if deviations > examination.thresholds.ordered:
            saw = f"{same:.0%} of the rows are of the class of the row before; in a "
            saw += f"random order it would be {chance:.0%}"
            yield Seen(output.name, saw, {"same": same, "chance": chance})


@check(
    "class-imbalance",
    severity="note",
    means="Some classes are much rarer than others, or do not occur.",
    why="a model that never names a rare class has a good accuracy and a low loss",
    advice="look at a metric for each class; weight the classes with `class_weight`, "
    "and start the bias of the last layer at the logarithms of their shares",
    cost="none",
    explained_by=(*_WRONG_LABELS, "labels-in-order"),
)
def class_imbalance(examination: Examination) -> Iterator[Seen | Unable]:
    """The most frequent class against the rarest."""
    limit = examination.thresholds.imbalance
    for output in _judged(examination, *CLASSES):
        y = output.labels()
        if y is None:
            yield Unable(output.name, "it has several labels in a row")
            continue
        number = 2 if output.kind == "binary" else output.classes
        if number is None or np.any(y != np.floor(y)):
            yield Unable(output.name, "its labels are no classes")
            continue
        if len(y) < limit * number:  # Too few rows for the rare ones to be seen.
            yield Unable(output.name, f"{len(y)} rows are few for {number} classes")
            continue
        counts = np.bincount(y.astype(np.int64).clip(0), minlength=number)[:number]
        most, least = int(counts.argmax()), int(counts.argmin())
        if counts[most] > limit * counts[least]:
            saw = (
                f"class {most} has {counts[most]} of {len(y)} rows, class {least} has "
            )
            saw += f"{counts[least]}"
            empty = int((counts == 0).sum())
            saw += f"; {empty} of {number} classes do not occur" if empty else ""
            numbers = {"most": int(counts[most]), "least": int(counts[least])}
            yield Seen(output.name, saw, numbers)
