"""Shapes the suites share: hypothesis strategies, the sizes at which register tiles end, and array makers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from numpy.typing import NDArray

import oracles

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
Shape4 = tuple[int, int, int, int]

# Integers up to this size, in sums of at most 16,384 products, are exact in float32 in any order of addition.
EXACT = 32

# Both sides of every vector width and register-tile edge in use: 4, 6, 8, 12, 14, 16, 24, 28, 32, 48, 64.
TILE_EDGES = (*range(1, 10), *range(11, 18), *range(23, 34), 47, 48, 49, 63, 64, 65, 70)

seeds = st.integers(0, 2**32 - 1)


def integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: type | str) -> NDArray:
    """Whole numbers in [-EXACT, EXACT]."""
    return rng.integers(-EXACT, EXACT, shape, endpoint=True).astype(dtype)


def normals(rng: np.random.Generator, shape: tuple[int, ...], dtype: type | str) -> NDArray:
    return rng.standard_normal(shape).astype(dtype)


class Tagged(np.ndarray):
    """A subclass of ndarray, as some libraries hand out."""


def channels_last(x: NDArray) -> NDArray:
    """(N, C, H, W) as (N, H, W, C)."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def hwio(weight: NDArray) -> NDArray:
    """(C_out, C_in/groups, kH, kW) as (kH, kW, C_in/groups, C_out)."""
    return np.ascontiguousarray(weight.transpose(2, 3, 1, 0))


def memory_layouts(x: NDArray) -> Iterator[tuple[str, NDArray]]:
    """The values of x, held in every way NumPy can hold them."""
    yield "F-order", np.asfortranarray(x)
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    yield "every second element", wide[..., ::2]
    yield "negative strides", np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    yield "axes swapped", np.ascontiguousarray(x.swapaxes(0, -1)).swapaxes(0, -1)
    yield "other byte order", x.astype(x.dtype.newbyteorder())
    misaligned = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    misaligned[...] = x
    yield "misaligned", misaligned
    read_only = x.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only
    yield "subclass", x.copy().view(Tagged)


@dataclass(frozen=True)
class ConvCase:
    x: Shape4
    weight: Shape4
    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int

    @property
    def geometry(self) -> tuple[Pair, Padding, Pair, int]:
        """The arguments that follow x, weight and bias."""
        return self.stride, self.padding, self.dilation, self.groups

    @property
    def y(self) -> Shape4:
        rows, columns = (
            oracles.conv_extent(
                self.x[2 + axis],
                self.weight[2 + axis],
                self.stride[axis],
                self.padding[axis],
                self.dilation[axis],
            )
            for axis in (0, 1)
        )
        return self.x[0], self.weight[0], rows, columns


@dataclass(frozen=True)
class PoolCase:
    x: Shape4
    kernel: Pair
    stride: Pair
    padding: Padding
    dilation: Pair
    ceil_mode: bool


def _size(extent: int, kernel: int, stride: int, padding: Pair, dilation: int, slack: int) -> int:
    """An input size with `extent` kernel positions, or more where the padding alone would give them."""
    return max(1, (extent - 1) * stride + dilation * (kernel - 1) + 1 + slack % stride - sum(padding))


@st.composite
def conv_cases(draw: st.DrawFn, macs: int) -> ConvCase:
    """Convolutions of about `macs` multiplications and less: any geometry, depthwise, kernels wider than a
    vector, and, where the budget allows, channels and rows across many register tiles."""
    families = ["geometry", "depthwise", "long kernel"] + (["tiles"] * 2 if macs > 100_000 else [])
    family = draw(st.sampled_from(families))
    upto = lambda n: draw(st.integers(1, n))  # noqa: E731
    sides = st.integers(0, 3)
    groups, c_group, k_group, kernel, columns = upto(3), upto(3), upto(4), (upto(5), upto(5)), upto(9)
    stride, dilation = (upto(3), upto(3)), (upto(3), upto(3))
    if family == "depthwise":
        groups, c_group, k_group = upto(20 if macs > 100_000 else 6), 1, upto(2)
    elif family == "long kernel":
        kernel = (upto(2), 16 + upto(5))
        kernel = kernel[::-1] if draw(st.booleans()) else kernel
        c_group, dilation = 1, (1, 1)
    elif family == "tiles":
        groups, c_group, k_group, kernel = 1, upto(70), upto(70), (upto(3), upto(3))
        columns, stride, dilation = upto(70), (upto(2), upto(2)), (1, 1)
    padding = ((draw(sides), draw(sides)), (draw(sides), draw(sides)))
    row = groups * c_group * k_group * kernel[0] * kernel[1] * columns
    rows = upto(max(1, min(8, macs // row)))
    n = upto(max(1, min(3, macs // (row * rows))))
    slack = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    h, w = (
        _size((rows, columns)[axis], kernel[axis], stride[axis], padding[axis], dilation[axis], slack[axis])
        for axis in (0, 1)
    )
    weight = (groups * k_group, c_group, *kernel)
    return ConvCase((n, groups * c_group, h, w), weight, stride, padding, dilation, groups)


@st.composite
def pool_cases(draw: st.DrawFn, channels: int, columns: int) -> PoolCase:
    """Poolings in which every window holds a real element."""
    upto = lambda n: draw(st.integers(1, n))  # noqa: E731
    kernel, stride, dilation = (upto(4), upto(5)), (upto(4), upto(4)), (upto(3), upto(3))
    if draw(st.booleans()):  # the usual pool: dense, square
        kernel, dilation = (kernel[0], kernel[0]), (1, 1)
    reach = [dilation[axis] * (kernel[axis] - 1) for axis in (0, 1)]
    padding = tuple((draw(st.integers(0, reach[a])), draw(st.integers(0, reach[a]))) for a in (0, 1))
    extent = upto(4), upto(columns)
    slack = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    h, w = (
        _size(extent[axis], kernel[axis], stride[axis], padding[axis], dilation[axis], slack[axis])
        for axis in (0, 1)
    )
    case = PoolCase((upto(2), upto(channels), h, w), kernel, stride, padding, dilation, draw(st.booleans()))
    windows = oracles.windows((h, w), kernel, stride, padding, dilation, case.ceil_mode)
    assume(all(rows and columns for _, _, rows, columns, _ in windows))
    return case
