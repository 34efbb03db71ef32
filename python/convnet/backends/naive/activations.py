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
    operands.relu_backward(dy, x)
    dx = np.zeros(x.shape, x.dtype)
    for at in np.ndindex(x.shape):
        if not x[at] <= 0:
            dx[at] = dy[at]
    return dx


@ieee
def softmax_cross_entropy(logits: Array, labels: NDArray[np.int64]) -> tuple[float, Array]:
    # logits (N, classes), labels (N,) -> mean of -log softmax(logits)[label], and its gradient (N, classes)
    operands.softmax_cross_entropy(logits, labels)
    N = len(labels)
    loss = 0.0
    dlogits = np.empty(logits.shape, logits.dtype)
    for n, label in enumerate(labels):
        exps = np.exp(
            logits[n] - np.max(logits[n])
        )  # the shift changes nothing and keeps exp from overflowing
        total = np.sum(exps)
        loss += math.log(total) - float(logits[n, label] - np.max(logits[n]))
        for k in range(logits.shape[1]):
            dlogits[n, k] = (exps[k] / total - (k == label)) / N
    return loss / N if N else 0.0, dlogits
