"""Compares training on four devices of JAX with training on one.

export KERAS_BACKEND=jax XLA_FLAGS=--xla_force_host_platform_device_count=4
python -m tests.contract.sharded_worker FOLDER [OPTIMIZER ...]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import distribution

import keras_adamx
from keras_adamx.core.values import Entry
from tests import problem

DEVICES = 4
STEPS = 20
WIDE = 1024
# A device has whole blocks of a row of the wide kernel, and parts of those of this.
NARROW = 600


def new_model(name: str, arguments: dict[str, Any]) -> keras.Sequential:
    """The classifier with layers large enough for state of few bits."""
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.layers.Input((8,)),
            keras.layers.Dense(WIDE, activation="relu", name="wide"),
            keras.layers.Dense(NARROW, activation="relu", name="narrow"),
            keras.layers.Dense(16, activation="relu", name="small"),
            keras.layers.Dense(3, name="head"),
        ]
    )
    model.compile(
        keras_adamx.get(name, **problem.tame(name), **arguments),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def fit(model: keras.Sequential, steps: int = STEPS) -> list[np.ndarray]:
    """The weights after some steps."""
    x, y = problem.dataset()
    rows = np.random.default_rng(3).integers(0, len(x), 32 * steps)
    model.fit(x[rows], y[rows], batch_size=32, shuffle=False, verbose=0)
    return problem.values(model.trainable_variables)


def apart(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    return max(float(np.max(np.abs(a - b))) for a, b in zip(one, other, strict=True))


def mean_apart(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    distances = [np.abs(a - b).ravel() for a, b in zip(one, other, strict=True)]
    return float(np.mean(np.concatenate(distances)))


def spec(variable: keras.Variable) -> tuple[Any, ...]:
    """For each axis, the axis of the mesh along which it is divided."""
    found = tuple(variable.value.sharding.spec)
    return found + (None,) * (len(variable.shape) - len(found))


def check_layouts(entry: Entry) -> None:
    """State is laid out as the weights are."""
    weights = spec(entry.variable)
    for slot in entry.slots:
        axes = range(len(weights)) if slot.shape is None else slot.axes
        expected = tuple(weights[i] for i in axes)
        assert spec(entry.stored[slot.name]) == expected, (entry.path, slot.name)
        scales = entry.stored.get(f"{slot.name}.scale")
        if scales is not None:
            expected = (
                *expected[:-1],
                None if "narrow" in entry.path else expected[-1],
            )
            assert spec(scales) == expected, (entry.path, slot.name)


def bytes_a_device(optimizer: keras_adamx.core.optimizer.Optimizer) -> int:
    """Bytes of slots on the first device."""
    return sum(
        variable.value.addressable_shards[0].data.nbytes
        for variable in optimizer.variables
        if variable.shape
    )


def main(folder: Path, optimizers: list[str]) -> None:
    """Print how far the weights are from those of one device."""
    data_parallel = distribution.DataParallel(
        device_mesh=distribution.DeviceMesh((DEVICES,), ("batch",))
    )
    mesh = distribution.DeviceMesh((2, 2), ("batch", "model"))
    layouts = distribution.LayoutMap(mesh)
    layouts[".*wide/kernel"] = (None, "model")
    layouts[".*wide/bias"] = ("model",)
    layouts[".*narrow/kernel"] = (None, "model")
    layouts[".*small/kernel"] = ("model", None)
    model_parallel = distribution.ModelParallel(
        layout_map=layouts, batch_dim_name="batch"
    )
    for name in optimizers:
        every = {"plain": {"global_clipnorm": 1.0}}
        if name in ("adafactor", "adamw", "muon", "prodigy"):
            every["int8"] = {"state_dtype": "int8"}
            every["averaged"] = {
                "use_ema": True,
                "ema_momentum": 0.5,
                "gradient_accumulation_steps": 2,
                "transforms": [keras_adamx.transforms.Lookahead(steps=3)],
            }
        for kind, arguments in every.items():
            distribution.set_distribution(None)
            alone = new_model(name, arguments)
            expected = fit(alone)
            moved = apart(expected, problem.values(new_model(name, {}).weights))

            # Codes of few bits, and signs, may go either way where rounding decides.
            distance = mean_apart if kind == "int8" or name == "lion" else apart
            distribution.set_distribution(data_parallel)
            sharded = new_model(name, arguments | {"shard_state": True})
            weights = fit(sharded)
            found = {"shard_state": distance(expected, weights)}
            if kind == "int8" and sharded.optimizer.elementwise:
                found["sharding"] = apart(fit(new_model(name, arguments)), weights)
            whole = bytes_a_device(alone.optimizer)
            share = bytes_a_device(sharded.optimizer) / whole if whole else 0.0

            distribution.set_distribution(model_parallel)
            parallel = new_model(name, arguments)
            found["model_parallel"] = distance(expected, fit(parallel))
            for entry in parallel.optimizer.entries:
                check_layouts(entry)

            for where, far in found.items():
                print(name, kind, where, far, moved, share, flush=True)

    arguments = {"state_dtype": "int8", "use_ema": True}
    distribution.set_distribution(data_parallel)
    models = {
        shard: new_model("adamw", arguments | {"shard_state": shard})
        for shard in (False, True)
    }
    for shard, model in models.items():
        fit(model)
        model.save(folder / f"{shard}.keras")
    for shard, model in models.items():
        # The file of the other one.
        other = keras.saving.load_model(folder / f"{not shard}.keras")
        assert other.optimizer.shard_state is not shard
        loaded = new_model("adamw", arguments | {"shard_state": shard})
        loaded.optimizer.build(loaded.trainable_variables)
        loaded.load_weights(folder / f"{not shard}.keras")
        assert bytes_a_device(loaded.optimizer) == bytes_a_device(model.optimizer)
        first, second, third = map(fit, (model, other, loaded))
        distance = max(apart(first, second), apart(first, third))
        print("adamw", "file", "shard_state", distance, 1.0, 0.0)

    # Keras makes large variables in another way.
    large = keras.Variable(np.ones((4096, 4096), "float32"), name="large")
    optimizer = keras_adamx.Adam(shard_state=True)
    optimizer.build([large])
    share = bytes_a_device(optimizer) / (2 * large.value.nbytes)
    print("adamw", "large", "shard_state", 0.0, 1.0, share)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or problem.OPTIMIZERS)
