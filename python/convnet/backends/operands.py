"""What the compiled bindings check about their operands, for the two backends written in NumPy.

Geometry is checked by `Conv2dShape` and `Pool2dShape`; here is the rest: that bias, dy, indices and matrices
fit. Every function raises ValueError with the sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

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
    plane = shape.x[2] * shape.x[3]
    if indices.size and not 0 <= indices.min() <= indices.max() < plane:
        raise ValueError(
            f"{op}: indices must lie in [0, {plane}), the {shape.x[2]} x {shape.x[3]} plane of the input; "
            f"got {indices.min()} to {indices.max()}"
        )
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


def relu_backward(dy: Array, x: Array) -> None:
    _fits("relu_backward", "dy", dy, x.shape)


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
