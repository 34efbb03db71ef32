"""Convolution, its gradients and plans, and the patches it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import _core
from .._core import Conv2dShape
from .._types import Array, Padding, Pair
from ..backends import current, native
from ..backends.im2col import convolution as unfolding
from . import arguments
from .arguments import ALGORITHMS, ALL, Activation, Gradients, IntOrPair, Layout, Needs, PaddingForm


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
            have one way to compute. One that cannot serve the shape is a ValueError. "winograd" takes
            float32, dilation 1 and kernels of more than twice the stride; "auto" may choose it, with
            dilation too, where "direct" would round less.
        out: array to write y into: its shape and dtype, writable, C-contiguous, apart from the inputs.

    Returns:
        y (N, C_out, oH, oW), or (N, oH, oW, C_out) with ``layout="NHWC"``; `out` where it was given. Errors
        give sizes in NCHW.

    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> convnet.conv2d(x, np.ones((1, 1, 2, 2))).tolist()
    [[[[8.0, 12.0], [20.0, 24.0]]]]
    """
    x, weight, bias = arguments.floats("conv2d", ("x", "weight", "bias"), x, weight, bias)
    relu = activation is not None and arguments.is_relu("conv2d", activation)
    algorithm = arguments.one_of("conv2d", "algorithm", algorithm, ALGORITHMS)
    nhwc = arguments.is_nhwc("conv2d", layout)
    stride = arguments.pair("conv2d", "stride", stride)
    dilation = arguments.pair("conv2d", "dilation", dilation)
    groups = arguments.integer("conv2d", "groups", groups)
    # Of the sizes in NCHW; the native backend reads and writes either layout, the others get views in NCHW.
    x_nchw, weight_oihw = (arguments.as_nchw(x), arguments.as_oihw(weight)) if nhwc else (x, weight)
    padding = arguments.padding_ends("conv2d", padding, x_nchw.shape, weight_oihw.shape[2:], stride, dilation)
    if out is not None:
        y_shape = Conv2dShape(x_nchw.shape, weight_oihw.shape, stride, padding, dilation, groups).y
        out_shape = (y_shape[0], *y_shape[2:], y_shape[1]) if nhwc else y_shape
        arguments.check_out("conv2d", out, out_shape, x.dtype, x, weight, bias)
    settled = (bias, stride, padding, dilation, groups, relu, algorithm)
    y: Array
    if not nhwc:
        y = current().conv2d(x, weight, *settled, out)
    elif current() is native:
        y = native.conv2d(x, weight, *settled, out, True)
    else:
        y = arguments.to_nhwc(current().conv2d(x_nchw, weight_oihw, *settled, None))
        if out is not None:
            out[...] = y
    return y if out is None else out


def conv2d_backward(
    dy: Array,
    x: Array,
    weight: Array,
    stride: IntOrPair = 1,
    padding: PaddingForm = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    needs: Needs = ALL,
    layout: Layout = "NCHW",
    algorithm: str = "auto",
) -> Gradients:
    """Gradients of `conv2d` for x, weight and bias, given dy, the gradient for y.

    Args:
        dy: the shape of y; x, weight and the rest as in `conv2d`.
        needs: which of (dx, dw, db) to compute.
        algorithm: of dx and dw, as in `conv2d` ("reference" has no backward); "direct" avoids Winograd's
            rounding.

    Returns:
        (dx, dw, db), like x, weight and (C_out,), in the same layout; None where not needed.

    >>> x, weight, dy = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2))
    >>> dx, dw, db = convnet.conv2d_backward(dy, x, weight)
    >>> dx.tolist()
    [[[[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]]]
    >>> dw.tolist(), db.tolist()
    ([[[[4.0, 4.0], [4.0, 4.0]]]], [4.0])
    """
    dy, x, weight = arguments.floats("conv2d_backward", ("dy", "x", "weight"), dy, x, weight)
    algorithm = arguments.one_of("conv2d_backward", "algorithm", algorithm, ALGORITHMS)
    nhwc = arguments.is_nhwc("conv2d_backward", layout)
    stride = arguments.pair("conv2d_backward", "stride", stride)
    dilation = arguments.pair("conv2d_backward", "dilation", dilation)
    groups = arguments.integer("conv2d_backward", "groups", groups)
    if needs is not ALL:
        needs = arguments.needed("conv2d_backward", needs)
    x_nchw, weight_oihw = (arguments.as_nchw(x), arguments.as_oihw(weight)) if nhwc else (x, weight)
    padding = arguments.padding_ends(
        "conv2d_backward", padding, x_nchw.shape, weight_oihw.shape[2:], stride, dilation
    )
    settled = (stride, padding, dilation, groups, needs, algorithm)
    gradients: Gradients
    if not nhwc or current() is native:
        gradients = current().conv2d_backward(dy, x, weight, *settled, *((True,) if nhwc else ()))
        return gradients
    dx, dw, db = current().conv2d_backward(arguments.as_nchw(dy), x_nchw, weight_oihw, *settled)
    return (
        None if dx is None else arguments.to_nhwc(dx),
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
    stride = arguments.pair("conv2d", "stride", stride)
    dilation = arguments.pair("conv2d", "dilation", dilation)
    x_shape = arguments.shape("conv2d", "x_shape", x_shape)
    weight_shape = arguments.shape("conv2d", "weight_shape", weight_shape)
    padding = arguments.padding_ends("conv2d", padding, x_shape, weight_shape[2:], stride, dilation)
    return Conv2dShape(
        x_shape, weight_shape, stride, padding, dilation, arguments.integer("conv2d", "groups", groups)
    )


@dataclass(frozen=True, slots=True)
class Conv2dExplanation:
    """How a native `conv2d` is computed, and what it takes beside x, weight and y."""

    algorithm: str  # "direct", "gemm", "winograd", "depthwise" or "reference"
    isa: str
    tile: tuple[int, int]  # rows and columns of the largest register tile
    packed_weights: int  # bytes
    workspace: int  # bytes, of all threads together
    macs: int  # multiply-adds of the definition, padding counted


def explain_conv2d(
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: IntOrPair = 1,
    padding: PaddingForm = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    dtype: DTypeLike = np.float32,
    algorithm: str = "auto",
) -> Conv2dExplanation:
    """How the native backend would compute a `conv2d`, on this machine with this many threads.

    A tile's rows are output channels and its columns positions for "direct", the other way round for "gemm",
    4x4 blocks of outputs and output channels for "winograd", rows and columns of outputs for "depthwise".

    Args:
        x_shape: (N, C_in, H, W).
        weight_shape: (C_out, C_in/groups, kH, kW).
        dtype: of x, float32 or float64; TypeError for others.

    The rest, and what is a ValueError, as in `conv2d`.

    >>> convnet.explain_conv2d((1, 64, 56, 56), (64, 64, 3, 3), padding=1).algorithm
    'winograd'
    >>> convnet.explain_conv2d((1, 64, 56, 56), (64, 64, 3, 3), padding=1, algorithm="direct").macs
    115605504
    """
    op = "explain_conv2d"
    algorithm = arguments.one_of(op, "algorithm", algorithm, ALGORITHMS)
    wanted = np.dtype(dtype)
    if wanted not in (np.float32, np.float64):
        raise TypeError(f"{op}: dtype must be float32 or float64, not {wanted}")
    shape = conv2d_shape(x_shape, weight_shape, stride, padding, dilation, groups)
    parts = _core.explain_conv2d(shape, wanted == np.float32, algorithm)
    return Conv2dExplanation(*parts, shape.macs)


def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: IntOrPair = 1,
    padding: PaddingForm = 0,
    output_padding: IntOrPair = 0,
    groups: int = 1,
    dilation: IntOrPair = 1,
) -> Array:
    """Transposed 2-D convolution: the adjoint of `conv2d` in x, upsampling by `stride`.

    Each ``x[n, c, i, j]`` adds ``x[n, c, i, j] · weight[c]`` to y around row ``i·stride - top`` and column
    ``j·stride - left``: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016),
    section 4. ``oH = (H - 1)·stride - top - bottom + dilation·(kH - 1) + 1 + output_padding``, oW likewise.

    Args:
        x: (N, C_in, H, W), H and W at least 1.
        weight: (C_in, C_out/groups, kH, kW), that of the convolution from y's shape to x's.
        bias: (C_out,) or None.
        padding: cut off the full output; "same" and "same_lower" make ``oH = H·stride``, where that takes
            away and does not add.
        output_padding: rows and columns more at the end of y, each below the stride or the dilation.

    Returns:
        y (N, C_out, oH, oW).

    >>> x = np.arange(1.0, 5).reshape(1, 1, 2, 2)
    >>> convnet.conv_transpose2d(x, np.ones((1, 1, 2, 2)), stride=2)[0, 0].tolist()
    [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0], [3.0, 3.0, 4.0, 4.0], [3.0, 3.0, 4.0, 4.0]]
    """
    op = "conv_transpose2d"
    x, weight, bias = arguments.floats(op, ("x", "weight", "bias"), x, weight, bias)
    geometry, more = _transpose_geometry(op, weight.shape[2:], stride, padding, output_padding, dilation)
    groups = arguments.integer(op, "groups", groups)
    y: Array = current().conv_transpose2d(_extended(x, more), weight, bias, *geometry, groups)
    return y


def conv_transpose2d_backward(
    dy: Array,
    x: Array,
    weight: Array,
    stride: IntOrPair = 1,
    padding: PaddingForm = 0,
    output_padding: IntOrPair = 0,
    groups: int = 1,
    dilation: IntOrPair = 1,
    *,
    needs: Needs = ALL,
) -> Gradients:
    """Gradients of `conv_transpose2d` for x, weight and bias: dx is a `conv2d` of dy.

    Args:
        dy: the shape of y; x, weight and the rest as in `conv_transpose2d`.
        needs: which of (dx, dw, db) to compute.

    Returns:
        (dx, dw, db), like x, weight and (C_out,); None where not needed.

    >>> x, weight, dy = np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), np.ones((1, 1, 4, 4))
    >>> dx, dw, db = convnet.conv_transpose2d_backward(dy, x, weight, stride=2)
    >>> dx.tolist(), db.tolist()
    ([[[[4.0, 4.0], [4.0, 4.0]]]], [16.0])
    """
    op = "conv_transpose2d_backward"
    dy, x, weight = arguments.floats(op, ("dy", "x", "weight"), dy, x, weight)
    geometry, more = _transpose_geometry(op, weight.shape[2:], stride, padding, output_padding, dilation)
    groups = arguments.integer(op, "groups", groups)
    needs = arguments.needed(op, needs)
    gradients: Gradients = current().conv_transpose2d_backward(
        dy, _extended(x, more), weight, *geometry, groups, needs
    )
    dx, dw, db = gradients
    if dx is not None and dx.shape != x.shape:
        dx = dx[:, :, : x.shape[2], : x.shape[3]].copy()
    return dx, dw, db


def conv_transpose2d_shape(
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: IntOrPair = 1,
    padding: PaddingForm = 0,
    output_padding: IntOrPair = 0,
    groups: int = 1,
    dilation: IntOrPair = 1,
) -> Conv2dShape:
    """The sizes and cost of a `conv_transpose2d` not computed, as the convolution whose adjoint it is.

    ``.x`` is the shape of y; ``.macs`` is the cost.
    """
    op = "conv_transpose2d"
    weight_shape = tuple(weight_shape)
    geometry, more = _transpose_geometry(op, weight_shape[2:], stride, padding, output_padding, dilation)
    shape = tuple(x_shape)
    if len(shape) == 4:
        shape = (*shape[:2], shape[2] + more[0], shape[3] + more[1])
    return _core.conv_transpose2d_shape(
        shape, weight_shape, *geometry, arguments.integer(op, "groups", groups), op
    )


def _transpose_geometry(
    op: str, kernel: Sequence[int], stride: Any, padding: Any, output_padding: Any, dilation: Any
) -> tuple[tuple[Pair, Padding, Pair, Pair], Pair]:
    # (stride, padding, output padding below the stride, dilation); and what of the output padding is beyond
    # the stride, in rows and columns of zeros to add to x.
    steps = arguments.pair(op, "stride", stride)
    spread = arguments.pair(op, "dilation", dilation)
    extra = arguments.pair(op, "output_padding", output_padding)
    if isinstance(padding, str):
        ends = _transpose_padding(op, padding, kernel, steps, extra, spread)
    else:
        ends = arguments.padding_ends(op, padding, (), kernel, steps, spread)
    more = [0, 0]
    less = list(extra)
    for axis in range(2):
        if 1 <= steps[axis] <= extra[axis] < spread[axis]:
            more[axis], less[axis] = divmod(extra[axis], steps[axis])
    return (steps, ends, (less[0], less[1]), spread), (more[0], more[1])


def _transpose_padding(
    op: str, name: str, kernel: Sequence[int], stride: Pair, output_padding: Pair, dilation: Pair
) -> Padding:
    if name not in ("same", "same_upper", "same_lower") or len(kernel) != 2:
        return arguments.padding_ends(op, name, (), kernel, stride, dilation)
    ends: list[int] = []
    for k, s, more, d in zip(kernel, stride, output_padding, dilation, strict=True):
        total = (k - 1) * d + 1 + more - s
        if total < 0:
            raise ValueError(
                f"{op}: padding={name!r} cannot make the output stride times as large as x: stride {stride} "
                f"is beyond the kernel's extent; give output_padding"
            )
        less, larger = total // 2, total - total // 2
        ends += (larger, less) if name == "same_lower" else (less, larger)
    return ends[0], ends[1], ends[2], ends[3]


def _extended(x: Array, more: Pair) -> Array:
    # x with rows and columns of zeros at the end.
    if more == (0, 0) or x.ndim != 4:
        return x
    return np.pad(x, ((0, 0), (0, 0), (0, more[0]), (0, more[1])))


class Conv2dPlan:
    """A `conv2d` with its weight and bias copied and packed once: ``plan(x, out=None) -> y``.

    Arguments are those of `conv2d`, layout NCHW; it always runs natively. "same" padding needs stride 1,
    where it does not depend on x. A float64 x for a float32 plan is a TypeError: the weights are packed.

    >>> plan = convnet.Conv2dPlan(np.ones((8, 3, 3, 3)), padding=1)
    >>> plan(np.ones((2, 3, 5, 5))).shape
    (2, 8, 5, 5)
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
        weight, bias = arguments.floats(op, ("weight", "bias"), weight, bias)
        relu = activation is not None and arguments.is_relu(op, activation)
        algorithm = arguments.one_of(op, "algorithm", algorithm, ALGORITHMS)
        stride = arguments.pair(op, "stride", stride)
        dilation = arguments.pair(op, "dilation", dilation)
        groups = arguments.integer(op, "groups", groups)
        kernel = weight.shape[2:]
        if isinstance(padding, str) and padding != "valid" and stride != (1, 1):
            raise ValueError(
                f"{op}: padding={padding!r} with stride {stride} depends on x; give it as numbers"
            )
        # With stride 1 "same" is the same for every x: a map as large as the kernel stands for them all.
        padding = arguments.padding_ends(op, padding, (1, 1, *kernel), kernel, stride, dilation)
        self._dtype = weight.dtype
        self._weight_shape = weight.shape
        self._geometry = (stride, padding, dilation, groups)
        self._plan = _core.Conv2dPlan(weight, bias, stride, padding, dilation, groups, relu, algorithm)

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """y (N, C_out, oH, oW) for x (N, C_in, H, W); written into `out` where given, as in `conv2d`."""
        (x,) = arguments.floats("Conv2dPlan", ("x",), x)
        if x.dtype is not self._dtype:
            x = self._promoted(x)
        if out is not None:
            shape = Conv2dShape(x.shape, self._weight_shape, *self._geometry, "Conv2dPlan")
            arguments.check_out("Conv2dPlan", out, shape.y, self._dtype, x)
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
    """The patches of x (N, C, H, W) as rows, (N·oH·oW, C·kH·kW), with zeros where a patch reaches outside.

    >>> convnet.im2col(np.arange(6.0).reshape(1, 1, 2, 3), 2).tolist()
    [[0.0, 1.0, 3.0, 4.0], [1.0, 2.0, 4.0, 5.0]]
    """
    (x,) = arguments.floats("im2col", ("x",), x)
    shape = arguments.patch_shape("im2col", x.shape, kernel_size, stride, padding, dilation)
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
    """The exact adjoint of `im2col`: patches (N·oH·oW, C·kH·kW) added up into `input_shape` (N, C, H, W).

    >>> convnet.col2im(np.ones((2, 4)), (1, 1, 2, 3), 2).tolist()
    [[[[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]]]
    """
    (columns,) = arguments.floats("col2im", ("columns",), columns)
    shape = arguments.patch_shape(
        "col2im",
        arguments.shape("col2im", "input_shape", input_shape),
        kernel_size,
        stride,
        padding,
        dilation,
    )
    N, _, oH, oW = shape.y
    _, C, kH, kW = shape.weight
    expected = (N * oH * oW, C * kH * kW)
    if columns.shape != expected:
        raise ValueError(
            f"col2im: columns must have shape (N·oH·oW, C·kH·kW) = {expected}, got {columns.shape}"
        )
    return unfolding.fold(np.ascontiguousarray(columns.T).reshape(C, kH, kW, N, oH, oW), shape)
