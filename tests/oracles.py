"""What each operation should give, written a second time in plain NumPy.

Nothing here imports convnet. A convolution is a sum over kernel taps, a pool a loop over output positions.
The arithmetic is that of the dtype given: int64 makes every sum exact, float64 and longdouble are the
reference for float32 and float64.

Geometry is settled: stride, dilation and kernel as (h, w), padding as ((top, bottom), (left, right)).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def conv_extent(size: int, kernel: int, stride: int, padding: Pair, dilation: int) -> int:
    """Number of kernel positions along one axis."""
    return (size + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1


def pool_extent(size: int, kernel: int, stride: int, padding: Pair, dilation: int, ceil_mode: bool) -> int:
    """As `conv_extent`; ceil_mode keeps a partial last window unless it starts in the right padding."""
    extent = conv_extent(size, kernel, stride, padding, dilation)
    if ceil_mode:
        span = size + sum(padding) - dilation * (kernel - 1) - 1
        extent = -(-span // stride) + 1
        if (extent - 1) * stride >= size + padding[0]:
            extent -= 1
    return extent


def same_padding(size: int, kernel: int, stride: int, dilation: int, *, lower: bool) -> Pair:
    """The padding for ceil(size / stride) positions, an odd pixel at the end, or the start if lower."""
    out = -(-size // stride)
    total = max((out - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


def _taps(
    extent: Pair, kernel: Pair, stride: Pair, dilation: Pair
) -> Iterator[tuple[int, int, slice, slice]]:
    """Each kernel element with the padded rows and columns it meets, one per output position."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            rows = slice(top, top + (extent[0] - 1) * stride[0] + 1, stride[0])
            columns = slice(left, left + (extent[1] - 1) * stride[1] + 1, stride[1])
            yield i, j, rows, columns


def conv2d(
    x: Array, weight: Array, bias: Array | None, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """x (N, C_in, H, W), weight (C_out, C_in/groups, kH, kW) -> (N, C_out, oH, oW)."""
    n, _, h, w = x.shape
    c_out, c_group, *kernel = weight.shape
    extent = (
        conv_extent(h, kernel[0], stride[0], padding[0], dilation[0]),
        conv_extent(w, kernel[1], stride[1], padding[1], dilation[1]),
    )
    padded = np.pad(x, ((0, 0), (0, 0), *padding))
    patches = padded.reshape(n, groups, c_group, *padded.shape[2:])
    filters = weight.reshape(groups, c_out // groups, c_group, *kernel)
    y = np.zeros((n, groups, c_out // groups, *extent), x.dtype)
    for i, j, rows, columns in _taps(extent, (kernel[0], kernel[1]), stride, dilation):
        y += np.einsum("ngchw,gkc->ngkhw", patches[..., rows, columns], filters[..., i, j])
    y = y.reshape(n, c_out, *extent)
    return y if bias is None else y + bias[:, None, None]


def conv2d_backward(
    dy: Array, x: Array, weight: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> tuple[Array, Array, Array]:
    """The transpose of `conv2d`, tap by tap: (dx, dw, db)."""
    n, c_in, h, w = x.shape
    c_out, c_group, *kernel = weight.shape
    extent = dy.shape[2], dy.shape[3]
    padded = np.pad(x, ((0, 0), (0, 0), *padding))
    patches = padded.reshape(n, groups, c_group, *padded.shape[2:])
    filters = weight.reshape(groups, c_out // groups, c_group, *kernel)
    slopes = dy.reshape(n, groups, c_out // groups, *extent)
    dpatches = np.zeros_like(patches)
    dfilters = np.zeros_like(filters)
    for i, j, rows, columns in _taps(extent, (kernel[0], kernel[1]), stride, dilation):
        dpatches[..., rows, columns] += np.einsum("ngkhw,gkc->ngchw", slopes, filters[..., i, j])
        dfilters[..., i, j] = np.einsum("ngkhw,ngchw->gkc", slopes, patches[..., rows, columns])
    dx = dpatches.reshape(padded.shape)[:, :, padding[0][0] :, padding[1][0] :][:, :, :h, :w]
    return dx.reshape(n, c_in, h, w), dfilters.reshape(weight.shape), dy.sum((0, 2, 3))


def windows(
    size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
) -> Iterator[tuple[int, int, list[int], list[int], int]]:
    """Each output position with the rows and columns of real elements under it, and how many elements lie in
    the padded image."""
    extent = [
        pool_extent(size[axis], kernel[axis], stride[axis], padding[axis], dilation[axis], ceil_mode)
        for axis in (0, 1)
    ]
    for p in range(extent[0]):
        for q in range(extent[1]):
            real, padded = [], 1
            for axis, position in enumerate((p, q)):
                start = position * stride[axis] - padding[axis][0]
                under = [start + dilation[axis] * tap for tap in range(kernel[axis])]
                real.append([r for r in under if 0 <= r < size[axis]])
                padded *= sum(r < size[axis] + padding[axis][1] for r in under)
            yield p, q, real[0], real[1], padded


def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
) -> tuple[Array, NDArray[np.int64]]:
    """(y, indices): numpy.argmax takes the first NaN, else the first of equals, in row-major order."""
    n, c, h, w = x.shape
    values: dict[Pair, Array] = {}
    places: dict[Pair, Array] = {}
    for p, q, rows, columns, _ in windows((h, w), kernel, stride, padding, dilation, ceil_mode):
        window = x[:, :, rows][..., columns].reshape(n, c, -1)
        best = window.argmax(-1)
        values[p, q] = np.take_along_axis(window, best[..., None], -1)[..., 0]
        places[p, q] = (np.array(rows)[:, None] * w + np.array(columns)).reshape(-1)[best]
    last = max(values)
    shape = (n, c, last[0] + 1, last[1] + 1)
    y, indices = np.empty(shape, x.dtype), np.empty(shape, np.int64)
    for p, q in values:
        y[:, :, p, q], indices[:, :, p, q] = values[p, q], places[p, q]
    return y, indices


def max_pool2d_backward(dy: Array, indices: Array, input_shape: tuple[int, ...]) -> Array:
    """Every dy is added at its index."""
    n, c, h, w = input_shape
    dx = np.zeros((n, c, h * w), dy.dtype)
    for image in range(n):
        for channel in range(c):
            np.add.at(dx[image, channel], indices[image, channel].reshape(-1), dy[image, channel].reshape(-1))
    return dx.reshape(input_shape)


def avg_pool2d(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Sum over the real elements, divided by their number or by the number inside the padded image."""
    n, c, h, w = x.shape
    values: dict[Pair, Array] = {}
    for p, q, rows, columns, padded in windows((h, w), kernel, stride, padding, dilation, ceil_mode):
        total = x[:, :, rows][..., columns].sum((-1, -2))
        values[p, q] = total / (padded if count_include_pad else len(rows) * len(columns))
    last = max(values)
    y = np.empty((n, c, last[0] + 1, last[1] + 1), x.dtype)
    for p, q in values:
        y[:, :, p, q] = values[p, q]
    return y


def avg_pool2d_backward(
    dy: Array,
    input_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Every real element of a window receives an equal share of its dy."""
    dx = np.zeros(input_shape, dy.dtype)
    size = input_shape[2], input_shape[3]
    for p, q, rows, columns, padded in windows(size, kernel, stride, padding, dilation, ceil_mode):
        share = dy[:, :, p, q] / (padded if count_include_pad else len(rows) * len(columns))
        for r in rows:
            for s in columns:
                dx[:, :, r, s] += share
    return dx


def softmax_cross_entropy(logits: Array, labels: NDArray[np.int64]) -> tuple[np.floating, Array]:
    """Mean of -log softmax(logits)[label] and its gradient (Goodfellow et al. 2016, section 6.2.2.3)."""
    rows = np.arange(len(labels))
    shifted = logits - logits.max(1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(1, keepdims=True))
    slope = np.exp(shifted - log_sum)
    slope[rows, labels] -= 1
    return np.mean(log_sum[:, 0] - shifted[rows, labels]), slope / len(labels)


def central_difference(f: Callable[[], Array], at: Array, dy: Array, step: float) -> Array:
    """Gradient of sum(f() * dy) for `at`, which f reads; `at` is perturbed in place and restored."""
    gradient = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        kept = at[place]
        at[place] = kept + step
        above = np.sum(f() * dy)
        at[place] = kept - step
        below = np.sum(f() * dy)
        at[place] = kept
        gradient[place] = (above - below) / (2 * step)
    return gradient
