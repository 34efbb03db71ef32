"""How the number of weights follows the size of the image. On paper: nothing is trained or allocated."""

from collections.abc import Iterator
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from ...layers import Conv2d, Dense
from ..claims import Claim, Part
from ..models import LENET5, cnn, mlp
from ..results import Key, Measurement, Results
from ..study import Study

NAME = "growth"

SIZES = ((28, 28), (32, 32), (64, 64), (128, 128), (224, 224), (480, 640), (720, 960))
UNITS = 1000  # of the dense layer that grows

QUOTED = {
    "inputs, 28x28 grey": 784,
    "weights a neuron, 28x28 RGB": 2_352,
    "weights a neuron, 200x200 RGB": 120_000,
    "weights, 32x32 to 1,000 units": 1_024_000,
    "weights, 720x960 to 1,000 units": 691_200_000,
}


def unallocated(shape: tuple[int, ...], rng: object = None, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Weights of a shape that take no memory: one zero, seen everywhere."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def weights(inputs: int, units: int) -> int:
    """Of a dense layer, biases aside."""
    return int(Dense(inputs, units, bias=False, init=unallocated).params["weight"].size)


def measure(study: Study) -> Iterator[Measurement]:
    if not study.first:
        return
    counted = {
        "inputs, 28x28 grey": weights(prod((28, 28)), 1),
        "weights a neuron, 28x28 RGB": weights(prod((28, 28, 3)), 1),
        "weights a neuron, 200x200 RGB": weights(prod((200, 200, 3)), 1),
        "weights, 32x32 to 1,000 units": weights(prod((32, 32)), UNITS),
        "weights, 720x960 to 1,000 units": weights(prod((720, 960)), UNITS),
    }
    for figure, value in counted.items():
        yield study.measured(NAME, figure, value)
    rng = np.random.default_rng(0)
    quoted = mlp((1, 28, 28), 2, rng, hidden=(32,))
    yield study.measured(NAME, "parameters, 784-32-2", quoted.parameter_count())

    ten = Conv2d(3, 10, 3)
    outputs = ten.output_shape((1, 3, 50, 50))
    yield study.measured(NAME, "parameters, ten 3x3 filters on RGB", ten.parameter_count())
    yield study.measured(NAME, "inputs, 50x50 RGB", prod((3, 50, 50)))
    yield study.measured(NAME, "outputs, ten 3x3 filters on 50x50 RGB", prod(outputs))
    yield study.measured(NAME, "output height, ten 3x3 filters on 50x50 RGB", outputs[2])

    for height, width in SIZES:
        at = float(height), float(width)
        first = Conv2d(1, LENET5.channels[0], LENET5.kernel, padding=LENET5.padding[0])
        first.output_shape((1, 1, height, width))  # the layer serves the image
        gap = cnn((1, height, width), 10, rng, head="gap")
        last = LENET5.channels[-1] * prod((side // 2 - 4) // 2 for side in (height, width))
        dense = weights(last, LENET5.dense[0])
        # The flattened network is the other with more weights in its first dense layer.
        flattened = gap.parameter_count() - weights(LENET5.channels[-1], LENET5.dense[0]) + dense
        for figure, value in (
            ("dense layer of 1,000 units", weights(height * width, UNITS) + UNITS),
            ("LeNet-5, Flatten head", flattened),
            ("LeNet-5, GAP head", gap.parameter_count()),
            ("first convolution", first.parameter_count()),
        ):
            yield study.measured(NAME, "parameters", value, model=figure, at=at)


def judge(results: Results) -> tuple[Claim, ...]:
    def of(figure: str) -> float:
        return results.spread(Key(NAME, figure)).mean

    def grown(what: str) -> Part:
        first, last = (
            Key(NAME, "parameters", what, at=(float(height), float(width)))
            for height, width in (SIZES[0], SIZES[-1])
        )
        return Part(
            f"parameters at 720x960 over those at 28x28, {what}", results.ratio(last, first), unit="x"
        )

    pixels = prod(SIZES[-1]) / prod(SIZES[0])
    dense, conv = grown("dense layer of 1,000 units"), grown("first convolution")
    explodes = [
        Part(figure, results.spread(Key(NAME, figure)), least=quoted, most=quoted)
        for figure, quoted in QUOTED.items()
    ]
    explodes.append(Part(dense.statement, dense.measured, "x", least=0.9 * pixels))
    small = of("parameters, 784-32-2")
    flattening = Claim(
        1,
        "flattening",
        "Flattening makes one input of every pixel, and the weights of an MLP explode.",
        tuple(explodes),
        remarks=(
            f"720x960 pixels to 1,000 units are often said to be about 500 million weights: they are "
            f"{of('weights, 720x960 to 1,000 units'):,.0f}.",
            f"An MLP 784-32-2 is often said to have about 50,000 parameters: it has {small:,.0f}, "
            f"784·32 + 32 + 32·2 + 2.",
        ),
    )
    flat, gap = grown("LeNet-5, Flatten head"), grown("LeNet-5, GAP head")
    sharing = Claim(
        2,
        "weight sharing",
        "A convolution's parameters do not grow with the image.",
        (
            Part(conv.statement, conv.measured, "x", least=1, most=1),
            _exact(results, "parameters, ten 3x3 filters on RGB", (3 * 3 * 3 + 1) * 10),
            _exact(results, "output height, ten 3x3 filters on 50x50 RGB", 48),
            _exact(results, "outputs, ten 3x3 filters on 50x50 RGB", 48 * 48 * 10),
        ),
        remarks=(
            f"A whole network need not share this: LeNet-5 flattens its last maps into a dense layer, and "
            f"has {flat.measured.mean:,.0f} times the parameters at 720x960. With a global average pool "
            f"instead it has {gap.measured.mean:,.0f} times as many: the same.",
            f"The maps do grow: 50x50x3 = {of('inputs, 50x50 RGB'):,.0f} values become 48x48x10 = "
            f"{of('outputs, ten 3x3 filters on 50x50 RGB'):,.0f}.",
        ),
    )
    return flattening, sharing


def _exact(results: Results, figure: str, value: float) -> Part:
    return Part(figure, results.spread(Key(NAME, figure)), least=value, most=value)
