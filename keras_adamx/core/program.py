"""The path of one step, as pure functions of tensors.

For all variables together (`common`): schedules and shared state -> is every gradient
finite -> is the update due -> global norm. Then for each variable (`update`):

unscale -> accumulate -> clip -> gradient transforms -> l2 -> rule -> direction
transforms -> weight decay -> learning rate -> weight transforms -> weights and state in
the form in which they are stored -> averages

A backend's executor feeds them the current values and assigns the new ones; what the
gradients of several replicas need comes before, what must see real variables (weight
constraints, the step counter) comes after, in `stepping`.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from keras import ops

from keras_adamx.core import arithmetic, backend, measures, rows
from keras_adamx.core.clipping import clipped, norm_of
from keras_adamx.core.jobs import Job, Rows
from keras_adamx.core.settings import MULTIPLIER, Settings, product_of
from keras_adamx.core.slots import Hyper, State
from keras_adamx.core.update import (
    dtype_of,
    prepared,
    updated_together,
    updated_variable,
)
from keras_adamx.core.values import Common, Entry, Scalars, Values, alike

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer

logger = logging.getLogger("keras_adamx")


class Program:
    """One step of an optimizer for the variables that have a gradient.

    Args:
        optimizer: The rule and its arguments.
        entries: The variables with a dense gradient.
        rows: The variables with a gradient of which only some rows are given.
        late: Variables without a gradient now whose sum of gradients may be due.
        idle: Variables without any gradient whose averages are kept all the same.
        key: What tells this program from others of the same optimizer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        entries: list[Entry],
        rows: list[Entry] | None = None,
        late: list[Entry] | None = None,
        idle: list[Entry] | None = None,
        key: Any = None,
    ) -> None:
        self.key = key
        self.optimizer = optimizer
        self.entries = entries
        self.rows = rows or []
        self._late = late or []
        self._idle = idle or []
        updated = [*entries, *self._late]
        averaged = [*updated, *self._idle] if optimizer.use_ema else []
        self._layout = Values(
            [entry.variable for entry in (*updated, *self._idle)],
            [entry.stored for entry in updated],
            [entry.average for entry in averaged],
            [e.accumulator for e in updated if e.accumulator is not None],
            [optimizer.measured] if optimizer.measuring and updated else [],
        )
        self.variables = self._layout.flat()
        # What a step may move.
        self.changed = [*updated, *self.rows]
        # Order of the shared state: what belongs to which settings.
        self._owners = [s for s in optimizer.settings if s.base is s]
        self.shared = [v for s in self._owners for v in s.shared.values()]

    def parts(self, size: int) -> list[tuple[Program, list[int]]]:
        """Programs that together do the same, many of them alike in all but variables.

        Programs of equal `key` compute the same function. Variables that are alike are
        split off in groups of `size`; the rest stays together.

        Args:
            size: Number of variables in a part.

        Returns:
            Pairs of a program and the positions of its gradients.
        """
        if self._layout.measured:  # All write to one table.
            return [(self, list(range(len(self.entries))))]
        kinds: dict[Any, list[int]] = {}
        for i, entry in enumerate(self.entries):
            kinds.setdefault((entry.shape, entry.alike), []).append(i)
        parts, rest = [], []
        for kind, members in kinds.items():
            whole = len(members) // size * size if len(members) >= 2 * size else 0
            rest += members[whole:]
            for start in range(0, whole, size):
                group = members[start : start + size]
                part = Program(
                    self.optimizer,
                    [self.entries[i] for i in group],
                    key=(self.key[-1], kind),
                )
                parts.append((part, group))
        if not parts:
            return [(self, rest)]
        if rest or self._late or self._idle:
            entries = [self.entries[i] for i in rest]
            key = (self.key, "rest")
            late, idle = self._late, self._idle
            part = Program(self.optimizer, entries, late=late, idle=idle, key=key)
            parts.append((part, rest))
        return parts

    def accumulators(self, values: list[Any]) -> list[Any]:
        """The sums of gradients among values of `variables`."""
        return self._layout.like(values).accumulators

    @property
    def names(self) -> list[str]:
        """Paths of the variables with a gradient."""
        return [entry.path for entry in (*self.entries, *self.rows)]

    def refuse_nonfinite(self, finite_each: Any) -> None:
        """Raise an error that names the variables whose gradient is not finite."""
        message = self._nonfinite(finite_each)
        if message:
            raise FloatingPointError(message)

    def log_nonfinite(self, finite_each: Any) -> None:
        """Likewise, where a compiled program cannot raise."""
        message = self._nonfinite(finite_each)
        if message:
            logger.error(message)

    def _nonfinite(self, finite_each: Any) -> str:
        flags = ops.convert_to_numpy(finite_each)
        names = [name for name, finite in zip(self.names, flags) if not finite]
        return (
            f"A gradient is not finite. Nothing was changed. Variables: {names}"
            if names
            else ""
        )

    # For all variables together.

    def common(
        self,
        shared: list[Any],
        accumulators: list[Any],
        gradients: list[Any],
        scalars: Scalars,
        values: list[Any] | None = None,
    ) -> tuple[list[Any], Common]:
        """New values of `shared`, and what all updates need.

        Args:
            shared: Current values of `shared`.
            accumulators: Current sums of gradients, in the order of the entries.
            gradients: Dense gradients of `entries`, then the given rows of `rows`.
            scalars: Scalars of the step.
            values: Current values of `variables`; needed where `has_statistics`.
        """
        optimizer = self.optimizer
        entries = [*self.entries, *self.rows]
        gradients = [self._unscaled(g, e) for g, e in zip(gradients, entries)]
        updates = scalars.seen // (optimizer.gradient_accumulation_steps or 1)
        step = ops.cast(updates + 1, optimizer.scalar_dtype)
        learning_rate = ops.cast(scalars.learning_rate, optimizer.scalar_dtype)
        scheduled = [ops.cast(x, optimizer.scalar_dtype) for x in scalars.scheduled]

        finite_each = finite = due = None
        if optimizer.nonfinite != "propagate" and gradients:
            finite_each = ops.stack([ops.all(ops.isfinite(g)) for g in gradients])
            finite = due = ops.all(finite_each)
        if optimizer.gradient_accumulation_steps is not None:
            full = (scalars.seen + 1) % optimizer.gradient_accumulation_steps == 0
            due = full if due is None else ops.logical_and(due, full)

        common = Common(
            learning_rate=learning_rate,
            step=step,
            seed=scalars.seed,
            scheduled=scheduled,
            shared=[],
            finite_each=finite_each,
            finite=finite,
            due=due,
            norm=None,
        )
        if optimizer.global_clipnorm is not None:
            means = self._means(accumulators, gradients)
            common = common._replace(norm=norm_of(means, optimizer.scalar_dtype))
        sums = self._sums(shared, gradients, values, common)
        common = common._replace(shared=self._advanced(shared, sums, common))
        new = [x for values in common.shared for x in values.values()]
        if due is not None:
            new = [ops.where(due, a, b) for a, b in zip(new, shared)]
        return new, common

    @property
    def has_statistics(self) -> bool:
        """Whether a rule sums something over all variables before any of them moves."""
        updated = (*self.entries, *self._late)
        return any(entry.settings.rule.has_statistics for entry in updated)

    def _by_owner(self, shared: list[Any]) -> list[dict[str, Any]]:
        """The shared state by the settings that own it."""
        rest = iter(shared)
        return [{name: next(rest) for name in s.shared} for s in self._owners]

    def _sums(
        self,
        shared: list[Any],
        gradients: list[Any],
        values: list[Any] | None,
        common: Common,
    ) -> list[dict[str, Any]]:
        """The statistics of the rules, summed over the variables of each owner."""
        sums: list[dict[str, Any]] = [{} for _ in self._owners]
        if values is None or not self.has_statistics:
            return sums
        before = self._by_owner(shared)
        for settings, state in zip(self._owners, before):
            hyper = self._arguments(settings, common)
            for name, value in self._products(settings, state, hyper).items():
                state[product_of(name)] = value
        common = common._replace(shared=before)
        old = self._layout.like(values)
        gradients = self._means(old.accumulators, gradients)
        for i, entry in enumerate((*self.entries, *self._late)):
            hyper = self.hyper(entry.settings, common)
            gradient = clipped(gradients[i], hyper, common.norm)
            job = Job(gradient, old.weights[i], old.stored[i])
            ready = prepared(entry, hyper, common.seed, job)
            found = entry.settings.rule.statistics(
                ready.gradient, ready.weights, ready.state, ready.hyper
            )
            total = sums[self._owners.index(entry.settings.base)]
            for name, value in found.items():
                value = ops.cast(value, self.optimizer.scalar_dtype)
                if i >= len(self.entries):  # It stays if it had no gradient at all.
                    value = ops.where(ops.any(gradient != 0.0), value, 0.0)
                total[name] = total[name] + value if name in total else value
        return sums

    @staticmethod
    def _products(settings: Settings, state: Any, hyper: Hyper) -> dict[str, Any]:
        """Logarithms of the products of scheduled decays, this step's included."""
        return {
            name: state[product_of(name)]
            + ops.log(ops.cast(getattr(hyper, name), dtype_of(hyper.step)))
            for name in settings.decays
        }

    def _advanced(
        self, shared: list[Any], sums: list[dict[str, Any]], common: Common
    ) -> list[dict[str, Any]]:
        """The shared state after this step."""
        new = []
        for settings, state, total in zip(self._owners, self._by_owner(shared), sums):
            hyper = self._arguments(settings, common)
            hyper.sums = State(**total)
            if settings.rule.has_statistics and not total:
                # No variable of these settings has a gradient now.
                new.append(state)
                continue
            rule = settings.rule
            products = self._products(settings, state, hyper)
            for name in products:
                del state[product_of(name)]
            hyper.log_products = products
            hyper.shared = State(**state)
            rule.begin_step(hyper.shared, hyper)
            state = hyper.shared.collect(rule.shared_slots, type(rule).__name__)
            state |= {product_of(name): value for name, value in products.items()}
            new.append({name: state[name] for name in settings.shared})
        return new

    def _means(self, accumulators: list[Any], gradients: list[Any]) -> list[Any]:
        """What an update works with, that of variables without a gradient now last."""
        steps = self.optimizer.gradient_accumulation_steps
        if steps is None:
            return gradients
        absent = accumulators[len(self.entries) :]
        sums = [a + g for a, g in zip(accumulators, gradients)]
        return [total / steps for total in (*sums, *absent)]

    def _arguments(self, settings: Settings, common: Common) -> Hyper:
        """The arguments of one group in this step."""
        values = settings.arguments()
        inner = {
            name: {n: getattr(transform, n) for n in transform.arguments}
            for name, transform in settings.transforms.items()
        }
        position = 0
        for each in self.optimizer.settings:
            for name in each.scheduled:
                if each is settings and isinstance(name, tuple):
                    inner[name[0]][name[1]] = common.scheduled[position]
                elif each is settings:
                    values[name] = common.scheduled[position]
                position += 1
        values.setdefault(MULTIPLIER, settings.multiplier)
        values[MULTIPLIER] = settings.factor * values[MULTIPLIER]
        clock = {"learning_rate": common.learning_rate, "step": common.step}
        values["transforms"] = {n: Hyper(**own, **clock) for n, own in inner.items()}
        return Hyper(**values, **clock, log_products={}, shared=State())

    def hyper(self, settings: Settings, common: Common) -> Hyper:
        """All that a rule may know about a step, for one group."""
        hyper = self._arguments(settings, common)
        shared = dict(common.shared[self._owners.index(settings.base)])
        names = {name: product_of(name) for name in settings.base.decays}
        hyper.log_products = {n: shared.pop(product) for n, product in names.items()}
        hyper.shared = State(**shared)
        return hyper

    def hyper_now(self, settings: Settings, scalars: Scalars) -> Hyper:
        """Likewise outside of a step, at the number of updates made."""
        dtype = self.optimizer.scalar_dtype
        steps = self.optimizer.gradient_accumulation_steps or 1
        common = Common(
            learning_rate=ops.cast(scalars.learning_rate, dtype),
            step=ops.cast(scalars.seen // steps, dtype),
            seed=scalars.seed,
            scheduled=[ops.cast(x, dtype) for x in scalars.scheduled],
            shared=self._by_owner([backend.read(x) for x in self.shared]),
            finite_each=None,
            finite=None,
            due=None,
            norm=None,
        )
        return self.hyper(settings, common)

    # For each variable.

    def update(
        self, values: list[Any], gradients: list[Any], common: Common
    ) -> list[Any]:
        """New values of `variables`, in their order.

        Args:
            values: Current values of `variables`.
            gradients: One dense gradient an entry.
            common: What `common` returned.
        """
        gradients = [self._unscaled(g, e) for g, e in zip(gradients, self.entries)]
        steps = self.optimizer.gradient_accumulation_steps
        if self._layout.measured and common.finite is not None and self.entries:
            old = self._layout.like(values)
            positions = [entry.position for entry in self.entries]
            finite_each = common.finite_each[: len(positions)]
            table = measures.counted(old.measured[0], positions, finite_each)
            values = old._replace(measured=[table]).flat()
        if steps is not None:
            old = self._layout.like(values)
            sums = list(old.accumulators)
            for i, gradient in enumerate(gradients):
                if common.finite is None:
                    sums[i] = backend.added(sums[i], gradient)
                else:
                    total = sums[i] + gradient
                    sums[i] = ops.where(common.finite, total, sums[i])
            values = old._replace(accumulators=sums).flat()

        def updated(values: list[Any]) -> list[Any]:
            old = self._layout.like(values)
            if steps is None:
                return self._updated(old, gradients, common).flat()
            means = [total / steps for total in old.accumulators]
            new = self._updated(old, means, common)
            cleared = [ops.zeros_like(total) for total in old.accumulators]
            return new._replace(accumulators=cleared).flat()

        if common.due is None:
            return updated(values)
        return backend.when(common.due, updated, values)

    def _updated(self, old: Values, gradients: list[Any], common: Common) -> Values:
        entries = [*self.entries, *self._late]
        hypers = {e.settings: self.hyper(e.settings, common) for e in entries}
        given = gradients
        gradients = [
            clipped(g, hypers[e.settings], common.norm)
            for g, e in zip(gradients, entries)
        ]
        before = list(old.weights)
        if old.measured:  # Some backends update in place.
            before = [backend.kept(w) for w in before]
        weights, stored = list(old.weights), list(old.stored)
        for members in alike(self.entries):
            entry = entries[members[0]]
            shared = entry, hypers[entry.settings], common.seed
            jobs = [Job(gradients[i], old.weights[i], old.stored[i]) for i in members]
            if entry.elementwise:
                update = functools.partial(updated_variable, *shared)
                results = backend.map_elementwise(update, jobs)
            else:
                abouts = [self.entries[i].about for i in members]
                results = updated_together(*shared, jobs, abouts)
            for i, (w, parts) in zip(members, results):
                weights[i], stored[i] = w, parts
        for i, entry in enumerate(self._late, len(self.entries)):
            weights[i], stored[i] = self._updated_late(
                entry, hypers[entry.settings], common.seed, gradients[i], old, i
            )
        measured = old.measured
        if measured:
            slots = self.optimizer.measuring_slots
            moves = [
                measures.moved(e, (given[i], gradients[i]), moved, stored[i], slots)
                for i, (e, *moved) in enumerate(zip(entries, before, weights))
            ]
            for i in range(len(self.entries), len(entries)):
                moves[i] = moves[i]._replace(due=ops.any(given[i] != 0.0))
            measured = [measures.updated(measured[0], moves, common)]
        weights, averages = self.averaged(weights, old.averages, common)
        return Values(weights, stored, averages, old.accumulators, measured)

    @staticmethod
    def _updated_late(
        entry: Entry, hyper: Hyper, seed: Any, gradient: Any, old: Values, i: int
    ) -> tuple[Any, dict[str, Any]]:
        """A variable whose last gradient came earlier in the window, if one came."""
        names = list(old.stored[i])

        def update(values: list[Any]) -> list[Any]:
            job = Job(gradient, values[0], dict(zip(names, values[1:])))
            weights, stored = updated_variable(entry, hyper, seed, job)
            return [weights, *(stored[name] for name in names)]

        values = [old.weights[i], *old.stored[i].values()]
        weights, *kept = backend.when(ops.any(gradient != 0.0), update, values)
        return weights, dict(zip(names, kept))

    def averaged(
        self, weights: list[Any], averages: list[Any], common: Common
    ) -> tuple[list[Any], list[Any]]:
        """Weights and their averages after the update."""
        if not averages:
            return weights, averages
        momentum = self._arguments(self.optimizer.settings[0], common).ema_momentum
        new = []
        for average, w in zip(averages, weights):
            w = ops.cast(w, average.dtype)
            if ops.is_tensor(momentum):
                momentum = ops.cast(momentum, average.dtype)
            mixed = arithmetic.ema(average, w, momentum)
            new.append(ops.where(common.step == 1, w, mixed))
        frequency = self.optimizer.ema_overwrite_frequency
        if frequency is not None:
            due = ops.cast(common.step, "int32") % frequency == 0
            weights = [
                ops.where(due, ops.cast(average, w.dtype), w)
                for average, w in zip(new, weights)
            ]
        return weights, new

    def updated_rows(
        self, entry: Entry, given: Rows, job: Job, table: Any, common: Common
    ) -> rows.Updated:
        """New values of some rows of a variable and its state; `table`: measured."""
        hyper = self.hyper(entry.settings, common)
        given = given._replace(summed=self._unscaled(given.summed, entry))
        slots = self.optimizer.measuring_slots
        return rows.updated(entry, hyper, given, job, table, common, slots)

    def _unscaled(self, gradient: Any, entry: Entry) -> Any:
        gradient = ops.cast(gradient, entry.compute_dtype)
        factor = self.optimizer.loss_scale_factor
        return gradient if factor is None else gradient / factor

    def rule_alone(self, values: list[Any], gradient: Any, common: Common) -> list[Any]:
        """New values of `variables` by the rule, without all that surrounds it."""
        [entry] = self.entries
        old = self._layout.like(values)
        hyper = self.hyper(entry.settings, common)
        hyper.weight_decay = None
        gradient = ops.cast(gradient, entry.compute_dtype)
        job = Job(gradient, old.weights[0], old.stored[0])
        weights, stored = updated_variable(entry, hyper, common.seed, job)
        return old._replace(weights=[weights], stored=[stored]).flat()
