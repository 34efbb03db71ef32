"""What the first layer looks for, before and after training: nobody designs the filters."""

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from ..records import Filters, Plane
from ..study import Study, first_weights

UNITS = 6  # LeNet-5's first layer has as many


def measure(study: Study) -> Iterator[Filters]:
    for dataset, model in study.pairs():
        trained = study.trained(dataset, model)
        shape = study.dataset(dataset).image_shape
        after = first_weights(trained.network)
        yield Filters(
            dataset=dataset,
            model=model.name,
            seed=study.seed,
            of=after.shape[0] if after.ndim == 4 else after.shape[1],
            before=planes(trained.first_weights, shape),
            after=planes(after, shape),
        )


def planes(weight: NDArray[Any], image_shape: tuple[int, int, int]) -> tuple[Plane, ...]:
    """The first units' weights for the first channel, (kH, kW) or (H, W) each, as numbers to four places."""
    if weight.ndim == 2:  # (in, out): each column was an image before Flatten
        weight = weight.T.reshape(-1, *image_shape)
    return tuple(
        tuple(tuple(round(float(value), 4) for value in row) for row in unit) for unit in weight[:UNITS, 0]
    )
