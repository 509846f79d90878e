"""What flows through a step: variables, scalars, and what all updates share."""

from __future__ import annotations

from typing import Any, NamedTuple

from keras_adamx.core import rounding
from keras_adamx.core.codecs import Codec
from keras_adamx.core.settings import Settings
from keras_adamx.core.slots import Slot, Weights


class Entry(NamedTuple):
    """What `build` resolved for one variable of the model."""

    position: int
    variable: Any
    path: str
    shape: tuple[int, ...]
    # What a rule may know of it.
    about: Weights
    dtype: str
    # The dtype of the arithmetic.
    compute_dtype: str
    # Number of the group, 0 for none, and what holds for it.
    group: int
    settings: Settings
    # Whether its "gradient" is its new value.
    overwritten: bool
    slots: tuple[Slot, ...]
    # Names of the transforms that are for it.
    transforms: tuple[str, ...]
    codecs: dict[str, Codec]
    # What the codecs keep, by name.
    stored: dict[str, Any]
    average: Any
    accumulator: Any
    # What tells its random numbers from those of others.
    stream: int
    decayed: bool

    @property
    def has_state(self) -> bool:
        """False if it is frozen, or if its "gradient" is its new value."""
        return not (self.settings.frozen or self.overwritten)

    @property
    def random(self) -> bool:
        """Whether an update draws random numbers."""
        return (
            self.dtype in rounding.LOW_PRECISION
            or any(codec.random for codec in self.codecs.values())
            or any(self.settings.transforms[t].random for t in self.transforms)
        )

    @property
    def elementwise(self) -> bool:
        """Whether an element depends on no other one in any part of the update."""
        return self.settings.rule.elementwise and all(
            self.settings.transforms[t].elementwise for t in self.transforms
        )

    @property
    def resolved(self) -> tuple[Any, ...]:
        """What a file may say otherwise."""
        return (self.decayed, self.group, self.stream)

    @property
    def alike(self) -> tuple[Any, ...]:
        """Equal for entries that the same function updates, shape apart."""
        # Their random numbers are other ones.
        unique = self.stream if self.random else None
        codecs = tuple(self.codecs.items())
        return (
            self.dtype,
            self.settings,
            self.about.matrix_shape,
            self.decayed,
            self.slots,
            self.transforms,
            codecs,
            unique,
        )


class Scalars(NamedTuple):
    """What a step takes beside values and gradients."""

    learning_rate: Any
    # Number of gradients seen so far.
    seen: Any
    seed: Any
    # Values of the scheduled arguments, in the order of the settings.
    scheduled: list[Any]


class Common(NamedTuple):
    """What the updates of all variables of one step have in common."""

    learning_rate: Any
    # Number of this update, from 1.
    step: Any
    seed: Any
    scheduled: list[Any]
    # State that variables share, for each of the settings.
    shared: list[dict[str, Any]]
    # Whether each gradient is finite, and whether all are; None if nobody asks.
    finite_each: Any
    finite: Any
    # Whether the weights are updated in this step; None for always.
    due: Any
    # Norm of all gradients together, or None if nobody asks.
    norm: Any


class Values(NamedTuple):
    """Everything that an update reads and returns anew, as tensors or as variables."""

    weights: list[Any]
    stored: list[dict[str, Any]]
    averages: list[Any]
    accumulators: list[Any]
    # The table of what is measured, if somebody watches.
    measured: list[Any]

    def flat(self) -> list[Any]:
        """All values in one list, in a fixed order."""
        stored = [value for parts in self.stored for value in parts.values()]
        others = (*self.averages, *self.accumulators, *self.measured)
        return [*self.weights, *stored, *others]

    def like(self, flat: list[Any]) -> Values:
        """The same structure with other values."""
        rest = iter(flat)
        return Values(
            [next(rest) for _ in self.weights],
            [{name: next(rest) for name in parts} for parts in self.stored],
            [next(rest) for _ in self.averages],
            [next(rest) for _ in self.accumulators],
            [next(rest) for _ in self.measured],
        )


def alike(entries: list[Entry]) -> list[list[int]]:
    """Positions of the entries that may be updated in one run."""
    groups: dict[Any, list[int]] = {}
    for position, entry in enumerate(entries):
        groups.setdefault(entry.alike, []).append(position)
    return list(groups.values())
