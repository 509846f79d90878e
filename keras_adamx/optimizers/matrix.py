"""Rules for matrices, with another rule for everything else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_adamx.core import backend
from keras_adamx.core.arguments import (
    Argument,
    choice,
    count,
    decay,
    flag,
    hyperparameter,
    rate,
)
from keras_adamx.core.arithmetic import ema, norm
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.search import Log
from keras_adamx.core.slots import GRADIENT_MEAN, Hyper, Slot, State, Weights
from keras_adamx.optimizers.adam import AdamW

Coefficients = tuple[float, float, float]
STANDARD: Coefficients = (3.4445, -4.7750, 2.0315)
# Amsel et al. 2025, for singular values from 1e-3 on; the last repeats.
POLAR_EXPRESS: tuple[Coefficients, ...] = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    (1.875, -1.25, 0.375),
)
# How far above 1 rounding may lift a singular value.
_SAFETY = 1.01
# Elements of the matrices in one batch on a CPU: what leaves the cache is slow there,
# and a large matrix keeps all cores busy.
_ELEMENTS = 1 << 20


def coefficients(name: str, steps: int) -> list[Coefficients]:
    """(a, b, c) of the polynomials a x + b x³ + c x⁵ of some steps."""
    if name == "standard":
        return [STANDARD] * steps
    s = _SAFETY
    damped = [(a / s, b / s**3, c / s**5) for a, b, c in POLAR_EXPRESS[:-1]]
    return [damped[i] if i < len(damped) else POLAR_EXPRESS[-1] for i in range(steps)]


def orthogonalised(x: Any, polynomials: list[Coefficients], safety: float = 1.0) -> Any:
    """Matrices with the singular vectors of others and singular values near 1.

    Args:
        x: Tensor of shape (…, m, n), m <= n.
        polynomials: What is applied to the singular values, one after the other.
        safety: The first norm is 1 over this.
    """
    x = x / (safety * norm(x, axis=(-2, -1), keepdims=True) + 1e-7)
    for a, b, c in polynomials:
        # Not `ops.matmul`, which is float32 for float64 on PyTorch.
        square = x @ ops.swapaxes(x, -2, -1)
        x = a * x + (b * square + c * (square @ square)) @ x
    return x


def _patterns(value: Any) -> list[str] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError
    found = list(value)
    for pattern in found:
        if not isinstance(pattern, str):
            raise TypeError
        try:
            re.compile(pattern)
        except re.error:
            raise ValueError from None
    return found


class Muon(Optimizer):
    """Momentum whose steps are made orthogonal matrices.

    With gradient g, momentum μ and learning rate η, for matrices w, from m = 0:

        m ← μ m + (1 - μ) g
        u = μ m + (1 - μ) g                  nesterov=False: u = m
        O = u / ‖u‖, then `ns_steps` times O ← a O + b O Oᵀ O + c O Oᵀ O Oᵀ O
        w ← w - η s O

        scale="plain":     s = √max(1, outputs / inputs)
        scale="moonlight": s = rms_rate · √max(inputs, outputs)
        scale="spectral":  s = √(outputs / inputs)

    Kernels of convolutions are matrices of (height · width · inputs, outputs), those of
    attention of (inputs, heads · size) or (heads · size, outputs). Matrices of the same
    shape are worked on as one batch (on a CPU, of up to a million elements). Vectors,
    biases, embeddings, and the last matrix of several, the head, follow `AdamW` with
    its own numbers.

    When to use: hidden layers of transformers and convolutions. With "moonlight",
    learning rate and weight decay of AdamW fit and `adam_lr_ratio` is 1.

    State: `momentum` (m), of the shape of the weights; that of `AdamW` elsewhere.

    Args:
        learning_rate: η; 0.02 fits scale="plain".
        momentum: μ in [0, 1).
        nesterov: Look ahead by one step of momentum.
        scale: "plain", "moonlight" or "spectral".
        rms_rate: Root mean square > 0 of a step of "moonlight", for η = 1.
        coefficients: "standard", (3.4445, -4.7750, 2.0315) at every step, or
            "polar_express", others at each step; they take the place of Keras'
            `muon_a`, `muon_b` and `muon_c`.
        ns_steps: Number of steps >= 1.
        exclude_layers: Regular expressions: matrices in whose path one is found follow
            AdamW.
        exclude_embeddings: Whether embeddings follow AdamW.
        exclude_head: Whether the last matrix of several follows AdamW.
        adam_lr_ratio: Learning rate >= 0 of AdamW, over η.
        adam_beta_1: β₁ of AdamW in [0, 1).
        adam_beta_2: β₂ of AdamW in [0, 1).
        adam_weight_decay: λ >= 0 of AdamW, or None for that of the matrices.
        epsilon: ε >= 0 of AdamW.

    Example:
        >>> optimizer = keras_adamx.Muon(1e-3, scale="moonlight", adam_lr_ratio=1.0)

    Source:
        Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks";
        Liu et al. 2025, "Muon is scalable for LLM training", arXiv:2502.16982; Amsel et
        al. 2025, "The Polar Express", arXiv:2505.16932.
    """

    learning_rate: Any = rate(0.02, search=Log(2e-4, 0.2))
    momentum: float = decay(0.95)
    nesterov: bool = flag(True)
    scale: str = choice("plain", ("plain", "moonlight", "spectral"))
    # A factor of the learning rate.
    rms_rate: float = hyperparameter(0.2, above=0.0, searched=False)
    coefficients: str = choice("standard", ("standard", "polar_express"))
    ns_steps: int = count(5)
    exclude_layers: Any = Argument(
        None, _patterns, "a list of regular expressions or None"
    )
    exclude_embeddings: bool = flag(True)
    exclude_head: bool = flag(True)
    adam_lr_ratio: float = hyperparameter(0.015, at_least=0.0, scheduled=False)
    adam_beta_1: float = decay(0.9)
    adam_beta_2: float = decay(0.95)
    adam_weight_decay: float | None = hyperparameter(None, at_least=0.0, optional=True)
    epsilon: float = hyperparameter(1e-10, at_least=0.0, searched=False)

    def takes(self, weights: Weights) -> bool:
        if weights.is_embedding and len(weights.shape) == 2:
            return not (self.exclude_embeddings or self._excludes(weights))
        if weights.matrix_shape is None or (weights.is_head and self.exclude_head):
            return False
        return not self._excludes(weights)

    def _excludes(self, weights: Weights) -> bool:
        return any(re.search(each, weights.path) for each in self.exclude_layers or ())

    def otherwise(self) -> tuple[Any, float]:
        own = self.adam_weight_decay
        rule = self.inner(
            AdamW,
            beta_1=self.adam_beta_1,
            beta_2=self.adam_beta_2,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay if own is None else own,
        )
        return rule, self.adam_lr_ratio

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("momentum", holds=GRADIENT_MEAN)

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        state.momentum = ema(state.momentum, gradient, hyper.momentum)
        if not self.nesterov:
            return state.momentum
        return ema(state.momentum, gradient, hyper.momentum)

    def jointly(
        self, directions: list[Any], abouts: list[Weights], hyper: Hyper
    ) -> list[Any]:
        polynomials = coefficients(self.coefficients, self.ns_steps)
        safety = 1.0 if self.coefficients == "standard" else _SAFETY
        shapes = [about.matrix_shape or about.shape for about in abouts]
        found = list(directions)
        for members in _batches(shapes, backend.on_cpu(directions[0])):
            matrices = [ops.reshape(directions[i], shapes[i]) for i in members]
            flat = [x if _is_wide(x) else ops.transpose(x) for x in matrices]
            if len(flat) > 1:
                batch = orthogonalised(ops.stack(flat), polynomials, safety)
                results = ops.unstack(batch, len(flat))
            else:  # XLA multiplies by the transpose of a matrix without making it.
                results = [orthogonalised(flat[0], polynomials, safety)]
            for i, x, result in zip(members, matrices, results):
                result = result if _is_wide(x) else ops.transpose(result)
                result = self._size(shapes[i], hyper) * result
                found[i] = ops.reshape(result, directions[i].shape)
        return found

    def _size(self, shape: tuple[int, ...], hyper: Hyper) -> Any:
        inputs, outputs = (max(side, 1) for side in shape)
        if self.scale == "plain":
            return max(1.0, outputs / inputs) ** 0.5
        if self.scale == "spectral":
            return (outputs / inputs) ** 0.5
        return hyper.rms_rate * max(inputs, outputs) ** 0.5


def _batches(shapes: list[tuple[int, ...]], on_cpu: bool) -> Iterable[list[int]]:
    """Positions of matrices that are the same but for transposition."""
    alike: dict[Any, list[int]] = {}
    for i, shape in enumerate(shapes):
        alike.setdefault(tuple(sorted(shape)), []).append(i)
    for (short, long), members in alike.items():
        most = len(members)
        if on_cpu:
            most = max(1, _ELEMENTS // max(1, short * long))
        for start in range(0, len(members), most):
            yield members[start : start + most]


def _is_wide(x: Any) -> bool:
    return x.shape[0] <= x.shape[1]
