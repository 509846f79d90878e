"""Weight decay of five kinds."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_adamx.core.slots import Hyper

KINDS = ("decoupled", "l2", "independent", "corrected", "cautious")


def coupled(gradient: Any, weights: Any, hyper: Hyper) -> Any:
    """The gradient, with that of the penalty λ/2 |w|² if the decay is "l2"."""
    if hyper.weight_decay_kind != "l2":
        return gradient
    return gradient + hyper.weight_decay * weights


def shrinkage(step: Any, weights: Any, rate: Any, hyper: Hyper) -> Any:
    """What decay takes from the weights beside the step of the rule.

    Args:
        step: What the rule takes from the weights.
        weights: The weights before the step.
        rate: The learning rate of the variable (η).
        hyper: With `weight_decay` (λ), `learning_rate` (η without the multiplier of a
            group) and `peak_learning_rate`.

    Returns:
        decoupled ηλw, independent λw, corrected η²λw/η_peak, cautious ηλw where step
        and weights have the same sign and 0 elsewhere, l2 0.
    """
    kind = hyper.weight_decay_kind
    if kind == "l2":
        return 0.0
    amount = hyper.weight_decay * weights
    if kind == "independent":
        return amount
    amount = rate * amount
    if kind == "corrected":
        return (hyper.learning_rate / hyper.peak_learning_rate) * amount
    if kind == "cautious":
        return ops.where(step * weights >= 0.0, amount, ops.zeros_like(amount))
    return amount
