"""The fully connected layer, and the one that leads to it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from .. import functional as F
from .._types import Array, Seed
from ..initializers import Initializer, he_normal
from .base import Layer, Shape, write


class Dense(Layer):
    """Fully connected: x @ weight + bias, (..., in_features) -> (..., out_features).

    Parameters: weight (in, out), from `init`; bias (out,), zero, where ``bias=True``.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: Seed = None,
        init: Initializer = he_normal,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.bias = bias
        self.params["weight"] = init((in_features, out_features), rng, dtype)
        if bias:
            self.params["bias"] = np.zeros(out_features, dtype)

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x = x
        return F.dense(x, self.params["weight"], self.params.get("bias"))

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        needs = (input_grad, True, "bias" in self.params)
        dx, dw, db = F.dense_backward(dy, self._x, self.params["weight"], needs=needs)
        write(self.grads, weight=dw, bias=db)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        if input_shape[-1:] != (self.in_features,):
            raise ValueError(f"Dense: expected (..., {self.in_features}), got {input_shape}")
        return (*input_shape[:-1], self.out_features)

    def macs(self, input_shape: Shape) -> int:
        return self.in_features * math.prod(self.output_shape(input_shape))


class Flatten(Layer):
    """(N, ...) -> (N, features): a view where x is contiguous."""

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x_shape = x.shape
        return x.reshape(self.output_shape(x.shape))

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        return dy.reshape(self._x_shape) if input_grad else None

    def output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], math.prod(input_shape[1:]))

    def activations(self, input_shape: Shape) -> int:
        return 0
