"""The model before its first step: loss, sizes of activations and of gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from keras_adamx.core.bridge import path_of
from keras_adamx.doctor.checks.labels import _WRONG_LABELS
from keras_adamx.doctor.examination import Examination
from keras_adamx.doctor.keeping import optimizer_of
from keras_adamx.doctor.outputs import CLASSES, Output
from keras_adamx.doctor.registry import CannotJudgeError, Seen, Unable, check

_INPUTS = ("inputs-not-normalised", "data-not-finite", "embedding-index-invalid")
_OUTPUTS = (
    "outputs-not-probabilities",
    "outputs-activated-twice",
    "softmax-over-one-unit",
)


@check(
    "step-fails",
    severity="error",
    means="The model or its loss raises an error on the first batch.",
    why="nothing can be trained like this",
    advice="read the error; compare the shapes of inputs, outputs and targets",
    cost="1 forward and backward pass, shared",
    explained_by=(*_INPUTS, *_WRONG_LABELS),
)
def step_fails(examination: Examination) -> Iterator[Seen | Unable]:
    """A pass that raises an error."""
    if examination.first.failed:
        yield Seen("the model", examination.first.failed, {})


@check(
    "loss-not-finite",
    severity="error",
    means="The loss of the first batch is NaN or infinite, though the data is finite.",
    why="so are its gradients, and after a step all weights",
    advice="look for a logarithm, division or square root without a floor in the model "
    "or the loss, and for too large initial weights",
    cost="1 forward and backward pass, shared",
    explained_by=(*_INPUTS, *_WRONG_LABELS, *_OUTPUTS),
)
def loss_not_finite(examination: Examination) -> Iterator[Seen | Unable]:
    """A loss that is no number."""
    loss = examination.first.loss
    if loss is not None and not np.isfinite(loss):
        yield Seen("the loss", f"it is {loss}", {"loss": str(loss)})


@check(
    "nothing-trainable",
    severity="error",
    means="The model has no trainable variable.",
    why="`fit` runs and changes nothing",
    advice="set `trainable = True` on the layers that are to learn, and compile again",
    cost="none",
)
def nothing_trainable(examination: Examination) -> Iterator[Seen | Unable]:
    """A model that cannot change."""
    if not examination.model.trainable_variables:
        number = len(examination.model.variables)
        saw = f"0 of {number} variables are trainable"
        yield Seen("the model", saw, {"variables": number})


class _Size(NamedTuple):
    """Where in the model something has a size."""

    name: str
    size: float


def _activations(examination: Examination) -> list[_Size]:
    """Outputs of layers with kernels, by the order of calls."""
    return [
        _Size(f"layer '{call.layer.name}'", call.rms)
        for call in examination.calls
        if call.has_kernel and np.isfinite(call.rms) and call.rms > 0.0
    ]


def _gradients(examination: Examination) -> list[_Size]:
    """Gradients of kernels, by the order in which their layers were called."""
    pairs = zip(examination.model.trainable_variables, examination.gradients)
    by_id = {id(variable): gradient for variable, gradient in pairs}
    found: dict[int, _Size] = {}
    for call in examination.calls:
        for variable in call.layer.trainable_variables if call.has_kernel else ():
            gradient = by_id.get(id(variable))
            # Attention has biases of two axes.
            kernel = len(variable.shape) > 1 and variable.name != "bias"
            if kernel and gradient is not None and gradient.any():
                size = float(np.sqrt(np.mean(np.square(gradient, dtype=np.float64))))
                if np.isfinite(size):
                    found.setdefault(
                        id(variable), _Size(f"layer '{call.layer.name}'", size)
                    )
    return list(found.values())


def _along(sizes: Sequence[_Size], limit: float, what: str, grow: bool) -> Seen | None:
    """The largest change of size along a way, if it is beyond the limit."""
    best: tuple[float, _Size, _Size] | None = None
    for i, start in enumerate(sizes):
        for end in sizes[i + 1 :]:
            small, large = (start, end) if grow else (end, start)
            ratio = large.size / small.size
            if best is None or ratio > best[0]:
                best = (ratio, start, end)
    if best is None or best[0] <= limit:
        return None
    ratio, start, end = best
    verb = "grows" if grow else "shrinks"
    saw = (
        f"the root mean square of {what} {verb} from {start.size:.2g} in {start.name} "
    )
    saw += f"to {end.size:.2g}, by a factor of {ratio:.2g}"
    return Seen(end.name, saw, {"ratio": float(ratio)})


@check(
    "activations-vanish",
    severity="warning",
    means="The outputs of layers get smaller and smaller with depth.",
    why="what comes through is small beside the biases, and so are the gradients of "
    "all layers behind",
    advice="an initialiser that fits the activation (`he_normal` for ReLU), "
    "normalisation layers, or residual connections",
    cost="1 forward and backward pass, shared",
    explained_by=_INPUTS,
)
def activations_vanish(examination: Examination) -> Iterator[Seen | Unable]:
    """Outputs of layers against those of layers before."""
    limit = examination.thresholds.depth_ratio
    seen = _along(_activations(examination), limit, "the outputs", grow=False)
    if seen:
        yield seen


@check(
    "activations-explode",
    severity="warning",
    means="The outputs of layers get larger and larger with depth.",
    why="the loss starts far from what guessing gives, and 16-bit numbers overflow",
    advice="an initialiser that fits the width of the layers (the default, or "
    "`he_normal` for ReLU), normalisation layers, or scaled residual connections",
    cost="1 forward and backward pass, shared",
    explained_by=_INPUTS,
)
def activations_explode(examination: Examination) -> Iterator[Seen | Unable]:
    """Outputs of layers against those of layers before."""
    limit = examination.thresholds.depth_ratio
    seen = _along(_activations(examination), limit, "the outputs", grow=True)
    if seen:
        yield seen


@check(
    "gradients-vanish",
    severity="warning",
    means="The gradients of layers get smaller and smaller towards the inputs.",
    why="the first layers stay as they were initialised while the last ones learn",
    advice="ReLU or GELU in place of sigmoid and tanh, an initialiser that fits the "
    "activation, normalisation layers, or residual connections",
    cost="1 forward and backward pass, shared",
    explained_by=(*_INPUTS, *_OUTPUTS, *_WRONG_LABELS, "activations-explode"),
)
def gradients_vanish(examination: Examination) -> Iterator[Seen | Unable]:
    """Gradients of kernels against those of layers behind."""
    limit = examination.thresholds.depth_ratio
    sizes = _gradients(examination)[::-1]
    seen = _along(sizes, limit, "the gradients of kernels", grow=False)
    if seen:
        yield seen


@check(
    "gradients-explode",
    severity="warning",
    means="The gradients of layers get larger and larger towards the inputs.",
    why="a learning rate that suits the last layers is far too large for the first "
    "ones",
    advice="an initialiser that fits the width of the layers, normalisation layers, or "
    "`global_clipnorm=1.0` of the optimizer",
    cost="1 forward and backward pass, shared",
    explained_by=(
        *_INPUTS,
        *_OUTPUTS,
        *_WRONG_LABELS,
        "activations-vanish",
        "activations-explode",
    ),
)
def gradients_explode(examination: Examination) -> Iterator[Seen | Unable]:
    """Gradients of kernels against those of layers behind."""
    limit = examination.thresholds.depth_ratio
    sizes = _gradients(examination)[::-1]
    seen = _along(sizes, limit, "the gradients of kernels", grow=True)
    if seen:
        yield seen


@check(
    "dead-units",
    severity="warning",
    means="Most ReLU units of a layer are zero for all rows.",
    why="a unit that is zero everywhere has no gradient, and stays so",
    advice="look at the bias and the initialiser of the layer, and at inputs that are "
    "all negative; `leaky_relu` if it happens in training",
    cost="1 forward and backward pass, shared",
    explained_by=_INPUTS,
)
def dead_units(examination: Examination) -> Iterator[Seen | Unable]:
    """Units that never fire."""
    for call in examination.calls:
        if call.dead is not None and call.dead > examination.thresholds.dead_units:
            saw = f"{call.dead:.0%} of its units are zero for all rows of the batch"
            yield Seen(f"layer '{call.layer.name}'", saw, {"share": call.dead})


@check(
    "no-gradient",
    severity="warning",
    means="Trainable variables have no gradient, or zeros, at the start and after some "
    "steps.",
    why="they never change: the layer is not part of what the loss depends on, or "
    "something stops the gradient",
    advice="look whether the output of the layer is used, for `stop_gradient` and "
    "functions without gradient (`argmax`, `round`), and for conversions to NumPy; set "
    "`trainable = False` if it is meant",
    cost="the steps of the trial, shared",
    explained_by=(
        "dead-units",
        "softmax-over-one-unit",
        "outputs-not-probabilities",
        "sample-weight-invalid",
        "loss-not-finite",
        "embedding-index-invalid",
    ),
)
def no_gradient(examination: Examination) -> Iterator[Seen | Unable]:
    """Variables that the loss does not depend on."""
    variables = examination.model.trainable_variables
    zero = [
        gradient is None or not gradient.any() for gradient in examination.gradients
    ]
    if not any(zero):
        return
    # What starts behind a factor of zero has a gradient after the first step.
    still = zero
    if optimizer_of(examination.model) is not None:
        still = examination.trial().without_gradient
    names = [
        path_of(variable)
        for variable, a, b in zip(variables, zero, still)
        if a and b and not _cancels(variable, variables, zero)
    ]
    if names:
        shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
        saw = f"{len(names)} of {len(variables)} variables: {shown}"
        yield Seen("the variables", saw, {"variables": len(names)})


def _cancels(variable: object, variables: list[object], zero: list[bool]) -> bool:
    """Whether it is a bias that what follows takes away, in a layer with gradients.

    The bias of the keys of attention, or one before a normalisation.
    """
    folder, _, name = path_of(variable).rpartition("/")
    return name == "bias" and any(
        path_of(other).rpartition("/")[0] == folder and not is_zero
        for other, is_zero in zip(variables, zero)
    )


@check(
    "initial-loss",
    severity="warning",
    means="The first loss is far above what guessing gives.",
    why="guessing gives ln C for C classes, ln 2 for yes and no, the variance of the "
    "targets for the squared error; a model that starts above is wrong with "
    "confidence, and spends its first steps on unlearning",
    advice="smaller weights in the last layer, normalised inputs and targets, and for "
    "regression a bias of the last layer that starts at the mean of the targets",
    cost="1 forward and backward pass, shared",
    explained_by=(
        *_INPUTS,
        *_OUTPUTS,
        *_WRONG_LABELS,
        "activations-explode",
        "targets-not-normalised",
        "target-out-of-reach",
        "step-fails",
    ),
)
def initial_loss(examination: Examination) -> Iterator[Seen | Unable]:
    """The loss of every output against that of a guess."""
    limits = examination.thresholds
    for output in examination.outputs:
        try:
            loss, chance, guess = _against_chance(output)
        except CannotJudgeError as error:
            yield Unable(output.name, str(error))
            continue
        squared = output.kind == "squared"
        limit = limits.initial_squared_error if squared else limits.initial_loss
        if loss > limit * chance:
            saw = f"it starts at {loss:.3g}; guessing gives {guess} = {chance:.3g}"
            yield Seen(output.name, saw, {"loss": loss, "chance": chance})


def _against_chance(output: Output) -> tuple[float, float, str]:
    """The loss of an output, that of a guess, and how the guess is called."""
    p, y = output.predictions, output.target
    known = output.kind in (*CLASSES, "squared") and output.is_plain
    if not known or p is None or y is None:
        raise CannotJudgeError("what guessing gives for its loss is not known")
    p, y = p.astype(np.float64), y[: len(p)]
    if output.kind == "sparse":
        if y.size != p[..., 0].size:
            raise CannotJudgeError("its labels do not have the shape of its outputs")
        y = y.reshape(p.shape[:-1])
        ignored = getattr(output.loss, "ignore_class", None)
        rows = np.ones(y.shape, bool) if ignored is None else y != ignored
        y, p = y[rows].astype(np.int64), p[rows]
        if not len(y) or y.min() < 0 or y.max() >= p.shape[-1]:
            raise CannotJudgeError("its labels are out of range")
        places, y = y[..., None], np.zeros_like(p)
        np.put_along_axis(y, places, 1.0, axis=-1)
    if y.shape != p.shape:
        raise CannotJudgeError("its targets do not have the shape of its outputs")
    if output.kind == "squared":
        variance = float(np.mean(np.var(y.astype(np.float64), axis=0)))
        if not variance:
            raise CannotJudgeError("its targets are all the same")
        return float(np.mean((p - y) ** 2)), variance, "the variance"
    if output.kind == "binary":
        if output.from_logits:
            loss = np.logaddexp(0.0, p) - y * p
        else:
            p = p.clip(1e-7, 1.0 - 1e-7)
            loss = -y * np.log(p) - (1.0 - y) * np.log(1.0 - p)
        return float(loss.mean()), float(np.log(2.0)), "ln 2"
    classes = p.shape[-1]
    if classes < 2:
        raise CannotJudgeError("it has one class")
    if output.from_logits:
        p = p - p.max(-1, keepdims=True)
        logs = p - np.log(np.exp(p).sum(-1, keepdims=True))
    else:
        logs = np.log((p / p.sum(-1, keepdims=True)).clip(1e-7, 1.0))
    loss = -np.sum(y * logs, axis=-1)
    return float(loss.mean()), float(np.log(classes)), f"ln {classes}"
