"""The update rules as plain float64 recursions, written from their papers.

Each rule takes the gradients of one tensor, step by step, and yields the direction of
each step; ``follow`` moves the weights along it and decays them. Adafactor, LAMB and
LARS, whose steps depend on the weights, look at them and yield whole steps, learning
rate included. Schedule-Free yields its weights, and Prodigy, which measures all tensors
at once, those of all of them.
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


def lamb(
    gradients: Iterable[Array],
    weights: Callable[[], Array],
    learning_rate: Number,
    *,
    weight_decay: Number = 0.0,
    lower: Number = 0.0,
    upper: Number | None = None,
    **arguments: Any,
) -> Iterator[Array]:
    """LAMB: the direction of Adam and its decay, of the length of the weights."""
    directions = adam(gradients, **{"epsilon": 1e-6, **arguments})
    values = steps(directions, learning_rate, weight_decay, lower, upper)
    for u, rate, decay, least, most in values:
        u = u + decay * weights()
        size, length = np.linalg.norm(weights()), np.linalg.norm(u)
        bounded = np.clip(size, least, np.inf if most is None else most)
        yield rate * (bounded / length if size > 0 and length > 0 else 1.0) * u


def lars(
    gradients: Iterable[Array],
    weights: Callable[[], Array],
    learning_rate: Number,
    *,
    weight_decay: Number = 1e-4,
    momentum: Number = 0.9,
    trust_coefficient: Number = 1e-3,
    epsilon: Number = 1e-8,
    nesterov: bool = False,
) -> Iterator[Array]:
    """LARS: momentum of penalised gradients that are as long as the weights."""
    b = 0.0
    numbers = (learning_rate, weight_decay, momentum, trust_coefficient, epsilon)
    for g, rate, decay, mu, trust, e in steps(gradients, *numbers):
        if g.ndim >= 2:
            size, length = np.linalg.norm(weights()), np.linalg.norm(g)
            ratio = 1.0
            if size > 0 and length > 0:
                ratio = trust * size / (length + decay * size + e)
            g = ratio * (g + decay * weights())
        b = mu * b + g
        yield rate * (g + mu * b if nesterov else b)


#: The polynomials of Muon's authors and, one after the other, those of Polar Express,
#: as its authors print them: of all but the last, which repeats, the argument is 1.01
#: times too large for safety.
STANDARD = (3.4445, -4.7750, 2.0315)
POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
STEADY = (1.875, -1.25, 0.375)
SAFETY = 1.01


def orthogonal(matrix: Array, coefficients: str, ns_steps: int) -> Array:
    """Apply the polynomials to the singular values themselves.

    Both papers divide by the norm and 1e-7.
    """
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    length = np.linalg.norm(values)
    if coefficients == "standard":
        values = values / (length + 1e-7)
        polynomials = [(*STANDARD, 1.0)] * ns_steps
    else:
        values = values / (SAFETY * length + 1e-7)
        polynomials = [(*each, SAFETY) for each in POLAR_EXPRESS[:ns_steps]]
        polynomials += [(*STEADY, 1.0)] * (ns_steps - len(polynomials))
    for a, b, c, safety in polynomials:
        x = values / safety
        values = a * x + b * x**3 + c * x**5
    return (left * values) @ right


def muon(
    gradients: Iterable[Array],
    *,
    momentum: Number = 0.95,
    nesterov: bool = True,
    scale: str = "plain",
    rms_rate: Number = 0.2,
    coefficients: str = "standard",
    ns_steps: int = 5,
) -> Iterator[Array]:
    """Muon of one kernel, whose last axis is that of the outputs."""
    m = 0.0
    for g, mu, size in steps(gradients, momentum, rms_rate):
        m = mu * m + (1 - mu) * g
        u = mu * m + (1 - mu) * g if nesterov else m
        outputs = g.shape[-1]
        inputs = g.size // outputs
        if scale == "plain":
            size = np.sqrt(max(1.0, outputs / inputs))
        elif scale == "spectral":
            size = np.sqrt(outputs / inputs)
        else:
            size = size * np.sqrt(max(inputs, outputs))
        matrix = orthogonal(u.reshape(inputs, outputs), coefficients, ns_steps)
        yield size * matrix.reshape(g.shape)


def schedule_free(
    weights: Array,
    gradients: Iterable[Array],
    learning_rate: Number,
    *,
    adaptive: bool,
    beta_1: float = 0.9,
    beta_2: Number = 0.999,
    epsilon: Number = 1e-8,
    weight_decay: Number = 0.0,
    warmup_steps: int = 0,
    r: Number = 0.0,
    weight_lr_power: Number = 2.0,
) -> Iterator[tuple[Array, Array]]:
    """Schedule-Free: weights to train at, and their average to evaluate at."""
    x = y = z = weights
    v = total = largest = 0.0
    p2 = 1.0
    numbers = (learning_rate, beta_2, epsilon, weight_decay, r, weight_lr_power)
    values = steps(gradients, *numbers)
    for t, (u, rate, b2, e, decay, power, rate_power) in enumerate(values, start=1):
        if adaptive:
            v = b2 * v + (1 - b2) * u**2
            p2 *= b2
            u = u / (np.sqrt(v / (1 - p2)) + e)
        if t < warmup_steps:
            rate = rate * t / warmup_steps
        largest = max(largest, rate)
        weight = t**power * largest**rate_power
        total += weight
        share = weight / total if total > 0 else 0.0
        z = z - rate * (u + decay * y)
        x = (1 - share) * x + share * z
        y = (1 - beta_1) * z + beta_1 * x
        yield y, x


def prodigy(
    weights: Sequence[Array],
    gradients: Iterable[Sequence[Array]],
    learning_rate: Number,
    *,
    beta_1: Number = 0.9,
    beta_2: Number = 0.999,
    beta_3: Number | None = None,
    epsilon: Number = 1e-8,
    weight_decay: Number = 0.0,
    bias_correction: bool = False,
    safeguard_warmup: bool = False,
    d0: float = 1e-6,
    d_coef: Number = 1.0,
    growth_rate: Number | None = None,
) -> Iterator[list[Array]]:
    """Prodigy: all tensors in one long vector, as the paper has them.

    While the estimate is the first one, its growth is limited from what it jumps to.
    """
    ends = np.cumsum([w.size for w in weights])

    def joined(tensors: Sequence[Array]) -> Array:
        return np.concatenate([np.ravel(x) for x in tensors])

    w = start = joined(weights)
    m = v = s = numerator = 0.0
    d = largest = d0
    p1 = p2 = 1.0
    numbers = (learning_rate, beta_1, beta_2, beta_3, epsilon, weight_decay)
    for step, rate, b1, b2, b3, e, decay, factor, growth in steps(
        gradients, *numbers, d_coef, growth_rate
    ):
        g = joined(step)
        b3 = np.sqrt(b2) if b3 is None else b3
        p1, p2 = p1 * b1, p2 * b2
        c = np.sqrt(1 - p2) / (1 - p1) if bias_correction else 1.0
        size = d * rate * c
        numerator = b3 * numerator + d / d0 * size * (g @ (start - w))
        m = b1 * m + (1 - b1) * d * g
        v = b2 * v + (1 - b2) * (d * g) ** 2
        s = b3 * s + d / d0 * (d if safeguard_warmup else size) * g
        estimate = factor * numerator / np.sum(np.abs(s))
        if d == d0:
            d = max(d, estimate)
        largest = max(largest, estimate)
        d = largest if growth is None else min(largest, d * growth)
        w = w - size * (m / (np.sqrt(v) + d * e) + decay * w)
        parts = np.split(w, ends[:-1])
        yield [part.reshape(x.shape) for part, x in zip(parts, weights, strict=True)]


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
    "Muon": muon,
}
#: Rules that look at the weights, and those among them that decay them by themselves.
WHOLE = {"Adafactor": adafactor, "LAMB": lamb, "LARS": lars}
DECAY_THEMSELVES = ("LAMB", "LARS")
#: Whether the gradients are divided by their size.
SCHEDULE_FREE = {"ScheduleFreeSGD": False, "ScheduleFreeAdamW": True}


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

    if optimizer in WHOLE:
        # The penalty of LAMB is one that its moments see.
        if optimizer in DECAY_THEMSELVES and weight_decay_kind == "decoupled":
            arguments["weight_decay"], weight_decay = weight_decay, 0.0
        rule = WHOLE[optimizer]
        moves = rule(penalised(), lambda: w, learning_rate, **arguments)
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


def share_of_muon(
    shapes: Sequence[tuple[int, ...]],
    index: int,
    learning_rate: Number,
    *,
    peak_learning_rate: float | None = None,
    weight_decay: Number = 0.0,
    weight_decay_kind: str = "decoupled",
    exclude_head: bool = True,
    adam_lr_ratio: float = 0.015,
    adam_beta_1: Number = 0.9,
    adam_beta_2: Number = 0.95,
    adam_weight_decay: Number | None = None,
    epsilon: Number = 1e-10,
    **arguments: Any,
) -> tuple[str, Number, dict[str, Any]]:
    """Tell which rule, learning rate and arguments one of some tensors follows."""
    kind = {"weight_decay_kind": weight_decay_kind}
    matrices = [i for i, shape in enumerate(shapes) if len(shape) >= 2]
    is_head = exclude_head and len(matrices) > 1 and index == matrices[-1]
    if index in matrices and not is_head:
        kind |= {"weight_decay": weight_decay, "peak_learning_rate": peak_learning_rate}
        return "Muon", learning_rate, {**arguments, **kind}

    def rate(step: int) -> float:
        now = learning_rate(step) if callable(learning_rate) else learning_rate
        return adam_lr_ratio * now

    if peak_learning_rate is not None:
        kind["peak_learning_rate"] = adam_lr_ratio * peak_learning_rate
    own = weight_decay if adam_weight_decay is None else adam_weight_decay
    kind |= {"beta_1": adam_beta_1, "beta_2": adam_beta_2, "epsilon": epsilon}
    return "AdamW", rate, {"weight_decay": own, **kind}


LEARNING_RATES = dict.fromkeys([*RULES, *WHOLE, *SCHEDULE_FREE, "Prodigy"], 0.001)
LEARNING_RATES |= {"SGD": 0.01, "Adadelta": 1.0, "Lion": 1e-4, "Muon": 0.02}
LEARNING_RATES |= {"LARS": 1.0, "ScheduleFreeSGD": 1.0, "ScheduleFreeAdamW": 0.0025}
LEARNING_RATES |= {"Prodigy": 1.0}
WEIGHT_DECAYS = {"AdamW": 0.01, "LAMB": 0.01, "LARS": 1e-4}


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
    *,
    evaluated: bool = False,
) -> list[list[Array]]:
    """Weights of all tensors after each step, from the arguments of the class.

    A schedule is given as the name of its class and its arguments, and counts updates,
    not the gradients accumulated for one. A learning rate that is a number is rounded
    to float32, which is what Keras keeps. Schedule-Free is evaluated at other weights
    than those that are trained.
    """
    arguments = {key: number(value) for key, value in arguments.items()}
    rate = arguments.pop("learning_rate", LEARNING_RATES[optimizer])
    alone = optimizer in SCHEDULE_FREE or optimizer == "Prodigy"
    if not callable(rate):
        rate = float(np.float32(rate))
        if not alone:
            arguments.setdefault("peak_learning_rate", rate)
    if optimizer in WEIGHT_DECAYS:
        arguments.setdefault("weight_decay", WEIGHT_DECAYS[optimizer])
    every = arguments.pop("gradient_accumulation_steps", 1)
    scale = arguments.pop("loss_scale_factor", 1.0)
    names = [key for key in CLIPPING if key in arguments]
    limits = [arguments.pop(key) for key in names]
    unscaled = [[g / scale for g in step] for step in gradients]
    applied = [
        clipped(step, **dict(zip(names, bounds, strict=True)))
        for step, *bounds in steps(accumulated(unscaled, every), *limits)
    ]

    def path_of(index: int, w: Array, own: Sequence[Array]) -> Iterator[Array]:
        if optimizer in SCHEDULE_FREE:
            adaptive = SCHEDULE_FREE[optimizer]
            both = schedule_free(w, own, rate, adaptive=adaptive, **arguments)
            return (x if evaluated else y for y, x in both)
        if optimizer == "Muon":
            shapes = [each.shape for each in weights]
            name, its_rate, its = share_of_muon(shapes, index, rate, **arguments)
            return follow(name, w, own, its_rate, **its)
        return follow(optimizer, w, own, rate, **arguments)

    if optimizer == "Prodigy":
        path = list(prodigy(weights, applied, rate, **arguments))
    else:
        columns = zip(weights, zip(*applied, strict=True), strict=True)
        paths = [path_of(i, w, own) for i, (w, own) in enumerate(columns)]
        path = [list(state) for state in zip(*paths, strict=True)]
    states = [list(weights), *path]
    return [states[step // every] for step in range(1, len(gradients) + 1)]
