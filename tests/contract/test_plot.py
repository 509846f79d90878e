"""Pictures of schedules."""

import sys

import keras
import numpy as np
import pytest

from keras_adamx import schedules
from tests.schedules import values_of


@pytest.fixture(name="figures")
def _figures():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def test_plot(figures, monkeypatch):
    monkeypatch.setattr("keras_adamx.schedules.plotting.POINTS", 30)
    linear = schedules.LinearDecay(0.5, 10)
    theirs = keras.optimizers.schedules.CosineDecay(0.5, 10)
    [line] = schedules.plot(linear, 20).get_lines()
    np.testing.assert_allclose(line.get_xdata(), np.arange(20))
    np.testing.assert_allclose(line.get_ydata(), values_of(linear, range(20)))
    ax = schedules.plot([linear, theirs], 5)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["0: LinearDecay", "1: CosineDecay"]
    again = schedules.plot({"first": linear}, 5, ax=ax)
    assert again is ax
    assert [line.get_label() for line in ax.get_lines()][2:] == ["first"]
    [line] = schedules.plot(linear, 10**6).get_lines()
    assert len(line.get_xdata()) == 30


def test_plot_refuses(figures):
    linear = schedules.LinearDecay(0.5, 10)
    for steps, error in ((0, ValueError), (2.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="`steps` must be an integer >= 1"):
            schedules.plot(linear, steps)
    for wrong in (0.1, [0.1], {"a": lambda step: step}):
        with pytest.raises(TypeError, match="`schedule` must be"):
            schedules.plot(wrong, 10)
    with pytest.raises(ValueError, match="at least one schedule"):
        schedules.plot([], 10)


def test_plot_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "keras_adamx\[plots\]"'):
        schedules.plot(schedules.LinearDecay(0.5, 10), 10)
