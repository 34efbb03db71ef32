"""What is left when neighbours are no longer neighbours: one fixed shuffle of the pixels of every image."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...data import Dataset
from ...data.dataset import Images
from ..claims import Claim, Part
from ..models import CNN, MLP, OWN
from ..results import Key, Measurement, Results
from ..study import PLAIN, Study, Variant

NAME = "shuffle"
MODELS = (MLP, CNN, OWN)


def shuffled(data: Dataset, seed: int) -> Dataset:
    """Every image's pixels moved to the same new places; channels stay together."""
    channels, height, width = data.image_shape
    places = np.random.default_rng(seed).permutation(height * width)

    def moved(x: Images) -> Images:
        return x.reshape(len(x), channels, -1)[:, :, places].reshape(x.shape)

    return replace(data, x_train=moved(data.x_train), x_test=moved(data.x_test))


SHUFFLED = Variant("shuffled", data=shuffled)
TRAININGS = ((MODELS, PLAIN), (MODELS, SHUFFLED))


def measure(study: Study) -> Iterator[Measurement]:
    for model in study.chosen(*MODELS):
        for variant in (PLAIN, SHUFFLED):
            data = study.dataset(variant)
            accuracy = study.trained(model, variant).accuracy(data.x_test, data.y_test)
            yield study.measured(NAME, "accuracy", accuracy, model.name, variant.name)


def judge(results: Results) -> tuple[Claim, ...]:
    lost = {
        model: results.difference(Key(NAME, "accuracy", model), Key(NAME, "accuracy", model, SHUFFLED.name))
        for model in (MLP, CNN)
    }
    return (
        Claim(
            3,
            "locality",
            "An MLP treats near and far pixels alike; a CNN uses that neighbours belong together.",
            (
                Part(f"accuracy lost by the shuffle, {results.title(MLP)}", lost[MLP], "points", -0.02, 0.02),
                Part(f"accuracy lost by the shuffle, {results.title(CNN)}", lost[CNN], "points", 0.01),
            ),
        ),
    )
