"""Colour or grey? Colour data as it is and in grey; drawings without colour are inked in colours at random.

Grey is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...data import Dataset
from ...data.dataset import Images
from ..claims import Claim, Part
from ..models import CNN
from ..results import Key, Measurement, Results, Spread
from ..study import Study, Variant, first_weights
from .background import ink

NAME = "colour"
MODELS = ("mlp", CNN)
BT601 = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def grey(x: Images) -> Images:
    """RGB images (N, 3, H, W) to luma (N, 1, H, W)."""
    luma: Images = np.einsum("nchw,c->nhw", x, BT601)[:, None].astype(np.float32)
    return luma


def tinted(x: Images, data: Dataset, rng: np.random.Generator) -> Images:
    """Drawings (N, 1, H, W) in an ink of a random colour on paper of another, darker one: (N, 3, H, W)."""
    paper = rng.uniform(0, 0.4, (len(x), 3, 1, 1))
    colour = rng.uniform(0.6, 1, (len(x), 3, 1, 1))
    return (paper + (colour - paper) * ink(x, data)).astype(np.float32)


def in_colour(data: Dataset, seed: int) -> Dataset:
    """The data in colour; drawings tinted at random, whatever their class."""
    if data.image_shape[0] == 3:
        return data
    rng = np.random.default_rng(seed)
    return replace(
        data,
        x_train=tinted(data.x_train, data, rng),
        x_test=tinted(data.x_test, data, rng),
        background=0.0,
    )


def in_grey(data: Dataset, seed: int) -> Dataset:
    colour = in_colour(data, seed)
    return replace(colour, x_train=grey(colour.x_train), x_test=grey(colour.x_test))


RGB, GREY = Variant("rgb", data=in_colour, share=1.3), Variant("grey", data=in_grey)
TRAININGS = ((MODELS, RGB), (MODELS, GREY))


def measure(study: Study) -> Iterator[Measurement]:
    if study.data.image_shape[0] != 3 and not study.data.drawn:  # photographs in grey have no colour to lose
        return
    for variant in (RGB, GREY):
        data = study.dataset(variant)
        for model in study.chosen(*MODELS):
            trained = study.trained(model, variant)
            for figure, value in (
                ("accuracy", trained.accuracy(data.x_test, data.y_test)),
                ("first layer's weights", first_weights(trained.network).size),
                ("parameters", trained.network.parameter_count()),
                ("MACs", trained.network.macs((1, *data.image_shape))),
            ):
                yield study.measured(NAME, figure, value, model.name, variant.name)


def judge(results: Results) -> tuple[Claim, ...]:
    mlp, cnn = "the usual MLP", results.title(CNN)

    def over(figure: str, model: str) -> Spread:
        return results.ratio(Key(NAME, figure, model, RGB.name), Key(NAME, figure, model, GREY.name))

    def gained(model: str) -> Spread:
        return results.difference(
            Key(NAME, "accuracy", model, RGB.name), Key(NAME, "accuracy", model, GREY.name)
        )

    return (
        Claim(
            12,
            "colour",
            "Shape survives in grey; RGB triples an MLP's first layer for little.",
            (
                Part(
                    f"first layer's weights, RGB over grey, {mlp}",
                    over("first layer's weights", "mlp"),
                    "x",
                    3,
                    3,
                ),
                Part(f"parameters, RGB over grey, {cnn}", over("parameters", CNN), "x", most=1.1),
                Part(f"accuracy, RGB over grey, {mlp}", gained("mlp"), "points", most=0.02),
                Part(f"accuracy, RGB over grey, {cnn}", gained(CNN), "points", most=0.02),
            ),
            remarks=(
                f"{cnn} pays with {over('MACs', CNN).mean:.2f} times the multiply-accumulates, {mlp} with "
                f"{over('MACs', 'mlp').mean:.2f} times.",
            ),
        ),
    )
