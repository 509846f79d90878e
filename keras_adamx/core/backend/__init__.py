"""What the backends do differently, one file a backend behind the same names.

- `Executor`: runs a program of pure functions and assigns what it returns.
- `added`: a sum of gradients and another one; it may overwrite the sum.
- `applied`: a function of gradients that makes one step of an optimizer.
- `as_bits`, `from_bits`: float32 to int32 of the same bits and back.
- `assign`: copy variables into others, outside of a step.
- `kept`: a value that an update in place does not reach.
- `gradient_of`: the derivatives of a function of tensors, where it is run now.
- `device_name`: what the accelerator is called, or None on a processor.
- `differentiated`: a function that also gives the gradients of what it returns first.
- `map_elementwise`: run an element-wise update over many variables.
- `new_variable`: a state variable that lives where its model variable lives.
- `not_converted`: a function that AutoGraph leaves as it is.
- `on_cpu`: whether work on a tensor is done by a processor, not an accelerator.
- `outside_graph`: a context in which assignments happen now, not in every step.
- `randomness_kept`: a context after which random numbers go on as if it had not been.
- `read`: the value of a variable as a tensor.
- `reader`: a function that reads variables, for NumPy, as often as it is called.
- `scope_of`: a context in which variables are made where those of a model live.
- `timed`: a function that makes one update, compiled as in training, and waits for it.
- `to_dense`: a gradient as a dense tensor, repeated rows summed.
- `to_rows`: the rows of a gradient that has only some, or None if it is dense.
- `total`: the sum of all elements of a tensor.
- `whole`: the value of a variable whose parts may be on several machines.
- `when`: values changed by a function if a condition holds, else as they are.
"""

from importlib import import_module

import keras

if keras.backend.backend() not in ("tensorflow", "jax", "torch"):
    raise ImportError(
        "keras_adamx trains with Keras on TensorFlow, JAX or PyTorch. The backend of "
        f"Keras is {keras.backend.backend()!r}: set the environment variable "
        "KERAS_BACKEND to 'tensorflow', 'jax' or 'torch' before keras is imported."
    )

_module = import_module(f"keras_adamx.core.backend.{keras.backend.backend()}")

Executor = _module.Executor
added = _module.added
applied = _module.applied
as_bits = _module.as_bits
assign = _module.assign
device_name = _module.device_name
differentiated = _module.differentiated
from_bits = _module.from_bits
kept = _module.kept
gradient_of = _module.gradient_of
map_elementwise = _module.map_elementwise
new_variable = _module.new_variable
not_converted = _module.not_converted
on_cpu = _module.on_cpu
outside_graph = _module.outside_graph
randomness_kept = _module.randomness_kept
read = _module.read
reader = _module.reader
scope_of = _module.scope_of
timed = _module.timed
to_dense = _module.to_dense
to_rows = _module.to_rows
total = _module.total
when = _module.when
whole = _module.whole
