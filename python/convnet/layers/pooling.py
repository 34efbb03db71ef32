"""Pooling layers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import functional as F
from .._types import Array
from ..functional import IntOrPair, PaddingForm
from .base import Layer, Shape


class MaxPool2d(Layer):
    """Largest value of each window, (N, C, H, W) -> (N, C, oH, oW); arguments as in `convnet.max_pool2d`."""

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: PaddingForm = 0,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self._indices: NDArray[np.int64] | None = None

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x = x
        if (
            not training
        ):  # where the maxima came from costs time: found out only if backward is called after all
            self._indices = None
            return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)
        y, self._indices = self._pool_with_indices(x)
        return y

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        if not input_grad:
            return None
        if self._indices is None:
            _, self._indices = self._pool_with_indices(self._x)
        return F.max_pool2d_backward(
            dy,
            self._indices,
            self._x.shape,
            self.kernel_size,
            self.stride,
            self.padding,
            ceil_mode=self.ceil_mode,
        )

    def _pool_with_indices(self, x: Array) -> tuple[Array, NDArray[np.int64]]:
        return F.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode, return_indices=True
        )

    def output_shape(self, input_shape: Shape) -> Shape:
        return F.pool2d_shape(
            "max_pool2d",
            input_shape,
            self.kernel_size,
            self.stride,
            self.padding,
            ceil_mode=self.ceil_mode,
        ).y


class AvgPool2d(Layer):
    """Mean of each window, (N, C, H, W) -> (N, C, oH, oW); arguments as in `convnet.avg_pool2d`."""

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: PaddingForm = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x_shape = x.shape
        return F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        if not input_grad:
            return None
        return F.avg_pool2d_backward(
            dy,
            self._x_shape,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )

    def output_shape(self, input_shape: Shape) -> Shape:
        return F.pool2d_shape(
            "avg_pool2d",
            input_shape,
            self.kernel_size,
            self.stride,
            self.padding,
            ceil_mode=self.ceil_mode,
        ).y


class GlobalAvgPool2d(Layer):
    """Mean of each plane, (N, C, H, W) -> (N, C, 1, 1)."""

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x_shape = x.shape
        return F.global_avg_pool2d(x)

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        return F.global_avg_pool2d_backward(dy, self._x_shape) if input_grad else None

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:2], 1, 1)


class GlobalMaxPool2d(Layer):
    """Largest value of each plane, (N, C, H, W) -> (N, C, 1, 1)."""

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x_shape = x.shape
        y, self._indices = F.global_max_pool2d(x, return_indices=True)
        return y

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        return F.global_max_pool2d_backward(dy, self._indices, self._x_shape) if input_grad else None

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:2], 1, 1)


class AdaptiveAvgPool2d(Layer):
    """Means of so many windows, (N, C, H, W) -> (N, C, oH, oW); see `convnet.adaptive_avg_pool2d`."""

    def __init__(self, output_size: IntOrPair) -> None:
        super().__init__()
        self.output_size = F.pair("AdaptiveAvgPool2d", "output_size", output_size)

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x_shape = x.shape
        return F.adaptive_avg_pool2d(x, self.output_size)

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        return F.adaptive_avg_pool2d_backward(dy, self._x_shape) if input_grad else None

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:2], *self.output_size)
