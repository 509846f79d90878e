"""The arguments that all optimizers take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import keras
from keras.optimizers.schedules import LearningRateSchedule

from keras_adamx.core import codecs, decay
from keras_adamx.core.arguments import (
    Argument,
    choice,
    count,
    flag,
    hyperparameter,
    rate,
    text,
)
from keras_adamx.core.bridge import KerasOptimizer, path_of
from keras_adamx.core.groups import Group
from keras_adamx.core.search import Log, OneMinusLog
from keras_adamx.core.settings import CLIPPINGS, check_clippings
from keras_adamx.core.transforms import Transform, named, transform_list

# What the constructor of Keras takes.
KERAS_ARGUMENTS = (
    "learning_rate",
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
    "name",
)


def _group_list(value: Any) -> tuple[Group, ...]:
    """Groups, or their configurations, as a tuple."""
    if isinstance(value, (Group, str, dict)) or not isinstance(value, Iterable):
        raise TypeError
    found = [
        keras.saving.deserialize_keras_object(v) if isinstance(v, dict) else v
        for v in value
    ]
    if not all(isinstance(group, Group) for group in found):
        raise TypeError
    return tuple(found)


class Options(KerasOptimizer):
    """Common arguments; `Optimizer` says what each of them means."""

    elementwise: ClassVar[bool] = False
    direction_includes_learning_rate: ClassVar[bool] = False
    moves_itself: ClassVar[bool] = False
    decays_itself: ClassVar[bool] = False
    has_statistics: Any = False
    entries: tuple[Any, ...] = ()

    mutable = frozenset({"loss_scale_factor"})

    learning_rate: Any = rate(0.001)
    weight_decay: float | None = hyperparameter(
        None, at_least=0.0, optional=True, search=Log(1e-4, 1.0), searched=False
    )
    clipnorm: float | None = hyperparameter(
        None, above=0.0, optional=True, search=Log(0.1, 10.0), searched=False
    )
    clipvalue: float | None = hyperparameter(
        None, above=0.0, optional=True, search=Log(0.01, 10.0), searched=False
    )
    global_clipnorm: float | None = hyperparameter(
        None, above=0.0, optional=True, search=Log(0.1, 10.0), searched=False
    )
    use_ema: bool = flag(False)
    ema_momentum: float = hyperparameter(
        0.99,
        at_least=0.0,
        at_most=1.0,
        search=OneMinusLog(0.9, 0.9999),
        searched=False,
    )
    ema_overwrite_frequency: int | None = count(None, optional=True)
    loss_scale_factor: float | None = hyperparameter(
        None, above=0.0, optional=True, scheduled=False
    )
    gradient_accumulation_steps: int | None = count(None, at_least=2, optional=True)
    weight_decay_kind: str = choice("decoupled", decay.KINDS)
    weight_decay_filter: str | None = choice(None, (None, "matrices"))
    peak_learning_rate: float | None = hyperparameter(
        None, above=0.0, optional=True, scheduled=False
    )
    groups: Any = Argument((), _group_list, "a list of `Group`")
    transforms: Any = Argument((), transform_list, "a list of `Transform`")
    state_dtype: str = choice("float32", codecs.STATE_DTYPES)
    sparse: str = choice("dense", ("dense", "lazy"))
    nonfinite: str = choice("propagate", ("propagate", "skip", "raise"))
    shard_state: bool = flag(False)
    jit_compile: bool | str = choice("auto", ("auto", True, False))
    name: str | None = text(None, optional=True)

    def set_arguments(self, values: dict[str, Any]) -> None:
        """Take over checked values; some of them go to Keras."""
        check_clippings(type(self).__name__, values)
        # Keras knows no schedules but that of the learning rate.
        KerasOptimizer.__init__(
            self,
            **{
                name: values[name]
                for name in KERAS_ARGUMENTS
                if name in ("learning_rate", "name")
                or not isinstance(values[name], LearningRateSchedule)
            },
        )
        for name in values.keys() - {"learning_rate", "name"}:
            setattr(self, name, values[name])
        self._undecayed_keys: set[Any] = set()
        self._undecayed_names: list[re.Pattern[str]] = []
        kinds = {group.arguments.get("weight_decay_kind") for group in self.groups}
        if (
            "corrected" in {self.weight_decay_kind, *kinds}
            and self.peak_learning_rate is None
            and isinstance(values["learning_rate"], float)
        ):
            # Part of the configuration from now on: the rate may be changed later.
            self.peak_learning_rate = values["learning_rate"] or None

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[Any] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """Exclude variables from weight decay; to be called before `build`.

        What is excluded is saved with the state and restored with it.

        Args:
            var_list: Variables.
            var_names: Regular expressions, searched in the paths of the variables on
                every backend: "bias" excludes all biases, "head" all that the layer of
                this name holds.

        Raises:
            TypeError: `var_names` is a string, not a list of them.
            ValueError: The optimizer is built already, or a name is no regular
                expression.
        """
        where = f"{type(self).__name__}.exclude_from_weight_decay"
        if isinstance(var_names, str):
            raise TypeError(
                f"{where}: argument `var_names` must be a list of regular expressions. "
                f"Received: var_names={var_names!r}"
            )
        if self.entries:
            raise ValueError(
                f"{where} must be called before the optimizer is built. Received: "
                f"var_list={var_list}, var_names={var_names}"
            )
        self._undecayed_keys |= {self.key(variable) for variable in var_list or ()}
        try:
            self._undecayed_names += [re.compile(name) for name in var_names or ()]
        except re.error as error:
            raise ValueError(
                f"{where}: argument `var_names` must be a list of regular expressions. "
                f"Received: var_names={var_names!r} ({error})"
            ) from None

    def is_excluded(self, variable: Any) -> bool:
        """Whether `exclude_from_weight_decay` named a variable."""
        return self.key(variable) in self._undecayed_keys or any(
            pattern.search(path_of(variable)) for pattern in self._undecayed_names
        )

    @property
    def excludes(self) -> bool:
        """Whether `exclude_from_weight_decay` was told anything."""
        return bool(self._undecayed_keys or self._undecayed_names)

    def own_transforms(self) -> Iterable[Transform]:
        """Transforms that make the rule what it is; they come before the user's."""
        return ()

    def all_transforms(self) -> dict[str, Transform]:
        """All transforms under the names of their slots."""
        return named([*self.own_transforms(), *self.transforms])

    def validate(self) -> None:
        """Refuse arguments that are right one by one but not together."""

    @classmethod
    def hyperparameter_names(cls) -> list[str]:
        """Names of the arguments that only the rule itself reads."""
        return [n for n in cls.arguments if n not in Options.arguments]

    def check_arguments(self) -> None:
        """Refuse arguments that are right one by one but not together."""
        owner = type(self).__name__
        check_clippings(owner, {name: getattr(self, name) for name in CLIPPINGS})
        lazy = self.sparse == "lazy"
        self.refuse(
            "sparse",
            when=lazy and not self.elementwise,
            reason="cannot be 'lazy': the rule works on whole variables, not on rows",
        )
        self.refuse(
            "sparse",
            when=lazy and self.has_statistics,
            reason="cannot be 'lazy': the rule sums over all elements",
        )
        whole = [t for t in self.all_transforms().values() if not t.elementwise]
        self.refuse(
            "sparse",
            when=lazy and whole,
            reason=f"cannot be 'lazy': {whole} work on whole variables, not on rows",
        )
        sizing = [t for t in self.transforms if t.includes_weight_decay]
        self.refuse(
            "transforms",
            when=sizing
            and (
                self.direction_includes_learning_rate
                or self.moves_itself
                or self.decays_itself
            ),
            reason="cannot set the size of a direction that contains the learning rate "
            f"or the weight decay already, as {sizing} would",
        )
        moving = [t for t in self.transforms if t.changes_steps]
        self.refuse(
            "transforms",
            when=self.moves_itself and moving,
            reason="may change gradients only: the rule keeps points that follow from "
            f"its own steps, which {moving} would change",
        )
        sized = any(t.includes_weight_decay for t in self.all_transforms().values())
        self.refuse(
            "weight_decay_kind",
            when=sized and self.weight_decay_kind not in ("decoupled", "l2"),
            reason="must be 'decoupled' or 'l2' under a TrustRatio",
        )
        self.refuse(
            "weight_decay_kind",
            when=self.decays_itself and self.weight_decay_kind != "decoupled",
            reason="must be 'decoupled': the weight decay is part of the rule",
        )
        self.refuse(
            "sparse",
            when=lazy and self.gradient_accumulation_steps,
            reason="cannot be 'lazy' with `gradient_accumulation_steps`: the sum of "
            "several gradients is dense",
        )
        self.refuse(
            "weight_decay_kind",
            when=self.weight_decay_kind == "corrected"
            and self.weight_decay is not None
            and self.peak_learning_rate is None,
            reason="'corrected' needs `peak_learning_rate` unless the learning rate is "
            "a number > 0",
        )
        self.validate()

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON can hold them."""
        values = {
            name: getattr(self, name)
            for name in self.arguments
            if name not in ("learning_rate", "name")
        }
        config = {k: keras.saving.serialize_keras_object(v) for k, v in values.items()}
        return {**super().get_config(), **config}


def leave_to_keras(cls: type) -> None:
    """Leave `learning_rate` and `name` to Keras: a property and a plain attribute."""
    for name in ("learning_rate", "name"):
        if isinstance(vars(cls).get(name), Argument):
            delattr(cls, name)


leave_to_keras(Options)
