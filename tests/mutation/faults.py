"""Deliberate faults, and where the test is that has to fail for each."""

from __future__ import annotations

from typing import NamedTuple

RULES = "tests/oracle tests/identities"
RECURSION = "tests/oracle/test_recursions.py"
SCHEDULES = "tests/oracle/test_schedules.py"


class Fault(NamedTuple):
    """One change to the package.

    Attributes:
        name: What is wrong afterwards.
        file: File of the package.
        right: Text that the file has once.
        wrong: What takes its place.
        tests: Files of tests, as pytest takes them.
        chosen: Expression of pytest's `-k`.
        backend: Backend on which they run.
    """

    name: str
    file: str
    right: str
    wrong: str
    tests: str
    chosen: str = ""
    backend: str = "torch"


FAULTS = [
    # Rules.
    Fault(
        "Adam without the correction of its first moment",
        "optimizers/adam.py",
        'scale_1 = 1.0 / bias_correction(hyper, "beta_1")',
        "scale_1 = 1.0",
        RECURSION,
        "Adam",
    ),
    Fault(
        "Adam with its decays swapped",
        "optimizers/adam.py",
        """state.momentum = ema(state.momentum, gradient, hyper.beta_1)
        state.velocity = ema(state.velocity, ops.square(gradient), hyper.beta_2)
        velocity = state.velocity""",
        """state.momentum = ema(state.momentum, gradient, hyper.beta_2)
        state.velocity = ema(state.velocity, ops.square(gradient), hyper.beta_1)
        velocity = state.velocity""",
        RECURSION,
        "Adam",
    ),
    Fault(
        "amsgrad keeps the latest, not the largest",
        "optimizers/adam.py",
        "velocity = state.velocity_max = maximum(velocity, state.velocity_max)",
        "velocity = state.velocity_max = velocity",
        RECURSION,
        "Adam",
    ),
    Fault(
        "epsilon of Adam inside the root",
        "core/arithmetic.py",
        "return ops.sqrt(second_moment) + epsilon",
        "return ops.sqrt(second_moment + epsilon)",
        RECURSION,
        "Adam",
    ),
    Fault(
        "Adamax compares with the norm that did not decay",
        "optimizers/adam.py",
        "maximum(largest, hyper.beta_2 * state.norm)",
        "maximum(largest, state.norm)",
        RECURSION,
        "Adamax",
    ),
    Fault(
        "Nadam looks ahead by the momentum of now",
        "optimizers/adam.py",
        "ahead = self._mu(hyper, hyper.step + 1.0)",
        "ahead = self._mu(hyper, hyper.step)",
        RECURSION,
        "Nadam",
    ),
    Fault(
        "Nesterov without its look ahead",
        "optimizers/descent.py",
        "return damped + hyper.momentum * state.momentum",
        "return state.momentum",
        RECURSION,
        "SGD",
    ),
    Fault(
        "centred RMSprop adds the square of the mean",
        "optimizers/descent.py",
        "spread - ops.square(state.mean)",
        "spread + ops.square(state.mean)",
        RECURSION,
        "RMSprop",
    ),
    Fault(
        "Adagrad forgets its initial value",
        "optimizers/descent.py",
        "initial = self.initial_accumulator_value",
        "initial = 0.0",
        RECURSION,
        "Adagrad",
    ),
    Fault(
        "Adadelta divides by the state of the step before",
        "optimizers/descent.py",
        "step = scale * gradient / ops.sqrt(state.accumulator + hyper.epsilon)",
        "step = scale * gradient / ops.sqrt(state.delta + hyper.epsilon)",
        RECURSION,
        "Adadelta",
    ),
    Fault(
        "SDProp takes the distance to the new mean for that to the old one",
        "optimizers/deviation.py",
        "square = (1.0 / hyper.rho) * ops.square(gradient - state.mean)",
        "square = ops.square(gradient - state.mean)",
        RECURSION,
        "SDProp",
    ),
    Fault(
        "Adastand takes the distance to the new mean",
        "optimizers/deviation.py",
        "surprise = gradient - state.momentum",
        "surprise = gradient - hyper.beta_1 * state.momentum",
        RECURSION,
        "Adastand",
    ),
    Fault(
        "Adafactor averages over the wrong axis",
        "optimizers/factored.py",
        "mean(state.rows, axis=-1, keepdims=True)",
        "mean(state.rows, axis=0, keepdims=True)",
        RECURSION,
        "Adafactor",
    ),
    Fault(
        "Adafactor does not clip its update",
        "optimizers/factored.py",
        "update = update / maximum(rms(update) / hyper.clip_threshold, 1.0)",
        "update = update / 1.0",
        RECURSION,
        "Adafactor",
    ),
    Fault(
        "Lion updates its slot before the direction",
        "optimizers/sign.py",
        "update = sign(ema(state.momentum, gradient, hyper.beta_1))\n"
        "        state.momentum = ema(state.momentum, gradient, hyper.beta_2)",
        "state.momentum = ema(state.momentum, gradient, hyper.beta_2)\n"
        "        update = sign(ema(state.momentum, gradient, hyper.beta_1))",
        RULES,
        "Lion or lion",
    ),
    Fault(
        "LARS measures the gradient without the decay",
        "optimizers/layerwise.py",
        "whole = length + hyper.weight_decay * size + hyper.epsilon",
        "whole = length + hyper.epsilon",
        RECURSION,
        "LARS",
    ),
    Fault(
        "the decay stands outside of the trust ratio",
        "transforms/directions.py",
        "    includes_weight_decay = True\n",
        "    includes_weight_decay = False\n",
        RULES,
        "LAMB or lamb",
    ),
    Fault(
        "Muon leaves tall matrices transposed",
        "optimizers/matrix.py",
        "result = result if _is_wide(x) else ops.transpose(result)",
        "result = ops.reshape(result, x.shape)",
        RULES,
        "Muon or muon",
    ),
    Fault(
        "Muon takes inputs for outputs",
        "optimizers/matrix.py",
        "return max(1.0, outputs / inputs) ** 0.5",
        "return max(1.0, inputs / outputs) ** 0.5",
        RULES,
        "Muon or muon",
    ),
    Fault(
        "Schedule-Free trains at the average",
        "optimizers/schedule_free.py",
        "(1.0 - hyper.beta_1 * (1.0 - share)) * update",
        "(1.0 - (1.0 - share)) * update",
        RULES,
        "ScheduleFree or schedule_free",
    ),
    Fault(
        "Schedule-Free is evaluated where it trains",
        "optimizers/schedule_free.py",
        "return state.z + (weights - state.z) / hyper.beta_1",
        "return weights",
        RULES,
        "evaluates or schedule_free",
    ),
    Fault(
        "Prodigy measures from where it is",
        "optimizers/learning_rate_free.py",
        "ops.sum(gradient * (state.start - weights))",
        "ops.sum(gradient * (state.start + weights))",
        RULES,
        "Prodigy or prodigy",
    ),
    Fault(
        "Prodigy forgets its numerator",
        "optimizers/learning_rate_free.py",
        "numerator = self._beta_3(hyper) * shared.numerator + sums.numerator",
        "numerator = sums.numerator",
        RULES,
        "Prodigy or prodigy",
    ),
    # Transforms.
    Fault(
        "Cautious keeps the steps that go against the gradient",
        "transforms/directions.py",
        "direction * gradient > 0.0",
        "direction * gradient < 0.0",
        RULES,
        "autious",
    ),
    Fault(
        "gradients are centred over the outputs",
        "transforms/gradients.py",
        "axes = tuple(range(len(gradient.shape) - 1))\n        return",
        "axes = tuple(range(1, len(gradient.shape)))\n        return",
        "tests/contract/test_transforms.py",
        "centrali or centred",
    ),
    Fault(
        "the slow weights of Lookahead move in every step",
        "transforms/averages.py",
        "state.slow = ops.where(due, moved, state.slow)",
        "state.slow = moved",
        "tests/contract/test_transforms.py",
        "ookahead",
    ),
    Fault(
        "the mean of the weights counts one too many",
        "transforms/averages.py",
        "since // self.every + 1",
        "since // self.every + 2",
        "tests/contract/test_transforms.py",
        "averages",
    ),
    # The core.
    Fault(
        "the bias correction is one step late",
        "core/arithmetic.py",
        "return -ops.expm1(hyper.step * math.log(value))",
        "return -ops.expm1((hyper.step + 1.0) * math.log(value))",
        RECURSION,
        "Adam",
    ),
    Fault(
        "independent decay follows the learning rate",
        "core/decay.py",
        '    if kind == "independent":\n        return amount\n',
        "",
        RECURSION,
        "decay",
    ),
    Fault(
        "cautious decay where step and weights disagree",
        "core/decay.py",
        "step * weights >= 0.0",
        "step * weights <= 0.0",
        RECURSION,
        "decay",
    ),
    Fault(
        "accumulation divides by nothing",
        "core/program.py",
        "means = [total / steps for total in old.accumulators]",
        "means = list(old.accumulators)",
        "tests/contract/test_step.py",
        "accumulation",
    ),
    Fault(
        "sums of gradients are never cleared",
        "core/program.py",
        "cleared = [ops.zeros_like(total) for total in old.accumulators]",
        "cleared = list(old.accumulators)",
        "tests/contract/test_step.py",
        "accumulation",
    ),
    Fault(
        "a skipped step moves the shared state",
        "core/program.py",
        "new = [ops.where(due, a, b) for a, b in zip(new, shared)]",
        "new = list(new)",
        "tests/contract/test_gradients.py",
        "skip",
    ),
    Fault(
        "one NaN of many goes unseen",
        "core/program.py",
        "finite = due = ops.all(finite_each)",
        "finite = due = ops.any(finite_each)",
        "tests/contract/test_gradients.py",
        "skip or nonfinite",
    ),
    Fault(
        "the global norm is that of one variable",
        "core/clipping.py",
        "return ops.sqrt(arithmetic.sum_of_squares(tensors))",
        "return ops.sqrt(arithmetic.sum_of_squares(tensors[:1]))",
        "tests/contract/test_step.py",
        "clipping",
    ),
    Fault(
        "clipping by norm scales small gradients up",
        "core/clipping.py",
        "return gradient * (bound / arithmetic.maximum(norm, bound))",
        "return gradient * (bound / norm)",
        "tests/contract/test_step.py",
        "small_gradients",
    ),
    Fault(
        "the loss scale is not taken out",
        "core/program.py",
        "return gradient if factor is None else gradient / factor",
        "return gradient",
        "tests/contract/test_step.py",
        "loss_scale",
    ),
    Fault(
        "the multiplier of a group is ignored",
        "core/update.py",
        "step = multiplier * hyper.learning_rate * step",
        "step = hyper.learning_rate * step",
        "tests/contract/test_groups.py",
        "multiplier",
    ),
    Fault(
        "bfloat16 weights are rounded to the nearest",
        "core/update.py",
        "weights = rounding.stochastic_round(weights, entry.dtype, bits)",
        "weights = ops.cast(weights, entry.dtype)",
        "tests/contract/test_precision.py",
    ),
    Fault(
        "every step draws the same random bits",
        "core/rounding.py",
        "ops.bitwise_xor(_scramble(seed + stream), step)",
        "_scramble(seed + stream)",
        "tests/contract/test_precision.py tests/contract/test_transforms.py",
    ),
    Fault(
        "scales of 8-bit state are those of the block before",
        "core/codecs.py",
        "value = _fourth(blocks * (1.0 / 127.0)) * scale",
        "value = _fourth(blocks * (1.0 / 127.0)) * ops.roll(scale, 1, axis=-2)",
        "tests/contract/test_state_dtype.py",
        "float32 or bitsandbytes or code",
    ),
    Fault(
        "a positive second moment becomes zero",
        "core/codecs.py",
        "ops.where(relative > 0.0, one, zero)",
        "zero",
        "tests/contract/test_state_dtype.py",
    ),
    Fault(
        "an old value is handed on under an alias",
        "core/backend/torch.py",
        "if after is not before:  # Else it has not changed, or in place.",
        "if after is not before and after.ndim > 0:",
        "tests/contract/test_step.py tests/contract/test_saving.py",
        "nadam or prodigy",
    ),
    Fault(
        "a slot is forgotten on saving",
        "core/saving.py",
        "for name, variable in entry.stored.items():",
        "for name, variable in list(entry.stored.items())[1:]:",
        "tests/contract/test_saving.py",
        "keras_file or own",
    ),
    Fault(
        "the step counter is not saved",
        "core/saving.py",
        "    yield ITERATION, optimizer.gradients_seen\n",
        "",
        "tests/contract/test_saving.py",
        "keras_file or own",
    ),
    Fault(
        "a file of another class is accepted",
        "core/saving.py",
        'if manifest["optimizer"] != own:',
        "if False:",
        "tests/contract/test_saving.py",
    ),
    Fault(
        "variables that are excluded decay all the same",
        "core/update.py",
        "if not (entry.decayed and is_on(hyper.weight_decay)):",
        "if not is_on(hyper.weight_decay):",
        "tests/contract/test_step.py",
        "excluded",
    ),
    Fault(
        "trained weights are lost when averages are put in",
        "core/evaluation.py",
        "backend.assign([(optimizer.trained[str(entry.position)], entry.variable)])",
        "pass",
        "tests/contract/test_evaluation.py",
        "disturbed",
    ),
    Fault(
        "every device steps by its own gradients",
        "core/backend/tensorflow.py",
        "gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)",
        "gradients = list(gradients)",
        "tests/contract/test_mirrored.py",
        "few",
        "tensorflow",
    ),
    Fault(
        "rows that occur twice are not summed",
        "core/backend/tensorflow.py",
        "summed = tf.math.unsorted_segment_sum(gradient.values, inverse, number)",
        "summed = gradient.values",
        "tests/contract/test_gradients.py",
        "lazy_rows",
        "tensorflow",
    ),
    Fault(
        "state is whole on every device",
        "core/layouts.py",
        "return [*axes[:i], name, *axes[i + 1 :]]",
        "return axes",
        "tests/contract/test_sharded.py",
        "few",
        "tensorflow",
    ),
    # Plots.
    Fault(
        "a descent that diverges with its last step is not told",
        "plots/running.py",
        "if len(points) <= steps else None",
        "if len(points) < steps else None",
        "tests/contract/test_plots.py",
        "divergence",
    ),
    Fault(
        "a band where there is one run",
        "plots/curves.py",
        "(count >= 2)",
        "(count >= 1)",
        "tests/contract/test_plots.py",
        "length",
    ),
    # The monitor and the doctor.
    Fault(
        "the clipped gradient is measured",
        "core/program.py",
        "measures.moved(e, (given[i], gradients[i]), moved",
        "measures.moved(e, (gradients[i], gradients[i]), moved",
        "tests/contract/test_monitor.py",
        "numbers_of_each_step",
    ),
    Fault(
        "what was not updated is measured for ever",
        "core/measures.py",
        "(last == last.max()) & (last > 0.0)",
        "last > 0.0",
        "tests/contract/test_monitor.py",
        "frozen_count_no_more",
    ),
    Fault(
        "a step on JAX reads weights that are out of reach",
        "core/stepping.py",
        "(not reach or reach[entry.position])",
        "True",
        "tests/contract/test_late.py",
        "frozen_between_fits",
        "jax",
    ),
    Fault(
        "the memory that there is plays no part",
        "recommendation.py",
        "if found.bytes <= limit:",
        "if True:",
        "tests/contract/test_recommend.py",
        "fewer_bits",
    ),
    Fault(
        "a symptom is reported beside its cause",
        "callbacks/doctor.py",
        "causes = self._codes & set(symptom.explained_by)",
        "causes = set()",
        "tests/contract/test_doctor_callback.py",
        "planted",
    ),
    Fault(
        "the doctor's command leaves with 0 whatever it has found",
        "doctor/command.py",
        "return int(bool(report))",
        "return 0",
        "tests/contract/test_doctor_command.py",
        "test_a_fault",
    ),
    # Schedules.
    Fault(
        "Steps become float32 before they are subtracted",
        "core/steps.py",
        "passed = whole - ops.convert_to_tensor(base.astype(WHOLE), dtype=whole.dtype)",
        'passed = ops.cast(whole, "float32") - ops.convert_to_tensor(base, "float32")',
        SCHEDULES,
    ),
    Fault(
        "A boundary is reached one step late",
        "core/steps.py",
        "ops.cast(self.since(np.asarray(boundaries)) >= 0.0",
        "ops.cast(self.since(np.asarray(boundaries)) > 0.0",
        SCHEDULES,
    ),
    Fault(
        "What follows a warm-up counts from its start",
        "schedules/warmup.py",
        "after = evaluated(self.then, step.later(length))",
        "after = evaluated(self.then, step)",
        SCHEDULES,
    ),
    Fault(
        "What is left is one minus what has passed",
        "core/steps.py",
        "left = ops.where(since > 0.0, until / divisor, 1.0)",
        "left = ops.where(since > 0.0, 1.0 - passed, 1.0)",
        SCHEDULES,
    ),
    Fault(
        "The momentum of a cycle goes with the rate",
        "schedules/cyclic.py",
        "return self.max_momentum, self.base_momentum, self.max_momentum",
        "return self.base_momentum, self.max_momentum, self.base_momentum",
        SCHEDULES,
    ),
    # The doctor.
    Fault(
        "a look leaves the weights of its trial",
        "core/keeping.py",
        "            variable.assign(before[key])",
        "            pass",
        "tests/contract/test_doctor.py",
        "changes_nothing",
    ),
    Fault(
        "a probe that has seen the row it predicts",
        "doctor/checks/relation.py",
        """    found = hat / (1.0 - left)[:, None]
    np.fill_diagonal(found, 0.0)
""",
        "    found = hat / (1.0 - left)[:, None]\n",
        "tests/contract/test_doctor.py",
        "probes_explain",
    ),
    Fault(
        "what follows from another finding is reported beside it",
        "doctor/diagnose.py",
        "        if causes and seen:",
        "        if False:",
        "tests/contract/test_doctor.py",
        "held_back",
    ),
    # Comparisons.
    Fault(
        "runs that never reach the target are dropped",
        "compare/summary.py",
        "steps = Spread.of([math.inf if p is None else p.step for p in targets])",
        "steps = Spread.of([p.step for p in targets if p is not None])",
        "tests/compare/test_summary.py",
        "never_reach",
    ),
    Fault(
        "all seeds see the data in the same order",
        "compare/training.py",
        "np.random.default_rng([self.seed, epoch])",
        "np.random.default_rng([epoch])",
        "tests/compare/test_comparison.py",
        "order_of_the_data",
    ),
    Fault(
        "the steps that only compile are kept",
        "compare/training.py",
        """        for variable, value in zip(variables, before):
            variable.assign(value)
""",
        "",
        "tests/compare/test_comparison.py",
        "what_keras_makes",
    ),
    Fault(
        "tests on the data that settings were chosen on",
        "compare/training.py",
        'part = data.tuning if phase == "tuning" else data.test',
        "part = data.tuning",
        "tests/compare/test_comparison.py",
        "same_batches",
    ),
    Fault(
        "training goes on with Keras' averages",
        "compare/training.py",
        "zip(model.trainable_variables, self._trained)",
        "[]",
        "tests/compare/test_comparison.py",
        "averages_are_evaluated",
    ),
    # Reports.
    Fault(
        "ranges that overlap from one side only",
        "compare/report/reading.py",
        "return one.low <= other.high and other.low <= one.high",
        "return one.low <= other.high",
        "tests/compare/test_report.py",
        "chance or sentences",
        "jax",
    ),
    Fault(
        "failures of the tuning are not listed",
        "compare/report/details.py",
        'if run.status == "failed"',
        'if run.status == "failed" and run.phase == "test"',
        "tests/compare/test_report.py",
        "failures_and_settings",
        "jax",
    ),
]
