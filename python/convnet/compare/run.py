"""The comparison itself: every experiment for every seed, and what came of it."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import convnet

from ..data import Dataset, load
from .claims import Claim
from .experiments import EXPERIMENTS, judge
from .models import CNN, DESIGNS, Model, design_for, lineup, own_model
from .results import Record, Results
from .study import Advance, Recipe, Study, Variant, limited

Source = Callable[[int], Dataset]
"""The data of a seed."""


@dataclass(frozen=True)
class Settings:
    """What is asked of a comparison.

    Attributes:
        data: a name or a path, as `convnet.data.load` takes them.
        models: names of the line-up, a design's name, or FILE.py:FUNCTION; empty for the whole line-up.
        experiments: names; empty for all.
        limit: at most so many training and test images.
        threads: None for the machine's own number.
    """

    data: str = "digits"
    models: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    recipe: Recipe = field(default_factory=Recipe)
    limit: int | None = None
    backend: str = "native"
    threads: int | None = None


@dataclass
class Comparison:
    """Every record of a run, with what a reader must know to repeat it."""

    settings: Settings
    version: str
    machine: dict[str, Any]
    started: str
    data: Dataset
    models: tuple[Model, ...]
    results: Results = field(default_factory=Results)
    seconds: float = 0.0
    finished: bool = False

    @property
    def caution(self) -> str:
        """What to say of a run too short for its verdicts to be relied on; empty where it is not."""
        usual, seeds, epochs = Settings(), len(self.settings.seeds), self.settings.recipe.epochs
        if seeds >= len(usual.seeds) and epochs >= usual.recipe.epochs:
            return ""
        return (
            f"A first look: {seeds} seed{'s' if seeds > 1 else ''} and {epochs} "
            f"epoch{'s' if epochs > 1 else ''}, where a whole run has {len(usual.seeds)} and "
            f"{usual.recipe.epochs}. Its verdicts may differ."
        )

    @property
    def claims(self) -> list[Claim]:
        """The verdicts on every claim whose figures are there."""
        return judge(self.results)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists: the content of ``results.json``."""
        return {
            "schema": 2,
            "convnet": self.version,
            "started": self.started,
            "seconds": self.seconds,
            "finished": self.finished,
            "machine": self.machine,
            "settings": asdict(self.settings),
            "data": {
                "title": self.data.title,
                "image_shape": list(self.data.image_shape),
                "classes": list(self.data.classes),
                "training_images": len(self.data.y_train),
                "test_images": len(self.data.y_test),
            },
            "models": {model.name: {"title": model.title, "about": model.about} for model in self.models},
            "claims": [claim.to_json() for claim in self.claims],
            **self.results.to_json(),
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


def choose_models(asked: Sequence[str], data: Dataset) -> tuple[Model, ...]:
    """The models that take part: see `Settings`. ValueError for a name that is none."""
    own = [own_model(name) for name in asked if ":" in name]
    named = [name for name in asked if ":" not in name]
    designs = [DESIGNS[name] for name in named if name in DESIGNS]
    if len(designs) > 1:
        raise ValueError(f"one of {', '.join(DESIGNS)} at a time, got {', '.join(d.name for d in designs)}")
    design = designs[0] if designs else design_for(data.image_shape)
    whole = lineup(data.image_shape, len(data.classes), design)
    known = [model.name for model in whole]
    for name in named:
        if name not in known and name not in DESIGNS:
            raise ValueError(
                f"no model {name!r}; expected one of {', '.join((*known, *DESIGNS))}, or FILE.py:FUNCTION"
            )
    chosen = {CNN if name in DESIGNS else name for name in named}
    if all(name in DESIGNS for name in named):  # a design's name alone, or none: all its variants
        chosen = set(known)
    return (*(model for model in whole if model.name in chosen), *own)


def choose_experiments(asked: Sequence[str], models: Sequence[str]) -> tuple[str, ...]:
    """The experiments to run, in the order of `EXPERIMENTS`. ValueError for a name that is none."""
    for name in asked:
        if name not in EXPERIMENTS:
            raise ValueError(f"no experiment {name!r}; expected one of {', '.join(EXPERIMENTS)}")
    if asked:
        return tuple(name for name in EXPERIMENTS if name in asked)
    return tuple(name for name in EXPERIMENTS if name != "notebook" or "notebook" in models)


def compare(
    settings: Settings,
    *,
    source: Source | None = None,
    directory: Path | None = None,
    advance: Advance = lambda what, share: None,
) -> Comparison:
    """Run the comparison. Ctrl-C ends it early, with ``finished`` False and every record made so far.

    Args:
        source: the data of each seed; where None, ``settings.data`` is loaded.
        directory: where finished trainings are kept, and looked for.
        advance: ``advance(what, share)`` is called as the work goes on: what is being done, and the share of
            the whole (0 to 1) just done.

    ValueError where the settings name a model or experiment that there is not.
    """
    source = source or (lambda seed: load(settings.data, seed=seed))
    experiments = choose_experiments(settings.experiments, settings.models)
    if settings.threads is not None:
        convnet.set_num_threads(settings.threads)
    first = limited(source(settings.seeds[0]), settings.limit)
    models = choose_models(settings.models, first)
    comparison = Comparison(
        settings=settings,
        version=convnet.__version__,
        machine=machine(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        data=first,
        models=models,
        results=Results({model.name: model.title for model in models}),
    )
    results = comparison.results
    begin = time.perf_counter()
    try:
        with convnet.backend(settings.backend):
            for (
                seed
            ) in settings.seeds:  # so that a run cut short has compared every model on the seeds it finished
                study = Study(
                    seed=seed,
                    recipe=settings.recipe,
                    data=first if seed == settings.seeds[0] else limited(source(seed), settings.limit),
                    models={model.name: model for model in models},
                    finished=results.add,
                    directory=directory,
                    first=seed == settings.seeds[0],
                )
                whole = sum(study.work(model, variant) for model, variant in planned(study, experiments))
                study.advance = lambda what, work, whole=whole: advance(  # type: ignore[misc]
                    what, work / whole / len(settings.seeds)
                )
                for record in _records(study, experiments):
                    results.add(record)
        comparison.finished = True
    except KeyboardInterrupt:
        pass
    comparison.seconds = round(time.perf_counter() - begin, 2)
    return comparison


def planned(study: Study, experiments: Sequence[str]) -> list[tuple[Model, Variant]]:
    """Every training the experiments will ask for, once."""
    wanted = {}
    for name in experiments:
        for names, variant in EXPERIMENTS[name].trainings:
            for model in study.chosen(*names):
                wanted[model.name, variant.name] = model, variant
    return list(wanted.values())


def _records(study: Study, experiments: Sequence[str]) -> Iterator[Record]:
    for name in experiments:
        yield from EXPERIMENTS[name].measure(study)
