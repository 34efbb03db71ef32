"""The 1,797 real handwritten digits that come with scikit-learn, so that no download is needed.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998:
8x8 images of 0 to 16, each value the number of inked pixels in a 4x4 block of a 32x32 bitmap.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset, Images, Labels, stratified_split

TITLES = {8: "digits, 8x8", 28: "digits on a 28x28 canvas"}


def digits(size: int = 28, *, seed: int = 0, test_share: float = 0.2) -> Dataset:
    """Handwritten digits as they are (``size`` 8) or enlarged onto a 28x28 canvas (``size`` 28).

    Pixels run from 0 (paper) to 1 (ink), float32 (N, 1, size, size). On the canvas each digit is a 20x20
    glyph centred by its mass, as in MNIST (LeCun et al., 1998), so that shifts leave its strokes whole. The
    split is stratified and drawn with ``seed``; both sizes split alike. Needs scikit-learn. ValueError for
    another size.
    """
    if size not in TITLES:
        raise ValueError(f"digits: size must be 8 or 28, got {size}")
    images, labels = _all(size)
    train, test = stratified_split(labels, test_share, seed)
    return Dataset(
        name=f"digits{size}",
        title=TITLES[size],
        classes=tuple("0123456789"),
        background=0.0,
        drawn=True,
        x_train=images[train],
        y_train=labels[train],
        x_test=images[test],
        y_test=labels[test],
    )


@cache
def _all(size: int) -> tuple[Images, Labels]:
    # (N, 1, size, size) and (N,), in the bundle's order: read and enlarged once, split anew for each seed.
    from sklearn.datasets import load_digits

    bundled = load_digits()
    images = (bundled.images / 16).astype(np.float32)
    labels = bundled.target.astype(np.int64)
    if size == 28:
        images = centre_on_canvas(enlarge(images, 20), 28)
    return images[:, None], labels


def enlarge(images: Images, size: int) -> Images:
    """Square images (N, s, s) to (N, size, size) by linear interpolation between pixel centres."""
    source = images.shape[-1]
    if images.ndim != 3 or images.shape[1] != source:
        raise ValueError(f"enlarge: expected square images (N, s, s), got {images.shape}")
    centres = np.clip((np.arange(size) + 0.5) * source / size - 0.5, 0, source - 1)
    # Row i weighs the two source pixels nearest to target pixel i; applied once down and once across.
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(source))).astype(np.float32)
    enlarged: Images = weights @ images @ weights.T
    return enlarged


def centre_on_canvas(glyphs: Images, size: int) -> Images:
    """Glyphs (N, h, w) on blank canvases (N, size, size), their mass centred to half a pixel.

    Glyphs move by whole pixels, so none is blurred. A glyph so lopsided that part of it would fall off the
    canvas, or without any ink, is a ValueError.
    """
    count, height, width = glyphs.shape
    top, left = (
        _first_pixel(glyphs.sum(axis=other), size, extent) for other, extent in ((2, height), (1, width))
    )
    rows = top[:, None] + np.arange(height)
    columns = left[:, None] + np.arange(width)
    canvas = np.zeros((count, size, size), dtype=glyphs.dtype)
    canvas[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]] = glyphs
    return canvas


def _first_pixel(profiles: Images, size: int, extent: int) -> NDArray[np.int64]:
    """Where along one axis each glyph begins so that its mass, given as (N, extent) sums, is centred."""
    mass = profiles.sum(axis=1, dtype=np.float64)
    if not (mass > 0).all():
        raise ValueError(f"centre_on_canvas: glyph {np.flatnonzero(mass <= 0)[0]} has no ink")
    centre = profiles @ np.arange(extent) / mass
    first: NDArray[np.int64] = np.rint((size - 1) / 2 - centre).astype(np.int64)
    outside = np.flatnonzero((first < 0) | (first + extent > size))
    if outside.size:
        raise ValueError(
            f"centre_on_canvas: glyph {outside[0]} of {extent} pixels would begin at pixel "
            f"{first[outside[0]]} of a canvas of {size}"
        )
    return first
