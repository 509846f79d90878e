"""The base class of every optimizer: a rule on one side, Keras on the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_adamx.core import backend, building, evaluation, migration, saving, stepping
from keras_adamx.core.bridge import has_value, path_of
from keras_adamx.core.options import Options, leave_to_keras
from keras_adamx.core.program import Program
from keras_adamx.core.report import MemoryReport
from keras_adamx.core.settings import Settings, resolve, rule_of
from keras_adamx.core.slots import Hyper, Slot, State, Weights
from keras_adamx.core.values import Entry

_DEFAULT: Any = object()


class Optimizer(Options):
    """Base of all optimizers: subclass it to write a rule of your own.

    A rule names the `slots` that it keeps for a variable and computes a `direction`
    from a gradient; the weights move by minus the learning rate times the direction.
    Everything else is done here, for every rule alike.

    ```python
    from keras_adamx.rule import Optimizer, Slot, ema, hyperparameter

    class Momentum(Optimizer):
        elementwise = True
        decay: float = hyperparameter(0.9, at_least=0.0, below=1.0)

        def slots(self, weights):
            yield Slot("average")

        def direction(self, gradient, weights, state, hyper):
            state.average = ema(state.average, gradient, hyper.decay)
            return state.average
    ```

    Args:
        learning_rate: Number >= 0, `LearningRateSchedule` of Keras, or callable that
            takes nothing or the number of updates made so far.
        weight_decay: λ >= 0 or None. With every step the weights w also move by
            -learning_rate * λ * w.
        clipnorm: Number > 0 or None, as all numbers here, but for loss scale and peak
            learning rate, also a `LearningRateSchedule`. Largest l2 norm of the
            gradient of one variable.
        clipvalue: Number > 0 or None. Largest magnitude of one element of a gradient.
        global_clipnorm: Number > 0 or None. Largest l2 norm of all gradients together.
            At most one of the three clippings may be set.
        use_ema: Whether to keep an exponential moving average of the weights, which
            replaces them at the end of `fit`.
        ema_momentum: Decay of that average, in [0, 1].
        ema_overwrite_frequency: Replace the weights by their average after every so
            many updates; None for never during training.
        loss_scale_factor: Number > 0 or None. The loss is multiplied and the gradients
            are divided by it.
        gradient_accumulation_steps: Integer >= 2 or None. The update is made once in so
            many calls, with the mean of their gradients; schedules and bias corrections
            count updates.
        weight_decay_kind: "decoupled", as above; "l2": λ w is added to the gradient;
            "independent": by -λ w, whatever the learning rate; "corrected": by
            -learning_rate² / peak_learning_rate * λ * w, so that normalised layers keep
            their balance while the rate falls; "cautious": as "decoupled", but only
            where the step of the rule shrinks the weight as well.
        weight_decay_filter: None, or "matrices" to leave out biases and whatever has
            less than two axes.
        peak_learning_rate: Number > 0 or None, for "corrected": the largest learning
            rate; by default the learning rate, if it is a number.
        groups: List of `Group`: other arguments for the variables whose path a pattern
            finds.
        transforms: List of `Transform`, in the order in which they apply: what changes
            gradients, directions or weights around the rule.
        state_dtype: "float32", "bfloat16" (rounded stochastically) or "int8" (blocks of
            up to 256 share a scale): how the slots are stored. Slots of variables with
            less than 4096 elements, and slots of other shapes than the variable, stay
            float32. Arithmetic is float32 always.
        sparse: "dense" or "lazy": what happens to the rows that a gradient of
            TensorFlow does not name, as that of an embedding. "dense": the same as to a
            gradient of zero; "lazy": nothing, neither decay nor moments, which is
            faster. Elsewhere gradients are dense and this changes nothing.
        nonfinite: What to do with a gradient that is not finite: "propagate", "skip"
            the step (nothing changes but `skipped_steps`), or "raise". A compiled
            training step cannot raise on JAX, nor under `jit_compile=True` on
            TensorFlow: it skips, and the error comes at the end of `fit`.
        shard_state: Whether each device of a `keras.distribution` on JAX that shares
            the data holds only its part of the state, of what can be divided evenly,
            rather than all of it (ZeRO-1). The weights move as they would otherwise,
            and files are the same. Nothing changes on one device or another backend.
        jit_compile: "auto", True or False: whether the update runs as one compiled
            program where Keras does not compile it anyway. "auto" and True do so on
            TensorFlow (XLA) and JAX; PyTorch runs op by op.
        name: Name of the optimizer and prefix of the paths of its state.

    Raises:
        TypeError: An argument is unknown or of the wrong type.
        ValueError: An argument is out of its range, or rules out another one.
    """

    # Whether averages are in the place of the weights.
    holds_averages = False
    # Whether steps are measured, for a callback that watches them.
    measuring = False
    # Whether the norms of slots are wanted too.
    measuring_slots = False
    # The table of what is measured, if somebody has watched.
    measured: Any = None
    # State that was read before the variables were known.
    _pending: dict[str, Any] | None = None
    # Whether `use_ema` leaves the weights alone at the end of `fit`.
    keeps_trained_weights = False
    # Whether the direction of an element depends on no other element of the variable. A
    # backend may then cut large variables into pieces and join small ones.
    elementwise: ClassVar[bool] = False
    # Whether the direction already contains the learning rate.
    direction_includes_learning_rate: ClassVar[bool] = False
    # Whether the direction already contains the weight decay, by `hyper.weight_decay`,
    # which is 0 for variables that do not decay.
    decays_itself: ClassVar[bool] = False
    # Whether the direction is the whole movement, learning rate of the group
    # (`learning_rate_multiplier`) and weight decay included.
    moves_itself: ClassVar[bool] = False
    # The course of the learning rate over a training that the rule was made for, if
    # nothing else is known: "warmup-cosine", "cosine", "warmup-constant" or "constant".
    suited_schedule: ClassVar[str] = "warmup-cosine"
    # State that all variables share, advanced once a step by `begin_step`.
    shared_slots: ClassVar[tuple[Slot, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "update_step" in vars(cls):
            raise TypeError(
                f"{cls.__name__} overrides `update_step`, which derives from the rule: "
                "override `direction` instead."
            )
        if "__init__" in vars(cls):
            raise TypeError(
                f"{cls.__name__} defines `__init__`, which follows from its arguments: "
                "declare them as attributes of the class."
            )
        leave_to_keras(cls)
        package = cls.__module__.partition(".")[0]
        keras.saving.register_keras_serializable(package=package)(cls)

    def __init__(
        self, learning_rate: Any = _DEFAULT, *args: Any, **kwargs: Any
    ) -> None:
        if args:
            raise TypeError(
                f"{type(self).__name__} takes its arguments by name, all but the "
                f"learning rate. Received: {args!r} without names. Allowed: "
                f"{', '.join(self.arguments)}"
            )
        if learning_rate is not _DEFAULT:
            kwargs["learning_rate"] = learning_rate
        values = self.bind(kwargs)
        self.set_arguments(values)
        self.check_arguments()
        self.settings: tuple[Settings, ...] = ()
        self.keep(settings=resolve(self, self.groups))
        self.programs: dict[Any, Program] = {}
        self.executor = backend.Executor(self.jit_compile)
        # Dtype and shape of the gradients that were checked last.
        self.accepted: dict[int, Any] = {}
        self.entries: tuple[Entry, ...] = ()
        # The widest dtype in which any variable is updated.
        self.scalar_dtype = "float32"
        self.rounding_seed: Any = None
        # Counts steps that were skipped.
        self.skipped: Any = None
        # How many of them an error has told of.
        self.reported = 0
        # Whether averages are in the place of the weights, and what waits meanwhile, by
        # position: TensorFlow exports models with dictionaries of strings only.
        self.evaluating: Any = None
        self.trained: dict[str, Any] = {}

    # What a rule says.

    def slots(self, weights: Weights) -> Iterable[Slot]:
        """The quantities that the rule keeps for a variable."""
        return ()

    def begin_step(self, shared: State, hyper: Hyper) -> None:
        """Advance the shared state, once a step, before any variable."""

    def statistics(
        self, gradient: Any, weights: Any, state: State, hyper: Hyper
    ) -> dict[str, Any]:
        """Numbers that are summed over all variables before any of them moves.

        `begin_step` finds the sums in `hyper.sums`. `hyper.shared` is the shared state
        before the step here.
        """
        return {}

    @property
    def has_statistics(self) -> bool:
        """Whether the rule has `statistics`."""
        return type(self).statistics is not Optimizer.statistics

    def takes(self, weights: Weights) -> bool:
        """Whether the rule is for a variable; `otherwise` has the others."""
        return True

    def otherwise(self) -> tuple[Any, float] | None:
        """The rule for other variables, by `inner`, and a factor of its rate."""
        return None

    def inner(self, cls: type[Optimizer], **arguments: Any) -> Any:
        """A rule of another class with what all classes have in common from this one.

        Args:
            cls: The class of the rule.
            arguments: Other values for arguments of the class.
        """
        common = {n: getattr(self, n) for n in Options.arguments if n in vars(self)}
        values = cls.bind({**common, **arguments})
        return rule_of(cls, {n: values[n] for n in values.keys() - {"learning_rate"}})

    def jointly(
        self, directions: list[Any], abouts: list[Weights], hyper: Hyper
    ) -> list[Any]:
        """Directions of variables that are alike, worked on together."""
        return directions

    def evaluated(self, weights: Any, state: State, hyper: Hyper) -> Any:
        """The weights to evaluate the model with, from those that are trained."""
        return weights

    def direction(self, gradient: Any, weights: Any, state: State, hyper: Hyper) -> Any:
        """Where the weights go: they move by minus the learning rate times this.

        Args:
            gradient: Gradient, float32 (float64 for float64 weights), with the shape of
                the weights; it may be flat, or a part, where the rule is `elementwise`.
            weights: The weights before the step, same dtype and shape.
            state: The slots as attributes; set them to their new values.
            hyper: The hyper-parameters, `learning_rate`, `step` and `shared`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define `direction(gradient, weights, state, "
            "hyper)`."
        )

    # What the core makes of it.

    @backend.not_converted
    def build(self, variables: Sequence[Any]) -> None:
        """Create the state for the variables of a model.

        A later call adds state for the variables that are new, those of layers that
        were made trainable since, say; the others keep theirs.

        Raises:
            TypeError: A variable is not of a floating-point dtype.
            ValueError: A pattern of `groups` is found nowhere.
        """
        variables = list(variables)
        with backend.outside_graph():
            if not self.entries or any(self.index(v) is None for v in variables):
                building.extend(self, variables)
            self.activate(variables)
            saving.track_for_checkpoints(self)
            if self._pending is not None:
                saving.load(self, self._pending)
                self._pending = None
                self.holds_averages = evaluation.is_evaluating(self)

    def positions(self, variables: Sequence[Any]) -> list[int]:
        """Positions of known variables."""
        positions = []
        for variable in variables:
            position = self.index(variable)
            if position is None:
                raise ValueError(
                    f"{type(self).__name__} was built for other variables and does not "
                    f"know '{path_of(variable)}' of shape {tuple(variable.shape)}. It "
                    f"knows {[entry.path for entry in self.entries]}."
                )
            positions.append(position)
        return positions

    @backend.not_converted
    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None
    ) -> None:
        """Make one step.

        Args:
            grads: One gradient a variable, of its shape; None where the loss does not
                depend on the variable, which then stays as it is.
            trainable_variables: The variables; by default those given to `build`. The
                first call builds the optimizer for them, a later one for those that
                are new.

        Raises:
            ValueError: Gradients and variables do not match, a variable is given twice,
                or there is no gradient at all.
            FloatingPointError: A gradient is not finite and `nonfinite` is "raise".
        """
        grads = list(grads)
        if not grads:
            return
        if trainable_variables is None:
            if not self.entries:
                raise ValueError(
                    f"{type(self).__name__} must be built before `apply(grads)` can do "
                    "without `trainable_variables`. Call "
                    "`optimizer.build(model.trainable_variables)` first."
                )
            trainable_variables = self.registered
        variables = list(trainable_variables)
        if len(grads) != len(variables):
            raise ValueError(
                "`grads` must have one gradient (or None) for each variable. Received: "
                f"{len(grads)} gradients for {len(variables)} variables."
            )
        if self._pending is not None or any(self.index(v) is None for v in variables):
            self.build(variables)
        if self.holds_averages:
            raise RuntimeError(
                f"{type(self).__name__}: the weights are averages, put in to evaluate "
                "the model. Train with `keras_adamx.callbacks.EvaluateAveraged`, or "
                "call `optimizer.put_in_trained_weights()` first."
            )
        finite = stepping.step(self, stepping.paired(self, grads, variables))
        if finite is None:
            self.gradients_seen.assign_add(1)
        else:
            one = ops.cast(finite, self.gradients_seen.dtype)
            self.gradients_seen.assign_add(one)
            self.skipped.assign_add(1 - ops.cast(finite, "int32"))

    @property
    def has_averages(self) -> bool:
        """Whether there are averages of the weights to evaluate the model with."""
        return bool(evaluation.averaged_entries(self))

    def prepare_averaged_weights(self) -> None:
        """Create the variables that keep the trained weights while averages are in."""
        evaluation.prepare(self)

    def put_in_averaged_weights(self) -> None:
        """Evaluate with the averages of the weights, where the optimizer keeps some.

        Does nothing before the first step, nor if the averages are in already. Files
        that are saved now hold averages as weights, and the weights that are trained as
        state.

        Raises:
            ValueError: The optimizer keeps no averages.
        """
        evaluation.put_in(self)
        self.holds_averages = evaluation.is_evaluating(self)

    def put_in_trained_weights(self) -> None:
        """Go on training: undo `put_in_averaged_weights`."""
        evaluation.take_out(self)
        self.holds_averages = False

    # No property: Keras reads every public one when it walks a model to save it.
    def has_begun(self) -> bool:
        """Whether an update was made."""
        seen = int(ops.convert_to_numpy(backend.read(self.gradients_seen)))
        return seen >= (self.gradient_accumulation_steps or 1)

    @property
    def skipped_steps(self) -> int:
        """How many steps were skipped because a gradient was not finite."""
        if self.skipped is None:
            return 0
        return int(ops.convert_to_numpy(backend.read(self.skipped)))

    def import_state(self, source: keras.optimizers.Optimizer) -> None:
        """Go on where another optimizer stopped.

        Takes over the slots, the number of updates made, the averages of the weights
        and what is excluded from weight decay; neither arguments nor learning rate. Our
        next step is then the one that the source would have made, if the arguments mean
        the same: those of Keras need `epsilon_placement="hat"` for Adam and AdamW,
        "inside" for RMSprop and Adagrad, `momentum_decay=1.0` for Nadam, and its
        epsilon. `keras_adamx.convert` sets them.

        Args:
            source: A built optimizer: SGD, RMSprop, Adagrad, Adadelta, Adam, AdamW,
                Adamax, Nadam or Lion of `keras.optimizers`, or one of this package.
                Its class may be another one if all slots hold the same quantities.

        Raises:
            TypeError: The source is of no class that is known.
            ValueError: The source is not built, or was built for other variables; a
                slot of one holds what none of the other does; this optimizer has made
                steps already.
        """
        migration.import_state(self, source)

    def memory_report(self) -> MemoryReport:
        """What the state takes: a table of variables, slots and bytes; `print` it."""
        return MemoryReport(self)

    @backend.not_converted
    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable and its slots by the bare rule.

        `apply` does not go through here: it updates all variables in one program, with
        clipping, decay, averages and accumulation.

        Args:
            gradient: Gradient of the variable.
            variable: A variable that the optimizer was built for.
            learning_rate: Scalar.
        """
        if (
            self.shared_slots
            or self.has_statistics
            or any(s.decays for s in self.settings)
        ):
            raise NotImplementedError(
                f"{type(self).__name__} keeps state that all variables share and that "
                "advances once a step: call `apply` with all gradients instead of "
                "`update_step` with one."
            )
        entry = self.entries[self.positions([variable])[0]]
        gradient = stepping.checked(self, gradient, entry)
        program = Program(self, [entry])
        values = [backend.read(variable) for variable in program.variables]
        scalars = stepping.scalars_of(self, learning_rate)
        _, common = program.common([], [], [gradient], scalars)
        new = program.rule_alone(values, gradient, common)
        for target, value in zip([variable, *program.variables[1:]], new):
            self.assign(target, value)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Replace the weights by their averages, if `use_ema`; Keras ends `fit` so.

        Raises:
            FloatingPointError: A gradient was not finite, `nonfinite` is "raise", and
                the step was compiled in such a way that it could not raise.
        """
        self.reconsider()
        if not has_value(self.gradients_seen):
            return  # An error is on its way.
        skipped = self.skipped_steps - self.reported
        if self.nonfinite == "raise" and skipped:
            self.reported += skipped
            raise FloatingPointError(
                f"A gradient was not finite in {skipped} steps, which were skipped."
            )
        if not self.use_ema or self.keeps_trained_weights:
            return
        if not self.has_begun():
            return  # Neither have the averages.
        entries = [self.entries[i] for i in self.positions(var_list)]
        backend.assign(
            [(e.variable, e.average) for e in entries if e.average is not None]
        )

    # Saving.

    def forget_saved_rate(self) -> None:
        """The rate was set: what a file said before does not hold."""
        if self._pending is not None:
            self._pending.pop(saving.LEARNING_RATE, None)

    def save_own_variables(self, store: Any) -> None:
        """Write the state, named by slot and variable, into a store of Keras."""
        if self._pending is not None:  # Read, and not yet in use.
            for name, value in self._pending.items():
                store[name] = value
            return
        saving.save(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Read the state back.

        Before `build` the state is kept and read when the variables are known.

        Raises:
            ValueError: The state is of another optimizer, of other variables, or
                incomplete.
        """
        self.reconsider()
        if len(store.keys()) == 0:
            saving.warn_about_missing_state(self)
            if self.evaluating is not None:  # The weights of the file are no averages.
                self.evaluating.assign(0)
        elif self.entries:
            saving.load(self, store)
        else:
            pending = saving.copy(store)
            saving.check_kind(self, pending)
            self._pending = pending
        self.reported = self.skipped_steps
        self.holds_averages = evaluation.is_evaluating(self)
