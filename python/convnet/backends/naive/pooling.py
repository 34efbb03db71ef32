"""Pooling, window by window."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..._core import Pool2dShape
from ..._types import Array, Padding, Pair
from .. import operands
from ..operands import either_layout, ieee


@either_layout
def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
) -> Array:
    # x (N, C, H, W) -> y (N, C, oH, oW)
    return max_pool2d_with_indices(x, kernel, stride, padding, dilation, ceil_mode, False)[0]


@either_layout
def max_pool2d_with_indices(
    x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
) -> tuple[Array, NDArray[np.int64]]:
    # x (N, C, H, W) -> y (N, C, oH, oW), and where in its H·W plane each y came from
    shape = Pool2dShape(x.shape, kernel, stride, padding, dilation, ceil_mode, "max_pool2d")
    y = np.empty(shape.y, x.dtype)
    indices = np.empty(shape.y, np.int64)
    N, C, oH, oW = shape.y
    for n, c, i, j in product(range(N), range(C), range(oH), range(oW)):
        pixels = _real_pixels(i, j, shape)
        h, w = next(pixels)
        for h2, w2 in pixels:  # only a larger value, or the first NaN, replaces an earlier one
            best, value = x[n, c, h, w], x[n, c, h2, w2]
            if value > best or (np.isnan(value) and not np.isnan(best)):
                h, w = h2, w2
        y[n, c, i, j] = x[n, c, h, w]
        indices[n, c, i, j] = h * x.shape[3] + w
    return y, indices


@either_layout
def max_pool2d_backward(
    dy: Array,
    indices: NDArray[np.int64],
    x_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
) -> Array:
    # dy, indices (N, C, oH, oW) -> dx (N, C, H, W): each dy goes to the pixel its maximum came from
    shape = operands.max_pool2d_backward(dy, indices, x_shape, kernel, stride, padding, dilation, ceil_mode)
    dx = np.zeros(shape.x, dy.dtype)
    N, C, oH, oW = shape.y
    W = shape.x[3]
    for n, c, i, j in product(range(N), range(C), range(oH), range(oW)):
        h, w = divmod(int(indices[n, c, i, j]), W)
        dx[n, c, h, w] += dy[n, c, i, j]
    return dx


@either_layout
@ieee
def avg_pool2d(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    # x (N, C, H, W) -> y (N, C, oH, oW)
    shape = Pool2dShape(x.shape, kernel, stride, padding, dilation, ceil_mode, "avg_pool2d")
    y = np.empty(shape.y, x.dtype)
    N, C, oH, oW = shape.y
    for n, c, i, j in product(range(N), range(C), range(oH), range(oW)):
        total = sum(x[n, c, h, w] for h, w in _real_pixels(i, j, shape))
        y[n, c, i, j] = total / _divisor(i, j, shape, count_include_pad)
    return y


@either_layout
@ieee
def avg_pool2d_backward(
    dy: Array,
    x_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    # dy (N, C, oH, oW) -> dx (N, C, H, W): each dy is shared equally by the pixels of its window
    shape = operands.avg_pool2d_backward(dy, x_shape, kernel, stride, padding, dilation, ceil_mode)
    dx = np.zeros(shape.x, dy.dtype)
    N, C, oH, oW = shape.y
    for n, c, i, j in product(range(N), range(C), range(oH), range(oW)):
        share = dy[n, c, i, j] / _divisor(i, j, shape, count_include_pad)
        for h, w in _real_pixels(i, j, shape):
            dx[n, c, h, w] += share
    return dx


def adaptive_max_pool2d(x: Array, output_size: Pair) -> tuple[Array, NDArray[np.int64]]:
    # x (N, C, H, W) -> y (N, C, *output_size), and where in its H·W plane each y came from
    shape = operands.adaptive_pool2d("adaptive_max_pool2d", x.shape, output_size)
    y = np.empty(shape, x.dtype)
    indices = np.empty(shape, np.int64)
    for n, c, i, j in product(*map(range, shape)):
        pixels = _adaptive_pixels(i, j, x.shape, output_size)
        h, w = next(pixels)
        for h2, w2 in pixels:
            best, value = x[n, c, h, w], x[n, c, h2, w2]
            if value > best or (np.isnan(value) and not np.isnan(best)):
                h, w = h2, w2
        y[n, c, i, j] = x[n, c, h, w]
        indices[n, c, i, j] = h * x.shape[3] + w
    return y, indices


def adaptive_max_pool2d_backward(dy: Array, indices: NDArray[np.int64], x_shape: tuple[int, ...]) -> Array:
    # dy, indices (N, C, oH, oW) -> dx (N, C, H, W)
    operands.adaptive_max_pool2d_backward(dy, indices, x_shape)
    dx = np.zeros(x_shape, dy.dtype)
    for n, c, i, j in product(*map(range, dy.shape)):
        h, w = divmod(int(indices[n, c, i, j]), x_shape[3])
        dx[n, c, h, w] += dy[n, c, i, j]
    return dx


@ieee
def adaptive_avg_pool2d(x: Array, output_size: Pair) -> Array:
    # x (N, C, H, W) -> y (N, C, *output_size)
    shape = operands.adaptive_pool2d("adaptive_avg_pool2d", x.shape, output_size)
    y = np.empty(shape, x.dtype)
    for n, c, i, j in product(*map(range, shape)):
        values = [x[n, c, h, w] for h, w in _adaptive_pixels(i, j, x.shape, output_size)]
        y[n, c, i, j] = sum(values) / len(values)
    return y


@ieee
def adaptive_avg_pool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    # dy (N, C, oH, oW) -> dx (N, C, H, W)
    operands.adaptive_pool2d_backward("adaptive_avg_pool2d_backward", dy, x_shape)
    dx = np.zeros(x_shape, dy.dtype)
    for n, c, i, j in product(*map(range, dy.shape)):
        pixels = list(_adaptive_pixels(i, j, x_shape, (dy.shape[2], dy.shape[3])))
        for h, w in pixels:
            dx[n, c, h, w] += dy[n, c, i, j] / len(pixels)
    return dx


def _adaptive_pixels(i: int, j: int, x_shape: tuple[int, ...], output_size: Pair) -> product[tuple[int, int]]:
    # Window i of `out` over `size` pixels: from floor(i·size / out) up to ceil((i + 1)·size / out).
    rows, columns = (
        range(at * size // out, -(-(at + 1) * size // out))
        for at, size, out in zip((i, j), x_shape[2:], output_size, strict=True)
    )
    return product(rows, columns)


def _real_pixels(i: int, j: int, shape: Pool2dShape) -> product[tuple[int, int]]:
    # The pixels (h, w) of x under window (i, j), row by row; padding is left out.
    top, _, left, _ = shape.padding
    rows = (i * shape.stride[0] - top + tap * shape.dilation[0] for tap in range(shape.kernel[0]))
    columns = (j * shape.stride[1] - left + tap * shape.dilation[1] for tap in range(shape.kernel[1]))
    return product(
        [h for h in rows if 0 <= h < shape.x[2]],
        [w for w in columns if 0 <= w < shape.x[3]],
    )


def _divisor(i: int, j: int, shape: Pool2dShape, count_include_pad: bool) -> int:
    # How many pixels window (i, j) averages: the real ones, or all but what ceil_mode hangs over the padding.
    if not count_include_pad:
        return sum(1 for _ in _real_pixels(i, j, shape))
    top, bottom, left, right = shape.padding
    rows = range(i * shape.stride[0], top + shape.x[2] + bottom, shape.dilation[0])
    columns = range(j * shape.stride[1], left + shape.x[3] + right, shape.dilation[1])
    return min(shape.kernel[0], len(rows)) * min(shape.kernel[1], len(columns))
