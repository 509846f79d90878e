"""The arguments that hold for the variables of one group, resolved once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras.optimizers.schedules import LearningRateSchedule

from keras_adamx.core.groups import COMMON, Group

if TYPE_CHECKING:
    from keras_adamx.core.optimizer import Optimizer

CLIPPINGS = ("clipnorm", "clipvalue", "global_clipnorm")
MULTIPLIER = "learning_rate_multiplier"


class Settings:
    """What holds for some of the variables.

    Attributes:
        rule: An optimizer of the same class with the arguments of the group. It has no
            state and is asked for slots and directions only.
        multiplier: Factor of the learning rate.
        frozen: Whether the variables stay as they are.
        base: The settings whose shared state these use: their own, or those of the
            optimizer if the arguments of the rule are the same.
        shared: Variables that all variables of the group share.
        scheduled: Arguments that are schedules, by name.
    """

    def __init__(self, optimizer: Optimizer, group: Group | None) -> None:
        self.rule: Any = optimizer if group is None else _rule(optimizer, group)
        self.multiplier = 1.0 if group is None else group.learning_rate
        self.frozen = group is not None and group.frozen
        own = set(optimizer.hyperparameter_names())
        given = set() if group is None else set(group.arguments)
        self.base: Settings = (
            self if group is None or own & given else optimizer.settings[0]
        )
        self.shared: dict[str, Any] = {}
        self.scheduled = {
            name: value
            for name, value in (
                *self.arguments().items(),
                (MULTIPLIER, self.multiplier),
            )
            if isinstance(value, LearningRateSchedule)
        }

    def arguments(self) -> dict[str, Any]:
        """All arguments but the learning rate."""
        names = [name for name in self.rule.arguments if name != "learning_rate"]
        return {name: getattr(self.rule, name) for name in names}

    @property
    def decays(self) -> list[str]:
        """Decays of averages that are scheduled: the products of them are kept."""
        return [
            name
            for name in self.scheduled
            if name in self.rule.arguments and self.rule.arguments[name].is_decay
        ]


def _rule(optimizer: Optimizer, group: Group) -> Any:
    cls = type(optimizer)
    allowed = [*cls.hyperparameter_names(), *COMMON]
    rule = object.__new__(cls)
    values = {
        name: getattr(optimizer, name)
        for name in cls.arguments
        if name != "learning_rate"
    }
    for name, value in group.arguments.items():
        if name not in allowed:
            raise TypeError(
                f"{cls.__name__}: argument `groups` sets `{name}` for "
                f"{group.pattern!r}. Allowed: {', '.join(allowed)}, learning_rate, "
                "frozen, required"
            )
        values[name] = cls.arguments[name].checked(value, f"{cls.__name__}: {group}")
    # Past the descriptors, which look for a whole optimizer.
    for name, value in values.items():
        rule.__dict__[name] = value
    rule.check_arguments()
    return rule


def check_clippings(owner: str, arguments: dict[str, Any]) -> None:
    """Refuse two clippings at once."""
    given = {n: arguments[n] for n in CLIPPINGS if arguments[n] is not None}
    if len(given) > 1:
        raise ValueError(
            f"{owner}: only one of `clipnorm`, `clipvalue` and `global_clipnorm` may "
            f"be set. Received: {given}"
        )


def resolve(optimizer: Optimizer, groups: Sequence[Group]) -> tuple[Settings, ...]:
    """The settings of the optimizer itself, then of each group."""
    optimizer.keep(settings=(Settings(optimizer, None),))
    return (*optimizer.settings, *(Settings(optimizer, group) for group in groups))
