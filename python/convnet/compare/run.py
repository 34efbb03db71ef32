"""The comparison itself: every experiment for every seed, and what came of it."""

import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np

import convnet

from .experiments import EXPERIMENTS
from .records import Record
from .study import DATASETS, Advance, Recipe, Study

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Settings:
    """What is asked of a comparison. ``threads`` None is the machine's own number."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    recipe: Recipe = field(default_factory=Recipe)
    datasets: tuple[str, ...] = tuple(DATASETS)
    backend: str = "native"
    threads: int | None = None


@dataclass
class Comparison:
    """Every record of a run, with what a reader must know to repeat it."""

    settings: Settings
    version: str
    machine: dict[str, Any]
    started: str
    records: list[Record] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False

    def of(self, kind: type[R]) -> list[R]:
        """The records of one kind, in the order in which they were made."""
        return [record for record in self.records if isinstance(record, kind)]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists: the content of ``results.json``. Records are grouped by kind."""
        records: dict[str, list[dict[str, Any]]] = {}
        for record in self.records:
            records.setdefault(record.kind, []).append(record.to_json())
        return {
            "schema": 1,
            "convnet": self.version,
            "started": self.started,
            "seconds": self.seconds,
            "finished": self.finished,
            "machine": self.machine,
            "settings": asdict(self.settings),
            "records": records,
        }


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "threads": convnet.get_num_threads(),
        "core": convnet.build_info(),
    }


def processor() -> str:
    """The processor's name as people know it, where the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:  # noqa: PTH123
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def compare(settings: Settings, advance: Advance = lambda what, share: None) -> Comparison:
    """Run the comparison. Ctrl-C ends it early, with ``finished`` False and every record made so far.

    ``advance(what, share)`` is called as the work goes on: what is being done, and the share of the whole
    (0 to 1) just done.
    """
    if settings.threads is not None:
        convnet.set_num_threads(settings.threads)
    comparison = Comparison(
        settings=settings,
        version=convnet.__version__,
        machine=machine(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    begin = time.perf_counter()
    try:
        with convnet.backend(settings.backend):
            for record in _records(settings, advance):
                comparison.records.append(record)
        comparison.finished = True
    except KeyboardInterrupt:
        pass
    comparison.seconds = round(time.perf_counter() - begin, 2)
    return comparison


def _records(settings: Settings, advance: Advance) -> Iterator[Record]:
    """Seed by seed, so that a run cut short has compared every model on the seeds it finished."""
    for seed in settings.seeds:
        study = Study(
            seed=seed,
            recipe=settings.recipe,
            datasets=settings.datasets,
            advance=lambda what, share: advance(what, share / len(settings.seeds)),
        )
        for experiment in EXPERIMENTS:
            if seed == settings.seeds[0] or not experiment.once:
                yield from experiment.measure(study)
