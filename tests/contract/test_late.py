"""Variables that come late, files read early, and fits that end otherwise."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_adamx
from keras_adamx.rule import Optimizer, Slot
from tests import problem

# Keras converts torch's tensors, which do not know the copy argument of NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def variable(name, *values):
    return keras.Variable(np.asarray(values, "float32"), name=name)


def ones(*variables):
    return [ops.ones(v.shape) for v in variables]


def zeros(*variables):
    return [ops.zeros(v.shape) for v in variables]


def number(value):
    return problem.values([value])[0]


def test_averages_of_late_variables_begin_at_their_weights():
    first, late = variable("first", 3.0), variable("late", 1.0, 2.0)
    optimizer = keras_adamx.SGD(0.1, use_ema=True)
    for _ in range(3):
        optimizer.apply(zeros(first), [first])
    optimizer.build([first, late])
    optimizer.apply(zeros(first, late), [first, late])
    optimizer.finalize_variable_values([first, late])
    np.testing.assert_array_equal(number(late), [1.0, 2.0])
    np.testing.assert_array_equal(number(first), [3.0])


def test_swapped_averages_are_those_of_their_variables():
    """As Keras' callbacks find them: in the order of the model."""
    first, late, frozen = (variable(n, 1.0) for n in ("first", "late", "frozen"))
    group = keras_adamx.Group("frozen", frozen=True)
    optimizer = keras_adamx.SGD(0.1, use_ema=True, groups=[group])
    optimizer.apply(ones(first, frozen), [first, frozen])
    optimizer.build([late, first, frozen])
    averages = optimizer._model_variables_moving_average
    assert ["late" in averages[0].path, "first" in averages[1].path] == [True, True]
    assert averages[2] is frozen


def test_late_variables_under_accumulation():
    first, late = variable("first", 0.0), variable("late", 0.0)
    optimizer = keras_adamx.SGD(1.0, gradient_accumulation_steps=2)
    for _ in range(2):
        optimizer.apply(ones(first), [first])
    optimizer.build([first, late])
    optimizer.apply(ones(first, late), [first, late])
    optimizer.apply([ops.ones((1,)), None], [first, late])
    assert number(late) == -0.5


@pytest.mark.parametrize("nonfinite", ["propagate", "skip"])
@pytest.mark.parametrize("rule", [keras_adamx.SGD, keras_adamx.Prodigy])
def test_a_window_that_ends_with_frozen_variables_only(rule, nonfinite):
    """What came earlier in the window is due, as if zeros had come last."""
    weights = []
    for frozen_only in (True, False):
        frozen, free = variable("frozen", 1.0), variable("free", 1.0, 2.0)
        optimizer = rule(
            learning_rate=1.0,
            gradient_accumulation_steps=2,
            global_clipnorm=0.5,
            nonfinite=nonfinite,
            groups=[keras_adamx.Group("frozen", frozen=True)],
        )
        optimizer.build([frozen, free])
        for _ in range(2):
            optimizer.apply(ones(frozen, free), [frozen, free])
            last = None if frozen_only else ops.zeros((2,))
            optimizer.apply([ops.ones((1,)), last], [frozen, free])
        weights.append(problem.values([frozen, free]))
        assert np.all(weights[-1][1] < [1.0, 2.0])
    problem.assert_same_bits(*weights)


@pytest.mark.parametrize(
    "ability",
    [
        {"gradient_accumulation_steps": 2},
        {"use_ema": True},
        {"gradient_accumulation_steps": 2, "use_ema": True},
    ],
)
def test_layers_frozen_between_fits(ability):
    """On JAX, Keras hands over the weights that are still trained and no others."""
    model = problem.compiled(keras_adamx.Adam(0.01, **ability))
    problem.fit(model, 1)
    frozen = model.layers[0]
    frozen.trainable = False
    model.compile(model.optimizer, model.loss)
    before = problem.values([frozen.kernel, model.layers[-1].kernel])
    problem.fit(model, 1)
    after = problem.values([frozen.kernel, model.layers[-1].kernel])
    np.testing.assert_array_equal(before[0], after[0])
    assert np.any(before[1] != after[1])
    frozen.trainable = True
    model.compile(model.optimizer, model.loss)
    problem.fit(model, 1)
    assert np.any(problem.values([frozen.kernel])[0] != after[0])


def test_the_head_may_not_change():
    kernels = [
        keras.Variable(np.ones((4, 4), "float32"), name=f"k{i}") for i in range(3)
    ]
    optimizer = keras_adamx.Muon(0.1)
    optimizer.build(kernels[:2])
    with pytest.raises(ValueError, match="'k1' was the last matrix"):
        optimizer.build(kernels)
    free = keras_adamx.Muon(0.1, exclude_head=False)
    free.build(kernels[:2])
    free.build(kernels)


def test_sums_contain_gradients_from_earlier_in_the_window():
    """An absent gradient counts as one of zeros in Prodigy's sums too."""
    paths = []
    for absent in (True, False):
        a, b = variable("a", 1.0), variable("b", 1.0, 2.0)
        optimizer = keras_adamx.Prodigy(d0=1e-3, gradient_accumulation_steps=2)
        for step in range(8):
            wave = ops.full((1,), (-1.0) ** step)
            second = None if absent else ops.zeros((2,))
            given = ops.convert_to_tensor([2.0, -1.0]) if step % 2 == 0 else second
            optimizer.apply([wave, given], [a, b])
        paths.append(problem.values([a, b]))
    problem.assert_close(*paths)
    assert np.all(np.abs(paths[0][1] - [1.0, 2.0]) > 1e-3)


def test_constraints_hold_for_late_updates():
    a = variable("a", 0.1)
    b = variable("b", 0.1)
    b.constraint = keras.constraints.NonNeg()
    optimizer = keras_adamx.SGD(1.0, gradient_accumulation_steps=2)
    optimizer.apply(ones(a, b), [a, b])
    optimizer.apply([ops.ones((1,)), None], [a, b])
    assert number(b) == 0.0


class Difference(Optimizer):
    """Keeps the weights of the step before, and passes gradients on."""

    elementwise = True

    def slots(self, weights):
        yield Slot("previous", begins_as_weights=True)
        yield Slot("newer")
        yield Slot("older")

    def direction(self, gradient, weights, state, hyper):
        moved = weights - state.previous
        state.previous = weights
        older = state.older
        state.older, state.newer = state.newer, gradient
        return gradient - 0.5 * moved + 0.25 * older


@pytest.mark.parametrize("elementwise", [True, False])
def test_a_slot_may_take_over_weights_or_another_slot(elementwise, monkeypatch):
    monkeypatch.setattr(Difference, "elementwise", elementwise)
    weights = variable("w", 1.0, 2.0, 3.0)
    optimizer = Difference(0.125)
    expected = np.array([1.0, 2.0, 3.0])
    previous, newer, older = expected, 0.0, 0.0
    for step in range(5):
        gradient = np.array([1.0, -0.5, 0.25 * step])
        optimizer.apply([ops.convert_to_tensor(gradient, "float32")], [weights])
        move = gradient - 0.5 * (expected - previous) + 0.25 * older
        previous, older, newer = expected, newer, gradient
        expected = expected - 0.125 * move
    np.testing.assert_allclose(number(weights), expected, rtol=1e-6)


def saved(optimizer):
    store = {}
    optimizer.save_own_variables(store)
    return store


def trained(optimizer, steps=3, shapes=((4, 3), (5,))):
    variables = problem.variables(shapes)
    optimizer.build(variables)
    for step in range(steps):
        optimizer.apply(problem.gradients(step, shapes), variables)
    return variables


def test_groups_import_their_own_shared_state():
    def new():
        group = keras_adamx.Group("w1$", beta_1=0.5)
        return keras_adamx.Nadam(momentum_decay=1.0, groups=[group])

    source, target = new(), new()
    weights = trained(source)
    target.build(weights)
    target.import_state(source)
    for ours, theirs in zip(target.settings, source.settings):
        for name, value in ours.shared.items():
            assert number(value) == number(theirs.shared[name])


def test_averages_are_no_weights_to_go_on_from():
    source = keras_adamx.ScheduleFreeSGD(0.1)
    weights = trained(source)
    source.put_in_averaged_weights()
    target = keras_adamx.ScheduleFreeSGD(0.1)
    target.build(weights)
    with pytest.raises(ValueError, match="averages now"):
        target.import_state(source)
    plain = keras_adamx.Adam()
    plain.build(weights)
    with pytest.raises(ValueError, match="keeps no averages"):
        plain.put_in_averaged_weights()


def test_a_failed_load_changes_nothing_while_averages_are_in():
    optimizer = keras_adamx.ScheduleFreeSGD(0.1)
    weights = trained(optimizer)
    before, store = problem.values(weights), saved(optimizer)
    optimizer.put_in_averaged_weights()
    del store[next(name for name in store if name.startswith("z:"))]
    with pytest.raises(ValueError, match=r"lacks"):
        optimizer.load_own_variables(store)
    optimizer.put_in_trained_weights()
    problem.assert_same_bits(problem.values(weights), before)


def test_averages_in_a_file_for_an_optimizer_without_any():
    source = keras_adamx.SGD(0.1, use_ema=True)
    weights = trained(source)
    source.put_in_averaged_weights()
    plain = keras_adamx.SGD(0.1)
    plain.build(weights)
    with pytest.raises(ValueError, match="Was it written with other arguments"):
        plain.load_own_variables(saved(source))


def test_loaded_weights_are_no_averages():
    optimizer = keras_adamx.ScheduleFreeSGD(0.1)
    weights = trained(optimizer)
    optimizer.put_in_averaged_weights()
    weights[0].assign(ops.full((4, 3), 7.0))
    with pytest.warns(UserWarning, match="no state"):
        optimizer.load_own_variables({})
    optimizer.put_in_trained_weights()
    assert (number(weights[0]) == 7.0).all()


def test_what_was_read_and_not_used_yet_is_saved_again():
    source = keras_adamx.Adam(0.1)
    weights = trained(source)
    store = saved(source)
    reader = keras_adamx.Adam(0.1)
    reader.load_own_variables(store)
    assert saved(reader).keys() == store.keys()
    reader.learning_rate = 0.25
    reader.build(weights)
    assert number(reader.learning_rate) == 0.25
    assert number(reader.iterations) == 3


def test_a_file_that_is_skipped_is_forgotten():
    other = keras_adamx.SGD(0.1)
    source = keras_adamx.Adam(0.1)
    weights = trained(source)
    with pytest.raises(ValueError, match="written by"):
        other.load_own_variables(saved(source))
    other.apply(problem.gradients(0, ((4, 3), (5,))), weights)


def test_a_filter_holds_whatever_a_file_says():
    source = keras_adamx.AdamW(0.1)
    weights = trained(source)
    store = saved(source)
    filtered = keras_adamx.AdamW(0.1, weight_decay_filter="matrices")
    filtered.build(weights)
    filtered.load_own_variables(store)
    assert [entry.decayed for entry in filtered.entries] == [True, False]


def test_arguments_stay_as_they_are_after_a_fit():
    model = problem.compiled(keras_adamx.Adam())
    problem.fit(model, 1)
    with pytest.raises(AttributeError, match="cannot be changed"):
        model.optimizer.beta_1 = 0.5


def test_one_error_for_each_gradient_that_is_not_finite():
    # In a graph of TensorFlow the error would be its own; PyTorch compiles for minutes.
    compiled = keras.backend.backend() != "torch"
    model = problem.compiled(keras_adamx.Adam(nonfinite="raise"), jit_compile=compiled)
    x, y = problem.dataset()
    broken = np.where(np.arange(len(x))[:, None] == 40, np.nan, x)
    with pytest.raises(FloatingPointError):
        model.fit(broken, y, batch_size=32, verbose=0)
    problem.fit(model, 1)


class Interrupt(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt


def test_an_interrupted_fit_leaves_averages_to_the_next():
    optimizer = keras_adamx.SGD(0.1, use_ema=True, ema_momentum=0.5)
    model = problem.compiled(optimizer)
    averaged = keras_adamx.callbacks.EvaluateAveraged()
    problem.fit(model, 1, callbacks=[averaged])
    with pytest.raises(KeyboardInterrupt):
        problem.fit(model, 1, callbacks=[averaged, Interrupt()])
    problem.fit(model, 1)
    for entry in optimizer.entries:
        np.testing.assert_array_equal(number(entry.variable), number(entry.average))


@pytest.mark.backend("tensorflow")
def test_models_are_exported_after_averages_were_in(tmp_path):
    model = problem.compiled(keras_adamx.ScheduleFreeAdamW(0.01))
    problem.fit(model, 1, callbacks=[keras_adamx.callbacks.EvaluateAveraged()])
    model.export(tmp_path / "exported", verbose=False)


@pytest.mark.backend("tensorflow")
def test_checkpoint_of_variables_that_came_late(tmp_path):
    import tensorflow as tf

    def new():
        return [variable(f"w{i}", *values) for i, values in enumerate(((1, 2), (3, 4)))]

    first, optimizer = new(), keras_adamx.Adam(0.1)
    optimizer.apply(ones(first[1]), [first[1]])
    optimizer.build(first)
    optimizer.apply([2.0 * g for g in ones(*first)], first)
    path = tf.train.Checkpoint(optimizer=optimizer).save(str(tmp_path / "c"))
    second, restored = new(), keras_adamx.Adam(0.1)
    restored.build(second)
    tf.train.Checkpoint(optimizer=restored).restore(path).assert_consumed()
    for entry in restored.entries:
        [theirs] = [e for e in optimizer.entries if e.path == entry.path]
        for name, value in entry.stored.items():
            np.testing.assert_array_equal(number(value), number(theirs.stored[name]))


def test_what_a_rule_may_not_do():
    with pytest.raises(TypeError, match="defines `__init__`"):
        type("Own", (Optimizer,), {"__init__": lambda self: None})
    odd = type("Odd", (Optimizer,), {"slots": lambda self, w: [Slot("v:hat")]})
    with pytest.raises(ValueError, match="letters, digits"):
        odd().build([variable("w", 1.0)])
    empty = type("Empty", (Optimizer,), {})
    with pytest.raises(NotImplementedError, match="Empty must define `direction"):
        empty(jit_compile=False).apply([ops.ones((1,))], [variable("w", 1.0)])
    with pytest.raises(TypeError, match="`var_names` must be a list"):
        keras_adamx.AdamW().exclude_from_weight_decay(var_names="bias")
    with pytest.raises(ValueError, match=r"`var_names`.*nothing to repeat"):
        keras_adamx.AdamW().exclude_from_weight_decay(var_names=["*bias"])
