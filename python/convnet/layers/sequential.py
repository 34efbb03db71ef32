"""Layers one after another, and what they cost."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from .._types import Array
from .base import Layer, Shape


class Sequential(Layer):
    """Layers one after another: ``Sequential(Conv2d(1, 6, 5), ReLU(), Flatten(), Dense(3456, 10))``.

    `params`, `grads` and `state` show those of all layers as "<position>.<name>": "0.weight", "3.bias".
    Rebinding an array there rebinds it in its layer.
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        self.layers = list(layers)
        self.params = _Joined(self.layers, "params")
        self.grads = _Joined(self.layers, "grads")
        self.state = _Joined(self.layers, "state")

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

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a file that `convnet.load` reads; see `convnet.checkpoint`."""
        from ..checkpoint import save

        save(self, path)

    def output_shape(self, input_shape: Shape) -> Shape:
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    def macs(self, input_shape: Shape) -> int:
        return sum(layer.macs(shape) for layer, shape in self._inputs(input_shape))

    def activations(self, input_shape: Shape) -> int:
        return sum(layer.activations(shape) for layer, shape in self._inputs(input_shape))

    def generators(self) -> list[np.random.Generator]:
        return [generator for layer in self.layers for generator in layer.generators()]

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
    """One dict of every layer (its params, grads or state) as one mapping "<position>.<name>" -> array."""

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

    def items(self) -> ItemsView[str, Array]:
        return _JoinedItems(self)

    def __repr__(self) -> str:
        return repr(dict(self))


class _JoinedItems(ItemsView[str, Array]):
    # Layer by layer, without finding each name again: an optimizer asks at every step.
    def __init__(self, joined: _Joined) -> None:
        super().__init__(joined)
        self._joined = joined

    def __iter__(self) -> Iterator[tuple[str, Array]]:
        for position, layer in enumerate(self._joined._layers):
            for name, array in getattr(layer, self._joined._which).items():
                yield f"{position}.{name}", array
