"""What the compiled bindings check about their operands, for the two backends written in NumPy.

Geometry is checked by `Conv2dShape` and `Pool2dShape`; here is the rest: that bias, dy, indices and matrices
fit. Every function raises ValueError with the sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .._core import Conv2dShape, Pool2dShape
from .._types import Array, Padding, Pair

P = ParamSpec("P")
R = TypeVar("R")


def ieee(operation: Callable[P, R]) -> Callable[P, R]:
    """Let Inf and NaN flow through `operation` without NumPy's warnings, as they do through compiled code."""

    @wraps(operation)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with np.errstate(all="ignore"):
            return operation(*args, **kwargs)

    return call


def either_layout(operation: Callable[..., R]) -> Callable[..., R]:
    """Let a pool written for (N, C, H, W) take `channels_last` at the end: views go in, copies come out."""

    @wraps(operation)
    def call(*args: Any) -> Any:
        *given, channels_last = args
        if not channels_last:
            return operation(*given)
        found: Any = operation(*(_seen(a, (0, 3, 1, 2)) for a in given))
        if isinstance(found, tuple):
            return tuple(np.ascontiguousarray(_seen(a, (0, 2, 3, 1))) for a in found)
        return np.ascontiguousarray(_seen(found, (0, 2, 3, 1)))

    return call


def _seen(a: Any, axes: tuple[int, ...]) -> Any:
    return a.transpose(axes) if isinstance(a, np.ndarray) and a.ndim == len(axes) else a


def conv2d(
    x: Array, weight: Array, bias: Array | None, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Conv2dShape:
    shape = Conv2dShape(x.shape, weight.shape, stride, padding, dilation, groups, "conv2d")
    _fits("conv2d", "bias", bias, weight.shape[:1])
    return shape


def conv2d_backward(
    dy: Array, x: Array, weight: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Conv2dShape:
    shape = Conv2dShape(x.shape, weight.shape, stride, padding, dilation, groups, "conv2d_backward")
    _fits("conv2d_backward", "dy", dy, shape.y)
    return shape


def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Padding,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> Conv2dShape:
    """The convolution whose input gradient this is: ``.x`` is the shape of y here."""
    op = "conv_transpose2d"
    shape = _core.conv_transpose2d_shape(
        x.shape, weight.shape, stride, padding, output_padding, dilation, groups, op
    )
    _fits(op, "bias", bias, (shape.x[1],))
    return shape


def conv_transpose2d_backward(
    dy: Array,
    x: Array,
    weight: Array,
    stride: Pair,
    padding: Padding,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> Conv2dShape:
    op = "conv_transpose2d_backward"
    shape = _core.conv_transpose2d_shape(
        x.shape, weight.shape, stride, padding, output_padding, dilation, groups, op
    )
    _fits(op, "dy", dy, shape.x)
    return shape


def max_pool2d_backward(
    dy: Array,
    indices: NDArray[np.int64],
    x_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
) -> Pool2dShape:
    op = "max_pool2d_backward"
    shape = Pool2dShape(x_shape, kernel, stride, padding, dilation, ceil_mode, op)
    _fits(op, "dy", dy, shape.y)
    _fits(op, "indices", indices, shape.y)
    _in_plane(op, indices, shape.x)
    return shape


def avg_pool2d_backward(
    dy: Array,
    x_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
) -> Pool2dShape:
    op = "avg_pool2d_backward"
    shape = Pool2dShape(x_shape, kernel, stride, padding, dilation, ceil_mode, op)
    _fits(op, "dy", dy, shape.y)
    return shape


def adaptive_pool2d(op: str, x_shape: tuple[int, ...], output_size: Pair) -> tuple[int, int, int, int]:
    """The shape of y."""
    if len(x_shape) != 4:
        raise ValueError(f"{op}: x must have 4 dimensions (N, C, H, W), got shape {x_shape}")
    if x_shape[2] < 1 or x_shape[3] < 1:
        raise ValueError(f"{op}: x must hold at least one element a plane, got {x_shape}")
    if not all(1 <= size <= 2**31 for size in output_size):
        raise ValueError(f"{op}: output_size must be at least 1 and at most {2**31}, got {output_size}")
    for name, shape in (("x", x_shape), ("the output", (*x_shape[:2], *output_size))):
        if min(shape) < 0 or math.prod(max(size, 1) for size in shape) * 8 >= 2**63:
            raise ValueError(f"{op}: {name} {shape} is too large")
    return (x_shape[0], x_shape[1], *output_size)


def adaptive_pool2d_backward(op: str, dy: Array, x_shape: tuple[int, ...]) -> None:
    if dy.ndim != 4:
        raise ValueError(f"{op}: dy must have 4 dimensions (N, C, H, W), got shape {dy.shape}")
    _fits(op, "dy", dy, adaptive_pool2d(op, x_shape, (dy.shape[2], dy.shape[3])))


def adaptive_max_pool2d_backward(dy: Array, indices: NDArray[np.int64], x_shape: tuple[int, ...]) -> None:
    op = "adaptive_max_pool2d_backward"
    adaptive_pool2d_backward(op, dy, x_shape)
    _fits(op, "indices", indices, dy.shape)
    _in_plane(op, indices, x_shape)


def gemm(a: Array, b: Array, c: Array | None) -> None:
    """a (M, K) and b (K, N), already transposed where asked."""
    _two_dimensional("gemm", a=a, b=b)
    if a.shape[1] != b.shape[0]:
        raise ValueError(f"gemm: op(a) {a.shape} and op(b) {b.shape} do not multiply")
    _fits("gemm", "c", c, (a.shape[0], b.shape[1]))


def dense(x: Array, weight: Array, bias: Array | None) -> None:
    _two_dimensional("dense", x=x, weight=weight)
    _features("dense", x, weight)
    _fits("dense", "bias", bias, weight.shape[1:])


def dense_backward(dy: Array, x: Array, weight: Array) -> None:
    _two_dimensional("dense_backward", x=x, weight=weight)
    _features("dense_backward", x, weight)
    _fits("dense_backward", "dy", dy, (x.shape[0], weight.shape[1]))


def elementwise_backward(op: str, dy: Array, at: Array) -> None:
    """`at` is the operation's x or y."""
    _fits(op, "dy", dy, at.shape)


def softmax(op: str, x: Array) -> None:
    _two_dimensional(op, x=x)


def softmax_backward(op: str, dy: Array, y: Array) -> None:
    _two_dimensional(op, y=y)
    _fits(op, "dy", dy, y.shape)


def normalized(op: str, x: Array, dy: Array | None = None, **channels: Array) -> None:
    """x (N, C, positions), dy like it, the rest (C,)."""
    if x.ndim != 3:
        raise ValueError(f"{op}: x must have 3 dimensions (N, C, positions), got shape {x.shape}")
    _fits(op, "dy", dy, x.shape)
    for name, array in channels.items():
        _fits(op, name, array, x.shape[1:2])


def local_response_norm(op: str, x: Array, size: int, dy: Array | None = None) -> None:
    normalized(op, x, dy)
    if size < 1:
        raise ValueError(f"{op}: size must be at least 1, got {size}")


def softmax_cross_entropy(logits: Array, labels: NDArray[np.int64]) -> None:
    op = "softmax_cross_entropy"
    _two_dimensional(op, logits=logits)
    _fits(op, "labels", labels, logits.shape[:1])
    classes = logits.shape[1]
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"{op}: labels must lie in [0, {classes}) for logits {logits.shape}; "
            f"got {labels.min()} to {labels.max()}"
        )


def _fits(op: str, name: str, array: Array | None, expected: tuple[int, ...]) -> None:
    if array is not None and array.shape != expected:
        raise ValueError(f"{op}: {name} must have shape {expected}, got {array.shape}")


def _in_plane(op: str, indices: NDArray[np.int64], x_shape: tuple[int, ...]) -> None:
    plane = x_shape[2] * x_shape[3]
    if indices.size and not 0 <= indices.min() <= indices.max() < plane:
        raise ValueError(
            f"{op}: indices must lie in [0, {plane}), the {x_shape[2]} x {x_shape[3]} plane of the input; "
            f"got {indices.min()} to {indices.max()}"
        )


def _two_dimensional(op: str, **arrays: Array) -> None:
    for name, array in arrays.items():
        if array.ndim != 2:
            raise ValueError(f"{op}: {name} must be 2-D, got shape {array.shape}")


def _features(op: str, x: Array, weight: Array) -> None:
    if x.shape[1] != weight.shape[0]:
        raise ValueError(
            f"{op}: x has {x.shape[1]} features but weight expects {weight.shape[0]}; "
            f"x {x.shape}, weight {weight.shape}"
        )
