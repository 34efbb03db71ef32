"""One seed of the comparison: its data, and its networks, trained when first asked for."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset, digits
from ..layers import Sequential
from ..optim import Adam
from ..training import Epoch, fit
from .models import LINEUP, Model

DATASETS: dict[str, Callable[[int], Dataset]] = {
    "digits28": lambda seed: digits(28, seed=seed),
    "digits8": lambda seed: digits(8, seed=seed),
}

Advance = Callable[[str, float], None]
"""Told what was done last, and its share of the whole."""


@dataclass(frozen=True)
class Recipe:
    """How every model is trained: one recipe for all, so that differences come from the models.

    Adam needs no learning rate found for each model; its rate falls along half a cosine, epoch by epoch
    (Loshchilov and Hutter, "SGDR", 2017, equation 5 without restarts), so that the last epochs settle.
    """

    optimizer: str = "Adam"
    learning_rate: float = 0.002
    schedule: str = "falling to 0 along half a cosine"
    loss: str = "softmax cross-entropy"
    epochs: int = 30
    batch_size: int = 32

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2


@dataclass(frozen=True)
class Trained:
    """A network at the end of its training, and how it got there. Curves have one value an epoch."""

    network: Sequential
    first_weights: NDArray[np.float32]  # of the first layer that has any, before the first step
    train_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    test_accuracy: tuple[float, ...]
    seconds: float

    def predict(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """Class numbers (N,) for images (N, C, H, W)."""
        classes: NDArray[np.int64] = self.network.predict(x).argmax(axis=1)
        return classes

    def accuracy(self, x: NDArray[Any], y: NDArray[np.int64]) -> float:
        return float((self.predict(x) == y).mean())


def first_weights(network: Sequential) -> NDArray[np.float32]:
    """The weights of the first layer that has any, as they are now: not a copy."""
    return next(layer.params["weight"] for layer in network if "weight" in layer.params)


class Study:
    """Data and networks of one seed. The seed draws the split, the first weights and the order of the images.

    Each network is trained once, by ``recipe``, when an experiment first asks for it. ``advance`` is told of
    each epoch and its share of all epochs of the study, weighed by what they cost.
    """

    def __init__(self, seed: int, recipe: Recipe, datasets: tuple[str, ...], advance: Advance) -> None:
        self.seed = seed
        self.recipe = recipe
        self.datasets = datasets
        self._advance = advance
        self._data: dict[str, Dataset] = {}
        self._trained: dict[tuple[str, str], Trained] = {}

    def pairs(self) -> Iterator[tuple[str, Model]]:
        """Every data set's name with each model of its line-up."""
        for dataset in self.datasets:
            for model in LINEUP[dataset]:
                yield dataset, model

    def dataset(self, name: str) -> Dataset:
        if name not in self._data:
            self._data[name] = DATASETS[name](self.seed)
        return self._data[name]

    def untrained(self, dataset: str, model: Model) -> Sequential:
        """The model with the first weights that the seed gives it."""
        data = self.dataset(dataset)
        return model.build(data.image_shape, len(data.classes), np.random.default_rng(self.seed))

    def trained(self, dataset: str, model: Model) -> Trained:
        key = dataset, model.name
        if key not in self._trained:
            self._trained[key] = self._train(dataset, model)
        return self._trained[key]

    def _train(self, dataset: str, model: Model) -> Trained:
        data = self.dataset(dataset)
        network = self.untrained(dataset, model)
        initial = first_weights(network).copy()
        optimizer = Adam(network)
        order = np.random.default_rng(self.seed)
        history: list[Epoch] = []
        start = time.perf_counter()
        for epoch in range(self.recipe.epochs):
            optimizer.lr = self.recipe.rate(epoch)
            history += fit(
                network,
                data.x_train,
                data.y_train,
                optimizer=optimizer,
                epochs=1,
                batch_size=self.recipe.batch_size,
                validation=(data.x_test, data.y_test),
                rng=order,
                progress=False,
            )
            share = self._work[dataset, model.name] / self.recipe.epochs
            self._advance(f"{model.title}, seed {self.seed}", share)
        return Trained(
            network=network,
            first_weights=initial,
            train_loss=tuple(epoch.train_loss for epoch in history),
            train_accuracy=tuple(epoch.train_accuracy for epoch in history),
            test_accuracy=tuple(epoch.validation_accuracy or 0.0 for epoch in history),
            seconds=round(time.perf_counter() - start, 3),
        )

    @cached_property
    def _work(self) -> dict[tuple[str, str], float]:
        """Each network's share of the study's work."""
        # A layer's call costs about as much as some ten thousand multiply-accumulates, whatever it computes.
        weights = {}
        for dataset, model in self.pairs():
            network = self.untrained(dataset, model)
            shape = self.dataset(dataset).image_shape
            weights[dataset, model.name] = network.macs((1, *shape)) + 10_000 * len(network)
        total = sum(weights.values())
        return {key: weight / total for key, weight in weights.items()}
