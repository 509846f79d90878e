"""What every schedule must do."""

import json

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies as st
from keras import ops

from keras_adamx import schedules
from keras_adamx.core.arguments import REQUIRED
from keras_adamx.core.schedules import StepsArgument
from keras_adamx.rule import Schedule, hyperparameter, steps
from tests.schedules import CASES, LARGE, value_of, values_of

CLASSES = [
    cls
    for cls in (getattr(schedules, name) for name in schedules.__all__)
    if isinstance(cls, type) and cls is not Schedule
]
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
WITH_EPOCHS = {
    name: case
    for name, case in CASES.items()
    if any(isinstance(case.cls.arguments[a], StepsArgument) for a in case.arguments)
}


def around(case, k):
    """Steps at which a rounding would show."""
    found = [0, 1, 10**7 - 1, 10**7, 10**7 + 1, 2**24 + 1]
    return found + [b * k + d for b in case.boundaries for d in (-1, 0, 1)]


def large(case):
    """The factor of lengths that float32 cannot count; a product has no lengths."""
    return LARGE if case.cls is not schedules.Product else 1


def test_every_class_has_a_case():
    assert {case.cls for case in CASES.values()} == set(CLASSES)


# Values.


@every_case
def test_exact_values(case):
    """Where a phase begins or ends, float32 has the value itself."""
    for k in {1, large(case)}:
        found = values_of(case.scaled(k), [step * k for step in case.exact])
        np.testing.assert_allclose(found, list(case.exact.values()), rtol=1.2e-7)


@every_case
def test_stays_at_the_last_value(case):
    last = max(case.boundaries)
    found = values_of(case.scaled(1), [last, last + 1, 10**7, 2**31 - 1])
    assert (len(set(found)) == 1) == case.ends


@every_case
def test_kinds_of_steps(case):
    """Integers of any size, numbers of Python and NumPy, and what counts updates."""
    schedule = case.scaled(1)
    wide = "int32" if keras.backend.backend() == "jax" else "int64"
    for step in (0, max(case.boundaries), 10**7 + 1):
        expected = value_of(schedule, step)
        assert value_of(schedule, step, wide) == expected
        for given in (step, float(step), np.int64(step), np.float64(step)):
            assert value_of(schedule, given, None) == expected
    variable = keras.Variable(7, dtype="int32", trainable=False)
    assert value_of(schedule, variable, None) == value_of(schedule, 7)
    assert value_of(schedule, 7.0, "float32") == value_of(schedule, 7)
    assert value_of(schedule, -3) == value_of(schedule, -3.5, None)
    assert value_of(schedule, -3) == value_of(schedule, 0)
    assert keras.backend.standardize_dtype(schedule(7).dtype) == "float32"


@every_case
def test_between_two_steps(case):
    """Keras takes fractions of steps: the value lies between those of the steps."""
    schedule = case.scaled(1)
    turns = {step + d for step in case.boundaries for d in (-1, 0)}
    chosen = [step for step in range(max(case.boundaries)) if step not in turns]
    found = values_of(schedule, np.array(chosen) + 0.5, "float32")
    ends = [values_of(schedule, np.array(chosen) + d) for d in (0, 1)]
    assert (found >= np.minimum(*ends) - 1e-7).all()
    assert (found <= np.maximum(*ends) + 1e-7).all()
    assert value_of(schedule, chosen[-1] + 0.5, None) == pytest.approx(
        found[-1], rel=1e-6
    )


def test_fractions_of_steps():
    linear = schedules.LinearDecay(1.0, 4)
    assert value_of(linear, 2.5, None) == 0.375
    late = schedules.LinearWarmup(schedules.Sequential([2.0, linear], [1]), 2)
    assert value_of(late, 1.5, None) == 1.5
    assert value_of(late, 5.5, None) == 0.375


@pytest.mark.parametrize("named", ["Sequential", "CosineRestarts", "LinearWarmup"])
def test_an_array_of_steps(named):
    """Of any shape: the values are those of the steps one by one."""
    schedule = CASES[named].scaled(1)
    chosen = [0, 3, 11, 10**7 + 1]
    tensor = ops.convert_to_tensor(np.reshape(chosen, (2, 2)).astype("int32"))
    found = ops.convert_to_numpy(schedule(tensor)).ravel()
    single = [value_of(schedule, step) for step in chosen]
    np.testing.assert_allclose(found, single, rtol=1e-6, atol=1e-8)


def compiled(schedule):
    """The schedule as part of a compiled step."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(schedule)
    import tensorflow as tf

    return tf.function(schedule, jit_compile=True)


@pytest.mark.backend("tensorflow", "jax")
@every_case
def test_compiled(case):
    """By XLA, one step at a time, as in the training step."""
    k = large(case)
    schedule = case.scaled(k)
    function = compiled(lambda step: schedule(step))
    dtype = "int32" if keras.backend.backend() == "jax" else "int64"

    def called(chosen):
        tensors = [ops.convert_to_tensor(step, dtype=dtype) for step in chosen]
        return [float(ops.convert_to_numpy(function(tensor))) for tensor in tensors]

    chosen = around(case, k)
    eager = values_of(schedule, chosen)
    np.testing.assert_allclose(called(chosen), eager, rtol=1e-6, atol=6e-8)
    exact = called([step * k for step in case.exact])
    np.testing.assert_allclose(exact, list(case.exact.values()), rtol=1.2e-7)


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("named", ["StepDecay", "CosineRestarts", "Sequential"])
def test_in_a_graph(named):
    """With int32 and int64 steps, as `fit` runs it where XLA is off."""
    import tensorflow as tf

    case = CASES[named]
    schedule = case.scaled(1)
    function = tf.function(lambda step: schedule(step), reduce_retracing=False)
    for dtype in ("int32", "int64"):
        for step in case.boundaries:
            found = float(function(tf.constant(step, dtype)))
            assert found == pytest.approx(value_of(schedule, step), rel=1e-6)


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    period=st.integers(1, 2**31 - 1), step=st.integers(0, 2**31 - 1), up=st.integers(1)
)
def test_periods_are_counted_as_integers(period, step, up):
    """At any step of any period, as in integers without end."""
    decay = schedules.StepDecay(1.0, period, gamma=0.5)
    assert value_of(decay, step) == np.float32(0.5 ** min(step // period, 1000))
    up = 1 + up % max(period - 1, 1)
    cycle = schedules.Cyclic(0.0, 1.0, up, max(period - up, 1))
    within = step % (up + max(period - up, 1))
    down = max(period - up, 1)
    height = within / up if within <= up else (up + down - within) / down
    assert value_of(cycle, step) == pytest.approx(height, rel=3e-7, abs=0.0)


# Arguments.


@every_case
def test_config(case):
    schedule = case.scaled(1)
    config = json.loads(json.dumps(keras.optimizers.schedules.serialize(schedule)))
    assert config["registered_name"] == f"keras_adamx>{case.cls.__name__}"
    again = keras.optimizers.schedules.deserialize(config)
    assert type(again) is case.cls
    assert again.get_config() == schedule.get_config()
    assert repr(again) == repr(schedule)
    chosen = around(case, 1)
    np.testing.assert_array_equal(values_of(again, chosen), values_of(schedule, chosen))


@pytest.mark.parametrize("case", WITH_EPOCHS.values(), ids=WITH_EPOCHS.keys())
def test_epochs(case):
    """Quarters of epochs of 4 steps, and thirds, which are no exact numbers."""
    chosen = around(case, 3)
    expected = values_of(case.scaled(3), chosen)
    for per_epoch in (4, 9):
        by_epoch = case.scaled(3 / per_epoch, steps_per_epoch=per_epoch)
        np.testing.assert_array_equal(values_of(by_epoch, chosen), expected)
    config = json.loads(json.dumps(keras.optimizers.schedules.serialize(by_epoch)))
    again = keras.optimizers.schedules.deserialize(config)
    np.testing.assert_array_equal(values_of(again, chosen), expected)


@pytest.mark.parametrize("case", WITH_EPOCHS.values(), ids=WITH_EPOCHS.keys())
def test_steps_must_be_whole(case):
    [name, *_] = [
        name
        for name, argument in case.cls.arguments.items()
        if isinstance(argument, StepsArgument) and name in case.arguments
    ]
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        case.scaled(1.03)
    with pytest.raises(ValueError, match=rf"`{name}` must be .*steps_per_epoch=7"):
        case.scaled(1.03, steps_per_epoch=7)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        case.scaled(2**31)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        case.scaled(2**20, steps_per_epoch=2**20)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        case.scaled(-1)


@every_case
def test_missing_and_unknown_arguments(case):
    with pytest.raises(TypeError, match=rf"{case.cls.__name__}: unknown argument"):
        case.cls(**case.arguments, step_sizes=3)
    required = [n for n, a in case.cls.arguments.items() if a.default is REQUIRED]
    for name in required:
        others = {k: v for k, v in case.arguments.items() if k != name}
        with pytest.raises(TypeError, match=f"argument `{name}` is missing"):
            case.cls(**others)


RISING = {"initial_learning_rate": 0.1, "decay_steps": 5}


@pytest.mark.parametrize(
    ("cls", "arguments", "wrong"),
    [
        ("StepDecay", {"initial_learning_rate": -1.0, "step_size": 3}, None),
        ("StepDecay", {"initial_learning_rate": 0.1, "step_size": 0}, "step_size"),
        ("StepDecay", {"initial_learning_rate": 0.1, "step_size": 2.5}, "step_size"),
        ("StepDecay", {"initial_learning_rate": 0.1, "step_size": "3"}, "step_size"),
        (
            "StepDecay",
            {"initial_learning_rate": 0.1, "step_size": 3, "gamma": 0.0},
            "gamma",
        ),
        (
            "StepDecay",
            {"initial_learning_rate": 0.1, "step_size": 3, "steps_per_epoch": 0},
            "steps_per_epoch",
        ),
        (
            "LinearDecay",
            {"initial_learning_rate": schedules.StepDecay(1.0, 2), "decay_steps": 5},
            "initial_learning_rate",
        ),
        (
            "MultiStepDecay",
            {"initial_learning_rate": 0.1, "boundaries": [3, 3]},
            "boundaries",
        ),
        ("LinearWarmup", {"then": "cosine", "warmup_steps": 3}, "then"),
        ("LinearWarmup", {"then": float("inf"), "warmup_steps": 3}, "then"),
        ("LinearWarmup", {"then": 0.1, "warmup_steps": -1}, "warmup_steps"),
        ("CosineWithWarmup", {**RISING, "alpha": 1.5}, "alpha"),
        ("CosineWithWarmup", {**RISING, "warmup_target": -1.0}, "warmup_target"),
        (
            "WarmupStableDecay",
            {**RISING, "stable_steps": 1, "cooldown": "sqrt"},
            "cooldown",
        ),
        ("InverseSqrt", {"initial_learning_rate": 0.1}, "timescale"),
        ("Noam", {"d_model": 0}, "d_model"),
        (
            "OneCycle",
            {"max_learning_rate": 0.1, "total_steps": 9, "anneal_strategy": "exp"},
            "anneal_strategy",
        ),
        (
            "OneCycle",
            {
                "max_learning_rate": 0.1,
                "total_steps": 9,
                "pct_start": 0.6,
                "three_phase": True,
            },
            "pct_start",
        ),
        ("OneCycleMomentum", {"total_steps": 9, "max_momentum": 1.0}, "max_momentum"),
        (
            "Cyclic",
            {
                "initial_learning_rate": 0.1,
                "max_learning_rate": 1.0,
                "step_size_up": 2**31 - 1,
            },
            "step_size_up",
        ),
        (
            "CosineRestarts",
            {"initial_learning_rate": 0.1, "first_decay_steps": 5, "t_mul": 0.5},
            "t_mul",
        ),
        (
            "CosineRestarts",
            {"initial_learning_rate": 0.1, "first_decay_steps": 5, "t_mul": 1.0001},
            "t_mul",
        ),
        ("REX", {**RISING, "decay_steps": 0}, "decay_steps"),
        ("Polynomial", {**RISING, "power": 0.0}, "power"),
        ("Polynomial", {**RISING, "cycle": 1}, "cycle"),
        (
            "PiecewiseInterpolated",
            {"boundaries": [0, 3], "values": [1.0]},
            "values",
        ),
        (
            "PiecewiseInterpolated",
            {"boundaries": [0], "values": [float("nan")]},
            "values",
        ),
        (
            "PiecewiseInterpolated",
            {"boundaries": [0], "values": [0.0], "interpolation": "exponential"},
            "values",
        ),
        ("Sequential", {"schedules": [], "boundaries": []}, "schedules"),
        ("Sequential", {"schedules": [0.1, 0.2], "boundaries": []}, "boundaries"),
        ("Sequential", {"schedules": [0.1, 0.2], "boundaries": [0]}, "boundaries"),
        ("Product", {"schedules": 0.1}, "schedules"),
        ("Product", {"schedules": [0.1, "0.2"]}, "schedules"),
    ],
)
def test_wrong_arguments(cls, arguments, wrong):
    wrong = wrong or "initial_learning_rate"
    with pytest.raises((TypeError, ValueError), match=f"{cls}: argument `{wrong}` "):
        getattr(schedules, cls)(**arguments)


def test_no_epochs_where_nothing_counts():
    with pytest.raises(TypeError, match="unknown argument `steps_per_epoch`"):
        schedules.Product([0.1], steps_per_epoch=3)


def test_positions_are_checked():
    with pytest.raises(TypeError, match="takes at most 4 arguments"):
        schedules.StepDecay(0.1, 2, 0.5, None, 1)
    with pytest.raises(TypeError, match="`step_size` is given twice"):
        schedules.StepDecay(0.1, 2, step_size=3)


@pytest.mark.parametrize(
    ("schedule", "first"),
    [
        (schedules.LinearWarmup(schedules.LinearDecay(0.5, 4), 0), 0.5),
        (schedules.CosineWithWarmup(0.25, 4, warmup_target=0.5, warmup_steps=0), 0.5),
        (schedules.WarmupStableDecay(0.5, 0, 4), 0.5),
        (schedules.InverseSqrt(0.5, timescale=4), 0.5),
        (schedules.Noam(4, warmup_steps=0), 0.5),
    ],
)
def test_no_warmup(schedule, first):
    assert value_of(schedule, 0) == first
    assert value_of(schedule, 1) < first


def test_degenerate_cycles():
    """One step, a peak at the start, a peak at the end."""
    assert value_of(schedules.OneCycle(0.5, 1), 0) == np.float32(0.5 / 25 / 1e4)
    rising = schedules.OneCycle(0.5, 10, pct_start=1.0)
    assert value_of(rising, 9) == value_of(rising, 20) == 0.5
    falling = schedules.OneCycle(0.5, 10, pct_start=0.1)
    assert value_of(falling, 0) == 0.5


# Schedules within schedules, and one's own.


def test_schedules_of_keras_within():
    theirs = keras.optimizers.schedules.CosineDecay(0.5, 10)
    ours = schedules.CosineWithWarmup(0.5, 10)
    for within in (theirs, ours):
        schedule = schedules.Sequential(
            [schedules.LinearWarmup(within, 4), schedules.Product([within, 0.5])], [9]
        )
        config = keras.optimizers.schedules.serialize(schedule)
        again = keras.optimizers.schedules.deserialize(json.loads(json.dumps(config)))
        for step, expected in ((2, 0.25), (4, 0.5), (9, 0.25), (14, 0.125)):
            assert value_of(again, step) == pytest.approx(expected, rel=1e-6)
    # Fractions of steps reach them as well.
    assert value_of(schedules.Product([theirs]), 2.5, None) == pytest.approx(
        value_of(theirs, 2.5, None)
    )


class Halving(Schedule):
    """A schedule of a user."""

    initial_learning_rate: float = hyperparameter(at_least=0.0, scheduled=False)
    half_life: int = steps(4)

    def value(self, step):
        return self.initial_learning_rate * 0.5 ** (
            step.since(0) / self.in_steps("half_life")
        )


def test_a_schedule_of_a_user():
    schedule = Halving(0.5, 1.5, steps_per_epoch=2)
    assert [value_of(schedule, step) for step in (0, 3, 6)] == [0.5, 0.25, 0.125]
    config = keras.optimizers.schedules.serialize(schedule)
    assert config["registered_name"] == "tests>Halving"
    again = keras.optimizers.schedules.deserialize(json.loads(json.dumps(config)))
    assert repr(again) == (
        "Halving(initial_learning_rate=0.5, half_life=1.5, steps_per_epoch=2)"
    )
    with pytest.raises(NotImplementedError, match="must define `value"):
        Schedule()(0)
