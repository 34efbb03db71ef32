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
    operands.relu_backward(dy, x)
    dx = np.zeros(x.shape, x.dtype)
    np.copyto(dx, dy, where=~(x <= 0))
    return dx


@ieee
def softmax_cross_entropy(logits: Array, labels: NDArray[np.int64]) -> tuple[float, Array]:
    # logits (N, classes), labels (N,) -> mean of -log softmax(logits)[label], and its gradient (N, classes)
    operands.softmax_cross_entropy(logits, labels)
    N = len(labels)
    if N == 0:
        return 0.0, np.zeros(logits.shape, logits.dtype)
    rows = np.arange(N)
    shifted = logits - logits.max(axis=1, keepdims=True)  # changes nothing and keeps exp from overflowing
    exps = np.exp(shifted)
    totals = exps.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(totals[:, 0]) - shifted[rows, labels], dtype=np.float64)
    dlogits = exps / totals
    dlogits[rows, labels] -= 1
    dlogits /= N
    return float(loss), dlogits
