"""Functions of two numbers to watch optimizers on, with gradient and minimum."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_adamx.core import backend

Point = tuple[float, float]
View = tuple[Point, Point]


@dataclasses.dataclass(frozen=True)
class Function:
    """A function f(x, y) of two numbers, and what a picture of it needs.

    With `gradient`, both are called with float64 NumPy arrays. Without, `value` is
    called with float32 tensors of Keras, written in `keras.ops`, and the backend
    differentiates it. x and y may have any shape, the same for both; the value has
    that shape too.

    Args:
        name: How it is called in titles and errors.
        value: f, a callable of x and y.
        gradient: Callable of x and y that returns (∂f/∂x, ∂f/∂y), or None.
        start: Where a descent begins if nothing else is said, or None.
        minimum: The lowest point, or None if there is none or it is not known.
        view: What a picture shows, ((x from, x to), (y from, y to)), or None for what
            holds the trajectories.
        bounded: Whether f has a lower bound. Contours then lie at equal ratios of the
            height above it, else at equal distances.
        formula: f in symbols, for titles.

    Example:
        >>> bowl = keras_adamx.plots.Function(
        ...     "bowl",
        ...     value=lambda x, y: x**2 + y**2,
        ...     gradient=lambda x, y: (2 * x, 2 * y),
        ...     start=(1.0, 2.0),
        ...     minimum=(0.0, 0.0),
        ... )
        >>> float(bowl.at(3.0, 4.0))
        25.0
    """

    name: str
    value: Callable[[Any, Any], Any]
    gradient: Callable[[Any, Any], Any] | None = None
    start: Point | None = None
    minimum: Point | None = None
    view: View | None = None
    bounded: bool = True
    formula: str = ""

    def at(self, x: Any, y: Any) -> np.ndarray:
        """The value at each of the points, in float64.

        Args:
            x: Numbers.
            y: As many numbers, in the same shape.

        Raises:
            ValueError: The value of f has another shape than x.
        """
        x, y = np.asarray(x, "float64"), np.asarray(y, "float64")
        found = self.value(x, y) if self.gradient else self.value(*_tensors(x, y))
        value = _array(found)
        if value.shape != x.shape:
            raise ValueError(
                f"Function {self.name!r} must return one value a point: x and y of "
                f"shape {x.shape} gave shape {value.shape}."
            )
        return value

    def slope(self, x: float, y: float) -> np.ndarray:
        """The gradient (∂f/∂x, ∂f/∂y) at a point, in float64.

        Args:
            x: Number.
            y: Number.
        """
        if self.gradient is None:
            found = backend.gradient_of(self.value, _tensors(x, y))
        else:
            found = self.gradient(np.float64(x), np.float64(y))
        return np.stack([_array(part) for part in found])


def _tensors(x: Any, y: Any) -> tuple[Any, Any]:
    return ops.convert_to_tensor(x, "float32"), ops.convert_to_tensor(y, "float32")


def _array(x: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x), "float64")


def _beale_terms(x: Any, y: Any) -> tuple[Any, Any, Any]:
    return 1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3


def _beale(x: Any, y: Any) -> Any:
    a, b, c = _beale_terms(x, y)
    return a**2 + b**2 + c**2


def _beale_gradient(x: Any, y: Any) -> tuple[Any, Any]:
    a, b, c = _beale_terms(x, y)
    return (
        2.0 * (a * (y - 1.0) + b * (y**2 - 1.0) + c * (y**3 - 1.0)),
        2.0 * x * (a + 2.0 * b * y + 3.0 * c * y**2),
    )


def _waves(x: Any) -> Any:
    return x**2 - 10.0 * np.cos(2.0 * np.pi * x)


def _waves_slope(x: Any) -> Any:
    return 2.0 * x + 20.0 * np.pi * np.sin(2.0 * np.pi * x)


FUNCTIONS = {
    function.name: function
    for function in (
        Function(
            "rosenbrock",
            value=lambda x, y: (1.0 - x) ** 2 + 100.0 * (y - x**2) ** 2,
            gradient=lambda x, y: (
                -2.0 * (1.0 - x) - 400.0 * x * (y - x**2),
                200.0 * (y - x**2),
            ),
            start=(-1.2, 1.0),
            minimum=(1.0, 1.0),
            view=((-2.0, 2.0), (-1.0, 3.0)),
            formula="(1 - x)² + 100 (y - x²)²",
        ),
        Function(
            "beale",
            value=_beale,
            gradient=_beale_gradient,
            start=(1.0, 1.0),
            minimum=(3.0, 0.5),
            view=((-1.0, 4.5), (-2.0, 2.0)),
            formula="(1.5 - x + xy)² + (2.25 - x + xy²)² + (2.625 - x + xy³)²",
        ),
        Function(
            "rastrigin",
            value=lambda x, y: 20.0 + _waves(x) + _waves(y),
            gradient=lambda x, y: (_waves_slope(x), _waves_slope(y)),
            start=(-3.3, 2.6),
            minimum=(0.0, 0.0),
            view=((-5.12, 5.12), (-5.12, 5.12)),
            formula="20 + x² - 10 cos 2πx + y² - 10 cos 2πy",
        ),
        Function(
            "saddle",
            value=lambda x, y: 0.5 * (x**2 - y**2),
            gradient=lambda x, y: (x, -y),
            start=(-1.5, 0.01),
            view=((-2.0, 2.0), (-2.0, 2.0)),
            bounded=False,
            formula="(x² - y²) / 2",
        ),
        Function(
            "valley",
            value=lambda x, y: 0.5 * (x**2 + 100.0 * y**2),
            gradient=lambda x, y: (x, 100.0 * y),
            start=(-4.0, 1.0),
            minimum=(0.0, 0.0),
            view=((-5.0, 5.0), (-2.0, 2.0)),
            formula="(x² + 100 y²) / 2",
        ),
    )
}


def function_of(given: Any) -> Function:
    """The function that a name, a callable or a `Function` stands for."""
    if isinstance(given, Function):
        return given
    if callable(given):
        name = getattr(given, "__name__", type(given).__name__)
        return Function("f" if name == "<lambda>" else name, given)
    if isinstance(given, str) and given in FUNCTIONS:
        return FUNCTIONS[given]
    close = difflib.get_close_matches(str(given), FUNCTIONS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        "Argument `function` must be a name, a callable of x and y, or a "
        f"`plots.Function`. Received: function={given!r}.{hint} Names: "
        f"{', '.join(FUNCTIONS)}"
    )
