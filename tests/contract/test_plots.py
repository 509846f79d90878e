"""Plots: what is computed, against formulas; what is drawn, as matplotlib holds it."""

from __future__ import annotations

import sys

import keras
import matplotlib
import numpy as np
import pytest
from keras import ops
from matplotlib import pyplot
from PIL import Image

import keras_adamx
from keras_adamx import plots
from keras_adamx.plots import curves, functions, style, trajectories

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


# Functions.


@pytest.mark.parametrize("function", functions.FUNCTIONS.values(), ids=lambda f: f.name)
def test_gradient_is_that_of_the_function(function):
    random, h = np.random.default_rng(3), 1e-5
    for x, y in random.uniform(-2.0, 2.0, (20, 2)):
        numeric = [
            (function.at(x + h, y) - function.at(x - h, y)) / (2 * h),
            (function.at(x, y + h) - function.at(x, y - h)) / (2 * h),
        ]
        np.testing.assert_allclose(function.slope(x, y), numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("function", functions.FUNCTIONS.values(), ids=lambda f: f.name)
def test_minimum_is_the_lowest_point_of_the_view(function):
    x, y = np.meshgrid(*(np.linspace(*edges, 101) for edges in function.view))
    if function.minimum is None:
        assert function.at(x, y).min() < 0.0
        return
    assert function.at(*function.minimum) == pytest.approx(0.0, abs=1e-12)
    assert function.at(x, y).min() >= 0.0
    np.testing.assert_allclose(function.slope(*function.minimum), 0.0, atol=1e-12)


def test_a_callable_is_differentiated():
    def bowl(x, y):
        return ops.square(x) * 3.0 + ops.sin(y)

    made = functions.function_of(bowl)
    assert made.name == "bowl"
    np.testing.assert_allclose(made.slope(0.5, 0.25), [3.0, np.cos(0.25)], rtol=1e-6)
    np.testing.assert_allclose(
        made.at([[0.0, 2.0]], [[1.0, 0.5]]), [[np.sin(1.0), 12.0 + np.sin(0.5)]]
    )
    # One that leaves out a number does not depend on it.
    assert functions.function_of(lambda x, y: 2.0 * x).slope(1.0, 1.0).tolist() == [
        2,
        0,
    ]


def test_a_callable_must_give_a_value_for_each_point():
    with pytest.raises(ValueError, match=r"'f' must return one value a point.*\(3,\)"):
        functions.function_of(lambda x, y: ops.sum(x)).at([1, 2, 3], [1, 2, 3])


# Trajectories.


def test_sgd_on_the_saddle_is_the_closed_form():
    found = plots.run("sgd", "saddle", start=(-1.5, 0.25), steps=9, learning_rate=0.1)
    powers = np.arange(10)
    expected = np.stack([-1.5 * 0.9**powers, 0.25 * 1.1**powers], axis=1)
    path = found["sgd"]
    np.testing.assert_allclose(path.points, expected, rtol=1e-6)
    x, y = expected.T
    np.testing.assert_allclose(path.values, (x**2 - y**2) / 2, atol=1e-6)
    assert path.diverged_at is None


@pytest.mark.parametrize("function", ["rosenbrock", "valley", "rastrigin"])
def test_first_step_of_adam_is_the_learning_rate(function):
    path = plots.run("adam", function, steps=1, learning_rate=0.03)["adam"]
    gradient = functions.FUNCTIONS[function].slope(*path.points[0])
    np.testing.assert_allclose(
        path.points[1] - path.points[0], -0.03 * np.sign(gradient), rtol=1e-4
    )


def test_muon_follows_its_inner_rule():
    muon = keras_adamx.Muon(0.02, adam_lr_ratio=0.5, epsilon=1e-3, weight_decay=0.1)
    inner = keras_adamx.AdamW(
        0.01, beta_1=0.9, beta_2=0.95, epsilon=1e-3, weight_decay=0.1
    )
    found = plots.run({"muon": muon, "inner": inner}, "valley", steps=5)
    np.testing.assert_allclose(found["muon"].points, found["inner"].points, rtol=1e-5)


def test_an_instance_stays_as_it_is_and_its_arguments_count():
    optimizer = keras_adamx.SGD(0.01, momentum=0.5, name="mine")
    weight = keras.Variable(np.ones(2, "float32"))
    optimizer.apply([ops.ones(2)], [weight])
    before = [np.array(ops.convert_to_numpy(v)) for v in optimizer.variables]
    path = plots.run(optimizer, "valley", start=(2.0, 0.0), steps=2)["mine"]
    # x₁ = 2 - 0.02; then the momentum adds half of the last step.
    np.testing.assert_allclose(
        path.points[:, 0], [2.0, 1.98, 1.98 - 0.01 - 0.0198], rtol=1e-6
    )
    after = [np.array(ops.convert_to_numpy(v)) for v in optimizer.variables]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_optimizers_of_keras_and_rates_by_label():
    given = {"theirs": keras.optimizers.SGD(0.5), "ours": "sgd", "own": "sgd"}
    found = plots.run(
        given, "valley", start=(1.0, 0.0), steps=1, learning_rate={"ours": 0.25}
    )
    ends = {label: float(p.points[-1, 0]) for label, p in found.paths.items()}
    own = keras_adamx.SGD().arguments["learning_rate"].default
    assert ends == pytest.approx({"theirs": 0.5, "ours": 0.75, "own": 1.0 - own})


def test_divergence_ends_a_path():
    found = plots.run("sgd", "rosenbrock", steps=30, learning_rate=0.1)["sgd"]
    assert found.diverged_at == len(found.points) == len(found.values) < 30
    # It is told even where it is the last step, and not where it is the one after.
    last = found.diverged_at
    for steps, expected in ((last, last), (last - 1, None)):
        path = plots.run("sgd", steps=steps, learning_rate=0.1)["sgd"]
        assert path.diverged_at == expected
    assert np.isfinite(found.points).all()
    assert np.isfinite(found.values).all()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"optimizers": "adamm"}, ValueError, "no optimizer 'adamm'.*'adam'"),
        ({"optimizers": []}, ValueError, "at least one"),
        ({"optimizers": 3}, TypeError, "`optimizers`"),
        ({"optimizers": [3]}, TypeError, "`optimizers`.*3"),
        ({"optimizers": ["sgd", "sgd"]}, ValueError, "Two optimizers.*'sgd'"),
        ({"function": "rosenbrok"}, ValueError, "`function`.*'rosenbrock'"),
        ({"function": lambda x, y: x}, ValueError, "`start` is needed"),
        ({"start": (1.0,)}, ValueError, "`start` must be a pair"),
        ({"start": (1.0, np.nan)}, ValueError, "`start` must be finite"),
        ({"steps": 0}, ValueError, "`steps`.*0"),
        ({"steps": 2.5}, TypeError, "`steps`.*2.5"),
        ({"steps": True}, TypeError, "`steps`.*True"),
        ({"learning_rate": -1.0}, ValueError, "`learning_rate`"),
        ({"learning_rate": {"adm": 0.1}}, ValueError, "'adm'.*adam"),
    ],
)
def test_wrong_arguments_of_a_run(arguments, error, words):
    with pytest.raises(error, match=words):
        plots.run(**{"optimizers": "adam", **arguments})


def test_picture_holds_what_was_run():
    found = plots.run(["adam", "sgd"], "beale", steps=6, learning_rate=0.02)
    picture = plots.draw(found)
    for label, line in picture.lines.items():
        np.testing.assert_array_equal(line.get_xydata(), found[label].points)
    assert picture.axes.get_xlim() == functions.FUNCTIONS["beale"].view[0]
    texts = [text.get_text() for text in picture.axes.get_legend().get_texts()]
    assert texts == [
        f"adam: {found['adam'].values[-1]:.3g}",
        f"sgd: {found['sgd'].values[-1]:.3g}",
        "start",
        "minimum",
    ]


def test_a_path_is_drawn_as_far_as_it_is_seen():
    # From y = 1 with factor 1.5: 1, 1.5, 2.25; the view ends at 2.
    left = plots.trajectory(
        "sgd", "saddle", start=(0.0, 1.0), steps=9, learning_rate=0.5
    )
    assert left.lines["sgd"].get_ydata() == pytest.approx([1.0, 1.5, 2.25])
    assert left.lines["sgd"].get_label() == "sgd: leaves the view at step 2"
    lost = plots.trajectory("sgd", steps=30, learning_rate=0.1)
    step = lost.paths["sgd"].diverged_at
    assert lost.lines["sgd"].get_label() == f"sgd: not finite at step {step}"
    # What overshoots and comes back is drawn to its end: factor -0.9 in y.
    back = plots.trajectory(
        "sgd",
        "valley",
        start=(0, 1.9),
        steps=9,
        learning_rate=0.019,
        view=((-1, 1),) * 2,
    )
    assert len(back.lines["sgd"].get_ydata()) == 10
    never = plots.trajectory("sgd", "valley", steps=2, view=((7, 8), (7, 8)))
    assert never.lines["sgd"].get_label() == "sgd: not in view"


def test_view_holds_the_start_and_what_a_callable_shows():
    far = plots.trajectory("adam", "valley", start=(9.0, 0.5), steps=1)
    assert far.axes.get_xlim()[1] > 9.0
    assert far.axes.get_xlim()[0] == -5.0
    own = plots.trajectory(
        "sgd", lambda x, y: x**2 + y**2, start=(3, 1), steps=50, learning_rate=0.4
    )
    (left, right), (bottom, top) = own.axes.get_xlim(), own.axes.get_ylim()
    assert left < 0.0 < 3.0 < right < 4.0
    assert bottom < 0.0 < 1.0 < top < 2.0


@pytest.mark.parametrize("view", [((1, 0), (0, 1)), (0, 1), ((0, np.inf), (0, 1))])
def test_wrong_view(view):
    with pytest.raises(ValueError, match="`view`"):
        plots.trajectory("sgd", steps=1, view=view)


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_pictures_are_saved(ending, tmp_path):
    file = tmp_path / f"picture{ending}"
    plots.trajectory("adam", steps=2, learning_rate=0.1).save(file, dpi=50)
    begins = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert file.read_bytes().startswith(begins[ending])


def test_a_gif_moves(tmp_path, monkeypatch):
    monkeypatch.setattr(trajectories, "FRAMES", 4)
    picture = plots.trajectory("adam", "valley", steps=8, learning_rate=0.2)
    before = picture.figure.dpi, picture.lines["adam"].get_xydata().copy()
    picture.save(tmp_path / "path.GIF", dpi=60)
    with Image.open(tmp_path / "path.GIF") as image:
        assert image.n_frames == 4
        frames = []
        for frame in range(4):
            image.seek(frame)
            frames.append(np.array(image.convert("RGB"), "int32"))
    colour = np.array([0x00, 0x72, 0xB2])
    blue = [(abs(f - colour).sum(axis=-1) < 12).sum() for f in frames]
    assert blue[0] < blue[1] < blue[3]
    # The picture is as it was.
    assert picture.figure.dpi == before[0]
    np.testing.assert_array_equal(picture.lines["adam"].get_xydata(), before[1])
    assert not picture.lines["adam"].get_animated()


def test_what_cannot_be_saved(tmp_path):
    picture = plots.trajectory("adam", steps=1)
    with pytest.raises(ValueError, match=r"\.gif, \.pdf, \.png, \.svg.*x\.jpg"):
        picture.save("x.jpg")
    with pytest.raises(OSError, match="missing"):
        picture.save(tmp_path / "missing" / "x.png")


# Losses.


def test_curve_is_the_median_with_a_band():
    runs = [{"loss": [5.0, 3.0]}, {"loss": [1.0, 2.0]}, {"loss": [2.0, 9.0]}]
    found = curves.curve(runs)
    assert found.epochs.tolist() == [1, 2]
    assert found.middle.tolist() == [2.0, 3.0]
    assert found.lower.tolist() == [1.0, 2.0]
    assert found.upper.tolist() == [5.0, 9.0]
    quartiles = curves.curve(runs, band="quartiles")
    assert quartiles.lower.tolist() == [1.5, 2.5]
    assert quartiles.upper.tolist() == [3.5, 6.0]
    assert np.isnan(curves.curve(runs, band=None).lower).all()


def test_runs_of_different_length():
    runs = [{"loss": [4.0, 2.0, 1.0]}, {"loss": [6.0, 4.0]}, {"loss": [8.0]}]
    found = curves.curve(runs)
    assert found.runs.tolist() == [3, 2, 1]
    assert found.middle.tolist() == [6.0, 3.0, 1.0]
    np.testing.assert_array_equal(found.lower, [4.0, 2.0, np.nan])
    np.testing.assert_array_equal(found.upper, [8.0, 4.0, np.nan])
    whole, rest = plots.losses({"a": runs}).lines
    assert whole.get_xydata().tolist() == [[1, 6]]
    assert rest.get_xydata().tolist() == [[1, 6], [2, 3], [3, 1]]
    assert whole.get_linestyle() != rest.get_linestyle()


def test_smoothing_is_corrected_for_its_start():
    found = curves.curve({"loss": [4.0, 1.0, 2.5]}, smoothing=0.5)
    expected = [4.0, (0.25 * 4 + 0.5) / 0.75, (0.125 * 4 + 0.25 + 1.25) / 0.875]
    np.testing.assert_allclose(found.middle, expected)


def test_values_that_are_not_finite_end_a_run_and_are_told():
    runs = [{"loss": [4.0, float("nan"), 3.0]}, {"loss": [2.0, 1.0, 0.5]}]
    found = curves.curve(runs)
    assert found.runs.tolist() == [2, 1, 1]
    assert found.diverged == 1
    axes = plots.losses({"a": runs, "b": {"loss": [float("inf")]}})
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "a (2 runs, 1 not finite in the end)",
        "b (1 not finite in the end)",
    ]


def test_epochs_are_those_of_keras():
    x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras_adamx.SGD(0.01), "mse", run_eagerly=True)
    history = model.fit(x, y, epochs=5, initial_epoch=3, verbose=0)
    found = curves.curve(history)
    assert found.epochs.tolist() == [4, 5]
    assert found.middle.tolist() == history.history["loss"]
    history.history["val_loss"] = [0.5]
    with pytest.raises(ValueError, match="1 values of 'val_loss' in 2 epochs"):
        plots.losses({"a": history}, "val_loss")
    sparse = {"epoch": [1, 3], "val_loss": [0.5, 0.25]}
    axes = plots.losses({"a": [sparse]}, "val_loss")
    assert axes.lines[0].get_xydata().tolist() == [[2, 0.5], [4, 0.25]]
    assert axes.get_ylabel() == "val_loss"


def test_axes_of_the_caller():
    axes = pyplot.subplots()[1]
    assert plots.losses({"a": {"loss": [2.0, 1.0]}}, log=True, axes=axes) is axes
    assert axes.get_yscale() == "log"
    axes = pyplot.subplots()[1]
    assert plots.trajectory("sgd", steps=1, axes=axes).axes is axes


@pytest.mark.parametrize(
    ("histories", "arguments", "error", "words"),
    [
        ({}, {}, TypeError, "`histories`"),
        ([{"loss": [1.0]}], {}, TypeError, "`histories`"),
        ({"a": []}, {}, ValueError, "'a' has no runs"),
        ({"a": 3}, {}, TypeError, "'a' must be a History"),
        ({"a": {"acc": [1.0]}}, {}, ValueError, "'a' has no 'loss'. It has: acc"),
        ({"a": {"loss": [1.0]}}, {"band": "std"}, ValueError, "`band`.*'std'"),
        ({"a": {"loss": [1.0]}}, {"smoothing": 1.0}, ValueError, "`smoothing`.*1.0"),
        ({"a": {"loss": [1.0, 0.0]}}, {"log": True}, ValueError, "`log`.*epoch 2"),
    ],
)
def test_wrong_arguments_of_losses(histories, arguments, error, words):
    with pytest.raises(error, match=words):
        plots.losses(histories, **arguments)


def test_no_two_curves_look_alike():
    looks = [style.look(i) for i in range(28)]
    assert len({str(look) for look in looks}) == 28
    # In print the first four differ without their colours.
    assert len({str(look["linestyle"]) for look in looks[:4]}) == 4


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert plots.run("sgd", steps=1)["sgd"].points.shape == (2, 2)
    for draw in (
        lambda: plots.losses({"a": {"loss": [1.0]}}),
        lambda: plots.trajectory("sgd", steps=1),
    ):
        with pytest.raises(ImportError, match=r"pip install 'keras_adamx\[plots\]'"):
            draw()
