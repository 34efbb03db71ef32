"""What is left of the accuracy when the test images move.

The networks have seen centred images only. Convolution moves its answer along with the image and pooling
forgives small moves; a dense layer expects every pixel in its place.
"""

from collections.abc import Iterator
from itertools import product

from ...data import shift
from ..records import ShiftAccuracy
from ..study import Study

FARTHEST = {"digits28": 5, "digits8": 2}
"""How far images move, in pixels: on the canvas 97% of the ink is still in the picture at 5."""


def directions(distance: int) -> list[tuple[int, int]]:
    """(dx, dy) towards all eight neighbours, ``distance`` pixels along each axis moved along."""
    if distance == 0:
        return [(0, 0)]
    steps = (-distance, 0, distance)
    return [(dx, dy) for dy, dx in product(steps, steps) if dx or dy]


def measure(study: Study) -> Iterator[ShiftAccuracy]:
    for dataset, model in study.pairs():
        trained = study.trained(dataset, model)
        data = study.dataset(dataset)
        unmoved = trained.predict(data.x_test)
        for distance in range(FARTHEST[dataset] + 1):
            for dx, dy in directions(distance):
                predicted = trained.predict(shift(data.x_test, dx, dy, fill=data.background))
                yield ShiftAccuracy(
                    dataset=dataset,
                    model=model.name,
                    seed=study.seed,
                    dx=dx,
                    dy=dy,
                    accuracy=float((predicted == data.y_test).mean()),
                    consistency=float((predicted == unmoved).mean()),
                )
