"""Rules that find the learning rate themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_adamx.core.arguments import decay, flag, hyperparameter, rate
from keras_adamx.core.arithmetic import bias_correction, maximum, minimum, total
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.search import Log
from keras_adamx.core.slots import Hyper, Slot, State, Weights


class Prodigy(Optimizer):
    """AdamW that estimates its learning rate from how far the weights have come.

    With gradients g, weights w, their first values w₀, learning rate η, weight decay λ
    and an estimate d of the distance to the solution, from d = d₀ and
    m = v = s = r = 0, where ⟨·,·⟩ and ‖·‖₁ sum over all variables:

        δ = d η c,  c = 1                    bias_correction: c = √(1 - β₂ᵗ) / (1 - β₁ᵗ)
        r ← β₃ r + (d / d₀) δ ⟨g, w₀ - w⟩
        m ← β₁ m + (1 - β₁) d g
        v ← β₂ v + (1 - β₂) d² g²
        s ← β₃ s + (d / d₀) δ g              safeguard_warmup: (d / d₀) d g
        d̂ = d_coef · r / ‖s‖₁,  d' = max(d, d̂), grown by at most growth_rate
        w ← w - δ (m / (√v + d' ε) + λ w),  d ← d'

    When to use: where no learning rate is known. Leave η at 1, use a schedule that
    falls (cosine) from it, and `safeguard_warmup` if it rises first.

    State: `momentum` (m), `velocity` (v), `drift` (s) and `start` (w₀), each of the
    shape of the weights, and four numbers for all variables.

    Args:
        learning_rate: η; 1.0, or a schedule that begins there.
        beta_1: β₁ in [0, 1).
        beta_2: β₂ in [0, 1).
        beta_3: β₃ in [0, 1), or None for √β₂.
        epsilon: ε >= 0.
        bias_correction: Whether to correct for the start of m and v at zero.
        safeguard_warmup: Leave η out of s.
        d0: d₀ > 0, the first estimate.
        d_coef: Factor > 0 of the estimate: smaller or larger steps.
        growth_rate: Largest factor > 1 by which d grows in one step, or None.

    Raises:
        ValueError: `beta_3` is None and `beta_2` a schedule.

    Example:
        >>> optimizer = keras_adamx.Prodigy(weight_decay=0.01)

    Source:
        Mishchenko, Defazio 2023, "Prodigy: an expeditiously adaptive parameter-free
        learner", arXiv:2306.06101.
    """

    elementwise = True
    decays_itself = True
    suited_schedule = "cosine"

    learning_rate: Any = rate(1.0, search=Log(0.1, 3.0))
    beta_1: float = decay(0.9)
    beta_2: float = decay(0.999)
    beta_3: float | None = hyperparameter(None, at_least=0.0, below=1.0, optional=True)
    epsilon: float = hyperparameter(1e-8, at_least=0.0)
    bias_correction: bool = flag(False)
    safeguard_warmup: bool = flag(False)
    d0: float = hyperparameter(1e-6, above=0.0, scheduled=False, searched=False)
    d_coef: float = hyperparameter(1.0, above=0.0)
    growth_rate: float | None = hyperparameter(None, above=1.0, optional=True)

    def validate(self) -> None:
        unknown = self.beta_3 is None and not isinstance(self.beta_2, float)
        self.refuse(
            "beta_3", when=unknown, reason="is needed if `beta_2` is a schedule"
        )

    @property
    def shared_slots(self) -> tuple[Slot, ...]:  # type: ignore[override]
        names = ("distance", "previous_distance", "largest_distance")
        distances = [Slot(name, shape=(), initial=self.d0) for name in names]
        return (*distances, Slot("numerator", shape=()))

    def slots(self, weights: Weights) -> Iterable[Slot]:
        yield Slot("momentum")
        yield Slot("velocity", nonnegative=True)
        yield Slot("drift")
        yield Slot("start", begins_as_weights=True)

    def _beta_3(self, hyper: Hyper) -> Any:
        return hyper.beta_2**0.5 if hyper.beta_3 is None else hyper.beta_3

    def _correction(self, hyper: Hyper) -> Any:
        if not self.bias_correction:
            return 1.0
        root = ops.sqrt(bias_correction(hyper, "beta_2"))
        return root / bias_correction(hyper, "beta_1")

    def _drift(self, drift: Any, gradient: Any, distance: Any, hyper: Hyper) -> Any:
        size = distance / self.d0 * distance
        if not self.safeguard_warmup:
            size = size * self._rate(hyper)
        return self._beta_3(hyper) * drift + size * gradient

    def _rate(self, hyper: Hyper) -> Any:
        own = hyper.learning_rate_multiplier * hyper.learning_rate
        return own * self._correction(hyper)

    def statistics(
        self, gradient: Any, weights: Any, state: State, hyper: Hyper
    ) -> dict[str, Any]:
        distance = hyper.shared.distance
        drift = self._drift(state.drift, gradient, distance, hyper)
        size = distance / self.d0 * distance * self._rate(hyper)
        return {
            "numerator": size * total(gradient * (state.start - weights)),
            "denominator": total(ops.abs(drift)),
        }

    def begin_step(self, shared: State, hyper: Hyper) -> None:
        old, sums = shared.distance, hyper.sums
        some = sums.denominator > 0.0
        numerator = self._beta_3(hyper) * shared.numerator + sums.numerator
        estimate = hyper.d_coef * numerator / ops.where(some, sums.denominator, 1.0)
        first = ops.where(old == self.d0, maximum(old, estimate), old)
        largest = maximum(shared.largest_distance, estimate)
        grown = largest
        if hyper.growth_rate is not None:
            grown = minimum(largest, first * hyper.growth_rate)
        shared.previous_distance = old
        shared.numerator = ops.where(some, numerator, shared.numerator)
        shared.largest_distance = ops.where(some, largest, shared.largest_distance)
        shared.distance = ops.where(some, grown, old)

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        old, new = hyper.shared.previous_distance, hyper.shared.distance
        state.momentum = (
            hyper.beta_1 * state.momentum + (1.0 - hyper.beta_1) * old * gradient
        )
        state.velocity = hyper.beta_2 * state.velocity + (
            1.0 - hyper.beta_2
        ) * ops.square(old * gradient)
        state.drift = self._drift(state.drift, gradient, old, hyper)
        root = ops.sqrt(state.velocity) + new * hyper.epsilon
        none = root == 0.0
        step = ops.where(none, 0.0, state.momentum / ops.where(none, 1.0, root))
        step = step + hyper.weight_decay * weights
        return old * self._correction(hyper) * step
