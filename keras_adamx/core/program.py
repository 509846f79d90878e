"""The path of one step, as a pure function of tensors.

unscale -> accumulate -> clip -> for each variable: rule -> weight decay -> learning
rate -> round to the dtype of the weights -> averages

A backend's executor feeds it the current values and assigns the new ones; what the
gradients of several replicas need comes before, what must see real variables (weight
constraints, the step counter) comes after, in `Optimizer.apply`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from keras import ops

from keras_adamx.core import arithmetic, backend, rounding
from keras_adamx.core.jobs import Job
from keras_adamx.core.slots import Hyper, Slot, State

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer


class Entry(NamedTuple):
    """What `build` resolved for one variable of the model."""

    position: int
    variable: Any
    path: str
    shape: tuple[int, ...]
    dtype: str
    # The dtype of the arithmetic and of the state.
    compute_dtype: str
    slots: tuple[Slot, ...]
    slot_variables: dict[str, Any]
    average: Any
    accumulator: Any
    decayed: bool


class Values(NamedTuple):
    """Everything that a step reads and returns anew, as tensors or as variables."""

    weights: list[Any]
    slots: list[dict[str, Any]]
    averages: list[Any]
    accumulators: list[Any]
    shared: dict[str, Any]

    def flat(self) -> list[Any]:
        """All values in one list, in a fixed order."""
        slots = [value for slots in self.slots for value in slots.values()]
        return [
            *self.weights,
            *slots,
            *self.averages,
            *self.accumulators,
            *self.shared.values(),
        ]

    def like(self, flat: list[Any]) -> Values:
        """The same structure with other values."""
        rest = iter(flat)
        return Values(
            [next(rest) for _ in self.weights],
            [{name: next(rest) for name in slots} for slots in self.slots],
            [next(rest) for _ in self.averages],
            [next(rest) for _ in self.accumulators],
            {name: next(rest) for name in self.shared},
        )


class Program:
    """One step of an optimizer for the variables that have a gradient.

    Args:
        optimizer: The rule and its arguments.
        entries: The variables with a gradient.
        idle: Variables without one whose averages are kept all the same.
        key: What tells this program from others of the same optimizer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        entries: list[Entry],
        idle: list[Entry],
        key: Any = None,
    ) -> None:
        self.key = key
        self._optimizer = optimizer
        self._entries = entries
        averaged = [*entries, *idle] if optimizer.use_ema else []
        self._layout = Values(
            [entry.variable for entry in (*entries, *idle)],
            [entry.slot_variables for entry in entries],
            [entry.average for entry in averaged],
            [e.accumulator for e in entries if e.accumulator is not None],
            optimizer.shared_variables,
        )
        self.variables = self._layout.flat()

    def parts(self, size: int) -> list[tuple[Program, list[int]]]:
        """Programs that together do the same, many of them alike in all but variables.

        Programs of equal `key` compute the same function. Variables that are alike are
        split off in groups of `size`; the rest stays together.

        Args:
            size: Number of variables in a part.

        Returns:
            Pairs of a program and the positions of its gradients.
        """
        together = range(len(self._entries))
        if (
            self._optimizer.global_clipnorm is not None
            or self._optimizer.shared_slots
            or len(self._layout.weights) > len(self._entries)
        ):
            return [(self, list(together))]
        alike: dict[Any, list[int]] = {}
        for i in together:
            entry = self._entries[i]
            # Random numbers depend on the position of the variable.
            unique = i if entry.dtype in rounding.LOW_PRECISION else None
            kind = (entry.shape, entry.dtype, entry.decayed, entry.slots, unique)
            alike.setdefault(kind, []).append(i)
        parts, rest = [], []
        for kind, members in alike.items():
            whole = len(members) // size * size if len(members) >= 2 * size else 0
            rest += members[whole:]
            for start in range(0, whole, size):
                group = members[start : start + size]
                parts.append((self._only(group, (self.key[1:], kind)), group))
        if rest:
            parts.append((self._only(rest, (self.key, "rest")), rest))
        return parts

    def _only(self, positions: list[int], key: Any) -> Program:
        entries = [self._entries[i] for i in positions]
        return Program(self._optimizer, entries, [], key)

    def __call__(
        self, values: list[Any], gradients: list[Any], scalars: list[Any]
    ) -> list[Any]:
        """New values of `variables`, in their order.

        Args:
            values: Current values of `variables`.
            gradients: One dense gradient an entry.
            scalars: Learning rate, number of gradients seen so far, random seed.
        """
        learning_rate, seen, seed = scalars
        old = self._layout.like(values)
        gradients = [
            ops.cast(gradient, entry.compute_dtype)
            for gradient, entry in zip(gradients, self._entries)
        ]
        if self._optimizer.loss_scale_factor is not None:
            gradients = [g / self._optimizer.loss_scale_factor for g in gradients]
        steps = self._optimizer.gradient_accumulation_steps
        if steps is None:
            return self._update(old, gradients, learning_rate, seen, seed).flat()

        sums = [total + g for total, g in zip(old.accumulators, gradients)]

        def update() -> list[Any]:
            cleared = old._replace(accumulators=[ops.zeros_like(x) for x in sums])
            means = [total / steps for total in sums]
            return self._update(
                cleared, means, learning_rate, seen // steps, seed
            ).flat()

        return ops.cond(
            (seen + 1) % steps == 0,
            update,
            lambda: old._replace(accumulators=sums).flat(),
        )

    def _update(
        self,
        old: Values,
        gradients: list[Any],
        learning_rate: Any,
        updates: Any,
        seed: Any,
    ) -> Values:
        gradients = self._clipped(gradients)
        hyper = self._hyper(learning_rate, updates + 1)
        hyper.shared = State(**old.shared)
        self._optimizer.begin_step(hyper.shared, hyper)
        shared = hyper.shared.collect(
            self._optimizer.shared_slots, type(self._optimizer).__name__
        )
        decay = self._optimizer.weight_decay
        weights, slots = self._ruled(old, gradients, hyper, decay, seed)
        averages = self._averaged(old.averages, weights, updates)
        if self._optimizer.ema_overwrite_frequency is not None:
            due = (updates + 1) % self._optimizer.ema_overwrite_frequency == 0
            weights = [
                ops.where(due, ops.cast(average, w.dtype), w)
                for average, w in zip(averages, weights)
            ]
        return Values(weights, slots, averages, old.accumulators, shared)

    def rule_alone(
        self, values: list[Any], gradient: Any, scalars: list[Any]
    ) -> list[Any]:
        """New values of `variables` by the rule, without all that surrounds it."""
        learning_rate, seen, seed = scalars
        steps = self._optimizer.gradient_accumulation_steps or 1
        old = self._layout.like(values)
        gradients = [ops.cast(gradient, self._entries[0].compute_dtype)]
        hyper = self._hyper(learning_rate, seen // steps + 1)
        weights, slots = self._ruled(old, gradients, hyper, None, seed)
        return old._replace(weights=weights, slots=slots).flat()

    def _ruled(
        self,
        old: Values,
        gradients: list[Any],
        hyper: Hyper,
        weight_decay: float | None,
        seed: Any,
    ) -> tuple[list[Any], list[dict[str, Any]]]:
        """Weights and slots after the rule and the decay."""
        weights, slots = list(old.weights), list(old.slots)
        for group in self._alike():
            entry = self._entries[group[0]]
            update = functools.partial(
                self._optimizer.update,
                entry,
                hyper,
                weight_decay if entry.decayed else None,
            )
            jobs = [Job(gradients[i], old.weights[i], old.slots[i]) for i in group]
            if self._optimizer.elementwise:
                results = backend.map_elementwise(update, jobs)
            else:
                results = [update(*job) for job in jobs]
            for i, (exact, state) in zip(group, results):
                weights[i] = _stored(self._entries[i], exact, seed, hyper.step)
                slots[i] = state
        return weights, slots

    def _clipped(self, gradients: list[Any]) -> list[Any]:
        """Gradients clipped by value, by norm or by the norm of all of them."""
        optimizer = self._optimizer
        if optimizer.clipvalue is not None:
            bound = optimizer.clipvalue
            return [ops.clip(g, -bound, bound) for g in gradients]

        def factor(tensors: list[Any], bound: float) -> Any:
            norm = ops.sqrt(arithmetic.sum_of_squares(tensors))
            return bound / arithmetic.maximum(norm, bound)

        if optimizer.clipnorm is not None:
            return [g * factor([g], optimizer.clipnorm) for g in gradients]
        if optimizer.global_clipnorm is not None:
            scale = factor(
                [ops.cast(g, optimizer.scalar_dtype) for g in gradients],
                optimizer.global_clipnorm,
            )
            return [g * ops.cast(scale, g.dtype) for g in gradients]
        return gradients

    def _hyper(self, learning_rate: Any, step: Any) -> Hyper:
        dtype = self._optimizer.scalar_dtype
        return Hyper(
            **self._optimizer.hyperparameters(),
            learning_rate=ops.cast(learning_rate, dtype),
            step=ops.cast(step, dtype),
        )

    def _alike(self) -> list[list[int]]:
        """Positions of the entries that may be updated in one run."""
        groups: dict[Any, list[int]] = {}
        for position, entry in enumerate(self._entries):
            alike = (entry.dtype, entry.decayed, tuple(entry.slot_variables))
            groups.setdefault(alike, []).append(position)
        return list(groups.values())

    def _averaged(
        self, averages: list[Any], weights: list[Any], updates: Any
    ) -> list[Any]:
        momentum = self._optimizer.ema_momentum
        new = []
        for average, w in zip(averages, weights):
            w = ops.cast(w, average.dtype)
            mixed = arithmetic.ema(average, w, momentum)
            new.append(ops.where(updates == 0, w, mixed))
        return new


def _stored(entry: Entry, exact: Any, seed: Any, step: Any) -> Any:
    """The exact new weights in the dtype that the variable has."""
    if entry.dtype not in rounding.LOW_PRECISION:
        return exact
    bits = rounding.random_bits(tuple(exact.shape), seed, step, entry.position)
    return rounding.stochastic_round(exact, entry.dtype, bits)
