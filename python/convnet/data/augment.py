"""Random changes to batches of images: ``augment(batch, rng) -> batch``, as `convnet.training.fit` takes
them.

Each image (C, H, W) of a batch (N, C, H, W) is changed in its own way, drawn from ``rng``: one generator, one
result. A new array of the batch's dtype is returned.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Augment: TypeAlias = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]


def affine(
    x: NDArray[Any], degrees: NDArray[Any] | float = 0.0, scale: NDArray[Any] | float = 1.0, fill: float = 0.0
) -> NDArray[Any]:
    """Images (N, C, H, W) turned counter-clockwise about their centre and enlarged, each by its own figures.

    Values between pixels are interpolated linearly; ``fill`` lies outside the picture. ``degrees`` and
    ``scale`` are numbers or arrays (N,); ValueError where a scale is not positive.
    """
    count, channels, height, width = x.shape
    angle = np.broadcast_to(np.deg2rad(degrees), count)
    factor = np.broadcast_to(np.asarray(scale, dtype=np.float64), count)
    if not (factor > 0).all():
        raise ValueError(f"affine: scale must be positive, got {scale}")
    # Where each target pixel comes from: the inverse map, row and column apart. The y axis points down.
    cosine, sine = ((f(angle) / factor)[:, None] for f in (np.cos, np.sin))
    down, right = (np.arange(size) - (size - 1) / 2 for size in (height, width))
    source_x = ((cosine * right)[:, None, :] - (sine * down)[:, :, None]) + (width - 1) / 2
    source_y = ((sine * right)[:, None, :] + (cosine * down)[:, :, None]) + (height - 1) / 2
    # A frame of fill two pixels wide catches all that comes from outside.
    framed = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=fill)
    left, across = _whole_and_rest(source_x, width)
    top, along = _whole_and_rest(source_y, height)
    stride = width + 4
    plane = stride * (height + 4)
    corner = (top * stride + left)[:, None] + plane * np.arange(count * channels).reshape(
        count, channels, 1, 1
    )
    across, along = (part.astype(x.dtype)[:, None] for part in (across, along))
    flat = framed.reshape(-1)
    upper, lower = (
        flat[corner + row] * (1 - across) + flat[corner + (row + 1)] * across for row in (0, stride)
    )
    turned: NDArray[Any] = upper * (1 - along) + lower * along
    return turned


def _whole_and_rest(place: NDArray[np.float64], size: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The pixel of the framed axis at or before each place, and how far the place is beyond it."""
    # Rounding to a millionth of a pixel takes back what cosines leave of whole pixels.
    place = np.clip(np.rint(place * 1e6) / 1e6, -1.5, size + 0.5) + 2
    whole = place.astype(np.intp)
    return whole, place - whole


@dataclass(frozen=True)
class RandomShift:
    """Each image moved by whole pixels, up to ``reach`` along each axis."""

    reach: int
    fill: float = 0.0

    def __call__(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        count, _, height, width = x.shape
        reach = self.reach
        framed = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)), constant_values=self.fill)
        top, left = rng.integers(0, 2 * reach + 1, (2, count))
        windows = np.lib.stride_tricks.sliding_window_view(framed, (height, width), axis=(2, 3))
        moved: NDArray[Any] = windows[np.arange(count), :, top, left]
        return moved


@dataclass(frozen=True)
class RandomAffine:
    """Each image turned by up to ``degrees`` either way and enlarged by a factor from ``scale``."""

    degrees: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    fill: float = 0.0

    def __call__(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        degrees = rng.uniform(-self.degrees, self.degrees, len(x))
        return affine(x, degrees, rng.uniform(*self.scale, len(x)), self.fill)


@dataclass(frozen=True)
class RandomFlip:
    """Left and right exchanged in every second image or so: with the given probability."""

    probability: float = 0.5

    def __call__(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        flipped = rng.random(len(x)) < self.probability
        mirrored: NDArray[Any] = np.where(flipped[:, None, None, None], x[..., ::-1], x)
        return mirrored


@dataclass(frozen=True)
class RandomNoise:
    """Gaussian noise of the given standard deviation, added to every pixel."""

    deviation: float

    def __call__(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        noisy: NDArray[Any] = x + self.deviation * rng.standard_normal(x.shape, dtype=np.float32).astype(
            x.dtype
        )
        return noisy


@dataclass(frozen=True)
class RandomBackground:
    """Even grey, up to ``brightest``, wherever the image is darker than that."""

    brightest: float

    def __call__(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        grey = rng.uniform(0, self.brightest, (len(x), 1, 1, 1)).astype(x.dtype)
        filled: NDArray[Any] = np.maximum(x, grey)
        return filled


@dataclass(frozen=True)
class Chain:
    """One change after another."""

    steps: tuple[Augment, ...]

    def __call__(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        for step in self.steps:
            x = step(x, rng)
        return x
