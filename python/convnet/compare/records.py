"""What an experiment yields. Tables, pictures and the report are made from these and nothing else.

A record is one measurement, with all that is needed to find it again: model, data set, seed. Means and
spreads are taken later. Every field that holds a duration is named ``seconds``, so that two runs can be
compared without.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias


@dataclass(frozen=True)
class Record:
    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class LayerCost:
    """One layer, for one image. Bytes are those of its output."""

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    activation_bytes: int


@dataclass(frozen=True)
class Cost(Record):
    """What a model costs on paper, for one image forward."""

    kind: ClassVar[str] = "cost"
    dataset: str
    model: str
    parameters: int
    macs: int
    activation_bytes: int
    layers: tuple[LayerCost, ...]


@dataclass(frozen=True)
class StepTime(Record):
    """Duration of one training step: forward, backward and the optimizer's update of one batch.

    The shortest of ``repeats``: whatever else the machine does can only make a step longer.
    """

    kind: ClassVar[str] = "step_time"
    dataset: str
    model: str
    batch_size: int
    repeats: int
    seconds: float


@dataclass(frozen=True)
class Learning(Record):
    """One training: loss and accuracies after each epoch, and the accuracies of the finished network.

    The curve's training accuracy is measured batch by batch while the weights still move; the last one after.
    """

    kind: ClassVar[str] = "learning"
    dataset: str
    model: str
    seed: int
    train_accuracy: float
    test_accuracy: float
    train_loss_curve: tuple[float, ...]
    train_accuracy_curve: tuple[float, ...]
    test_accuracy_curve: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class ShiftAccuracy(Record):
    """Test accuracy with every image moved by (dx, dy) pixels.

    ``consistency`` is the share of predictions that are the same as for the image in its place.
    """

    kind: ClassVar[str] = "shift"
    dataset: str
    model: str
    seed: int
    dx: int
    dy: int
    accuracy: float
    consistency: float

    @property
    def distance(self) -> int:
        """Pixels moved along the axis of the longer move: (3, -3) and (3, 0) are both 3 away."""
        return max(abs(self.dx), abs(self.dy))


Plane: TypeAlias = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Filters(Record):
    """What the first units of the first layer with weights look for, before and after training.

    Each is a plane of weights: a convolution's filter, or a dense unit's weights laid out as the image.
    ``of`` counts the units the layer has.
    """

    kind: ClassVar[str] = "filters"
    dataset: str
    model: str
    seed: int
    of: int
    before: tuple[Plane, ...]
    after: tuple[Plane, ...]
