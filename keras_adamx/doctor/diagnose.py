"""The look before a training."""

from __future__ import annotations

import numbers
from typing import Any

import keras

from keras_adamx.core.keeping import kept_random_states
from keras_adamx.doctor import checks
from keras_adamx.doctor.examination import Examination
from keras_adamx.doctor.registry import CannotJudgeError, Check, Seen, Unable
from keras_adamx.doctor.report import Finding, Report, Skipped
from keras_adamx.doctor.sample import take
from keras_adamx.doctor.thresholds import Thresholds


def diagnose(
    model: keras.Model,
    data: Any,
    *,
    loss: Any = None,
    rows: int = 2000,
    batch_size: int = 128,
    seed: int = 0,
    thresholds: Thresholds | None = None,
) -> Report:
    """Look for faults of a model and its data before it is trained.

    It looks at a sample of the data, passes a batch through the model, and makes a
    handful of steps of training. Afterwards everything is as before: weights,
    optimizer, statistics, seeds and random states.

    Args:
        model: A built model, compiled or not.
        data: What `fit` is given: a tuple `(x, y)` or `(x, y, sample_weight)` of
            arrays, or of lists or dicts of arrays for several inputs or outputs; a
            `tf.data.Dataset`; a `keras.utils.PyDataset`; or another iterable of such
            batches that can be gone through again.
        loss: Loss in the place of the compiled one, as `compile` takes it, or None.
            Needed for a model that is not compiled.
        rows: Number >= 2 of rows to look at. Of arrays they are chosen at random, of
            batches they are the first.
        batch_size: Rows >= 2 of a batch in the steps of training.
        seed: Integer >= 0 that the choice of rows and the permutations depend on.
        thresholds: `Thresholds` beyond which there is a finding, or None for the
            defaults.

    Returns:
        A `Report`. Its `skipped` names what could not be judged.

    Raises:
        TypeError: The data is of a kind that cannot be looked at without using it up,
            or an argument is of the wrong type.
        ValueError: The model is not built, there is neither a compiled nor a given
            loss, or the arrays differ in their number of rows.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(300, 8)).astype("float32")
        >>> y = (x[:, 0] > 0).astype("int32")
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
        >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))
        >>> keras_adamx.doctor.diagnose(model, (x, y)).codes
        []
        >>> keras_adamx.doctor.diagnose(model, (255.0 * x, y)).codes
        ['inputs-not-normalised']
    """
    _check_arguments(model, rows, batch_size, seed, thresholds)
    with kept_random_states():  # Data may draw random numbers as well.
        sample = take(data, rows, seed)
        return _report(
            Examination(
                model, sample, thresholds or Thresholds(), loss, batch_size, seed
            )
        )


def _report(examination: Examination) -> Report:
    """Run all checks."""
    if not examination.has_loss:
        raise ValueError(
            "diagnose: argument `loss` must be given for a model that is not compiled "
            f"with a loss. Received: loss={examination.given_loss!r}"
        )
    findings: list[Finding] = []
    checked: list[str] = []
    skipped: list[Skipped] = []
    for check in checks.CHECKS:
        seen, unable = _run(check, examination)
        causes = [f.code for f in findings if f.code in check.explained_by]
        if causes and seen:
            reason = f"held back, since it follows from {causes[0]}"
            unable += [Unable(s.where, f"{reason}: {s.saw}") for s in seen]
            seen = []
        if seen or not unable:
            checked.append(check.code)
        findings += [check.finding(each) for each in seen]
        skipped += [Skipped(check.code, *each) for each in unable]
    return Report(findings, checked, skipped, examination.sample.described)


def _run(check: Check, examination: Examination) -> tuple[list[Seen], list[Unable]]:
    results: list[Any] = []
    try:
        results.extend(check.run(examination))
    except CannotJudgeError as error:
        results.append(Unable("the model", str(error)))
    seen = [each for each in results if isinstance(each, Seen)]
    return seen, [each for each in results if isinstance(each, Unable)]


def _check_arguments(
    model: Any, rows: Any, batch_size: Any, seed: Any, thresholds: Any
) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"diagnose: argument `model` must be a keras.Model. Received: {model!r}"
        )
    if not model.built:
        raise ValueError(
            "diagnose: argument `model` must be built, since the first weights are "
            "part of what is looked at. Give it a `keras.Input`, or call it once: "
            "`model(x[:1])`"
        )
    for name, value, least in (
        ("rows", rows, 2),
        ("batch_size", batch_size, 2),
        ("seed", seed, 0),
    ):
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not whole or value < least:
            raise (ValueError if whole else TypeError)(
                f"diagnose: argument `{name}` must be an integer >= {least}. Received: "
                f"{name}={value!r}"
            )
    if thresholds is not None and not isinstance(thresholds, Thresholds):
        raise TypeError(
            "diagnose: argument `thresholds` must be a Thresholds or None. Received: "
            f"thresholds={thresholds!r}"
        )
