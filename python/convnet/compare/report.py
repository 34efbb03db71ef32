"""The comparison as files: ``results.json``, pictures, and ``report.html``, one page complete in itself."""

import base64
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from . import plots
from .models import Model
from .records import Cost, Filters, ShiftAccuracy, StepTime
from .run import Comparison
from .tables import (
    TITLES,
    Table,
    accuracy,
    datasets_in,
    layers,
    models_in,
    overview,
    shifted_accuracy,
    side_by_side,
)


@dataclass(frozen=True)
class Picture:
    """A PNG with the words for those who cannot see it."""

    name: str
    png: bytes
    alt: str

    @property
    def data_uri(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Section:
    """All there is about one data set; a part that was not reached in an interrupted run is None or empty."""

    title: str
    models: tuple[Model, ...]
    overview: Table
    learning: Picture
    shifts: Table | None
    shift: Picture | None
    filters: Picture | None
    layers: tuple[tuple[str, Table], ...]  # by model title


def save_results(comparison: Comparison, directory: Path) -> Path:
    """Write ``results.json`` into the directory, which is made where it is missing."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "results.json"
    path.write_text(json.dumps(comparison.to_json(), indent=1) + "\n", encoding="utf-8")
    return path


def save_report(comparison: Comparison, directory: Path) -> Path:
    """Write the pictures and ``report.html`` into the directory. At least one training must be finished."""
    sections = [_section(comparison, dataset) for dataset in datasets_in(comparison)]
    if not sections:
        raise ValueError("save_report: the comparison holds no finished training")
    directory.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for picture in (section.learning, section.shift, section.filters):
            if picture is not None:
                (directory / f"{picture.name}.png").write_bytes(picture.png)
    environment = Environment(
        loader=PackageLoader("convnet.compare", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.jinja").render(
        comparison=comparison, answer=answer(comparison), sections=sections
    )
    path = directory / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def answer(comparison: Comparison) -> list[str]:
    """The comparison in three sentences: the first data set's last model, a CNN, and the MLP before it."""
    dataset = datasets_in(comparison)[0]
    models = models_in(comparison, dataset)
    cnn, mlp = models[-1], models[-2] if len(models) > 1 else models[-1]
    if cnn.family != "CNN" or mlp.family != "MLP":
        return ["The run was interrupted before an MLP and a CNN had both been trained."]
    cost = {r.model: r for r in comparison.of(Cost) if r.dataset == dataset}
    step = {r.model: 1000 * r.seconds for r in comparison.of(StepTime) if r.dataset == dataset}
    sentences = [
        f"On held-out digits {cnn.title} is right "
        f"{accuracy(comparison, dataset, cnn.name, 'test').percent()} % of the time, the {mlp.title} "
        f"{accuracy(comparison, dataset, mlp.name, 'test').percent()} %."
    ]
    moved_cnn, moved_mlp = (shifted_accuracy(comparison, dataset, m.name) for m in (cnn, mlp))
    near, far = 1, 2
    if far in moved_cnn and far in moved_mlp:
        sentences.append(
            f"Trained on centred digits only and shown others {near} pixel off centre, {cnn.title} "
            f"recognises {moved_cnn[near].mean:.0%} and the MLP {moved_mlp[near].mean:.0%} of them; "
            f"{far} pixels off, {moved_cnn[far].mean:.0%} and {moved_mlp[far].mean:.0%}."
        )
    sentences.append(
        f"{cnn.title} has {cost[cnn.name].parameters:,} parameters and needs {cost[cnn.name].macs:,} "
        f"multiply-accumulates an image, the MLP {cost[mlp.name].parameters:,} and {cost[mlp.name].macs:,}; "
        f"a training step takes {step[cnn.name]:.2f} ms and {step[mlp.name]:.2f} ms."
    )
    return sentences


def _section(comparison: Comparison, dataset: str) -> Section:
    title = TITLES[dataset]
    models = models_in(comparison, dataset)
    names = ", ".join(model.title for model in models)
    test = "; ".join(
        f"{model.title} {accuracy(comparison, dataset, model.name, 'test').percent()} %" for model in models
    )
    has_shifts = any(record.dataset == dataset for record in comparison.of(ShiftAccuracy))
    has_filters = any(record.dataset == dataset for record in comparison.of(Filters))
    costs = {record.model: record for record in comparison.of(Cost) if record.dataset == dataset}
    moved = "; ".join(
        f"{model.title} "
        + ", ".join(
            f"{spread.mean:.0%} at {distance}"
            for distance, spread in shifted_accuracy(comparison, dataset, model.name).items()
        )
        for model in models
    )
    return Section(
        title=title[0].upper() + title[1:],
        models=tuple(models),
        overview=overview(comparison, dataset),
        learning=_picture(
            f"{dataset}-learning",
            plots.learning_curves(comparison, dataset),
            f"Line chart, {title}: accuracy on held-out images after each epoch for {names}. "
            f"At the end: {test}.",
        ),
        shifts=side_by_side(comparison, dataset) if has_shifts else None,
        shift=_picture(
            f"{dataset}-shift",
            plots.accuracy_against_shift(comparison, dataset),
            f"Line chart, {title}: accuracy on test images moved by some pixels. {moved}.",
        )
        if has_shifts
        else None,
        filters=_picture(
            f"{dataset}-filters",
            plots.first_filters(comparison, dataset),
            f"Small images of first-layer weights before and after training, {title}: {names}.",
        )
        if has_filters
        else None,
        layers=tuple((model.title, layers(costs[model.name])) for model in models),
    )


def _picture(name: str, figure: Figure, alt: str) -> Picture:
    buffer = BytesIO()
    # Without the metadata matplotlib adds, one comparison always gives the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return Picture(name, buffer.getvalue(), alt)
