"""Averages of the weights in place for evaluation, and out again for training."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_adamx
from keras_adamx import transforms
from keras_adamx.callbacks import EvaluateAveraged
from tests import problem

MAKERS = {
    "schedule-free adamw": lambda: keras_adamx.ScheduleFreeAdamW(0.02),
    "schedule-free sgd": lambda: keras_adamx.ScheduleFreeSGD(0.1),
    "use_ema": lambda: keras_adamx.Adam(0.02, use_ema=True, ema_momentum=0.5),
    "exponential": lambda: keras_adamx.Adam(
        0.02, transforms=[transforms.ExponentialAverage(decay=0.5)]
    ),
    "stochastic": lambda: keras_adamx.Adam(
        0.02, transforms=[transforms.StochasticWeightAverage(start=2)]
    ),
    "lookahead": lambda: keras_adamx.Adam(
        0.02, transforms=[transforms.Lookahead(steps=4)]
    ),
}


@pytest.fixture(name="make", params=MAKERS)
def _make(request):
    return MAKERS[request.param]


def fresh(make, **arguments):
    keras.utils.set_random_seed(5)
    return problem.compiled(make(), **arguments)


def weights(model):
    return problem.values(model.trainable_variables)


class Recorder(keras.callbacks.Callback):
    """The weights at the end of every batch and of every epoch."""

    def __init__(self):
        super().__init__()
        self.epochs, self.tests = [], []

    def on_test_end(self, logs=None):
        self.tests.append(weights(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(weights(self.model))


def test_training_is_not_disturbed(make):
    """Over several fits: the trained weights are those without the callback."""
    plain = fresh(make)
    plain.optimizer.keeps_trained_weights = True
    problem.fit(plain, 3)
    averaged = fresh(make)
    recorder = Recorder()
    callbacks = [EvaluateAveraged(), recorder]
    x, y = problem.dataset()
    for epochs in (2, 1):
        problem.fit(averaged, epochs, validation_data=(x, y), callbacks=callbacks)
    assert averaged.optimizer.holds_averages
    last = weights(averaged)
    problem.assert_same_bits(recorder.epochs[-1], last)
    problem.assert_same_bits(recorder.tests[-1], last)
    averaged.optimizer.put_in_averaged_weights()
    problem.assert_same_bits(weights(averaged), last)
    averaged.optimizer.put_in_trained_weights()
    averaged.optimizer.put_in_trained_weights()
    problem.assert_same_bits(weights(averaged), weights(plain))
    different = [not np.array_equal(a, b) for a, b in zip(last, weights(plain))]
    assert any(different)


def test_averages_are_what_is_put_in():
    model = fresh(MAKERS["use_ema"])
    problem.fit(model, 2, callbacks=[EvaluateAveraged()])
    averages = problem.values([e.average for e in model.optimizer.entries])
    problem.assert_same_bits(weights(model), averages)


def test_schedule_free_point():
    """X = (y - (1 - β₁) z) / β₁."""
    optimizer = keras_adamx.ScheduleFreeSGD(0.5, beta_1=0.75)
    [y] = trained = [keras.Variable([1.0, -1.0])]
    for step in range(3):
        optimizer.apply([ops.convert_to_tensor([0.5, 1.0 + step])], trained)
    [z] = problem.values(list(optimizer.entries[0].stored.values()))
    before = problem.values([y])[0]
    optimizer.put_in_averaged_weights()
    expected = (before - 0.25 * z) / 0.75
    np.testing.assert_allclose(problem.values([y])[0], expected, rtol=1e-5)


def test_saved_with_averages_and_trained_on(make, tmp_path):
    """The file evaluates as it was saved, and goes on as if it had never been."""
    whole, cut = fresh(make), fresh(make)
    for _ in range(2):
        problem.fit(whole, 1, callbacks=[EvaluateAveraged()])
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")
    problem.fit(cut, 1, callbacks=[EvaluateAveraged(), checkpoint])
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    problem.assert_same_bits(weights(loaded), weights(cut))
    problem.fit(loaded, 1, callbacks=[EvaluateAveraged()])
    problem.assert_same_bits(weights(loaded), weights(whole))


def test_training_with_averages_in_place_is_refused(tmp_path):
    model = fresh(MAKERS["exponential"])
    problem.fit(model, 1, callbacks=[EvaluateAveraged()])
    with pytest.raises(RuntimeError, match="EvaluateAveraged"):
        problem.fit(model, 1)
    model = fresh(MAKERS["exponential"])
    problem.fit(model, 1, callbacks=[EvaluateAveraged()])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    with pytest.raises(RuntimeError, match="EvaluateAveraged"):
        problem.fit(loaded, 1)


def test_interrupted_fit_loses_nothing():
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    whole, cut = fresh(MAKERS["exponential"]), fresh(MAKERS["exponential"])
    for _ in range(2):
        problem.fit(whole, 1, callbacks=[EvaluateAveraged()])
    callback = EvaluateAveraged()
    with pytest.raises(KeyboardInterrupt):
        problem.fit(cut, 1, callbacks=[callback, Interrupt()])
    assert cut.optimizer.holds_averages
    problem.fit(cut, 1, callbacks=[callback])
    problem.assert_same_bits(weights(cut), weights(whole))


def test_batch_norm_statistics_belong_to_the_averages():
    random = np.random.default_rng(0)
    x = random.normal(1.0, 2.0, size=(64, 6)).astype("float32")
    y = x[:, :1] > 1.0

    def made():
        keras.utils.set_random_seed(5)
        layers = [
            keras.layers.Input((6,)),
            keras.layers.Dense(4),
            keras.layers.BatchNormalization(name="norm"),
            # On PyTorch its random numbers are those of the process.
            keras.layers.Dropout(0.0 if keras.backend.backend() == "torch" else 0.5),
            keras.layers.Dense(1),
        ]
        model = keras.Sequential(layers)
        model.compile(MAKERS["exponential"](), "mse")
        return model

    plain, model = made(), made()
    callback = EvaluateAveraged(batch_norm_data=[x[:32], (x[32:], y[32:])])
    arguments = {"batch_size": 16, "shuffle": False, "verbose": 0}
    for _ in range(2):
        plain.fit(x, y, **arguments)
        model.fit(x, y, callbacks=[callback], **arguments)
    inside = ops.convert_to_numpy(model.layers[0](x))
    norm = model.get_layer("norm")
    halves = inside.reshape(2, 32, 4)
    np.testing.assert_allclose(
        ops.convert_to_numpy(norm.moving_mean), inside.mean(0), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(norm.moving_variance), halves.var(1).mean(0), rtol=1e-4
    )
    assert norm.momentum == 0.99
    # The training saw nothing of it, its random numbers included.
    model.fit(x, y, callbacks=[callback], **arguments)
    plain.fit(x, y, **arguments)
    model.optimizer.put_in_trained_weights()
    problem.assert_same_bits(weights(model), weights(plain))


def test_optimizers_without_averages_are_named():
    model = fresh(keras_adamx.Adam)
    with pytest.raises(ValueError, match="Adam keeps no averages"):
        problem.fit(model, 1, callbacks=[EvaluateAveraged()])
    model = problem.compiled(keras.optimizers.Adam())
    with pytest.raises(TypeError, match="optimizer of keras_adamx"):
        problem.fit(model, 1, callbacks=[EvaluateAveraged()])
    with pytest.raises(TypeError, match="`batch_norm_data`"):
        EvaluateAveraged(batch_norm_data=3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_weights(dtype):
    optimizer = MAKERS["exponential"]()
    trained = problem.variables(dtype=dtype)
    for step in range(2):
        optimizer.apply(problem.gradients(step, dtype=dtype), trained)
    before = problem.values(trained)
    optimizer.put_in_averaged_weights()
    optimizer.put_in_trained_weights()
    problem.assert_same_bits(problem.values(trained), before)
