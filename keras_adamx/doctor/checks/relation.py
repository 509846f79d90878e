"""Whether labels have to do with inputs at all.

Two probes, both of the form s = Σ y_i A_ij y_j with a matrix A that depends on the
inputs alone: A takes the mean of the nearest neighbours, or predicts by ridge
regression on random features without the row itself. Under a permutation of the rows of
y, s has the distribution that it has if y has nothing to do with the inputs. So the
p-value is honest whatever the data, and costs no new fit.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from keras_adamx.doctor.checks.data import is_numeric
from keras_adamx.doctor.checks.labels import _WRONG_LABELS
from keras_adamx.doctor.examination import Examination
from keras_adamx.doctor.outputs import NUMBERS, Output
from keras_adamx.doctor.registry import CannotJudgeError, Seen, Unable, check

_ROWS = 600  # The matrices have the square of it.
_NEIGHBOURS = 5
_FEATURES = 200
_COLUMNS = 1024
_RIDGE = 1.0


@check(
    "labels-unrelated-to-inputs",
    severity="warning",
    means="Two probes see no more in the labels than in labels that were shuffled.",
    why="inputs and labels that were put out of step look like this. So do labels that "
    "depend on the inputs in a way that neither distance nor a smooth function of a "
    "few directions shows (a parity, a rule of order in long sequences), and very "
    "noisy ones. Labels of which some are right are not noticed",
    advice="look at ten rows with their labels; shuffle inputs and labels with the "
    "same permutation",
    cost="none; two matrices of 600 x 600",
    explained_by=_WRONG_LABELS,
)
def labels_unrelated(examination: Examination) -> Iterator[Seen | Unable]:
    """Labels against labels that are permuted."""
    limits = examination.thresholds
    random = np.random.default_rng(examination.seed)
    features: np.ndarray | None = None
    for output in examination.outputs:
        values = _values(output)
        if values is None or len(values) != examination.sample.rows:
            yield Unable(output.name, "it has no labels of one number or class a row")
            continue
        if len(values) < limits.probe_rows:
            reason = f"{len(values)} rows are fewer than {limits.probe_rows}"
            yield Unable(output.name, reason)
            continue
        if not np.ptp(values, axis=0).any():
            yield Unable(output.name, "all of its labels are the same")
            continue
        if features is None:
            features = _features(examination, random)
        p, explained = _judge(features, values[:_ROWS], limits.permutations, random)
        if p > limits.unrelated:
            saw = f"of {len(values[:_ROWS])} rows, neighbours and a ridge regression "
            saw += (
                f"explain {explained:.1%} of the variance of the labels, no more than "
            )
            saw += f"of permuted labels (p = {p:.2g})"
            yield Seen(output.name, saw, {"p": p, "explained": explained})


def _values(output: Output) -> np.ndarray | None:
    """Labels as rows of numbers of mean zero."""
    y = output.target
    if y is None:
        return None
    labels = output.labels()
    if labels is not None and len(labels) == len(y) and output.kind != "binary":
        kinds, codes = np.unique(labels, return_inverse=True)
        if len(kinds) > len(y) // 2:
            return None
        y = np.eye(len(kinds))[codes]
    elif output.kind not in ("binary", *NUMBERS) or y.ndim > 2:
        return None
    if not (y.dtype == bool or is_numeric(y)):
        return None
    y = y.reshape(len(y), -1).astype(np.float64)
    return y - y.mean(0) if np.isfinite(y).all() else None


def _features(examination: Examination, random: np.random.Generator) -> np.ndarray:
    """The inputs as standardised columns, with random vectors in place of indices."""
    parts = []
    for array in examination.inputs.values():
        if not is_numeric(array):
            raise CannotJudgeError("an input does not hold numbers")
        takers = [call.layer for call in examination.takers(array)]
        x = array[:_ROWS]
        if any(isinstance(layer, keras.layers.Embedding) for layer in takers):
            parts.append(_of_indices(x.reshape(len(x), -1), random))
        else:
            parts.append(x.reshape(len(x), -1).astype(np.float64))
    x = np.concatenate(parts, axis=1)
    if x.shape[1] > _COLUMNS:
        x = x[:, random.choice(x.shape[1], _COLUMNS, replace=False)]
    x = np.nan_to_num(x, posinf=0.0, neginf=0.0)
    spread = x.std(0)
    return (x - x.mean(0))[:, spread > 0] / spread[spread > 0]


def _of_indices(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Which indices occur, and which where, as sums of random vectors."""
    x = np.unique(x, return_inverse=True)[1].reshape(x.shape)
    vectors = random.normal(size=(int(x.max()) + 1, 128))
    occurs, where = np.zeros((len(x), 128)), np.zeros((len(x), 128))
    for position in range(len(x[0])):
        found = vectors[x[:, position]]
        occurs += found
        where += found * random.choice([-1.0, 1.0], size=128)
    return np.concatenate([occurs, where], axis=1)


def _judge(
    x: np.ndarray, y: np.ndarray, permutations: int, random: np.random.Generator
) -> tuple[float, float]:
    """The p-value of the better probe, corrected for two, and what it explains."""
    orders = (random.permutation(len(y)) for _ in range(permutations))
    shuffled = np.concatenate([y[order] for order in orders], axis=1)
    total = float(np.sum(y * y))
    best = (2.0, 0.0)
    for predictor in (_neighbours(x), _ridge(x, random)):
        seen = float(np.sum(y * (predictor @ y)))
        chance = np.sum(shuffled * (predictor @ shuffled), axis=0)
        chance = chance.reshape(permutations, -1).sum(-1)
        p = float(1 + np.sum(chance >= seen)) / (1 + permutations)
        best = min(best, (p, max(seen, 0.0) / total))
    return min(2.0 * best[0], 1.0), best[1]


def _neighbours(x: np.ndarray) -> np.ndarray:
    """The matrix that takes the mean of the nearest other rows."""
    squares = np.sum(x * x, axis=1)
    distances = squares[:, None] + squares[None, :] - 2.0 * (x @ x.T)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argpartition(distances, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
    found = np.zeros_like(distances)
    np.put_along_axis(found, nearest, 1.0 / _NEIGHBOURS, axis=1)
    return found


def _ridge(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The matrix that predicts each row by a regression on the others.

    On the columns and on random ReLU features of them; with H = Z (ZᵀZ + λ)⁻¹ Zᵀ the
    prediction without row i is (H y - H_ii y)_i / (1 - H_ii).
    """
    width = max(x.shape[1], 1)
    hidden = x @ random.normal(size=(x.shape[1], _FEATURES)) / np.sqrt(width)
    hidden = np.maximum(hidden + random.normal(size=(1, _FEATURES)), 0.0)
    z = np.concatenate([x / np.sqrt(width), hidden - hidden.mean(0)], axis=1)
    kernel = z @ z.T
    # As strong as the mean eigenvalue of what is learnt: too many features do no harm.
    strength = _RIDGE * np.trace(kernel) / min(z.shape)
    inverse = np.linalg.inv(kernel + strength * np.eye(len(z)))
    hat = np.eye(len(z)) - strength * inverse
    left = np.diag(hat)
    found = hat / (1.0 - left)[:, None]
    np.fill_diagonal(found, 0.0)
    return found
