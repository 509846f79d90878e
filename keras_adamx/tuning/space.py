"""The hyperparameters of an optimizer with the ranges to search them in."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keras_adamx.core.optimizer import Optimizer
from keras_adamx.core.search import Range
from keras_adamx.registry import class_of


class SearchSpace(Mapping[str, Range]):
    """The arguments of an optimizer that are worth a search, each with its range.

    A mapping from names to ranges; `search_space` makes one.

        sample(source)     one value for each argument
        optimizer(source)  the optimizer with such values
        grid(n)            all combinations of n values each

    A source is a trial of Optuna, the `hp` of KerasTuner or a `Generator` of NumPy.

    Args:
        optimizer: Name of the optimizer.
        ranges: Ranges by the names of its arguments.

    Raises:
        TypeError: A range is none.
        ValueError: The optimizer has no such argument, or does not allow a value of its
            range.

    Example:
        >>> Log = keras_adamx.tuning.Log
        >>> space = keras_adamx.tuning.SearchSpace("sgd", learning_rate=Log(1e-3, 1.0))
        >>> [round(each["learning_rate"], 6) for each in space.grid(4)]
        [0.001, 0.01, 0.1, 1.0]
    """

    def __init__(self, optimizer: str, /, **ranges: Range) -> None:
        self._class = class_of(optimizer)
        self._ranges = {n: _checked(self._class, n, r) for n, r in ranges.items()}

    @property
    def name(self) -> str:
        """Name of the optimizer, as `keras_adamx.get` takes it."""
        return self._class.__name__.lower()

    def __getitem__(self, name: str) -> Range:
        return self._ranges[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def __repr__(self) -> str:
        lines = "".join(f"\n    {n}={r!r}," for n, r in self.items())
        return f"SearchSpace(\n    {self.name!r},{lines}\n)"

    def sample(self, source: Any, *, prefix: str = "") -> dict[str, Any]:
        """A value for each argument, to be given to `keras_adamx.get(name, **values)`.

        Args:
            source: A trial of Optuna, the `hp` of KerasTuner or a NumPy `Generator`.
            prefix: What the names begin with in the search, where one search is for
                several optimizers with other ranges: "adamw_", say.

        Raises:
            TypeError: The source is none of these.
        """
        methods = (("suggest_float",), ("Float", "Choice"), ("uniform", "integers"))
        if not any(all(hasattr(source, n) for n in names) for names in methods):
            raise TypeError(
                "SearchSpace.sample: argument `source` must be a trial of Optuna, the "
                "`hp` of KerasTuner or a numpy.random.Generator. Received: "
                f"source={source!r}"
            )
        return {n: r.suggest(source, prefix + r.called(n)) for n, r in self.items()}

    def optimizer(self, source: Any, *, prefix: str = "", **fixed: Any) -> Optimizer:
        """The optimizer with sampled arguments.

        Args:
            source: As for `sample`.
            prefix: As for `sample`.
            fixed: Other arguments of the optimizer; what is fixed is not sampled.
        """
        free = {name: r for name, r in self.items() if name not in fixed}
        space = SearchSpace(self.name, **free)
        return self._class(**space.sample(source, prefix=prefix), **fixed)

    def grid(self, n: int) -> Iterator[dict[str, Any]]:
        """Every combination of `n` values of each argument; a `Choice` gives all.

        Args:
            n: Number of values >= 2, evenly spaced on the scale of each range.

        Raises:
            ValueError: `n` is not an integer >= 2.
        """
        if not isinstance(n, int) or n < 2:
            raise ValueError(
                "SearchSpace.grid: argument `n` must be an integer >= 2. Received: "
                f"n={n!r}"
            )
        values = [r.grid(n) for r in self.values()]
        return (dict(zip(self, each)) for each in itertools.product(*values))


def search_space(
    optimizer: str,
    /,
    *,
    only: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    **ranges: Range,
) -> SearchSpace:
    """The ranges in which the hyperparameters of an optimizer are usually searched.

    They stand where the arguments are declared, or follow from there: decays of
    averages are searched by what they lack to 1, other positive numbers on a
    logarithmic scale around their default. So it is with classes of your own.

    Args:
        optimizer: Name of the optimizer, as for `get`.
        only: Names of the arguments to search, or None for the usual ones. Among them
            may be others that have a range: `weight_decay`, `global_clipnorm`, flags.
        exclude: Names of arguments to leave out.
        ranges: Other ranges by the names of arguments, which are searched then.

    Returns:
        A `SearchSpace`.

    Raises:
        TypeError: A range is none, or `only` or `exclude` is no list of names.
        ValueError: There is no such optimizer or argument, no range for one that
            `only` names, or the optimizer does not allow the values.

    Example:
        >>> space = keras_adamx.search_space("sgd")
        >>> space["learning_rate"], space["momentum"]
        (Log(0.0001, 10), OneMinusLog(0.5, 0.99))
        >>> import numpy as np
        >>> optimizer = space.optimizer(np.random.default_rng(0), nesterov=True)
    """
    cls = class_of(optimizer)
    usual = [name for name, a in cls.arguments.items() if a.searched]
    chosen = usual if only is None else _names(cls, "only", only)
    left_out = _names(cls, "exclude", exclude)
    found: dict[str, Any] = {}
    for name in dict.fromkeys([*chosen, *ranges]):
        if name in left_out:
            continue
        found[name] = ranges[name] if name in ranges else cls.arguments[name].search
        if found[name] is None:
            raise ValueError(
                f"search_space: there is no usual range of `{name}` of {cls.__name__}. "
                f"Give one: {name}=Log(low, high), Linear, OneMinusLog or Choice."
            )
    return SearchSpace(optimizer, **found)


def _names(cls: type[Optimizer], argument: str, names: Any) -> list[str]:
    """Names of arguments of a class, or an error."""
    found = None if isinstance(names, str) else list(names)
    if found is None or not all(isinstance(name, str) for name in found):
        raise TypeError(
            f"search_space: argument `{argument}` must be a list of names. Received: "
            f"{argument}={names!r}"
        )
    for name in found:
        _refuse_unknown(cls, name)
    return found


def _refuse_unknown(cls: type[Optimizer], name: str) -> None:
    if name in cls.arguments:
        return
    close = difflib.get_close_matches(name, cls.arguments, n=1)
    hint = f" Did you mean `{close[0]}`?" if close else ""
    raise ValueError(
        f"{cls.__name__} has no argument `{name}` to search.{hint} Allowed: "
        f"{', '.join(cls.arguments)}"
    )


def _checked(cls: type[Optimizer], name: str, given: Any) -> Range:
    """A range all of whose values the class allows, or an error."""
    _refuse_unknown(cls, name)
    if not isinstance(given, Range):
        raise TypeError(
            f"The range of `{name}` must be Log(low, high), Linear, OneMinusLog or "
            f"Choice of keras_adamx.tuning. Received: {name}={given!r}. A fixed value "
            f"goes to `space.optimizer(source, {name}=...)`."
        )
    for value in given.ends:
        cls.arguments[name].checked(value, f"The range {given!r} of {cls.__name__}")
    return given
