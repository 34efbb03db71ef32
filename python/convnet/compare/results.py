"""What experiments yield. Claims, tables, pictures and the report are made from these and nothing else.

Figures are tidy data (H. Wickham, "Tidy data", 2014): one number a measurement, with all that is needed to
find it again. Means and spreads are taken later.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import sqrt
from statistics import fmean, stdev
from typing import Any, NamedTuple, TypeAlias

Plane: TypeAlias = tuple[tuple[float, ...], ...]


class Key(NamedTuple):
    """Where a figure belongs: ``at`` are the numbers it depends on, such as a shift's (dx, dy)."""

    experiment: str
    figure: str
    model: str = ""
    variant: str = "plain"
    at: tuple[float, ...] = ()


class Measurement(NamedTuple):
    """One number. Durations are in figures named ``seconds``, so that two runs can be compared without."""

    key: Key
    seed: int
    value: float


@dataclass(frozen=True)
class Planes:
    """Small pictures: filters, maps, gradients; ``captions`` has one for each plane, or none at all."""

    experiment: str
    name: str
    model: str
    planes: tuple[Plane, ...]
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Training:
    """One finished training; ``weights`` is the SHA-256 of all parameters, ``images`` how many it saw an
    epoch.
    """

    model: str
    variant: str
    seed: int
    images: int
    epochs: int
    weights: str
    seconds: float


Record: TypeAlias = Measurement | Planes | Training


@dataclass(frozen=True)
class Spread:
    """A mean with the sample standard deviation of what it is the mean of; 0 where that is one number."""

    mean: float
    deviation: float = 0.0
    count: int = 1

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        numbers = list(values)
        return cls(fmean(numbers), stdev(numbers) if len(numbers) > 1 else 0.0, len(numbers))

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.deviation / sqrt(self.count)

    def percent(self) -> str:
        """``98.7 ± 0.5``, or ``98.7`` where there was nothing to spread."""
        mean = f"{100 * self.mean:.1f}"
        return f"{mean} ± {100 * self.deviation:.1f}" if self.count > 1 else mean


class NotMeasured(LookupError):
    """A figure that this run has not, because it was not asked for or not reached."""


@dataclass
class Results:
    """All records, found by key. ``titles`` has the models' names as people read them."""

    titles: Mapping[str, str] = field(default_factory=dict)
    pictures: list[Planes] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)
    _values: dict[Key, dict[int, float]] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        if isinstance(record, Measurement):
            self._values.setdefault(record.key, {})[record.seed] = record.value
        elif isinstance(record, Planes):
            self.pictures.append(record)
        else:
            self.trainings.append(record)

    def keys(self, experiment: str, figure: str | None = None) -> Iterator[Key]:
        """The keys of an experiment's figures, in the order in which they were measured."""
        for key in self._values:
            if key.experiment == experiment and figure in (None, key.figure):
                yield key

    def values(self, key: Key) -> dict[int, float]:
        """The figure by seed; NotMeasured where there is none."""
        try:
            return self._values[key]
        except KeyError:
            raise NotMeasured(key) from None

    def spread(self, key: Key) -> Spread:
        return Spread.of(self.values(key).values())

    def difference(self, key: Key, other: Key) -> Spread:
        """``key - other``, seed by seed: what varies from seed to seed alike falls out."""
        ours, theirs = self.values(key), self.values(other)
        return Spread.of([ours[seed] - theirs[seed] for seed in _common(key, ours, theirs)])

    def ratio(self, key: Key, other: Key) -> Spread:
        """``key / other``, seed by seed."""
        ours, theirs = self.values(key), self.values(other)
        return Spread.of([ours[seed] / theirs[seed] for seed in _common(key, ours, theirs)])

    def planes(self, experiment: str, name: str) -> list[Planes]:
        return [p for p in self.pictures if (p.experiment, p.name) == (experiment, name)]

    def title(self, model: str) -> str:
        return self.titles.get(model, model)

    def to_json(self) -> dict[str, Any]:
        return {
            "measurements": [
                {**key._asdict(), "values": {str(seed): value for seed, value in values.items()}}
                for key, values in self._values.items()
            ],
            "pictures": [asdict(picture) for picture in self.pictures],
            "trainings": [asdict(training) for training in self.trainings],
        }


def _common(key: Key, ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[int]:
    seeds = [seed for seed in ours if seed in theirs]
    if not seeds:
        raise NotMeasured(key)
    return seeds
