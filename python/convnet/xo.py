"""The worked example of every introduction: is this 9x9 picture an X or an O?

First by hand: features and templates are given, and each step is one operation of convnet. Then the same
network learns its features and its last layer from drawn X and O.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import convnet

from .data import draw_xo
from .layers import Conv2d, Dense, Flatten, MaxPool2d, ReLU, Sequential
from .optim import Adam
from .training import fit

Array = NDArray[np.float64]

CLASSES = ("X", "O")
FEATURE_NAMES = ("main diagonal", "the X itself", "anti-diagonal")

# The template of an X is the example's own result; that of an O is given beside it. A new picture's vector is
# scored by the mean of its values where a template is 1.
TEMPLATE_O = (0.56, 1, 1, 0.56, 0.56, 0.56, 0.56, 0.56, 1, 0.56, 0.56, 1)
NEW_INPUT = (0.9, 0.65, 0.45, 0.87, 0.96, 0.73, 0.23, 0.63, 0.44, 0.89, 0.94, 0.53)


@dataclass(frozen=True)
class WorkedExample:
    """Every array of the example, in the order in which it comes about."""

    picture: Array  # (9, 9), -1 and +1
    features: Array  # (3, 3, 3), -1 and +1
    responses: Array  # (3, 7, 7), sum(patch * feature) / 9
    rectified: Array  # (3, 7, 7)
    pooled: Array  # (3, 4, 4)
    pooled_again: Array  # (3, 2, 2)
    vector: Array  # (12,)
    templates: Array  # (2, 12): X, O
    new_input: Array  # (12,)
    scores: Array  # (2,): X, O

    @property
    def answer(self) -> str:
        return CLASSES[int(self.scores.argmax())]

    def to_json(self) -> dict[str, Any]:
        return {name: array.tolist() for name, array in vars(self).items()} | {"answer": self.answer}


def picture_of_x() -> Array:
    """(9, 9): -1, with +1 on both diagonals of the inner 7x7."""
    picture = np.full((9, 9), -1.0)
    inner = np.arange(1, 8)
    picture[inner, inner] = picture[inner, 8 - inner] = 1
    return picture


def worked_example() -> WorkedExample:
    """Compute the example with convnet's operations, in float64."""
    picture = picture_of_x()
    main_diagonal = 2 * np.eye(3) - 1
    anti_diagonal = np.fliplr(main_diagonal)
    features = np.stack([main_diagonal, np.maximum(main_diagonal, anti_diagonal), anti_diagonal])

    responses = convnet.conv2d(picture[None, None], features[:, None] / 9)
    rectified = convnet.relu(responses)
    pooled = convnet.max_pool2d(rectified, 2, ceil_mode=True)
    pooled_again = convnet.max_pool2d(pooled, 2, ceil_mode=True)
    vector = pooled_again.reshape(-1)

    # The templates are vectors to two places, so that "where it is 1" means what the reader sees.
    templates = np.stack([vector.round(2), TEMPLATE_O])
    chosen = (templates == 1).astype(np.float64)
    new_input = np.array(NEW_INPUT)
    scores = convnet.dense(new_input[None], (chosen / chosen.sum(axis=1, keepdims=True)).T)
    return WorkedExample(
        picture=picture,
        features=features,
        responses=responses[0],
        rectified=rectified[0],
        pooled=pooled[0],
        pooled_again=pooled_again[0],
        vector=vector,
        templates=templates,
        new_input=new_input,
        scores=scores[0],
    )


@dataclass(frozen=True)
class TrainedNetwork:
    """The example's network after it has learned its features and its last layer from drawings."""

    parameters: int
    drawings: int
    epochs: int
    train_accuracy: float
    test_accuracy: float
    untrained_accuracy: float  # on the test drawings, before the first step
    features: Array  # (3, 3, 3)
    scores: Array  # (2,): the outputs for the worked example's picture

    @property
    def answer(self) -> str:
        return CLASSES[int(self.scores.argmax())]

    def to_json(self) -> dict[str, Any]:
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        } | {"answer": self.answer}


def network(rng: np.random.Generator) -> Sequential:
    """The example as layers: three 3x3 features, ReLU, two poolings, and two templates. 9x9 images."""
    return Sequential(
        Conv2d(1, 3, 3, rng=rng),
        ReLU(),
        MaxPool2d(2, ceil_mode=True),
        MaxPool2d(2, ceil_mode=True),
        Flatten(),
        Dense(3 * 2 * 2, 2, rng=rng),
    )


def train_network(*, drawings: int = 2000, epochs: int = 30, seed: int = 0) -> TrainedNetwork:
    """Train the example's network on drawn X and O, and test it on as many others."""
    x, y = draw_xo(drawings, seed=seed)
    x_test, y_test = draw_xo(drawings, seed=seed + 1)
    rng = np.random.default_rng(seed)
    model = network(rng)

    def accuracy(images: NDArray[Any], labels: NDArray[np.int64]) -> float:
        return float((model.predict(images).argmax(axis=1) == labels).mean())

    untrained = accuracy(x_test, y_test)
    fit(
        model,
        x,
        y,
        optimizer=Adam(model, lr=0.01),
        epochs=epochs,
        batch_size=32,
        rng=rng,
        progress=False,
    )
    scores = model.predict(picture_of_x()[None, None].astype(np.float32))[0]
    return TrainedNetwork(
        parameters=model.parameter_count(),
        drawings=drawings,
        epochs=epochs,
        train_accuracy=accuracy(x, y),
        test_accuracy=accuracy(x_test, y_test),
        untrained_accuracy=untrained,
        features=model.params["0.weight"][:, 0].astype(np.float64),
        scores=scores.astype(np.float64),
    )


def text(example: WorkedExample, trained: TrainedNetwork) -> str:
    """The example as a page for the terminal, at most 80 columns wide."""
    return "\n".join([*_worked(example), "", *_trained(trained, example.picture)])


def _worked(e: WorkedExample) -> Iterator[str]:
    yield "X OR O? ONE PICTURE THROUGH A SMALL CONVOLUTIONAL NETWORK"
    yield ""
    yield "1. The input: 9x9 pixels, +1 where there is ink and -1 where there is none"
    yield from _side_by_side([e.picture], "{:3.0f}")
    yield ""
    yield f"2. Three features of 3x3 pixels: {', '.join(FEATURE_NAMES)}"
    yield from _side_by_side(e.features, "{:3.0f}")
    yield ""
    yield "3. Convolution: each feature at all 7x7 places, sum(patch * feature) / 9."
    yield "   1.00 is a perfect match."
    for name, response in zip(FEATURE_NAMES, e.responses, strict=True):
        yield f"   {name}"
        yield from _side_by_side([response])
    yield ""
    yield "4. ReLU: what does not match counts as nothing, max(0, response)"
    for name, rectified in zip(FEATURE_NAMES, e.rectified, strict=True):
        yield f"   {name}"
        yield from _side_by_side([rectified])
    yield ""
    yield "5. Max pooling: the best match in each 2x2 window, also in those cut off"
    yield from _side_by_side(e.pooled)
    yield ""
    yield "6. Pooled again"
    yield from _side_by_side(e.pooled_again)
    yield ""
    yield "7. Flattened: the vector of this X, which becomes the template of 'X'"
    yield "  " + _row(e.vector, "{:5.2f}")
    yield ""
    yield "8. The templates, and a new picture's vector"
    for label, values in zip((*CLASSES, "new"), (*e.templates, e.new_input), strict=True):
        yield f"  {label:3s} " + _row(values, "{:5.2f}")
    yield ""
    yield "9. Score of the new picture: mean of its values where the template is 1"
    for label, template, score in zip(CLASSES, e.templates, e.scores, strict=True):
        chosen = e.new_input[template == 1]
        terms = " + ".join(f"{value:g}" for value in chosen)
        yield f"  {label}: ({terms}) / {len(chosen)} = {score:.4g}"
    yield f"  It is an {e.answer}."


def _trained(t: TrainedNetwork, picture: Array) -> Iterator[str]:
    yield "THE SAME NETWORK, TRAINED"
    yield ""
    yield f"Nobody gives it features or templates: its {t.parameters} parameters start at random"
    yield f"and learn from {t.drawings} drawn X and O of many sizes, strokes and places,"
    yield f"{t.epochs} times over. Two of the drawings:"
    examples, labels = draw_xo(2, seed=0)
    shades = [np.where(image[0] > 0, 1, -1) for image in examples[np.argsort(labels)]]
    yield from _drawn(shades)
    yield ""
    yield f"Right on {t.drawings} other drawings: {t.untrained_accuracy:.1%} before training,"
    yield f"{t.test_accuracy:.1%} after ({t.train_accuracy:.1%} on those it learned from)."
    yield ""
    yield "The three features it found:"
    yield from _side_by_side(t.features)
    yield ""
    scores = ", ".join(f"{label} {score:.2f}" for label, score in zip(CLASSES, t.scores, strict=True))
    yield f"Its scores for the picture of step 1: {scores}. It is an {t.answer}."


def _side_by_side(matrices: Sequence[NDArray[Any]] | NDArray[Any], number: str = "{:5.2f}") -> Iterator[str]:
    for rows in zip(*matrices, strict=True):
        yield "  " + "    ".join(_row(row, number) for row in rows)


def _row(values: NDArray[Any], number: str) -> str:
    # Adding 0 turns the -0.0 that a backend may return into 0.0.
    return " ".join(number.format(value + 0.0) for value in values)


def _drawn(images: Sequence[NDArray[Any]]) -> Iterator[str]:
    for rows in zip(*images, strict=True):
        yield "  " + "    ".join(" ".join("#" if value > 0 else "." for value in row) for row in rows)
