"""Records into tables of text, for the terminal and the report alike."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from ..data.digits import TITLES as DIGITS
from .models import LINEUP, Model
from .records import Cost, Learning, ShiftAccuracy, StepTime
from .run import Comparison

TITLES = {f"digits{size}": title for size, title in DIGITS.items()}


@dataclass(frozen=True)
class Table:
    """Cells of text under a title; the first column is left-aligned, numbers in the others to the right."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


@dataclass(frozen=True)
class Spread:
    """A mean with the sample standard deviation of what it is the mean of; 0 where that is one number."""

    mean: float
    deviation: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        numbers = list(values)
        return cls(fmean(numbers), stdev(numbers) if len(numbers) > 1 else 0.0, len(numbers))

    def percent(self) -> str:
        """``98.7 ± 0.5``, or ``98.7`` where there was nothing to spread."""
        mean = f"{100 * self.mean:.1f}"
        return f"{mean} ± {100 * self.deviation:.1f}" if self.count > 1 else mean


def datasets_in(comparison: Comparison) -> list[str]:
    """The data sets of which something was learned, in the order asked for."""
    return [name for name in comparison.settings.datasets if models_in(comparison, name)]


def models_in(comparison: Comparison, dataset: str) -> list[Model]:
    """The data set's models of which at least one training is finished, in the line-up's order."""
    finished = {record.model for record in comparison.of(Learning) if record.dataset == dataset}
    return [model for model in LINEUP[dataset] if model.name in finished]


def accuracy(comparison: Comparison, dataset: str, model: str, half: str) -> Spread:
    """Accuracy of the finished networks on the "train" or "test" half."""
    return Spread.of(
        record.train_accuracy if half == "train" else record.test_accuracy
        for record in comparison.of(Learning)
        if (record.dataset, record.model) == (dataset, model)
    )


def shifted_accuracy(comparison: Comparison, dataset: str, model: str) -> dict[int, Spread]:
    """Test accuracy by how far the images moved: each seed's mean over the directions, spread over seeds."""
    by_distance: dict[int, dict[int, list[float]]] = {}
    for record in comparison.of(ShiftAccuracy):
        if (record.dataset, record.model) == (dataset, model):
            by_distance.setdefault(record.distance, {}).setdefault(record.seed, []).append(record.accuracy)
    return {
        distance: Spread.of(fmean(accuracies) for accuracies in seeds.values())
        for distance, seeds in sorted(by_distance.items())
    }


def overview(comparison: Comparison, dataset: str) -> Table:
    """One row a model: its size, its cost, how fast it learns and how well."""
    costs = {record.model: record for record in comparison.of(Cost) if record.dataset == dataset}
    steps = {record.model: record for record in comparison.of(StepTime) if record.dataset == dataset}
    rows = tuple(
        (
            model.title,
            accuracy(comparison, dataset, model.name, "test").percent(),
            accuracy(comparison, dataset, model.name, "train").percent(),
            f"{costs[model.name].parameters:,}",
            f"{costs[model.name].macs:,}",
            f"{1000 * steps[model.name].seconds:.2f}",
        )
        for model in models_in(comparison, dataset)
    )
    recipe = comparison.settings.recipe
    return Table(
        title=f"{TITLES[dataset]}: size, cost and accuracy",
        header=("Model", "Test %", "Train %", "Parameters", "MACs", "Step ms"),
        rows=rows,
        note=(
            f"Test %, Train %: accuracy on held-out and on training images, {_seeds(comparison)}. "
            "MACs: multiply-accumulates for one image forward; FLOPs are twice as many. "
            f"Step ms: forward, backward and update of one batch of {recipe.batch_size}, the fastest of many."
        ),
    )


def side_by_side(comparison: Comparison, dataset: str) -> Table:
    """Accuracy on moved test images: one row a distance, the models side by side."""
    models = models_in(comparison, dataset)
    columns = [shifted_accuracy(comparison, dataset, model.name) for model in models]
    distances = sorted({distance for column in columns for distance in column})
    rows = tuple(
        (
            f"{distance} px",
            *(column[distance].percent() if distance in column else "" for column in columns),
        )
        for distance in distances
    )
    return Table(
        title=f"{TITLES[dataset]}: accuracy in % when the test images move",
        header=("Moved by", *(model.title for model in models)),
        rows=rows,
        note=f"Mean of the eight directions; {_seeds(comparison)}. No model was trained on moved images.",
    )


def layers(cost: Cost) -> Table:
    """One row a layer, and the total."""
    rows = [
        (
            layer.name,
            " x ".join(map(str, layer.output_shape)),
            f"{layer.parameters:,}",
            f"{layer.macs:,}",
            f"{layer.activation_bytes:,}",
        )
        for layer in cost.layers
    ]
    total = ("Total", "", f"{cost.parameters:,}", f"{cost.macs:,}", f"{cost.activation_bytes:,}")
    return Table(
        title="Layer by layer, for one image",
        header=("Layer", "Output", "Parameters", "MACs", "Bytes"),
        rows=(*rows, total),
        note="Bytes: those of the layer's output in float32.",
    )


def _seeds(comparison: Comparison) -> str:
    count = len({record.seed for record in comparison.of(Learning)})
    return f"mean ± standard deviation over {count} seeds" if count > 1 else "one seed"
