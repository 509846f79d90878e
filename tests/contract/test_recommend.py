"""What is recommended follows from the table, the memory and the schedule."""

import math

import keras
import numpy as np
import pytest

import keras_adamx
from keras_adamx import recommendation
from keras_adamx.recommendation import Row, Table
from tests import problem

KINDS = {"mlp": "dense", "cnn": "convolution", "lm": "transformer"}
PLAIN = {"learning_rates": dict.fromkeys(KINDS, 0.003), "arguments": {}}


def row(label, cls, mlp, cnn, lm, **more):
    ratios = dict(zip(KINDS, (mlp, cnn, lm)))
    return Row(label=label, cls=cls, ratios=ratios, **{**PLAIN, **more})


ROWS = (
    row("adamw", "AdamW", 1.5, 1.5, 1.5),
    row("muon", "Muon", 1.0, 2.0, 1.0),
    row("sgd", "SGD", 2.1, 1.0, math.inf, arguments={"momentum": 0.9}),
    row("schedulefreeadamw", "ScheduleFreeAdamW", 2.0, 2.0, 2.0),
    row("schedulefreesgd", "ScheduleFreeSGD", 3.0, 3.0, 3.5),
)


@pytest.fixture
def known(monkeypatch):
    found = Table(KINDS, dict.fromkeys(KINDS, 128), ROWS)
    monkeypatch.setattr(recommendation, "table", lambda: found)
    return found


def dense(width=64):
    return keras.Sequential(
        [keras.Input((16,)), keras.layers.Dense(width), keras.layers.Dense(4)]
    )


def convolutional():
    layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers])


def attentive():
    inputs = keras.Input((4, 8))
    x = keras.layers.MultiHeadAttention(2, 4)(inputs, inputs)
    return keras.Model(inputs, keras.layers.Dense(2)(x))


def embedding():
    layers = [keras.layers.Embedding(10, 4), keras.layers.Flatten()]
    return keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])


def held(optimizer):
    """Bytes that a built optimizer has for the variables."""
    return sum(each.bytes for each in optimizer.memory_report().rows)


def test_kinds_of_models():
    kinds = {
        "dense": dense,
        "convolution": convolutional,
        "transformer": attentive,
        "embeddings": embedding,
    }
    for kind, build in kinds.items():
        assert recommendation.kind_of(build()) == kind
    inner = keras.Sequential([keras.Input((8, 8, 1)), convolutional()])
    assert recommendation.kind_of(inner) == "convolution"


@pytest.mark.parametrize(
    ("build", "expected"),
    [(dense, "Muon"), (convolutional, "AdamW"), (attentive, "Muon")],
)
def test_the_best_for_the_kind(known, build, expected):
    found = keras_adamx.recommend(build())
    assert type(found.optimizer).__name__ == expected
    assert found.code.startswith(f"keras_adamx.{expected}(learning_rate=0.003")
    made = eval(found.code, {"keras_adamx": keras_adamx})
    theirs, ours = made.get_config(), found.optimizer.get_config()
    assert {**theirs, "name": None} == {**ours, "name": None}


def test_scores():
    fast, slow, never = (row("x", "Adam", r, r, r) for r in (1.0, 2.5, math.inf))
    assert [r.score(["mlp"]) for r in (fast, slow, never)] == [1.0, 0.5, 0.0]
    assert row("x", "Adam", 5.0, 1.0, 1.0).score(["mlp", "cnn"]) == 0.5


def test_arguments_and_rates(known):
    texts = keras_adamx.recommend(convolutional()).alternatives
    assert any("SGD(learning_rate=0.003, momentum=0.9)" in text for text in texts)
    rates = {"mlp": 0.001, "cnn": 0.01, "lm": 0.1}
    own = row("adam", "Adam", 1.0, 1.0, 1.0, learning_rates=rates)
    whole = Table({**KINDS, "mlp": "convolution"}, known.batch_sizes, (own,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recommendation, "table", lambda: whole)
        found = keras_adamx.recommend(convolutional())
    # The middle of 0.001 and 0.01 is √10 times the first.
    assert found.code == "keras_adamx.Adam(learning_rate=0.003)"


def test_memory_takes_fewer_bits_before_another_rule(known):
    model = dense(512)
    free = keras_adamx.recommend(model)
    assert type(free.optimizer).__name__ == "Muon"
    assert free.optimizer.state_dtype in (None, "float32")
    # What it says is what a built optimizer takes.
    free.optimizer.build(model.trainable_variables)
    assert free.state_bytes == held(free.optimizer)
    half = keras_adamx.recommend(model, memory=free.state_bytes - 1)
    assert type(half.optimizer).__name__ == "Muon"
    assert half.optimizer.state_dtype == "bfloat16"
    assert half.state_bytes < free.state_bytes
    eighth = keras_adamx.recommend(model, memory=half.state_bytes - 1)
    assert eighth.optimizer.state_dtype == "int8"
    eighth.optimizer.build(model.trainable_variables)
    assert eighth.state_bytes == held(eighth.optimizer)
    assert "of " in eighth.reasons[-1]


def test_nothing_fits(known):
    found = keras_adamx.recommend(dense(), memory=1)
    assert "No optimizer fits into 1 bytes" in found.cautions[0]
    every = [
        keras_adamx.recommend(dense(), memory=b).state_bytes for b in (100, 1000, 4000)
    ]
    assert found.state_bytes <= min(every)


def test_an_unknown_length(known):
    found = keras_adamx.recommend(dense(), schedule_known=False)
    assert type(found.optimizer).__name__ == "ScheduleFreeAdamW"
    assert "EvaluateAveraged" in str(found)
    assert "Muon" not in str(found)
    assert "ScheduleFreeSGD" in found.alternatives[0]


def test_batches(known):
    small, large, huge = (
        keras_adamx.recommend(dense(), batch_size=size) for size in (8, 512, 4096)
    )
    assert "beta_2 ** (8 / 128)" in str(small)
    assert "The largest batch" in str(large)
    assert "LAMB" not in str(large)
    assert "LAMB" in huge.alternatives[-1]
    plain = keras_adamx.recommend(dense(), batch_size=128)
    assert plain.cautions == keras_adamx.recommend(dense()).cautions


def test_a_kind_that_was_not_measured(known):
    found = keras_adamx.recommend(embedding())
    assert "no workload of the page Results" in found.reasons[0]
    assert type(found.optimizer).__name__ == "Muon"


def test_alternatives(known):
    found = keras_adamx.recommend(dense())
    assert [text.split("(")[0] for text in found.alternatives] == [
        "keras_adamx.AdamW",
        "keras_adamx.ScheduleFreeAdamW",
    ]
    assert "1.50 times the steps of the fastest on mlp" in found.alternatives[0]


@pytest.mark.parametrize("build", [dense, convolutional, attentive, embedding])
@pytest.mark.parametrize("schedule_known", [True, False])
def test_the_table_of_the_package(build, schedule_known):
    """Every answer trains."""
    model = build()
    found = keras_adamx.recommend(
        model, memory=6e3, schedule_known=schedule_known, batch_size=64
    )
    assert found.state_bytes <= 6e3
    assert (type(found.optimizer).__name__[:8] == "Schedule") == (not schedule_known)
    model.compile(found.optimizer, "mse")
    x = np.zeros((8, *model.input_shape[1:]), "float32")
    model.fit(x, np.zeros((8, *model.output_shape[1:])), verbose=0)
    table = recommendation.table()
    for each in table.rows:
        assert set(each.ratios) == set(table.kinds) == set(table.batch_sizes)
        assert min(each.ratios.values()) >= 1.0


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"memory": "2 GB"}, TypeError, "`memory` must be a number"),
        ({"memory": True}, TypeError, "`memory` must be a number"),
        ({"memory": -1}, ValueError, "`memory` must be >= 0"),
        ({"memory": math.nan}, ValueError, "`memory` must be >= 0"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be >= 1"),
        ({"batch_size": 2.5}, TypeError, "`batch_size` must be an integer"),
        ({"schedule_known": None}, TypeError, "`schedule_known` must be True or"),
    ],
)
def test_wrong_arguments(known, arguments, error, match):
    with pytest.raises(error, match=match):
        keras_adamx.recommend(dense(), **arguments)


def test_models_without_variables(known):
    with pytest.raises(TypeError, match=r"must be a keras\.Model"):
        keras_adamx.recommend(keras.layers.Dense(2))
    with pytest.raises(ValueError, match="has no trainable variables"):
        keras_adamx.recommend(keras.Sequential([keras.layers.Dense(2)]))


@pytest.mark.parametrize("state_dtype", ["float32", "bfloat16", "int8"])
def test_planned_state_is_that_of_a_built_optimizer(name, state_dtype):
    from keras_adamx.core.report import planned_bytes

    model = problem.classifier()
    optimizer = keras_adamx.get(name, state_dtype=state_dtype)
    planned = planned_bytes(optimizer, model.trainable_variables)
    optimizer.build(model.trainable_variables)
    assert planned == held(optimizer)
