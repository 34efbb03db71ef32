"""Pooling: a walk over the kernel's taps, each a strided view of all windows at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..._core import Pool2dShape
from ..._types import Array, Padding, Pair
from .. import operands
from ..operands import either_layout, ieee
from .convolution import taps


def _pooled_extent(x: Array, shape: Pool2dShape, fill: float) -> Array:
    # x with `fill` around it, as far as the windows reach: ceil_mode's last ones may hang over the padding.
    N, C, H, W = shape.x
    top, bottom, left, right = shape.padding
    reach = [
        (outputs - 1) * stride + (kernel - 1) * dilation + 1
        for outputs, stride, kernel, dilation in zip(
            shape.y[2:], shape.stride, shape.kernel, shape.dilation, strict=True
        )
    ]
    extent = (max(top + H + bottom, reach[0]), max(left + W + right, reach[1]))
    padded = np.full((N, C, *extent), fill, x.dtype)
    padded[:, :, top : top + H, left : left + W] = x
    return padded


@either_layout
def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
) -> Array:
    # x (N, C, H, W) -> y (N, C, oH, oW)
    shape = Pool2dShape(x.shape, kernel, stride, padding, dilation, ceil_mode, "max_pool2d")
    padded = _pooled_extent(x, shape, -np.inf)
    y = np.full(shape.y, -np.inf, x.dtype)
    for _, _, window in taps(kernel, stride, dilation, (shape.y[2], shape.y[3])):
        np.maximum(y, padded[window], out=y)  # NaN wins
    return y


@either_layout
def max_pool2d_with_indices(
    x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
) -> tuple[Array, NDArray[np.int64]]:
    # x (N, C, H, W) -> y (N, C, oH, oW), and where in its H·W plane each y came from
    shape = Pool2dShape(x.shape, kernel, stride, padding, dilation, ceil_mode, "max_pool2d")
    _, _, H, W = shape.x
    _, _, oH, oW = shape.y
    padded = _pooled_extent(x, shape, -np.inf)
    y = np.full(shape.y, -np.inf, x.dtype)
    indices = np.full(shape.y, -1, np.int64)  # -1: no real pixel met yet
    for i, j, window in taps(kernel, stride, dilation, (oH, oW)):
        value = padded[window]
        h = (np.arange(oH) * stride[0] - padding[0] + i * dilation[0])[:, None]
        w = np.arange(oW) * stride[1] - padding[2] + j * dilation[1]
        real = (h >= 0) & (h < H) & (w >= 0) & (w < W)
        better = real & ((indices < 0) | (value > y) | (np.isnan(value) & ~np.isnan(y)))
        np.copyto(y, value, where=better)
        np.copyto(indices, h * W + w, where=better)
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
    return _scattered(dy, indices, shape.x)


def _scattered(dy: Array, indices: NDArray[np.int64], x_shape: tuple[int, ...]) -> Array:
    # Each dy added at its index in its plane of an array of x_shape.
    N, C, H, W = x_shape
    dx = np.zeros(x_shape, dy.dtype)
    plane = np.arange(N * C).reshape(N, C, 1, 1) * (H * W)
    np.add.at(dx.reshape(-1), (plane + indices).reshape(-1), dy.reshape(-1))
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
    padded = _pooled_extent(x, shape, 0)
    y = np.zeros(shape.y, x.dtype)
    for _, _, window in taps(kernel, stride, dilation, (shape.y[2], shape.y[3])):
        y += padded[window]
    y /= _divisors(shape, count_include_pad).astype(x.dtype)
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
    _, _, H, W = shape.x
    top, _, left, _ = shape.padding
    dpadded = _pooled_extent(np.zeros(shape.x, dy.dtype), shape, 0)
    share = dy / _divisors(shape, count_include_pad).astype(dy.dtype)
    for _, _, window in taps(kernel, stride, dilation, (shape.y[2], shape.y[3])):
        dpadded[window] += share
    return dpadded[:, :, top : top + H, left : left + W].copy()


def _divisors(shape: Pool2dShape, count_include_pad: bool) -> NDArray[np.int64]:
    # (oH, oW): how many pixels each window averages: the real ones, or all but what hangs over the padding.
    counts = []
    for axis in range(2):
        size, before, after = shape.x[2 + axis], shape.padding[2 * axis], shape.padding[2 * axis + 1]
        first, last = (-before, size + after) if count_include_pad else (0, size)
        starts = np.arange(shape.y[2 + axis]) * shape.stride[axis] - before
        taps = starts[:, None] + np.arange(shape.kernel[axis]) * shape.dilation[axis]
        counts.append(((taps >= first) & (taps < last)).sum(axis=1))
    return np.outer(counts[0], counts[1])


def adaptive_max_pool2d(x: Array, output_size: Pair) -> tuple[Array, NDArray[np.int64]]:
    # x (N, C, H, W) -> y (N, C, *output_size), and where in its H·W plane each y came from
    shape = operands.adaptive_pool2d("adaptive_max_pool2d", x.shape, output_size)
    N, C, _, W = x.shape
    y = np.empty(shape, x.dtype)
    indices = np.empty(shape, np.int64)
    for i, j, rows, columns in _adaptive_windows(x.shape, output_size):
        width = columns.stop - columns.start
        values = x[:, :, rows, columns].reshape(N, C, (rows.stop - rows.start) * width)
        best = values.argmax(axis=2)  # the first of equals, or the first NaN
        y[:, :, i, j] = np.take_along_axis(values, best[:, :, None], axis=2)[:, :, 0]
        indices[:, :, i, j] = (rows.start + best // width) * W + columns.start + best % width
    return y, indices


def adaptive_max_pool2d_backward(dy: Array, indices: NDArray[np.int64], x_shape: tuple[int, ...]) -> Array:
    # dy, indices (N, C, oH, oW) -> dx (N, C, H, W)
    operands.adaptive_max_pool2d_backward(dy, indices, x_shape)
    return _scattered(dy, indices, x_shape)


@ieee
def adaptive_avg_pool2d(x: Array, output_size: Pair) -> Array:
    # x (N, C, H, W) -> y (N, C, *output_size)
    y = np.empty(operands.adaptive_pool2d("adaptive_avg_pool2d", x.shape, output_size), x.dtype)
    x = np.ascontiguousarray(x)  # its strides would set the order of addition
    for i, j, rows, columns in _adaptive_windows(x.shape, output_size):
        y[:, :, i, j] = x[:, :, rows, columns].mean(axis=(2, 3))
    return y


@ieee
def adaptive_avg_pool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    # dy (N, C, oH, oW) -> dx (N, C, H, W)
    operands.adaptive_pool2d_backward("adaptive_avg_pool2d_backward", dy, x_shape)
    dx = np.zeros(x_shape, dy.dtype)
    for i, j, rows, columns in _adaptive_windows(x_shape, (dy.shape[2], dy.shape[3])):
        count = (rows.stop - rows.start) * (columns.stop - columns.start)
        dx[:, :, rows, columns] += (dy[:, :, i, j] / dy.dtype.type(count))[:, :, None, None]
    return dx


def _adaptive_windows(x_shape: tuple[int, ...], output_size: Pair) -> Iterator[tuple[int, int, slice, slice]]:
    # Each output (i, j) with its rows and columns: window i of `out` over `size` pixels goes from
    # floor(i·size / out) up to ceil((i + 1)·size / out).
    axes = [
        [(i, slice(i * size // out, -(-(i + 1) * size // out))) for i in range(out)]
        for size, out in zip(x_shape[2:], output_size, strict=True)
    ]
    for (i, rows), (j, columns) in product(*axes):
        yield i, j, rows, columns
