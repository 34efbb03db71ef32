"""Matrix products."""

from __future__ import annotations

from itertools import product

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
