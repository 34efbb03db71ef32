"""Matrix products."""

from __future__ import annotations

from .._types import Array
from ..backends import current
from . import arguments
from .arguments import ALL, Activation, Gradients, Needs


def gemm(
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    trans_a: bool = False,
    trans_b: bool = False,
) -> Array:
    """``alpha·op(a)·op(b) + beta·c``, where op transposes if asked: (M, K) times (K, N) -> (M, N).

    c is (M, N) or None and is not written to; with ``beta=0`` it is not read either.

    >>> a, b = np.array([[1.0, 2]]), np.array([[3.0], [4]])
    >>> convnet.gemm(a, b, np.ones((1, 1)), alpha=2, beta=-1).tolist()
    [[21.0]]
    """
    a, b, c = arguments.floats("gemm", ("a", "b", "c"), a, b, c)
    alpha, beta = arguments.real("gemm", "alpha", alpha), arguments.real("gemm", "beta", beta)
    trans_a, trans_b = arguments.flag("gemm", "trans_a", trans_a), arguments.flag("gemm", "trans_b", trans_b)
    y: Array = current().gemm(a, b, c, alpha, beta, trans_a, trans_b)
    return y


def dense(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    activation: Activation = None,
) -> Array:
    """``x @ weight + bias``, then `activation`: x (..., in), weight (in, out), bias (out,) -> (..., out).

    >>> convnet.dense(np.ones((2, 3)), np.ones((3, 1)), np.array([0.5])).tolist()
    [[3.5], [3.5]]
    """
    x, weight, bias = arguments.floats("dense", ("x", "weight", "bias"), x, weight, bias)
    relu = activation is not None and arguments.is_relu("dense", activation)
    if x.ndim == 2:
        y: Array = current().dense(x, weight, bias, relu)
        return y
    y = current().dense(arguments.as_rows(x), weight, bias, relu)
    return y.reshape(*x.shape[:-1], y.shape[1])


def dense_backward(dy: Array, x: Array, weight: Array, *, needs: Needs = ALL) -> Gradients:
    """Gradients of `dense`, given dy (..., out) for its output.

    Returns:
        (dx (..., in), dw (in, out), db (out,)), None where not needed.

    >>> dx, dw, db = convnet.dense_backward(np.ones((2, 1)), np.ones((2, 3)), np.full((3, 1), 5.0))
    >>> dx.tolist(), dw.tolist(), db.tolist()
    ([[5.0, 5.0, 5.0], [5.0, 5.0, 5.0]], [[2.0], [2.0], [2.0]], [2.0])
    """
    dy, x, weight = arguments.floats("dense_backward", ("dy", "x", "weight"), dy, x, weight)
    if needs is not ALL:
        needs = arguments.needed("dense_backward", needs)
    gradients: Gradients
    if x.ndim == dy.ndim == 2:
        gradients = current().dense_backward(dy, x, weight, needs)
        return gradients
    if dy.shape[:-1] != x.shape[:-1]:
        raise ValueError(f"dense_backward: dy {dy.shape} and x {x.shape} differ before the last axis")
    gradients = current().dense_backward(arguments.as_rows(dy), arguments.as_rows(x), weight, needs)
    dx, dw, db = gradients
    return None if dx is None else dx.reshape(x.shape), dw, db
