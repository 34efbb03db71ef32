"""What pooling does: the same network with max pooling, average pooling, stride 2 in its place, and none."""

from collections.abc import Iterator
from statistics import fmean

from ..claims import Claim, Part
from ..models import CNN
from ..results import Key, Measurement, Results
from ..study import PLAIN, Study
from .shift import by_distance, moved

NAME = "pooling"
MODELS = (CNN, "cnn-average", "cnn-strided", "cnn-none")
TRAININGS = ((MODELS, PLAIN),)
FARTHEST = 2  # pixels moved


def measure(study: Study) -> Iterator[Measurement]:
    data = study.dataset()
    for model in study.chosen(*MODELS):
        trained = study.trained(model)
        summary = trained.network.summary(data.image_shape)
        rings = by_distance(moved(trained, data, FARTHEST))
        for figure, value in (
            ("parameters", summary.parameters),
            ("MACs", summary.macs),
            ("activation bytes", summary.activation_bytes),
            ("accuracy", rings[0][0]),
            ("accuracy moved", fmean(rings[far][0] for far in range(1, FARTHEST + 1))),
            ("consistency moved", fmean(rings[far][1] for far in range(1, FARTHEST + 1))),
        ):
            yield study.measured(NAME, figure, value, model.name)


def judge(results: Results) -> tuple[Claim, ...]:
    def key(figure: str, model: str) -> Key:
        return Key(NAME, figure, model)

    tolerance = [
        Part(
            f"answers unchanged when images move 1 and 2 pixels, {name} pooling over {other}",
            results.difference(key("consistency moved", model), key("consistency moved", against)),
            "points",
            0.01,
        )
        for name, model, other, against in (
            ("max", CNN, "strided", "cnn-strided"),
            ("average", "cnn-average", "strided", "cnn-strided"),
            ("max", CNN, "none", "cnn-none"),
        )
    ]
    return (
        Claim(
            8,
            "pooling",
            "Pooling shrinks maps, cuts compute and adds tolerance.",
            (
                Part(
                    "activation memory, no pooling over max pooling",
                    results.ratio(key("activation bytes", "cnn-none"), key("activation bytes", CNN)),
                    "x",
                    1.2,
                ),
                Part(
                    "MACs, no pooling over max pooling",
                    results.ratio(key("MACs", "cnn-none"), key("MACs", CNN)),
                    "x",
                    1.5,
                ),
                *tolerance,
                Part(
                    "accuracy in place, max pooling over none",
                    results.difference(key("accuracy", CNN), key("accuracy", "cnn-none")),
                    "points",
                    -0.01,
                ),
            ),
        ),
    )
