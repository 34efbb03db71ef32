"""Normalisation of (N, C, positions) arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..._types import Array
from .. import operands
from ..operands import ieee


@ieee
def batch_statistics(x: Array) -> tuple[Array, Array]:
    # x (N, C, positions) -> each channel's mean and biased variance
    operands.normalized("batch_statistics", x)
    if x.shape[0] * x.shape[2] == 0:
        return np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    x = np.ascontiguousarray(x)  # its strides would set the order of addition
    mean = x.mean(axis=(0, 2), dtype=np.float64).astype(x.dtype)
    var = np.square(x - mean[:, None]).mean(axis=(0, 2), dtype=np.float64).astype(x.dtype)
    return mean, var


@ieee
def batch_norm(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Array:
    # (x - mean) / sqrt(var + eps)·gamma + beta, channel by channel
    operands.normalized("batch_norm", x, gamma=gamma, beta=beta, mean=mean, var=var)
    scale = gamma / np.sqrt(var + x.dtype.type(eps))
    y: Array = (x - mean[:, None]) * scale[:, None]
    y += beta[:, None]
    return y


@ieee
def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float, of_batch: bool
) -> tuple[Array, Array, Array]:
    # dy, x (N, C, positions) -> dx like x, dgamma, dbeta (C,)
    operands.normalized("batch_norm_backward", x, dy, gamma=gamma, mean=mean, var=var)
    dy, x = np.ascontiguousarray(dy), np.ascontiguousarray(x)
    inverse = 1 / np.sqrt(var + x.dtype.type(eps))
    normalized = (x - mean[:, None]) * inverse[:, None]
    dgamma = (dy * normalized).sum(axis=(0, 2), dtype=np.float64).astype(x.dtype)
    dbeta = dy.sum(axis=(0, 2), dtype=np.float64).astype(x.dtype)
    slope = dy
    if of_batch:  # mean and var follow x: dy loses its mean, and its part along x
        slope = dy - (normalized * dgamma[:, None] + dbeta[:, None]) / max(x.shape[0] * x.shape[2], 1)
    return slope * (gamma * inverse)[:, None], dgamma, dbeta


@ieee
def local_response_norm(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    # x / (k + alpha/size·sum of x² over `size` channels)^beta
    operands.local_response_norm("local_response_norm", x, size)
    y: Array = x * _response(x, size, alpha, k) ** x.dtype.type(-beta)
    return y


@ieee
def local_response_norm_backward(
    dy: Array, x: Array, size: int, alpha: float, beta: float, k: float
) -> Array:
    # dy, x (N, C, positions) -> dx: through its own numerator, and through every denominator x is part of
    operands.local_response_norm("local_response_norm_backward", x, size, dy)
    response = _response(x, size, alpha, k)
    dx: Array = dy * response ** x.dtype.type(-beta)
    shares = dx * x / response
    total = np.zeros(x.shape, x.dtype)
    for here, there in _neighbours(x.shape[1], size):
        total[:, there] += shares[:, here]
    dx -= x.dtype.type(2 * alpha / size * beta) * x * total
    return dx


def _response(x: Array, size: int, alpha: float, k: float) -> Array:
    squares, total = np.square(x), np.zeros(x.shape, x.dtype)
    for here, there in _neighbours(x.shape[1], size):
        total[:, here] += squares[:, there]
    response: Array = x.dtype.type(k) + x.dtype.type(alpha / size) * total
    return response


def _neighbours(channels: int, size: int) -> Iterator[tuple[slice, slice]]:
    # For each offset in the window: the channels that have such a neighbour, and their neighbours.
    for offset in range(max(-(size // 2), 1 - channels), min((size - 1) // 2, channels - 1) + 1):
        yield (
            slice(max(0, -offset), channels - max(0, offset)),
            slice(max(0, offset), channels + min(0, offset)),
        )
