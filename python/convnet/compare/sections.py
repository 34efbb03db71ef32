"""What is shown of each claim: its pictures, with the words for those who cannot see them, and its tables."""

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

from matplotlib.figure import Figure

from . import plots
from .claims import Claim
from .experiments import (
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
from .models import CNN, MLP
from .plots import Line
from .results import Key, NotMeasured, Plane, Results, Spread


@dataclass(frozen=True)
class Picture:
    """A PNG with the words for those who cannot see it."""

    name: str
    png: bytes
    alt: str
    caption: str

    @property
    def data_uri(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Table:
    """Cells of text; the first column is left-aligned, numbers in the others to the right."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """One claim with what was found, or a matter without one. ``how`` are paragraphs on its measurement."""

    title: str
    claim: Claim | None
    how: tuple[str, ...]
    shown: tuple[Picture | Table, ...]

    @property
    def pictures(self) -> list[Picture]:
        return [one for one in self.shown if isinstance(one, Picture)]


Shown = Iterator[Picture | Table]


def draw(name: str, figure: Figure, alt: str, caption: str) -> Picture:
    buffer = BytesIO()
    # Without the metadata matplotlib adds, one comparison always gives the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return Picture(name, buffer.getvalue(), alt, caption)


def sections(results: Results, claims: Sequence[Claim]) -> list[Section]:
    """One section a claim, in order, then those without; what was not measured is left out."""
    found = {claim.id: claim for claim in claims}
    made = []
    for number, title, module, show in (
        (1, "", growth, _growth),
        (2, "", growth, _sharing),
        (3, "", shuffle, _shuffle),
        (4, "", shift, _shift),
        (5, "", background, _background),
        (6, "", efficiency, _efficiency),
        (7, "", cost, _cost),
        (8, "", pooling, _pooling),
        (9, "", activation, _activation),
        (10, "", rotation, _rotation),
        (11, "", filters, _filters),
        (12, "", colour, _colour),
        (0, "Accuracy, epoch by epoch", learning, _learning),
        (0, "The three backends", cost, _backends),
        (0, "The notebook's comparison, as it was", notebook, _notebook),
    ):
        shown = tuple(_measured(show, results))
        claim = found.get(number)
        if shown or claim:
            made.append(
                Section(claim.claim if claim else title or module.NAME, claim, _prose(module.__doc__), shown)
            )
    return made


def _measured(show: Callable[[Results], Shown], results: Results) -> Shown:
    # Up to the first figure that is missing: the run was cut short, or not asked for it.
    try:
        yield from show(results)
    except NotMeasured:
        return


def _prose(text: str | None) -> tuple[str, ...]:
    paragraphs = (text or "").strip().split("\n\n")
    return tuple(" ".join(paragraph.split()).replace("``", "").replace("`", "") for paragraph in paragraphs)


def accuracy_table(results: Results) -> Table:
    """One row a model: accuracy, its gap to the training images, and what the model costs."""
    rows = []
    for key in results.keys(learning.NAME, "test accuracy"):
        train = Key(learning.NAME, "train accuracy", key.model)
        gap = results.difference(train, key)
        costs = [_figure(results, figure, key.model) for figure in ("parameters", "MACs")]
        step = _figure(results, "step seconds", key.model, lambda value: f"{1000 * value:.2f}")
        rows.append(
            (results.title(key.model), results.spread(key).percent(), f"{100 * gap.mean:.1f}", *costs, step)
        )
    return Table(
        "Accuracy and cost",
        ("Model", "Test %", "Gap", "Parameters", "MACs", "Step ms"),
        tuple(rows),
        "Test %: accuracy on held-out images, mean ± standard deviation over the seeds. Gap: how many "
        "points training accuracy is above it. MACs: multiply-accumulates for one image forward; FLOPs are "
        "twice as many. Step: forward, backward and update of one batch.",
    )


def _figure(
    results: Results, figure: str, model: str, write: Callable[[float], str] = lambda value: f"{value:,.0f}"
) -> str:
    try:
        return write(results.spread(Key(cost.NAME, figure, model)).mean)
    except NotMeasured:
        return ""


def shift_lines(results: Results) -> Picture:
    """The main picture: accuracy against shift, for networks that saw centred images only."""
    drawn = [
        Line(results.title(model), model, *_along(results, shift.NAME, "accuracy by distance", model))
        for model in (MLP, CNN, "cnn-gap")
        if _has(results, Key(shift.NAME, "accuracy by distance", model, at=(0,)))
    ]
    if not drawn:
        raise NotMeasured("accuracy by distance")
    xlabel, ylabel = "pixels the test images were moved by", "accuracy"
    return draw(
        "shift",
        plots.lines([(xlabel, drawn)], ylabel),
        _line_words("accuracy on moved test images", xlabel, drawn),
        "Trained on images in their place only. Lines: mean over seeds; bands: one standard deviation "
        "either way.",
    )


def _growth(results: Results) -> Shown:
    whats = list(dict.fromkeys(key.model for key in results.keys(growth.NAME, "parameters")))
    lines = []
    for what, model in zip(whats, ("mlp", CNN, "cnn-gap", "cnn-strided"), strict=False):
        keys = [key for key in results.keys(growth.NAME, "parameters") if key.model == what]
        pixels = [key.at[0] * key.at[1] for key in keys]
        lines.append(Line(what, model, pixels, [results.spread(key) for key in keys]))
    xlabel = "pixels of the image"
    if lines:
        yield draw(
            "growth",
            plots.lines([(xlabel, lines)], "parameters", percent=False, log=True),
            _line_words("parameters", xlabel, lines, lambda value: f"{value:,.0f}"),
            "Both axes are logarithmic. Grey images of 28x28 to 720x960 pixels, 10 classes.",
        )


def _sharing(results: Results) -> Shown:
    sizes = [key.at for key in results.keys(growth.NAME, "parameters") if key.model == "first convolution"]
    whats = list(dict.fromkeys(key.model for key in results.keys(growth.NAME, "parameters")))
    if sizes:
        yield Table(
            "Parameters by image size",
            ("Image", *whats),
            tuple(
                (
                    f"{at[0]:.0f}x{at[1]:.0f}",
                    *(
                        f"{results.spread(Key(growth.NAME, 'parameters', what, at=at)).mean:,.0f}"
                        for what in whats
                    ),
                )
                for at in sizes
            ),
        )


def _shuffle(results: Results) -> Shown:
    models = _models(results, shuffle.NAME, "accuracy")
    series = [
        (label, [results.spread(Key(shuffle.NAME, "accuracy", model, variant)) for model in models])
        for label, variant in (("pixels in order", "plain"), ("pixels shuffled", "shuffled"))
    ]
    yield _bars("shuffle", results, models, series, "accuracy on held-out images")


def _shift(results: Results) -> Shown:
    yield shift_lines(results)
    panels = []
    for variant, how in (("plain", ""), ("shifted", "\naugmented")):
        for model in (MLP, CNN, "cnn-gap"):
            keys = [
                key
                for key in results.keys(shift.NAME, "accuracy")
                if (key.model, key.variant) == (model, variant)
            ]
            reach = int(max((key.at[0] for key in keys), default=-1))
            if reach >= 0:
                steps = range(-reach, reach + 1)
                values = [
                    [
                        results.spread(Key(shift.NAME, "accuracy", model, variant, (dx, dy))).mean
                        for dx in steps
                    ]
                    for dy in steps
                ]
                panels.append((results.title(model) + how, values))
    yield draw(
        "shift-maps",
        plots.heat_maps(panels, 3),
        "Heat maps of accuracy by shift right and down. "
        + " ".join(
            f"{' '.join(title.split())}: {values[len(values) // 2][len(values) // 2]:.0%} in place, "
            f"{values[0][0]:.0%} in the "
            f"corner."
            for title, values in panels
        ),
        "Each square is one shift; the middle is the image in its place. Augmented: trained on shifted "
        "images.",
    )
    distances, _ = _along(results, shift.NAME, "accuracy by distance", MLP)
    columns = [
        (model, variant)
        for variant in ("plain", "shifted")
        for model in ("mlp", MLP, CNN, "cnn-gap")
        if _has(results, Key(shift.NAME, "accuracy by distance", model, variant, (0,)))
    ]
    for figure, title in (("accuracy", "Accuracy in %"), ("consistency", "Answers as in place, in %")):
        yield Table(
            f"{title} by pixels moved",
            ("Moved", *(results.title(m) + (", augmented" if v == "shifted" else "") for m, v in columns)),
            tuple(
                (
                    f"{far:.0f} px",
                    *(
                        results.spread(Key(shift.NAME, f"{figure} by distance", m, v, (far,))).percent()
                        for m, v in columns
                    ),
                )
                for far in distances
            ),
            "Mean over all shifts of that many pixels along the longer axis.",
        )


def _background(results: Results) -> Shown:
    for variant in background.VARIANTS.values():
        models = [
            key.model
            for key in results.keys(background.NAME, "accuracy, own background")
            if key.variant == variant.name
        ]
        if not models:
            raise NotMeasured(variant.name)
        kind = variant.name.removeprefix("background-")
        series = [
            (label, [results.spread(Key(background.NAME, figure, model, variant.name)) for model in models])
            for label, figure in (
                ("its own class's background", "accuracy, own background"),
                ("another class's background", "accuracy, another's background"),
            )
        ]
        yield _bars(variant.name, results, models, series, f"accuracy, {kind} background")
        rows = [
            ("image" if not p.model else results.title(p.model), p.planes, ())
            for p in results.planes(background.NAME, variant.name)
        ]
        yield draw(
            f"{variant.name}-saliency",
            plots.images(rows, cell=1.2),
            f"Test images on another class's {kind} background, and under them where each network looks: the "
            f"gradient's size at each pixel for {', '.join(label for label, _, _ in rows[1:])}.",
            "Light pixels are those whose change would change the right class's output most.",
        )
        yield Table(
            f"Share of the gradient outside the strokes, {kind} background",
            ("Model", "Gradient %", "Area %"),
            tuple(
                (
                    results.title(model),
                    *(
                        results.spread(Key(background.NAME, figure, model, variant.name)).percent()
                        for figure in ("gradient outside the strokes", "area outside the strokes")
                    ),
                )
                for model in models
            ),
        )


def _efficiency(results: Results) -> Shown:
    models = _models(results, efficiency.NAME, "test accuracy")
    panels = []
    for figure in ("test accuracy", "gap"):
        drawn = [
            Line(results.title(model), model, *_along(results, efficiency.NAME, figure, model))
            for model in models
        ]
        panels.append((figure, drawn))
    xlabel = "training images a class"
    for figure, drawn in panels:
        yield draw(
            f"efficiency-{figure.split()[0]}",
            plots.lines(
                [(xlabel, drawn)],
                "training minus test accuracy" if figure == "gap" else figure,
                percent=figure != "gap",
            ),
            _line_words(figure, xlabel, drawn),
            "Lines: mean over seeds; bands: one standard deviation either way.",
        )


def _cost(results: Results) -> Shown:
    models = _models(results, cost.NAME, "parameters")
    groups = [results.title(model) for model in models]
    for figure, words in (("parameters", "parameters"), ("MACs", "multiply-accumulates an image")):
        spreads = [results.spread(Key(cost.NAME, figure, model)) for model in models]
        yield draw(
            f"cost-{figure.lower()}",
            plots.bars(groups, [(words, spreads)], words, percent=False, log=True),
            f"Bar chart of {words}: {_list(groups, spreads, lambda v: f'{v:,.0f}')}.",
            "The axis is logarithmic.",
        )
    yield Table(
        "For one image, and one step of training",
        ("Model", "Parameters", "MACs", "FLOPs", "Activation bytes", "Step ms"),
        tuple(
            (
                results.title(model),
                _figure(results, "parameters", model),
                _figure(results, "MACs", model),
                _figure(results, "MACs", model, lambda value: f"{2 * value:,.0f}"),
                _figure(results, "activation bytes", model),
                _figure(results, "step seconds", model, lambda value: f"{1000 * value:.2f}"),
            )
            for model in models
        ),
        "FLOPs: two a multiply-accumulate. Activation bytes: every layer's output, float32.",
    )
    for model in (MLP, CNN):
        rows = []
        for key in results.keys(cost.NAME):
            if key.model == model and key.figure.startswith("layer ") and key.figure.endswith(" parameters"):
                name = key.figure.removesuffix(" parameters")
                rows.append(
                    (
                        name.removeprefix("layer "),
                        "x".join(f"{size:.0f}" for size in key.at[1:]),
                        *(
                            f"{results.spread(key._replace(figure=f'{name} {figure}')).mean:,.0f}"
                            for figure in ("parameters", "MACs", "activation bytes")
                        ),
                    )
                )
        yield Table(
            f"{results.title(model)}, layer by layer",
            ("Layer", "Output", "Parameters", "MACs", "Bytes"),
            tuple(rows),
        )


def _backends(results: Results) -> Shown:
    times = [results.spread(Key(cost.NAME, f"{backend} step seconds", CNN)) for backend in cost.BACKENDS]
    spreads = [Spread(1000 * one.mean) for one in times]
    words = f"milliseconds for one training step of {results.title(CNN)}"
    yield draw(
        "backends",
        plots.bars(list(cost.BACKENDS), [(words, spreads)], words, percent=False, log=True),
        f"Bar chart of {words}: {_list(cost.BACKENDS, spreads, lambda v: f'{v:,.3g}')}.",
        "The same network, the same numbers, computed in three ways: plain loops, vectorised NumPy, and the "
        "compiled core. The axis is logarithmic.",
    )


def _pooling(results: Results) -> Shown:
    models = _models(results, pooling.NAME, "accuracy")
    series = [
        (label, [results.spread(Key(pooling.NAME, figure, model)) for model in models])
        for label, figure in (
            ("images in place", "accuracy"),
            ("moved by 1 and 2 pixels", "accuracy moved"),
        )
    ]
    yield _bars("pooling", results, models, series, "accuracy on held-out images")
    yield Table(
        "What pooling costs and gives",
        ("Model", "Parameters", "MACs", "Activation bytes", "Unchanged answers %"),
        tuple(
            (
                results.title(model),
                *(
                    f"{results.spread(Key(pooling.NAME, figure, model)).mean:,.0f}"
                    for figure in ("parameters", "MACs", "activation bytes")
                ),
                results.spread(Key(pooling.NAME, "consistency moved", model)).percent(),
            )
            for model in models
        ),
        "Unchanged answers: on images moved by 1 and 2 pixels, as for the image in its place.",
    )


def _activation(results: Results) -> Shown:
    models = _models(results, activation.NAME, "accuracy")
    spreads = [results.spread(Key(activation.NAME, "accuracy", model)) for model in models]
    yield _bars("activation", results, models, [("accuracy", spreads)], "accuracy on held-out images")
    yield Table(
        "Departure from a linear map",
        ("Model", "Departure"),
        tuple(
            (results.title(model), f"{results.spread(Key(activation.NAME, 'bend', model)).mean:.2g}")
            for model in models
        ),
        "|f(a) + f(b) - f(a + b) - f(0)| beside |f(a) - f(0)|, at most: 0 for a linear map.",
    )


def _rotation(results: Results) -> Shown:
    for figure, xlabel in (("angle", "degrees turned"), ("scale", "times the size")):
        drawn = [
            Line(
                results.title(model) + (", augmented" if variant == "turned" else ""),
                model,
                *_along(results, rotation.NAME, f"accuracy by {figure}", model, variant),
                faint=variant == "turned",
            )
            for variant in ("plain", "turned")
            for model in _models(results, rotation.NAME, f"accuracy by {figure}")
        ]
        if not drawn:
            raise NotMeasured(figure)
        yield draw(
            f"rotation-{figure}",
            plots.lines([(xlabel, drawn)], "accuracy"),
            _line_words("accuracy", xlabel, drawn),
            "Broad lines: trained on images turned by up to 45 degrees and resized to 0.65 to 1.25.",
        )


def _filters(results: Results) -> Shown:
    for model in (CNN, MLP):
        rows: list[tuple[str, tuple[Plane, ...], tuple[str, ...]]] = [
            (stage, p.planes, ())
            for stage in ("before", "after")
            for p in results.planes(filters.NAME, stage)
            if p.model == model
        ]
        if rows:
            yield draw(
                f"filters-{model}",
                plots.images(rows, signed=True),
                f"The first layer's weights of {results.title(model)} as {len(rows[0][1])} small images, "
                f"before training (random) and after.",
                f"{results.title(model)}: orange weights are negative, purple ones positive; each square "
                f"has its own scale.",
            )
    shown = [
        (label, p.planes, p.captions)
        for name, label in (("image", "image"), ("first maps", "1st conv."), ("last maps", "2nd conv."))
        for p in results.planes(filters.NAME, name)
    ]
    if shown:
        yield draw(
            "feature-maps",
            plots.images(shown),
            f"One test image, a {shown[0][2][0]}, and the feature maps that the first and the last "
            f"convolution make of it.",
            "Feature maps of one image: light where a filter finds what it looks for.",
        )
    exciting = results.planes(filters.NAME, "exciting")
    if exciting:
        yield draw(
            "exciting-images",
            plots.images([(f"unit {i}", p.planes, p.captions) for i, p in enumerate(exciting, 1)]),
            "For each unit of the last convolution the test images that excite it most, with their classes: "
            + "; ".join(f"unit {i}: {', '.join(p.captions)}" for i, p in enumerate(exciting, 1))
            + ".",
            "The images that excite each unit most. They were found without their labels, which stand above "
            "them.",
        )


def _colour(results: Results) -> Shown:
    models = _models(results, colour.NAME, "accuracy")
    series = [
        (label, [results.spread(Key(colour.NAME, "accuracy", model, variant)) for model in models])
        for label, variant in (("RGB", "rgb"), ("grey", "grey"))
    ]
    groups = ["the usual MLP" if model == "mlp" else results.title(model) for model in models]
    yield _bars("colour", results, models, series, "accuracy on held-out images", groups)
    yield Table(
        "What colour costs",
        ("Model", "Colours", "First layer's weights", "Parameters", "MACs"),
        tuple(
            (
                group,
                label,
                *(
                    f"{results.spread(Key(colour.NAME, figure, model, variant)).mean:,.0f}"
                    for figure in ("first layer's weights", "parameters", "MACs")
                ),
            )
            for group, model in zip(groups, models, strict=True)
            for label, variant in (("RGB", "rgb"), ("grey", "grey"))
        ),
    )


def _learning(results: Results) -> Shown:
    models = _models(results, learning.NAME, "test accuracy")
    drawn = [
        Line(results.title(model), model, *_along(results, learning.NAME, "test_accuracy curve", model))
        for model in models
    ]
    if not drawn:
        raise NotMeasured("learning")
    yield draw(
        "learning",
        plots.lines([("epoch", drawn)], "accuracy on held-out images", zoom=True, height=4),
        "Line chart of accuracy on held-out images by epoch. At the end: "
        + _list([line.label for line in drawn], [line.y[-1] for line in drawn], lambda v: f"{v:.1%}")
        + ".",
        "Lines: mean over seeds; bands: one standard deviation either way.",
    )
    yield accuracy_table(results)


def _notebook(results: Results) -> Shown:
    models = _models(results, notebook.NAME, "accuracy")
    series = [
        (label, [results.spread(Key(notebook.NAME, "accuracy", model, variant)) for model in models])
        for label, variant in (("one recipe for both", "plain"), ("the notebook's two recipes", "as-it-was"))
    ]
    yield _bars("notebook", results, models, series, "accuracy on held-out images")


def _bars(
    name: str,
    results: Results,
    models: Sequence[str],
    series: Sequence[tuple[str, Sequence[Spread]]],
    xlabel: str,
    groups: Sequence[str] | None = None,
) -> Picture:
    groups = groups or [results.title(model) for model in models]
    if not groups:
        raise NotMeasured(name)
    words = "; ".join(f"{label}: {_list(groups, spreads, lambda v: f'{v:.1%}')}" for label, spreads in series)
    return draw(
        name,
        plots.bars(groups, series, xlabel),
        f"Bar chart of {xlabel}. {words}.",
        "Bars: mean over seeds; whiskers: one standard deviation either way.",
    )


def _models(results: Results, experiment: str, figure: str) -> list[str]:
    models = list(dict.fromkeys(key.model for key in results.keys(experiment, figure)))
    if not models:
        raise NotMeasured(Key(experiment, figure))
    return models


def _along(
    results: Results, experiment: str, figure: str, model: str, variant: str = "plain"
) -> tuple[list[float], list[Spread]]:
    keys = [
        key
        for key in results.keys(experiment, figure)
        if (key.model, key.variant) == (model, variant) and len(key.at) == 1
    ]
    return [key.at[0] for key in keys], [results.spread(key) for key in keys]


def _has(results: Results, key: Key) -> bool:
    return any(other == key for other in results.keys(key.experiment, key.figure))


def _line_words(
    what: str, xlabel: str, drawn: Iterable[Line], write: Callable[[float], str] = lambda v: f"{v:.0%}"
) -> str:
    parts = [
        f"{line.label}: "
        + ", ".join(f"{write(y.mean)} at {x:,g}" for x, y in zip(line.x, line.y, strict=True))
        for line in drawn
    ]
    return f"Line chart of {what} against {xlabel}. {'; '.join(parts)}."


def _list(names: Iterable[str], spreads: Iterable[Spread], write: Callable[[float], str]) -> str:
    return ", ".join(f"{name} {write(one.mean)}" for name, one in zip(names, spreads, strict=True))
