"""Rules whose steps have, in every variable, a size relative to its weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_adamx.core.arguments import decay, flag, hyperparameter, rate
from keras_adamx.core.arithmetic import norm
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.search import Log
from keras_adamx.core.slots import Hyper, Slot, State, Weights
from keras_adamx.core.transforms import Transform
from keras_adamx.optimizers.adam import AdamW
from keras_adamx.transforms.directions import TrustRatio


class LAMB(AdamW):
    """AdamW with steps as large as the weights: for large batches.

    With the direction u = m̂ / (√v̂ + ε) of `Adam`, weight decay λ and learning rate η,
    for each variable with weights w:

        u ← u + λ w
        w ← w - η φ(‖w‖) / ‖u‖ · u,  φ(x) = min(max(x, lower), upper)

    where the ratio is 1 if one of the norms is 0. The decay stands inside of the ratio;
    Keras' `Lamb` has it outside. The rule is `AdamW` with the transform `TrustRatio`.

    State: that of `Adam`; so are the other arguments.

    Args:
        epsilon: ε >= 0.
        weight_decay: λ >= 0, or None.
        lower: Least size >= 0 that weights are taken to have.
        upper: Largest size > 0 that weights are taken to have, or None.

    Example:
        >>> optimizer = keras_adamx.LAMB(1e-3, weight_decay=0.01)
        >>> optimizer.exclude_from_weight_decay(var_names=["bias"])

    Source:
        You et al. 2019, "Large batch optimization for deep learning: training BERT in
        76 minutes", arXiv:1904.00962.
    """

    elementwise = False

    epsilon: float = hyperparameter(1e-6, at_least=0.0)
    lower: float = hyperparameter(0.0, at_least=0.0)
    upper: float | None = hyperparameter(None, above=0.0, optional=True)

    def own_transforms(self) -> Iterable[Transform]:
        yield TrustRatio(lower=self.lower, upper=self.upper)


class LARS(Optimizer):
    """Momentum with steps as large as the weights: for large batches.

    With gradient g, momentum μ, weight decay λ and learning rate η, for each variable
    of two or more axes with weights w, from b = 0:

        r = τ ‖w‖ / (‖g‖ + λ ‖w‖ + ε)
        b ← μ b + r (g + λ w)
        w ← w - η b                          nesterov: w ← w - η (r (g + λ w) + μ b)

    where r is 1 if ‖w‖ or ‖g‖ is 0. Other variables have r = 1 and λ = 0. The learning
    rate stands outside of b: under a schedule, past gradients are scaled by the rate of
    today; the paper has it inside.

    State: `momentum` (b), of the shape of the weights, where μ > 0.

    Args:
        learning_rate: η; with r so small, values of 1 to 30 are usual, with warm-up.
        momentum: μ in [0, 1).
        weight_decay: λ >= 0, or None; inside the ratio and inside b.
        trust_coefficient: τ > 0.
        epsilon: ε >= 0.
        nesterov: Look ahead by one step of momentum. Needs `momentum` > 0.

    Raises:
        ValueError: `nesterov` without `momentum`; a `weight_decay_kind` of its own.

    Example:
        >>> optimizer = keras_adamx.LARS(5.0, weight_decay=1e-4)

    Source:
        You, Gitman, Ginsburg 2017, "Large batch training of convolutional networks",
        arXiv:1708.03888.
    """

    decays_itself = True

    learning_rate: Any = rate(1.0, search=Log(0.1, 100.0))
    momentum: float = decay(0.9)
    weight_decay: float | None = hyperparameter(
        1e-4, at_least=0.0, optional=True, search=Log(1e-6, 1e-2)
    )
    # A factor of the learning rate.
    trust_coefficient: float = hyperparameter(1e-3, above=0.0, searched=False)
    epsilon: float = hyperparameter(1e-8, at_least=0.0)
    nesterov: bool = flag(False)

    def validate(self) -> None:
        no_momentum = self.nesterov and self.momentum == 0.0
        self.refuse("nesterov", when=no_momentum, reason="needs momentum > 0")

    def slots(self, weights: Weights) -> Iterable[Slot]:
        if self.momentum:
            yield Slot("momentum")

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        update = gradient
        if len(gradient.shape) >= 2:
            size, length = norm(weights), norm(gradient)
            usable = ops.logical_and(size > 0.0, length > 0.0)
            whole = length + hyper.weight_decay * size + hyper.epsilon
            ratio = hyper.trust_coefficient * size / ops.where(usable, whole, 1.0)
            ratio = ops.where(usable, ratio, 1.0)
            update = ratio * (gradient + hyper.weight_decay * weights)
        if not self.momentum:
            return update
        state.momentum = hyper.momentum * state.momentum + update
        if self.nesterov:
            return update + hyper.momentum * state.momentum
        return state.momentum
