"""Convolution, as loops over its outputs: start reading here."""

from __future__ import annotations

from itertools import product

import numpy as np

from ..._types import Array, Padding, Pair
from .. import operands
from ..operands import ieee


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


@ieee
def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Padding,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    # x (N, C_in, H, W), weight (C_in, C_out/groups, kH, kW), bias (C_out,) -> y (N, C_out, oH, oW):
    # every input value lays its kernel, scaled, over the output
    shape = operands.conv_transpose2d(x, weight, bias, stride, padding, output_padding, dilation, groups)
    N, C_in, H, W = x.shape
    top, _, left, _ = padding
    padded = _pad(np.zeros(shape.x, x.dtype), padding)
    for n, k, i, j in product(range(N), range(C_in), range(H), range(W)):
        padded[n][_patch(k, i, j, weight, stride, dilation, groups)] += x[n, k, i, j] * weight[k]
    y = padded[:, :, top : top + shape.x[2], left : left + shape.x[3]].copy()
    if bias is not None:
        y += bias[:, None, None]
    return y


@ieee
def conv_transpose2d_backward(
    dy: Array,
    x: Array,
    weight: Array,
    stride: Pair,
    padding: Padding,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
    needs: tuple[bool, bool, bool],
) -> tuple[Array | None, Array | None, Array | None]:
    # dy (N, C_out, oH, oW) -> dx like x, dw like weight, db (C_out,)
    shape = operands.conv_transpose2d_backward(
        dy, x, weight, stride, padding, output_padding, dilation, groups
    )
    N, C_in, H, W = x.shape
    padded = _pad(dy, padding)
    dx = np.zeros(x.shape, x.dtype)
    dw = np.zeros(weight.shape, x.dtype)
    db = np.zeros(shape.x[1], x.dtype)
    for n, k, i, j in product(range(N), range(C_in), range(H), range(W)):
        patch = padded[n][_patch(k, i, j, weight, stride, dilation, groups)]
        dx[n, k, i, j] = np.sum(patch * weight[k])
        dw[k] += x[n, k, i, j] * patch
    for n, k, i, j in product(*map(range, shape.x)):
        db[k] += dy[n, k, i, j]
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
