"""Activations, and the loss of a classifier."""

from __future__ import annotations

import numpy as np

from .._types import Array
from ..backends import current
from . import arguments


def relu(x: Array) -> Array:
    """``max(x, 0)`` elementwise, any shape; NaN stays NaN.

    >>> convnet.relu(np.array([-1.0, 2.0, np.nan])).tolist()
    [0.0, 2.0, nan]
    """
    (x,) = arguments.floats("relu", ("x",), x)
    y: Array = current().relu(x)
    return y


def relu_backward(dy: Array, x: Array) -> Array:
    """Gradient of `relu` at its input x: dy where x > 0 or x is NaN, 0 elsewhere; both of one shape.

    >>> convnet.relu_backward(np.array([5.0, 5.0]), np.array([-1.0, 2.0])).tolist()
    [0.0, 5.0]
    """
    dy, x = arguments.floats("relu_backward", ("dy", "x"), dy, x)
    dx: Array = current().relu_backward(dy, x)
    return dx


def leaky_relu(x: Array, slope: float = 0.01) -> Array:
    """x where x > 0, ``slope·x`` elsewhere, any shape; NaN stays NaN.

    Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models" (2013).

    >>> convnet.leaky_relu(np.array([-4.0, 2.0]), 0.25).tolist()
    [-1.0, 2.0]
    """
    (x,) = arguments.floats("leaky_relu", ("x",), x)
    y: Array = current().leaky_relu(x, arguments.real("leaky_relu", "slope", slope))
    return y


def leaky_relu_backward(dy: Array, y: Array, slope: float = 0.01) -> Array:
    """Gradient of `leaky_relu` from its output y: dy where y > 0 or y is NaN, ``slope·dy`` elsewhere.

    Both of one shape. `slope` must be at least 0: with a negative one y does not tell where x was positive.

    >>> convnet.leaky_relu_backward(np.ones(2), np.array([-1.0, 2.0]), 0.25).tolist()
    [0.25, 1.0]
    """
    op = "leaky_relu_backward"
    dy, y = arguments.floats(op, ("dy", "y"), dy, y)
    dx: Array = current().leaky_relu_backward(dy, y, arguments.real(op, "slope", slope, least=0))
    return dx


def sigmoid(x: Array) -> Array:
    """``1 / (1 + e^-x)`` elementwise, any shape; overflows nowhere.

    >>> convnet.sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    (x,) = arguments.floats("sigmoid", ("x",), x)
    y: Array = current().sigmoid(x)
    return y


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """Gradient of `sigmoid` from its output y: ``dy·y·(1 - y)``; both of one shape.

    >>> convnet.sigmoid_backward(np.array([4.0]), np.array([0.5])).tolist()
    [1.0]
    """
    dy, y = arguments.floats("sigmoid_backward", ("dy", "y"), dy, y)
    dx: Array = current().sigmoid_backward(dy, y)
    return dx


def tanh(x: Array) -> Array:
    """The hyperbolic tangent elementwise, any shape.

    >>> convnet.tanh(np.array([-1000.0, 0.0])).tolist()
    [-1.0, 0.0]
    """
    (x,) = arguments.floats("tanh", ("x",), x)
    y: Array = current().tanh(x)
    return y


def tanh_backward(dy: Array, y: Array) -> Array:
    """Gradient of `tanh` from its output y: ``dy·(1 - y²)``; both of one shape.

    >>> convnet.tanh_backward(np.array([4.0]), np.array([0.5])).tolist()
    [3.0]
    """
    dy, y = arguments.floats("tanh_backward", ("dy", "y"), dy, y)
    dx: Array = current().tanh_backward(dy, y)
    return dx


def softmax(x: Array, axis: int = -1) -> Array:
    """``e^x / Σ e^x``, the sum along `axis`: positive, and adding up to 1.

    Each row is shifted by its largest value first, so nothing overflows; a row with a NaN or +Inf is NaN
    throughout. Any shape of at least one axis; an axis that x does not have is a ValueError.

    >>> convnet.softmax(np.array([[1.0, 1.0], [1000.0, -1000.0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    return _along("softmax", axis, ("x",), x)


def softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """Gradient of `softmax` from its output y: ``y·(dy - Σ dy·y)``, summed along `axis`.

    >>> convnet.softmax_backward(np.array([1.0, 0.0]), np.array([0.5, 0.5])).tolist()
    [0.25, -0.25]
    """
    return _along("softmax_backward", axis, ("dy", "y"), dy, y)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """``x - log Σ e^x``, the sum along `axis`: the logarithm of `softmax`, without its rounding to zero.

    >>> convnet.log_softmax(np.array([1000.0, 0.0])).tolist()
    [0.0, -1000.0]
    """
    return _along("log_softmax", axis, ("x",), x)


def log_softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """Gradient of `log_softmax` from its output y: ``dy - e^y·Σ dy``, along `axis`; both of one shape.

    >>> convnet.log_softmax_backward(np.array([1.0, 0.0]), np.log([0.5, 0.5])).round(9).tolist()
    [0.5, -0.5]
    """
    return _along("log_softmax_backward", axis, ("dy", "y"), dy, y)


def _along(op: str, axis: int, names: tuple[str, ...], *arrays: Array) -> Array:
    # The backends work on the rows of matrices: `axis` goes last, and comes back.
    arrays = arguments.floats(op, names, *arrays)
    shape = arrays[-1].shape
    place = arguments.integer(op, "axis", axis)
    if not -len(shape) <= place < len(shape):
        raise ValueError(f"{op}: {names[-1]} of shape {shape} has no axis {axis}")
    if arrays[0].shape != shape:
        raise ValueError(f"{op}: dy must have shape {shape}, got {arrays[0].shape}")
    moved = [np.moveaxis(array, place, -1) for array in arrays]
    rows: Array = getattr(current(), op)(*map(arguments.as_rows, moved))
    result = np.moveaxis(rows.reshape(moved[0].shape), -1, place)
    return np.ascontiguousarray(result)


def softmax_cross_entropy(
    logits: Array, labels: Array, *, label_smoothing: float = 0.0
) -> tuple[float, Array]:
    """The batch's mean of ``-Σ target·log softmax(logits)``, and its gradient, ``(softmax - target) / N``.

    A target is 1 at the row's label and 0 elsewhere; with ``label_smoothing`` ε it is that times (1 - ε),
    plus ε / classes everywhere: Szegedy et al., "Rethinking the Inception architecture" (2016), section 7.

    Args:
        logits: (N, classes).
        labels: (N,) class numbers, any integer dtype, each in [0, classes).
        label_smoothing: in [0, 1].

    Returns:
        (loss, dlogits (N, classes)); the loss of an empty batch is 0.

    >>> loss, dlogits = convnet.softmax_cross_entropy(np.zeros((1, 2)), np.array([0]))
    >>> round(loss, 6), dlogits.tolist()
    (0.693147, [[-0.5, 0.5]])
    """
    op = "softmax_cross_entropy"
    (logits,) = arguments.floats(op, ("logits",), logits)
    labels = arguments.integers(op, "labels", labels)
    smoothing = arguments.real(op, "label_smoothing", label_smoothing, 0, 1)
    result: tuple[float, Array] = current().softmax_cross_entropy(logits, labels, smoothing)
    return result
