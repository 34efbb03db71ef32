"""How many images it takes: accuracy and the gap between training and test, with fewer and fewer of them.

Every size is trained for the same number of steps, so that a small set is not also a short training.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from ...data import Dataset
from ..claims import Claim, Part
from ..models import CNN, MLP, OWN, Model
from ..results import Key, Measurement, Results, Spread
from ..study import Recipe, Study, Variant

NAME = "efficiency"
MODELS = (MLP, CNN, OWN)
PER_CLASS = (5, 10, 20, 40, 80)
EFFORT = 0.3  # of the steps that the whole training set gets by the recipe


def fewer(data: Dataset, seed: int, *, per_class: int) -> Dataset:
    """The first so many training images of each class, in the seed's order."""
    order = np.random.default_rng(seed).permutation(len(data.y_train))
    rank = np.empty(len(order), dtype=np.int64)
    for label in np.unique(data.y_train):
        members = order[data.y_train[order] == label]
        rank[members] = np.arange(len(members))
    chosen = np.flatnonzero(rank < per_class)
    return replace(data, x_train=data.x_train[chosen], y_train=data.y_train[chosen])


def same_effort(recipe: Recipe, model: Model, data: Dataset) -> Recipe:
    """As many epochs as make ``EFFORT`` of the recipe's steps, counted on 150 images a class."""
    whole = 150 * len(data.classes)
    return replace(recipe, epochs=max(1, round(EFFORT * recipe.epochs * whole / len(data.x_train))))


VARIANTS = {
    count: Variant(
        f"{count}-per-class",
        data=partial(fewer, per_class=count),
        recipe=same_effort,
        share=EFFORT,
    )
    for count in PER_CLASS
}
TRAININGS = tuple((MODELS, variant) for variant in VARIANTS.values())


def measure(study: Study) -> Iterator[Measurement]:
    for count, variant in VARIANTS.items():
        data = study.dataset(variant)
        for model in study.chosen(*MODELS):
            trained = study.trained(model, variant)
            test = trained.accuracy(data.x_test, data.y_test)
            train = trained.accuracy(data.x_train, data.y_train)
            yield study.measured(NAME, "test accuracy", test, model.name, at=(count,))
            yield study.measured(NAME, "gap", train - test, model.name, at=(count,))


def judge(results: Results) -> tuple[Claim, ...]:
    fewest, most = PER_CLASS[0], PER_CLASS[-1]
    middle = PER_CLASS[len(PER_CLASS) // 2]
    mlp, cnn = results.title(MLP), results.title(CNN)

    def over(figure: str, model: str, count: int, other: str, other_count: int) -> Spread:
        return results.difference(
            Key(NAME, figure, model, at=(count,)), Key(NAME, figure, other, at=(other_count,))
        )

    parts = [
        Part(
            f"test accuracy from {count} images a class, {cnn} over {mlp}",
            over("test accuracy", CNN, count, MLP, count),
            "points",
            0.01,
        )
        for count in (fewest, middle, most)
    ]
    parts += [
        Part(
            f"test accuracy, {cnn} from {middle} images a class over {mlp} from {2 * middle}",
            over("test accuracy", CNN, middle, MLP, 2 * middle),
            "points",
            -0.005,
        ),
        Part(
            f"gap between training and test accuracy from {middle} images a class, {mlp} over {cnn}",
            over("gap", MLP, middle, CNN, middle),
            "points",
            0.01,
        ),
    ]
    return (
        Claim(
            6,
            "data efficiency",
            "Shared and sparse connections leave less to learn, and less overfitting.",
            tuple(parts),
        ),
    )
