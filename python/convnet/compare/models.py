"""The networks compared, as plain constructors.

Each takes the image's (C, H, W), the number of classes and a random generator for its weights. A `Design`
says what the variants of one convolutional network have in common; `lineup` builds the variants, and the MLPs
that match it.
"""

import runpy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import numpy as np

from ..layers import (
    AvgPool2d,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
)

ImageShape = tuple[int, int, int]
Build = Callable[[ImageShape, int, np.random.Generator], Sequential]
Activation = Callable[[], Layer] | None


@dataclass(frozen=True)
class Design:
    """A CNN of two convolutions and some dense layers, and the MLP it is usually set against.

    ``padding`` is that of each convolution; ``dense`` and ``usual_mlp`` have the units of hidden layers.
    """

    name: str
    title: str
    channels: tuple[int, int]
    kernel: int
    padding: tuple[int, int]
    dense: tuple[int, ...]
    usual_mlp: tuple[int, ...]


LENET5 = Design("lenet5", "LeNet-5", (6, 16), 5, (2, 0), (120, 84), usual_mlp=(32,))
"""LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition" (1998), in its
modern form: ReLU and max pooling for the original's scaled tanh and trainable subsampling, every connection
between the two convolutions, and padding where the original had 32x32 images."""

SMALL = Design("small", "small CNN", (8, 16), 3, (1, 1), (), usual_mlp=(32,))
"""For images too small for LeNet-5."""

NOTEBOOK = Design("notebook", "notebook CNN", (32, 64), 3, (0, 0), (64,), usual_mlp=(3000, 1000))
"""The well-known CIFAR-10 notebook's: an ANN 3072-3000-1000-10, and C32(3x3)-P2-C64(3x3)-P2-Dense64-10."""

DESIGNS = {design.name: design for design in (LENET5, SMALL, NOTEBOOK)}


def mlp(
    shape: ImageShape,
    classes: int,
    rng: np.random.Generator,
    *,
    hidden: tuple[int, ...] = (32,),
    activation: Activation = ReLU,
) -> Sequential:
    """Flatten, hidden layers, one output per class: with 28x28 images and 10 classes, 784-32-10."""
    return Sequential(Flatten(), *_dense(prod(shape), (*hidden, classes), activation, rng))


def cnn(
    shape: ImageShape,
    classes: int,
    rng: np.random.Generator,
    *,
    design: Design = LENET5,
    pooling: str = "max",
    head: str = "flatten",
    activation: Activation = ReLU,
) -> Sequential:
    """The design's network.

    Args:
        pooling: what halves the maps after each convolution: "max" or "average" pooling over 2x2, "strided"
            (the convolution itself takes every second place), or "none".
        head: "flatten" gives every place of the last maps its own weights; "gap" takes each map's mean
            (Lin, Chen, Yan, "Network in network", 2013).

    ValueError where the image is too small.
    """
    pools: dict[str, Callable[[], list[Layer]]] = {
        "max": lambda: [MaxPool2d(2)],
        "average": lambda: [AvgPool2d(2)],
        "strided": list,
        "none": list,
    }
    layers: list[Layer] = []
    channels = shape[0]
    for out_channels, padding in zip(design.channels, design.padding, strict=True):
        stride = 2 if pooling == "strided" else 1
        layers.append(Conv2d(channels, out_channels, design.kernel, stride, padding, rng=rng))
        layers += [activation()] if activation else []
        layers += pools[pooling]()
        channels = out_channels
    layers.append(Flatten() if head == "flatten" else GlobalAvgPool2d())
    if head == "gap":
        layers.append(Flatten())
    try:
        _, features = Sequential(*layers).output_shape((1, *shape))
    except ValueError as error:
        raise ValueError(f"{design.title}: images of shape {shape} are too small: {error}") from error
    return Sequential(*layers, *_dense(features, (*design.dense, classes), activation, rng))


def _dense(
    inputs: int, units: tuple[int, ...], activation: Activation, rng: np.random.Generator
) -> list[Layer]:
    layers: list[Layer] = []
    for position, outputs in enumerate(units):
        if position and activation:
            layers.append(activation())
        layers.append(Dense(inputs, outputs, rng=rng))
        inputs = outputs
    return layers


def nearest(count: Callable[[int], int], target: int) -> int:
    """The whole number from 1 for which the growing ``count`` comes nearest to ``target``."""
    low, high = 1, 1
    while count(high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < target else (low, middle)
    return min((low, high), key=lambda units: abs(count(units) - target))


def matched_units(shape: ImageShape, classes: int, *, parameters: int = 0, macs: int = 0) -> int:
    """Hidden units of the one-hidden-layer MLP whose parameters, or else MACs, are nearest to those given."""
    inputs = prod(shape)
    if parameters:
        return nearest(lambda units: (inputs + 1) * units + (units + 1) * classes, parameters)
    return nearest(lambda units: (inputs + classes) * units, macs)


@dataclass(frozen=True)
class Model:
    """A constructor with the names it goes by. ``family`` is "MLP", "CNN" or `OWN`."""

    name: str
    title: str
    family: str
    about: str
    build: Build


MLP, CNN = "mlp-parameters", "cnn"
"""The two that most claims set against each other: as many parameters each."""

OWN = "own"
"""The family of models that the user brings."""


def design_for(shape: ImageShape) -> Design:
    """LeNet-5, or the small CNN where images are too small for it."""
    return LENET5 if min(shape[1:]) >= 16 else SMALL


def lineup(shape: ImageShape, classes: int, design: Design) -> tuple[Model, ...]:
    """The design's network, its variants, the usual MLP, and MLPs with as many parameters or MACs."""
    summary = cnn(shape, classes, np.random.default_rng(0), design=design).summary(shape)
    by_parameters = (matched_units(shape, classes, parameters=summary.parameters),)
    by_macs = (matched_units(shape, classes, macs=summary.macs),)

    def network(name: str, title: str, about: str, **options: object) -> Model:
        build = partial(cnn, design=design, **options)  # type: ignore[arg-type]
        return Model(name, f"{design.title}{title}", "CNN", about, build)

    def perceptron(name: str, hidden: tuple[int, ...], about: str, activation: Activation = ReLU) -> Model:
        units = "-".join(map(str, (prod(shape), *hidden, classes)))
        title = f"MLP {units}" if activation else f"linear {units}"
        return Model(name, title, "MLP", about, partial(mlp, hidden=hidden, activation=activation))

    size = design.kernel
    first, second = design.channels
    rest = "-".join(map(str, (*design.dense, classes)))
    return (
        perceptron("mlp", design.usual_mlp, "the usual MLP, with ReLU"),
        perceptron(MLP, by_parameters, f"as many parameters as the {design.title}, found by search"),
        perceptron("mlp-macs", by_macs, f"as many multiply-accumulates as the {design.title}"),
        network(
            CNN,
            "",
            f"{size}x{size} convolutions with {first} and {second} channels, each with ReLU and 2x2 max "
            f"pooling, then Flatten and dense layers {rest}",
        ),
        network(
            "cnn-gap",
            ", GAP",
            "the same with the mean of each map (global average pool) for Flatten",
            head="gap",
        ),
        network("cnn-average", ", average", "the same with average pooling", pooling="average"),
        network("cnn-strided", ", strided", "the same with stride 2 for pooling", pooling="strided"),
        network("cnn-none", ", no pooling", "the same without pooling: maps stay large", pooling="none"),
        network("cnn-linear", ", no ReLU", "the same without an activation", activation=None),
        network("cnn-tanh", ", tanh", "the same with tanh for ReLU", activation=Tanh),
        network("cnn-sigmoid", ", sigmoid", "the same with the sigmoid for ReLU", activation=Sigmoid),
        perceptron("mlp-linear", by_parameters, "the MLP without an activation", None),
    )


def own_model(spec: str) -> Model:
    """A user's constructor, ``FILE.py:FUNCTION``: called as ``FUNCTION(shape, classes, rng) -> Sequential``.

    ValueError where there is no such function; whatever the file raises passes through.
    """
    file, _, function = spec.rpartition(":")
    if not Path(file).is_file():
        raise ValueError(f"no model file {file!r}; expected FILE.py:FUNCTION, got {spec!r}")
    build = runpy.run_path(file).get(function)
    if not callable(build):
        raise ValueError(f"{file} defines no function {function!r}")
    return Model(function, function, OWN, f"{function} of {Path(file).name}", build)
