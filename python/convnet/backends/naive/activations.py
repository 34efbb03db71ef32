"""Activations, and the loss of a classifier."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..._types import Array
from .. import operands
from ..operands import ieee


def relu(x: Array) -> Array:
    # max(x, 0), elementwise; NaN is not <= 0 and so stays
    y = np.zeros(x.shape, x.dtype)
    for at in np.ndindex(x.shape):
        if not x[at] <= 0:
            y[at] = x[at]
    return y


def relu_backward(dy: Array, x: Array) -> Array:
    # dy where relu let x through
    operands.elementwise_backward("relu_backward", dy, x)
    dx = np.zeros(x.shape, x.dtype)
    for at in np.ndindex(x.shape):
        if not x[at] <= 0:
            dx[at] = dy[at]
    return dx


@ieee
def leaky_relu(x: Array, slope: float) -> Array:
    # x, or slope·x where x <= 0
    y = np.empty(x.shape, x.dtype)
    for at in np.ndindex(x.shape):
        y[at] = x.dtype.type(slope) * x[at] if x[at] <= 0 else x[at]
    return y


@ieee
def leaky_relu_backward(dy: Array, y: Array, slope: float) -> Array:
    # dy, or slope·dy where y <= 0, which is where x was
    operands.elementwise_backward("leaky_relu_backward", dy, y)
    dx = np.empty(y.shape, y.dtype)
    for at in np.ndindex(y.shape):
        dx[at] = y.dtype.type(slope) * dy[at] if y[at] <= 0 else dy[at]
    return dx


@ieee
def sigmoid(x: Array) -> Array:
    # 1 / (1 + e^-x), from the side where the exponential is small
    y = np.empty(x.shape, x.dtype)
    for at in np.ndindex(x.shape):
        small = np.exp(-abs(x[at]))
        y[at] = (1 if x[at] > 0 else small) / (1 + small)
    return y


@ieee
def sigmoid_backward(dy: Array, y: Array) -> Array:
    # dy·y·(1 - y)
    operands.elementwise_backward("sigmoid_backward", dy, y)
    dx = np.empty(y.shape, y.dtype)
    for at in np.ndindex(y.shape):
        dx[at] = dy[at] * (y[at] * (1 - y[at]))
    return dx


@ieee
def tanh(x: Array) -> Array:
    y = np.empty(x.shape, x.dtype)
    for at in np.ndindex(x.shape):
        y[at] = np.tanh(x[at])
    return y


@ieee
def tanh_backward(dy: Array, y: Array) -> Array:
    # dy·(1 - y²)
    operands.elementwise_backward("tanh_backward", dy, y)
    dx = np.empty(y.shape, y.dtype)
    for at in np.ndindex(y.shape):
        dx[at] = dy[at] * ((1 - y[at]) * (1 + y[at]))
    return dx


@ieee
def softmax(x: Array) -> Array:
    # x (M, K) -> e^x / sum over the row of e^x
    operands.softmax("softmax", x)
    y = np.empty(x.shape, x.dtype)
    for i, row in enumerate(x):
        exps = _shifted_exps(row)
        for k in range(len(row)):
            y[i, k] = exps[k] / np.sum(exps)
    return y


@ieee
def softmax_backward(dy: Array, y: Array) -> Array:
    # dy, y (M, K) -> y·(dy - sum over the row of dy·y)
    operands.softmax_backward("softmax_backward", dy, y)
    dx = np.empty(y.shape, y.dtype)
    for i, row in enumerate(y):
        total = np.sum(dy[i] * row)
        for k in range(len(row)):
            dx[i, k] = row[k] * (dy[i, k] - total)
    return dx


@ieee
def log_softmax(x: Array) -> Array:
    # x (M, K) -> x - log of the sum over the row of e^x
    operands.softmax("log_softmax", x)
    y = np.empty(x.shape, x.dtype)
    for i, row in enumerate(x):
        log_sum = np.log(np.sum(_shifted_exps(row)))
        for k in range(len(row)):
            y[i, k] = (row[k] - np.max(row)) - log_sum
    return y


@ieee
def log_softmax_backward(dy: Array, y: Array) -> Array:
    # dy, y (M, K) -> dy - e^y·sum over the row of dy
    operands.softmax_backward("log_softmax_backward", dy, y)
    dx = np.empty(y.shape, y.dtype)
    for i, row in enumerate(y):
        total = sum(dy[i], y.dtype.type(0))
        for k in range(len(row)):
            dx[i, k] = dy[i, k] - np.exp(row[k]) * total
    return dx


def _shifted_exps(row: Array) -> Array:
    # The shift by the largest changes no ratio and keeps exp from overflowing.
    exps: Array = np.exp(row - np.max(row, initial=-np.inf))
    return exps


@ieee
def softmax_cross_entropy(
    logits: Array, labels: NDArray[np.int64], label_smoothing: float
) -> tuple[float, Array]:
    # logits (N, classes), labels (N,) -> mean of -sum(target·log softmax(logits)), its gradient (N, classes)
    operands.softmax_cross_entropy(logits, labels)
    N, classes = logits.shape
    loss = 0.0
    dlogits = np.empty(logits.shape, logits.dtype)
    for n, label in enumerate(labels):
        exps = _shifted_exps(logits[n])
        total = np.sum(exps)
        for k in range(classes):
            target = (1 - label_smoothing) * (k == label) + label_smoothing / classes
            if target:
                loss += target * (math.log(total) - float(logits[n, k] - np.max(logits[n])))
            dlogits[n, k] = (exps[k] / total - target) / N
    return loss / N if N else 0.0, dlogits
