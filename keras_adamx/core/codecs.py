"""How slots are stored: float32, bfloat16, or blocks of 8-bit codes with a scale.

A codec turns the float32 tensor that a rule sees into the tensors that are kept, and
back. It works on the last axis alone, so that rows can be gathered from what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from keras import ops

from keras_adamx.core import arithmetic, backend, rounding
from keras_adamx.core.slots import Slot

STATE_DTYPES = ("float32", "bfloat16", "int8")
# Slots with fewer elements stay float32: they cost next to nothing.
SMALLEST = 4096
# The most elements that share a scale, and the least for which rows are not padded.
BLOCK = 256
_LEAST_BLOCK = 128
# Parts of a block that are compared element by element before the maximum is taken.
_FOLDS = 4
# Shorter last axes stay float32: their scales would eat what the codes save.
SHORTEST_AXIS = 16
_SMALLEST_SCALE = 2.0**-126

Stored = dict[str, Any]
# Random int32 bits, one for each element.
Bits = Callable[[], Any]


class Part(NamedTuple):
    """One tensor of what is stored for a slot."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    initial: float
    # Whether the shape is that of the slot, so that its layout fits.
    whole: bool = True


@dataclass(frozen=True)
class Exact:
    """As it is."""

    dtype: str = "float32"

    random: ClassVar[bool] = False

    def parts(self, slot: Slot, shape: tuple[int, ...]) -> list[Part]:
        """What is kept for a slot of a shape."""
        return [Part(slot.name, shape, self.dtype, slot.initial)]

    def encode(self, name: str, value: Any, bits: Bits) -> Stored:
        """What is kept of a value."""
        return {name: value}

    def decode(self, name: str, stored: Stored) -> Any:
        """The value of what is kept."""
        return stored[name]


@dataclass(frozen=True)
class Rounded:
    """bfloat16, rounded stochastically: small changes of an average add up."""

    dtype: ClassVar[str] = "bfloat16"
    random: ClassVar[bool] = True

    def parts(self, slot: Slot, shape: tuple[int, ...]) -> list[Part]:
        """What is kept for a slot of a shape."""
        return [Part(slot.name, shape, self.dtype, slot.initial)]

    def encode(self, name: str, value: Any, bits: Bits) -> Stored:
        """What is kept of a value."""
        return {name: rounding.stochastic_round(value, self.dtype, bits())}

    def decode(self, name: str, stored: Stored) -> Any:
        """The value of what is kept."""
        return ops.cast(stored[name], "float32")


@dataclass(frozen=True)
class Blocks:
    """Codes of 8 bits, relative to the largest magnitude in a block of the last axis.

    A block has the most elements, from 128 to 256, that divide the axis evenly; 256
    where none does, and the last one is shorter.

    The code c of a value x in a block of scale s, the largest |x|:

        signed:       x = sign(c) s (|c| / 127)⁴,    c = -127 … 127
        nonnegative:  x = s (c / 255)⁸,              c = 0 … 255

    The roots spread the codes over 8 and 19 decades. A positive value never becomes
    zero: a second moment of zero would let its element jump.
    """

    nonnegative: bool

    dtype: ClassVar[str] = "int8"
    random: ClassVar[bool] = False

    @property
    def _codes(self) -> str:
        return "uint8" if self.nonnegative else "int8"

    def parts(self, slot: Slot, shape: tuple[int, ...]) -> list[Part]:
        """What is kept for a slot of a shape."""
        blocks = (*shape[:-1], -(-shape[-1] // block_of(shape[-1])))
        full = 255.0 if self.nonnegative else math.copysign(127.0, slot.initial)
        return [
            Part(slot.name, shape, self._codes, full if slot.initial else 0.0),
            Part(scale_of(slot.name), blocks, "float32", abs(slot.initial), False),
        ]

    def encode(self, name: str, value: Any, bits: Bits) -> Stored:
        """What is kept of a value."""
        blocks = _in_blocks(value)
        magnitude = ops.abs(blocks)
        scale = _largest(magnitude)
        relative = magnitude * (1.0 / arithmetic.maximum(scale, _SMALLEST_SCALE))
        root = ops.sqrt(ops.sqrt(relative))
        if self.nonnegative:
            code = _nearest(ops.sqrt(root) * 255.0)
            one, zero = ops.ones_like(code), ops.zeros_like(code)
            code = ops.where(code > one, code, ops.where(relative > 0.0, one, zero))
        else:
            code = _nearest(root * 127.0)
            code = ops.where(blocks < 0.0, -code, code)
        code = _out_of_blocks(code, tuple(value.shape))
        return {
            name: ops.cast(code, self._codes),
            scale_of(name): ops.squeeze(scale, axis=-1),
        }

    def decode(self, name: str, stored: Stored) -> Any:
        """The value of what is kept."""
        code = stored[name]
        blocks = _in_blocks(ops.cast(code, "float32"))
        scale = ops.expand_dims(stored[scale_of(name)], -1)
        if self.nonnegative:
            value = _fourth(ops.square(blocks * (1.0 / 255.0))) * scale
        else:
            value = _fourth(blocks * (1.0 / 127.0)) * scale
            value = ops.where(blocks < 0.0, -value, value)
        return _out_of_blocks(value, tuple(code.shape))


Codec = Exact | Rounded | Blocks


def scale_of(name: str) -> str:
    """Name under which the scales of a slot are stored."""
    return f"{name}.scale"


def of_dtype(dtype: str, slot: Slot) -> Codec:
    """The codec that stores a slot in a dtype."""
    if dtype == "bfloat16":
        return Rounded()
    return Blocks(slot.nonnegative) if dtype == "int8" else Exact(dtype)


def choose(
    slot: Slot, shape: tuple[int, ...], state_dtype: str, compute_dtype: str
) -> Codec:
    """The codec of a slot; small ones, and those of other shapes, stay exact."""
    small = math.prod(shape) < SMALLEST
    if compute_dtype != "float32" or slot.shape is not None or small:
        return Exact(compute_dtype)
    exact = slot.begins_as_weights or not slot.low_precision
    if exact or state_dtype == "float32":
        return Exact(compute_dtype)
    if state_dtype == "int8" and shape[-1] < SHORTEST_AXIS:
        return Exact(compute_dtype)
    return of_dtype(state_dtype, slot)


def _fourth(x: Any) -> Any:
    return ops.square(ops.square(x))


def _nearest(x: Any) -> Any:
    """The nearest int32 of 0 <= x < 256: several times as fast as to floor and cast.

    Beside 2²³ a float has no places left behind the point, and its last bits are the
    number.
    """
    bits = backend.as_bits(x + float(1 << 23))
    return ops.bitwise_and(bits, ops.convert_to_tensor(255, "int32"))


def _largest(x: Any) -> Any:
    """The largest element along the last axis, which stays.

    Folded first: XLA vectorises this, not a maximum over what it has yet to compute.
    """
    width = x.shape[-1]
    if width > _FOLDS and width % _FOLDS == 0:
        part = width // _FOLDS
        parts = [x[..., i : i + part] for i in range(0, width, part)]
        while len(parts) > 1:
            parts = [arithmetic.maximum(a, b) for a, b in zip(parts[::2], parts[1::2])]
        x = parts[0]
    return ops.max(x, axis=-1, keepdims=True)


def block_of(length: int) -> int:
    """How many elements of an axis share a scale: a divisor of its length, or 256."""
    if length <= BLOCK:
        return max(length, 1)
    divisors = [n for n in range(BLOCK, _LEAST_BLOCK - 1, -1) if length % n == 0]
    # Those that `_largest` can fold come first.
    return min(divisors, key=lambda n: n % _FOLDS != 0, default=BLOCK)


def _in_blocks(x: Any) -> Any:
    """(…, n) to (…, blocks, block), padded with zeros where no block divides n."""
    *outer, length = x.shape
    block = block_of(length)
    if length % block:
        x = ops.pad(x, [(0, 0)] * len(outer) + [(0, -length % block)])
    return ops.reshape(x, (*outer, -(-length // block), block))


def _out_of_blocks(blocks: Any, shape: tuple[int, ...]) -> Any:
    """Back again."""
    *outer, number, width = blocks.shape
    flat = ops.reshape(blocks, (*outer, number * width))
    return flat[..., : shape[-1]] if number * width != shape[-1] else flat
