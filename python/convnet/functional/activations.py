"""Activations, and the loss of a classifier."""

from __future__ import annotations

from .._types import Array
from ..backends import current
from . import arguments


def relu(x: Array) -> Array:
    """``max(x, 0)`` elementwise, any shape; NaN stays NaN."""
    (x,) = arguments.floats("relu", ("x",), x)
    y: Array = current().relu(x)
    return y


def relu_backward(dy: Array, x: Array) -> Array:
    """Gradient of `relu` at its input x: dy where x > 0 or x is NaN, 0 elsewhere; both of one shape."""
    dy, x = arguments.floats("relu_backward", ("dy", "x"), dy, x)
    dx: Array = current().relu_backward(dy, x)
    return dx


def softmax_cross_entropy(logits: Array, labels: Array) -> tuple[float, Array]:
    """The batch's mean of ``-log softmax(logits)[label]``, and its gradient, ``(softmax - onehot) / N``.

    Args:
        logits: (N, classes).
        labels: (N,) class numbers, any integer dtype, each in [0, classes).

    Returns:
        (loss, dlogits (N, classes)); the loss of an empty batch is 0.
    """
    (logits,) = arguments.floats("softmax_cross_entropy", ("logits",), logits)
    labels = arguments.integers("softmax_cross_entropy", "labels", labels)
    result: tuple[float, Array] = current().softmax_cross_entropy(logits, labels)
    return result
