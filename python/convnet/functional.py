"""The operations: NumPy arrays in, new plain NumPy arrays out.

What users write is settled here and only here: dtypes, layouts, ints and pairs, the forms of padding. Each
function then makes one call to the backend in use (`convnet.backend`), which checks that the sizes fit.

All of them:

- compute in float32 or float64; the two mixed promote to float64. Any other dtype, and a masked array, is a
  TypeError that names the cast to make.
- take arrays of any strides, byte order and alignment, read-only ones and subclasses too.
- raise ValueError with the sizes where shapes and numbers do not fit together, before anything is computed.

``stride``, ``dilation`` and ``kernel_size`` are an int or a pair (h, w). ``padding`` is an int, (h, w),
((top, bottom), (left, right)), "valid" (none), "same" (= "same_upper": the output has ceil(input / stride)
rows and columns, an odd pixel of padding goes to the end) or "same_lower" (it goes to the beginning).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._core import Conv2dShape, Pool2dShape
from ._types import Array, Padding, Pair
from .backends import current
from .backends import im2col as unfolding

IntOrPair: TypeAlias = int | Sequence[int]
PaddingForm: TypeAlias = int | Sequence[int] | Sequence[Sequence[int]] | str
Activation: TypeAlias = Literal["relu"] | None
Layout: TypeAlias = Literal["NCHW", "NHWC"]
Needs: TypeAlias = tuple[bool, bool, bool]
Gradients: TypeAlias = tuple[Array | None, Array | None, Array | None]

ALGORITHMS = ("auto", "direct", "gemm", "winograd", "reference")

_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)
_INT64 = np.dtype(np.int64)
_ALL: Needs = (True, True, True)
_OPTIONAL = ("bias", "c")  # the operands that may be None
_MOST = 2**63 - 1  # what fits the core's integers


# --- convolution ----------------------------------------------------------------------------------


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: IntOrPair = 1,
    padding: PaddingForm = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    activation: Activation = None,
    algorithm: str = "auto",
    layout: Layout = "NCHW",
    out: Array | None = None,
) -> Array:
    """2-D convolution (cross-correlation: the kernel is not flipped), then `activation` where given.

    ``y[n, k, i, j] = bias[k] + Σ_{c,a,b} x[n, c, i·stride - top + a·dilation, j·stride - left + b·dilation] ·
    weight[k, c, a, b]``, with zeros outside x.

    Args:
        x: (N, C_in, H, W), or (N, H, W, C_in) with ``layout="NHWC"``.
        weight: (C_out, C_in/groups, kH, kW), or (kH, kW, C_in/groups, C_out) with ``layout="NHWC"``.
        bias: (C_out,) or None.
        activation: None or "relu".
        algorithm: "auto", "direct", "gemm", "winograd" or "reference", for the native backend; the others
            have one way to compute. One that cannot serve the shape is a ValueError.
        out: array to write y into: its shape and dtype, writable, C-contiguous, apart from the inputs.

    Returns:
        y (N, C_out, oH, oW), or (N, oH, oW, C_out) with ``layout="NHWC"``; `out` where it was given. Errors
        give sizes in NCHW.
    """
    x, weight, bias = _floats("conv2d", ("x", "weight", "bias"), x, weight, bias)
    relu = activation is not None and _is_relu("conv2d", activation)
    if algorithm != "auto":
        _check_algorithm("conv2d", algorithm)
    if layout != "NCHW":
        x, weight = _to_nchw("conv2d", layout, x), _to_oihw(weight)
    stride = pair("conv2d", "stride", stride)
    dilation = pair("conv2d", "dilation", dilation)
    groups = _groups("conv2d", groups)
    padding = _padding("conv2d", padding, x.shape, weight.shape[2:], stride, dilation)
    if out is None:
        y: Array = current().conv2d(x, weight, bias, stride, padding, dilation, groups, relu, algorithm, None)
        return y if layout == "NCHW" else _to_nhwc(y)

    shape = Conv2dShape(x.shape, weight.shape, stride, padding, dilation, groups)
    if layout == "NCHW":
        _check_out("conv2d", out, shape.y, x.dtype, x, weight, bias)
        current().conv2d(x, weight, bias, stride, padding, dilation, groups, relu, algorithm, out)
    else:
        N, C_out, oH, oW = shape.y
        _check_out("conv2d", out, (N, oH, oW, C_out), x.dtype, x, weight, bias)
        y = current().conv2d(x, weight, bias, stride, padding, dilation, groups, relu, algorithm, None)
        out[...] = y.transpose(0, 2, 3, 1)
    return out


def conv2d_backward(
    dy: Array,
    x: Array,
    weight: Array,
    stride: IntOrPair = 1,
    padding: PaddingForm = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    needs: Needs = _ALL,
    layout: Layout = "NCHW",
    algorithm: str = "auto",
) -> Gradients:
    """Gradients of `conv2d` for x, weight and bias, given dy, the gradient for y.

    Args:
        dy: the shape of y; x, weight and the rest as in `conv2d`.
        needs: which of (dx, dw, db) to compute.
        algorithm: of dx, as in `conv2d` ("reference" has no backward); "direct" keeps Winograd's rounding out.

    Returns:
        (dx, dw, db), like x, weight and (C_out,), in the same layout; None where not needed.
    """
    dy, x, weight = _floats("conv2d_backward", ("dy", "x", "weight"), dy, x, weight)
    if layout != "NCHW":
        dy = _to_nchw("conv2d_backward", layout, dy)
        x, weight = _to_nchw("conv2d_backward", layout, x), _to_oihw(weight)
    stride = pair("conv2d_backward", "stride", stride)
    dilation = pair("conv2d_backward", "dilation", dilation)
    groups = _groups("conv2d_backward", groups)
    padding = _padding("conv2d_backward", padding, x.shape, weight.shape[2:], stride, dilation)
    if needs is not _ALL:
        needs = _settled_needs("conv2d_backward", needs)
    if algorithm != "auto":
        _check_algorithm("conv2d_backward", algorithm)
    backward = current().conv2d_backward
    gradients: Gradients = backward(dy, x, weight, stride, padding, dilation, groups, needs, algorithm)
    if layout == "NCHW":
        return gradients
    dx, dw, db = gradients
    return (
        None if dx is None else _to_nhwc(dx),
        None if dw is None else np.ascontiguousarray(dw.transpose(2, 3, 1, 0)),
        db,
    )


def conv2d_shape(
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: IntOrPair = 1,
    padding: PaddingForm = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Conv2dShape:
    """The sizes and cost of a `conv2d` that is not computed: ``.y``, the output's shape, and ``.macs``."""
    stride = pair("conv2d", "stride", stride)
    dilation = pair("conv2d", "dilation", dilation)
    x_shape, weight_shape = tuple(x_shape), tuple(weight_shape)
    padding = _padding("conv2d", padding, x_shape, weight_shape[2:], stride, dilation)
    return Conv2dShape(x_shape, weight_shape, stride, padding, dilation, _groups("conv2d", groups))


class Conv2dPlan:
    """A `conv2d` with its weight and bias copied and packed once: ``plan(x, out=None) -> y``.

    Arguments are those of `conv2d`, layout NCHW; it always runs natively. "same" padding needs stride 1,
    where it does not depend on x. A float64 x for a float32 plan is a TypeError: the weights are packed.
    """

    __slots__ = ("_dtype", "_geometry", "_plan", "_weight_shape")

    def __init__(
        self,
        weight: Array,
        bias: Array | None = None,
        stride: IntOrPair = 1,
        padding: PaddingForm = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        *,
        activation: Activation = None,
        algorithm: str = "auto",
    ) -> None:
        op = "Conv2dPlan"
        weight, bias = _floats(op, ("weight", "bias"), weight, bias)
        relu = activation is not None and _is_relu(op, activation)
        _check_algorithm(op, algorithm)
        stride = pair(op, "stride", stride)
        dilation = pair(op, "dilation", dilation)
        groups = _groups(op, groups)
        kernel = weight.shape[2:]
        if isinstance(padding, str) and padding != "valid" and stride != (1, 1):
            raise ValueError(
                f"{op}: padding={padding!r} with stride {stride} depends on x; give it as numbers"
            )
        # With stride 1 "same" is the same for every x: a map as large as the kernel stands for them all.
        padding = _padding(op, padding, (1, 1, *kernel), kernel, stride, dilation)
        self._dtype = weight.dtype
        self._weight_shape = weight.shape
        self._geometry = (stride, padding, dilation, groups)
        self._plan = _core.Conv2dPlan(weight, bias, stride, padding, dilation, groups, relu, algorithm)

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """y (N, C_out, oH, oW) for x (N, C_in, H, W); written into `out` where given, as in `conv2d`."""
        (x,) = _floats("Conv2dPlan", ("x",), x)
        if x.dtype is not self._dtype:
            x = self._promoted(x)
        if out is not None:
            shape = Conv2dShape(x.shape, self._weight_shape, *self._geometry, "Conv2dPlan")
            _check_out("Conv2dPlan", out, shape.y, self._dtype, x)
        return self._plan(x, out)

    def _promoted(self, x: Array) -> Array:
        if np.result_type(x.dtype, self._dtype) != self._dtype:
            raise TypeError(
                f"Conv2dPlan: x is {x.dtype} but the plan holds {self._dtype} weights; "
                f"cast it with x.astype(np.{self._dtype})"
            )
        return x.astype(self._dtype)


def im2col(
    x: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair = 1,
    padding: PaddingForm = 0,
    dilation: IntOrPair = 1,
) -> Array:
    """The patches of x (N, C, H, W) as rows, (N·oH·oW, C·kH·kW), with zeros where a patch reaches outside."""
    (x,) = _floats("im2col", ("x",), x)
    shape = _patch_shape("im2col", x.shape, kernel_size, stride, padding, dilation)
    N, _, oH, oW = shape.y
    _, C, kH, kW = shape.weight
    patches = unfolding.unfold(x, shape).reshape(C * kH * kW, N * oH * oW)
    return np.ascontiguousarray(patches.T)


def col2im(
    columns: Array,
    input_shape: Sequence[int],
    kernel_size: IntOrPair,
    stride: IntOrPair = 1,
    padding: PaddingForm = 0,
    dilation: IntOrPair = 1,
) -> Array:
    """The exact adjoint of `im2col`: patches (N·oH·oW, C·kH·kW) added up into `input_shape` (N, C, H, W)."""
    (columns,) = _floats("col2im", ("columns",), columns)
    shape = _patch_shape("col2im", _shape("col2im", input_shape), kernel_size, stride, padding, dilation)
    N, _, oH, oW = shape.y
    _, C, kH, kW = shape.weight
    expected = (N * oH * oW, C * kH * kW)
    if columns.shape != expected:
        raise ValueError(
            f"col2im: columns must have shape (N·oH·oW, C·kH·kW) = {expected}, got {columns.shape}"
        )
    return unfolding.fold(np.ascontiguousarray(columns.T).reshape(C, kH, kW, N, oH, oW), shape)


# --- pooling --------------------------------------------------------------------------------------


@overload
def max_pool2d(
    x: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = ...,
    padding: PaddingForm = ...,
    dilation: IntOrPair = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = ...,
    *,
    layout: Layout = ...,
) -> Array: ...
@overload
def max_pool2d(
    x: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = ...,
    padding: PaddingForm = ...,
    dilation: IntOrPair = ...,
    ceil_mode: bool = ...,
    *,
    return_indices: Literal[True],
    layout: Layout = ...,
) -> tuple[Array, NDArray[np.int64]]: ...
def max_pool2d(
    x: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingForm = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: Layout = "NCHW",
) -> Array | tuple[Array, NDArray[np.int64]]:
    """The largest value of each window; NaN counts as the largest, padding never does.

    Args:
        x: (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``.
        stride: None means `kernel_size`.
        ceil_mode: also take a last, partial window, unless it starts in the padding at the end (PyTorch's
            rule).
        return_indices: also return where in its flat H·W plane each value came from; of equals, the first.

    Returns:
        y (N, C, oH, oW), and where asked indices of the same shape, int64; in the layout of x.
    """
    (x,) = _floats("max_pool2d", ("x",), x)
    if layout != "NCHW":
        x = _to_nchw("max_pool2d", layout, x)
    window = _window("max_pool2d", x.shape, kernel_size, stride, padding, dilation)
    if not return_indices:
        y: Array = current().max_pool2d(x, *window, bool(ceil_mode))
        return y if layout == "NCHW" else _to_nhwc(y)
    y, indices = current().max_pool2d_with_indices(x, *window, bool(ceil_mode))
    return (y, indices) if layout == "NCHW" else (_to_nhwc(y), _to_nhwc(indices))


def max_pool2d_backward(
    dy: Array,
    indices: Array,
    input_shape: Sequence[int],
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingForm = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> Array:
    """Gradient of `max_pool2d` for x: each dy is added where `indices` says its maximum came from.

    Args:
        dy, indices: (N, C, oH, oW); every index is checked to lie in its H·W plane.
        input_shape: (N, C, H, W), the shape of x.

    Returns:
        dx (N, C, H, W).
    """
    (dy,) = _floats("max_pool2d_backward", ("dy",), dy)
    indices = _integers("max_pool2d_backward", "indices", indices)
    shape = _shape("max_pool2d_backward", input_shape)
    window = _window("max_pool2d_backward", shape, kernel_size, stride, padding, dilation)
    dx: Array = current().max_pool2d_backward(dy, indices, shape, *window, bool(ceil_mode))
    return dx


def avg_pool2d(
    x: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingForm = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    dilation: IntOrPair = 1,
    layout: Layout = "NCHW",
) -> Array:
    """The mean of each window.

    Args:
        x: (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``.
        stride, ceil_mode: as in `max_pool2d`.
        count_include_pad: divide by all pixels of the window inside the padded input, else by the real ones.

    Returns:
        y (N, C, oH, oW), in the layout of x.
    """
    (x,) = _floats("avg_pool2d", ("x",), x)
    if layout != "NCHW":
        x = _to_nchw("avg_pool2d", layout, x)
    window = _window("avg_pool2d", x.shape, kernel_size, stride, padding, dilation)
    y: Array = current().avg_pool2d(x, *window, bool(ceil_mode), bool(count_include_pad))
    return y if layout == "NCHW" else _to_nhwc(y)


def avg_pool2d_backward(
    dy: Array,
    input_shape: Sequence[int],
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingForm = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    dilation: IntOrPair = 1,
) -> Array:
    """Gradient of `avg_pool2d` for x: each dy (N, C, oH, oW) is shared equally by its window.

    Args:
        input_shape: (N, C, H, W), the shape of x.

    Returns:
        dx (N, C, H, W).
    """
    (dy,) = _floats("avg_pool2d_backward", ("dy",), dy)
    shape = _shape("avg_pool2d_backward", input_shape)
    window = _window("avg_pool2d_backward", shape, kernel_size, stride, padding, dilation)
    dx: Array = current().avg_pool2d_backward(dy, shape, *window, bool(ceil_mode), bool(count_include_pad))
    return dx


def pool2d_shape(
    op: str,
    x_shape: Sequence[int],
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingForm = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> Pool2dShape:
    """The sizes of a pooling that is not computed; `op` names it in errors."""
    shape = _shape(op, x_shape)
    window = _window(op, shape, kernel_size, stride, padding, dilation)
    return Pool2dShape(shape, *window, bool(ceil_mode), op)


# --- matrix products ------------------------------------------------------------------------------


def gemm(
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    trans_a: bool = False,
    trans_b: bool = False,
) -> Array:
    """``alpha·op(a)·op(b) + beta·c``, where op transposes if asked: (M, K) times (K, N) -> (M, N).

    c is (M, N) or None and is not written to; with ``beta=0`` it is not read either.
    """
    a, b, c = _floats("gemm", ("a", "b", "c"), a, b, c)
    y: Array = current().gemm(a, b, c, float(alpha), float(beta), bool(trans_a), bool(trans_b))
    return y


def dense(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    activation: Activation = None,
) -> Array:
    """``x @ weight + bias``, then `activation`: x (..., in), weight (in, out), bias (out,) -> (..., out)."""
    x, weight, bias = _floats("dense", ("x", "weight", "bias"), x, weight, bias)
    relu = activation is not None and _is_relu("dense", activation)
    if x.ndim == 2:
        y: Array = current().dense(x, weight, bias, relu)
        return y
    y = current().dense(_as_rows(x), weight, bias, relu)
    return y.reshape(*x.shape[:-1], y.shape[1])


def dense_backward(dy: Array, x: Array, weight: Array, *, needs: Needs = _ALL) -> Gradients:
    """Gradients of `dense`, given dy (..., out) for its output.

    Returns:
        (dx (..., in), dw (in, out), db (out,)), None where not needed.
    """
    dy, x, weight = _floats("dense_backward", ("dy", "x", "weight"), dy, x, weight)
    if needs is not _ALL:
        needs = _settled_needs("dense_backward", needs)
    gradients: Gradients
    if x.ndim == dy.ndim == 2:
        gradients = current().dense_backward(dy, x, weight, needs)
        return gradients
    if dy.shape[:-1] != x.shape[:-1]:
        raise ValueError(f"dense_backward: dy {dy.shape} and x {x.shape} differ before the last axis")
    gradients = current().dense_backward(_as_rows(dy), _as_rows(x), weight, needs)
    dx, dw, db = gradients
    return None if dx is None else dx.reshape(x.shape), dw, db


# --- activations and losses -----------------------------------------------------------------------


def relu(x: Array) -> Array:
    """``max(x, 0)`` elementwise, any shape; NaN stays NaN."""
    (x,) = _floats("relu", ("x",), x)
    y: Array = current().relu(x)
    return y


def relu_backward(dy: Array, x: Array) -> Array:
    """Gradient of `relu` at its input x: dy where x > 0 or x is NaN, 0 elsewhere; both of one shape."""
    dy, x = _floats("relu_backward", ("dy", "x"), dy, x)
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
    (logits,) = _floats("softmax_cross_entropy", ("logits",), logits)
    labels = _integers("softmax_cross_entropy", "labels", labels)
    result: tuple[float, Array] = current().softmax_cross_entropy(logits, labels)
    return result


# --- what users write, settled --------------------------------------------------------------------


def _floats(op: str, names: tuple[str, ...], *arrays: Any) -> Any:
    # The arrays as plain ndarrays of one dtype, float32 or float64. First the fast path: all are so already.
    dtype = getattr(arrays[0], "dtype", None)
    if dtype is _FLOAT32 or dtype is _FLOAT64:
        for name, array in zip(names, arrays, strict=True):
            if array is None and name in _OPTIONAL:
                continue
            if type(array) is not np.ndarray or array.dtype is not dtype:
                break
        else:
            return arrays
    plain = [
        None if array is None and name in _OPTIONAL else _plain_float(op, name, array)
        for name, array in zip(names, arrays, strict=True)
    ]
    # result_type of dtypes is in native byte order.
    common = np.result_type(*(array.dtype for array in plain if array is not None))
    return [None if array is None else array.astype(common, copy=False) for array in plain]


def _plain_float(op: str, name: str, array: Any) -> Array:
    plain = _plain(op, name, array)
    if plain.dtype.kind != "f" or plain.dtype.itemsize not in (4, 8):
        raise TypeError(
            f"{op}: {name} must be float32 or float64, not {plain.dtype}; "
            f"cast it with {name}.astype(np.float32) or {name}.astype(np.float64)"
        )
    return plain


def _integers(op: str, name: str, array: Any) -> NDArray[np.int64]:
    if type(array) is np.ndarray and array.dtype is _INT64:
        return array
    plain = _plain(op, name, array)
    if plain.dtype.kind not in "iu":
        raise TypeError(
            f"{op}: {name} must be integers, not {plain.dtype}; cast them with {name}.astype(np.int64)"
        )
    return plain.astype(_INT64, copy=False)


def _plain(op: str, name: str, array: Any) -> Array:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"{op}: {name} is a masked array, whose mask would be lost; fill it with {name}.filled(0)"
        )
    return np.asarray(array)


def pair(op: str, name: str, value: Any) -> Pair:
    """An int or a pair (h, w), as a pair."""
    if type(value) is int and -_MOST <= value <= _MOST:
        return value, value
    each = value if isinstance(value, tuple | list) or np.ndim(value) else (value, value)
    both = _ints(op, name, each, "an int or a pair (h, w) of ints")
    if len(both) != 2:
        raise ValueError(f"{op}: {name} must be an int or a pair (h, w), not {value!r}")
    return both[0], both[1]


def _groups(op: str, groups: Any) -> int:
    if type(groups) is int and -_MOST <= groups <= _MOST:
        return groups
    (count,) = _ints(op, "groups", (groups,), "an int")
    return count


def _shape(op: str, shape: Any) -> tuple[int, ...]:
    return _ints(op, "input_shape", shape, "a sequence of ints")


def _ints(op: str, name: str, values: Any, expected: str) -> tuple[int, ...]:
    try:
        ints = tuple(map(index, values))
    except TypeError:
        raise TypeError(f"{op}: {name} must be {expected}, not {values!r}") from None
    if any(abs(value) > _MOST for value in ints):
        raise ValueError(f"{op}: {name} is too large: {values!r}")
    return ints


def _padding(
    op: str, padding: Any, x_shape: Sequence[int], kernel: Sequence[int], stride: Pair, dilation: Pair
) -> Padding:
    # The forms of padding as (top, bottom, left, right).
    if type(padding) is int and -_MOST <= padding <= _MOST:
        return padding, padding, padding, padding
    if isinstance(padding, str):
        return _named_padding(op, padding, x_shape, kernel, stride, dilation)
    try:
        vertical, horizontal = padding
    except TypeError:  # not a sequence: an integer of another type, or an error that pair words
        top, left = pair(op, "padding", padding)
        return top, top, left, left
    except ValueError:
        raise ValueError(
            f"{op}: padding must be an int, (h, w) or ((top, bottom), (left, right)), not {padding!r}"
        ) from None
    return (*pair(op, "padding", vertical), *pair(op, "padding", horizontal))


def _named_padding(
    op: str, name: str, x_shape: Sequence[int], kernel: Sequence[int], stride: Pair, dilation: Pair
) -> Padding:
    if name not in ("valid", "same", "same_upper", "same_lower"):
        raise ValueError(
            f"{op}: padding must be numbers, 'valid', 'same', 'same_upper' or 'same_lower', not {name!r}"
        )
    if name == "valid" or len(x_shape) != 4 or len(kernel) != 2 or min(stride) < 1:
        return 0, 0, 0, 0  # whatever does not fit here, the check of the sizes reports
    ends: list[int] = []
    for size, k, s, d in zip(x_shape[2:], kernel, stride, dilation, strict=True):
        total = max(((size + s - 1) // s - 1) * s + (k - 1) * d + 1 - size, 0)
        less, more = total // 2, total - total // 2
        ends += (more, less) if name == "same_lower" else (less, more)
    return ends[0], ends[1], ends[2], ends[3]


def _window(
    op: str, x_shape: Sequence[int], kernel_size: Any, stride: Any, padding: Any, dilation: Any
) -> tuple[Pair, Pair, Padding, Pair]:
    # A pool's kernel, stride, padding and dilation.
    kernel = pair(op, "kernel_size", kernel_size)
    step = kernel if stride is None else pair(op, "stride", stride)
    spread = pair(op, "dilation", dilation)
    return kernel, step, _padding(op, padding, x_shape, kernel, step, spread), spread


def _patch_shape(
    op: str, x_shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any
) -> Conv2dShape:
    # im2col as the convolution whose patches it lays out, with one output channel.
    kernel, step, ends, spread = _window(op, x_shape, kernel_size, stride, padding, dilation)
    channels = x_shape[1] if len(x_shape) > 1 else 1
    return Conv2dShape(x_shape, (1, channels, *kernel), step, ends, spread, 1, op)


def _settled_needs(op: str, needs: Sequence[bool]) -> Needs:
    if len(needs) != 3:
        raise ValueError(f"{op}: needs must be three flags, for (dx, dw, db), not {needs!r}")
    return bool(needs[0]), bool(needs[1]), bool(needs[2])


def _is_relu(op: str, activation: object) -> bool:
    if activation != "relu":
        raise ValueError(f"{op}: activation must be None or 'relu', not {activation!r}")
    return True


def _check_algorithm(op: str, algorithm: str) -> None:
    if algorithm not in ALGORITHMS:
        raise ValueError(f"{op}: algorithm must be one of {', '.join(ALGORITHMS)}, not {algorithm!r}")


def _check_out(
    op: str, out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], *inputs: Array | None
) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{op}: out must be a NumPy array, not {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"{op}: out must be {dtype} of shape {shape}, got {out.dtype} of shape {out.shape}")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise ValueError(f"{op}: out must be writable, aligned and C-contiguous")
    if any(array is not None and np.may_share_memory(out, array) for array in inputs):
        raise ValueError(f"{op}: out overlaps an input")


def _as_rows(x: Array) -> Array:
    # (..., features) -> (rows, features); spelled out because -1 cannot be inferred for empty arrays.
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) if x.ndim else x


def _to_nchw(op: str, layout: str, x: Array) -> Array:
    if layout != "NHWC":
        raise ValueError(f"{op}: layout must be 'NCHW' or 'NHWC', not {layout!r}")
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x  # the check of the sizes reports a wrong rank


def _to_oihw(weight: Array) -> Array:
    return weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight


def _to_nhwc(y: Array) -> Array:
    return np.ascontiguousarray(y.transpose(0, 2, 3, 1))
