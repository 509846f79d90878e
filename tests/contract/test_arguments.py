"""Arguments: checked by name at construction, saved and restored."""

import json
import math

import keras
import numpy as np
import pytest

import keras_adamx
from keras_adamx.core.arguments import Argument
from keras_adamx.rule import Slot
from tests import problem

COMMON = {
    "weight_decay": 0.125,
    "clipnorm": 0.5,
    "use_ema": True,
    "ema_momentum": 0.75,
    "ema_overwrite_frequency": 3,
    "loss_scale_factor": 2.0,
    "gradient_accumulation_steps": 2,
    "jit_compile": False,
    "name": "mine",
}


def away_from_default(name: str, argument: Argument) -> object:
    """A valid value that is not the default."""
    default = argument.default
    candidates = [not default] if isinstance(default, bool) else []
    if isinstance(default, str):
        candidates += ["inside"]
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        candidates += [default * 0.5, 0.5, 0.25]
    candidates += [0.25, 2, "moonlight", "polar_express", ["head"]]
    for candidate in candidates:
        try:
            value = argument.checked(candidate, "test")
        except (TypeError, ValueError):
            continue
        if value != default:
            return value
    raise AssertionError(f"no other value found for {name}")


def unusual(name: str) -> keras.optimizers.Optimizer:
    """The optimizer with every argument away from its default."""
    cls = type(keras_adamx.get(name))
    own = {
        n: away_from_default(n, cls.arguments[n]) for n in cls.hyperparameter_names()
    }
    return cls(0.0625, **own, **COMMON)


def test_config_survives_json_and_gives_the_same_steps(name):
    optimizer = unusual(name)
    config = json.loads(json.dumps(optimizer.get_config()))
    again = type(optimizer).from_config(config)
    assert again.get_config() == optimizer.get_config()
    assert {k: config[k] for k in COMMON} == COMMON
    problem.assert_same_bits(
        problem.train(optimizer, steps=4), problem.train(again, steps=4)
    )


def test_config_names_every_argument(name):
    optimizer = keras_adamx.get(name)
    assert set(optimizer.get_config()) == set(optimizer.arguments)


def test_all_that_is_kept_is_saved(name):
    """Every slot that the options ask for, beside average and accumulator."""
    optimizer = unusual(name)
    problem.train(optimizer, steps=3)
    store = {}
    optimizer.save_own_variables(store)
    assert len(store) == len(optimizer.variables) + 1
    again = unusual(name)
    again.build(problem.variables())
    again.load_own_variables(store)
    problem.assert_same_bits(
        problem.values(again.variables), problem.values(optimizer.variables)
    )


def test_keras_serialization_needs_no_custom_objects(name):
    optimizer = unusual(name)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()


def test_schedule_in_config(name):
    schedule = keras_adamx.schedules.StepDecay(0.5, 2, gamma=0.5)
    optimizer = keras_adamx.get(name, learning_rate=schedule)
    config = json.loads(json.dumps(optimizer.get_config()))
    again = problem.train(type(optimizer).from_config(config))
    problem.assert_same_bits(problem.train(optimizer), again)
    constant = problem.train(keras_adamx.get(name, learning_rate=0.5))
    assert not np.array_equal(again[1], constant[1])


def test_takes_what_keras_takes(name):
    twins = {n.lower(): getattr(keras.optimizers, n) for n in dir(keras.optimizers)}
    if name not in twins:
        pytest.skip("Keras has no optimizer of this name")
    config = twins[name]().get_config()
    instead = {"muon": {"muon_a", "muon_b", "muon_c"}}  # Of `coefficients`.
    missing = set(config) - set(keras_adamx.get(name).arguments)
    missing -= instead.get(name, set())
    assert not missing


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("learning_rate", -1.0, ValueError),
        ("learning_rate", math.nan, ValueError),
        ("learning_rate", math.inf, ValueError),
        ("learning_rate", "fast", TypeError),
        ("learning_rate", True, TypeError),
        ("learning_rate", None, TypeError),
        ("weight_decay", -0.1, ValueError),
        ("weight_decay", math.nan, ValueError),
        ("clipnorm", 0.0, ValueError),
        ("clipvalue", -1.0, ValueError),
        ("global_clipnorm", "1", TypeError),
        ("ema_momentum", 1.5, ValueError),
        ("ema_overwrite_frequency", 0, ValueError),
        ("ema_overwrite_frequency", 2.5, TypeError),
        ("gradient_accumulation_steps", 1, ValueError),
        ("loss_scale_factor", 0.0, ValueError),
        ("use_ema", "yes", TypeError),
        ("jit_compile", "always", ValueError),
        ("jit_compile", 1, ValueError),
        ("name", 3, TypeError),
    ],
)
def test_a_wrong_argument_is_named(argument, value, error):
    for optimizer in keras_adamx.list_optimizers():
        with pytest.raises(error, match=rf"`{argument}` must be .*{argument}="):
            keras_adamx.get(optimizer, **{argument: value})


def test_every_number_of_a_rule_is_checked(name):
    cls = type(keras_adamx.get(name))
    for argument in cls.hyperparameter_names():
        for value in (math.nan, object(), "1"):
            with pytest.raises((TypeError, ValueError), match=f"`{argument}` must be"):
                cls(**{argument: value})


@pytest.mark.parametrize("beta", ["beta_1", "beta_2"])
@pytest.mark.parametrize("value", [1.0, -0.1, 2])
def test_betas_are_below_one(beta, value):
    for optimizer in ("adam", "adamw", "adamax", "nadam", "adastand"):
        with pytest.raises(ValueError, match=rf"`{beta}` must be .* < 1.*{value}"):
            keras_adamx.get(optimizer, **{beta: value})


def test_an_unknown_argument_is_named_with_what_is_allowed(name):
    with pytest.raises(TypeError, match=r"unknown argument `epsilonn`.*Allowed: "):
        keras_adamx.get(name, epsilonn=1e-3)
    with pytest.raises(TypeError, match="Did you mean `weight_decay`"):
        keras_adamx.get(name, weight_deca=1e-3)


def test_only_the_learning_rate_goes_without_a_name(name):
    cls = type(keras_adamx.get(name))
    with pytest.raises(TypeError, match=rf"{cls.__name__} takes its arguments by name"):
        cls(1e-3, 0.9)


def test_slots_have_names_of_their_own():
    class Clash(keras_adamx.Optimizer):
        def slots(self, weights):
            yield Slot("average")

    with pytest.raises(ValueError, match=r"Clash must name its slots.*\['average'\]"):
        Clash().build(problem.variables())


def test_elementwise_rules_keep_slots_like_the_weights():
    class Counting(keras_adamx.Optimizer):
        elementwise = True

        def slots(self, weights):
            yield Slot("seen", shape=())

    with pytest.raises(ValueError, match="Counting is `elementwise`: its slots"):
        Counting().build(problem.variables())


def test_two_clippings_are_refused(name):
    with pytest.raises(ValueError, match=r"only one of .*clipnorm.*clipvalue"):
        keras_adamx.get(name, clipnorm=1.0, clipvalue=1.0)


def test_arguments_are_fixed_once_built():
    optimizer = keras_adamx.Adam()
    optimizer.beta_1 = 0.5
    optimizer.build(problem.variables())
    with pytest.raises(AttributeError, match=r"Adam.beta_1 cannot be changed.*0\.9"):
        optimizer.beta_1 = 0.9


def test_nesterov_needs_momentum():
    with pytest.raises(ValueError, match="`nesterov` needs momentum"):
        keras_adamx.SGD(nesterov=True)


def test_numbers_of_any_kind():
    for rate in (1, np.float32(1), np.float64(1), np.int64(1), np.array(1.0)):
        optimizer = keras_adamx.SGD(rate)
        assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == 1.0
    assert keras_adamx.Adam(beta_1=np.float64(0.5)).beta_1 == 0.5


def test_signature_shows_all_arguments_with_defaults(name):
    import inspect

    cls = type(keras_adamx.get(name))
    parameters = inspect.signature(cls).parameters
    assert next(iter(parameters)) == "learning_rate"
    assert set(parameters) == set(cls.arguments)
    optimizer = cls()
    for n in cls.hyperparameter_names():
        assert parameters[n].default == getattr(optimizer, n)


def test_get_and_list():
    names = keras_adamx.list_optimizers()
    assert names == sorted(names)
    assert {"adam", "sdprop", "adastand", "adafactor"} <= set(names)
    assert keras_adamx.list_optimizers("*ADA*") == [n for n in names if "ada" in n]
    for name, description in keras_adamx.list_optimizers(with_description=True):
        if name in {public.lower() for public in keras_adamx.__all__}:
            assert description.endswith("."), name
    assert type(keras_adamx.get("AdamW")) is keras_adamx.AdamW
    with pytest.raises(ValueError, match=r"no optimizer 'adma'.*Did you mean .*'adam'"):
        keras_adamx.get("adma")


def test_update_step_cannot_be_overridden():
    with pytest.raises(TypeError, match="override `direction` instead"):

        class Wrong(keras_adamx.Adam):
            def update_step(self, gradient, variable, learning_rate):
                pass
