"""Convolution: one matrix product over unfolded patches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..._core import Conv2dShape
from ..._types import Array, Padding, Pair
from .. import operands
from ..operands import ieee


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
    for i, j, window in taps(kernel, shape.stride, shape.dilation, (shape.y[2], shape.y[3])):
        dpadded[window] += patches[:, i, j].transpose(1, 0, 2, 3)
    return dpadded[:, :, top : top + H, left : left + W].copy()


def taps(
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
    dys = _channels_first(dy, groups)
    dx = dw = db = None
    if needs[0]:
        patches = np.matmul(_rows(weight, groups).transpose(0, 2, 1), dys)
        dx = fold(patches.reshape(C_in, *kernel, N, oH, oW), shape)
    if needs[1]:
        dw = np.matmul(dys, _columns(x, shape).transpose(0, 2, 1)).reshape(weight.shape)
    if needs[2]:
        db = dys.sum(axis=2).reshape(C_out)  # not from dy, whose strides would set the order of addition
    return dx, dw, db


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
    # x (N, C_in, H, W), weight (C_in, C_out/groups, kH, kW), bias (C_out,) -> y (N, C_out, oH, oW)
    shape = operands.conv_transpose2d(x, weight, bias, stride, padding, output_padding, dilation, groups)
    patches = np.matmul(_rows(weight, groups).transpose(0, 2, 1), _channels_first(x, groups))
    N, _, H, W = shape.y
    y = fold(patches.reshape(shape.x[1], *shape.weight[2:], N, H, W), shape)
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
    N, C_in, H, W = shape.y
    dx = dw = db = None
    if needs[0] or needs[1]:
        columns = _columns(dy, shape)
    if needs[0]:
        dx = np.matmul(_rows(weight, groups), columns).reshape(C_in, N, H, W)
        dx = np.ascontiguousarray(dx.transpose(1, 0, 2, 3))
    if needs[1]:
        dw = np.matmul(_channels_first(x, groups), columns.transpose(0, 2, 1)).reshape(weight.shape)
    if needs[2]:
        C_out = shape.x[1]
        db = _channels_first(dy, 1).reshape(C_out, dy.size // max(C_out, 1)).sum(axis=1)
    return dx, dw, db


def _channels_first(x: Array, groups: int) -> Array:
    # (N, C, H, W) -> (groups, C/groups, N·H·W)
    N, C, H, W = x.shape
    return np.ascontiguousarray(x.transpose(1, 0, 2, 3)).reshape(groups, C // groups, N * H * W)


def _rows(weight: Array, groups: int) -> Array:
    # (C_out, C_in/groups, kH, kW) -> (groups, C_out/groups, C_in/groups·kH·kW)
    C_out, channels, kH, kW = weight.shape
    return weight.reshape(groups, C_out // groups, channels * kH * kW)


def _columns(x: Array, shape: Conv2dShape) -> Array:
    # (N, C_in, H, W) -> (groups, C_in/groups·kH·kW, N·oH·oW)
    _, channels, kH, kW = shape.weight
    N, _, oH, oW = shape.y
    return unfold(x, shape).reshape(shape.groups, channels * kH * kW, N * oH * oW)
