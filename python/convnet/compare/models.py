"""The networks compared, as plain constructors.

Each takes the image's (C, H, W), the number of classes and a random generator for its weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from ..layers import Conv2d, Dense, Flatten, MaxPool2d, ReLU, Sequential

ImageShape = tuple[int, int, int]
Build = Callable[[ImageShape, int, np.random.Generator], Sequential]

LENET5_PARAMETERS = 61_706


def mlp(shape: ImageShape, classes: int, rng: np.random.Generator, *, hidden: int = 32) -> Sequential:
    """Flatten, one hidden layer, one output per class: with 28x28 images and 10 classes, 784-32-10."""
    return Sequential(
        Flatten(),
        Dense(prod(shape), hidden, rng=rng),
        ReLU(),
        Dense(hidden, classes, rng=rng),
    )


def mlp_with_parameters(
    shape: ImageShape, classes: int, rng: np.random.Generator, *, parameters: int
) -> Sequential:
    """The one-hidden-layer MLP whose parameter count is nearest to ``parameters``."""
    # hidden units cost one weight per input, one per class, and a bias; the outputs' biases come on top.
    hidden = round((parameters - classes) / (prod(shape) + classes + 1))
    return mlp(shape, classes, rng, hidden=max(1, hidden))


def lenet5(shape: ImageShape, classes: int, rng: np.random.Generator) -> Sequential:
    """LeNet-5 in its modern form, for 28x28 grey images only.

    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition" (1998), with
    ReLU and max pooling for the original's scaled tanh and trainable subsampling, every connection between
    the two convolutions, and padding where the original had 32x32 images.
    """
    if shape != (1, 28, 28):
        raise ValueError(f"lenet5: expected images of shape (1, 28, 28), got {shape}")
    return Sequential(
        Conv2d(1, 6, 5, padding=2, rng=rng),
        ReLU(),
        MaxPool2d(2),
        Conv2d(6, 16, 5, rng=rng),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Dense(16 * 5 * 5, 120, rng=rng),
        ReLU(),
        Dense(120, 84, rng=rng),
        ReLU(),
        Dense(84, classes, rng=rng),
    )


def small_cnn(shape: ImageShape, classes: int, rng: np.random.Generator) -> Sequential:
    """Two 3x3 convolutions, each with 2x2 pooling, and one dense layer: for images too small for LeNet-5."""
    channels, height, width = shape
    return Sequential(
        Conv2d(channels, 8, 3, padding=1, rng=rng),
        ReLU(),
        MaxPool2d(2),
        Conv2d(8, 16, 3, padding=1, rng=rng),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Dense(16 * (height // 4) * (width // 4), classes, rng=rng),
    )


@dataclass(frozen=True)
class Model:
    """A constructor with the names it goes by; ``family`` is "MLP" or "CNN", ``about`` what it is made of."""

    name: str
    title: str
    family: str
    about: str
    build: Build


LINEUP: dict[str, tuple[Model, ...]] = {
    "digits28": (
        Model("mlp", "MLP 784-32-10", "MLP", "one hidden layer of 32 units with ReLU", mlp),
        Model(
            "mlp-matched",
            "MLP 784-78-10",
            "MLP",
            "the same with 78 units, so that it has as many parameters as LeNet-5",
            partial(mlp_with_parameters, parameters=LENET5_PARAMETERS),
        ),
        Model(
            "lenet5",
            "LeNet-5",
            "CNN",
            "5x5 convolutions with 6 and 16 channels, each with ReLU and 2x2 max pooling, then 120-84-10",
            lenet5,
        ),
    ),
    "digits8": (
        Model("mlp", "MLP 64-32-10", "MLP", "one hidden layer of 32 units with ReLU", mlp),
        Model(
            "small-cnn",
            "CNN 8C3-16C3-10",
            "CNN",
            "3x3 convolutions with 8 and 16 channels, each with ReLU and 2x2 max pooling, then 10 units",
            small_cnn,
        ),
    ),
}
"""Which models meet on which data set. On 28x28 one MLP has as many parameters as LeNet-5."""
