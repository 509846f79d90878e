"""Text: the next character of the King James Bible, with a small transformer."""

from __future__ import annotations

import functools

import keras
import numpy as np
from keras import ops

from keras_adamx.compare import datasets
from keras_adamx.compare.workload import Data, Part, Workload

# All characters of the text, in the order of their codes.
CHARACTERS = "\n !'(),-.:;?ABCDEFGHIJKLMNOPQRSTUVWYZabcdefghijklmnopqrstuvwxyz"  # no X
LENGTH, WIDTH, HEADS, BLOCKS = 64, 64, 4, 2


@functools.cache
def windows() -> Data:
    """Pieces of the text, with the same pieces one character later."""
    numbers = np.zeros(256, "int32")
    numbers[[ord(character) for character in CHARACTERS]] = range(len(CHARACTERS))

    def part(codes: np.ndarray) -> Part:
        # The last character of a piece is known as a label only.
        pieces = (len(codes) - 1) // LENGTH
        text = numbers[codes[: pieces * LENGTH + 1]]
        return Part(text[:-1].reshape(-1, LENGTH), text[1:].reshape(-1, LENGTH))

    splits = datasets.load("king_james")
    return Data(**{split: part(each["character"]) for split, each in splits.items()})


def transformer() -> keras.Model:
    """A transformer that normalises before attention and before its dense layers."""
    layers = keras.layers
    characters = keras.Input((LENGTH,), dtype="int32", name="characters")
    positions = ops.cumsum(ops.ones_like(characters), axis=1) - 1
    x = layers.Add(name="embedded")(
        [
            layers.Embedding(len(CHARACTERS), WIDTH, name="embedding")(characters),
            layers.Embedding(LENGTH, WIDTH, name="positions")(positions),
        ]
    )
    for number in range(1, BLOCKS + 1):
        y = layers.LayerNormalization(name=f"attention_norm_{number}")(x)
        attention = layers.MultiHeadAttention(
            HEADS, WIDTH // HEADS, name=f"attention_{number}"
        )
        x = layers.Add(name=f"attended_{number}")(
            [x, attention(y, y, use_causal_mask=True)]
        )
        y = layers.LayerNormalization(name=f"dense_norm_{number}")(x)
        y = layers.Dense(4 * WIDTH, activation="gelu", name=f"wide_{number}")(y)
        y = layers.Dense(WIDTH, name=f"narrow_{number}")(y)
        x = layers.Add(name=f"block_{number}")([x, y])
    x = layers.LayerNormalization(name="last_norm")(x)
    logits = layers.Dense(len(CHARACTERS), name="logits")(x)
    return keras.Model(characters, logits, name="char_lm")


char_lm = Workload(
    name="char_lm",
    description=(
        "The next character of the King James Bible from up to 64 before it, "
        "transformer of 2 blocks of width 64; the loss is in nats a character."
    ),
    build=transformer,
    data=windows,
    loss=functools.partial(
        keras.losses.SparseCategoricalCrossentropy, from_logits=True
    ),
    metric="loss",
    metric_name="loss",
    higher_is_better=False,
    target=1.45,
    steps=2_000,
    batch_size=32,
    evaluate_every=200,
    jit_compile={"tensorflow": True},
)
