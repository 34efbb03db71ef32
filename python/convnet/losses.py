"""Losses: a number to make small, and its gradient for what the model put out."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._types import Array
from .functional import softmax_cross_entropy

__all__ = ["mean_squared_error", "softmax_cross_entropy"]


def mean_squared_error(prediction: Array, target: ArrayLike) -> tuple[float, Array]:
    """The mean over all elements of ``(prediction - target)²``, and its gradient for `prediction`.

    Args:
        prediction: any shape, float32 or float64.
        target: the same shape; computed in the dtype of `prediction`.

    Raises ValueError where the shapes differ; the loss of an empty prediction is 0.
    """
    target = np.asarray(target, prediction.dtype)
    if target.shape != prediction.shape:
        raise ValueError(f"mean_squared_error: target must have shape {prediction.shape}, got {target.shape}")
    difference = prediction - target
    count = max(difference.size, 1)
    return float(np.sum(difference * difference, dtype=np.float64)) / count, difference * (2 / count)
