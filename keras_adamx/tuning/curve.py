"""What a learning-rate range test has measured, and the rates that follow from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

# How far, in standard deviations of the smoothed loss, a loss must fall to have fallen.
_CLEARLY = 5.0
# Losses before the lowest one that it takes to tell a fall from noise.
_FEWEST = 5
# Share of the steps at each end at which the slope of the curve says nothing.
_ENDS = 0.05


class RangeTest:
    """Losses at rising learning rates, and the rates that they suggest.

    `find_learning_rate` makes one. With losses l and smoothing β:

        s_i = Σ_j β^j l_(i-j) / Σ_j β^j

    The smoothed curve lags behind: rates are read off as many steps earlier as the
    losses in s_i are old on average. The rules:

        steepest   where s falls fastest over log(rate), the ends left out
        valley     two thirds into the longest stretch in which s falls at every step
        minimum    a tenth of the rate of the lowest s

    Args:
        learning_rates: Rates > 0, rising.
        losses: The loss at each of them, before the step with that rate.
        smoothing: β in [0, 1).
        rule: The rule of `suggestion`: "steepest", "valley" or "minimum".

    Raises:
        ValueError: There are not as many losses as rates, or the rule is unknown.

    Example:
        >>> rates = [10.0 ** (k / 10 - 5) for k in range(50)]
        >>> losses = [1 / (1 + 300 * rate) + rate for rate in rates]
        >>> test = keras_adamx.tuning.RangeTest(rates, losses, smoothing=0.0)
        >>> {rule: round(rate, 5) for rule, rate in test.suggestions.items()}
        {'steepest': 0.00316, 'valley': 0.00316, 'minimum': 0.00501}
    """

    def __init__(
        self,
        learning_rates: Sequence[float],
        losses: Sequence[float],
        *,
        smoothing: float = 0.9,
        rule: str = "steepest",
    ) -> None:
        self.learning_rates = [float(each) for each in learning_rates]
        self.losses = [float(each) for each in losses]
        self.smoothing = float(smoothing)
        self.rule = rule
        if len(self.losses) != len(self.learning_rates):
            raise ValueError(
                "RangeTest: there must be a loss for each learning rate. Received: "
                f"{len(self.losses)} losses for {len(self.learning_rates)} rates"
            )
        if rule not in _RULES:
            raise ValueError(
                f"RangeTest: argument `rule` must be one of {', '.join(_RULES)}. "
                f"Received: rule={rule!r}"
            )
        self.smoothed = smoothed(self.losses, self.smoothing)

    @property
    def suggestions(self) -> dict[str, float]:
        """A learning rate by each rule; empty if the loss does not fall."""
        if not self.falls:
            return {}
        curve = self._finite
        return {
            name: self.learning_rates[max(0, position - self._lag(position))] * factor
            for name, (rule, factor) in _RULES.items()
            for position in [rule(curve)]
        }

    @property
    def suggestion(self) -> float:
        """The learning rate of the chosen rule.

        Raises:
            ValueError: The loss does not fall at any rate.
        """
        if not self.falls:
            raise ValueError(self._no_suggestion)
        return self.suggestions[self.rule]

    @property
    def falls(self) -> bool:
        """Whether the loss falls by more than its noise.

        The noise of the losses is taken from the median distance of successive
        differences from their median, which a fall or a blow-up hardly moves. What is
        left of it in two smoothed losses is what they are compared with.
        """
        curve = self._finite
        lowest = int(np.argmin(curve)) if len(curve) else 0
        if lowest < _FEWEST:
            return False
        highest = int(np.argmax(curve[:lowest]))
        differences = np.diff(self.losses[: len(curve)])
        spread = np.median(np.abs(differences - np.median(differences)))
        noise = 1.4826 * spread / math.sqrt(2.0)
        noise *= math.hypot(self._left(highest), self._left(lowest))
        return bool(curve[highest] - curve[lowest] > _CLEARLY * noise)

    def _left(self, position: int) -> float:
        """The share of the noise of the losses that is left in a smoothed one."""
        weights = self.smoothing ** np.arange(position + 1)
        return float(np.sqrt(np.sum(weights**2)) / np.sum(weights))

    @property
    def _finite(self) -> np.ndarray:
        """The smoothed losses before the first that is not finite."""
        bad = np.flatnonzero(~np.isfinite(self.smoothed))
        return np.array(self.smoothed[: bad[0]] if len(bad) else self.smoothed)

    def _lag(self, position: int) -> int:
        """Mean age of the losses in a smoothed one, in whole steps."""
        ages = np.arange(position + 1)
        return round(float(np.average(ages, weights=self.smoothing**ages)))

    @property
    def _no_suggestion(self) -> str:
        if self.losses and not len(self._finite):
            return (
                f"The first loss is {self.losses[0]}: there is no rate to suggest. See "
                "that the data and the outputs of the model are finite."
            )
        if self.losses and not math.isfinite(self.losses[-1]):
            return (
                f"The loss is {self.losses[-1]} at step {len(self.losses)}, with a "
                f"learning rate of {self.learning_rates[-1]:.3g}, and does not fall by "
                "more than its noise before: there is no rate to suggest. See that all "
                "of the data are finite; if they are, begin at a lower rate."
            )
        low, high = self.learning_rates[0], self.learning_rates[-1]
        return (
            f"The loss does not fall at any learning rate from {low:.3g} to {high:.3g} "
            "by more than its noise: there is no rate to suggest. Test a wider range "
            "with more steps or larger batches, and see that the model can learn from "
            "the data."
        )

    def __str__(self) -> str:
        low, high = self.learning_rates[0], self.learning_rates[-1]
        count = len(self.losses)
        head = f"Learning-rate range test: {count} steps from {low:.3g} to {high:.3g}"
        found = self.suggestions
        if not found:
            return f"{head}\n{self._no_suggestion}"
        lines = [
            f"  {name:<9} {rate:.3g}{'   <- suggestion' if name == self.rule else ''}"
            for name, rate in found.items()
        ]
        return "\n".join([head, *lines])

    def __repr__(self) -> str:
        found = {name: float(f"{rate:.3g}") for name, rate in self.suggestions.items()}
        return f"RangeTest(steps={len(self.losses)}, suggestions={found})"

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON can hold them."""
        return {
            "learning_rates": self.learning_rates,
            "losses": self.losses,
            "smoothing": self.smoothing,
            "rule": self.rule,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RangeTest:
        """A range test from what `get_config` returned."""
        return cls(**config)

    def to_dict(self) -> dict[str, Any]:
        """Everything that was measured and found, as JSON can hold it."""
        return {
            **self.get_config(),
            "smoothed": self.smoothed,
            "suggestions": self.suggestions,
            "suggestion": self.suggestions.get(self.rule),
        }

    def plot(self, axes: Any = None) -> Any:
        """Draw the losses over the rates, and the suggestions.

        Args:
            axes: Axes of matplotlib, or None for a new figure.

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is not installed.
        """
        if axes is None:
            axes = _new_axes()
        (raw,) = axes.plot(self.learning_rates, self.losses, alpha=0.35, label="loss")
        axes.plot(
            self.learning_rates, self.smoothed, color=raw.get_color(), label="smoothed"
        )
        for number, (name, rate) in enumerate(self.suggestions.items(), 1):
            label = f"{name}: {rate:.2g}"
            axes.axvline(rate, color=f"C{number}", linestyle="--", label=label)
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        curve = self._finite
        if len(curve):  # The blow-up at the end would flatten all the rest.
            low, high = curve.min(), max(curve[: len(curve) // 4 + 1])
            margin = 0.25 * (high - low) or 1.0
            axes.set_ylim(low - margin, high + margin)
        axes.grid(alpha=0.2)
        axes.legend()
        return axes


def smoothed(losses: Sequence[float], beta: float) -> list[float]:
    """Exponential averages of the losses so far, without the bias of their start."""
    total, weight, found = 0.0, 0.0, []
    for loss in losses:
        total, weight = beta * total + loss, beta * weight + 1.0
        found.append(total / weight)
    return found


def _new_axes() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "RangeTest.plot needs matplotlib: pip install 'keras_adamx[examples]'"
        ) from error
    return plt.subplots(layout="constrained")[1]


def _valley(curve: np.ndarray) -> int:
    first, last = _longest_fall(curve)
    return first + round((last - first) * 2 / 3)


def _steepest(curve: np.ndarray) -> int:
    skipped = max(1, round(_ENDS * len(curve)))
    # The rates grow by one factor: a step is a step of log(rate).
    slopes = np.gradient(curve)[skipped:-skipped]
    return skipped + int(np.argmin(slopes))


def _minimum(curve: np.ndarray) -> int:
    return int(np.argmin(curve))


# What finds a position in the smoothed losses, and the factor of the rate there.
_RULES: dict[str, tuple[Any, float]] = {
    "steepest": (_steepest, 1.0),
    "valley": (_valley, 1.0),
    "minimum": (_minimum, 0.1),
}


def _longest_fall(curve: np.ndarray) -> tuple[int, int]:
    """First and last position of the longest stretch in which every step falls."""
    best, first = (0, 0), 0
    for position in range(1, len(curve)):
        if not curve[position] < curve[position - 1]:
            first = position
        elif position - first > best[1] - best[0]:
            best = (first, position)
    return best
