"""Every operation as loops over its outputs: start reading here.

One output value at a time, exactly as the formula has it; hundreds of times slower than `native`. Each
backward stands directly under its forward and walks the same loops.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray

from .._core import Pool2dShape
from .._types import Array, Padding, Pair
from . import operands
from .operands import ieee


def _pad(x: Array, padding: Padding) -> Array:
    # x (N, C, H, W) -> (N, C, top + H + bottom, left + W + right), zero around x
    N, C, H, W = x.shape
    top, bottom, left, right = padding
    padded = np.zeros((N, C, top + H + bottom, left + W + right), x.dtype)
    padded[:, :, top : top + H, left : left + W] = x
    return padded


@ieee
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    relu: bool,
    algorithm: str,
    out: Array | None,
) -> Array:
    # x (N, C_in, H, W), weight (C_out, C_in/groups, kH, kW), bias (C_out,) -> y (N, C_out, oH, oW)
    shape = operands.conv2d(x, weight, bias, stride, padding, dilation, groups)
    y = np.empty(shape.y, x.dtype) if out is None else out
    N, C_out, oH, oW = shape.y
    padded = _pad(x, padding)
    for n, k, i, j in product(range(N), range(C_out), range(oH), range(oW)):
        patch = padded[n][_patch(k, i, j, weight, stride, dilation, groups)]
        value = np.sum(patch * weight[k])
        if bias is not None:
            value += bias[k]
        y[n, k, i, j] = 0 if relu and value <= 0 else value
    return y


@ieee
def conv2d_backward(
    dy: Array,
    x: Array,
    weight: Array,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    needs: tuple[bool, bool, bool],
    algorithm: str,
) -> tuple[Array | None, Array | None, Array | None]:
    # dy (N, C_out, oH, oW) -> dx like x, dw like weight, db (C_out,)
    shape = operands.conv2d_backward(dy, x, weight, stride, padding, dilation, groups)
    N, C_out, oH, oW = shape.y
    padded = _pad(x, padding)
    dpadded = np.zeros_like(padded)
    dw = np.zeros(weight.shape, x.dtype)
    db = np.zeros(C_out, x.dtype)
    for n, k, i, j in product(range(N), range(C_out), range(oH), range(oW)):
        patch = _patch(k, i, j, weight, stride, dilation, groups)
        dpadded[n][patch] += dy[n, k, i, j] * weight[k]
        dw[k] += dy[n, k, i, j] * padded[n][patch]
        db[k] += dy[n, k, i, j]
    top, _, left, _ = padding
    dx = dpadded[:, :, top : top + x.shape[2], left : left + x.shape[3]].copy()
    return dx if needs[0] else None, dw if needs[1] else None, db if needs[2] else None


def _patch(
    k: int, i: int, j: int, weight: Array, stride: Pair, dilation: Pair, groups: int
) -> tuple[slice, slice, slice]:
    # The channels, rows and columns of one padded image that make output (k, i, j).
    C_out, channels, kH, kW = weight.shape
    group = k * groups // C_out
    top, left = i * stride[0], j * stride[1]
    return (
        slice(group * channels, (group + 1) * channels),
        slice(top, top + (kH - 1) * dilation[0] + 1, dilation[0]),
        slice(left, left + (kW - 1) * dilation[1] + 1, dilation[1]),
    )


def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
) -> Array:
    # x (N, C, H, W) -> y (N, C, oH, oW)
    return max_pool2d_with_indices(x, kernel, stride, padding, dilation, ceil_mode)[0]


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


@ieee
def gemm(
    a: Array, b: Array, c: Array | None, alpha: float, beta: float, trans_a: bool, trans_b: bool
) -> Array:
    # op(a) (M, K), op(b) (K, N), c (M, N) -> alpha·op(a)·op(b) + beta·c
    a = a.T if trans_a else a
    b = b.T if trans_b else b
    operands.gemm(a, b, c)
    M, N = a.shape[0], b.shape[1]
    y = np.empty((M, N), a.dtype)
    for i, j in product(range(M), range(N)):
        y[i, j] = alpha * np.sum(a[i] * b[:, j])
        if c is not None and beta != 0:
            y[i, j] += beta * c[i, j]
    return y


@ieee
def dense(x: Array, weight: Array, bias: Array | None, relu: bool) -> Array:
    # x (M, in), weight (in, out), bias (out,) -> y (M, out)
    operands.dense(x, weight, bias)
    M, features = x.shape[0], weight.shape[1]
    y = np.empty((M, features), x.dtype)
    for i, j in product(range(M), range(features)):
        value = x.dtype.type(0)
        for p in range(x.shape[1]):
            value += x[i, p] * weight[p, j]
        if bias is not None:
            value += bias[j]
        y[i, j] = 0 if relu and value <= 0 else value
    return y


@ieee
def dense_backward(
    dy: Array, x: Array, weight: Array, needs: tuple[bool, bool, bool]
) -> tuple[Array | None, Array | None, Array | None]:
    # dy (M, out) -> dx (M, in), dw (in, out), db (out,)
    operands.dense_backward(dy, x, weight)
    dx = np.zeros(x.shape, x.dtype)
    dw = np.zeros(weight.shape, x.dtype)
    db = np.zeros(weight.shape[1], x.dtype)
    for i, j in product(range(dy.shape[0]), range(dy.shape[1])):
        for p in range(x.shape[1]):
            dx[i, p] += dy[i, j] * weight[p, j]
            dw[p, j] += dy[i, j] * x[i, p]
        db[j] += dy[i, j]
    return dx if needs[0] else None, dw if needs[1] else None, db if needs[2] else None


def relu(x: Array) -> Array:
    # max(x, 0), elementwise; NaN is not <= 0 and so stays
    y = np.zeros(x.shape, x.dtype)
    for at in np.ndindex(x.shape):
        if not x[at] <= 0:
            y[at] = x[at]
    return y


def relu_backward(dy: Array, x: Array) -> Array:
    # dy where relu let x through
    operands.relu_backward(dy, x)
    dx = np.zeros(x.shape, x.dtype)
    for at in np.ndindex(x.shape):
        if not x[at] <= 0:
            dx[at] = dy[at]
    return dx


@ieee
def softmax_cross_entropy(logits: Array, labels: NDArray[np.int64]) -> tuple[float, Array]:
    # logits (N, classes), labels (N,) -> mean of -log softmax(logits)[label], and its gradient (N, classes)
    operands.softmax_cross_entropy(logits, labels)
    N = len(labels)
    loss = 0.0
    dlogits = np.empty(logits.shape, logits.dtype)
    for n, label in enumerate(labels):
        exps = np.exp(
            logits[n] - np.max(logits[n])
        )  # the shift changes nothing and keeps exp from overflowing
        total = np.sum(exps)
        loss += math.log(total) - float(logits[n, label] - np.max(logits[n]))
        for k in range(logits.shape[1]):
            dlogits[n, k] = (exps[k] / total - (k == label)) / N
    return loss / N if N else 0.0, dlogits
