"""One module an experiment. ``measure(study)`` yields records and prints and draws nothing;
``judge(results)`` makes claims of them, and raises NotMeasured where it misses a figure.

To add an experiment: write its module, with the trainings it needs, and its line in `EXPERIMENTS`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..claims import Claim
from ..results import NotMeasured, Record, Results
from ..study import Study, Variant
from . import (
    activation,
    background,
    colour,
    cost,
    efficiency,
    filters,
    growth,
    learning,
    notebook,
    pooling,
    rotation,
    shift,
    shuffle,
)


@dataclass(frozen=True)
class Experiment:
    """``trainings``: which models it wants trained in which variants, so that the time left can be told."""

    about: str
    measure: Callable[[Study], Iterator[Record]]
    judge: Callable[[Results], tuple[Claim, ...]]
    trainings: tuple[tuple[tuple[str, ...], Variant], ...] = ()


EXPERIMENTS: dict[str, Experiment] = {
    module.NAME: Experiment(about, module.measure, module.judge, getattr(module, "TRAININGS", ()))
    for module, about in (
        (growth, "parameters against image size, on paper (claims 1 and 2)"),
        (cost, "parameters, MACs, memory, step time, backends (claim 7)"),
        (learning, "accuracy epoch by epoch, of every model"),
        (shift, "moved test images (claim 4)"),
        (shuffle, "shuffled pixels (claim 3)"),
        (background, "backgrounds that go with the class (claim 5)"),
        (efficiency, "fewer training images (claim 6)"),
        (pooling, "max, average, strided, none (claim 8)"),
        (activation, "ReLU, none, tanh, sigmoid (claim 9)"),
        (rotation, "turned and resized test images (claim 10)"),
        (filters, "filters, maps, exciting images (claim 11)"),
        (colour, "RGB and grey (claim 12)"),
        (notebook, "the CIFAR-10 notebook's own recipes; with --models notebook"),
    )
}


def judge(results: Results) -> list[Claim]:
    """Every claim whose figures are all there, by number."""
    claims: list[Claim] = []
    for experiment in EXPERIMENTS.values():
        try:
            claims += experiment.judge(results)
        except NotMeasured:
            continue
    return sorted(claims, key=lambda claim: claim.id)
