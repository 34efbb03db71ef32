"""Filters by name over pictures: Sobel and friends, on NumPy arrays.

Like every operation here a filter is a correlation: the kernel is laid on as it is written, not flipped.
Beyond the picture its edge pixels go on.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .functional import conv2d

SOBEL_X = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))
SOBEL_Y = ((1, 2, 1), (0, 0, 0), (-1, -2, -1))
PREWITT_X = ((-1, 0, 1), (-1, 0, 1), (-1, 0, 1))
PREWITT_Y = ((1, 1, 1), (0, 0, 0), (-1, -1, -1))

KERNELS: dict[str, tuple[NDArray[np.float64], ...]] = {
    name: tuple(np.array(kernel, dtype=np.float64) / divisor for kernel in kernels)
    for name, divisor, kernels in (
        ("sobel", 1, (SOBEL_X, SOBEL_Y)),
        ("sobel-x", 1, (SOBEL_X,)),
        ("sobel-y", 1, (SOBEL_Y,)),
        ("prewitt", 1, (PREWITT_X, PREWITT_Y)),
        ("gaussian", 16, (((1, 2, 1), (2, 4, 2), (1, 2, 1)),)),
        ("laplacian", 1, (((0, 1, 0), (1, -4, 1), (0, 1, 0)),)),
        ("sharpen", 1, (((0, -1, 0), (-1, 5, -1), (0, -1, 0)),)),
        ("box", 9, (((1, 1, 1), (1, 1, 1), (1, 1, 1)),)),
        ("emboss", 1, (((-2, -1, 0), (-1, 1, 1), (0, 1, 2)),)),
    )
}
"""Each filter's kernels. Where there are two, they are the two directions of a gradient."""


def filter_image(image: NDArray[Any], *kernels: ArrayLike) -> NDArray[np.float64]:
    """The picture, (H, W) or (H, W, C), filtered channel by channel: the same shape, float64.

    One kernel gives sum(patch * kernel). Of two or more, the directions of a gradient, it is the magnitude:
    the root of the sum of their squares. A kernel is (kH, kW) with odd sides. ValueError where a shape is
    another.
    """
    if image.ndim not in (2, 3) or not image.size or not kernels:
        raise ValueError(
            f"filter_image: expected a picture (H, W) or (H, W, C) and a kernel, got {image.shape} and "
            f"{len(kernels)}"
        )
    planes = image.reshape(*image.shape[:2], -1).transpose(2, 0, 1)[:, None].astype(np.float64)
    responses = [_correlate(planes, np.asarray(kernel, dtype=np.float64)) for kernel in kernels]
    filtered = responses[0] if len(responses) == 1 else np.sqrt(sum(r * r for r in responses))
    return filtered[:, 0].transpose(1, 2, 0).reshape(image.shape)


def _correlate(planes: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    if kernel.ndim != 2 or not all(side % 2 for side in kernel.shape):
        raise ValueError(f"filter_image: expected a kernel (kH, kW) with odd sides, got {kernel.shape}")
    down, right = (side // 2 for side in kernel.shape)
    padded = np.pad(planes, ((0, 0), (0, 0), (down, down), (right, right)), mode="edge")
    filtered: NDArray[np.float64] = conv2d(padded, kernel[None, None])
    return filtered


def finds_edges(*kernels: ArrayLike) -> bool:
    """Whether even areas become 0: then the response's sign is a direction, and its magnitude what one looks
    at.
    """
    return all(abs(np.sum(kernel)) < 1e-9 for kernel in kernels)


def parse_kernel(text: str) -> NDArray[np.float64]:
    """A kernel written as rows: ``"-1 0 1; -2 0 2; -1 0 1"``. ValueError where it is no matrix of numbers."""
    try:
        rows = [[float(number) for number in row.replace(",", " ").split()] for row in text.split(";")]
    except ValueError as error:
        raise ValueError(f"kernel {text!r}: {error}") from None
    if not rows[0] or len({len(row) for row in rows}) != 1:
        raise ValueError(f"kernel {text!r}: expected rows of one length, got {[len(row) for row in rows]}")
    kernel = np.array(rows)
    if not np.isfinite(kernel).all():
        raise ValueError(f"kernel {text!r}: expected finite numbers")
    return kernel


def to_depth(values: NDArray[np.float64], dtype: np.dtype[Any], *, stretch: bool = False) -> NDArray[Any]:
    """Values as whole numbers of a picture's dtype, rounded and clipped to its range, or stretched to fill
    it.
    """
    most = np.iinfo(dtype).max
    if stretch:
        low, high = values.min(), values.max()
        values = (values - low) * (most / (high - low) if high > low else 0.0)
    return np.clip(np.rint(values), 0, most).astype(dtype)
