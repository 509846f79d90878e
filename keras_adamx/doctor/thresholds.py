"""Where a number becomes a finding: all thresholds, with their reasons."""

from __future__ import annotations

from typing import Any

from keras_adamx.core.arguments import Declared, count, hyperparameter


def _number(default: float, **bounds: Any) -> Any:
    return hyperparameter(default, scheduled=False, **bounds)


class _Numbers(Declared):
    """What sets the declared arguments; `Declared` gives its subclasses a signature."""

    def __init__(self, **arguments: Any) -> None:
        for name, value in self.bind(arguments).items():
            setattr(self, name, value)


class Thresholds(_Numbers):
    """The numbers beyond which `diagnose` reports.

    They are set so that a healthy training stays far from them: a false alarm costs
    more than a fault that is found a little later.

    Args:
        large_input: Root mean square of an input, or of a column of a table, above
            which it is not normalised. Standardised inputs have 1, pixels in [0, 1]
            less. Initialisers are made for about 1, and Keras' optimizers for what
            comes of it. At 10 the outputs of the first layer are ten times as large.
        small_input: Root mean square of a whole input below which it is too small to
            be seen beside a bias.
        offset: |mean| in standard deviations above which an input is an offset with
            little on top. Pixels in [0, 1] have about 1.
        constant_share: Share of columns of a table that may be constantly zero. Counts
            and pixels at the border often are.
        imbalance: Number of rows of the most frequent class for one of the rarest.
            Below 10, accuracy still says something and no class is drowned.
        ordered: Neighbouring rows of the same class, in standard deviations beyond
            what a random order gives. 8 does not happen by chance.
        unrelated: p-value above which a probe sees no relation between inputs and
            labels. Related ones give the smallest there is, 1 / (permutations + 1).
        permutations: Number of permutations of the labels, for the p-value.
        probe_rows: Number of rows below which relations are not judged: with fewer,
            weak ones are not seen.
        initial_loss: Cross-entropy at the start, in units of what guessing gives: ln C
            or ln 2. Default initialisers give 1 to 2 times that.
        initial_squared_error: Squared error at the start, in units of the variance of
            the targets. Default initialisers give up to 4 times that.
        depth_ratio: Factor by which the outputs or gradients of layers may shrink or
            grow from one end of the model to the other. Ten layers of ReLU under
            Glorot's initialiser shrink by about 30.
        dead_units: Share of the ReLU units of a layer that may be zero for all rows.
            Inputs that are all positive leave some dead in healthy layers.
        lost_updates: Share of the weights of 16 bits that may stay as they are, in
            spite of their gradients.
        high_rate: Factor by which the loss may grow within the trial steps. On the
            digits, rates that trained gave at most 1.5, rates that exploded 2.9 and
            more.
        low_rate: Root mean square of an update, in units of that of the weights, below
            which nothing moves: 10 000 such steps change a weight by a hundredth.
        trial_steps: Steps of the trial with the configured optimizer.

    Raises:
        TypeError: An argument is unknown or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> strict = keras_adamx.doctor.Thresholds(large_input=4.0)
        >>> strict.large_input
        4.0
    """

    large_input: float = _number(10.0, above=0.0)
    small_input: float = _number(1e-2, at_least=0.0)
    offset: float = _number(10.0, above=0.0)
    constant_share: float = _number(0.5, at_least=0.0, at_most=1.0)
    imbalance: float = _number(10.0, above=1.0)
    ordered: float = _number(8.0, above=0.0)
    unrelated: float = _number(0.05, above=0.0, below=1.0)
    permutations: int = count(99, at_least=19)
    probe_rows: int = count(200)
    initial_loss: float = _number(3.0, above=1.0)
    initial_squared_error: float = _number(10.0, above=1.0)
    depth_ratio: float = _number(1e3, above=1.0)
    dead_units: float = _number(0.7, at_least=0.0, at_most=1.0)
    lost_updates: float = _number(0.5, at_least=0.0, at_most=1.0)
    high_rate: float = _number(2.0, above=1.0)
    low_rate: float = _number(1e-6, at_least=0.0)
    trial_steps: int = count(8)


class CourseThresholds(_Numbers):
    """The numbers beyond which `callbacks.Doctor` reports.

    They are set so that a healthy training stays far from them.

    Args:
        window: Number of batches of whose losses the median is taken: enough for single
            batches not to matter.
        learnt: A loss below this share of its beginning is learnt well enough that
            noise, stillness and small gradients are no faults.
        divergence: Factor by which the loss may rise above its first batches.
        long_step: Norm of a step in units of the norm of all weights, with which a loss
            that does not fall jumps to and fro. Adam at its default has about 0.01.
        plateau: Least part of the loss that has to be gone after `plateau_batches`.
        plateau_batches: Batches after which a loss that stands still is a plateau.
        explosion: Factor by which gradients may grow over the beginning. While a model
            learns they often double or triple.
        depth_ratio: Factor between the gradients of two matrices of a model, per
            element, above which one of them vanishes. Ten times is usual.
        large_update: Norm of a step in units of the norm of the matrix that it
            changes. Adam at its default moves by a thousandth to a hundredth.
        small_update: The same for all weights together, below which nothing moves: a
            thousand such steps change a weight by a ten-thousandth.
        unmoved: Share of the elements of weights of 16 bits that an epoch may leave
            untouched, of those with a gradient.
        overfitting: Factor by which the validation loss may rise above its best while
            the training loss falls.
        patience: Epochs for which it has to have risen.
        ended_rate: Share of the highest learning rate below which a schedule has ended.
        ended_before: Share of the training that has to be over by then.
        epsilon_share: Share of the elements whose denominator may be less than epsilon.
        stale: Root of the second moment in units of the gradients of the last window.
            They differ by a factor of two or three where gradients shrink slowly.

    Raises:
        TypeError: An argument is unknown or of the wrong type.
        ValueError: An argument is out of its range.

    Example:
        >>> keras_adamx.doctor.CourseThresholds(patience=10).patience
        10
    """

    window: int = count(20, at_least=4)
    learnt: float = _number(0.3, above=0.0, below=1.0)
    divergence: float = _number(2.0, above=1.0)
    long_step: float = _number(0.05, above=0.0)
    plateau: float = _number(0.02, above=0.0, below=1.0)
    plateau_batches: int = count(150)
    explosion: float = _number(100.0, above=1.0)
    depth_ratio: float = _number(1e4, above=1.0)
    large_update: float = _number(0.2, above=0.0)
    small_update: float = _number(1e-7, above=0.0)
    unmoved: float = _number(0.9, above=0.0, below=1.0)
    overfitting: float = _number(1.5, above=1.0)
    patience: int = count(5)
    ended_rate: float = _number(1e-3, above=0.0, below=1.0)
    ended_before: float = _number(0.7, above=0.0, below=1.0)
    epsilon_share: float = _number(0.5, above=0.0, below=1.0)
    stale: float = _number(30.0, above=1.0)
