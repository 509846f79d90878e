"""What a rule remembers: its slots, and the state that it reads and writes."""

from __future__ import annotations

import math
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
        begins_as_weights: Whether the quantity begins as the weights that the variable
            has at its first step, which may have been loaded since `build`. Stored in
            float32 always.
        axes: Instead of a shape, the axes of the weights that the quantity has: `(0,)`
            for a number a row. On several devices it is then laid out as they are.
    """

    name: str
    shape: tuple[int, ...] | None = None
    initial: float = 0.0
    nonnegative: bool = False
    low_precision: bool = True
    holds: str = ""
    begins_as_weights: bool = False
    axes: tuple[int, ...] | None = None

    def for_weights(self, weights: Weights) -> Slot:
        """The slot with what follows from the variable."""
        if self.axes is not None:
            return self._replace(shape=tuple(weights.shape[i] for i in self.axes))
        # Not a number until the first step: the weights may be loaded before.
        return self._replace(initial=math.nan) if self.begins_as_weights else self


# Layers within Keras' attention whose kernels end with two axes of outputs.
_PROJECTIONS = frozenset({"query", "key", "value"})


class Weights(NamedTuple):
    """What a rule may know about a variable when it names its slots."""

    path: str
    shape: tuple[int, ...]
    # Whether it is the last matrix of several: that of the output layer.
    is_head: bool = False

    @property
    def name(self) -> str:
        """The last part of the path: "kernel", "bias"."""
        return self.path.rpartition("/")[2]

    @property
    def is_embedding(self) -> bool:
        """Whether it is the table of a layer that looks rows up."""
        return self.name.endswith("embeddings")

    @property
    def is_bias(self) -> bool:
        """Whether it is a bias; those of attention have two axes."""
        return self.name.endswith("bias")

    @property
    def matrix_shape(self) -> tuple[int, int] | None:
        """Inputs and outputs of the linear map that the variable is, or None.

        In Keras the last axis is that of the outputs, but in the kernels of attention,
        (inputs, heads, size) of queries, keys and values, where the last two are. None
        for vectors, biases, embeddings, and kernels that work on each channel alone.
        """
        if len(self.shape) < 2 or self.is_bias or self.is_embedding:
            return None
        if "depthwise" in self.name:
            return None
        layer = self.path.split("/")[-2:-1]
        after = 2 if len(self.shape) == 3 and layer and layer[0] in _PROJECTIONS else 1
        inputs, outputs = self.shape[:-after], self.shape[-after:]
        return math.prod(inputs), math.prod(outputs)


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
    is scheduled. `begin_step` finds in `sums` what `statistics` returned, summed over
    the variables.
    """

    def cast(self, dtype: str) -> Hyper:
        """The same with every tensor in `dtype`."""

        def convert(value: Any) -> Any:
            if isinstance(value, (State, Hyper)):
                return type(value)(**{k: convert(v) for k, v in vars(value).items()})
            if isinstance(value, dict):
                return {k: convert(v) for k, v in value.items()}
            return ops.cast(value, dtype) if ops.is_tensor(value) else value

        return Hyper(**{name: convert(value) for name, value in vars(self).items()})
