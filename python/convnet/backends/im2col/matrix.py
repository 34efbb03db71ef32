"""Matrix products."""

from __future__ import annotations

import numpy as np

from ..._types import Array
from .. import operands
from ..operands import ieee


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
