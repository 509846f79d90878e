"""What a rule remembers: its slots, and the state that it reads and writes."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, NamedTuple

from keras import ops

# Names of state that the core keeps beside the slots of a rule.
RESERVED = frozenset(
    {"average", "gradient_sum", "iteration", "learning_rate", "shared", "skipped_steps"}
)


# What slots of several rules hold.
GRADIENT_MEAN = "moving average of the gradients, begun at zero"
SQUARE_MEAN = "moving average of the squared gradients, begun at zero"


class Slot(NamedTuple):
    """One quantity that a rule keeps.

    Args:
        name: Attribute of the state under which the rule finds it, and its name in
            saved files.
        shape: Shape of the quantity; `None` for the shape of the weights.
        initial: Value that every element has before the first step.
        nonnegative: Whether the quantity is never below zero.
        low_precision: Whether `state_dtype` may store it in fewer than 32 bits.
        holds: What the quantity is, in words that are the same wherever it is: state
            can be imported from an optimizer of another class whose slot holds it.
    """

    name: str
    shape: tuple[int, ...] | None = None
    initial: float = 0.0
    nonnegative: bool = False
    low_precision: bool = True
    holds: str = ""


class Weights(NamedTuple):
    """What a rule may know about a variable when it names its slots."""

    path: str
    shape: tuple[int, ...]


class State(SimpleNamespace):
    """The slots of one variable as attributes; a rule reads them and sets them anew."""

    def collect(self, slots: Iterable[Slot], rule: str) -> dict[str, Any]:
        """The values after the step, checked to be exactly the declared slots."""
        values = dict(vars(self))
        names = [slot.name for slot in slots]
        if values.keys() != set(names):
            raise AttributeError(
                f"{rule} declares the slots {names} but its step left the state with "
                f"{sorted(values)}."
            )
        return values


class Hyper(SimpleNamespace):
    """Hyper-parameters of one step: Python numbers, or tensors where they vary.

    Besides the arguments of the class: `learning_rate` and `step` (1 at the first
    update) as scalar tensors, `shared`, the state that all variables share, and
    `log_products`, the logarithm of the product of all values so far of each decay that
    is scheduled.
    """

    def cast(self, dtype: str) -> Hyper:
        """The same with every tensor in `dtype`."""

        def convert(value: Any) -> Any:
            if isinstance(value, State):
                return State(**{k: convert(v) for k, v in vars(value).items()})
            if isinstance(value, dict):
                return {k: convert(v) for k, v in value.items()}
            return ops.cast(value, dtype) if ops.is_tensor(value) else value

        return Hyper(**{name: convert(value) for name, value in vars(self).items()})
