"""Activation layers: elementwise, or along one axis."""

from __future__ import annotations

from .. import functional as F
from .._types import Array
from .base import Layer


class ReLU(Layer):
    """max(x, 0), elementwise on any shape."""

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x = x
        return F.relu(x)

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        return F.relu_backward(dy, self._x) if input_grad else None


class LeakyReLU(Layer):
    """x where x > 0, slope·x elsewhere; slope at least 0."""

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Array, training: bool = False) -> Array:
        self._y = F.leaky_relu(x, self.slope)
        return self._y

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        return F.leaky_relu_backward(dy, self._y, self.slope) if input_grad else None


class Sigmoid(Layer):
    """1 / (1 + e^-x), elementwise on any shape."""

    def forward(self, x: Array, training: bool = False) -> Array:
        self._y = F.sigmoid(x)
        return self._y

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        return F.sigmoid_backward(dy, self._y) if input_grad else None


class Tanh(Layer):
    """Hyperbolic tangent, elementwise on any shape."""

    def forward(self, x: Array, training: bool = False) -> Array:
        self._y = F.tanh(x)
        return self._y

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        return F.tanh_backward(dy, self._y) if input_grad else None


class Softmax(Layer):
    """e^x / Σ e^x along `axis`. To train a classifier leave it out: its loss takes what comes before it."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Array, training: bool = False) -> Array:
        self._y = F.softmax(x, self.axis)
        return self._y

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        return F.softmax_backward(dy, self._y, self.axis) if input_grad else None
