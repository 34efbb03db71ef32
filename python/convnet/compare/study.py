"""One seed of the comparison: its data, and its networks, trained when first asked for."""

import hashlib
import json
import math
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import convnet

from ..data import Dataset
from ..data.augment import Augment
from ..data.dataset import Images, Labels
from ..layers import Sequential
from ..optim import SGD, Adam, Optimizer, Schedule
from ..training import Epoch, fit
from .models import Model
from .results import Key, Measurement, Training

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
    epochs: int = 20
    batch_size: int = 32

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2

    def make_optimizer(self, network: Sequential, schedule: Schedule | None = None) -> Optimizer:
        rate = self.learning_rate if schedule is None else schedule
        made: Optimizer = {"Adam": Adam, "SGD": SGD}[self.optimizer](network, lr=rate)
        return made


@dataclass(frozen=True)
class Variant:
    """One thing changed about a training: the data, what is done to each batch, or the recipe.

    Functions of the data set get the seed too. Two variants of one name are taken to be the same.
    """

    name: str
    data: Callable[[Dataset, int], Dataset] = lambda data, seed: data
    augment: Callable[[Dataset], Augment | None] = lambda data: None
    recipe: Callable[[Recipe, Model, Dataset], Recipe] = lambda recipe, model, data: recipe
    share: float = 1.0  # of the usual work, for the progress bar


PLAIN = Variant("plain")


@dataclass(frozen=True)
class Trained:
    """A network at the end of its training, and how it got there. Curves have one value an epoch."""

    network: Sequential
    first_weights: NDArray[np.float32]  # of the first layer that has any, before the first step
    curves: Mapping[str, Sequence[float]]
    training: Training

    def predict(self, x: Images) -> Labels:
        """Class numbers (N,) for images (N, C, H, W)."""
        classes: Labels = self.network.predict(x).argmax(axis=1)
        return classes

    def accuracy(self, x: Images, y: Labels) -> float:
        return float((self.predict(x) == y).mean())


def first_weights(network: Sequential) -> NDArray[np.float32]:
    """The weights of the first layer that has any, as they are now: not a copy."""
    return next(layer.params["weight"] for layer in network if "weight" in layer.params)


@dataclass
class Study:
    """Data and networks of one seed. The seed draws the split, the first weights and the order of the images.

    Each network is trained once, when an experiment first asks for it. With ``directory`` finished trainings
    are kept there and found again by a later run of the same models, data and recipe.

    Attributes:
        first: whether this is the run's first seed, for what would be the same for each.
        finished: called with each training when it is there.
    """

    seed: int
    recipe: Recipe
    data: Dataset
    models: Mapping[str, Model]
    advance: Advance = lambda what, share: None
    finished: Callable[[Training], None] = lambda training: None
    directory: Path | None = None
    first: bool = True
    _data: dict[str, Dataset] = field(default_factory=dict)
    _trained: dict[tuple[str, str], Trained] = field(default_factory=dict)
    _work: dict[str, float] = field(default_factory=dict)

    def chosen(self, *names: str) -> Iterator[Model]:
        """Those of the named models, or families of models, that take part."""
        for model in self.models.values():
            if model.name in names or model.family in names:
                yield model

    def measured(
        self, experiment: str, figure: str, value: float, model: str = "", variant: str = "plain",
        at: tuple[float, ...] = (),
    ) -> Measurement:  # fmt: skip
        return Measurement(Key(experiment, figure, model, variant, at), self.seed, float(value))

    def dataset(self, variant: Variant = PLAIN) -> Dataset:
        if variant.name not in self._data:
            self._data[variant.name] = variant.data(self.data, self.seed)
        return self._data[variant.name]

    def untrained(self, model: Model, variant: Variant = PLAIN) -> Sequential:
        """The model with the first weights that the seed gives it."""
        data = self.dataset(variant)
        return model.build(data.image_shape, len(data.classes), np.random.default_rng(self.seed))

    def trained(self, model: Model, variant: Variant = PLAIN) -> Trained:
        key = model.name, variant.name
        if key not in self._trained:
            kept = self._kept(model, variant)
            trained = self._load(kept, model, variant) if kept else None
            if trained is None:
                trained = self._train(model, variant)
                if kept:
                    _save(kept, trained)
            else:
                self.advance(self._label(model, variant), self.work(model, variant))
            self._trained[key] = trained
            self.finished(trained.training)
        return self._trained[key]

    def work(self, model: Model, variant: Variant) -> float:
        """What the training costs beside others, in no particular unit."""
        if model.name not in self._work:
            self._work[model.name] = work(self.untrained(model), self.data.image_shape)
        return variant.share * self._work[model.name]

    def _label(self, model: Model, variant: Variant) -> str:
        what = model.title if variant is PLAIN else f"{model.title}, {variant.name}"
        return f"{what}, seed {self.seed}"

    def _train(self, model: Model, variant: Variant) -> Trained:
        data = self.dataset(variant)
        recipe = variant.recipe(self.recipe, model, data)
        network = self.untrained(model, variant)
        initial = first_weights(network).copy()
        optimizer = recipe.make_optimizer(network)
        order = np.random.default_rng(self.seed)
        history: list[Epoch] = []
        share = self.work(model, variant) / recipe.epochs
        start = time.perf_counter()
        for epoch in range(recipe.epochs):
            optimizer.lr = recipe.rate(epoch)
            history += fit(
                network,
                data.x_train,
                data.y_train,
                optimizer=optimizer,
                epochs=1,
                batch_size=recipe.batch_size,
                validation=(data.x_test, data.y_test) if variant is PLAIN else None,
                rng=order,
                augment=variant.augment(data),
                progress=False,
            )
            self.advance(self._label(model, variant), share)
        curves = {
            "train_loss": [epoch.train_loss for epoch in history],
            "train_accuracy": [epoch.train_accuracy for epoch in history],
            "test_accuracy": [epoch.validation_accuracy or 0.0 for epoch in history],
        }
        training = Training(
            model=model.name,
            variant=variant.name,
            seed=self.seed,
            images=len(data.x_train),
            epochs=recipe.epochs,
            weights=digest(network.params.values()),
            seconds=round(time.perf_counter() - start, 3),
        )
        return Trained(network, initial, curves, training)

    def _kept(self, model: Model, variant: Variant) -> Path | None:
        """Where the training is kept: the name says all that its weights depend on."""
        if self.directory is None:
            return None
        data = self.dataset(variant)
        network = self.untrained(model, variant)
        facts = {
            "core": {**convnet.build_info(), "threads": None},  # results do not depend on them
            "numpy": np.__version__,
            "backend": convnet.get_backend(),
            "network": [repr(layer) for layer in network],
            "weights": digest(network.params.values()),
            "data": digest([data.x_train, data.y_train, data.x_test, data.y_test]),
            "augment": repr(variant.augment(data)),
            "recipe": asdict(variant.recipe(self.recipe, model, data)),
        }
        name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        return self.directory / f"{model.name}.{variant.name}.{self.seed}.{name}.npz"

    def _load(self, path: Path, model: Model, variant: Variant) -> Trained | None:
        """The training kept at the path; None where there is none, or it is damaged."""
        try:
            # Opened here, because NumPy leaves files open that are no archives.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                facts = json.loads(bytes(arrays["facts"]))
                network = self.untrained(model, variant)
                initial = first_weights(network).copy()
                for name, array in network.params.items():
                    array[...] = arrays[f"params/{name}"]
            training = Training(**facts["training"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
        if digest(network.params.values()) != training.weights:
            return None
        return Trained(network, initial, facts["curves"], training)


def _save(path: Path, trained: Trained) -> None:
    """Whole or not at all: a run cut short leaves no half-written training behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = json.dumps({"curves": trained.curves, "training": asdict(trained.training)}).encode()
    arrays = {f"params/{name}": array for name, array in trained.network.params.items()}
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez(file, facts=np.frombuffer(facts, np.uint8), **arrays)  # type: ignore[arg-type]
    partial.replace(path)


def digest(arrays: Any) -> str:
    """SHA-256 over shapes, dtypes and values."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def work(network: Sequential, shape: tuple[int, int, int]) -> float:
    """How long a training takes beside others: multiply-accumulates, plus what calls and updates cost."""
    # A layer's call costs about as much as some 300,000 multiply-accumulates of a batch, and Adam's step
    # about as much as 10 for each parameter.
    macs = network.macs((32, *shape))
    return macs + 300_000 * len(network) + 10 * network.parameter_count()


def limited(data: Dataset, most: int | None) -> Dataset:
    """At most so many training images and so many test images, as they come."""
    if most is None:
        return data
    return replace(
        data,
        x_train=data.x_train[:most],
        y_train=data.y_train[:most],
        x_test=data.x_test[:most],
        y_test=data.y_test[:most],
    )
