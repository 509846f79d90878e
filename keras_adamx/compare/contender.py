"""The optimizers of a comparison: from what was given to what can be made anew."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from keras_adamx.compare.records import Entry
from keras_adamx.compare.search import Searched, searched
from keras_adamx.core.bridge import undecayed_patterns
from keras_adamx.core.optimizer import Optimizer
from keras_adamx.registry import class_of, name_and_rate
from keras_adamx.schedules import CosineWithWarmup, LinearWarmup

SCHEDULES = ("warmup-cosine", "cosine", "warmup-constant", "constant")
# The share of the budget in which the learning rate rises.
WARMUP = 0.05


@dataclasses.dataclass(frozen=True)
class Contender:
    """An optimizer that can be made anew for each run.

    Args:
        entry: What the plan says of it.
        cls: The class.
        config: Its configuration.
        undecayed: Patterns of the names of variables that do not decay.
        trials: The settings to try, or one empty setting where nothing is tuned.
    """

    entry: Entry
    cls: type
    config: dict[str, Any]
    undecayed: tuple[str, ...]
    trials: tuple[dict[str, Any], ...]

    @property
    def tuned(self) -> bool:
        """Whether there is anything to choose."""
        return bool(self.entry.searched)

    def optimizer(self, settings: dict[str, Any], steps: int) -> Any:
        """A fresh optimizer for a run of so many steps."""
        config = {**self.config, **settings}
        if self.entry.schedule != "own":
            updates = max(steps // (config.get("gradient_accumulation_steps") or 1), 1)
            rate = float(config["learning_rate"])
            config["learning_rate"] = scheduled(self.entry.schedule, rate, updates)
        made = self.cls.from_config(config)  # type: ignore[attr-defined]
        if self.undecayed:
            made.exclude_from_weight_decay(var_names=list(self.undecayed))
        return made


def scheduled(schedule: str, rate: float, updates: int) -> Any:
    """The learning rate over a run, with `rate` as its peak."""
    rise = max(round(WARMUP * updates), 1) if schedule.startswith("warmup") else 0
    first = rate / (rise + 1)  # A first step of 0 would be lost.
    if schedule.endswith("cosine"):
        return CosineWithWarmup(
            first,
            decay_steps=max(updates - rise, 1),
            warmup_target=rate,
            warmup_steps=rise,
        )
    return LinearWarmup(rate, rise, first) if rise else rate


def contenders(
    optimizers: Any, search: Any, trials: int | None, schedule: str | None
) -> tuple[Contender, ...]:
    """What is to be compared.

    Raises:
        TypeError: There is something else than optimizers, or in the search.
        ValueError: There is no such optimizer, two have the same label, or they would
            try different numbers of settings.
    """
    if schedule is not None and schedule not in SCHEDULES:
        raise ValueError(
            f"compare: argument `schedule` must be None or one of "
            f"{', '.join(SCHEDULES)}. Received: schedule={schedule!r}"
        )
    given = _labelled(optimizers)
    by_label = _by_label(search, given)
    found = tuple(
        _contender(label, one, by_label[label], trials, schedule)
        for label, one in given.items()
    )
    numbers = {c.entry.label: len(c.trials) for c in found if c.tuned}
    if len(set(numbers.values())) > 1:
        each = ", ".join(f"{label}: {number}" for label, number in numbers.items())
        raise ValueError(
            "compare: all optimizers that are tuned must try the same number of "
            f"settings. Received: {each}"
        )
    return found


def _by_label(search: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The search of each optimizer; a dictionary may name it by labels."""
    named = isinstance(search, Mapping) and any(key in given for key in search)
    if not named:
        return dict.fromkeys(given, search)
    unknown = [key for key in search if key not in given]
    if unknown:
        raise ValueError(
            f"compare: argument `search` has {unknown[0]!r}, which is no label of an "
            f"optimizer. Labels: {', '.join(given)}"
        )
    return {label: search.get(label) for label in given}


def _labelled(optimizers: Any) -> dict[str, Any]:
    if isinstance(optimizers, Mapping):
        found = {str(label): one for label, one in optimizers.items()}
    else:
        single = isinstance(optimizers, str | type | keras.optimizers.Optimizer)
        if not single and not isinstance(optimizers, Iterable):
            raise TypeError(
                "compare: argument `optimizers` must be a list of names, classes and "
                "optimizers, or a dictionary of labels and these. Received: "
                f"optimizers={optimizers!r}"
            )
        found = {}
        for one in [optimizers] if single else optimizers:
            label = _label(one)
            if label in found:
                raise ValueError(
                    f"compare: two optimizers are called {label!r}: pass a dictionary "
                    "of labels and optimizers."
                )
            found[label] = one
    if not found:
        raise ValueError("compare: argument `optimizers` must name one or more.")
    for label in found:
        if not label or not label.isprintable():
            raise ValueError(
                "compare: labels of optimizers must be text that can be printed. "
                f"Received: {label!r}"
            )
    return found


def _label(one: Any) -> str:
    if not isinstance(one, type | keras.optimizers.Optimizer):
        return str(one)
    cls = one if isinstance(one, type) else type(one)
    own = cls.__name__.lower()
    ours = issubclass(cls, Optimizer)
    if not isinstance(one, type):
        # Keras numbers those that have no name of their own.
        name = re.sub(r"_\d+$", "", one.name)
        if name.replace("_", "").lower() != own:
            return str(one.name)
    return own if ours else f"keras.{cls.__name__}"


def _prototype(label: str, given: Any) -> Any:
    """An optimizer with all arguments of what was given."""
    if isinstance(given, str):
        path, rate = name_and_rate(given)
        arguments = {} if rate is None else {"learning_rate": rate}
        package, _, name = path.rpartition(".")
        if package in ("", "keras_adamx"):
            return class_of(name)(**arguments)
        cls: Any = getattr(keras.optimizers, name, None)
        known = isinstance(cls, type) and issubclass(cls, keras.optimizers.Optimizer)
        if package not in ("keras", "keras.optimizers") or not known:
            raise ValueError(
                f"compare: there is no optimizer {given!r}. Allowed: a name of "
                "keras_adamx.list_optimizers(), or that of a class of keras.optimizers "
                "behind 'keras.', such as 'keras.AdamW'."
            )
        return cls(**arguments)
    if isinstance(given, type) and issubclass(given, keras.optimizers.Optimizer):
        return given()
    if isinstance(given, keras.optimizers.Optimizer):
        return given
    raise TypeError(
        "compare: argument `optimizers` must hold names, classes and optimizers. "
        f"Received for {label!r}: {given!r}"
    )


def _contender(
    label: str, given: Any, search: Any, trials: int | None, schedule: str | None
) -> Contender:
    prototype = _prototype(label, given)
    cls = type(prototype)
    config = _plain(prototype.get_config())
    config.pop("name", None)  # Names of variables are alike for all.
    rate = config.get("learning_rate")
    own = isinstance(rate, bool) or not isinstance(rate, int | float)
    if own:
        course = "own"
    elif schedule is not None:
        course = schedule
    else:
        course = getattr(cls, "suited_schedule", "warmup-cosine")
        if config.get("warmup_steps"):  # It warms up itself.
            course = "constant"
    tried = Searched({}, ({},)) if search is None else None
    if tried is None:
        tried = searched(label, prototype, search, trials, rate_is_own=own)
    fixed = {
        name: value
        for name, value in _chosen(cls, config).items()
        if name not in tried.words
    }
    if not own and "learning_rate" not in tried.words:
        fixed["learning_rate"] = rate
    entry = Entry(label, _path(cls), course, fixed, tried.words)
    return Contender(entry, cls, config, undecayed_patterns(prototype), tried.settings)


def _path(cls: type) -> str:
    """Name of a class with its package."""
    return f"{cls.__module__.partition('.')[0]}.{cls.__name__}"


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """The same with numbers without the digits that float32 has added."""
    return {
        name: float(f"{value:.7g}") if isinstance(value, float) else value
        for name, value in config.items()
    }


def _chosen(cls: Any, config: dict[str, Any]) -> dict[str, Any]:
    """What differs from the defaults of the class, as JSON."""
    parameters = inspect.signature(cls).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    required = any(p.default is p.empty for p in named)
    default = {} if required else _as_json(_plain(cls().get_config()))
    return {
        name: value
        for name, value in _as_json(config).items()
        if name not in default or value != default[name]
    }


def _as_json(config: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(config, default=repr)))
