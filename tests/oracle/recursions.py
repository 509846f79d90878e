"""The update rules as plain float64 recursions, written from their papers.

Each rule takes the gradients of one tensor, step by step, and yields the direction of
each step; ``follow`` moves the weights along it and decays them. Adafactor, whose step
depends on the weights, looks at them and yields whole steps, learning rate included.
Every number may also be a function of the updates made so far. Nothing here knows Keras
or this package: a number that both get right was worked out twice. Arguments and
defaults are those of the classes.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Number = float | Callable[[int], float]

Array = np.ndarray


def steps(values: Iterable[Any], *numbers: Number) -> Iterator[tuple[Any, ...]]:
    """Give the numbers of each step beside its gradient, or whatever it has."""
    for t, value in enumerate(values):
        yield value, *(x(t) if callable(x) else x for x in numbers)


def sgd(
    gradients: Iterable[Array],
    *,
    momentum: Number = 0.0,
    dampening: Number = 0.0,
    nesterov: bool = False,
) -> Iterator[Array]:
    """Gradient descent with Polyak's or Nesterov's momentum."""
    b = 0.0
    for g, mu, delta in steps(gradients, momentum, dampening):
        b = mu * b + (1 - delta) * g
        yield (1 - delta) * g + mu * b if nesterov else b


def rmsprop(
    gradients: Iterable[Array],
    *,
    rho: Number = 0.9,
    momentum: Number = 0.0,
    epsilon: Number = 1e-8,
    centered: bool = False,
    epsilon_placement: str = "outside",
) -> Iterator[Array]:
    """RMSprop; centred, it divides by the standard deviation (Graves)."""
    v = a = b = 0.0
    for g, r, mu, e in steps(gradients, rho, momentum, epsilon):
        v = r * v + (1 - r) * g**2
        a = r * a + (1 - r) * g
        d = v - a**2 if centered else v
        if epsilon_placement == "inside":
            step = g / np.sqrt(d + e)
        else:
            step = g / (np.sqrt(d) + e)
        b = mu * b + step
        yield b


def adagrad(
    gradients: Iterable[Array],
    *,
    initial_accumulator_value: float = 0.1,
    epsilon: Number = 1e-8,
    epsilon_placement: str = "outside",
) -> Iterator[Array]:
    """Adagrad: the squares are summed, not averaged."""
    a = initial_accumulator_value
    for g, e in steps(gradients, epsilon):
        a = a + g**2
        if epsilon_placement == "inside":
            yield g / np.sqrt(a + e)
        else:
            yield g / (np.sqrt(a) + e)


def adadelta(
    gradients: Iterable[Array], *, rho: Number = 0.95, epsilon: Number = 1e-6
) -> Iterator[Array]:
    """Adadelta: the ratio of the sizes of past steps and of past gradients."""
    squares = moved = 0.0
    for g, r, e in steps(gradients, rho, epsilon):
        squares = r * squares + (1 - r) * g**2
        step = np.sqrt(moved + e) / np.sqrt(squares + e) * g
        moved = r * moved + (1 - r) * step**2
        yield step


def adam(
    gradients: Iterable[Array],
    *,
    beta_1: Number = 0.9,
    beta_2: Number = 0.999,
    epsilon: Number = 1e-8,
    amsgrad: bool = False,
    bias_correction: bool = True,
    epsilon_placement: str = "outside",
) -> Iterator[Array]:
    """Adam and, with decay of the weights, AdamW.

    An average begun at zero has gathered the weight 1 - p by now, p being the product
    of all its decays, whether they are alike or not.
    """
    m = v = largest = 0.0
    p1 = p2 = 1.0
    for g, b1, b2, e in steps(gradients, beta_1, beta_2, epsilon):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        p1, p2 = p1 * b1, p2 * b2
        largest = np.maximum(largest, v)
        second = largest if amsgrad else v
        c1 = 1 - p1 if bias_correction else 1.0
        c2 = 1 - p2 if bias_correction else 1.0
        if epsilon_placement == "hat":
            yield np.sqrt(c2) / c1 * m / (np.sqrt(second) + e)
        elif epsilon_placement == "inside":
            yield m / c1 / np.sqrt(second / c2 + e)
        else:
            yield m / c1 / (np.sqrt(second / c2) + e)


def adamax(
    gradients: Iterable[Array],
    *,
    beta_1: Number = 0.9,
    beta_2: Number = 0.999,
    epsilon: Number = 1e-8,
) -> Iterator[Array]:
    """AdaMax: Adam with the largest gradient in place of the mean square."""
    m = u = 0.0
    p1 = 1.0
    for g, b1, b2, e in steps(gradients, beta_1, beta_2, epsilon):
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g) + e)
        p1 *= b1
        yield m / (1 - p1) / u


def nadam(
    gradients: Iterable[Array],
    *,
    beta_1: Number = 0.9,
    beta_2: Number = 0.999,
    epsilon: Number = 1e-8,
    momentum_decay: Number = 0.004,
) -> Iterator[Array]:
    """NAdam: Nesterov's momentum in Adam, with Dozat's schedule of it.

    The momentum of the following step is taken from the arguments of this one.
    """
    m = v = 0.0
    product = p2 = 1.0
    rows = steps(gradients, beta_1, beta_2, epsilon, momentum_decay)
    for t, (g, b1, b2, e, psi) in enumerate(rows, start=1):
        now, following = (b1 * (1 - 0.5 * 0.96 ** (k * psi)) for k in (t, t + 1))
        product *= now
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        p2 *= b2
        ahead = following * m / (1 - product * following)
        ahead = ahead + (1 - now) * g / (1 - product)
        yield ahead / (np.sqrt(v / (1 - p2)) + e)


def sdprop(
    gradients: Iterable[Array],
    *,
    rho: Number = 0.99,
    epsilon: Number = 1e-8,
    momentum: Number = 0.0,
    bias_correction: bool = True,
) -> Iterator[Array]:
    """SDProp: the gradient over its standard deviation, from the old mean."""
    mean = c = b = 0.0
    p = 1.0
    for g, r, e, mu in steps(gradients, rho, epsilon, momentum):
        c = r * c + r * (1 - r) * (g - mean) ** 2
        mean = r * mean + (1 - r) * g
        p *= r
        step = g / (np.sqrt(c) + e)
        if bias_correction:
            step = np.sqrt(1 - p) * step
        b = mu * b + step
        yield b


def adastand(
    gradients: Iterable[Array],
    *,
    beta_1: Number = 0.9,
    beta_2: Number = 0.999,
    epsilon: Number = 1e-8,
    amsgrad: bool = False,
) -> Iterator[Array]:
    """Adastand: Adam on the deviation from the old first moment."""
    m = v = largest = 0.0
    p1 = p2 = 1.0
    for g, b1, b2, e in steps(gradients, beta_1, beta_2, epsilon):
        deviation = g - m
        v = b2 * v + b2 * (1 - b2) * deviation**2
        m = b1 * m + (1 - b1) * deviation
        p1, p2 = p1 * b1, p2 * b2
        largest = np.maximum(largest, v)
        second = largest if amsgrad else v
        rate = np.sqrt(1 - p2) / (1 - p1)
        yield rate * m / (np.sqrt(second) + e)


def lion(
    gradients: Iterable[Array], *, beta_1: Number = 0.9, beta_2: Number = 0.99
) -> Iterator[Array]:
    """Lion: the sign of an average; the average that is kept is another one."""
    m = 0.0
    for g, b1, b2 in steps(gradients, beta_1, beta_2):
        yield np.sign(b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g


def adafactor(
    gradients: Iterable[Array],
    weights: Callable[[], Array],
    learning_rate: Number,
    *,
    beta_2_decay: Number = -0.8,
    epsilon_1: Number = 1e-30,
    epsilon_2: Number = 1e-3,
    clip_threshold: Number = 1.0,
    relative_step: bool = True,
    scale_parameter: bool = True,
    beta_1: Number | None = None,
) -> Iterator[Array]:
    """Adafactor: a second moment of rank one over the last two axes."""

    def root_mean_square(x: Array) -> float:
        return np.sqrt(np.mean(x**2))

    rows = columns = second = m = 0.0
    numbers = (learning_rate, beta_2_decay, epsilon_1, epsilon_2, clip_threshold)
    values = steps(gradients, *numbers, beta_1)
    for t, (g, rate, power, e1, e2, largest, b1) in enumerate(values, start=1):
        b2 = 1 - t**power
        squares = g**2 + e1
        if g.ndim >= 2:
            rows = b2 * rows + (1 - b2) * squares.mean(axis=-1)
            columns = b2 * columns + (1 - b2) * squares.mean(axis=-2)
            product = rows[..., :, None] * columns[..., None, :]
            second = product / rows.mean(axis=-1)[..., None, None]
        else:
            second = b2 * second + (1 - b2) * squares
        update = g / np.sqrt(second)
        update = update / max(1.0, root_mean_square(update) / largest)
        size = min(rate, 1 / np.sqrt(t)) if relative_step else rate
        if scale_parameter:
            size *= max(e2, root_mean_square(weights()))
        m = size * update if b1 is None else b1 * m + (1 - b1) * size * update
        yield m


RULES: dict[str, Callable[..., Iterator[Array]]] = {
    "SGD": sgd,
    "RMSprop": rmsprop,
    "Adagrad": adagrad,
    "Adadelta": adadelta,
    "Adam": adam,
    "AdamW": adam,
    "Adamax": adamax,
    "Nadam": nadam,
    "SDProp": sdprop,
    "Adastand": adastand,
    "Lion": lion,
}


def follow(
    optimizer: str,
    weights: Array,
    gradients: Iterable[Array],
    learning_rate: Number,
    *,
    weight_decay: Number = 0.0,
    weight_decay_kind: str = "decoupled",
    peak_learning_rate: float | None = None,
    **arguments: Any,
) -> Iterator[Array]:
    """Move the weights by the rule of the class of that name, and decay them.

    Step, penalty and decay all see the weights from before the step. Decoupled decay
    and the penalty ("l2") are those of arXiv:1711.05101, "corrected" is AdamC,
    arXiv:2506.02285, "cautious" arXiv:2510.12402.
    """
    w = weights

    def penalised() -> Iterator[Array]:
        for g, decay in steps(gradients, weight_decay):
            yield g + decay * w if weight_decay_kind == "l2" else g

    def shrinkage(move: Array, rate: float, decay: float) -> Array:
        if weight_decay_kind == "l2":
            return 0 * w
        if weight_decay_kind == "independent":
            return decay * w
        if weight_decay_kind == "corrected":
            return rate * (rate / peak_learning_rate) * decay * w
        if weight_decay_kind == "cautious":
            return rate * decay * np.where(move * w >= 0, w, 0.0)
        return rate * decay * w

    if optimizer == "Adafactor":
        moves = adafactor(penalised(), lambda: w, learning_rate, **arguments)
    else:
        directions = RULES[optimizer](penalised(), **arguments)
        moves = (rate * u for u, rate in steps(directions, learning_rate))
    for move, rate, decay in steps(moves, learning_rate, weight_decay):
        w = w - move - shrinkage(move, rate, decay)
        yield w


def step_decay(
    step: int,
    *,
    initial_learning_rate: float,
    step_size: int,
    gamma: float = 0.1,
    steps_per_epoch: int = 1,
) -> float:
    """Return the rate at a 0-based step: times gamma after each step_size."""
    return initial_learning_rate * gamma ** (step // (step_size * steps_per_epoch))


def piecewise(step: int, *, boundaries: list[int], values: list[float]) -> float:
    """Return the rate at a 0-based step; a boundary has the rate before it."""
    return values[sum(step > boundary for boundary in boundaries)]


SCHEDULES: dict[str, Callable[..., float]] = {
    "StepDecay": step_decay,
    "PiecewiseConstantDecay": piecewise,
}


def number(value: Any) -> Any:
    """Make a function of the step of the name of a schedule and its arguments."""
    if not isinstance(value, dict):
        return value
    return functools.partial(SCHEDULES[value["class"]], **value["arguments"])


LEARNING_RATES = dict.fromkeys([*RULES, "Adafactor"], 0.001)
LEARNING_RATES |= {"SGD": 0.01, "Adadelta": 1.0, "Lion": 1e-4}


CLIPPING = ("clipvalue", "clipnorm", "global_clipnorm")


def clipped(
    gradients: Sequence[Array],
    *,
    clipvalue: float | None = None,
    clipnorm: float | None = None,
    global_clipnorm: float | None = None,
) -> list[Array]:
    """Clip the gradients of all tensors of one step."""
    norms = [np.sqrt(np.sum(g**2)) for g in gradients]
    if clipvalue is not None:
        return [np.clip(g, -clipvalue, clipvalue) for g in gradients]
    if clipnorm is not None:
        return [
            g * clipnorm / max(norm, clipnorm)
            for g, norm in zip(gradients, norms, strict=True)
        ]
    if global_clipnorm is not None:
        norm = np.sqrt(sum(n**2 for n in norms))
        return [g * global_clipnorm / max(norm, global_clipnorm) for g in gradients]
    return list(gradients)


def accumulated(gradients: Sequence[Sequence[Array]], steps: int) -> list[list[Array]]:
    """Average the gradients of every so many successive steps."""
    groups = [gradients[i : i + steps] for i in range(0, len(gradients), steps)]
    return [
        [np.mean(tensor, axis=0) for tensor in zip(*group, strict=True)]
        for group in groups
    ]


def moving_average(path: Iterable[Array], momentum: Any) -> list[Array]:
    """Average the weights after each step; the first counts in full."""
    averages: list[Array] = []
    for w, mu in steps(path, number(momentum)):
        old = averages[-1] if averages else w
        averages.append(mu * old + (1 - mu) * w)
    return averages


def run(
    optimizer: str,
    arguments: dict[str, Any],
    weights: Sequence[Array],
    gradients: Sequence[Sequence[Array]],
) -> list[list[Array]]:
    """Weights of all tensors after each step, from the arguments of the class.

    A schedule is given as the name of its class and its arguments, and counts updates,
    not the gradients accumulated for one. A learning rate that is a number is rounded
    to float32, which is what Keras keeps.
    """
    arguments = {key: number(value) for key, value in arguments.items()}
    rate = arguments.pop("learning_rate", LEARNING_RATES[optimizer])
    if not callable(rate):
        rate = float(np.float32(rate))
        arguments.setdefault("peak_learning_rate", rate)
    if optimizer == "AdamW":
        arguments.setdefault("weight_decay", 0.01)
    every = arguments.pop("gradient_accumulation_steps", 1)
    scale = arguments.pop("loss_scale_factor", 1.0)
    names = [key for key in CLIPPING if key in arguments]
    limits = [arguments.pop(key) for key in names]
    unscaled = [[g / scale for g in step] for step in gradients]
    applied = [
        clipped(step, **dict(zip(names, bounds, strict=True)))
        for step, *bounds in steps(accumulated(unscaled, every), *limits)
    ]
    paths = [
        follow(optimizer, w, own, rate, **arguments)
        for w, own in zip(weights, zip(*applied, strict=True), strict=True)
    ]
    states = [list(weights), *(list(state) for state in zip(*paths, strict=True))]
    return [states[step // every] for step in range(1, len(gradients) + 1)]
