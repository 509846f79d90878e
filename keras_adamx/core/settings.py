"""The arguments that hold for the variables of one group, resolved once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras.optimizers.schedules import LearningRateSchedule

from keras_adamx.core.groups import COMMON, Group
from keras_adamx.core.slots import Weights

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
        factor: What the learning rate is multiplied by besides.
        otherwise: What holds for the variables that the rule does not take, or None.
        frozen: Whether the variables stay as they are.
        base: The settings whose shared state these use: their own, or those of the
            optimizer if the arguments of the rule are the same.
        shared: Variables that all variables of the group share.
        transforms: Transforms by the names of their slots.
        scheduled: Arguments that are schedules, by name; those of transforms as
            (name of the transform, name).
    """

    def __init__(
        self, optimizer: Optimizer, group: Group | None, *, inner: bool = False
    ) -> None:
        self.rule: Any = optimizer if group is None else _rule(optimizer, group)
        self.factor = 1.0
        other = self.rule.otherwise()
        if inner and other is not None:
            self.rule, self.factor = other
        self.multiplier = 1.0 if group is None else group.learning_rate
        self.frozen = group is not None and group.frozen
        own = set(optimizer.hyperparameter_names())
        given = set() if group is None else set(group.arguments)
        self.base: Settings = (
            self if group is None or inner or own & given else optimizer.settings[0]
        )
        self.otherwise: Settings | None = None
        if not inner and other is not None:
            self.otherwise = Settings(optimizer, group, inner=True)
        self.shared: dict[str, Any] = {}
        self.transforms = self.rule.all_transforms()
        self.scheduled: dict[Any, Any] = {
            name: value
            for name, value in (
                *self.arguments().items(),
                (MULTIPLIER, self.multiplier),
                *(
                    ((place, name), getattr(transform, name))
                    for place, transform in self.transforms.items()
                    for name in transform.arguments
                ),
            )
            if isinstance(value, LearningRateSchedule)
        }

    def arguments(self) -> dict[str, Any]:
        """All arguments but the learning rate."""
        names = [name for name in self.rule.arguments if name != "learning_rate"]
        return {name: getattr(self.rule, name) for name in names}

    def of(self, weights: Weights) -> Settings:
        """These, or what holds for a variable that their rule does not take."""
        if self.otherwise is None or self.rule.takes(weights):
            return self
        return self.otherwise

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
    return rule_of(cls, values)


def check_clippings(owner: str, arguments: dict[str, Any]) -> None:
    """Refuse two clippings at once."""
    given = {n: arguments[n] for n in CLIPPINGS if arguments[n] is not None}
    if len(given) > 1:
        raise ValueError(
            f"{owner}: only one of `clipnorm`, `clipvalue` and `global_clipnorm` may "
            f"be set. Received: {given}"
        )


def resolve(optimizer: Optimizer, groups: Sequence[Group]) -> tuple[Settings, ...]:
    """The settings of the optimizer itself, of each group, then of other rules."""
    optimizer.keep(settings=(Settings(optimizer, None),))
    found = [*optimizer.settings, *(Settings(optimizer, group) for group in groups)]
    return (*found, *(s.otherwise for s in found if s.otherwise is not None))


def rule_of(cls: type[Optimizer], values: dict[str, Any]) -> Any:
    """A rule without the optimizer around it: no state, no counter."""
    rule = object.__new__(cls)
    # Past the descriptors, which look for a whole optimizer.
    for name, value in values.items():
        rule.__dict__[name] = value
    rule.check_arguments()
    return rule


def product_of(decay: str) -> str:
    """Name of the shared state that holds the product of a scheduled decay."""
    return f"log_product_of_{decay}"
