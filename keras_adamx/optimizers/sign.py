"""Rules that take the sign of an average of gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras_adamx.core.arguments import decay, hyperparameter, rate
from keras_adamx.core.arithmetic import ema, sign
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.search import Log
from keras_adamx.core.slots import GRADIENT_MEAN, Hyper, Slot, State, Weights


class Lion(Optimizer):
    """Moves every weight by the same amount, up or down.

    With gradient g and learning rate η, from m = 0:

        u = sign(β₁ m + (1 - β₁) g)          with the old m
        m ← β₂ m + (1 - β₂) g
        w ← w - η u

    Every step has the size η in every element: choose η 3 to 10 times smaller than for
    `AdamW`, and `weight_decay` as many times larger. With β₁ = β₂ it is Tiger.

    State: `momentum` (m), of the shape of the weights.

    Args:
        learning_rate: η; 1e-4 is the paper's. (Keras' default of 0.001 is too large for
            most models.)
        beta_1: β₁ in [0, 1).
        beta_2: β₂ in [0, 1).

    Example:
        >>> optimizer = keras_adamx.Lion(1e-4, weight_decay=0.1)

    Source:
        Chen et al. 2023, "Symbolic discovery of optimization algorithms",
        arXiv:2302.06675.
    """

    elementwise = True

    # Steps are larger than those of AdamW, and the decay is to keep up with them.
    learning_rate: Any = rate(1e-4, search=Log(1e-6, 1e-2))
    weight_decay: float | None = hyperparameter(
        None, at_least=0.0, optional=True, search=Log(1e-3, 10.0)
    )
    beta_1: float = decay(0.9)
    beta_2: float = decay(0.99)

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("momentum", holds=GRADIENT_MEAN)

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        update = sign(ema(state.momentum, gradient, hyper.beta_1))
        state.momentum = ema(state.momentum, gradient, hyper.beta_2)
        return update
