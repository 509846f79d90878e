"""Where the state is on several devices: beside the weights that it belongs to.

Only `keras.distribution` on JAX says where parts of a variable are. Elsewhere, and if
no distribution is set, there is no layout and nothing to do.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_adamx.core import codecs
from keras_adamx.core.bridge import layout_of
from keras_adamx.core.slots import Slot


def of_state(variable: Any, slot: Slot, part: codecs.Part, *, spread: bool) -> Any:
    """Layout of what is stored for a slot of a variable, or None.

    Args:
        variable: The variable of the model.
        slot: The slot.
        part: What of it is stored.
        spread: Whether to divide it among the devices that share the data as well.
    """
    layout = layout_of(variable)
    if not isinstance(layout, keras.distribution.TensorLayout):
        return layout if part.shape == tuple(variable.shape) else None
    mesh = layout.device_mesh
    size = dict(zip(mesh.axis_names, mesh.shape))
    axes = _along(list(layout.axes), slot, part.shape)
    if not part.whole and axes[-1] is not None:
        # A device has whole blocks, or all scales.
        length = variable.shape[-1] / size[axes[-1]]
        if length % codecs.block_of(variable.shape[-1]):
            axes[-1] = None
    if spread:
        axes = _spread(axes, part.shape, keras.distribution.distribution(), size)
    return keras.distribution.TensorLayout(axes, mesh)


def _along(
    axes: list[str | None], slot: Slot, shape: tuple[int, ...]
) -> list[str | None]:
    """Names of mesh axes for a slot, as those of the weights have them."""
    if slot.axes is not None:
        return [axes[i] for i in slot.axes]
    return axes if slot.shape is None else [None] * len(shape)


def _spread(
    axes: list[str | None], shape: tuple[int, ...], distribution: Any, size: Any
) -> list[str | None]:
    """The same with one more axis divided among the devices that share the data."""
    name = getattr(distribution, "batch_dim_name", None)
    if name not in size or name in axes:
        return axes
    for i, (taken, length) in enumerate(zip(axes, shape)):
        if taken is None and length > 0 and length % size[name] == 0:
            return [*axes[:i], name, *axes[i + 1 :]]
    return axes
