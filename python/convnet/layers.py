"""Layers: what a network is made of.

Each holds its hyper-parameters, its parameters, their gradients and whatever its backward needs from its
forward; the arithmetic is in `convnet.functional`. A layer belongs to one thread at a time.

The arrays are the user's: writing into ``layer.params["weight"][...]`` or rebinding
``layer.params["weight"]`` changes the next forward.

To write a layer, derive from `Layer`: give it ``forward`` and ``backward``, and ``output_shape`` and ``macs``
where the shape changes or products are computed.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import functional as F
from ._core import Conv2dShape
from ._types import Array, Seed
from .functional import IntOrPair, PaddingForm
from .initializers import Initializer, he_normal

Shape = tuple[int, ...]


class Layer(ABC):
    """Base of all layers.

    Attributes:
        params: the learned arrays by name ("weight", "bias", ...); empty where nothing is learned.
        grads: their gradients under the same names, after a backward.
    """

    def __init__(self) -> None:
        self.params: MutableMapping[str, Array] = {}
        self.grads: MutableMapping[str, Array] = {}

    def __call__(self, x: Array, training: bool = False) -> Array:
        return self.forward(x, training)

    @abstractmethod
    def forward(self, x: Array, training: bool = False) -> Array:
        """The output for a batch x; keeps what `backward` needs, whatever `training` says."""

    @abstractmethod
    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        """Gradients of the last `forward`, given dy, the gradient for its output.

        Writes `grads` (it does not add to them), leaves `params` alone, and returns dx, the gradient for x,
        or None where ``input_grad=False`` says that nobody needs it.
        """

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output for an input of `input_shape`, N included."""
        return input_shape

    def macs(self, input_shape: Shape) -> int:
        """Multiply-accumulates of a forward for `input_shape`; elementwise work is not counted."""
        return 0

    def activations(self, input_shape: Shape) -> int:
        """How many new values a forward for an input of `input_shape` leaves in memory."""
        return math.prod(self.output_shape(input_shape))

    def parameter_count(self) -> int:
        """How many numbers are learned."""
        return sum(array.size for array in self.params.values())

    def __repr__(self) -> str:
        # The constructor's arguments, as far as they are kept as attributes and are not the defaults.
        shown = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = repr(getattr(self, name, parameter.default))
            if parameter.default is parameter.empty:
                shown.append(value)
            elif value != repr(parameter.default):
                shown.append(f"{name}={value}")
        return f"{type(self).__name__}({', '.join(shown)})"


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
        _write(self.grads, weight=dw, bias=db)
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
        self.params["weight"] = init((in_features, out_features), rng, dtype)
        if bias:
            self.params["bias"] = np.zeros(out_features, dtype)

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x = x
        return F.dense(x, self.params["weight"], self.params.get("bias"))

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        needs = (input_grad, True, "bias" in self.params)
        dx, dw, db = F.dense_backward(dy, self._x, self.params["weight"], needs=needs)
        _write(self.grads, weight=dw, bias=db)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        if input_shape[-1:] != (self.in_features,):
            raise ValueError(f"Dense: expected (..., {self.in_features}), got {input_shape}")
        return (*input_shape[:-1], self.out_features)

    def macs(self, input_shape: Shape) -> int:
        return self.in_features * math.prod(self.output_shape(input_shape))


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


class ReLU(Layer):
    """max(x, 0), elementwise on any shape."""

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x = x
        return F.relu(x)

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        return F.relu_backward(dy, self._x) if input_grad else None


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


class Sequential(Layer):
    """Layers one after another: ``Sequential(Conv2d(1, 6, 5), ReLU(), Flatten(), Dense(3456, 10))``.

    `params` and `grads` show those of all layers as "<position>.<name>": "0.weight", "3.bias".
    Rebinding an array there rebinds it in its layer.
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        self.layers = list(layers)
        self.params = _Joined(self.layers, "params")
        self.grads = _Joined(self.layers, "grads")

    def forward(self, x: Array, training: bool = False) -> Array:
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        """As in every layer; with ``input_grad=False`` all below the first layer that learns is left out."""
        gradient: Any = dy
        if input_grad:
            for layer in reversed(self.layers):
                gradient = layer.backward(gradient)
            dx: Array = gradient
            return dx
        first = next((i for i, layer in enumerate(self.layers) if layer.params), None)
        if first is not None:
            for layer in reversed(self.layers[first + 1 :]):
                gradient = layer.backward(gradient)
            self.layers[first].backward(gradient, input_grad=False)
        return None

    def predict(self, x: Array, batch_size: int = 256) -> Array:
        """The network's outputs for all of x (n, ...), `batch_size` rows at a time, not in training mode."""
        if batch_size < 1:
            raise ValueError(f"predict: batch_size must be at least 1, got {batch_size}")
        starts = range(0, max(len(x), 1), batch_size)
        return np.concatenate([self.forward(x[start : start + batch_size]) for start in starts])

    def output_shape(self, input_shape: Shape) -> Shape:
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    def macs(self, input_shape: Shape) -> int:
        return sum(layer.macs(shape) for layer, shape in self._inputs(input_shape))

    def activations(self, input_shape: Shape) -> int:
        return sum(layer.activations(shape) for layer, shape in self._inputs(input_shape))

    def summary(self, input_shape: Sequence[int]) -> Summary:
        """Shapes and costs, layer by layer; print it for a table.

        Args:
            input_shape: of one sample, (C, H, W) or (features,), or of a batch, with N in front.
                Costs are those of one forward over it.
        """
        shape = tuple(input_shape)
        if len(shape) in (1, 3):
            shape = (1, *shape)
        dtypes = [array.dtype for array in self.params.values()]
        itemsize = np.result_type(*dtypes).itemsize if dtypes else 4
        rows = [
            LayerSummary(
                layer=repr(layer),
                output_shape=layer.output_shape(input_shape),
                parameters=layer.parameter_count(),
                macs=layer.macs(input_shape),
                activation_bytes=layer.activations(input_shape) * itemsize,
            )
            for layer, input_shape in self._inputs(shape)
        ]
        return Summary(shape, rows)

    def _inputs(self, input_shape: Shape) -> Iterator[tuple[Layer, Shape]]:
        # Each layer with the shape it is given.
        for layer in self.layers:
            yield layer, input_shape
            input_shape = layer.output_shape(input_shape)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, position: int) -> Layer:
        return self.layers[position]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


@dataclass(frozen=True)
class LayerSummary:
    """One row of a `Summary`; `output_shape` has N in front."""

    layer: str
    output_shape: Shape
    parameters: int
    macs: int
    activation_bytes: int


@dataclass(frozen=True)
class Summary:
    """What a network costs for an input of `input_shape`: a row per layer, and totals. Prints as a table."""

    input_shape: Shape
    rows: list[LayerSummary]

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        return sum(row.activation_bytes for row in self.rows)

    def __str__(self) -> str:
        header = ("layer", "output shape", "parameters", "MACs", "activation bytes")
        cells = [
            header,
            ("input", str(self.input_shape), "", "", ""),
            *(
                (r.layer, str(r.output_shape), f"{r.parameters:,}", f"{r.macs:,}", f"{r.activation_bytes:,}")
                for r in self.rows
            ),
            ("total", "", f"{self.parameters:,}", f"{self.macs:,}", f"{self.activation_bytes:,}"),
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if column < 2 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


class _Joined(MutableMapping[str, Array]):
    """One dict of every layer (its params, or its grads) as one mapping "<position>.<name>" -> array."""

    def __init__(self, layers: list[Layer], which: str) -> None:
        self._layers = layers
        self._which = which

    def _find(self, key: str) -> tuple[MutableMapping[str, Array], str]:
        position, _, name = key.partition(".")
        try:
            return getattr(self._layers[int(position)], self._which), name
        except (ValueError, IndexError):
            raise KeyError(key) from None

    def __getitem__(self, key: str) -> Array:
        arrays, name = self._find(key)
        return arrays[name]

    def __setitem__(self, key: str, array: Array) -> None:
        arrays, name = self._find(key)
        arrays[name] = array

    def __delitem__(self, key: str) -> None:
        arrays, name = self._find(key)
        del arrays[name]

    def __iter__(self) -> Iterator[str]:
        for position, layer in enumerate(self._layers):
            for name in getattr(layer, self._which):
                yield f"{position}.{name}"

    def __len__(self) -> int:
        return sum(len(getattr(layer, self._which)) for layer in self._layers)

    def __repr__(self) -> str:
        return repr(dict(self))


def _write(grads: MutableMapping[str, Array], **gradients: Array | None) -> None:
    for name, gradient in gradients.items():
        if gradient is not None:
            grads[name] = gradient
