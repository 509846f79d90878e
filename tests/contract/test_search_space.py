"""Search spaces: every class has one, all of whose values it allows."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import keras_adamx
from keras_adamx.core.arguments import count, decay, flag, hyperparameter, rate
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.search import Range
from keras_adamx.tuning import Choice, Linear, Log, OneMinusLog, SearchSpace


class Uncommon(Optimizer):
    """A rule of a user, whose space follows from its declaration."""

    learning_rate = rate(0.05)
    beta = decay(0.95)
    no_average = decay(0.0)
    number = hyperparameter(3.0, at_least=0.0)
    bounded = hyperparameter(0.5, above=0.2, at_most=0.6)
    smallest = hyperparameter(1e-7, at_least=0.0)
    negative = hyperparameter(-1.0, below=0.0)
    said = hyperparameter(2.0, search=Linear(1.0, 3.0))
    unsearched = hyperparameter(2.0, search=None)
    repeats = count(3)
    careful = flag(False)


def test_a_space_follows_from_the_declaration():
    space = keras_adamx.search_space("uncommon")
    assert dict(space) == {
        "learning_rate": Log(0.0005, 5.0),
        "beta": OneMinusLog(0.5, 0.995),
        "number": Log(0.3, 30.0),
        "bounded": Log(0.35, 0.55),
        "smallest": Log(1e-9, 1e-3),
        "said": Linear(1.0, 3.0),
    }
    assert space.name == "uncommon"
    flags = keras_adamx.search_space("Uncommon", only=["careful"])
    assert dict(flags) == {"careful": Choice([False, True])}


def test_every_class_searches_its_rate_and_allows_every_value(name):
    space = keras_adamx.search_space(name)
    assert next(iter(space)) == "learning_rate"
    default = keras_adamx.get(name).arguments["learning_rate"].default
    assert space["learning_rate"].low < default < space["learning_rate"].high
    source = np.random.default_rng(0)
    for _ in range(20):
        sampled = space.sample(source)
        optimizer = keras_adamx.get(name, **sampled)
        config = optimizer.get_config()
        for argument, value in sampled.items():
            low, high = space[argument].ends
            assert low <= value <= high
            assert config[argument] == pytest.approx(value, rel=1e-6)
    for end in (0, -1):
        keras_adamx.get(name, **{n: r.ends[end] for n, r in space.items()})


def test_defaults_lie_within_their_ranges(name):
    for argument in keras_adamx.get(name).arguments.values():
        if argument.search is None or argument.default in (None, 0.0):
            continue
        if isinstance(argument.search, Choice):
            assert argument.default in argument.search.values
        else:
            low, high = argument.search.ends
            assert low <= argument.default <= high, argument.name


def test_what_is_known_of_the_classes():
    rates = {
        name: keras_adamx.search_space(name)["learning_rate"].ends
        for name in ("adam", "sgd", "lion", "prodigy", "lars")
    }
    assert rates["adam"] == pytest.approx((1e-5, 1e-1))
    assert rates["sgd"][1] > 10 * rates["adam"][1]
    assert rates["lion"][1] == pytest.approx(rates["adam"][1] / 10.0)
    assert rates["prodigy"][0] < 1.0 < rates["prodigy"][1]
    assert rates["lars"][1] > rates["sgd"][1]
    decays = [keras_adamx.search_space(n)["weight_decay"] for n in ("lion", "adamw")]
    assert decays[0].high == 10.0 * decays[1].high
    assert "weight_decay" not in keras_adamx.search_space("adam")
    assert "epsilon_1" not in keras_adamx.search_space("adafactor")


def test_restricted_and_overridden():
    chosen = keras_adamx.search_space(
        "adam", only=["learning_rate", "weight_decay"], beta_1=Linear(0.8, 0.9)
    )
    assert list(chosen) == ["learning_rate", "weight_decay", "beta_1"]
    assert chosen["beta_1"] == Linear(0.8, 0.9)
    usual = keras_adamx.search_space("adam")
    fewer = keras_adamx.search_space("adam", exclude=["epsilon"])
    assert set(usual) - set(fewer) == {"epsilon"}
    narrow = keras_adamx.search_space("adam", learning_rate=Log(1e-4, 1e-3))
    assert list(narrow) == list(usual)
    assert narrow["learning_rate"] == Log(1e-4, 1e-3)
    assert "Log(0.0001, 0.001)" in repr(narrow)
    assert len(narrow) == len(usual) == 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"only": ["beta1"]}, ValueError, "no argument `beta1` .*mean `beta_1`"),
        ({"exclude": ["beta1"]}, ValueError, "no argument `beta1`"),
        ({"beta1": Log(0.1, 0.2)}, ValueError, "no argument `beta1`"),
        ({"only": "beta_1"}, TypeError, "`only` must be a list"),
        ({"only": ["name"]}, ValueError, "no usual range of `name`"),
        ({"beta_1": 0.9}, TypeError, "range of `beta_1`.*fixed value"),
        ({"beta_1": Linear(0.5, 1.0)}, ValueError, r"Linear\(0.5, 1\) of Adam.*beta_1"),
        ({"amsgrad": Choice([1, 0])}, TypeError, "amsgrad.*True or False"),
    ],
)
def test_wrong_spaces(arguments, error, message):
    with pytest.raises(error, match=message):
        keras_adamx.search_space("adam", **arguments)


def test_unknown_optimizer():
    with pytest.raises(ValueError, match="no optimizer 'adm'"):
        keras_adamx.search_space("adm")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Log(0.0, 1.0), "`low` must be > 0.*Linear"),
        (lambda: Log(1.0, 1.0), "`high` must be larger"),
        (lambda: Linear(0.0, math.inf), "`high` must be a finite number"),
        (lambda: Linear("0", 1.0), "`low` must be a finite number"),
        (lambda: OneMinusLog(0.9, 1.0), "`high` must be < 1"),
        (lambda: Choice([]), "one value or more"),
        (lambda: Choice("adam"), "one value or more"),
    ],
)
def test_wrong_ranges(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_ranges_are_values():
    assert Log(1e-3, 1.0) == Log(1e-3, 1) != Linear(1e-3, 1.0)
    assert len({Log(1e-3, 1.0), Log(1e-3, 1.0), Choice([1])}) == 2


# What is drawn.


def uniform(values):
    """Largest distance of the distribution of values from that of [0, 1]."""
    ordered = np.sort(values)
    return np.abs(ordered - np.linspace(0.0, 1.0, len(ordered))).max()


@pytest.mark.parametrize(
    ("given", "scale"),
    [
        (Linear(2.0, 6.0), lambda v: (v - 2.0) / 4.0),
        (Log(1e-4, 1e-2), lambda v: (math.log10(v) + 4.0) / 2.0),
        (OneMinusLog(0.9, 0.999), lambda v: (math.log10(1.0 - v) + 3.0) / 2.0),
    ],
)
def test_numbers_are_even_on_their_scale(given, scale):
    source = np.random.default_rng(0)
    drawn = [scale(given.suggest(source, "x")) for _ in range(2000)]
    assert min(drawn) > -1e-9
    assert max(drawn) < 1.0 + 1e-9
    assert uniform(drawn) < 0.04
    steps = np.diff([scale(v) for v in given.grid(5)])
    np.testing.assert_allclose(np.abs(steps), 0.25, rtol=1e-6)
    assert (given.grid(5)[0], given.grid(5)[-1]) == given.ends


def test_choices_are_all_drawn():
    source = np.random.default_rng(0)
    given = Choice([None, "matrices", 3])
    drawn = [given.suggest(source, "x") for _ in range(300)]
    assert all(drawn.count(value) > 60 for value in given.values)


def test_grid():
    space = SearchSpace(
        "sgd",
        learning_rate=Log(1e-3, 1e-1),
        momentum=Linear(0.5, 0.9),
        nesterov=Choice([True, False]),
    )
    found = list(space.grid(3))
    assert len(found) == 3 * 3 * 2
    assert found[0] == {"learning_rate": 1e-3, "momentum": 0.5, "nesterov": True}
    assert [keras_adamx.get("sgd", **each).nesterov for each in found[:2]] == [
        True,
        False,
    ]
    for n in (1, 2.0):
        with pytest.raises(ValueError, match=f"`n` must be an integer >= 2.*n={n}"):
            space.grid(n)


def test_optimizer():
    space = keras_adamx.search_space("adamw")
    source = np.random.default_rng(0)
    optimizer = space.optimizer(source, beta_1=0.8, amsgrad=True)
    assert isinstance(optimizer, keras_adamx.AdamW)
    assert (optimizer.beta_1, optimizer.amsgrad) == (0.8, True)
    assert optimizer.beta_2 != 0.999
    with pytest.raises(TypeError, match="must be a trial of Optuna"):
        space.sample(0)


SPACE = {"only": ["learning_rate", "beta_2", "amsgrad", "weight_decay_filter"]}


def test_optuna():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = keras_adamx.search_space("adamw", **SPACE)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = []

    def objective(trial):
        optimizer = space.optimizer(trial, epsilon=1e-6)
        seen.append(optimizer)
        assert 1.0 - optimizer.beta_2 == pytest.approx(
            trial.params["one_minus_beta_2"], rel=1e-9
        )
        return float(optimizer.learning_rate)

    study.optimize(objective, n_trials=12)
    assert set(study.best_params) == {
        "learning_rate",
        "one_minus_beta_2",
        "amsgrad",
        "weight_decay_filter",
    }
    assert {o.amsgrad for o in seen} == {True, False}
    assert {o.weight_decay_filter for o in seen} == {None, "matrices"}
    best = space.sample(optuna.trial.FixedTrial(study.best_params))
    assert best["learning_rate"] == pytest.approx(study.best_value, rel=1e-6)


def test_keras_tuner():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kt = pytest.importorskip("keras_tuner")
    space = keras_adamx.search_space("adamw", **SPACE)
    oracle = kt.oracles.RandomSearchOracle(
        objective=kt.Objective("loss", "min"), max_trials=12, seed=0
    )
    hp = oracle.get_space()
    first = space.sample(hp, prefix="adamw_")
    assert set(hp.values) == {
        "adamw_learning_rate",
        "adamw_one_minus_beta_2",
        "adamw_amsgrad",
        "adamw_weight_decay_filter",
    }
    assert set(first) == set(space)
    oracle.update_space(hp)
    seen = []
    for number in range(12):
        drawn = hp.copy()
        drawn.values = oracle.populate_space(str(number))["values"]
        seen.append(space.optimizer(drawn, prefix="adamw_"))
    rates = np.log10([float(o.learning_rate) for o in seen])
    assert -5.0 <= rates.min() < -3.5 < -2.5 < rates.max() <= -1.0
    assert all(0.99 <= o.beta_2 <= 0.9999 for o in seen)
    assert len({o.beta_2 for o in seen}) == 12
    assert {o.amsgrad for o in seen} == {True, False}
    assert {o.weight_decay_filter for o in seen} == {None, "matrices"}


def test_a_range_of_ones_own():
    class Halves(Range):
        ends = (0.5,)

        def suggest(self, source, name):
            return 0.5

        def grid(self, n):
            return [0.5]

    space = SearchSpace("adam", beta_1=Halves())
    assert space.sample(np.random.default_rng(0)) == {"beta_1": 0.5}
