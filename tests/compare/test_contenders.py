"""From what is given as optimizers and searches to what is run."""

import keras
import numpy as np
import pytest

import keras_adamx
from keras_adamx.compare.contender import contenders, scheduled
from keras_adamx.compare.search import spread
from keras_adamx.tuning import Choice, Log, OneMinusLog
from tests.compare import cases


def entries(optimizers, search=None, trials=None, schedule=None):
    return [c.entry for c in contenders(optimizers, search, trials, schedule)]


def test_labels_and_what_is_written_of_optimizers():
    # The names of those that follow are numbered.
    keras.optimizers.RMSprop()
    keras_adamx.ScheduleFreeAdamW()
    own = keras.optimizers.schedules.CosineDecay(0.1, 10)
    given = [
        "adam",
        "keras.AdamW",
        keras_adamx.Lion,
        keras.optimizers.SGD,
        keras_adamx.Muon(weight_decay=0.1, name="mine"),
        keras_adamx.ScheduleFreeAdamW(),
        keras.optimizers.RMSprop(own),
    ]
    found = entries(given, 3)
    labels = ["adam", "keras.AdamW", "lion", "keras.SGD", "mine", "schedulefreeadamw"]
    assert [e.label for e in found] == [*labels, "keras.RMSprop"]
    assert [e.optimizer for e in found][:3] == [
        "keras_adamx.Adam",
        "keras.AdamW",
        "keras_adamx.Lion",
    ]
    assert found[0].fixed == {}
    assert found[4].fixed == {"weight_decay": 0.1}
    assert found[6].fixed["learning_rate"]["class_name"] == "CosineDecay"
    assert [e.schedule for e in found] == [
        *["warmup-cosine"] * 5,
        "warmup-constant",
        "own",
    ]
    assert found[6].searched == {}
    assert found[0].searched == {"learning_rate": "0.0003162, 0.001, 0.003162"}
    assert entries(["sgd"])[0].fixed == {"learning_rate": 0.01}
    for name in ("adam=0.02", "keras.Adam=2e-2"):
        [with_rate] = entries([name])
        assert (with_rate.label, with_rate.fixed) == (name, {"learning_rate": 0.02})


def test_schedules_follow_the_class_unless_one_is_asked_for():
    given = {
        "p": keras_adamx.Prodigy(),
        "s": keras_adamx.ScheduleFreeSGD(warmup_steps=5),
        "a": keras_adamx.Adam(),
    }
    assert [e.schedule for e in entries(given)] == [
        "cosine",
        "constant",
        "warmup-cosine",
    ]
    chosen = entries(given, schedule="warmup-constant")
    assert {e.schedule for e in chosen} == {"warmup-constant"}


@pytest.mark.parametrize(
    ("kind", "steps", "expected"),
    [
        ("warmup-cosine", (0, 4, 5, 52, 100), (1 / 6, 5 / 6, 1.0, 0.5083, 0.0)),
        ("cosine", (0, 50, 100), (1.0, 0.5, 0.0)),
        ("warmup-constant", (0, 3, 5, 100), (1 / 6, 4 / 6, 1.0, 1.0)),
    ],
)
def test_schedules(kind, steps, expected):
    schedule = scheduled(kind, 2.0, 100)
    found = [float(schedule(step)) for step in steps]
    assert found == pytest.approx([2.0 * e for e in expected], abs=1e-3)


def test_a_constant_rate_is_a_number():
    assert scheduled("constant", 0.5, 100) == 0.5


def test_schedules_count_updates():
    made = contenders(
        {"s": keras_adamx.SGD(0.1, gradient_accumulation_steps=4)}, None, None, "cosine"
    )[0].optimizer({}, 40)
    assert made.get_config()["learning_rate"]["config"]["decay_steps"] == 10


@pytest.mark.parametrize(
    ("optimizer", "n", "expected"),
    [
        ("adam", 5, [1e-4, 3.162e-4, 1e-3, 3.162e-3, 1e-2]),
        ("adam", 4, [3.162e-4, 1e-3, 3.162e-3, 1e-2]),
        ("keras.SGD", 3, [3.162e-3, 1e-2, 3.162e-2]),
        # The range of the class ends at 3.
        ("prodigy", 3, [0.1, 0.3162, 1.0]),
        ("prodigy", 5, [0.1, 0.2154, 0.4642, 1.0, 2.154]),
        # As fine as the range is wide.
        ("adam", 17, [float(f"{10 ** (-5 + i / 4):.4g}") for i in range(17)]),
    ],
)
def test_grids(optimizer, n, expected):
    [found] = contenders([optimizer], n, None, None)
    assert [t["learning_rate"] for t in found.trials] == pytest.approx(expected)


def test_ranges_are_filled():
    ranges = {
        "learning_rate": Log(1e-4, 1e-1),
        "beta_1": OneMinusLog(0.5, 0.99),
        "nesterov": Choice([True, False]),
    }
    found = spread(ranges, 30)
    assert found == spread(ranges, 30)
    for third in range(3):
        low, high = 1e-4 * 10**third, 1e-4 * 10 ** (third + 1)
        assert 8 <= sum(low <= s["learning_rate"] < high for s in found) <= 12
    assert 13 <= sum(s["nesterov"] for s in found) <= 17
    rates = np.log([s["learning_rate"] for s in found])
    decays = np.log([1.0 - s["beta_1"] for s in found])
    assert abs(np.corrcoef(rates, decays)[0, 1]) < 0.3


def test_searches_of_several_arguments():
    [ours, theirs] = entries(["adamw", "keras.AdamW"], "space", 3)
    assert {"learning_rate", "beta_1", "beta_2"} < ours.searched.keys()
    assert theirs.searched == {"learning_rate": "Log(1e-05, 0.1)"}
    search = {"a": {"weight_decay": Log(1e-3, 1.0)}, "b": None}
    a, b = contenders({"a": "adamw", "b": "adamw"}, search, 4, None)
    assert (len(a.trials), b.tuned) == (4, False)
    assert a.entry.fixed["learning_rate"] == 0.001
    made = a.optimizer(a.trials[0], 100)
    assert made.weight_decay == a.trials[0]["weight_decay"]


def test_what_does_not_decay_is_kept():
    given = keras_adamx.AdamW()
    given.exclude_from_weight_decay(var_names=["bias"])
    theirs = keras.optimizers.AdamW()
    theirs.exclude_from_weight_decay(var_names=["bias"])
    for optimizer in (given, theirs):
        made = contenders({"o": optimizer}, None, None, None)[0].optimizer({}, 10)
        model = cases.build()
        made.build(model.trainable_variables)
        kernel, bias = model.trainable_variables[:2]
        if optimizer is given:
            assert (made.is_excluded(kernel), made.is_excluded(bias)) == (False, True)
        else:
            assert made._use_weight_decay(kernel)
            assert not made._use_weight_decay(bias)
    given = keras_adamx.AdamW()
    given.exclude_from_weight_decay(var_list=[bias])
    with pytest.raises(ValueError, match="Exclude by name"):
        contenders({"o": given}, None, None, None)
