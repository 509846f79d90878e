"""What must hold whatever the formulas say: limits, symmetries, closed forms, twins.

None of this repeats an update rule. Two runs of the package are compared with each
other, with Keras' optimizer of the same rule, or with a path that is known in closed
form.
"""

from __future__ import annotations

import inspect
import itertools
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

import keras_adamx

from ..oracle import driving

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Path = list[np.ndarray]

# Keras converts torch's tensors, which do not know the copy argument of NumPy 2 yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

RATE = 0.0625
STEPS = 8

#: The best precision that the backend has.
PRECISION = driving.best_precision()
#: Rounding of a dozen steps of 1/16 on weights of up to 4.
TOLERANCE = 1e-11 if PRECISION == "float64" else 3e-6

#: Each rule with its moments at work. Two entries of one class differ in structure.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"momentum": 0.8, "dampening": 0.3}),
    "nesterov": ("SGD", {"momentum": 0.8, "nesterov": True}),
    "rmsprop": ("RMSprop", {"rho": 0.8, "momentum": 0.5}),
    "rmsprop_centered": ("RMSprop", {"rho": 0.8, "centered": True, "epsilon": 1e-3}),
    "adagrad": ("Adagrad", {"initial_accumulator_value": 0.25}),
    "adadelta": ("Adadelta", {"rho": 0.8, "epsilon": 1e-3}),
    "adam": ("Adam", {"beta_1": 0.8, "beta_2": 0.9}),
    "amsgrad": ("Adam", {"beta_1": 0.8, "beta_2": 0.6, "amsgrad": True}),
    "adamax": ("Adamax", {"beta_1": 0.8, "beta_2": 0.9}),
    "nadam": ("Nadam", {"beta_1": 0.8, "beta_2": 0.9, "momentum_decay": 0.5}),
    "sdprop": ("SDProp", {"rho": 0.8, "momentum": 0.5, "epsilon": 1e-3}),
    "adastand": ("Adastand", {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    "adafactor": ("Adafactor", {"beta_1": 0.8}),
    "lion": ("Lion", {"beta_1": 0.8, "beta_2": 0.95}),
}
#: The rules that treat each element by itself.
ELEMENTWISE = sorted(VARIANTS.keys() - {"adafactor"})

every_variant = pytest.mark.parametrize("variant", VARIANTS)
elementwise = pytest.mark.parametrize("variant", ELEMENTWISE)


def make(variant: str, **more: Any) -> keras.optimizers.Optimizer:
    """Make the optimizer of a variant, with some arguments changed or added."""
    name, arguments = VARIANTS[variant]
    return make_class(name, **{**arguments, **more})


def make_class(name: str, **arguments: Any) -> keras.optimizers.Optimizer:
    """Make an optimizer by the name of its class."""
    return driving.build(name, {"learning_rate": RATE, **arguments})


def stages(first: float, second: float, third: float) -> dict[str, Any]:
    """Name the schedule of one value for two steps, one for three, one after."""
    arguments = {"boundaries": [1, 4], "values": [first, second, third]}
    return {"class": "PiecewiseConstantDecay", "arguments": arguments}


def stages_at(schedule: dict[str, Any]) -> np.ndarray:
    """List the values of such a schedule at each step."""
    return np.repeat(schedule["arguments"]["values"], [2, 3, STEPS - 5])


def follow_all(
    optimizer: keras.optimizers.Optimizer,
    weights: Sequence[np.ndarray],
    gradients: Sequence[Sequence[np.ndarray]],
) -> list[Path]:
    """Weights of several tensors after each step, in the best precision there is."""
    return driving.run(optimizer, weights, gradients, PRECISION)


def follow(
    optimizer: keras.optimizers.Optimizer,
    weights: np.ndarray,
    gradients: Sequence[np.ndarray],
) -> Path:
    """Weights of one tensor after each step."""
    path = follow_all(optimizer, [weights], [[g] for g in gradients])
    return [weights for (weights,) in path]


def draw(*shape: int, seed: int = 3, steps: int = STEPS) -> tuple[np.ndarray, Path]:
    """Draw weights and gradients that float32 holds exactly."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((steps + 1, *shape)).astype("float32")
    return values[0].astype("float64"), list(values[1:].astype("float64"))


def assert_close(
    actual: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    tolerance: float = TOLERANCE,
) -> None:
    """Compare two paths step by step."""
    for step, (one, other) in enumerate(zip(actual, expected, strict=True), start=1):
        np.testing.assert_allclose(
            one, other, rtol=tolerance, atol=tolerance, err_msg=f"step {step}"
        )


def assert_same_path(
    one: keras.optimizers.Optimizer, other: keras.optimizers.Optimizer
) -> None:
    """Let two optimizers run from the same weights on the same gradients."""
    weights, gradients = draw(4, 3)
    assert_close(follow(one, weights, gradients), follow(other, weights, gradients))


def differs(one: Path, other: Path) -> bool:
    """Tell whether two paths end well apart."""
    return bool(np.max(np.abs(one[-1] - other[-1])) > 1e-3)


# Symmetries that every rule has.


@every_variant
def test_mirrored_gradients_give_the_mirrored_path(variant: str) -> None:
    """No rule prefers a direction; decay included."""
    weights, gradients = draw(4, 3)
    path = follow(make(variant, weight_decay=0.25), weights, gradients)
    mirrored = follow(
        make(variant, weight_decay=0.25), -weights, [-g for g in gradients]
    )
    assert_close(mirrored, [-w for w in path])


@every_variant
def test_the_first_step_goes_downhill(variant: str) -> None:
    """Every element moves against its gradient."""
    weights, gradients = draw(4, 3)
    first = follow(make(variant), weights, gradients[:1])[0]
    assert np.all(np.sign(first - weights) == -np.sign(gradients[0]))


@every_variant
def test_without_gradient_nothing_moves(variant: str) -> None:
    """And nothing is divided by zero."""
    weights, gradients = draw(4, 3)
    path = follow(make(variant), weights, [0 * g for g in gradients])
    for now in path:
        np.testing.assert_array_equal(now, weights)


#: Arguments of each kind of decay beside the step, and what it takes off at each step,
#: without a gradient, of 1/4 of the weights.
SHARES: list[tuple[dict[str, Any], float]] = [
    ({"weight_decay_kind": "decoupled"}, RATE),
    ({"weight_decay_kind": "independent"}, 1.0),
    ({"weight_decay_kind": "corrected", "peak_learning_rate": 0.25}, RATE**2 / 0.25),
    ({"weight_decay_kind": "cautious"}, RATE),
]


@every_variant
@pytest.mark.parametrize(("kind", "share"), SHARES)
def test_without_gradient_decay_is_geometric(
    variant: str, kind: dict[str, Any], share: float
) -> None:
    """A share of weight_decay is taken off at each step."""
    weights, gradients = draw(4, 3)
    optimizer = make(variant, weight_decay=0.25, **kind)
    path = follow(optimizer, weights, [0 * g for g in gradients])
    assert_close(path, [weights * (1 - share / 4) ** t for t in range(1, STEPS + 1)])


@every_variant
def test_decay_of_zero_is_no_decay(variant: str) -> None:
    """The two ways to say it agree."""
    weights, gradients = draw(4, 3)
    path = follow(make(variant, weight_decay=0.0), weights, gradients)
    assert_close(path, follow(make(variant, weight_decay=None), weights, gradients))


@every_variant
@pytest.mark.parametrize(("kind", "share"), SHARES)
def test_decay_counts_once_beside_the_step(
    variant: str, kind: dict[str, Any], share: float
) -> None:
    """One step with decay is one without, less the share of the old weights."""
    weights, gradients = draw(4, 3)
    plain = follow(make(variant), weights, gradients[:1])
    decayed = follow(make(variant, weight_decay=0.5, **kind), weights, gradients[:1])
    taken = share * 0.5 * weights
    if kind["weight_decay_kind"] == "cautious":
        taken = np.where((weights - plain[0]) * weights > 0, taken, 0.0)
        assert 0 < np.count_nonzero(taken) < taken.size
    assert_close(decayed, [plain[0] - taken])


@every_variant
def test_penalty_is_a_part_of_the_gradient(variant: str) -> None:
    """One step with "l2" is one without, on the gradient of the penalised loss."""
    weights, gradients = draw(4, 3)
    optimizer = make(variant, weight_decay=0.5, weight_decay_kind="l2")
    first = follow(optimizer, weights, gradients[:1])
    assert_close(first, follow(make(variant), weights, [gradients[0] + 0.5 * weights]))


@pytest.mark.parametrize("variant", ["sgd", "adam", "adafactor", "lion"])
def test_cautious_decay_never_works_against_the_step(variant: str) -> None:
    """None while the weights grow; while they shrink it is that of the other kind."""
    weights, gradients = draw(4, 3)
    weights = np.sign(weights) * (1 + np.abs(weights))
    inward = [np.sign(weights) * np.abs(g) for g in gradients]
    outward = [-g for g in inward]
    cautious = {"weight_decay": 0.25, "weight_decay_kind": "cautious"}
    for path, other in ((inward, {"weight_decay": 0.25}), (outward, {})):
        expected = follow(make(variant, **other), weights, path)
        assert np.all(expected[-1] * weights > 0)
        assert_close(follow(make(variant, **cautious), weights, path), expected)


def test_corrected_decay_is_decoupled_at_the_peak() -> None:
    """Below the peak it falls with the square of the learning rate."""
    weights, gradients = draw(4, 3)
    corrected = {"weight_decay": 0.5, "weight_decay_kind": "corrected"}
    decoupled = follow(make("adam", weight_decay=0.5), weights, gradients)
    for peak in ({}, {"peak_learning_rate": RATE}):
        path = follow(make("adam", **corrected, **peak), weights, gradients)
        assert_close(path, decoupled)
    path = follow(
        make("adam", **corrected, peak_learning_rate=4 * RATE), weights, gradients
    )
    assert_close(path, follow(make("adam", weight_decay=0.125), weights, gradients))
    assert differs(path, decoupled)


def test_penalty_is_decay_for_plain_descent() -> None:
    """Where the step is the gradient, the two forms are one, learning rate included."""
    shared = {"weight_decay": 0.5, "learning_rate": stages(0.25, 0.0625, 0.5)}
    penalty = make_class("SGD", weight_decay_kind="l2", **shared)
    assert_same_path(penalty, make_class("SGD", **shared))


@every_variant
def test_a_variable_does_not_feel_its_neighbours(variant: str) -> None:
    """Alone, first or last: counters and products advance once a step."""
    weights, gradients = draw(4, 3)
    others, noise = draw(5, seed=4)
    alone = follow(make(variant), weights, gradients)
    pairs = list(zip(gradients, noise, strict=True))
    first = follow_all(make(variant), [weights, others], pairs)
    last = follow_all(make(variant), [others, weights], [pair[::-1] for pair in pairs])
    assert_close([step[0] for step in first], alone)
    assert_close([step[1] for step in last], alone)
    assert_close([step[1] for step in first], [step[0] for step in last])


@elementwise
def test_shape_does_not_matter(variant: str) -> None:
    """A matrix moves as its elements in a row do."""
    weights, gradients = draw(4, 3)
    path = follow(make(variant), weights, gradients)
    flat = follow(make(variant), weights.ravel(), [g.ravel() for g in gradients])
    assert_close([w.ravel() for w in path], flat)


@elementwise
def test_steps_do_not_depend_on_where_the_weights_are(variant: str) -> None:
    """Shifted weights follow the shifted path."""
    weights, gradients = draw(4, 3)
    path = follow(make(variant), weights, gradients)
    shifted = follow(make(variant), weights + 1.5, gradients)
    assert_close(shifted, [w + 1.5 for w in path])


@elementwise
def test_steps_are_proportional_to_the_learning_rate(variant: str) -> None:
    """No rule lets the learning rate into its state."""
    weights, gradients = draw(4, 3)
    path = follow(make(variant), 0 * weights, gradients)
    longer = follow(make(variant, learning_rate=4 * RATE), 0 * weights, gradients)
    assert_close(longer, [4 * w for w in path])


@every_variant
def test_a_change_of_the_learning_rate_acts_at_once(variant: str) -> None:
    """It stands outside every buffer: at zero nothing moves, whatever the momentum."""
    weights, gradients = draw(4, 3)
    optimizer = make(variant)
    variables = [driving.new_variable(weights, PRECISION)]
    steps = [[g] for g in gradients[:4]]
    *_, (before,) = driving.apply_all(optimizer, variables, steps[:3], PRECISION)
    optimizer.learning_rate = 0.0
    ((after,),) = driving.apply_all(optimizer, variables, steps[3:], PRECISION)
    if variant == "adafactor":  # its momentum holds steps, learning rate included
        assert not np.array_equal(after, before)
    else:
        np.testing.assert_array_equal(after, before)


#: Rules whose steps keep their size when the gradients grow, once nothing is added
#: to the denominator.
SCALE_FREE: list[tuple[str, dict[str, Any]]] = [
    ("rmsprop", {"epsilon": 0.0}),
    ("rmsprop_centered", {"epsilon": 0.0}),
    ("rmsprop", {"epsilon": 0.0, "epsilon_placement": "inside"}),
    ("adagrad", {"epsilon": 0.0, "initial_accumulator_value": 0.0}),
    ("adam", {"epsilon": 0.0}),
    ("adam", {"epsilon": 0.0, "epsilon_placement": "hat"}),
    ("adam", {"epsilon": 0.0, "epsilon_placement": "inside"}),
    ("adam", {"epsilon": 0.0, "bias_correction": False}),
    ("amsgrad", {"epsilon": 0.0}),
    ("adamax", {"epsilon": 0.0}),
    ("nadam", {"epsilon": 0.0}),
    ("sdprop", {"epsilon": 0.0}),
    ("sdprop", {"epsilon": 0.0, "bias_correction": False}),
    ("adastand", {"epsilon": 0.0}),
    ("adafactor", {}),
]


@pytest.mark.parametrize(("variant", "arguments"), SCALE_FREE)
@pytest.mark.parametrize("factor", [2.0**-7, 2.0**9])
def test_size_of_gradients_does_not_matter(
    variant: str, arguments: dict[str, Any], factor: float
) -> None:
    """A power of two changes no digit of the gradients, so none of the path."""
    weights, gradients = draw(4, 3)
    path = follow(make(variant, **arguments), weights, gradients)
    scaled = [factor * g for g in gradients]
    assert_close(follow(make(variant, **arguments), weights, scaled), path)


@pytest.mark.parametrize("placement", ["outside", "hat", "inside"])
def test_placement_of_epsilon_does_not_matter_without_it(placement: str) -> None:
    """The three forms of Adam are one rule but for epsilon."""
    weights, gradients = draw(4, 3)
    path = follow(make("adam", epsilon=0.0), weights, gradients)
    other = make("adam", epsilon=0.0, epsilon_placement=placement)
    assert_close(follow(other, weights, gradients), path)


def test_placement_of_epsilon_matters_with_it() -> None:
    """And no two of them are the same where epsilon counts."""
    weights, gradients = draw(4, 3)
    small = [g / 64 for g in gradients]
    paths = [
        follow(make("adam", epsilon=1e-2, epsilon_placement=p), weights, small)
        for p in ("outside", "hat", "inside")
    ]
    assert differs(paths[0], paths[1])
    assert differs(paths[0], paths[2])
    assert differs(paths[1], paths[2])


# What the base class promises, on every rule.


@every_variant
def test_accumulating_equal_gradients_changes_nothing(variant: str) -> None:
    """The average of three equal gradients is the gradient."""
    weights, gradients = draw(4, 3, steps=4)
    path = follow(make(variant, weight_decay=0.25), weights, gradients)
    optimizer = make(variant, weight_decay=0.25, gradient_accumulation_steps=3)
    thrice = follow(optimizer, weights, [g for g in gradients for _ in range(3)])
    assert_close(thrice[2::3], path)
    assert_close(thrice[3::3], path[:-1])
    assert_close(thrice[4::3], path[:-1])


@every_variant
def test_loss_scale_is_taken_out(variant: str) -> None:
    """Gradients of the scaled loss give the path of the loss."""
    weights, gradients = draw(4, 3)
    path = follow(make(variant), weights, gradients)
    optimizer = make(variant, loss_scale_factor=256.0)
    assert_close(follow(optimizer, weights, [256 * g for g in gradients]), path)


@pytest.mark.parametrize("kind", ["clipvalue", "clipnorm", "global_clipnorm"])
@pytest.mark.parametrize("variant", ["sgd", "adam", "adafactor"])
def test_a_limit_that_is_not_reached_changes_nothing(variant: str, kind: str) -> None:
    """Clipping leaves small gradients as they are."""
    weights, gradients = draw(4, 3)
    path = follow(make(variant), weights, gradients)
    assert_close(follow(make(variant, **{kind: 100.0}), weights, gradients), path)


@pytest.mark.parametrize("variant", ["sgd", "adadelta", "adagrad"])
def test_global_norm_of_one_variable_is_its_norm(variant: str) -> None:
    """The two kinds of norm agree where there is one variable, and they act."""
    weights, gradients = draw(4, 3)
    path = follow(make(variant, clipnorm=0.5), weights, gradients)
    assert_close(follow(make(variant, global_clipnorm=0.5), weights, gradients), path)
    assert differs(path, follow(make(variant), weights, gradients))


# Rules that are limits of each other.


@pytest.mark.parametrize("amsgrad", [False, True])
def test_adamw_without_decay_is_adam(amsgrad: bool) -> None:
    """With nothing to decay the two classes are one rule."""
    arguments = {"beta_2": 0.9, "amsgrad": amsgrad}
    without = make_class("AdamW", weight_decay=0.0, **arguments)
    assert_same_path(without, make_class("Adam", **arguments))


def test_adamw_is_adam_with_decay() -> None:
    """The default of 0.01 included, which is not nothing."""
    weights, gradients = draw(4, 3)
    path = follow(make_class("AdamW", learning_rate=0.5), weights, gradients)
    decayed, plain = (
        make_class("Adam", learning_rate=0.5, weight_decay=decay)
        for decay in (0.01, None)
    )
    assert_close(follow(decayed, weights, gradients), path)
    assert differs(follow(plain, weights, gradients), path)


@pytest.mark.parametrize("placement", ["outside", "inside"])
def test_adam_without_mean_and_correction_is_rmsprop(placement: str) -> None:
    """What is left of Adam is the moving mean of the squares."""
    shared = {"epsilon": 1e-2, "epsilon_placement": placement}
    moments = {"beta_1": 0.0, "beta_2": 0.8, "bias_correction": False}
    adam = make_class("Adam", **moments, **shared)
    assert_same_path(adam, make_class("RMSprop", rho=0.8, **shared))


def test_uncorrected_adam_has_no_hat() -> None:
    """Without correction "hat" and "outside" are the same."""
    shared = {"epsilon": 1e-2, "bias_correction": False}
    hat = make("adam", epsilon_placement="hat", **shared)
    assert_same_path(hat, make("adam", epsilon_placement="outside", **shared))


@pytest.mark.parametrize("placement", ["outside", "hat", "inside"])
def test_amsgrad_is_adam_while_gradients_grow(placement: str) -> None:
    """The largest second moment is then the present one; later it is not."""
    weights, gradients = draw(4, 3)
    growing = [2.0**t * np.sign(g) for t, g in enumerate(gradients)]
    shared = {"beta_2": 0.5, "epsilon_placement": placement}
    for path, same in ((growing, True), (growing[::-1], False)):
        adam = follow(make("adam", **shared), weights, path)
        amsgrad = follow(make("adam", amsgrad=True, **shared), weights, path)
        if same:
            assert_close(amsgrad, adam)
        else:
            assert differs(amsgrad, adam)


def test_amsgrad_does_not_forget_a_large_gradient() -> None:
    """Long after it Adam's steps are back at full size, those of AMSGrad are not."""
    gradients = [np.full(1, 64.0), *[np.ones(1)] * 40]
    forgetful = {"beta_1": 0.0, "beta_2": 0.5, "bias_correction": False}
    for amsgrad, size in ((False, 1.0), (True, 1 / np.sqrt(64.0**2 / 2))):
        optimizer = make_class("Adam", amsgrad=amsgrad, **forgetful)
        path = follow(optimizer, np.zeros(1), gradients)
        np.testing.assert_allclose(path[-2] - path[-1], RATE * size, rtol=1e-4)


FORGETFUL = {"beta_1": 0.0, "beta_2": 0.0, "epsilon": 0.0}


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        ("Adam", FORGETFUL),
        ("Adam", {**FORGETFUL, "bias_correction": False}),
        ("Adamax", FORGETFUL),
        ("Nadam", FORGETFUL),
        ("RMSprop", {"rho": 0.0, "epsilon": 0.0}),
    ],
)
def test_rules_without_memory_are_the_sign(
    rule: str, arguments: dict[str, Any]
) -> None:
    """With nothing remembered, what divides the gradient is its own size."""
    weights, gradients = draw(4, 3)
    signs = [np.sign(g) for g in gradients]
    path = follow(make_class(rule, **arguments), weights, gradients)
    assert_close(path, follow(make_class("SGD"), weights, signs))


def test_nadam_without_momentum_is_adam_without_mean() -> None:
    """Nesterov's step ahead needs a momentum to look ahead with."""
    shared = {"beta_1": 0.0, "beta_2": 0.9, "epsilon": 1e-2}
    assert_same_path(make_class("Nadam", **shared), make_class("Adam", **shared))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_uncorrected_sdprop_is_centred_rmsprop(momentum: float) -> None:
    """The variance by updates is the mean square less the squared mean."""
    weights, gradients = draw(4, 3)
    shared = {"rho": 0.8, "epsilon": 1e-3, "momentum": momentum}
    sdprop = make_class("SDProp", bias_correction=False, **shared)
    rmsprop = make_class("RMSprop", centered=True, **shared)
    # The difference of squares loses digits, a few more than the rest.
    path = follow(rmsprop, weights, gradients)
    assert_close(follow(sdprop, weights, gradients), path, 4 * TOLERANCE)


def test_dampened_momentum_is_the_moving_mean() -> None:
    """With dampening equal to momentum the buffer is v = beta v + (1 - beta) g."""
    weights, gradients = draw(4, 3)
    path, mean, now = [], 0 * weights, weights
    for gradient in gradients:
        mean = 0.9 * mean + 0.1 * gradient
        now = now - RATE * mean
        path.append(now)
    optimizer = make_class("SGD", momentum=0.9, dampening=0.9)
    assert_close(follow(optimizer, weights, gradients), path)


@pytest.mark.parametrize("nesterov", [False, True])
def test_dampening_shortens_the_gradients(nesterov: bool) -> None:
    """It is the same as a learning rate times 1 - dampening."""
    shared = {"momentum": 0.8, "nesterov": nesterov}
    damped = make_class("SGD", dampening=0.75, **shared)
    assert_same_path(damped, make_class("SGD", learning_rate=RATE / 4, **shared))


def test_nesterov_is_momentum_seen_one_step_ahead() -> None:
    """Its weights are those of momentum, moved on by momentum times the last step."""
    weights, gradients = draw(4, 3)
    plain = follow(make_class("SGD", momentum=0.8), weights, gradients)
    before = [weights, *plain[:-1]]
    ahead = [now + 0.8 * (now - old) for now, old in zip(plain, before, strict=True)]
    nesterov = make_class("SGD", momentum=0.8, nesterov=True)
    assert_close(follow(nesterov, weights, gradients), ahead)


@pytest.mark.parametrize("rule", ["RMSprop", "SDProp"])
def test_momentum_adds_up_the_steps_without_it(rule: str) -> None:
    """The buffer holds whole steps, corrections included."""
    weights, gradients = draw(4, 3)
    shared = {"rho": 0.8, "epsilon": 1e-3}
    plain = follow(make_class(rule, **shared), weights, gradients)
    path, buffer, now = [], 0 * weights, weights
    for step in np.diff([weights, *plain], axis=0):
        buffer = 0.7 * buffer + step
        now = now + buffer
        path.append(now)
    optimizer = make_class(rule, momentum=0.7, **shared)
    assert_close(follow(optimizer, weights, gradients), path, 4 * TOLERANCE)


# Adafactor.


def test_adafactor_of_one_row_is_that_of_a_vector() -> None:
    """The columns then hold the second moment in full."""
    weights, gradients = draw(5)
    path = follow(make("adafactor"), weights, gradients)
    row = follow(make("adafactor"), weights[None], [g[None] for g in gradients])
    column = follow(
        make("adafactor"), weights[:, None], [g[:, None] for g in gradients]
    )
    assert_close([w[0] for w in row], path)
    assert_close([w[:, 0] for w in column], path)


def test_adafactor_treats_rows_and_columns_alike() -> None:
    """The transposed weights follow the transposed path."""
    weights, gradients = draw(4, 3)
    path = follow(make("adafactor"), weights, gradients)
    turned = follow(make("adafactor"), weights.T, [g.T for g in gradients])
    assert_close([w.T for w in turned], path)


def test_adafactor_factors_each_matrix_of_a_kernel() -> None:
    """All but the last two axes only number matrices, where nothing is averaged."""
    weights, gradients = draw(2, 1, 4, 3)
    apart = {"clip_threshold": 1e6, "scale_parameter": False}
    path = follow(make("adafactor", **apart), weights, gradients)
    for index in np.ndindex(2, 1):
        own = [g[index] for g in gradients]
        alone = follow(make("adafactor", **apart), weights[index], own)
        assert_close([w[index] for w in path], alone)


def test_adafactor_of_a_product_is_the_sign() -> None:
    """Squares of rank one are factored exactly, so that the step is the sign."""
    weights, signs = draw(4, 3)
    size = np.outer([1.0, 0.5, 2.0, 0.25], [3.0, 1.0, 0.125])
    direction = np.sign(signs[0])
    gradients = [size * direction] * STEPS
    optimizer = make_class("Adafactor", relative_step=False, scale_parameter=False)
    path = follow(optimizer, weights, gradients)
    assert_close(path, [weights - RATE * t * direction for t in range(1, STEPS + 1)])


def test_adafactor_keeps_the_least_of_rate_and_root() -> None:
    """A relative step is min(learning_rate, 1 / sqrt(t)): 1, then 1 / sqrt(2), ..."""
    weights, _ = draw(5)
    gradient = np.ones_like(weights)
    optimizer = make_class("Adafactor", learning_rate=0.5, scale_parameter=False)
    path = follow(optimizer, weights, [gradient] * STEPS)
    steps = [min(0.5, 1 / np.sqrt(t)) for t in range(1, STEPS + 1)]
    assert_close(path, [weights - total for total in np.cumsum(steps)])


def test_adafactor_steps_relative_to_the_weights() -> None:
    """A constant gradient takes off a share of the root mean square."""
    gradient = np.ones(5)
    optimizer = make_class("Adafactor", epsilon_2=0.25)
    path = follow(optimizer, np.full(5, 2.0), [gradient] * 40)
    assert_close(path, [np.full(5, size) for size in shrinking_sizes(2.0, 40)])


def shrinking_sizes(size: float, steps: int) -> list[float]:
    """Take off a share of the size, but of 1/4 at least, again and again."""
    sizes = []
    for _ in range(steps):
        size -= RATE * max(0.25, abs(size))
        sizes.append(size)
    return sizes


def test_adafactor_with_momentum_of_zero_has_none() -> None:
    """The two ways to say it agree."""
    assert_same_path(make("adafactor", beta_1=0.0), make("adafactor", beta_1=None))


def test_adafactor_clips_the_root_mean_square() -> None:
    """A gradient far above all before it moves by clip_threshold at most."""
    weights = np.zeros((4, 3))
    generator = np.random.default_rng(5)
    gradients = [generator.standard_normal((4, 3)) for _ in range(20)]
    gradients.append(1000 * gradients[0])
    absolute = {"relative_step": False, "scale_parameter": False}
    path = follow(make_class("Adafactor", **absolute), weights, gradients)
    sizes = np.sqrt(np.mean(np.diff([weights, *path], axis=0) ** 2, axis=(1, 2)))
    assert np.all(sizes <= RATE * (1 + TOLERANCE))
    np.testing.assert_allclose(sizes[-1], RATE, rtol=1e-4)


# Paths known in closed form.

#: Arguments of a class, and its direction of step t for a constant gradient g.
CONSTANT: dict[str, tuple[str, dict[str, Any], Callable[..., np.ndarray]]] = {
    "sgd": (
        "SGD",
        {"momentum": 0.8, "dampening": 0.3},
        lambda g, t: 0.7 * (1 - 0.8**t) / (1 - 0.8) * g,
    ),
    "nesterov": (
        "SGD",
        {"momentum": 0.8, "nesterov": True},
        lambda g, t: g + 0.8 * (1 - 0.8**t) / (1 - 0.8) * g,
    ),
    "rmsprop": (
        "RMSprop",
        {"rho": 0.8, "epsilon": 0.1},
        lambda g, t: g / (np.sqrt(1 - 0.8**t) * np.abs(g) + 0.1),
    ),
    "rmsprop_centered": (
        "RMSprop",
        {
            "rho": 0.8,
            "epsilon": 0.1,
            "centered": True,
            "epsilon_placement": "inside",
        },
        lambda g, t: g / np.sqrt(0.8**t * (1 - 0.8**t) * g**2 + 0.1),
    ),
    "adagrad": (
        "Adagrad",
        {"initial_accumulator_value": 0.5, "epsilon": 0.1},
        lambda g, t: g / (np.sqrt(0.5 + t * g**2) + 0.1),
    ),
    "adam": (
        "Adam",
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 0.1},
        lambda g, _: g / (np.abs(g) + 0.1),
    ),
    "adam_hat": (
        "Adam",
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 0.1, "epsilon_placement": "hat"},
        lambda g, t: g / (np.abs(g) + 0.1 / np.sqrt(1 - 0.95**t)),
    ),
    "adam_inside": (
        "Adam",
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 0.1, "epsilon_placement": "inside"},
        lambda g, _: g / np.sqrt(g**2 + 0.1),
    ),
    "adam_uncorrected": (
        "Adam",
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 0.1, "bias_correction": False},
        lambda g, t: (1 - 0.8**t) * g / (np.sqrt(1 - 0.95**t) * np.abs(g) + 0.1),
    ),
    "adamax": (
        "Adamax",
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 0.1},
        lambda g, _: g / (np.abs(g) + 0.1),
    ),
    "sdprop": (
        "SDProp",
        {"rho": 0.8, "epsilon": 0.1},
        lambda g, t: (
            np.sqrt(1 - 0.8**t) * g / (np.sqrt(0.8**t * (1 - 0.8**t)) * np.abs(g) + 0.1)
        ),
    ),
    # At beta_1 = 1/2 the first moment of Adastand is g/2 from the first step on.
    "adastand": (
        "Adastand",
        {"beta_1": 0.5, "beta_2": 0.8, "epsilon": 0.1},
        lambda g, t: (
            np.sqrt(1 - 0.8**t)
            / (1 - 0.5**t)
            * (g / 2)
            / (np.sqrt(0.8**t * 0.2 + 0.2 * (1 - 0.8 ** (t - 1))) * np.abs(g) + 0.1)
        ),
    ),
}


@pytest.mark.parametrize("case", CONSTANT)
def test_constant_gradient(case: str) -> None:
    """Every moment of a constant gradient is known, and so is every step."""
    weights, (gradient, *_) = draw(4, 3)
    name, arguments, direction = CONSTANT[case]
    path = follow(make_class(name, **arguments), weights, [gradient] * STEPS)
    steps = [RATE * direction(gradient, t) for t in range(1, STEPS + 1)]
    assert_close(path, weights - np.cumsum(steps, axis=0), 4 * TOLERANCE)


def test_constant_gradient_of_adadelta_in_the_limit() -> None:
    """The steps grow until their mean square is that of the gradients, rho for rho."""
    path = follow(
        make_class("Adadelta", learning_rate=1.0, rho=0.5, epsilon=1e-2),
        np.zeros(1),
        [np.full(1, 0.5)] * 400,
    )
    sizes = -np.diff([np.zeros(1), *path], axis=0)
    assert np.all(np.diff(sizes[5:], axis=0) >= -1e-4)
    np.testing.assert_allclose(sizes[-1], 0.5, rtol=1e-2)


@pytest.mark.parametrize("bias_correction", [True, False])
def test_sdprop_of_alternating_gradients(bias_correction: bool) -> None:
    """Their mean vanishes but for a rest, and the deviation is nearly their size."""
    rho, size = 0.8, np.array([0.25, 3.0])
    signs = (-1.0) ** np.arange(STEPS)
    optimizer = make_class(
        "SDProp", rho=rho, epsilon=1e-3, bias_correction=bias_correction
    )
    path = follow(optimizer, np.zeros(2), list(signs[:, None] * size))
    t = np.arange(1, STEPS + 1)
    mean = (1 - rho) * (1 - (-rho) ** t) / (1 + rho)
    deviation = np.sqrt(1 - rho**t - mean**2)[:, None] * size
    factor = np.sqrt(1 - rho**t) if bias_correction else np.ones(STEPS)
    steps = RATE * (factor * signs)[:, None] * size / (deviation + 1e-3)
    assert_close(path, -np.cumsum(steps, axis=0), 4 * TOLERANCE)


def test_sdprop_prefers_what_is_steady() -> None:
    """Noise around zero slows it down; the same size without noise does not."""
    _, noise = draw(1, steps=60)
    steady = [np.abs(g) * 0 + 1.0 for g in noise]
    moved = [
        np.abs(follow(make_class("SDProp", rho=0.9), np.zeros(1), path)[-1])
        for path in ([np.sign(g) for g in noise], steady)
    ]
    assert moved[1] > 30 * moved[0]


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        ("SDProp", {"rho": 0.5}),
        ("SDProp", {"rho": 0.5, "momentum": 0.5, "bias_correction": False}),
        ("RMSprop", {"rho": 0.5, "centered": True}),
        ("RMSprop", {"rho": 0.5, "centered": True, "epsilon_placement": "inside"}),
        ("Adastand", {"beta_1": 0.5, "beta_2": 0.5}),
        ("Adastand", {"beta_1": 0.9, "beta_2": 0.5, "amsgrad": True}),
    ],
)
def test_constant_gradient_stays_finite(
    rule: str, arguments: dict[str, Any], size: float
) -> None:
    """Where the deviation vanishes, rounding included, epsilon bounds the step."""
    optimizer = make_class(rule, epsilon=1e-3, **arguments)
    path = follow(optimizer, np.zeros(2), [np.array([size, 0.0])] * 80)
    assert np.all(np.isfinite(path))
    steps = np.abs(np.diff([np.zeros(2), *path], axis=0))
    bound = RATE * size / 1e-3
    if "epsilon_placement" in arguments:
        bound = RATE * size / np.sqrt(1e-3)
    if "momentum" in arguments:
        bound /= 1 - arguments["momentum"]
    assert np.all(steps <= bound * 1.001)
    assert np.all(steps[:, 1] == 0)


def test_sdprop_reaches_the_bound_of_a_constant_gradient() -> None:
    """The deviation goes to zero like rho**(t/2), and the step to g / epsilon."""
    optimizer = make_class("SDProp", rho=0.5, epsilon=1e-3)
    path = follow(optimizer, np.zeros(1), [np.full(1, 0.25)] * 80)
    np.testing.assert_allclose(path[-2] - path[-1], RATE * 250, rtol=1e-3)


@pytest.mark.parametrize("beta_1", [0.6, 0.9])
def test_adastand_settles_at_half_of_a_constant_gradient(beta_1: float) -> None:
    """Then the deviation is half the gradient as well, and the step is known."""
    optimizer = make_class("Adastand", beta_1=beta_1, beta_2=0.8)
    gradient = np.array([3.0, -0.25])
    path = follow(optimizer, np.zeros(2), [gradient] * 120)
    step = (path[-2] - path[-1]) / RATE
    np.testing.assert_allclose(step, np.sign(gradient) / np.sqrt(0.8), rtol=1e-4)


def test_first_steps() -> None:
    """At the first step the size of the gradient cancels, correction or not."""
    gradient = np.array([3.0, -0.25])
    sign = np.sign(gradient)
    for name, arguments, expected in (
        ("RMSprop", {"rho": 0.9}, sign / np.sqrt(0.1)),
        ("RMSprop", {"rho": 0.9, "centered": True}, sign / np.sqrt(0.09)),
        ("Adagrad", {"initial_accumulator_value": 0.0}, sign),
        ("Adam", {}, sign),
        ("Adam", {"bias_correction": False}, sign * 0.1 / np.sqrt(0.001)),
        ("Adamax", {}, sign),
        ("SDProp", {"rho": 0.9}, sign / np.sqrt(0.9)),
        ("SDProp", {"rho": 0.9, "bias_correction": False}, sign / np.sqrt(0.09)),
        ("Adastand", {}, sign / np.sqrt(0.999)),
        ("Adafactor", {"scale_parameter": False}, sign),
    ):
        path = follow(make_class(name, **arguments), np.zeros(2), [gradient])
        np.testing.assert_allclose(path[0], -RATE * expected, rtol=1e-4, err_msg=name)


# Keras' optimizers of the same rule.

#: Our class and arguments, Keras' class and arguments.
TWINS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "sgd": ("SGD", {}, "SGD", {}),
    "sgd_momentum": ("SGD", {"momentum": 0.8}, "SGD", {"momentum": 0.8}),
    "sgd_nesterov": (
        "SGD",
        {"momentum": 0.8, "nesterov": True},
        "SGD",
        {"momentum": 0.8, "nesterov": True},
    ),
    "rmsprop": (
        "RMSprop",
        {"rho": 0.8, "epsilon": 1e-2, "epsilon_placement": "inside"},
        "RMSprop",
        {"rho": 0.8, "epsilon": 1e-2},
    ),
    "rmsprop_centered_momentum": (
        "RMSprop",
        {
            "rho": 0.8,
            "epsilon": 1e-2,
            "centered": True,
            "momentum": 0.6,
            "epsilon_placement": "inside",
        },
        "RMSprop",
        {"rho": 0.8, "epsilon": 1e-2, "centered": True, "momentum": 0.6},
    ),
    "adagrad": (
        "Adagrad",
        {
            "initial_accumulator_value": 0.25,
            "epsilon": 1e-2,
            "epsilon_placement": "inside",
        },
        "Adagrad",
        {"initial_accumulator_value": 0.25, "epsilon": 1e-2},
    ),
    "adadelta": (
        "Adadelta",
        {"rho": 0.8, "epsilon": 1e-2},
        "Adadelta",
        {"rho": 0.8, "epsilon": 1e-2},
    ),
    "adam": (
        "Adam",
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2, "epsilon_placement": "hat"},
        "Adam",
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2},
    ),
    "adam_amsgrad": (
        "Adam",
        {
            "beta_2": 0.6,
            "epsilon": 1e-2,
            "epsilon_placement": "hat",
            "amsgrad": True,
        },
        "Adam",
        {"beta_2": 0.6, "epsilon": 1e-2, "amsgrad": True},
    ),
    "adamw": (
        "AdamW",
        {"epsilon": 1e-2, "epsilon_placement": "hat", "weight_decay": 0.25},
        "AdamW",
        {"epsilon": 1e-2, "weight_decay": 0.25},
    ),
    # Keras adds epsilon to the norm, where it does not count if it is tiny.
    "adamax": (
        "Adamax",
        {"beta_1": 0.8, "beta_2": 0.7, "epsilon": 1e-30},
        "Adamax",
        {"beta_1": 0.8, "beta_2": 0.7, "epsilon": 1e-30},
    ),
    # Keras has no momentum_decay: it is 1.
    "nadam": (
        "Nadam",
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2, "momentum_decay": 1.0},
        "Nadam",
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2},
    ),
    "adafactor": (
        "Adafactor",
        {"beta_2_decay": -0.5, "epsilon_2": 0.5, "clip_threshold": 0.8},
        "Adafactor",
        {"beta_2_decay": -0.5, "epsilon_2": 0.5, "clip_threshold": 0.8},
    ),
}


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("more", [{}, {"clipnorm": 0.5, "weight_decay": 0.125}])
def test_twin_in_keras(twin: str, more: dict[str, Any]) -> None:
    """In float32, which Keras' own arithmetic does not leave everywhere."""
    name, arguments, theirs, their_arguments = TWINS[twin]
    if twin == "adafactor" and more:
        pytest.skip("Keras measures the weights after their decay")
    weights, gradients = draw(4, 3)
    keras_class = getattr(keras.optimizers, theirs)
    optimizer = keras_class(learning_rate=RATE, **{**their_arguments, **more})
    path = follow(make_class(name, **{**arguments, **more}), weights, gradients)
    assert_close(path, follow(optimizer, weights, gradients), 5e-6)


# Schedules.


def rate_at(schedule: Any, step: int) -> float:
    """Evaluate a schedule as an optimizer does, at an integer tensor."""
    tensor = keras.ops.convert_to_tensor(step, dtype="int32")
    return float(keras.ops.convert_to_numpy(schedule(tensor)))


def test_step_decay_at_its_boundaries() -> None:
    """The step that completes a period is the first one of the next."""
    schedule = keras_adamx.schedules.StepDecay(0.5, 3, gamma=0.25)
    rates = [rate_at(schedule, step) for step in range(10)]
    assert rates == [0.5] * 3 + [0.125] * 3 + [0.03125] * 3 + [0.0078125]


def test_step_decay_defaults_to_a_tenth() -> None:
    """Gamma is 0.1 if not given."""
    schedule = keras_adamx.schedules.StepDecay(1.0, 2)
    rates = [rate_at(schedule, step) for step in range(6)]
    np.testing.assert_allclose(rates, [1.0, 1.0, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)


def test_step_decay_by_epochs_counts_their_steps() -> None:
    """Periods of 2 epochs of 5 steps are periods of 10 steps."""
    by_epoch = keras_adamx.schedules.StepDecay(0.5, 2, gamma=0.5, steps_per_epoch=5)
    by_step = keras_adamx.schedules.StepDecay(0.5, 10, gamma=0.5)
    for step in (0, 1, 2, 4, 5, 9, 10, 11, 19, 20, 99, 100):
        assert rate_at(by_epoch, step) == rate_at(by_step, step)
        assert rate_at(by_epoch, step) == 0.5 * 0.5 ** (step // 10)


@pytest.mark.parametrize("period", [1, 3, 7, 49, 98, 1000, 4999, 2**24 + 1])
def test_step_decay_never_misses_a_boundary(period: int) -> None:
    """Dividing in float32 would, after many steps or by a factor like 49."""
    schedule = keras_adamx.schedules.StepDecay(1.0, period, gamma=0.5)
    for periods in (1, 2, 3, 5, 11, 29, 41):
        boundary = period * periods
        assert rate_at(schedule, boundary - 1) == 0.5 ** (periods - 1)
        assert rate_at(schedule, boundary) == 0.5**periods


def test_step_decay_is_the_staircase_of_keras() -> None:
    """ExponentialDecay with staircase is the same function of small steps."""
    ours = keras_adamx.schedules.StepDecay(0.5, 4, gamma=0.3)
    theirs = keras.optimizers.schedules.ExponentialDecay(0.5, 4, 0.3, staircase=True)
    for step in range(17):
        np.testing.assert_allclose(
            rate_at(ours, step), rate_at(theirs, step), rtol=1e-6
        )


@every_variant
def test_schedule_that_does_not_change_is_a_number(variant: str) -> None:
    """A gamma of 1 is no decay at all."""
    schedule = keras_adamx.schedules.StepDecay(RATE, 2, gamma=1.0)
    assert_same_path(make(variant, learning_rate=schedule), make(variant))


# Schedules of other arguments.

#: Of each number that may be a schedule a value that float32 holds and that matters.
NUMBERS: dict[str, float] = {
    "momentum": 0.375,
    "dampening": 0.5,
    "rho": 0.6875,
    "beta_1": 0.4375,
    "beta_2": 0.6875,
    "epsilon": 0.125,
    "momentum_decay": 4.0,
    "beta_2_decay": -0.25,
    "epsilon_1": 0.125,
    "epsilon_2": 2.0,
    "clip_threshold": 0.25,
    "weight_decay": 0.375,
    "clipnorm": 0.25,
    "clipvalue": 0.25,
    "global_clipnorm": 0.25,
    "ema_momentum": 0.375,
}
#: A rule that is free of scale hardly feels gradients of one and the same norm.
CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")
#: What shows an average within the path.
AVERAGING = {"use_ema": True, "ema_overwrite_frequency": 3}


def parameters_of(variant: str) -> dict[str, inspect.Parameter]:
    """What the class of a variant takes."""
    name, _ = VARIANTS[variant]
    return dict(inspect.signature(getattr(keras_adamx, name)).parameters)


def numbers_of(variant: str) -> list[str]:
    """Names of the arguments of a variant that may be schedules."""
    return [argument for argument in parameters_of(variant) if argument in NUMBERS]


@every_variant
def test_every_number_may_be_a_schedule(variant: str) -> None:
    """Only a start, a scale of the loss and a peak may not, as they cannot change."""
    parameters = parameters_of(variant)
    numbers = {k for k, p in parameters.items() if isinstance(p.default, float)}
    numbers -= {"learning_rate", "initial_accumulator_value"}
    assert numbers <= NUMBERS.keys()
    fixed = {"initial_accumulator_value", "loss_scale_factor", "peak_learning_rate"}
    for argument in sorted(fixed & parameters.keys()):
        with pytest.raises(TypeError, match=argument):
            make(variant, **{argument: stages(0.5, 0.25, 1.0)})


@pytest.mark.parametrize(
    ("variant", "argument"), [(v, each) for v in VARIANTS for each in numbers_of(v)]
)
def test_schedule_of_one_value_is_a_number(variant: str, argument: str) -> None:
    """Whatever the argument, and it acts."""
    weights, gradients = draw(4, 3)
    more = AVERAGING if argument == "ema_momentum" else {}
    value = NUMBERS[argument]
    schedule = stages(value, value, value)
    path = follow(make(variant, **more, **{argument: value}), weights, gradients)
    scheduled = make(variant, **{**more, argument: schedule})
    assert_close(follow(scheduled, weights, gradients), path)
    if argument not in CLIPPING or variant in ("sgd", "adadelta", "adagrad"):
        assert differs(path, follow(make(variant, **more), weights, gradients))


@every_variant
def test_schedules_of_all_arguments_at_once(variant: str) -> None:
    """Each goes to its own argument, in the best precision and in float32."""
    weights, gradients = draw(4, 3)
    names = [n for n in numbers_of(variant) if n not in ("clipvalue", "clipnorm")]
    values = {name: NUMBERS[name] for name in names}
    schedules = {name: stages(v, v, v) for name, v in values.items()}
    for dtype in {PRECISION, "float32"}:
        one, other = (
            driving.run(
                make(variant, **AVERAGING, **arguments),
                [weights],
                [[g] for g in gradients],
                dtype,
            )
            for arguments in (values, schedules)
        )
        driving.assert_same_path(one, other, dtype)


#: Decays that change, and the products of all so far at each step.
RISING = stages(0.5, 0.75, 0.9375)
WAVY = stages(0.875, 0.5, 0.75)
P, Q = np.cumprod(stages_at(RISING)), np.cumprod(stages_at(WAVY))

#: Arguments of a class, and its direction of step t for a constant gradient g.
CHANGING: dict[str, tuple[str, dict[str, Any], Callable[..., np.ndarray]]] = {
    "sgd": (
        "SGD",
        {"momentum": RISING, "dampening": RISING},
        lambda g, t: (1 - P[t]) * g,
    ),
    "rmsprop": (
        "RMSprop",
        {"rho": WAVY, "epsilon": 0.1},
        lambda g, t: g / (np.sqrt(1 - Q[t]) * np.abs(g) + 0.1),
    ),
    "rmsprop_centered": (
        "RMSprop",
        {"rho": WAVY, "epsilon": 0.1, "centered": True, "epsilon_placement": "inside"},
        lambda g, t: g / np.sqrt(Q[t] * (1 - Q[t]) * g**2 + 0.1),
    ),
    # What divides the corrected mean is the size of the gradient itself.
    "adam_mean": (
        "Adam",
        {"beta_1": WAVY, "beta_2": 0.0, "epsilon": 0.1},
        lambda g, _: g / (np.abs(g) + 0.1),
    ),
    "adam": (
        "Adam",
        {"beta_1": WAVY, "beta_2": RISING, "epsilon": 0.1},
        lambda g, _: g / (np.abs(g) + 0.1),
    ),
    "amsgrad": (
        "Adam",
        {"beta_1": RISING, "beta_2": WAVY, "epsilon": 0.1, "amsgrad": True},
        lambda g, _: g / (np.abs(g) + 0.1),
    ),
    "adam_hat": (
        "Adam",
        {"beta_1": WAVY, "beta_2": RISING, "epsilon": 0.1, "epsilon_placement": "hat"},
        lambda g, t: g / (np.abs(g) + 0.1 / np.sqrt(1 - P[t])),
    ),
    "adam_inside": (
        "Adam",
        {
            "beta_1": WAVY,
            "beta_2": RISING,
            "epsilon": 0.1,
            "epsilon_placement": "inside",
        },
        lambda g, _: g / np.sqrt(g**2 + 0.1),
    ),
    "adam_uncorrected": (
        "Adam",
        {"beta_1": WAVY, "beta_2": RISING, "epsilon": 0.1, "bias_correction": False},
        lambda g, t: (1 - Q[t]) * g / (np.sqrt(1 - P[t]) * np.abs(g) + 0.1),
    ),
    # Its norm is the size of the gradient and epsilon from the first step on.
    "adamax": (
        "Adamax",
        {"beta_1": WAVY, "beta_2": RISING, "epsilon": 0.1},
        lambda g, _: g / (np.abs(g) + 0.1),
    ),
    "sdprop": (
        "SDProp",
        {"rho": WAVY, "epsilon": 0.1},
        lambda g, t: (
            np.sqrt(1 - Q[t]) * g / (np.sqrt(Q[t] * (1 - Q[t])) * np.abs(g) + 0.1)
        ),
    ),
}


@pytest.mark.parametrize("case", CHANGING)
def test_constant_gradient_while_decays_change(case: str) -> None:
    """A mean that is corrected is the gradient, whatever the decays were."""
    weights, (gradient, *_) = draw(4, 3)
    name, arguments, direction = CHANGING[case]
    path = follow(make_class(name, **arguments), weights, [gradient] * STEPS)
    steps = [RATE * direction(gradient, t) for t in range(STEPS)]
    assert_close(path, weights - np.cumsum(steps, axis=0), 4 * TOLERANCE)


@pytest.mark.parametrize("variant", ["sgd", "adam", "adafactor"])
@pytest.mark.parametrize("argument", ["weight_decay", "ema_momentum"])
def test_schedules_count_updates(variant: str, argument: str) -> None:
    """Not the gradients that are accumulated for one."""
    weights, gradients = draw(4, 3)
    more: dict[str, Any] = {argument: stages(0.5, 0.125, 0.25)}
    if argument == "ema_momentum":
        more |= AVERAGING
    path = follow(make(variant, **more), weights, gradients)
    optimizer = make(variant, gradient_accumulation_steps=2, **more)
    twice = follow(optimizer, weights, [g for g in gradients for _ in range(2)])
    assert_close(twice[1::2], path)


# Groups.


def follow_named(
    optimizer: keras.optimizers.Optimizer, tensors: dict[str, tuple[np.ndarray, Path]]
) -> dict[str, Path]:
    """Weights of tensors after each step, each a variable of that name."""
    variables = [
        driving.new_variable(weights, PRECISION, name)
        for name, (weights, _) in tensors.items()
    ]
    steps = list(zip(*(gradients for _, gradients in tensors.values()), strict=True))
    path = driving.apply_all(optimizer, variables, steps, PRECISION)
    return dict(zip(tensors, (list(own) for own in zip(*path)), strict=True))


def group(pattern: str, **arguments: Any) -> keras_adamx.Group:
    """Make a group; a schedule is the name of its class and its arguments."""
    arguments = {name: driving.number(value) for name, value in arguments.items()}
    return keras_adamx.Group(pattern, **arguments)


TENSORS = {"body": draw(4, 3), "head": draw(4, 3, seed=4), "tail": draw(5, seed=5)}


def check_group(
    variant: str, base: dict[str, Any], own: dict[str, Any], instead: dict[str, Any]
) -> None:
    """Let a group hold for one of two variables; it must matter there and only there.

    Args:
        variant: The rule.
        base: Arguments of the optimizer.
        own: Arguments of the group.
        instead: Arguments of the optimizer that the group is like.
    """
    grouped = make(variant, groups=[group("^head$", **own)], **base)
    tensors = {name: TENSORS[name] for name in ("body", "head")}
    path = follow_named(grouped, tensors)
    assert_close(path["body"], follow(make(variant, **base), *tensors["body"]))
    assert_close(path["head"], follow(make(variant, **instead), *tensors["head"]))
    assert differs(path["head"], follow(make(variant, **base), *tensors["head"]))


@every_variant
def test_group_with_half_the_learning_rate(variant: str) -> None:
    """It is an optimizer of its own with half the learning rate, decay included."""
    base = {"weight_decay": 0.25}
    instead = {**base, "learning_rate": RATE / 2}
    check_group(variant, base, {"learning_rate": 0.5}, instead)


#: Kinds of decay, and the peak of an optimizer of half the learning rate.
HALVED_KINDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"weight_decay_kind": "l2"}, {}),
    ({"weight_decay_kind": "independent"}, {}),
    ({"weight_decay_kind": "cautious"}, {}),
    (
        {"weight_decay_kind": "corrected", "peak_learning_rate": 4 * RATE},
        {"peak_learning_rate": 2 * RATE},
    ),
]


@pytest.mark.parametrize("variant", ["sgd", "adam", "adafactor"])
@pytest.mark.parametrize(("kind", "halved"), HALVED_KINDS)
def test_group_with_half_the_learning_rate_and_decay(
    variant: str, kind: dict[str, Any], halved: dict[str, Any]
) -> None:
    """The factor says how far from its peak a learning rate is, so it has one too."""
    base = {"weight_decay": 0.5, **kind}
    instead = {**base, **halved, "learning_rate": RATE / 2}
    check_group(variant, base, {"learning_rate": 0.5}, instead)


#: A variant, arguments of its optimizer and other ones of a group.
OTHERS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("adam", {}, {"beta_1": 0.5}),
    ("amsgrad", {}, {"beta_2": 0.5}),
    ("adamax", {}, {"beta_1": 0.5}),
    ("nadam", {}, {"beta_1": 0.5}),
    ("nadam", {}, {"momentum_decay": 4.0}),
    ("adastand", {}, {"beta_1": 0.5}),
    ("lion", {}, {"beta_1": 0.25}),
    ("adafactor", {}, {"beta_1": 0.5}),
    ("adafactor", {"beta_1": None}, {"beta_1": 0.5}),
    ("sgd", {"momentum": 0.0, "dampening": 0.0}, {"momentum": 0.9}),
    ("sgd", {}, {"momentum": 0.0, "dampening": 0.0}),
    ("sdprop", {"momentum": 0.0}, {"momentum": 0.75}),
    ("rmsprop", {}, {"rho": 0.5, "centered": True}),
    ("adagrad", {}, {"initial_accumulator_value": 1.0}),
    ("adadelta", {}, {"epsilon": 0.1}),
    ("adam", {}, {"weight_decay": 0.5}),
    ("adam", {"weight_decay": 0.5}, {"weight_decay": None}),
    ("adam", {"weight_decay": 0.5}, {"weight_decay_kind": "independent"}),
    ("adam", {"weight_decay": 0.5}, {"weight_decay_kind": "cautious"}),
    ("adam", {"weight_decay": 0.5}, {"weight_decay_kind": "l2"}),
    ("sgd", {}, {"clipnorm": 0.5}),
    ("sgd", {"clipnorm": 0.5}, {"clipnorm": None, "clipvalue": 0.25}),
]


@pytest.mark.parametrize(("variant", "base", "own"), OTHERS)
def test_group_with_other_arguments(
    variant: str, base: dict[str, Any], own: dict[str, Any]
) -> None:
    """It is an optimizer of its own with them."""
    check_group(variant, base, own, {**base, **own})


#: The same, where the optimizer, the group or both have schedules.
SCHEDULED_GROUPS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("adam", {"beta_1": RISING}, {"beta_1": 0.75}),
    ("adam", {"beta_1": 0.75}, {"beta_1": RISING}),
    ("adam", {"beta_1": RISING}, {"beta_1": WAVY}),
    ("adam", {"beta_1": RISING, "beta_2": WAVY}, {"epsilon": 0.1}),
    ("adam", {"beta_1": RISING, "beta_2": WAVY}, {"weight_decay": 0.5}),
    ("adam", {"beta_2": RISING}, {"epsilon": stages(0.125, 0.5, 0.25)}),
    ("adam", {"weight_decay": 0.5}, {"weight_decay": stages(0.125, 0.5, 0.25)}),
    ("nadam", {"beta_1": WAVY, "beta_2": RISING}, {"beta_1": RISING}),
    ("sdprop", {"rho": WAVY}, {"rho": RISING}),
    ("sgd", {"momentum": 0.0, "dampening": 0.0}, {"momentum": RISING}),
]


@pytest.mark.parametrize(("variant", "base", "own"), SCHEDULED_GROUPS)
def test_group_under_schedules(
    variant: str, base: dict[str, Any], own: dict[str, Any]
) -> None:
    """Its products of decays are its own where its decays are."""
    check_group(variant, base, own, {**base, **own})


@pytest.mark.parametrize("variant", ["adam", "nadam", "sdprop"])
def test_group_with_half_the_learning_rate_under_schedules(variant: str) -> None:
    """The group shares the products of the optimizer and moves half as far."""
    decay = "rho" if variant == "sdprop" else "beta_2"
    base = {decay: RISING, "weight_decay": stages(0.5, 0.125, 0.25)}
    instead = {**base, "learning_rate": RATE / 2}
    check_group(variant, base, {"learning_rate": 0.5}, instead)


@pytest.mark.parametrize("variant", ["sgd", "adam", "nadam"])
def test_factor_of_the_learning_rate_that_is_a_schedule(variant: str) -> None:
    """It multiplies that of the optimizer step by step."""
    base = {"learning_rate": stages(0.25, 0.5, 0.125), "weight_decay": 0.25}
    instead = {**base, "learning_rate": stages(0.125, 1.0, 0.125)}
    check_group(variant, base, {"learning_rate": stages(0.5, 2.0, 1.0)}, instead)


def test_the_first_group_that_matches_holds() -> None:
    """What a later one says does not matter for the variables of the first."""
    groups = [
        group("^head", learning_rate=0.5),
        group("head|tail", learning_rate=0.25, beta_1=0.5, weight_decay=0.5),
        group("a", learning_rate=0.0, required=False),
    ]
    path = follow_named(make("adam", groups=groups), TENSORS)
    for name, arguments in {
        "body": {},
        "head": {"learning_rate": RATE / 2},
        "tail": {"learning_rate": RATE / 4, "beta_1": 0.5, "weight_decay": 0.5},
    }.items():
        assert_close(path[name], follow(make("adam", **arguments), *TENSORS[name]))


def test_each_group_has_its_own_schedules() -> None:
    """Those of the optimizer, of two groups and of a factor are not mixed up."""
    base = {"beta_1": WAVY, "beta_2": 0.75, "epsilon": 0.1}
    groups = [
        group("head", beta_2=RISING, learning_rate=stages(0.5, 2.0, 1.0)),
        group("tail", beta_1=stages(0.0, 0.5, 0.75), weight_decay=RISING),
    ]
    path = follow_named(make("adam", groups=groups, **base), TENSORS)
    rates = stages(RATE / 2, RATE * 2, RATE)
    for name, arguments in {
        "body": base,
        "head": {**base, "beta_2": RISING, "learning_rate": rates},
        "tail": {**base, "beta_1": stages(0.0, 0.5, 0.75), "weight_decay": RISING},
    }.items():
        assert_close(path[name], follow(make("adam", **arguments), *TENSORS[name]))


# Transforms that do nothing, and rules that are others under a transform.


def transform(name: str, **arguments: Any) -> keras_adamx.transforms.Transform:
    """Make a transform by the name of its class."""
    return getattr(keras_adamx.transforms, name)(**arguments)


#: Transforms at the values at which they change nothing.
IDLE: list[tuple[str, dict[str, Any]]] = [
    ("Lookahead", {"alpha": 1.0, "steps": 3}),
    ("GrokFast", {"amplification": 0.0, "alpha": 0.75}),
    ("UpdateRMSClip", {"threshold": 1e6}),
    ("ExponentialAverage", {"decay": 0.75}),
    ("StochasticWeightAverage", {"start": 2}),
    ("AdaptiveGradientClipping", {"clipping": 1e6}),
    ("GradientNoise", {"variance": 0.0}),
]
#: The same where they do something, from what is a multiple of that.
BUSY: list[tuple[str, dict[str, Any]]] = [
    ("Lookahead", {"alpha": 0.5, "steps": 3}),
    ("GrokFast", {"amplification": 2.0, "alpha": 0.75}),
    ("UpdateRMSClip", {"threshold": 0.125}),
    ("AdaptiveGradientClipping", {"clipping": 0.125}),
    ("GradientNoise", {"variance": 1.0}),
]


@pytest.mark.parametrize("variant", ["sgd", "adam", "lion"])
@pytest.mark.parametrize(("name_of", "arguments"), IDLE)
def test_transform_that_does_nothing(
    variant: str, name_of: str, arguments: dict[str, Any]
) -> None:
    """At its neutral value, or since what it keeps is for evaluation only."""
    base = {"weight_decay": 0.25}
    idle = make(variant, transforms=[transform(name_of, **arguments)], **base)
    assert_same_path(idle, make(variant, **base))


@pytest.mark.parametrize(("name_of", "arguments"), BUSY)
def test_transform_that_does_something(name_of: str, arguments: dict[str, Any]) -> None:
    """Away from it the path is another one."""
    weights, gradients = draw(4, 3)
    busy = make("sgd", transforms=[transform(name_of, **arguments)])
    path = follow(busy, weights, gradients)
    assert differs(path, follow(make("sgd"), weights, gradients))


def test_cautious_is_nothing_where_all_agrees() -> None:
    """Gradients that keep their signs; where they do not, it leaves elements out."""
    weights, gradients = draw(4, 3)
    steady = [np.sign(gradients[0]) * np.abs(g) for g in gradients]
    for path, agrees in ((steady, True), (gradients, False)):
        cautious = make_class(
            "AdamW", weight_decay=0.25, transforms=[transform("Cautious")]
        )
        ours = follow(cautious, weights, path)
        plain = follow(make_class("AdamW", weight_decay=0.25), weights, path)
        if agrees:
            assert_close(ours, plain)
        assert differs(ours, plain) == (not agrees)


@pytest.mark.parametrize("bounds", [{}, {"lower": 4.0}, {"upper": 2.0}])
def test_lamb_is_adamw_under_a_trust_ratio(bounds: dict[str, float]) -> None:
    """The class and the transform are one rule."""
    arguments = {"beta_2": 0.9, "epsilon": 1e-3, "weight_decay": 0.25}
    ratio = transform("TrustRatio", **bounds)
    under = make_class("AdamW", transforms=[ratio], **arguments)
    assert_same_path(make_class("LAMB", **bounds, **arguments), under)


def test_lamb_is_adamw_from_zero() -> None:
    """The ratio of weights of zero is 1, for one step."""
    weights, gradients = draw(4, 3)
    arguments = {"epsilon": 1e-3, "weight_decay": 0.25}
    lamb = follow(make_class("LAMB", **arguments), 0 * weights, gradients[:1])
    adamw = follow(make_class("AdamW", **arguments), 0 * weights, gradients[:1])
    assert_close(lamb, adamw)


def test_steps_of_lamb_have_the_length_of_the_weights() -> None:
    """Or that of the one bound that both bounds are."""
    weights, gradients = draw(4, 3)
    path = [weights, *follow(make_class("LAMB"), weights, gradients)]
    bounded = follow(make_class("LAMB", lower=2.0, upper=2.0), weights, gradients)
    for old, new in itertools.pairwise(path):
        expected = RATE * np.linalg.norm(old)
        assert np.linalg.norm(new - old) == pytest.approx(expected, rel=1e-5)
    for old, new in itertools.pairwise([weights, *bounded]):
        assert np.linalg.norm(new - old) == pytest.approx(2 * RATE, rel=1e-5)


@pytest.mark.parametrize("nesterov", [False, True])
def test_lars_of_a_vector_is_sgd(nesterov: bool) -> None:
    """Vectors have no ratio and no decay."""
    weights, gradients = draw(5)
    arguments = {"momentum": 0.75, "nesterov": nesterov}
    lars = make_class("LARS", weight_decay=0.5, **arguments)
    sgd = make_class("SGD", **arguments)
    assert_close(follow(lars, weights, gradients), follow(sgd, weights, gradients))


def test_step_of_lars_does_not_depend_on_the_size_of_gradients() -> None:
    """Of matrices; decay would, as it is not scaled with them."""
    weights, gradients = draw(4, 3)
    arguments = {"weight_decay": None, "epsilon": 0.0, "trust_coefficient": 0.25}
    path = follow(make_class("LARS", **arguments), weights, gradients)
    scaled = [2.0**9 * g for g in gradients]
    assert_close(follow(make_class("LARS", **arguments), weights, scaled), path)


def test_lion_of_equal_betas_is_the_sign_of_the_average() -> None:
    """Which is Tiger: the average is a sum of all gradients, the later the heavier."""
    weights, gradients = draw(4, 3)
    path = follow(make_class("Lion", beta_1=0.75, beta_2=0.75), weights, gradients)
    signs = [
        np.sign(sum(0.75 ** (t - k) * g for k, g in enumerate(gradients[: t + 1])))
        for t in range(STEPS)
    ]
    assert_close(path, weights - RATE * np.cumsum(signs, axis=0))


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (2, 3, 4)])
@pytest.mark.parametrize("scale", ["plain", "moonlight", "spectral"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_muon_of_an_orthogonal_gradient(
    shape: tuple[int, ...], scale: str, nesterov: bool
) -> None:
    """It is its own direction, whatever its length, up to the size that is asked for.

    Spectral: the step changes outputs of inputs of root mean square 1 by that of it.
    """
    outputs = shape[-1]
    inputs = int(np.prod(shape[:-1]))
    tall, _ = draw(max(inputs, outputs), min(inputs, outputs))
    gradient, _ = np.linalg.qr(tall)
    gradient = gradient if inputs >= outputs else gradient.T
    size = {
        "plain": max(1.0, outputs / inputs) ** 0.5,
        "moonlight": 0.5 * max(inputs, outputs) ** 0.5,
        "spectral": (outputs / inputs) ** 0.5,
    }[scale]
    muon = make_class(
        "Muon",
        scale=scale,
        rms_rate=0.5,
        nesterov=nesterov,
        coefficients="polar_express",
        ns_steps=12,
    )
    steps = [4.0 * gradient.reshape(shape)] * 3
    path = follow(muon, np.zeros(shape), steps)
    expected = -RATE * size * gradient.reshape(shape)
    assert_close(path, [t * expected for t in (1, 2, 3)], 1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_muon_turns_with_its_gradients(nesterov: bool) -> None:
    """Transposed gradients give the transposed path, but for the size."""
    weights, gradients = draw(4, 4)
    path = follow(make_class("Muon", nesterov=nesterov), weights, gradients)
    turned = follow(
        make_class("Muon", nesterov=nesterov), weights.T, [g.T for g in gradients]
    )
    assert_close(turned, [w.T for w in path], 1e-5)


def test_muon_of_vectors_is_adamw() -> None:
    """With its own numbers."""
    weights, gradients = draw(5)
    muon = make_class(
        "Muon",
        adam_lr_ratio=0.5,
        adam_beta_1=0.75,
        adam_beta_2=0.875,
        epsilon=1e-3,
        weight_decay=0.5,
        adam_weight_decay=0.25,
    )
    adamw = make_class(
        "AdamW",
        learning_rate=RATE / 2,
        beta_1=0.75,
        beta_2=0.875,
        epsilon=1e-3,
        weight_decay=0.25,
    )
    assert_close(follow(muon, weights, gradients), follow(adamw, weights, gradients))


@pytest.mark.parametrize("bias_correction", [False, True])
@pytest.mark.parametrize("safeguard_warmup", [False, True])
def test_prodigy_that_cannot_grow_is_adam(
    bias_correction: bool, safeguard_warmup: bool
) -> None:
    """If the weights never get as far as its first estimate.

    The factor d of the moments cancels, beside d epsilon; and the correction stands
    behind the root, which is what "hat" means for Adam.
    """
    numbers = {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}
    numbers["bias_correction"] = bias_correction
    prodigy = make_class(
        "Prodigy",
        d0=16.0,
        learning_rate=RATE / 16,
        safeguard_warmup=safeguard_warmup,
        **numbers,
    )
    assert_same_path(prodigy, make_class("Adam", epsilon_placement="hat", **numbers))


def test_prodigy_finds_the_distance() -> None:
    """From far too small a start.

    A gradient that stays the same says that the solution is farther yet, so that each
    step is a multiple of the one before it.
    """
    weights, (gradient, *_) = draw(4, 3)
    arguments = {"learning_rate": 1.0, "d0": 1e-4}
    path = follow(make_class("Prodigy", **arguments), weights, [gradient] * 12)
    assert np.max(np.abs(path[0] - weights)) < 1e-3
    assert np.min(np.abs(path[-1] - weights)) > 1.0


@pytest.mark.parametrize("name_of", ["ScheduleFreeSGD", "ScheduleFreeAdamW"])
def test_schedule_free_trains_between_two_points(name_of: str) -> None:
    """The faster point is the rule without averages, the other the mean of its path."""
    weights, gradients = draw(4, 3)
    rule, more = "SGD", {}
    if name_of == "ScheduleFreeAdamW":
        rule, more = "Adam", {"beta_2": 0.9, "epsilon": 1e-3}
    plain = {"beta_1": 0.0, **more} if more else {}
    fast = follow(make_class(rule, **plain), weights, gradients)
    means = np.cumsum(fast, axis=0) / np.arange(1, STEPS + 1)[:, None, None]
    for beta in (2.0**-20, 0.25, 0.9, 1 - 2.0**-20):
        optimizer = make_class(name_of, beta_1=beta, **more)
        variables = [driving.new_variable(weights, PRECISION)]
        steps = [[g] for g in gradients]
        path = driving.apply_all(optimizer, variables, steps, PRECISION)
        trained = [(1 - beta) * z + beta * x for z, x in zip(fast, means, strict=True)]
        assert_close([w for (w,) in path], trained)
        if beta == 2.0**-20:
            assert_close([w for (w,) in path], fast, 1e-5)
            continue  # the average is what is left of a difference
        if beta == 1 - 2.0**-20:
            assert_close([w for (w,) in path], list(means), 1e-5)
        optimizer.put_in_averaged_weights()
        assert_close(driving.values(variables), [means[-1]], 8 * TOLERANCE)


def test_warm_up_of_schedule_free_is_a_schedule() -> None:
    """In the step; the largest rate so far counts in the average of both."""
    schedule = {
        "class": "PiecewiseConstantDecay",
        "arguments": {
            "boundaries": [0, 1, 2],
            "values": [RATE / 4, RATE / 2, 3 * RATE / 4, RATE],
        },
    }
    for name_of in ("ScheduleFreeSGD", "ScheduleFreeAdamW"):
        warm = make_class(name_of, warmup_steps=4, weight_decay=0.25)
        rising = make_class(name_of, learning_rate=schedule, weight_decay=0.25)
        assert_same_path(warm, rising)
