"""Random arguments and damaged files: all is kept, or refused by name.

A plain run tries some cases, `--hypothesis-profile=long` ten thousand of each kind.
"""

import json
import re

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_adamx
from tests import problem

SHAPES = ((3,), (4, 3))
# What is drawn elsewhere, or decides how a step runs.
FIXED = {"name", "jit_compile", "shard_state", "groups", "transforms", "nonfinite"}
SCHEDULE = st.builds(
    keras_adamx.schedules.StepDecay,
    st.floats(2.0**-10, 0.875, width=32),
    st.integers(1, 4),
    gamma=st.floats(0.25, 1.0, width=32),
)
STRANGE = st.one_of(
    st.floats(),
    st.integers(-3, 3),
    st.text(max_size=5),
    st.none(),
    st.booleans(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=1),
    st.complex_numbers(),
    st.just(object()),
)
TRANSFORMS = st.sampled_from(
    [
        keras_adamx.transforms.GradientCentralization(),
        keras_adamx.transforms.GrokFast(alpha=0.5),
        keras_adamx.transforms.Cautious(),
        keras_adamx.transforms.UpdateRMSClip(threshold=0.5),
        keras_adamx.transforms.Lookahead(steps=2),
        keras_adamx.transforms.ExponentialAverage(decay=0.5),
        keras_adamx.transforms.GradientNoise(variance=0.5),
    ]
)


def accepts(argument, value):
    try:
        argument.checked(value, "test")
    except (TypeError, ValueError):
        return False
    return True


def attempt(function):
    """The result of a function and the ValueError that it raised, one of them None."""
    try:
        return function(), None
    except ValueError as error:
        return None, error


def valid_values(argument):
    """Values that an argument takes, by trying."""
    words = re.findall(r"'(\w+)'", argument.allowed)
    kinds = [
        st.floats(2.0**-12, 1.0, width=32, exclude_max=True),
        st.floats(-1.0, 8.0, width=32),
        st.integers(1, 4),
        st.booleans(),
        st.just(argument.default),
    ]
    if words:
        kinds = [st.sampled_from(words), st.just(argument.default)]
    elif "LearningRateSchedule" in argument.allowed:
        kinds.append(SCHEDULE)
    if "None" in argument.allowed:
        kinds.append(st.none())
    return st.one_of(kinds).filter(lambda value: accepts(argument, value))


@st.composite
def chosen(draw):
    """A class and valid arguments, some of them; they may rule out each other."""
    cls = type(keras_adamx.get(draw(st.sampled_from(problem.OPTIMIZERS))))
    free = sorted(cls.arguments.keys() - FIXED)
    names = draw(st.lists(st.sampled_from(free), max_size=6, unique=True))
    values = {name: draw(valid_values(cls.arguments[name])) for name in names}
    if draw(st.booleans()):
        values["transforms"] = draw(st.lists(TRANSFORMS, max_size=2))
    if draw(st.booleans()):
        rate = draw(st.one_of(st.floats(0.0, 2.0, width=32), SCHEDULE))
        group = keras_adamx.Group("w1$", learning_rate=rate)
        values["groups"] = [group]
    return cls, values | {"jit_compile": False}


def state_of(optimizer):
    """Weights and state after five steps."""
    trained = problem.variables(SHAPES)
    keras.utils.set_random_seed(0)
    optimizer.build(trained)
    for step in range(5):
        optimizer.apply(problem.gradients(step, SHAPES), trained)
    return problem.values([*trained, *optimizer.variables])


@given(chosen())
def test_arguments_are_kept_or_refused(case):
    cls, values = case
    optimizer, error = attempt(lambda: cls(**values))
    if error is not None:
        # Right one by one, not together.
        named = re.findall(r"`(\w+)`", str(error))
        assert set(named) & set(cls.arguments), str(error)
        return
    config = json.loads(json.dumps(optimizer.get_config()))
    again = cls.from_config(config)
    assert json.dumps(again.get_config()) == json.dumps(optimizer.get_config())
    problem.assert_same_bits(state_of(again), state_of(optimizer))


@given(st.sampled_from(problem.OPTIMIZERS), st.data())
def test_strange_values_are_refused_by_name(name, data):
    cls = type(keras_adamx.get(name))
    argument = data.draw(st.sampled_from(sorted(cls.arguments)))
    value = data.draw(STRANGE)
    if accepts(cls.arguments[argument], value):
        return
    with pytest.raises((TypeError, ValueError)) as error:
        cls(**{argument: value})
    assert f"`{argument}`" in str(error.value)
    assert cls.__name__ in str(error.value)


def saved(name):
    """An optimizer after two steps and what it saves."""
    trained = problem.variables(SHAPES)
    optimizer = keras_adamx.get(name, jit_compile=False)
    for step in range(2):
        optimizer.apply(problem.gradients(step, SHAPES), trained)
    store = {}
    optimizer.save_own_variables(store)
    return optimizer, store


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=4),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.text(max_size=4), inner, max_size=2),
    ),
    max_leaves=4,
)


@st.composite
def damaged_manifest(draw, manifest):
    """The manifest with another value somewhere, without something, or cut off."""
    whole = json.loads(manifest.tobytes())
    how = draw(st.sampled_from(["cut", "bytes", "replaced", "top", "variable"]))
    if how == "cut":
        return manifest[: draw(st.integers(0, len(manifest) - 1))]
    if how == "bytes":
        return np.frombuffer(draw(st.binary(max_size=30)), np.uint8)
    if how == "replaced":
        whole = draw(JSON)
    else:
        place = whole if how == "top" else draw(st.sampled_from(whole["variables"]))
        needed = ["path", "shape", "decayed"] if how == "variable" else list(whole)
        key = draw(st.sampled_from(needed))
        if draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(JSON)
    return np.frombuffer(json.dumps(whole).encode(), np.uint8)


@given(st.sampled_from(problem.OPTIMIZERS), st.data())
def test_damaged_state_is_refused_and_nothing_assigned(name, data):
    optimizer, store = saved(name)
    before = problem.values(optimizer.variables)
    arrays = sorted(store.keys() - {"manifest", "learning_rate"})
    how = data.draw(st.sampled_from(["manifest", "missing", "shape", "more"]))
    manifest = store["manifest"]
    if how == "manifest":
        store["manifest"] = data.draw(damaged_manifest(manifest))
    elif how == "more":
        store["momentum:9:nowhere"] = np.zeros(3, "float32")
    else:
        key = data.draw(st.sampled_from(arrays))
        value = np.asarray(store.pop(key))
        if how == "shape":
            store[key] = np.zeros((*value.shape, 2), value.dtype)
    _, error = attempt(lambda: optimizer.load_own_variables(store))
    # What a damaged manifest says all the same may be what it said before.
    assert error is not None or how == "manifest"
    assert error is None or type(optimizer).__name__ in str(error)
    problem.assert_same_bits(problem.values(optimizer.variables), before)
