"""One module an experiment. Each has ``measure(study)``, which yields records and prints and draws nothing.

To add an experiment: write its record in `records`, its module here, and its line in `EXPERIMENTS`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..records import Record
from ..study import Study
from . import cost, filters, learning, shift, step_time


@dataclass(frozen=True)
class Experiment:
    """``once``: for the first seed alone, because it would say the same for each."""

    measure: Callable[[Study], Iterator[Record]]
    once: bool = False


EXPERIMENTS = (
    Experiment(cost.measure, once=True),
    Experiment(step_time.measure, once=True),
    Experiment(learning.measure),
    Experiment(shift.measure),
    Experiment(filters.measure, once=True),
)
