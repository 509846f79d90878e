"""What follows from the runs, against numbers worked out by hand."""

import dataclasses
import math

import pytest

from keras_adamx.compare.profile import performance_profile
from keras_adamx.compare.records import Entry, Evaluation, Plan, Run, Task
from keras_adamx.compare.summary import Spread, summarize

TASK = Task("points", "Points.", "accuracy", True, 0.8, 30, 20, 10, 16, 50)
RATES = (0.01, 0.1, 1.0)
ENTRIES = (
    Entry("a", "keras_adamx.Adam", "warmup-cosine", {}, {"learning_rate": "three"}),
    Entry("b", "keras.SGD", "own", {}, {}),
)
PLAN = Plan(TASK, ENTRIES, 3, (0, 1), (1000, 1001, 1002))


def run(label, phase, seed, values, rate=None, losses=None, **more):
    """A run whose evaluations, ten steps and a second apart, give some values."""
    losses = losses or [1.0 - v for v in values]
    curve = [
        Evaluation(10 * i, float(i), 2.0, loss, value)
        for i, (value, loss) in enumerate(zip(values, losses), 1)
    ]
    fields = {
        "status": "finished",
        "reason": None,
        "update_microseconds": 40.0 + seed % 10,
        "state_bytes": 400,
        "peak_memory_bytes": None,
        "compile_seconds": 1.0,
        "load": 0.5,
    }
    settings = {} if rate is None else {"learning_rate": rate}
    return Run(label, phase, settings, seed, curve=tuple(curve), **(fields | more))


FAILED = {"status": "failed", "reason": "nan"}
RUNS = [
    run("a", "tuning", 0, [0.5, 0.6, 0.6], 0.01),
    run("a", "tuning", 0, [0.7, 0.85, 0.8], 0.1),
    run("a", "tuning", 0, [0.9, 0.99, 0.99], 1.0),
    run("a", "tuning", 1, [0.5, 0.4, 0.4], 0.01),
    run("a", "tuning", 1, [0.7, 0.75, 0.8], 0.1),
    run("a", "tuning", 1, [0.95], 1.0, **FAILED),
    run("a", "test", 1000, [0.7, 0.8, 0.9], 0.1),
    run("a", "test", 1001, [0.7, 0.75, 0.7], 0.1),
    run("a", "test", 1002, [0.8], 0.1, **FAILED),
    # At another setting than the best one: of an older plan, say.
    run("a", "test", 1000, [1.0, 1.0, 1.0], 0.01),
    run("b", "test", 1000, [0.8, 0.85, 0.6]),
    run("b", "test", 1001, [0.5, 0.6, 0.7]),
]


def test_the_best_setting_is_that_of_the_tuning_runs():
    a = summarize(PLAN, RUNS)["a"]
    assert a.settings == {"learning_rate": 0.1}
    assert a.at_edge == ()
    assert [t.settings["learning_rate"] for t in a.trials] == list(RATES)
    assert a.trials[1].value == pytest.approx((0.85 + 0.8) / 2)
    assert a.trials[1].loss == pytest.approx((0.15 + 0.2) / 2)
    assert a.trials[2].failed == 1
    assert math.isnan(a.trials[2].value)
    assert a.sensitivity()[:2] == [
        (0.01, pytest.approx(0.55)),
        (0.1, a.trials[1].value),
    ]
    assert math.isnan(a.sensitivity()[2][1])
    assert a.sensitivity("beta_1") == []


def test_runs_that_never_reach_the_target_count():
    a = summarize(PLAN, RUNS)["a"]
    assert [r.seed for r in a.runs] == [1000, 1001, 1002]
    assert (a.reached, a.failed, a.missing) == (2, 1, 0)
    # 20 steps, never, 10 steps.
    assert a.steps_to_target == Spread(20.0, 10.0, math.inf, 3)
    assert a.epochs_to_target == Spread(1.0, 0.5, math.inf, 3)
    assert a.seconds_to_target == Spread(2.0, 1.0, math.inf, 3)
    assert a.best_value == Spread(0.8, 0.75, 0.9, 3)
    # The one that failed has no last value.
    assert a.final_value == Spread(pytest.approx(0.8), 0.7, 0.9, 2)
    assert a.final_loss.median == pytest.approx(0.2)
    assert a.seconds == Spread(3.0, 3.0, 3.0, 2)
    assert a.update_microseconds == Spread(41.0, 40.0, 42.0, 3)
    assert (a.state_bytes, a.state_bytes_per_parameter) == (400, 8.0)
    assert a.peak_memory_bytes is None


def test_half_of_the_runs_are_not_most_of_them():
    b = summarize(PLAN, RUNS)["b"]
    assert (b.settings, b.trials, b.reached, b.missing) == ({}, (), 1, 1)
    assert b.steps_to_target == Spread(math.inf, 10.0, math.inf, 2)


def test_another_target():
    found = summarize(PLAN, RUNS, target=0.85)
    assert found.task.target == 0.85
    assert (found["a"].reached, found["b"].reached) == (1, 1)
    assert summarize(PLAN, RUNS, target=None)["a"].steps_to_target is None


def test_the_ranking():
    assert summarize(PLAN, RUNS).ranking == ("a", "b")
    # Nobody reaches it in most seeds: the best values decide, 0.8 and 0.775.
    assert summarize(PLAN, RUNS, target=0.99).ranking == ("a", "b")
    better = [run("b", "test", seed, [0.9]) for seed in PLAN.test_seeds]
    assert summarize(PLAN, RUNS[:9] + better).ranking == ("b", "a")
    assert summarize(PLAN, better, target=None).ranking == ("b", "a")


def test_smaller_can_be_better():
    task = dataclasses.replace(TASK, metric="error", higher_is_better=False, target=0.3)
    plan = dataclasses.replace(PLAN, task=task)
    runs = [
        run("a", "tuning", seed, [0.9, value], rate, losses=[1.0, 1.0])
        for seed in (0, 1)
        for rate, value in zip(RATES, (0.2, 0.4, 0.6))
    ]
    runs += [run("a", "test", s, [0.5, 0.3, 0.2], 0.01) for s in PLAN.test_seeds]
    a = summarize(plan, runs)["a"]
    assert a.settings == {"learning_rate": 0.01}
    assert a.at_edge == ("learning_rate",)
    assert a.steps_to_target.median == 20.0
    assert a.best_value.median == 0.2


def test_equal_values_are_told_apart_by_the_loss():
    runs = [
        run("a", "tuning", seed, [0.8], rate, losses=[loss])
        for seed in (0, 1)
        for rate, loss in zip(RATES, (0.5, 0.3, 0.4))
    ]
    assert summarize(PLAN, runs)["a"].settings == {"learning_rate": 0.1}


def test_of_equals_the_order_of_the_runs_does_not_choose():
    runs = [
        run("a", "tuning", seed, [0.8], rate, losses=[0.5])
        for seed in (0, 1)
        for rate in RATES
    ]
    for order in (runs, runs[::-1]):
        a = summarize(PLAN, order)["a"]
        assert a.settings == {"learning_rate": min(RATES)}
        assert [t.settings["learning_rate"] for t in a.trials] == sorted(RATES)


def test_nothing_is_chosen_before_all_was_tried():
    a = summarize(PLAN, RUNS[:5])["a"]
    assert a.settings is None
    assert [t.missing for t in a.trials] == [0, 0, 1]
    assert (a.runs, a.missing, a.best_value) == ((), 3, None)
    assert summarize(PLAN, []).ranking == ("a", "b")


def test_a_setting_that_fails_is_never_chosen():
    runs = [
        run("a", "tuning", seed, [0.8], rate, **FAILED)
        for seed in (0, 1)
        for rate in RATES
    ]
    a = summarize(PLAN, runs)["a"]
    assert (a.settings, a.at_edge) == (None, ())


def test_an_unknown_label():
    with pytest.raises(KeyError, match=r"'c'\. Labels: a, b"):
        summarize(PLAN, RUNS)["c"]


def on(name, **steps):
    """A summary of a workload with the steps after which each reaches the target."""
    task = dataclasses.replace(TASK, name=name)
    entries = tuple(Entry(label, "", "own", {}, {}) for label in steps)
    runs = [
        run(label, "test", 1000, [0.0] * (n // 10 - 1) + [0.9] if n else [0.0])
        for label, n in steps.items()
    ]
    return summarize(Plan(task, entries, 0, (), (1000,)), runs)


def test_performance_profile():
    found = performance_profile(
        [
            on("p", x=10, y=20),
            on("q", x=30, y=20),
            on("r", x=50, y=0),
            on("s", x=0, y=0),
        ]
    )
    assert found.workloads == ("p", "q", "r", "s")
    assert found.ratios["x"] == (1.0, 1.5, 1.0, math.inf)
    assert found.ratios["y"] == (2.0, 1.0, math.inf, math.inf)
    assert found.factors == (1.0, 1.5, 2.0, 4.0)
    assert found.shares["x"] == (0.5, 0.75, 0.75, 0.75)
    assert found.shares["y"] == (0.25, 0.25, 0.5, 0.5)
    assert found.scores["x"] == pytest.approx((0.5 * 0.5 + 0.75 * 2.5) / 3)
    assert found.scores["y"] == pytest.approx((0.25 * 1.0 + 0.5 * 2.0) / 3)
    seconds = performance_profile([on("p", x=10, y=20)], measure="seconds", largest=1.5)
    assert seconds.factors == (1.0, 1.5)
    assert seconds.scores == {"x": 1.0, "y": 0.0}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"summaries": []}, "`summaries`"),
        ({"measure": "epochs"}, "measure='epochs'"),
        ({"largest": 1.0}, "largest=1.0"),
        ({"largest": "4"}, "largest='4'"),
        ({"summaries": [on("p", x=10), on("q", y=10)]}, "y on 'q', x on 'p'"),
        ({"summaries": [summarize(PLAN, [], target=None)]}, "'points' has no target"),
    ],
)
def test_profiles_that_are_refused(arguments, said):
    with pytest.raises(ValueError, match="performance_profile") as error:
        performance_profile(**({"summaries": [on("p", x=10)]} | arguments))
    assert said in str(error.value)


def test_a_summary_prints_as_a_table():
    lines = str(summarize(PLAN, RUNS)).splitlines()
    assert lines[0].split()[:2] == ["optimizer", "settings"]
    assert lines[1].split()[:2] == ["a", "learning_rate=0.1"]
    assert lines[1].endswith("2 of 3")
    assert lines[2].split()[:3] == ["b", "as", "given"]
    assert "reached" not in str(summarize(PLAN, RUNS, target=None))
