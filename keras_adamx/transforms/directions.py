"""Transforms of the direction, behind the rule."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_adamx.core.arguments import hyperparameter
from keras_adamx.core.arithmetic import maximum, mean, rms, trust_ratio
from keras_adamx.core.slots import Hyper, State
from keras_adamx.core.transforms import Transform


class Cautious(Transform):
    """Moves only those elements whose direction agrees with their gradient.

    With gradient g and direction u:

        c = 1 where u g > 0, else 0
        u ← u c / max(mean(c), minimum)

    Args:
        minimum: Least share > 0 of elements that the direction is scaled up for.

    Example:
        >>> transform = keras_adamx.transforms.Cautious()
        >>> optimizer = keras_adamx.AdamW(1e-3, transforms=[transform])

    Source:
        Liang et al. 2024, "Cautious optimizers: improving training with one line of
        code", arXiv:2411.16085.
    """

    minimum: float = hyperparameter(1e-3, above=0.0, at_most=1.0)

    def direction(
        self, direction: Any, gradient: Any, weights: Any, state: State, hyper: Hyper
    ) -> Any:
        agrees = ops.cast(direction * gradient > 0.0, direction.dtype)
        return direction * agrees / maximum(mean(agrees), hyper.minimum)


class TrustRatio(Transform):
    """Gives the direction of each variable the size of its weights.

    With direction u and weights w:

        u ← u φ(‖w‖) / ‖u‖,  φ(x) = min(max(x, lower), upper)

    and u unchanged where one of the norms is zero. Decoupled weight decay λ is part of
    the direction here: u + λ w in place of u.

    Args:
        lower: Least size >= 0 that weights are taken to have.
        upper: Largest size > 0 that weights are taken to have, or None.

    Raises:
        ValueError: The rule's direction contains the learning rate already.

    Example:
        >>> transform = keras_adamx.transforms.TrustRatio()
        >>> optimizer = keras_adamx.AdamW(1e-3, transforms=[transform])  # LAMB

    Source:
        You et al. 2019, "Large batch optimization for deep learning: training BERT in
        76 minutes", arXiv:1904.00962.
    """

    includes_weight_decay = True

    lower: float = hyperparameter(0.0, at_least=0.0)
    upper: float | None = hyperparameter(None, above=0.0, optional=True)

    def direction(
        self, direction: Any, gradient: Any, weights: Any, state: State, hyper: Hyper
    ) -> Any:
        return direction * trust_ratio(weights, direction, hyper.lower, hyper.upper)


class UpdateRMSClip(Transform):
    """Bounds the root mean square of the direction of each variable.

    With direction u:

        u ← u / max(1, RMS(u) / threshold)

    Args:
        threshold: Largest root mean square > 0.

    Example:
        >>> transform = keras_adamx.transforms.UpdateRMSClip(threshold=1.0)
        >>> optimizer = keras_adamx.AdamW(1e-3, transforms=[transform])

    Source:
        Shazeer, Stern 2018, "Adafactor: adaptive learning rates with sublinear memory
        cost", section 6, arXiv:1804.04235.
    """

    threshold: float = hyperparameter(1.0, above=0.0)

    def direction(
        self, direction: Any, gradient: Any, weights: Any, state: State, hyper: Hyper
    ) -> Any:
        return direction / maximum(rms(direction) / hyper.threshold, 1.0)
