"""Normalisation, and dropout."""

from __future__ import annotations

import math
from typing import Any, overload

import numpy as np

from .._types import Array, Seed
from ..backends import current
from . import arguments


@overload
def batch_norm(
    x: Array, gamma: Array, beta: Array, mean: None = ..., var: None = ..., *, eps: float = ...
) -> tuple[Array, Array, Array]: ...
@overload
def batch_norm(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float = ...
) -> Array: ...
def batch_norm(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array | None = None,
    var: Array | None = None,
    *,
    eps: float = 1e-5,
) -> Array | tuple[Array, Array, Array]:
    """``(x - mean) / √(var + eps)·gamma + beta``, channel by channel.

    Ioffe and Szegedy, "Batch normalization" (2015), algorithm 1. The order of arguments is ONNX's.

    Args:
        x: (N, C, ...).
        gamma, beta: (C,), scale and shift.
        mean, var: (C,), both or neither; where not given, those of the batch are taken.
        eps: at least 0.

    Returns:
        y, like x; or, where mean and var are not given, (y, mean, var) of the batch, var biased (divided by
        the count). An empty batch has mean and var 0.

    >>> x = np.array([[1.0], [3.0]])
    >>> y, mean, var = convnet.batch_norm(x, np.ones(1), np.zeros(1), eps=0)
    >>> y.tolist(), mean.tolist(), var.tolist()
    ([[-1.0], [1.0]], [2.0], [1.0])
    """
    op = "batch_norm"
    if (mean is None) != (var is None):
        raise ValueError(f"{op}: mean and var must both be given, or neither")
    names = ("x", "gamma", "beta") if mean is None else ("x", "gamma", "beta", "mean", "var")
    x, gamma, beta, *statistics = arguments.floats(op, names, *(x, gamma, beta, mean, var)[: len(names)])
    planes = _planes(op, x)
    eps = arguments.real(op, "eps", eps, least=0)
    _check_channels(op, x, gamma=gamma, beta=beta)
    if not statistics:
        statistics = current().batch_statistics(planes)
        y: Array = current().batch_norm(planes, gamma, beta, *statistics, eps)
        return y.reshape(x.shape), statistics[0], statistics[1]
    y = current().batch_norm(planes, gamma, beta, *statistics, eps)
    return y.reshape(x.shape)


def batch_norm_backward(
    dy: Array,
    x: Array,
    gamma: Array,
    mean: Array | None = None,
    var: Array | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Gradients of `batch_norm` called with the same mean and var: constants, where they are given.

    Where they are not, they are the batch's, and the gradient goes through them as well.

    Args:
        dy: like x; the rest as in `batch_norm`.

    Returns:
        (dx like x, dgamma (C,), dbeta (C,)).

    >>> x, dy = np.array([[1.0], [3.0]]), np.array([[1.0], [1.0]])
    >>> dx, dgamma, dbeta = convnet.batch_norm_backward(dy, x, np.ones(1), eps=0)
    >>> dx.tolist(), dgamma.tolist(), dbeta.tolist()
    ([[0.0], [0.0]], [0.0], [2.0])
    """
    op = "batch_norm_backward"
    if (mean is None) != (var is None):
        raise ValueError(f"{op}: mean and var must both be given, or neither")
    names = ("dy", "x", "gamma") if mean is None else ("dy", "x", "gamma", "mean", "var")
    dy, x, gamma, *statistics = arguments.floats(op, names, *(dy, x, gamma, mean, var)[: len(names)])
    planes = _planes(op, x)
    eps = arguments.real(op, "eps", eps, least=0)
    _check_channels(op, x, gamma=gamma)
    of_batch = not statistics
    if of_batch:
        statistics = current().batch_statistics(planes)
    dx, dgamma, dbeta = current().batch_norm_backward(
        _gradient_planes(op, dy, x), planes, gamma, *statistics, eps, of_batch
    )
    return dx.reshape(x.shape), dgamma, dbeta


def local_response_norm(
    x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Array:
    """``x / (k + alpha/size·Σ x²)^beta``, the sum over `size` neighbouring channels.

    Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks"
    (2012), section 3.3, with PyTorch's meaning of alpha and of an even size: the channels from size // 2
    before to (size - 1) // 2 after; those that do not exist count as 0.

    Args:
        x: (N, C, ...).
        size: at least 1.

    Returns:
        y, like x.

    >>> convnet.local_response_norm(np.ones((1, 2)), 1, alpha=3, beta=0.5).tolist()
    [[0.5, 0.5]]
    """
    op = "local_response_norm"
    (x,) = arguments.floats(op, ("x",), x)
    y: Array = current().local_response_norm(_planes(op, x), *_response(op, size, alpha, beta, k))
    return y.reshape(x.shape)


def local_response_norm_backward(
    dy: Array, x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Array:
    """Gradient of `local_response_norm` at its input x: dy and dx like x, the rest as there.

    >>> dy, x = np.full((1, 1), 4.0), np.ones((1, 1))
    >>> convnet.local_response_norm_backward(dy, x, 1, alpha=3, beta=0.5).round(9).tolist()
    [[0.5]]
    """
    op = "local_response_norm_backward"
    dy, x = arguments.floats(op, ("dy", "x"), dy, x)
    planes = _planes(op, x)
    dx: Array = current().local_response_norm_backward(
        _gradient_planes(op, dy, x), planes, *_response(op, size, alpha, beta, k)
    )
    return dx.reshape(x.shape)


def dropout(x: Array, p: float, rng: Seed) -> tuple[Array, Array]:
    """Each value of x is dropped with probability p, else scaled by ``1 / (1 - p)``: inverted dropout.

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014). Drawn by
    NumPy on every backend: one product, that waits for the random numbers.

    Args:
        x: any shape.
        p: in [0, 1].
        rng: a seed or a `numpy.random.Generator`; the same seed drops the same values in either dtype.

    Returns:
        (y, mask), like x: the mask holds 0 or ``1 / (1 - p)``, and y is their product.

    >>> y, mask = convnet.dropout(np.full(1000, 3.0), 0.5, 0)
    >>> np.unique(mask).tolist(), np.unique(y).tolist()
    ([0.0, 2.0], [0.0, 6.0])
    """
    (x,) = arguments.floats("dropout", ("x",), x)
    p = arguments.real("dropout", "p", p, 0, 1)
    kept = arguments.generator("dropout", "rng", rng).random(x.shape, dtype=np.float32) >= p
    mask = np.asarray(kept).astype(x.dtype)
    if p < 1:
        mask *= x.dtype.type(1 / (1 - p))
    return _product(x, mask), mask


def dropout_backward(dy: Array, mask: Array) -> Array:
    """Gradient of `dropout` for x: ``dy·mask``, both of one shape.

    >>> convnet.dropout_backward(np.ones(2), np.array([0.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    dy, mask = arguments.floats("dropout_backward", ("dy", "mask"), dy, mask)
    if dy.shape != mask.shape:
        raise ValueError(f"dropout_backward: dy must have shape {mask.shape}, got {dy.shape}")
    return _product(dy, mask)


def _product(x: Array, mask: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.multiply(x, mask, out=np.empty(x.shape, x.dtype))


def _planes(op: str, x: Array) -> Array:
    # x as (N, C, positions), the form the backends take.
    if x.ndim < 2:
        raise ValueError(f"{op}: x must have at least 2 dimensions (N, C, ...), got shape {x.shape}")
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


def _gradient_planes(op: str, dy: Array, x: Array) -> Array:
    if dy.shape != x.shape:
        raise ValueError(f"{op}: dy must have shape {x.shape}, got {dy.shape}")
    return _planes(op, dy)


def _check_channels(op: str, x: Array, **arrays: Array) -> None:
    for name, array in arrays.items():
        if array.shape != x.shape[1:2]:
            raise ValueError(f"{op}: {name} must have shape {x.shape[1:2]}, got {array.shape}; x {x.shape}")


def _response(op: str, size: Any, alpha: Any, beta: Any, k: Any) -> tuple[int, float, float, float]:
    return (
        arguments.integer(op, "size", size),
        arguments.real(op, "alpha", alpha),
        arguments.real(op, "beta", beta),
        arguments.real(op, "k", k),
    )
