"""Activations, and the loss of a classifier."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..._types import Array
from .. import operands
from ..operands import ieee


def relu(x: Array) -> Array:
    # max(x, 0), elementwise; NaN stays
    return np.maximum(x, 0, out=np.empty(x.shape, x.dtype))


def relu_backward(dy: Array, x: Array) -> Array:
    # dy where relu let x through: x > 0 or NaN
    operands.elementwise_backward("relu_backward", dy, x)
    dx = np.zeros(x.shape, x.dtype)
    np.copyto(dx, dy, where=~(x <= 0))
    return dx


@ieee
def leaky_relu(x: Array, slope: float) -> Array:
    # x, or slope·x where x <= 0
    return np.where(x <= 0, x * x.dtype.type(slope), x)


@ieee
def leaky_relu_backward(dy: Array, y: Array, slope: float) -> Array:
    # dy, or slope·dy where y <= 0, which is where x was
    operands.elementwise_backward("leaky_relu_backward", dy, y)
    return np.where(y <= 0, dy * y.dtype.type(slope), dy)


@ieee
def sigmoid(x: Array) -> Array:
    # 1 / (1 + e^-x), from the side where the exponential is small
    small = np.exp(-np.abs(_dense(x)))
    y: Array = np.divide(np.where(x > 0, x.dtype.type(1), small), 1 + small, out=np.empty(x.shape, x.dtype))
    return y


@ieee
def sigmoid_backward(dy: Array, y: Array) -> Array:
    # dy·y·(1 - y)
    operands.elementwise_backward("sigmoid_backward", dy, y)
    dx: Array = np.multiply(dy, y * (1 - y), out=np.empty(y.shape, y.dtype))
    return dx


@ieee
def tanh(x: Array) -> Array:
    y: Array = np.tanh(_dense(x), out=np.empty(x.shape, x.dtype))
    return y


@ieee
def tanh_backward(dy: Array, y: Array) -> Array:
    # dy·(1 - y²)
    operands.elementwise_backward("tanh_backward", dy, y)
    dx: Array = np.multiply(dy, (1 - y) * (1 + y), out=np.empty(y.shape, y.dtype))
    return dx


def _dense(x: Array) -> Array:
    # Strides decide which code NumPy computes sums and exponentials with, and so their last bits.
    return np.asarray(x, order="C")


@ieee
def softmax(x: Array) -> Array:
    # x (M, K) -> e^x / sum over the row of e^x
    operands.softmax("softmax", x)
    _, exps = _shifted_exps(x)
    exps /= exps.sum(axis=1, keepdims=True)
    return exps


@ieee
def softmax_backward(dy: Array, y: Array) -> Array:
    # dy, y (M, K) -> y·(dy - sum over the row of dy·y)
    operands.softmax_backward("softmax_backward", dy, y)
    total = np.multiply(dy, y, order="C").sum(axis=1, keepdims=True)
    dx: Array = y * (dy - total)
    return dx


@ieee
def log_softmax(x: Array) -> Array:
    # x (M, K) -> x - log of the sum over the row of e^x
    operands.softmax("log_softmax", x)
    shifted, exps = _shifted_exps(x)
    shifted -= np.log(exps.sum(axis=1, keepdims=True))
    return shifted


@ieee
def log_softmax_backward(dy: Array, y: Array) -> Array:
    # dy, y (M, K) -> dy - e^y·sum over the row of dy
    operands.softmax_backward("log_softmax_backward", dy, y)
    dy, y = _dense(dy), _dense(y)
    dx: Array = dy - np.exp(y) * dy.sum(axis=1, keepdims=True)
    return dx


def _shifted_exps(x: Array) -> tuple[Array, Array]:
    # x less each row's largest, which changes no ratio and keeps exp from overflowing; and its exponential.
    shifted = x.copy()
    shifted -= x.max(axis=1, keepdims=True, initial=-np.inf)
    return shifted, np.exp(shifted)


@ieee
def softmax_cross_entropy(
    logits: Array, labels: NDArray[np.int64], label_smoothing: float
) -> tuple[float, Array]:
    # logits (N, classes), labels (N,) -> mean of -sum(target·log softmax(logits)), its gradient (N, classes)
    operands.softmax_cross_entropy(logits, labels)
    N, classes = logits.shape
    if N == 0:
        return 0.0, np.zeros(logits.shape, logits.dtype)
    rows = np.arange(N)
    shifted, exps = _shifted_exps(logits)
    totals = exps.sum(axis=1, keepdims=True)
    logs = np.log(totals[:, 0])
    loss = (1 - label_smoothing) * np.mean(logs - shifted[rows, labels], dtype=np.float64)
    if label_smoothing:
        loss += label_smoothing * np.mean(logs - shifted.mean(axis=1), dtype=np.float64)
    dlogits = exps / totals
    dlogits -= label_smoothing / classes
    dlogits[rows, labels] -= 1 - label_smoothing
    dlogits /= N
    return float(loss), dlogits
