"""Normalisation of (N, C, positions) arrays, value by value."""

from __future__ import annotations

from itertools import product

import numpy as np

from ..._types import Array
from .. import operands
from ..operands import ieee


@ieee
def batch_statistics(x: Array) -> tuple[Array, Array]:
    # x (N, C, positions) -> each channel's mean and biased variance
    operands.normalized("batch_statistics", x)
    N, C, positions = x.shape
    mean, var = np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    for c in range(C):
        values = [float(x[n, c, i]) for n, i in product(range(N), range(positions))]
        if values:
            mean[c] = sum(values) / len(values)
            var[c] = sum((value - mean[c]) ** 2 for value in values) / len(values)
    return mean, var


@ieee
def batch_norm(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Array:
    # (x - mean) / sqrt(var + eps)·gamma + beta, channel by channel
    operands.normalized("batch_norm", x, gamma=gamma, beta=beta, mean=mean, var=var)
    y = np.empty(x.shape, x.dtype)
    for n, c, i in product(*map(range, x.shape)):
        y[n, c, i] = (x[n, c, i] - mean[c]) * (gamma[c] / np.sqrt(var[c] + x.dtype.type(eps))) + beta[c]
    return y


@ieee
def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float, of_batch: bool
) -> tuple[Array, Array, Array]:
    # dy, x (N, C, positions) -> dx like x, dgamma, dbeta (C,)
    operands.normalized("batch_norm_backward", x, dy, gamma=gamma, mean=mean, var=var)
    N, C, positions = x.shape
    dx = np.empty(x.shape, x.dtype)
    dgamma, dbeta = np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    for c in range(C):
        inverse = 1 / np.sqrt(var[c] + x.dtype.type(eps))
        places = list(product(range(N), range(positions)))
        for n, i in places:
            dgamma[c] += dy[n, c, i] * (x[n, c, i] - mean[c]) * inverse
            dbeta[c] += dy[n, c, i]
        for n, i in places:
            slope = dy[n, c, i]
            if of_batch:  # mean and var follow x: dy loses its mean, and its part along x
                along = (x[n, c, i] - mean[c]) * inverse * dgamma[c]
                slope = slope - (dbeta[c] + along) / x.dtype.type(len(places))
            dx[n, c, i] = gamma[c] * inverse * slope
    return dx, dgamma, dbeta


@ieee
def local_response_norm(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    # x / (k + alpha/size·sum of x² over `size` channels)^beta
    operands.local_response_norm("local_response_norm", x, size)
    y = np.empty(x.shape, x.dtype)
    for n, c, i in product(*map(range, x.shape)):
        y[n, c, i] = x[n, c, i] * _response(x, n, c, i, size, alpha, k) ** x.dtype.type(-beta)
    return y


@ieee
def local_response_norm_backward(
    dy: Array, x: Array, size: int, alpha: float, beta: float, k: float
) -> Array:
    # dy, x (N, C, positions) -> dx: through its own numerator, and through every denominator x is part of
    operands.local_response_norm("local_response_norm_backward", x, size, dy)
    dx = np.zeros(x.shape, x.dtype)
    for n, c, i in product(*map(range, x.shape)):
        response = _response(x, n, c, i, size, alpha, k)
        scaled = dy[n, c, i] * response ** x.dtype.type(-beta)
        dx[n, c, i] += scaled
        for d in _neighbours(c, size, x.shape[1]):
            dx[n, d, i] -= (
                x.dtype.type(2 * alpha / size * beta) * x[n, d, i] * (scaled * x[n, c, i] / response)
            )
    return dx


def _response(x: Array, n: int, c: int, i: int, size: int, alpha: float, k: float) -> np.floating:
    squares = sum((x[n, d, i] * x[n, d, i] for d in _neighbours(c, size, x.shape[1])), x.dtype.type(0))
    response: np.floating = x.dtype.type(k) + x.dtype.type(alpha / size) * squares
    return response


def _neighbours(c: int, size: int, channels: int) -> range:
    # The channels that normalise channel c: size // 2 before it, (size - 1) // 2 after it.
    return range(max(c - size // 2, 0), min(c + (size - 1) // 2 + 1, channels))
