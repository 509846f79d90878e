"""A transformer that writes on in the words of the King James Bible, with Muon.

    python examples/char_transformer.py

`Muon` takes the matrices of attention and of the dense layers; embeddings, norms,
biases and the logits follow the AdamW within it.  The first table says which variable
follows which.  With scale="moonlight" one learning rate fits both, and AdamW alone
is trained with the same numbers beside it.  Expect fewer nats a character with Muon
after as many steps, and at the end some text of its own.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Before TensorFlow is imported.

import common
import keras
import numpy as np
from keras import ops

import keras_adamx
from keras_adamx import schedules
from keras_adamx.compare import workloads
from keras_adamx.compare.workloads.text import CHARACTERS, LENGTH

LABELS = {"muon": "Muon with AdamW within", "adamw": "AdamW alone"}


def main():
    """Trains, compares, and lets the first model write."""
    args = parse_arguments()
    data = common.read(workloads.char_lm)
    rows, models = [], {}
    for name in args.optimizers:
        keras.utils.set_random_seed(args.seed)
        optimizer = new_optimizer(name, args)
        model = common.compile_as(
            workloads.char_lm, workloads.char_lm.build(), optimizer
        )
        if name == "muon":
            show_division(model)
        pieces = common.sample(data.train, args.steps * args.batch_size, args.seed)
        model.fit(
            *pieces,
            batch_size=args.batch_size,
            shuffle=False,
            callbacks=[common.ProgressBar(LABELS[name])],
            verbose=0,
        )
        loss = common.evaluate(model, data.test)["loss"]
        state = optimizer.memory_report().total.bytes
        rows.append((LABELS[name], f"{loss:.3f}", f"{state:,}"))
        models[name] = model
    common.print_table(
        f"{args.steps} steps on the King James Bible",
        ("optimizer", "nats a character of the test", "bytes of state"),
        rows,
    )
    text = write(models[args.optimizers[0]], "And the LORD said", args)
    common.console.print(text, markup=False, highlight=False)
    return 0


def new_optimizer(name, args):
    """Either optimizer, with the same numbers."""
    arguments = {
        "learning_rate": schedules.CosineWithWarmup(
            args.learning_rate,
            decay_steps=max(args.steps - args.steps // 20, 1),
            warmup_steps=args.steps // 20,
        ),
        "weight_decay": 0.1,
        "weight_decay_filter": "matrices",
    }
    if name == "muon":
        return keras_adamx.Muon(**arguments, scale="moonlight", adam_lr_ratio=1.0)
    return keras_adamx.AdamW(**arguments, beta_2=0.95)


def show_division(model):
    """Prints what follows Muon and what follows AdamW."""
    model.optimizer.build(model.trainable_variables)
    counts = {"Muon": [0, 0], "AdamW": [0, 0]}
    for entry in model.optimizer.entries:
        slots = {slot.name for slot in entry.slots}
        found = counts["Muon" if slots == {"momentum"} else "AdamW"]
        found[0] += 1
        found[1] += int(np.prod(entry.variable.shape))
    rows = [(rule, n, f"{size:,}") for rule, (n, size) in counts.items()]
    common.print_table("Who follows which rule", ("", "variables", "weights"), rows)


def write(model, text, args):
    """Draws one character after the other from what the model expects."""
    random = np.random.default_rng(args.seed)
    for _ in range(args.characters):
        seen = [CHARACTERS.index(character) for character in text[-LENGTH:]]
        # Attention is causal: what stands behind the text is not looked at.
        padded = np.array([seen + [0] * (LENGTH - len(seen))], "int32")
        logits = model.predict_on_batch(padded)[0, len(seen) - 1] / args.temperature
        chances = ops.convert_to_numpy(ops.softmax(logits)).astype("float64")
        text += CHARACTERS[random.choice(len(chances), p=chances / chances.sum())]
    return text


def parse_arguments():
    """The command line."""
    parser = common.new_parser(
        __doc__,
        steps=1000,
        batch_size=32,
        learning_rate=1e-2,
        characters=300,
        temperature=0.7,
    )
    parser.add_argument("--optimizers", nargs="+", choices=LABELS, default=[*LABELS])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
