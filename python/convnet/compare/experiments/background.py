"""Who learns the background? In training it goes with the class; in the test it is another class's.

Two kinds of background: "fixed", the same faint pattern for every image of a class, and "stripes", whose
direction tells the class while their place varies. Nine training images in ten have their own class's.
Where a network looks is the gradient of the right class's output for the image: its share outside the
strokes.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...data import Dataset
from ...data.dataset import Images, Labels
from ..claims import Claim, Part
from ..models import CNN, MLP, OWN
from ..results import Key, Measurement, Planes, Results, Spread
from ..study import Study, Trained, Variant
from .filters import plane

NAME = "background"
MODELS = (MLP, CNN, OWN)
FAITHFUL = 0.9  # share of training images with their own class's background
BRIGHTEST = 0.5  # of a background, where ink is 1 and paper 0
SHOWN = 3

Pattern = Callable[[Labels, int, tuple[int, int], np.random.Generator], Images]


def fixed(kinds: Labels, classes: int, size: tuple[int, int], rng: np.random.Generator) -> Images:
    """The same random pattern for every image of a kind."""
    patterns = np.random.default_rng(20).uniform(0, BRIGHTEST, (classes, *size))
    behind: Images = patterns[kinds][:, None].astype(np.float32)
    return behind


def stripes(kinds: Labels, classes: int, size: tuple[int, int], rng: np.random.Generator) -> Images:
    """Stripes five pixels apart, in a direction of the kind's own, at a place that varies."""
    angle = np.pi * kinds[:, None, None] / classes
    phase = rng.uniform(0, 2 * np.pi, (len(kinds), 1, 1))
    down, right = np.indices(size)
    wave = np.sin(2 * np.pi / 5 * (right * np.cos(angle) + down * np.sin(angle)) + phase)
    behind: Images = (BRIGHTEST / 2 * (1 + wave))[:, None].astype(np.float32)
    return behind


def ink(x: Images, data: Dataset) -> Images:
    """0 for paper, 1 for full ink."""
    clipped: Images = np.clip((x - data.background) / (1 - data.background), 0, 1)
    return clipped


def placed_behind(
    x: Images, kinds: Labels, data: Dataset, pattern: Pattern, rng: np.random.Generator
) -> Images:
    """The drawings with backgrounds of the given kinds behind their strokes."""
    drawn = np.maximum(ink(x, data), pattern(kinds, len(data.classes), x.shape[2:], rng))
    placed: Images = (data.background + (1 - data.background) * drawn).astype(np.float32)
    return placed


def others(labels: Labels, classes: int, rng: np.random.Generator) -> Labels:
    """Another class than its own for each."""
    return (labels + rng.integers(1, classes, len(labels))) % classes


def correlated(pattern: Pattern) -> Callable[[Dataset, int], Dataset]:
    """Backgrounds that go with the class: in nine training images of ten, and in all test images."""

    def with_background(data: Dataset, seed: int) -> Dataset:
        rng = np.random.default_rng(seed)
        strangers = others(data.y_train, len(data.classes), rng)
        kinds = np.where(rng.random(len(strangers)) < FAITHFUL, data.y_train, strangers)
        return replace(
            data,
            x_train=placed_behind(data.x_train, kinds, data, pattern, rng),
            x_test=placed_behind(data.x_test, data.y_test, data, pattern, rng),
        )

    return with_background


VARIANTS = {
    pattern: Variant(f"background-{pattern.__name__}", data=correlated(pattern))
    for pattern in (fixed, stripes)
}
TRAININGS = tuple((MODELS, variant) for variant in VARIANTS.values())


def measure(study: Study) -> Iterator[Measurement | Planes]:
    plain = study.dataset()
    if not plain.drawn:  # nobody knows where the object is
        return
    for pattern, variant in VARIANTS.items():
        rng = np.random.default_rng(study.seed)
        data = study.dataset(variant)
        kinds = others(plain.y_test, len(plain.classes), rng)
        swapped = placed_behind(plain.x_test, kinds, plain, pattern, rng)
        paper = ink(plain.x_test, plain) < 0.1
        if study.first:
            yield Planes(NAME, variant.name, "", tuple(plane(image[0]) for image in swapped[:SHOWN]))
        for model in study.chosen(*MODELS):
            trained = study.trained(model, variant)
            look = abs(gradient(trained, swapped, plain.y_test))
            total = look.sum(axis=(1, 2, 3))
            outside = (look * paper).sum(axis=(1, 2, 3)) / np.where(total > 0, total, 1)
            for figure, value in (
                ("accuracy, own background", trained.accuracy(data.x_test, data.y_test)),
                ("accuracy, another's background", trained.accuracy(swapped, plain.y_test)),
                ("gradient outside the strokes", outside.mean()),
                ("area outside the strokes", paper.mean()),
            ):
                yield study.measured(NAME, figure, value, model.name, variant.name)
            if study.first:
                yield Planes(NAME, variant.name, model.name, tuple(plane(image[0]) for image in look[:SHOWN]))


def gradient(trained: Trained, x: Images, labels: Labels) -> NDArray[np.float32]:
    """The gradient of each image's right output for its pixels, (N, C, H, W)."""
    found = []
    for start in range(0, len(x), 256):
        batch = x[start : start + 256]
        outputs = trained.network.forward(batch)
        right = np.zeros_like(outputs)
        right[np.arange(len(batch)), labels[start : start + 256]] = 1
        found.append(trained.network.backward(right))
    return np.concatenate([dx for dx in found if dx is not None])


def judge(results: Results) -> tuple[Claim, ...]:
    own, another = "accuracy, own background", "accuracy, another's background"
    mlp, cnn = results.title(MLP), results.title(CNN)
    parts = []
    for pattern, variant in VARIANTS.items():
        kind = f"{pattern.__name__} background"

        def lost(model: str, name: str = variant.name) -> Spread:
            return results.difference(Key(NAME, own, model, name), Key(NAME, another, model, name))

        parts.append(Part(f"accuracy lost to another's {kind}, {mlp}", lost(MLP), "points", 0.1))
        more = results.difference(
            Key(NAME, another, CNN, variant.name), Key(NAME, another, MLP, variant.name)
        )
        parts.append(Part(f"accuracy on another's {kind}, {cnn} over {mlp}", more, "points", 0.05))
        look = results.difference(
            *(Key(NAME, "gradient outside the strokes", model, variant.name) for model in (MLP, CNN))
        )
        parts.append(
            Part(f"share of the gradient outside the strokes, {kind}, {mlp} over {cnn}", look, "points", 0.02)
        )
    fall = {
        pattern.__name__: results.spread(Key(NAME, another, CNN, variant.name)).percent()
        for pattern, variant in VARIANTS.items()
    }
    return (
        Claim(
            5,
            "background",
            "An MLP learns the background with the object; a CNN looks at the object.",
            tuple(parts),
            remarks=(
                f"A CNN is not above it: behind another class's fixed pattern {cnn} is right on "
                f"{fall['fixed']} %, behind another's stripes on {fall['stripes']} %. What goes with the "
                f"class in training is learned, by whoever can see it.",
            ),
        ),
    )
