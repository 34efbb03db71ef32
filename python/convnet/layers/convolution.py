"""Convolution layers."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from .. import functional as F
from .._core import Conv2dShape
from .._types import Array, Seed
from ..functional import IntOrPair, PaddingForm
from ..initializers import Initializer, he_normal
from .base import Layer, Shape, write


class Conv2d(Layer):
    """2-D convolution, (N, C_in, H, W) -> (N, C_out, oH, oW); arguments as in `convnet.conv2d`.

    Parameters: weight (C_out, C_in/groups, kH, kW), from `init`; bias (C_out,), zero, where ``bias=True``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: PaddingForm = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: Seed = None,
        init: Initializer = he_normal,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = F.pair("Conv2d", "kernel_size", kernel_size)
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        self.bias = bias
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"Conv2d: groups={groups} must divide {in_channels} and {out_channels} channels")
        self.params["weight"] = init((out_channels, in_channels // groups, *self.kernel_size), rng, dtype)
        if bias:
            self.params["bias"] = np.zeros(out_channels, dtype)

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x = x
        return F.conv2d(
            x,
            self.params["weight"],
            self.params.get("bias"),
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        dx, dw, db = F.conv2d_backward(
            dy,
            self._x,
            self.params["weight"],
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            needs=(input_grad, True, "bias" in self.params),
        )
        write(self.grads, weight=dw, bias=db)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        return self._geometry(input_shape).y

    def macs(self, input_shape: Shape) -> int:
        return self._geometry(input_shape).macs

    def _geometry(self, input_shape: Shape) -> Conv2dShape:
        weight_shape = self.params["weight"].shape
        return F.conv2d_shape(
            input_shape, weight_shape, self.stride, self.padding, self.dilation, self.groups
        )


class ConvTranspose2d(Layer):
    """Transposed 2-D convolution, (N, C_in, H, W) -> (N, C_out, oH, oW); see `convnet.conv_transpose2d`.

    Parameters: weight (C_in, C_out/groups, kH, kW), from `init`; bias (C_out,), zero, where ``bias=True``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: PaddingForm = 0,
        output_padding: IntOrPair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: IntOrPair = 1,
        *,
        dtype: DTypeLike = np.float32,
        rng: Seed = None,
        init: Initializer = he_normal,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = F.pair("ConvTranspose2d", "kernel_size", kernel_size)
        self.stride = stride
        self.padding = padding
        self.output_padding = output_padding
        self.groups = groups
        self.bias = bias
        self.dilation = dilation
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"ConvTranspose2d: groups={groups} must divide {in_channels} and {out_channels} channels"
            )
        self.params["weight"] = init((in_channels, out_channels // groups, *self.kernel_size), rng, dtype)
        if bias:
            self.params["bias"] = np.zeros(out_channels, dtype)

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x = x
        return F.conv_transpose2d(x, self.params["weight"], self.params.get("bias"), *self._how())

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        needs = (input_grad, True, "bias" in self.params)
        dx, dw, db = F.conv_transpose2d_backward(
            dy, self._x, self.params["weight"], *self._how(), needs=needs
        )
        write(self.grads, weight=dw, bias=db)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        return F.conv_transpose2d_shape(input_shape, self.params["weight"].shape, *self._how()).x

    def macs(self, input_shape: Shape) -> int:
        return F.conv_transpose2d_shape(input_shape, self.params["weight"].shape, *self._how()).macs

    def _how(self) -> tuple[IntOrPair, PaddingForm, IntOrPair, int, IntOrPair]:
        return self.stride, self.padding, self.output_padding, self.groups, self.dilation
