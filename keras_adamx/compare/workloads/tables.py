"""Tables: the price of diamonds with an MLP, ratings of films with embeddings."""

from __future__ import annotations

import functools

import keras
import numpy as np

from keras_adamx.compare import datasets
from keras_adamx.compare.datasets.dataset import Columns
from keras_adamx.compare.datasets.tables import GRADES, MEASURES
from keras_adamx.compare.workload import Data, Part, Workload

PERSONS, FILMS = 671, 9_066
# The outputs begin at about the mean of the labels, so that no optimizer spends its
# first steps on a single bias.
LOG_PRICE, RATING = 7.8, 3.5
FEATURES = len(MEASURES) + sum(map(len, GRADES.values()))


def root_mean_squared_error() -> keras.metrics.Metric:
    """Root of the mean squared error."""
    return keras.metrics.RootMeanSquaredError(name="rmse")


@functools.cache
def diamond_features() -> Data:
    """Standardised measures and one-hot grades, with the logarithm of the price."""
    splits = datasets.load("diamonds")
    measures = splits["train"]["measures"].astype("float64")
    mean, deviation = measures.mean(axis=0), measures.std(axis=0)

    def part(columns: Columns) -> Part:
        grades = [
            np.eye(len(names))[columns["grades"][:, number]]
            for number, names in enumerate(GRADES.values())
        ]
        measures = (columns["measures"] - mean) / deviation
        features = np.concatenate([measures, *grades], axis=1).astype("float32")
        return Part(features, np.log(columns["price"]).astype("float32")[:, None])

    return Data(**{split: part(columns) for split, columns in splits.items()})


@functools.cache
def ratings() -> Data:
    """Numbers of persons and films, with stars."""
    return Data(
        **{
            split: Part(
                {name: columns[name] for name in ("person", "film")},
                columns["rating"][:, None],
            )
            for split, columns in datasets.load("movielens").items()
        }
    )


def diamond_model() -> keras.Model:
    """An MLP with one output."""
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(256, activation="relu", name="hidden_1"),
            keras.layers.Dense(256, activation="relu", name="hidden_2"),
            keras.layers.Dense(128, activation="relu", name="hidden_3"),
            keras.layers.Dense(
                1,
                bias_initializer=keras.initializers.Constant(LOG_PRICE),
                name="log_price",
            ),
        ],
        name="diamonds",
    )


def rating_model() -> keras.Model:
    """Embeddings of person and film, and an MLP on both."""
    person = keras.Input((), dtype="int32", name="person")
    film = keras.Input((), dtype="int32", name="film")
    embedded = [
        keras.layers.Embedding(PERSONS, 32, name="embedding_of_person")(person),
        keras.layers.Embedding(FILMS, 32, name="embedding_of_film")(film),
    ]
    x = keras.layers.Concatenate(name="both")(embedded)
    x = keras.layers.Dense(64, activation="relu", name="hidden_1")(x)
    x = keras.layers.Dense(32, activation="relu", name="hidden_2")(x)
    bias = keras.initializers.Constant(RATING)
    rating = keras.layers.Dense(1, bias_initializer=bias, name="rating")(x)
    return keras.Model({"person": person, "film": film}, rating, name="movielens")


diamonds = Workload(
    name="diamonds",
    description=(
        "Logarithm of the price of diamonds from 26 features, MLP 256-256-128; the "
        "error is about the relative error of the price."
    ),
    build=diamond_model,
    data=diamond_features,
    loss="mean_squared_error",
    metric=root_mean_squared_error,
    metric_name="rmse",
    higher_is_better=False,
    target=0.08895,
    steps=3_400,  # 20 epochs
    batch_size=256,
    evaluate_every=170,
    jit_compile={"tensorflow": True},
)

movielens = Workload(
    name="movielens",
    description=(
        "Ratings of films in stars, embeddings of 32 for person and film and an MLP "
        "64-32: a step has gradients for few rows of the embeddings."
    ),
    build=rating_model,
    data=ratings,
    loss="mean_squared_error",
    metric=root_mean_squared_error,
    metric_name="rmse",
    higher_is_better=False,
    target=0.8975,
    steps=1_872,  # 6 epochs
    batch_size=256,
    evaluate_every=104,
    # XLA would make the gradients of embeddings dense.
    jit_compile={"tensorflow": False},
)
