"""Every operation as vectorised NumPy: convolution is one matrix product over unfolded patches.

Chellapilla, Puri and Simard, "High performance convolutional neural networks for document processing" (2006).
Pooling walks the kernel's taps, each a strided view of all windows at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from .._core import Conv2dShape, Pool2dShape
from .._types import Array, Padding, Pair
from . import operands
from .operands import ieee


def unfold(x: Array, shape: Conv2dShape) -> Array:
    """Every patch of zero-padded x (N, C, H, W), as one new array (C, kH, kW, N, oH, oW)."""
    N, C, H, W = shape.x
    top, bottom, left, right = shape.padding
    if any(shape.padding):
        padded = np.zeros((N, C, top + H + bottom, left + W + right), x.dtype)
        padded[:, :, top : top + H, left : left + W] = x
    else:
        padded = x
    sN, sC, sH, sW = padded.strides
    patches = as_strided(
        padded,
        (C, *shape.weight[2:], N, *shape.y[2:]),
        (sC, sH * shape.dilation[0], sW * shape.dilation[1], sN, sH * shape.stride[0], sW * shape.stride[1]),
        writeable=False,
    )
    return patches.copy()


def fold(patches: Array, shape: Conv2dShape) -> Array:
    """The adjoint of `unfold`: patches (C, kH, kW, N, oH, oW) added up where they came from, (N, C, H, W)."""
    N, C, H, W = shape.x
    top, bottom, left, right = shape.padding
    dpadded = np.zeros((N, C, top + H + bottom, left + W + right), patches.dtype)
    kernel = (shape.weight[2], shape.weight[3])
    for i, j, window in _taps(kernel, shape.stride, shape.dilation, (shape.y[2], shape.y[3])):
        dpadded[window] += patches[:, i, j].transpose(1, 0, 2, 3)
    return dpadded[:, :, top : top + H, left : left + W].copy()


def _taps(
    kernel: Pair, stride: Pair, dilation: Pair, output: Pair
) -> Iterator[tuple[int, int, tuple[slice, slice, slice, slice]]]:
    # For each kernel position (i, j): the slice of a padded (N, C, H, W) array it reads, a value per output.
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            rows = slice(top, top + output[0] * stride[0], stride[0])
            columns = slice(left, left + output[1] * stride[1], stride[1])
            yield i, j, (slice(None), slice(None), rows, columns)


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
    N, C_out, oH, oW = shape.y
    y = np.matmul(_rows(weight, groups), _columns(x, shape))  # (groups, C_out/groups, N·oH·oW)
    y = y.reshape(C_out, N, oH, oW).transpose(1, 0, 2, 3)
    if bias is not None:
        y += bias[:, None, None]
    if relu:
        np.maximum(y, 0, out=y)
    if out is None:
        return np.ascontiguousarray(y)
    out[...] = y
    return out


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
    _, C_in, _, _ = shape.x
    kernel = shape.weight[2:]
    dys = np.ascontiguousarray(dy.transpose(1, 0, 2, 3)).reshape(groups, C_out // groups, N * oH * oW)
    dx = dw = db = None
    if needs[0]:
        patches = np.matmul(_rows(weight, groups).transpose(0, 2, 1), dys)
        dx = fold(patches.reshape(C_in, *kernel, N, oH, oW), shape)
    if needs[1]:
        dw = np.matmul(dys, _columns(x, shape).transpose(0, 2, 1)).reshape(weight.shape)
    if needs[2]:
        db = dys.sum(axis=2).reshape(C_out)  # not from dy, whose strides would set the order of addition
    return dx, dw, db


def _rows(weight: Array, groups: int) -> Array:
    # (C_out, C_in/groups, kH, kW) -> (groups, C_out/groups, C_in/groups·kH·kW)
    C_out, channels, kH, kW = weight.shape
    return weight.reshape(groups, C_out // groups, channels * kH * kW)


def _columns(x: Array, shape: Conv2dShape) -> Array:
    # (N, C_in, H, W) -> (groups, C_in/groups·kH·kW, N·oH·oW)
    _, channels, kH, kW = shape.weight
    N, _, oH, oW = shape.y
    return unfold(x, shape).reshape(shape.groups, channels * kH * kW, N * oH * oW)


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


def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
) -> Array:
    # x (N, C, H, W) -> y (N, C, oH, oW)
    shape = Pool2dShape(x.shape, kernel, stride, padding, dilation, ceil_mode, "max_pool2d")
    padded = _pooled_extent(x, shape, -np.inf)
    y = np.full(shape.y, -np.inf, x.dtype)
    for _, _, window in _taps(kernel, stride, dilation, (shape.y[2], shape.y[3])):
        np.maximum(y, padded[window], out=y)  # NaN wins
    return y


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
    for i, j, window in _taps(kernel, stride, dilation, (oH, oW)):
        value = padded[window]
        h = (np.arange(oH) * stride[0] - padding[0] + i * dilation[0])[:, None]
        w = np.arange(oW) * stride[1] - padding[2] + j * dilation[1]
        real = (h >= 0) & (h < H) & (w >= 0) & (w < W)
        better = real & ((indices < 0) | (value > y) | (np.isnan(value) & ~np.isnan(y)))
        np.copyto(y, value, where=better)
        np.copyto(indices, h * W + w, where=better)
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
    N, C, H, W = shape.x
    dx = np.zeros(shape.x, dy.dtype)
    plane = np.arange(N * C).reshape(N, C, 1, 1) * (H * W)
    np.add.at(dx.reshape(-1), (plane + indices).reshape(-1), dy.reshape(-1))
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
    padded = _pooled_extent(x, shape, 0)
    y = np.zeros(shape.y, x.dtype)
    for _, _, window in _taps(kernel, stride, dilation, (shape.y[2], shape.y[3])):
        y += padded[window]
    y /= _divisors(shape, count_include_pad).astype(x.dtype)
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
    _, _, H, W = shape.x
    top, _, left, _ = shape.padding
    dpadded = _pooled_extent(np.zeros(shape.x, dy.dtype), shape, 0)
    share = dy / _divisors(shape, count_include_pad).astype(dy.dtype)
    for _, _, window in _taps(kernel, stride, dilation, (shape.y[2], shape.y[3])):
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


@ieee
def gemm(
    a: Array, b: Array, c: Array | None, alpha: float, beta: float, trans_a: bool, trans_b: bool
) -> Array:
    # op(a) (M, K), op(b) (K, N), c (M, N) -> alpha·op(a)·op(b) + beta·c
    a = a.T if trans_a else a
    b = b.T if trans_b else b
    operands.gemm(a, b, c)
    y: Array = np.matmul(a, b)
    y *= alpha
    if c is not None and beta != 0:
        y += beta * c
    return y


@ieee
def dense(x: Array, weight: Array, bias: Array | None, relu: bool) -> Array:
    # x (M, in), weight (in, out), bias (out,) -> y (M, out)
    operands.dense(x, weight, bias)
    y: Array = np.matmul(x, weight)
    if bias is not None:
        y += bias
    if relu:
        np.maximum(y, 0, out=y)
    return y


@ieee
def dense_backward(
    dy: Array, x: Array, weight: Array, needs: tuple[bool, bool, bool]
) -> tuple[Array | None, Array | None, Array | None]:
    # dy (M, out) -> dx (M, in), dw (in, out), db (out,)
    operands.dense_backward(dy, x, weight)
    return (
        np.matmul(dy, weight.T) if needs[0] else None,
        np.matmul(x.T, dy) if needs[1] else None,
        dy.sum(axis=0) if needs[2] else None,
    )


def relu(x: Array) -> Array:
    # max(x, 0), elementwise; NaN stays
    return np.maximum(x, 0, out=np.empty(x.shape, x.dtype))


def relu_backward(dy: Array, x: Array) -> Array:
    # dy where relu let x through: x > 0 or NaN
    operands.relu_backward(dy, x)
    dx = np.zeros(x.shape, x.dtype)
    np.copyto(dx, dy, where=~(x <= 0))
    return dx


@ieee
def softmax_cross_entropy(logits: Array, labels: NDArray[np.int64]) -> tuple[float, Array]:
    # logits (N, classes), labels (N,) -> mean of -log softmax(logits)[label], and its gradient (N, classes)
    operands.softmax_cross_entropy(logits, labels)
    N = len(labels)
    if N == 0:
        return 0.0, np.zeros(logits.shape, logits.dtype)
    rows = np.arange(N)
    shifted = logits - logits.max(axis=1, keepdims=True)  # changes nothing and keeps exp from overflowing
    exps = np.exp(shifted)
    totals = exps.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(totals[:, 0]) - shifted[rows, labels], dtype=np.float64)
    dlogits = exps / totals
    dlogits[rows, labels] -= 1
    dlogits /= N
    return float(loss), dlogits
