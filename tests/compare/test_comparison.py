"""How optimizers are compared: what is the same for all, and what is put down."""

import dataclasses
import math
import random

import keras
import numpy as np
import pytest

import keras_adamx
from keras_adamx.compare import Comparison, Data, Part, measuring, running, training
from keras_adamx.compare.contender import contenders, scheduled
from keras_adamx.compare.given import split, task_of, workload_of
from keras_adamx.tuning import Linear, Log
from tests.compare import cases

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

# What no backend can change: the order of the runs and what is put down of them. They
# take long where something is compiled for each run; `-m everywhere` runs them there.
of_the_protocol = (
    (lambda test: test)
    if keras.backend.backend() == "torch"
    else pytest.mark.everywhere
)

# It compiles an update for each run; one test measures it.
measured = measuring.update_microseconds


@pytest.fixture(autouse=True)
def _not_measured(monkeypatch):
    monkeypatch.setattr(measuring, "update_microseconds", lambda model: 1.0)


def plain(**changed):
    """A comparison without tuning."""
    return cases.compared(**({"search": None, "seeds": 1} | changed))


@pytest.fixture(scope="module")
def whole():
    """A comparison with tuning."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "update_microseconds", lambda model: 1.0)
        return cases.compared()


def values(run):
    return [(p.step, p.train_loss, p.loss, p.value) for p in run.curve]


# The protocol.


@of_the_protocol
def test_every_optimizer_tries_as_much_and_is_tested_with_fresh_seeds(whole):
    plan = whole.plan
    assert (plan.trials, plan.tuning_seeds, plan.test_seeds) == (2, (0,), (1000, 1001))
    keys = [(r.phase, r.seed, r.settings["learning_rate"], r.label) for r in whole.runs]
    # Seed by seed, trial by trial, the optimizers in turn.
    tuning = [
        ("tuning", 0, rate, label)
        for rate in (0.05, 0.2)
        for label in ("ours", "theirs")
    ]
    assert keys[:4] == tuning
    summary = whole.summary()
    best = {e.label: e.settings["learning_rate"] for e in summary.entries}
    tests = [
        ("test", seed, best[label], label)
        for seed in (1000, 1001)
        for label in ("ours", "theirs")
    ]
    assert keys[4:] == tests
    for entry in summary.entries:
        by_rate = {
            t.settings["learning_rate"]: (t.value, -t.loss) for t in entry.trials
        }
        assert max(by_rate, key=by_rate.get) == best[entry.label]
        assert entry.at_edge == ("learning_rate",)
    assert whole.missing == 0
    assert {run.status for run in whole.runs} == {"finished"}


@of_the_protocol
def test_the_budget_may_end_within_an_epoch(whole):
    task = whole.plan.task
    assert (task.steps, task.steps_per_epoch, task.evaluate_every) == (10, 4, 4)
    assert task.parameters == 6 * 8 + 8 + 8 * 3 + 3
    for run in whole.runs:
        assert [p.step for p in run.curve] == [4, 8, 10]
        seconds = [p.seconds for p in run.curve]
        assert 0.0 < seconds[0] < seconds[1] < seconds[2]


def test_all_begin_with_the_same_weights_and_see_the_same_batches():
    """With a learning rate of 0, all that is left is what they are given."""
    still = plain(
        optimizers={
            "ours": keras_adamx.Adam(0.0, jit_compile=False),
            # Draws a random number when it is built.
            "random": keras_adamx.SGD(
                0.0, momentum=0.9, state_dtype="bfloat16", jit_compile=False
            ),
            "theirs": keras.optimizers.SGD(0.0),
        },
    )
    first, *others = map(values, still.runs)
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-6)
    # Each epoch leaves out other examples.
    assert first[0][1] != first[1][1]
    # The weights are those that the seed gives, and the data those of the phase.
    run = trained(keras.optimizers.SGD(0.0), {})
    for each, part in ((still.runs[0], "test"), (run, "tuning")):
        keras.utils.set_random_seed(each.seed)
        model = cases.build()
        expected = held_out_loss(model, getattr(cases.data(), part))
        assert each.curve[0].loss == pytest.approx(expected, rel=1e-5)


def bare(data, seed):
    """What knows the order of some data, without a model."""
    found = object.__new__(training._Training)
    found.task = task_of(cases.workload(), cases.data())
    found.data, found.seed = data, seed
    return found


def trained(optimizer, settings, phase="tuning", **changed):
    """A run of an optimizer with seed 7."""
    workload = cases.workload(**changed)
    return training.train(
        workload,
        cases.data(),
        task_of(workload, cases.data()),
        contenders({"o": optimizer}, None, None, None)[0],
        phase=phase,
        settings=settings,
        seed=7,
    )


def test_a_run_is_what_keras_makes_of_its_batches():
    sgd = keras.optimizers.SGD
    run = trained(sgd(0.1), {"learning_rate": 0.2}, build=cases.build)
    keras.utils.set_random_seed(7)
    model = cases.build()
    model.compile(
        sgd(scheduled("warmup-cosine", 0.2, 10)), cases.loss(), jit_compile=False
    )
    batches = bare(cases.data(), 7)._batches(0, 10)
    history = model.fit(*batches, batch_size=16, shuffle=False, verbose=0).history
    mean = sum(p.train_loss * n for p, n in zip(run.curve, (4, 4, 2))) / 10
    assert mean == pytest.approx(history["loss"][0], rel=1e-5)
    held_out = held_out_loss(model, cases.data().tuning)
    assert run.curve[-1].loss == pytest.approx(held_out, rel=1e-5)


def held_out_loss(model, part):
    loss = cases.loss()(part.labels, model(part.inputs))
    return float(keras.ops.convert_to_numpy(loss))


def test_the_order_of_the_data():
    n = len(cases.data().train.labels)
    numbered = Part(np.arange(n), np.arange(n))
    of = bare(Data(numbered, numbered, numbered), 3)
    epochs = [of._batches(4 * i, 4 * i + 4).inputs for i in range(3)]
    for epoch in epochs:
        assert len(set(epoch)) == 64
    assert not np.array_equal(epochs[0], epochs[1])
    # The same steps give the same examples, wherever an evaluation lies.
    parts = [of._batches(a, b).labels for a, b in ((0, 3), (3, 7), (7, 12))]
    np.testing.assert_array_equal(np.concatenate(parts), np.concatenate(epochs))
    of.seed = 4
    assert not np.array_equal(of._batches(0, 4).inputs, epochs[0])


def drawn():
    found = [random.random(), np.random.random()]
    found += np.array(keras.ops.convert_to_numpy(keras.random.uniform((2,)))).tolist()
    if keras.backend.backend() == "tensorflow":
        found.append(float(tf.random.uniform(())))
    return found


def test_random_numbers_go_on_as_if_nothing_had_been():
    keras.utils.set_random_seed(5)
    expected = drawn(), drawn()
    keras.utils.set_random_seed(5)
    assert drawn() == expected[0]
    plain(optimizers={"theirs": keras.optimizers.SGD(0.1)})
    assert drawn() == expected[1]


def test_averages_are_evaluated_and_trained_weights_trained():
    given = {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.8}
    optimizers = {
        "free": keras_adamx.ScheduleFreeSGD(0.5, jit_compile=False),
        "ours": keras_adamx.SGD(**given, jit_compile=False),
        "theirs": keras.optimizers.SGD(**given),
    }
    often, once = (
        {r.label: r.curve for r in plain(optimizers=optimizers, evaluate_every=n).runs}
        for n in (2, 10)
    )
    for label in optimizers:
        assert len(often[label]) == 5
        [end] = once[label]
        assert often[label][-1].loss == pytest.approx(end.loss, rel=1e-6)
    for a, b in zip(often["ours"], often["theirs"]):
        assert a.loss == pytest.approx(b.loss, rel=1e-4)
    without = {"o": keras.optimizers.SGD(0.1)}
    bare_curve = plain(optimizers=without, evaluate_every=2).runs[0].curve
    for label in ("ours", "theirs"):
        assert [p.train_loss for p in often[label]] == pytest.approx(
            [p.train_loss for p in bare_curve], rel=1e-6
        )
        assert often[label][-1].loss != pytest.approx(bare_curve[-1].loss, rel=1e-4)


# Failures.


def test_failures_are_put_down_and_the_others_go_on():
    found = plain(
        optimizers={
            "diverges": keras.optimizers.SGD(1e30),
            "raises": cases.Unbuildable(0.1),
            "fine": keras.optimizers.SGD(0.1),
        }
    )
    diverges, raises, fine = found.runs
    assert (diverges.status, raises.status, fine.status) == (
        "failed",
        "failed",
        "finished",
    )
    assert "is nan at step 4" in diverges.reason or "is inf at" in diverges.reason
    assert diverges.curve == ()
    assert raises.reason == "RuntimeError after step 0: there is no room for more"
    assert found.missing == 0
    summary = found.summary()
    assert summary["raises"].steps_to_target.median == math.inf
    assert (summary["raises"].failed, summary["raises"].best_value) == (1, None)


@of_the_protocol
def test_what_fails_with_each_setting_is_not_tested(tmp_path):
    given = {
        "optimizers": {"raises": cases.Unbuildable(0.1)},
        "file": tmp_path / "a.jsonl",
    }
    found = cases.compared(**given)
    assert [run.phase for run in found.runs] == ["tuning", "tuning"]
    assert found.missing == 0
    assert cases.compared(**given) == found


# Files.


@pytest.fixture
def counted(monkeypatch):
    """The runs that are made, and one before which the user interrupts."""
    made = []

    def train(*arguments, **more):
        if len(made) == counter.until:
            raise KeyboardInterrupt
        made.append(more["phase"])
        return original(*arguments, **more)

    class counter:  # noqa: N801
        runs = made
        until = None

    original = running.train
    monkeypatch.setattr(running, "train", train)
    return counter


@of_the_protocol
def test_an_interrupted_comparison_goes_on(whole, tmp_path, counted):
    file = tmp_path / "a.jsonl"
    Comparison(whole.plan, whole.machines, whole.runs[:3]).save(file)
    counted.until = 2
    with pytest.raises(KeyboardInterrupt):
        cases.compared(file=file)
    half = Comparison.load(file)
    assert (len(half.runs), half.missing) == (5, 3)
    counted.until = None
    found = cases.compared(file=file)
    assert counted.runs == ["tuning"] + ["test"] * 4
    assert cases.curves(found) == cases.curves(whole)
    assert Comparison.load(file) == found
    assert len(found.machines) == 3
    # Nothing is left to do.
    text = file.read_bytes()
    assert cases.compared(file=file) == found
    assert len(counted.runs) == 5
    assert file.read_bytes() == text


@of_the_protocol
def test_a_comparison_can_grow(tmp_path, whole, counted):
    file = tmp_path / "a.jsonl"
    whole.save(file)
    assert Comparison.load(file) == whole
    more = {
        "first": keras.optimizers.SGD(0.1),
        "ours": keras_adamx.SGD(0.1, jit_compile=False),
        "theirs": keras.optimizers.SGD(0.1, momentum=0.9),
    }
    found = cases.compared(file=file, optimizers=more, target=0.9)
    assert counted.runs == ["tuning"] * 2 + ["test"] * 2
    assert [e.label for e in found.plan.entries] == ["ours", "theirs", "first"]
    assert found.plan.task.target == 0.9
    assert Comparison.load(file) == found
    with pytest.raises(ValueError, match="steps_per_epoch: 4 in the file, 8 now"):
        cases.compared(file=file, optimizers=more, batch_size=8)
    assert Comparison.load(file) == found


@of_the_protocol
def test_what_failed_can_be_made_again(tmp_path, counted):
    file = tmp_path / "a.jsonl"
    optimizers = {"raises": cases.Unbuildable(0.1), "fine": keras.optimizers.SGD(0.1)}
    failed = plain(optimizers=optimizers, file=file)
    assert plain(optimizers=optimizers, file=file) == failed
    assert len(counted.runs) == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(cases.Unbuildable, "build")
        found = plain(optimizers=optimizers, file=file, retry_failed=True)
    assert len(counted.runs) == 3
    assert [run.status for run in found.runs] == ["finished", "finished"]
    again = Comparison.load(file)
    assert sorted(r.status for r in again.runs) == ["finished", "finished"]


@of_the_protocol
def test_files_of_other_data_losses_or_backends_are_refused(tmp_path, whole):
    file = tmp_path / "a.jsonl"
    whole.save(file)
    other = cases.data()
    other.train.labels[0] = (other.train.labels[0] + 1) % 3
    with pytest.raises(ValueError, match=r"data: '[0-9a-f]{8}' in the file"):
        other_compared(file, data=lambda: other)
    smooth = keras.losses.SparseCategoricalCrossentropy(from_logits=False)
    with pytest.raises(ValueError, match=r"from_logits=True.* in the file"):
        other_compared(file, build=cases.build, loss=lambda: smooth)
    machines = [dataclasses.replace(m, backend="numpy") for m in whole.machines]
    Comparison(whole.plan, tuple(machines), whole.runs).save(file)
    with pytest.raises(ValueError, match="were made with numpy"):
        cases.compared(file=file)
    task = dataclasses.replace(whole.plan.task, loss=None, data=None)
    plan = dataclasses.replace(whole.plan, task=task)
    Comparison(plan, whole.machines, whole.runs).save(file)
    assert cases.compared(file=file).plan == whole.plan


def other_compared(file, **changed):
    given = {"search": [0.05, 0.2], "seeds": 2, "verbose": False, "file": file}
    optimizers = {
        "ours": keras_adamx.SGD(0.1, jit_compile=False),
        "theirs": keras.optimizers.SGD(0.1, momentum=0.9),
    }
    return keras_adamx.compare.compare(
        cases.workload(**changed), optimizers=optimizers, **given
    )


SAME = cases.build()


def faulty():
    raise RuntimeError("there is\nno data")


@pytest.mark.parametrize(
    ("build", "data", "more", "said"),
    [
        (lambda: SAME, cases.data, {}, "It returned the same twice"),
        (faulty, cases.data, {}, "raised RuntimeError: there is no data"),
        (cases.build, cases.data, {"loss": "nope"}, "does not train on the data"),
        (cases.build, cases.data, {"metric": "acuracy"}, "metric='acuracy'"),
        (
            cases.build,
            cases.data,
            {"loss": "categorical_crossentropy"},
            "does not train on the data",
        ),
        (
            cases.build,
            (np.ones((50, 5), "float32"), np.zeros(50, "int32")),
            {},
            "does not train on the data",
        ),
    ],
)
def test_faults_are_told_before_any_run(build, data, more, said, counted):
    given = {"loss": cases.loss, "metric": "accuracy"} | more
    with pytest.raises(ValueError, match=said):
        keras_adamx.compare.compare(build, data, ["sgd"], verbose=False, **given)
    assert counted.runs == []


def test_labels_that_cannot_be_printed():
    with pytest.raises(ValueError, match="must be text that can be printed"):
        contenders({"a\x1bb": "adam"}, None, None, None)


# What is measured.


def test_what_is_measured_of_an_optimizer(monkeypatch):
    monkeypatch.setattr(measuring, "update_microseconds", measured)
    found = plain(
        optimizers={
            "ours": keras_adamx.Adam(jit_compile=False),
            "theirs": keras.optimizers.Adam(),
        }
    )
    for run in found.runs:
        assert run.state_bytes == 83 * 2 * 4
        assert 0.0 < run.update_microseconds < 1e6
        assert run.peak_memory_bytes is None
        assert run.compile_seconds >= 0.0
    assert found.summary()["ours"].state_bytes_per_parameter == 8.0
    [machine] = found.machines
    assert machine.backend == keras.backend.backend()
    assert {"python", "keras", "keras_adamx", "numpy"} < machine.versions.keys()
    assert machine.versions["keras"] == keras.__version__
    assert machine.cores >= machine.threads >= 1
    assert measuring.peak_memory() > 10_000_000


def test_runs_are_told_of(capsys):
    plain(
        optimizers={"o": keras.optimizers.SGD(0.1), "r": cases.Unbuildable(0.1)},
        verbose=True,
    )
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith("points: [1/2] o test seed 1000: accuracy 0.")
    assert "[2/2] r test seed 1000: failed, RuntimeError after step 0" in second
    assert second.endswith("0:00:00 left")


# What may be given.


def compiled():
    model = cases.build()
    model.compile("adam", cases.loss(), metrics=["accuracy"], jit_compile=False)
    return model


def test_functions_of_models():
    x, y = cases.data().train
    found = plain_of(compiled, (x, y), batch_size=8)
    task = found.plan.task
    assert (task.name, task.metric, task.higher_is_better) == (
        "compiled",
        "accuracy",
        1,
    )
    # 56 of 70 examples are for training.
    assert (task.steps, task.steps_per_epoch, task.target) == (6, 7, None)
    assert task.description == "The model of compiled on 70 examples."
    assert [p.step for p in found.runs[0].curve] == [6]
    found = plain_of(cases.build, cases.data, loss=cases.loss, jit_compile=False)
    assert (found.plan.task.metric, found.plan.task.higher_is_better) == ("loss", False)
    [point] = found.runs[0].curve[-1:]
    assert point.value == point.loss


def plain_of(build, data, **more):
    return keras_adamx.compare.compare(
        build,
        data,
        ["keras.SGD"],
        budget=6,
        seeds=1,
        search=None,
        verbose=False,
        **more,
    )


def test_data_are_split_by_a_seed():
    x, y = np.arange(50), {"a": np.arange(50), "b": np.arange(50) * 2}
    data = split(x, y)
    parts = [data.train.inputs, data.tuning.inputs, data.test.inputs]
    assert [len(part) for part in parts] == [40, 5, 5]
    assert sorted(np.concatenate(parts)) == list(range(50))
    np.testing.assert_array_equal(data.tuning.labels["b"], parts[1] * 2)
    np.testing.assert_array_equal(split(x, y).test.inputs, parts[2])
    assert not np.array_equal(split(x, y, seed=1).test.inputs, parts[2])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seeds": 0}, "seeds=0"),
        ({"jobs": 1.5}, "jobs=1.5"),
        ({"threads": 2}, "threads=2"),
        ({"budget": 0}, "budget=0"),
        ({"batch_size": 71}, "batch_size=71"),
        ({"loss": "mse"}, "`loss` is for a function"),
        ({"search": 1}, "`search` must be an integer >= 2"),
        ({"search": [0.1, -1.0]}, "`search` must be an integer >= 2"),
        ({"search": "grid"}, "`search` must be an integer >= 2"),
        ({"search": {"ours": 2, "theirs": 3}}, "ours: 2, theirs: 3"),
        ({"search": {"ours": 2, "other": 2}}, "'other', which is no label"),
        ({"search": {"learning_rate": 0.1}}, "0.1 for 'learning_rate' of 'ours'"),
        ({"search": {"learning_rate": Log(1e-3, 1)}}, "trials=None"),
        ({"search": {"beta_1": Linear(0, 0.9)}, "trials": 2}, "beta_1"),
        ({"search": 2, "trials": 3}, "`trials` is for ranges"),
        ({"optimizers": []}, "one or more"),
        ({"optimizers": ["adan"]}, "There is no optimizer 'adan'"),
        ({"optimizers": ["keras.Adan"]}, "'keras.Adan'"),
        (
            {"optimizers": ["adam=fast"]},
            "must be a number. Received: 'adam=fast'",
        ),
        ({"optimizers": ["adam", "adam"]}, "two optimizers are called 'adam'"),
        ({"optimizers": [3]}, "Received for '3': 3"),
        ({"optimizers": 3}, "optimizers=3"),
        ({"schedule": "step"}, "schedule='step'"),
    ],
)
def test_arguments_that_are_refused(changed, said):
    with pytest.raises((TypeError, ValueError)) as error:
        cases.compared(**changed)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("build", "data", "more", "said"),
    [
        (3, cases.data, {}, "Received: 3"),
        (lambda: 3, cases.data, {}, "It returned: 3"),
        (cases.build, cases.data, {}, "`loss` is needed"),
        (cases.build, 3, {"loss": "mse"}, "`data` must be"),
        (cases.build, ([1] * 20, [1] * 20), {"loss": "mse"}, "must hold arrays"),
        (
            cases.build,
            (np.ones(20), np.ones(21)),
            {"loss": "mse"},
            "20, 21 examples",
        ),
        (
            cases.build,
            cases.data,
            {"loss": cases.loss, "metric": cases.metric()},
            "a function that returns a new metric",
        ),
        (
            cases.build,
            cases.data,
            {"loss": cases.loss, "metric": lambda: keras.metrics.Mean(name="m")},
            "`higher_is_better` is needed: the metric 'm'",
        ),
    ],
)
def test_models_and_data_that_are_refused(build, data, more, said):
    with pytest.raises((TypeError, ValueError)) as error:
        plain_of(build, data, **more)
    assert said in str(error.value)


def test_a_model_itself_is_refused():
    with pytest.raises(TypeError, match="a function that returns a new model"):
        workload_of(
            cases.build(),
            cases.data(),
            **dict.fromkeys(
                ("loss", "metric", "higher_is_better", "target", "budget"), None
            ),
            **dict.fromkeys(("batch_size", "evaluate_every", "jit_compile"), None),
        )
