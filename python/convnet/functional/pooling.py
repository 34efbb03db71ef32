"""Pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from .._core import Pool2dShape
from .._types import Array
from ..backends import current
from . import arguments
from .arguments import IntOrPair, Layout, PaddingForm


@overload
def max_pool2d(
    x: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = ...,
    padding: PaddingForm = ...,
    dilation: IntOrPair = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = ...,
    *,
    layout: Layout = ...,
) -> Array: ...
@overload
def max_pool2d(
    x: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = ...,
    padding: PaddingForm = ...,
    dilation: IntOrPair = ...,
    ceil_mode: bool = ...,
    *,
    return_indices: Literal[True],
    layout: Layout = ...,
) -> tuple[Array, NDArray[np.int64]]: ...
def max_pool2d(
    x: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingForm = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: Layout = "NCHW",
) -> Array | tuple[Array, NDArray[np.int64]]:
    """The largest value of each window; NaN counts as the largest, padding never does.

    Args:
        x: (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``.
        stride: None means `kernel_size`.
        ceil_mode: also take a last, partial window, unless it starts in the padding at the end (PyTorch's
            rule).
        return_indices: also return where in its flat H·W plane each value came from; of equals, the first.

    Returns:
        y (N, C, oH, oW), and where asked indices of the same shape, int64; in the layout of x.

    >>> x = np.array([[1.0, 2, 3], [4, 5, 0]]).reshape(1, 1, 2, 3)
    >>> y, indices = convnet.max_pool2d(x, 2, 1, return_indices=True)
    >>> y.tolist(), indices.tolist()
    ([[[[5.0, 5.0]]]], [[[[4, 4]]]])
    >>> convnet.max_pool2d(x, 2, ceil_mode=True).tolist()
    [[[[5.0, 3.0]]]]
    """
    (x,) = arguments.floats("max_pool2d", ("x",), x)
    last = arguments.is_nhwc("max_pool2d", layout)
    shape = arguments.channels_first(x.shape) if last else x.shape
    window = arguments.window("max_pool2d", shape, kernel_size, stride, padding, dilation)
    ceil_mode = arguments.flag("max_pool2d", "ceil_mode", ceil_mode)
    if not arguments.flag("max_pool2d", "return_indices", return_indices):
        y: Array = current().max_pool2d(x, *window, ceil_mode, last)
        return y
    both: tuple[Array, NDArray[np.int64]] = current().max_pool2d_with_indices(x, *window, ceil_mode, last)
    return both


def max_pool2d_backward(
    dy: Array,
    indices: Array,
    input_shape: Sequence[int],
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingForm = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    *,
    layout: Layout = "NCHW",
) -> Array:
    """Gradient of `max_pool2d` for x: each dy is added where `indices` says its maximum came from.

    Args:
        dy, indices: (N, C, oH, oW), or as y with ``layout="NHWC"``; every index is checked to lie in its H·W
            plane.
        input_shape: (N, C, H, W), or (N, H, W, C): the shape of x.

    Returns:
        dx of `input_shape`.

    >>> dy, indices = np.ones((1, 1, 1, 2)), np.array([[[[4, 4]]]])
    >>> convnet.max_pool2d_backward(dy, indices, (1, 1, 2, 3), 2, 1).tolist()
    [[[[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]]]]
    """
    (dy,) = arguments.floats("max_pool2d_backward", ("dy",), dy)
    indices = arguments.integers("max_pool2d_backward", "indices", indices)
    shape = arguments.shape("max_pool2d_backward", "input_shape", input_shape)
    last = arguments.is_nhwc("max_pool2d_backward", layout)
    if last:
        shape = arguments.channels_first(shape)
    window = arguments.window("max_pool2d_backward", shape, kernel_size, stride, padding, dilation)
    ceil_mode = arguments.flag("max_pool2d_backward", "ceil_mode", ceil_mode)
    dx: Array = current().max_pool2d_backward(dy, indices, shape, *window, ceil_mode, last)
    return dx


def avg_pool2d(
    x: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingForm = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    dilation: IntOrPair = 1,
    layout: Layout = "NCHW",
) -> Array:
    """The mean of each window.

    Args:
        x: (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``.
        stride, ceil_mode: as in `max_pool2d`.
        count_include_pad: divide by all pixels of the window inside the padded input, else by the real ones.

    Returns:
        y (N, C, oH, oW), in the layout of x.

    >>> convnet.avg_pool2d(np.arange(8.0).reshape(1, 1, 2, 4), 2).tolist()
    [[[[2.5, 4.5]]]]
    """
    (x,) = arguments.floats("avg_pool2d", ("x",), x)
    last = arguments.is_nhwc("avg_pool2d", layout)
    shape = arguments.channels_first(x.shape) if last else x.shape
    window = arguments.window("avg_pool2d", shape, kernel_size, stride, padding, dilation)
    ceil_mode = arguments.flag("avg_pool2d", "ceil_mode", ceil_mode)
    count_include_pad = arguments.flag("avg_pool2d", "count_include_pad", count_include_pad)
    y: Array = current().avg_pool2d(x, *window, ceil_mode, count_include_pad, last)
    return y


def avg_pool2d_backward(
    dy: Array,
    input_shape: Sequence[int],
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingForm = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    dilation: IntOrPair = 1,
    layout: Layout = "NCHW",
) -> Array:
    """Gradient of `avg_pool2d` for x: each dy (N, C, oH, oW) is shared equally by its window.

    Args:
        dy: (N, C, oH, oW), or (N, oH, oW, C) with ``layout="NHWC"``.
        input_shape: (N, C, H, W), or (N, H, W, C): the shape of x.

    Returns:
        dx of `input_shape`.

    >>> convnet.avg_pool2d_backward(np.ones((1, 1, 1, 1)), (1, 1, 2, 2), 2).tolist()
    [[[[0.25, 0.25], [0.25, 0.25]]]]
    """
    (dy,) = arguments.floats("avg_pool2d_backward", ("dy",), dy)
    shape = arguments.shape("avg_pool2d_backward", "input_shape", input_shape)
    last = arguments.is_nhwc("avg_pool2d_backward", layout)
    if last:
        shape = arguments.channels_first(shape)
    window = arguments.window("avg_pool2d_backward", shape, kernel_size, stride, padding, dilation)
    ceil_mode = arguments.flag("avg_pool2d_backward", "ceil_mode", ceil_mode)
    count_include_pad = arguments.flag("avg_pool2d_backward", "count_include_pad", count_include_pad)
    dx: Array = current().avg_pool2d_backward(dy, shape, *window, ceil_mode, count_include_pad, last)
    return dx


@overload
def adaptive_max_pool2d(x: Array, output_size: IntOrPair, return_indices: Literal[False] = ...) -> Array: ...
@overload
def adaptive_max_pool2d(
    x: Array, output_size: IntOrPair, return_indices: Literal[True]
) -> tuple[Array, NDArray[np.int64]]: ...
def adaptive_max_pool2d(
    x: Array, output_size: IntOrPair, return_indices: bool = False
) -> Array | tuple[Array, NDArray[np.int64]]:
    """The largest value of each of oH x oW windows that cover x; NaN counts as the largest.

    Row i of the windows holds rows ``floor(i·H / oH)`` up to ``ceil((i + 1)·H / oH)`` of x, columns
    likewise: PyTorch's rule. Windows overlap where oH does not divide H.

    Args:
        x: (N, C, H, W), H and W at least 1.
        output_size: (oH, oW), or an int for both; at least 1.
        return_indices: also return where in its flat H·W plane each value came from; of equals, the first.

    Returns:
        y (N, C, oH, oW), and where asked indices of the same shape, int64.

    >>> convnet.adaptive_max_pool2d(np.arange(5.0).reshape(1, 1, 1, 5), (1, 2)).tolist()
    [[[[2.0, 4.0]]]]
    """
    op = "adaptive_max_pool2d"
    (x,) = arguments.floats(op, ("x",), x)
    result: tuple[Array, NDArray[np.int64]] = current().adaptive_max_pool2d(
        x, arguments.pair(op, "output_size", output_size)
    )
    return result if arguments.flag(op, "return_indices", return_indices) else result[0]


def adaptive_max_pool2d_backward(dy: Array, indices: Array, input_shape: Sequence[int]) -> Array:
    """Gradient of `adaptive_max_pool2d`: each dy is added where `indices` says its maximum came from.

    Args:
        dy, indices: (N, C, oH, oW); every index is checked to lie in its H·W plane.
        input_shape: (N, C, H, W), the shape of x.

    Returns:
        dx (N, C, H, W).

    >>> dy, indices = np.ones((1, 1, 1, 2)), np.array([[[[2, 4]]]])
    >>> convnet.adaptive_max_pool2d_backward(dy, indices, (1, 1, 1, 5)).tolist()
    [[[[0.0, 0.0, 1.0, 0.0, 1.0]]]]
    """
    op = "adaptive_max_pool2d_backward"
    (dy,) = arguments.floats(op, ("dy",), dy)
    indices = arguments.integers(op, "indices", indices)
    shape = arguments.shape(op, "input_shape", input_shape)
    dx: Array = current().adaptive_max_pool2d_backward(dy, indices, shape)
    return dx


def adaptive_avg_pool2d(x: Array, output_size: IntOrPair) -> Array:
    """The mean of each of oH x oW windows that cover x, placed as in `adaptive_max_pool2d`.

    Args:
        x: (N, C, H, W), H and W at least 1.
        output_size: (oH, oW), or an int for both; at least 1.

    Returns:
        y (N, C, oH, oW).

    >>> convnet.adaptive_avg_pool2d(np.arange(5.0).reshape(1, 1, 1, 5), (1, 2)).tolist()
    [[[[1.0, 3.0]]]]
    """
    op = "adaptive_avg_pool2d"
    (x,) = arguments.floats(op, ("x",), x)
    y: Array = current().adaptive_avg_pool2d(x, arguments.pair(op, "output_size", output_size))
    return y


def adaptive_avg_pool2d_backward(dy: Array, input_shape: Sequence[int]) -> Array:
    """Gradient of `adaptive_avg_pool2d`: each dy (N, C, oH, oW) is shared equally by its window.

    Args:
        input_shape: (N, C, H, W), the shape of x.

    Returns:
        dx (N, C, H, W).

    >>> convnet.adaptive_avg_pool2d_backward(np.ones((1, 1, 1, 2)), (1, 1, 1, 4)).tolist()
    [[[[0.5, 0.5, 0.5, 0.5]]]]
    """
    op = "adaptive_avg_pool2d_backward"
    (dy,) = arguments.floats(op, ("dy",), dy)
    dx: Array = current().adaptive_avg_pool2d_backward(dy, arguments.shape(op, "input_shape", input_shape))
    return dx


@overload
def global_max_pool2d(x: Array, return_indices: Literal[False] = ...) -> Array: ...
@overload
def global_max_pool2d(x: Array, return_indices: Literal[True]) -> tuple[Array, NDArray[np.int64]]: ...
def global_max_pool2d(x: Array, return_indices: bool = False) -> Array | tuple[Array, NDArray[np.int64]]:
    """The largest value of each plane of x (N, C, H, W), as (N, C, 1, 1); NaN counts as the largest.

    With `return_indices` also where in its flat plane it came from, int64; of equals, the first.

    >>> convnet.global_max_pool2d(np.arange(6.0).reshape(1, 1, 2, 3)).tolist()
    [[[[5.0]]]]
    """
    op = "global_max_pool2d"
    (x,) = arguments.floats(op, ("x",), x)
    _check_planes(op, "x", x.shape)
    result: tuple[Array, NDArray[np.int64]] = current().adaptive_max_pool2d(x, (1, 1))
    return result if arguments.flag(op, "return_indices", return_indices) else result[0]


def global_max_pool2d_backward(dy: Array, indices: Array, input_shape: Sequence[int]) -> Array:
    """Gradient of `global_max_pool2d`: dy and indices (N, C, 1, 1) -> dx of `input_shape` (N, C, H, W).

    >>> convnet.global_max_pool2d_backward(np.ones((1, 1, 1, 1)), np.array([[[[1]]]]), (1, 1, 1, 3)).tolist()
    [[[[0.0, 1.0, 0.0]]]]
    """
    op = "global_max_pool2d_backward"
    (dy,) = arguments.floats(op, ("dy",), dy)
    indices = arguments.integers(op, "indices", indices)
    shape = arguments.shape(op, "input_shape", input_shape)
    _check_global_gradient(op, dy, shape)
    dx: Array = current().adaptive_max_pool2d_backward(dy, indices, shape)
    return dx


def global_avg_pool2d(x: Array) -> Array:
    """The mean of each plane of x (N, C, H, W), as (N, C, 1, 1).

    >>> convnet.global_avg_pool2d(np.arange(6.0).reshape(1, 1, 2, 3)).tolist()
    [[[[2.5]]]]
    """
    op = "global_avg_pool2d"
    (x,) = arguments.floats(op, ("x",), x)
    _check_planes(op, "x", x.shape)
    y: Array = current().adaptive_avg_pool2d(x, (1, 1))
    return y


def global_avg_pool2d_backward(dy: Array, input_shape: Sequence[int]) -> Array:
    """Gradient of `global_avg_pool2d`: dy (N, C, 1, 1) shared over dx of `input_shape` (N, C, H, W).

    >>> convnet.global_avg_pool2d_backward(np.ones((1, 1, 1, 1)), (1, 1, 1, 4)).tolist()
    [[[[0.25, 0.25, 0.25, 0.25]]]]
    """
    op = "global_avg_pool2d_backward"
    (dy,) = arguments.floats(op, ("dy",), dy)
    shape = arguments.shape(op, "input_shape", input_shape)
    _check_global_gradient(op, dy, shape)
    dx: Array = current().adaptive_avg_pool2d_backward(dy, shape)
    return dx


def _check_planes(op: str, name: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 4 or shape[2] < 1 or shape[3] < 1:
        raise ValueError(f"{op}: {name} must be (N, C, H, W) with H and W at least 1, got {shape}")


def _check_global_gradient(op: str, dy: Array, shape: tuple[int, ...]) -> None:
    _check_planes(op, "input_shape", shape)
    if dy.shape != (*shape[:2], 1, 1):
        raise ValueError(f"{op}: dy must have shape {(*shape[:2], 1, 1)}, got {dy.shape}")


def pool2d_shape(
    op: str,
    x_shape: Sequence[int],
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingForm = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> Pool2dShape:
    """The sizes of a pooling that is not computed; `op` names it in errors."""
    shape = arguments.shape(op, "x_shape", x_shape)
    window = arguments.window(op, shape, kernel_size, stride, padding, dilation)
    return Pool2dShape(shape, *window, arguments.flag(op, "ceil_mode", ceil_mode), op)
