"""Normalisation layers, and dropout."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from .. import functional as F
from .._types import Array, Seed
from .base import Layer, write


class BatchNorm2d(Layer):
    """Batch normalisation of (N, C, ...) by channel; see `convnet.batch_norm`.

    In training it takes the batch's mean and variance, and keeps running ones, which it takes otherwise:
    ``running += momentum·(batch - running)``, with the unbiased variance, as PyTorch has it.

    Parameters: gamma (C,), one; beta (C,), zero. State: mean (C,), zero; var (C,), one. An empty batch leaves
    the state alone.
    """

    def __init__(
        self, channels: int, eps: float = 1e-5, momentum: float = 0.1, *, dtype: DTypeLike = np.float32
    ) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps
        self.momentum = momentum
        self.params["gamma"] = np.ones(channels, dtype)
        self.params["beta"] = np.zeros(channels, dtype)
        self.state["mean"] = np.zeros(channels, dtype)
        self.state["var"] = np.ones(channels, dtype)

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x = x
        gamma, beta = self.params["gamma"], self.params["beta"]
        if not training:
            # As they are now: a later forward in training changes the state's arrays in place.
            self._statistics: tuple[Array, ...] = (self.state["mean"].copy(), self.state["var"].copy())
            return F.batch_norm(x, gamma, beta, *self._statistics, eps=self.eps)
        self._statistics = ()
        y, mean, var = F.batch_norm(x, gamma, beta, eps=self.eps)
        count = x.size // max(len(mean), 1)
        if count:
            unbiased = var * (count / max(count - 1, 1))
            for running, batch in ((self.state["mean"], mean), (self.state["var"], unbiased)):
                running += self.momentum * (batch - running)
        return y

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        dx, dgamma, dbeta = F.batch_norm_backward(
            dy, self._x, self.params["gamma"], *self._statistics, eps=self.eps
        )
        write(self.grads, gamma=dgamma, beta=dbeta)
        return dx if input_grad else None


class LocalResponseNorm(Layer):
    """Normalisation by neighbouring channels, (N, C, ...); see `convnet.local_response_norm`."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x = x
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        if not input_grad:
            return None
        return F.local_response_norm_backward(dy, self._x, self.size, self.alpha, self.beta, self.k)


class Dropout(Layer):
    """In training drops each value with probability p and scales the rest by 1 / (1 - p); else does nothing.

    `rng` is a seed or a generator for the choices; None for fresh ones.
    """

    def __init__(self, p: float = 0.5, *, rng: Seed = None) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be in [0, 1], got {p}")
        self.p = p
        self._rng = np.random.default_rng(rng)

    def forward(self, x: Array, training: bool = False) -> Array:
        self._mask: Array | None = None
        if not training:
            return x
        y, self._mask = F.dropout(x, self.p, self._rng)
        return y

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        if not input_grad:
            return None
        return dy if self._mask is None else F.dropout_backward(dy, self._mask)
