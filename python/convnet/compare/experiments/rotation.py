"""Turned and resized test images, with and without having trained on such."""

from collections.abc import Iterator

from ...data.augment import RandomAffine, affine
from ...data.dataset import Images
from ..claims import Claim, Part
from ..models import CNN, MLP, OWN
from ..results import Key, Measurement, Results
from ..study import PLAIN, Study, Variant

NAME = "rotation"
MODELS = (MLP, CNN, OWN)
ANGLES = (-60, -45, -30, -15, 0, 15, 30, 45, 60)
SCALES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4)

TURNED = Variant("turned", augment=lambda data: RandomAffine(45, (0.65, 1.25), data.background), share=1.1)
TRAININGS = ((MODELS, PLAIN), (MODELS, TURNED))


def measure(study: Study) -> Iterator[Measurement]:
    data = study.dataset()
    for angle in ANGLES:
        yield from _tested(study, "accuracy by angle", angle, affine(data.x_test, angle, 1, data.background))
    for scale in SCALES:
        yield from _tested(study, "accuracy by scale", scale, affine(data.x_test, 0, scale, data.background))


def _tested(study: Study, figure: str, at: float, x: Images) -> Iterator[Measurement]:
    for variant in (PLAIN, TURNED):
        for model in study.chosen(*MODELS):
            accuracy = study.trained(model, variant).accuracy(x, study.data.y_test)
            yield study.measured(NAME, figure, accuracy, model.name, variant.name, (at,))


def judge(results: Results) -> tuple[Claim, ...]:
    cnn = results.title(CNN)

    def key(figure: str, at: float, variant: str = "plain") -> Key:
        return Key(NAME, f"accuracy by {figure}", CNN, variant, (at,))

    parts = []
    for what, figure, at, upright in (
        ("turned by 45 degrees", "angle", 45, 0),
        ("at 0.7 of their size", "scale", 0.7, 1.0),
    ):
        lost = results.difference(key(figure, upright), key(figure, at))
        regained = results.difference(key(figure, at, TURNED.name), key(figure, at))
        parts.append(Part(f"accuracy lost on images {what}, {cnn}", lost, "points", 0.1))
        parts.append(Part(f"regained by augmentation on images {what}, {cnn}", regained, "points", 0.1))
    return (
        Claim(
            10,
            "rotation and scale",
            "A CNN does not take rotation and scale in its stride: that needs augmentation.",
            tuple(parts),
        ),
    )
