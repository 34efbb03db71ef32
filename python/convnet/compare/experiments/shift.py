"""What is left of the accuracy when the test images move.

The networks have seen centred images only, or images shifted at random (variant "shifted"). Convolution moves
its answer along with the image and pooling forgives small moves; a dense layer expects every pixel in its
place, and a global average asks for none.
"""

from collections.abc import Iterator
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

import convnet

from ...data import shift
from ...data.augment import RandomShift
from ...data.dataset import Dataset
from ...layers import Conv2d
from ..claims import Claim, Part
from ..models import CNN, MLP, OWN
from ..results import Key, Measurement, Results
from ..study import PLAIN, Study, Trained, Variant

NAME = "shift"
MODELS = (MLP, CNN, "cnn-gap", OWN)
MOST = 2000  # test images to move: the grid asks for each more than a hundred times


def reach(height: int) -> int:
    """How far images move, in pixels. On the canvas of 28 97% of the ink is still in the picture at 5."""
    return min(max(2, height // 5), 6)


SHIFTED = Variant(
    "shifted", augment=lambda data: RandomShift(reach(data.image_shape[1]) - 1, data.background)
)
TRAININGS = ((("mlp", *MODELS), PLAIN), (MODELS, SHIFTED))


def distance(dx: int, dy: int) -> int:
    """Pixels moved along the axis of the longer move: (3, -3) and (3, 0) are both 3 away."""
    return max(abs(dx), abs(dy))


def moved(trained: Trained, data: Dataset, farthest: int) -> dict[tuple[int, int], tuple[float, float]]:
    """By (dx, dy) the share of right answers, and of answers that are the same as for the image in place."""
    x, y = data.x_test[:MOST], data.y_test[:MOST]
    unmoved = trained.predict(x)
    steps = range(-farthest, farthest + 1)
    found = {}
    for dy in steps:
        for dx in steps:
            predicted = trained.predict(shift(x, dx, dy, fill=data.background))
            found[dx, dy] = float((predicted == y).mean()), float((predicted == unmoved).mean())
    return found


def by_distance(found: dict[tuple[int, int], tuple[float, float]]) -> dict[int, tuple[float, float]]:
    """Mean accuracy and consistency over all shifts of one distance."""
    rings: dict[int, list[tuple[float, float]]] = {}
    for (dx, dy), figures in found.items():
        rings.setdefault(distance(dx, dy), []).append(figures)
    return {
        far: (fmean(accuracy for accuracy, _ in ring), fmean(same for _, same in ring))
        for far, ring in sorted(rings.items())
    }


def measure(study: Study) -> Iterator[Measurement]:
    data = study.dataset()
    farthest = reach(data.image_shape[1])
    for variant, names in ((PLAIN, ("mlp", *MODELS)), (SHIFTED, MODELS)):
        for model in study.chosen(*names):
            found = moved(study.trained(model, variant), data, farthest)
            for (dx, dy), (accuracy, same) in found.items():
                at = float(dx), float(dy)
                yield study.measured(NAME, "accuracy", accuracy, model.name, variant.name, at)
                yield study.measured(NAME, "consistency", same, model.name, variant.name, at)
            for far, (accuracy, same) in by_distance(found).items():
                yield study.measured(NAME, "accuracy by distance", accuracy, model.name, variant.name, (far,))
                yield study.measured(NAME, "consistency by distance", same, model.name, variant.name, (far,))
    for model in study.chosen(CNN):
        layer = next(layer for layer in study.trained(model).network if isinstance(layer, Conv2d))
        yield study.measured(NAME, "unequal", unequal(layer, data.x_test[:16]), model.name)


def unequal(layer: Conv2d, x: NDArray[np.float32], dx: int = 3, dy: int = 2) -> float:
    """Largest difference of convolving shifted images and shifting the convolution, beside its size.

    Where zeros entered at the rim, the two cannot be compared; nowhere else should they differ.
    """
    weight = layer.params["weight"]
    first = convnet.conv2d(shift(x, dx, dy), weight)
    second = shift(convnet.conv2d(x, weight), dx, dy)
    inner = np.s_[..., dy:, dx:]
    return float(abs(first[inner] - second[inner]).max() / abs(second).max())


def judge(results: Results) -> tuple[Claim, ...]:
    def at(model: str, far: int, variant: str = "plain", figure: str = "accuracy") -> Key:
        return Key(NAME, f"{figure} by distance", model, variant, (far,))

    mlp, cnn, gap = MLP, CNN, "cnn-gap"
    farthest = max((int(key.at[0]) for key in results.keys(NAME, "accuracy by distance")), default=0)
    titles = {model: results.title(model) for model in (mlp, cnn)}
    parts = (
        Part(
            f"accuracy lost when images move 2 pixels, {titles[mlp]}",
            results.difference(at(mlp, 0), at(mlp, 2)),
            "points",
            0.1,
        ),
        Part(
            f"accuracy at 2 pixels, {titles[cnn]} over {titles[mlp]}",
            results.difference(at(cnn, 2), at(mlp, 2)),
            "points",
            0.05,
        ),
        Part(
            f"accuracy lost when images move 2 pixels, {titles[cnn]}",
            results.difference(at(cnn, 0), at(cnn, 2)),
            "points",
            most=0.05,
        ),
        Part(
            f"answers unchanged at {farthest} pixels, GAP head over Flatten head",
            results.difference(
                at(gap, farthest, figure="consistency"), at(cnn, farthest, figure="consistency")
            ),
            "points",
            0.1,
        ),
        Part(
            "convolution of the shifted image less the shifted convolution, beside its size",
            results.spread(Key(NAME, "unequal", cnn)),
            least=0,
            most=0,
        ),
    )
    trained = [results.spread(at(model, 2, SHIFTED.name)) for model in (mlp, cnn)]
    unchanged = {model: results.spread(at(model, farthest, figure="consistency")) for model in (cnn, gap)}
    return (
        Claim(
            4,
            "shifts",
            "An MLP learns the place of things; a CNN tolerates that they move.",
            parts,
            remarks=(
                f"Convolution is equivariant: its maps move along. Invariance is up to the head: Flatten "
                f"and Dense expect each pixel of the maps in its place, a global average asks for none. At "
                f"{farthest} pixels {unchanged[gap].percent()} % of its answers are as for the image in "
                f"place, with Flatten {unchanged[cnn].percent()} %. Nor is that all: two poolings by 2 are "
                f"equivariant only to shifts by 4, and at the rim the maps lose what the filters no longer "
                f"cover.",
                f"Trained on images shifted at random, {titles[mlp]} is right on {trained[0].percent()} % "
                f"of images moved by 2 pixels and {titles[cnn]} on {trained[1].percent()} %: augmentation "
                f"does much of what the architecture does not.",
            ),
        ),
    )
