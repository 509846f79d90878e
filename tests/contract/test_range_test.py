"""What follows from the losses of a range test."""

from __future__ import annotations

import json

import numpy as np
import pytest

from keras_adamx.tuning import RangeTest

RATES = np.geomspace(1e-5, 10.0, 121)


def valley(noise=0.0):
    """Falls fastest over log(rate) at 1e-2, is lowest soon after, then explodes."""
    losses = 2.0 - 1.0 / (1.0 + 0.01 / RATES) + (RATES / 3.0) ** 2
    return losses + noise * np.random.default_rng(0).normal(size=len(RATES))


@pytest.mark.parametrize("smoothing", [0.0, 0.9])
def test_suggestions_of_a_known_curve(smoothing):
    result = RangeTest(RATES, valley(), smoothing=smoothing, rule="valley")
    found = result.suggestions
    lowest = RATES[np.argmin(valley())]
    # A step is a factor of 1.12.
    assert found["steepest"] == pytest.approx(0.01, rel=0.3)
    assert found["minimum"] == pytest.approx(lowest / 10.0, rel=0.3)
    # Falls from the first step to the lowest point.
    assert found["valley"] == pytest.approx(1e-5 * (lowest / 1e-5) ** (2 / 3), rel=0.5)
    assert result.suggestion == found["valley"]


def test_noise_hardly_moves_the_steepest_point():
    result = RangeTest(RATES, valley(noise=0.05))
    assert result.suggestion == pytest.approx(0.01, rel=0.9)


@pytest.mark.parametrize(
    "losses",
    [
        np.full(50, 1.5),
        np.linspace(1.0, 2.0, 50),
        1.5 + 0.2 * np.random.default_rng(2).normal(size=50),
        [1.0, *[float("nan")] * 49],
    ],
)
def test_no_fall_no_suggestion(losses):
    assert RangeTest(RATES[:50], losses).suggestions == {}


@pytest.mark.parametrize("smoothing", [0.0, 0.9])
def test_noise_is_no_fall(smoothing):
    source = np.random.default_rng(0)
    falls = 0
    for _ in range(100):
        losses = 1.0 + 0.1 * source.normal(size=100)
        falls += RangeTest(RATES[:100], losses, smoothing=smoothing).falls
    assert falls <= 2


def test_smoothing_is_without_bias():
    result = RangeTest(RATES[:3], [1.0, 2.0, 4.0], smoothing=0.5)
    np.testing.assert_allclose(result.smoothed, [1.0, 5.0 / 3.0, 21.0 / 7.0])


def test_a_result_can_be_written_and_read():
    result = RangeTest(RATES, valley(), smoothing=0.8, rule="minimum")
    again = RangeTest.from_config(json.loads(json.dumps(result.get_config())))
    assert again.to_dict() == result.to_dict()
    assert "steepest  0.01\n" in str(result).replace("0.0103", "0.01")
    assert "<- suggestion" in str(result).splitlines()[3]


def test_losses_and_rates_belong_together():
    with pytest.raises(ValueError, match="2 losses for 3 rates"):
        RangeTest([1.0, 2.0, 3.0], [1.0, 2.0])


def test_a_picture_is_drawn():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    result = RangeTest(RATES, valley())
    axes = result.plot()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[:2] == ["loss", "smoothed"]
    assert [label.split(":")[0] for label in labels[2:]] == list(result.suggestions)
    assert axes.get_xscale() == "log"
    assert result.plot(axes) is axes
    plt.close("all")
