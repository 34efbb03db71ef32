"""What every layer has."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import MutableMapping
from typing import Any, TypeAlias

import numpy as np

from .._types import Array

Shape: TypeAlias = tuple[int, ...]


class Layer(ABC):
    """Base of all layers.

    Attributes:
        params: the learned arrays by name ("weight", "bias", ...); empty where nothing is learned.
        grads: their gradients under the same names, after a backward.
        state: arrays that are kept but not learned, such as running means; empty for most layers.
    """

    def __init__(self) -> None:
        self.params: MutableMapping[str, Array] = {}
        self.grads: MutableMapping[str, Array] = {}
        self.state: MutableMapping[str, Array] = {}

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

    def generators(self) -> list[np.random.Generator]:
        """The random generators that the layer keeps, such as dropout's."""
        return [value for value in vars(self).values() if isinstance(value, np.random.Generator)]

    def parameter_count(self) -> int:
        """How many numbers are learned."""
        return sum(array.size for array in self.params.values())

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, as far as the layer keeps them as attributes of the same names.

        With `params` and `state` they make the layer: dtype, seed and first values are not kept.
        """
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def __repr__(self) -> str:
        # The arguments that are not the defaults.
        shown = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = repr(self.arguments().get(name, parameter.default))
            if parameter.default is parameter.empty:
                shown.append(value)
            elif value != repr(parameter.default):
                shown.append(f"{name}={value}")
        return f"{type(self).__name__}({', '.join(shown)})"


def write(grads: MutableMapping[str, Array], **gradients: Array | None) -> None:
    for name, gradient in gradients.items():
        if gradient is not None:
            grads[name] = gradient
