"""What the network looks for: first-layer filters before and after training, the maps they make of one image,
and, for each unit of the last convolution, the images that excite it most. No label is used to find those.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...layers import Conv2d, Sequential
from ..claims import Claim, Part
from ..models import CNN, MLP
from ..results import Key, Measurement, Plane, Planes, Results
from ..study import PLAIN, Study, first_weights

NAME = "filters"
MODELS = (MLP, CNN)
TRAININGS = ((MODELS, PLAIN),)
UNITS = 6  # LeNet-5's first layer has as many
DEEP_UNITS, EXCITING = 6, 6

# As first set. Both were once lowered, to 0.005 and 0.05, after a run had been seen: that is undone.
LEAST_LOST, LEAST_SMOOTHER = 0.05, 0.1


def measure(study: Study) -> Iterator[Measurement | Planes]:
    data = study.dataset()
    for model in study.chosen(*MODELS):
        trained = study.trained(model)
        after = first_weights(trained.network).copy()
        if study.first:
            for name, weight in (("before", trained.first_weights), ("after", after)):
                yield Planes(NAME, name, model.name, planes(weight, data.image_shape))
        change = np.linalg.norm(after - trained.first_weights) / np.linalg.norm(trained.first_weights)
        yield study.measured(NAME, "relative change", float(change), model.name)
        yield study.measured(NAME, "accuracy", trained.accuracy(data.x_test, data.y_test), model.name)
        # What the learned filters are worth: those of before in their place, all else as learned.
        first_weights(trained.network)[...] = trained.first_weights
        accuracy = trained.accuracy(data.x_test, data.y_test)
        first_weights(trained.network)[...] = after
        yield study.measured(NAME, "accuracy with the filters of before", accuracy, model.name)
        if model.name == CNN:
            for name, weight in (("before", trained.first_weights), ("after", after)):
                yield study.measured(NAME, f"smoothness {name}", smoothness(weight), model.name)
            if study.first:
                yield from _maps(trained.network, data.x_test, data.y_test, data.classes)


def _maps(
    network: Sequential, x: NDArray[Any], y: NDArray[np.int64], classes: tuple[str, ...]
) -> Iterator[Planes]:
    convolutions = [i for i, layer in enumerate(network) if isinstance(layer, Conv2d)]
    image = x[:1]
    yield Planes(NAME, "image", CNN, (plane(image[0].mean(axis=0)),), (classes[y[0]],))
    for name, last in zip(("first maps", "last maps"), (convolutions[0], convolutions[-1]), strict=True):
        maps = through(network, last + 2, image)
        yield Planes(NAME, name, CNN, tuple(plane(one) for one in maps[0, :UNITS]))
    strength = through(network, convolutions[-1] + 2, x).max(axis=(2, 3))
    for unit in range(min(DEEP_UNITS, strength.shape[1])):
        most = np.argsort(-strength[:, unit], kind="stable")[:EXCITING]
        yield Planes(
            NAME,
            "exciting",
            CNN,
            tuple(plane(one.mean(axis=0)) for one in x[most]),
            tuple(classes[y[one]] for one in most),
        )


def through(network: Sequential, count: int, x: NDArray[Any]) -> NDArray[Any]:
    """What the first ``count`` layers make of x: a convolution with its activation behind it."""
    for layer in list(network)[:count]:
        x = layer.forward(x)
    return x


def smoothness(weight: NDArray[Any]) -> float:
    """Correlation of neighbouring weights within filters (C_out, C_in, kH, kW), each one's mean taken off."""
    centred = weight - weight.mean(axis=(2, 3), keepdims=True)
    across = (centred[..., :-1] * centred[..., 1:]).sum() / (centred[..., :-1] ** 2).sum()
    down = (centred[..., :-1, :] * centred[..., 1:, :]).sum() / (centred[..., :-1, :] ** 2).sum()
    return float((across + down) / 2)


def planes(weight: NDArray[Any], image_shape: tuple[int, int, int]) -> tuple[Plane, ...]:
    """The first units' weights for the first channel, (kH, kW) or (H, W) each."""
    if weight.ndim == 2:  # (in, out): each column was an image before Flatten
        weight = weight.T.reshape(-1, *image_shape)
    return tuple(plane(unit) for unit in weight[:UNITS, 0])


def plane(values: NDArray[Any]) -> Plane:
    """Numbers to four places: enough for a picture."""
    return tuple(tuple(round(float(value), 4) for value in row) for row in values)


def judge(results: Results) -> tuple[Claim, ...]:
    def key(figure: str) -> Key:
        return Key(NAME, figure, CNN)

    return (
        Claim(
            11,
            "learned filters",
            "The filters are learned by backpropagation: nobody designs them.",
            (
                Part(
                    "change of the first filters in training, beside their size",
                    results.spread(key("relative change")),
                    least=0.1,
                ),
                Part(
                    "accuracy lost when the filters of before are put back",
                    results.difference(key("accuracy"), key("accuracy with the filters of before")),
                    "points",
                    LEAST_LOST,
                ),
                Part(
                    "correlation of neighbouring weights, after over before",
                    results.difference(key("smoothness after"), key("smoothness before")),
                    least=LEAST_SMOOTHER,
                ),
            ),
        ),
    )
