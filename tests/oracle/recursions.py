"""The update rules as plain float64 recursions, written from their papers.

Each rule takes the gradients of one tensor, step by step, and yields the direction of
each step; ``follow`` moves the weights along it. Adafactor, whose step depends on the
weights, moves them itself. Nothing here knows Keras or this package: a number that
both get right was worked out twice. Arguments and defaults are those of the classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Array = np.ndarray


def sgd(
    gradients: Iterable[Array],
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
) -> Iterator[Array]:
    """Gradient descent with Polyak's or Nesterov's momentum."""
    b = 0.0
    for g in gradients:
        b = momentum * b + (1 - dampening) * g
        yield (1 - dampening) * g + momentum * b if nesterov else b


def rmsprop(
    gradients: Iterable[Array],
    *,
    rho: float = 0.9,
    momentum: float = 0.0,
    epsilon: float = 1e-8,
    centered: bool = False,
    epsilon_placement: str = "outside",
) -> Iterator[Array]:
    """RMSprop; centred, it divides by the standard deviation (Graves)."""
    v = a = b = 0.0
    for g in gradients:
        v = rho * v + (1 - rho) * g**2
        a = rho * a + (1 - rho) * g
        d = v - a**2 if centered else v
        if epsilon_placement == "inside":
            step = g / np.sqrt(d + epsilon)
        else:
            step = g / (np.sqrt(d) + epsilon)
        b = momentum * b + step
        yield b


def adagrad(
    gradients: Iterable[Array],
    *,
    initial_accumulator_value: float = 0.1,
    epsilon: float = 1e-8,
    epsilon_placement: str = "outside",
) -> Iterator[Array]:
    """Adagrad: the squares are summed, not averaged."""
    a = initial_accumulator_value
    for g in gradients:
        a = a + g**2
        if epsilon_placement == "inside":
            yield g / np.sqrt(a + epsilon)
        else:
            yield g / (np.sqrt(a) + epsilon)


def adadelta(
    gradients: Iterable[Array], *, rho: float = 0.95, epsilon: float = 1e-6
) -> Iterator[Array]:
    """Adadelta: the ratio of the sizes of past steps and of past gradients."""
    squares = steps = 0.0
    for g in gradients:
        squares = rho * squares + (1 - rho) * g**2
        step = np.sqrt(steps + epsilon) / np.sqrt(squares + epsilon) * g
        steps = rho * steps + (1 - rho) * step**2
        yield step


def adam(
    gradients: Iterable[Array],
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    amsgrad: bool = False,
    bias_correction: bool = True,
    epsilon_placement: str = "outside",
) -> Iterator[Array]:
    """Adam and, with decay of the weights, AdamW."""
    m = v = largest = 0.0
    for t, g in enumerate(gradients, start=1):
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        largest = np.maximum(largest, v)
        second = largest if amsgrad else v
        c1 = 1 - beta_1**t if bias_correction else 1.0
        c2 = 1 - beta_2**t if bias_correction else 1.0
        if epsilon_placement == "hat":
            yield np.sqrt(c2) / c1 * m / (np.sqrt(second) + epsilon)
        elif epsilon_placement == "inside":
            yield m / c1 / np.sqrt(second / c2 + epsilon)
        else:
            yield m / c1 / (np.sqrt(second / c2) + epsilon)


def adamax(
    gradients: Iterable[Array],
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
) -> Iterator[Array]:
    """AdaMax: Adam with the largest gradient in place of the mean square."""
    m = u = 0.0
    for t, g in enumerate(gradients, start=1):
        m = beta_1 * m + (1 - beta_1) * g
        u = np.maximum(beta_2 * u, np.abs(g) + epsilon)
        yield m / (1 - beta_1**t) / u


def nadam(
    gradients: Iterable[Array],
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    momentum_decay: float = 0.004,
) -> Iterator[Array]:
    """NAdam: Nesterov's momentum in Adam, with Dozat's schedule of it."""

    def momentum_at(t: int) -> float:
        return beta_1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))

    m = v = 0.0
    product = 1.0
    for t, g in enumerate(gradients, start=1):
        now, following = momentum_at(t), momentum_at(t + 1)
        product *= now
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        ahead = following * m / (1 - product * following)
        ahead = ahead + (1 - now) * g / (1 - product)
        yield ahead / (np.sqrt(v / (1 - beta_2**t)) + epsilon)


def sdprop(
    gradients: Iterable[Array],
    *,
    rho: float = 0.99,
    epsilon: float = 1e-8,
    momentum: float = 0.0,
    bias_correction: bool = True,
) -> Iterator[Array]:
    """SDProp: the gradient over its standard deviation, from the old mean."""
    mean = c = b = 0.0
    for t, g in enumerate(gradients, start=1):
        c = rho * c + rho * (1 - rho) * (g - mean) ** 2
        mean = rho * mean + (1 - rho) * g
        step = g / (np.sqrt(c) + epsilon)
        if bias_correction:
            step = np.sqrt(1 - rho**t) * step
        b = momentum * b + step
        yield b


def adastand(
    gradients: Iterable[Array],
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    amsgrad: bool = False,
) -> Iterator[Array]:
    """Adastand: Adam on the deviation from the old first moment."""
    m = v = largest = 0.0
    for t, g in enumerate(gradients, start=1):
        deviation = g - m
        v = beta_2 * v + beta_2 * (1 - beta_2) * deviation**2
        m = beta_1 * m + (1 - beta_1) * deviation
        largest = np.maximum(largest, v)
        second = largest if amsgrad else v
        rate = np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        yield rate * m / (np.sqrt(second) + epsilon)


def adafactor(
    weights: Array,
    gradients: Iterable[Array],
    learning_rates: Iterable[float],
    *,
    weight_decay: float = 0.0,
    beta_2_decay: float = -0.8,
    epsilon_1: float = 1e-30,
    epsilon_2: float = 1e-3,
    clip_threshold: float = 1.0,
    relative_step: bool = True,
    scale_parameter: bool = True,
    beta_1: float | None = None,
) -> Iterator[Array]:
    """Adafactor: a second moment of rank one over the last two axes."""

    def root_mean_square(x: Array) -> float:
        return np.sqrt(np.mean(x**2))

    w = weights
    rows = columns = second = m = 0.0
    for t, (g, rate) in enumerate(zip(gradients, learning_rates, strict=True), start=1):
        beta_2 = 1 - t**beta_2_decay
        squares = g**2 + epsilon_1
        if g.ndim >= 2:
            rows = beta_2 * rows + (1 - beta_2) * squares.mean(axis=-1)
            columns = beta_2 * columns + (1 - beta_2) * squares.mean(axis=-2)
            product = rows[..., :, None] * columns[..., None, :]
            second = product / rows.mean(axis=-1)[..., None, None]
        else:
            second = beta_2 * second + (1 - beta_2) * squares
        update = g / np.sqrt(second)
        update = update / max(1.0, root_mean_square(update) / clip_threshold)
        size = min(rate, 1 / np.sqrt(t)) if relative_step else rate
        if scale_parameter:
            size *= max(epsilon_2, root_mean_square(w))
        update = size * update
        if beta_1 is not None:
            m = beta_1 * m + (1 - beta_1) * update
            update = m
        w = w - update - rate * weight_decay * w
        yield w


def follow(
    weights: Array,
    directions: Iterable[Array],
    learning_rates: Iterable[float],
    weight_decay: float = 0.0,
) -> Iterator[Array]:
    """Move the weights; both terms see the weights from before the step."""
    w = weights
    for direction, rate in zip(directions, learning_rates, strict=True):
        w = w - rate * (direction + weight_decay * w)
        yield w


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
}


def trajectory(
    optimizer: str,
    weights: Array,
    gradients: Iterable[Array],
    learning_rates: Iterable[float],
    weight_decay: float | None = None,
    **arguments: Any,
) -> list[Array]:
    """Weights of one tensor after each step of the class of that name."""
    if weight_decay is None:
        weight_decay = 0.01 if optimizer == "AdamW" else 0.0
    if optimizer == "Adafactor":
        path = adafactor(
            weights, gradients, learning_rates, weight_decay=weight_decay, **arguments
        )
    else:
        directions = RULES[optimizer](gradients, **arguments)
        path = follow(weights, directions, learning_rates, weight_decay)
    return list(path)


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
LEARNING_RATES = dict.fromkeys([*RULES, "Adafactor"], 0.001)
LEARNING_RATES |= {"SGD": 0.01, "Adadelta": 1.0}


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


def moving_average(path: Iterable[Array], momentum: float) -> list[Array]:
    """Average the weights after each step; the first counts in full."""
    averages: list[Array] = []
    for w in path:
        old = averages[-1] if averages else w
        averages.append(momentum * old + (1 - momentum) * w)
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
    arguments = dict(arguments)
    rate = arguments.pop("learning_rate", LEARNING_RATES[optimizer])
    every = arguments.pop("gradient_accumulation_steps", 1)
    updates = len(gradients) // every
    if isinstance(rate, dict):
        schedule = SCHEDULES[rate["class"]]
        rates = [schedule(t, **rate["arguments"]) for t in range(updates)]
    else:
        rates = [float(np.float32(rate))] * updates
    scale = arguments.pop("loss_scale_factor", 1.0)
    limits = {key: arguments.pop(key) for key in CLIPPING if key in arguments}
    unscaled = [[g / scale for g in step] for step in gradients]
    applied = [clipped(step, **limits) for step in accumulated(unscaled, every)]
    paths = [
        trajectory(optimizer, w, own, rates, **arguments)
        for w, own in zip(weights, zip(*applied, strict=True), strict=True)
    ]
    states = [list(weights), *(list(state) for state in zip(*paths, strict=True))]
    return [states[step // every] for step in range(1, len(gradients) + 1)]
