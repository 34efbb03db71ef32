"""Optimizers: they read a model's ``grads``, change its ``params`` in place, and know nothing else of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np

from ._types import Array


class Model(Protocol):
    """Anything with learned arrays and their gradients under the same names."""

    @property
    def params(self) -> Mapping[str, Array]: ...
    @property
    def grads(self) -> Mapping[str, Array]: ...


class Optimizer(ABC):
    """Base of all optimizers.

    Attributes:
        lr: the learning rate; may be changed between steps.
        steps: how many steps were made.
    """

    _hyper_parameters: ClassVar[tuple[str, ...]] = ("lr",)
    _slot_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: Model, lr: float) -> None:
        self.model = model
        self.lr = lr
        self.steps = 0
        # Per parameter, arrays of its shape that live from step to step.
        self._slots = {
            slot: {name: np.zeros_like(array) for name, array in model.params.items()}
            for slot in self._slot_names
        }

    def step(self) -> None:
        """Change every parameter, in place, by its gradient. RuntimeError before the first backward."""
        params, grads = self.model.params, self.model.grads
        missing = [name for name in params if name not in grads]
        if missing:
            raise RuntimeError(f"step: no gradient for {', '.join(missing)}; call the model's backward first")
        self.steps += 1
        for name, param in params.items():
            self._update(param, grads[name], name)

    @abstractmethod
    def _update(self, param: Array, grad: Array, name: str) -> None:
        """Change `param` in place; `grad` must stay as it is."""

    def state_dict(self) -> dict[str, Any]:
        """All it takes to go on from here exactly: hyper-parameters, steps and copies of the slots."""
        return {
            "optimizer": type(self).__name__,
            "hyper_parameters": {name: getattr(self, name) for name in self._hyper_parameters},
            "steps": self.steps,
            "slots": {
                slot: {name: array.copy() for name, array in arrays.items()}
                for slot, arrays in self._slots.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`; ValueError, and no change, where it is of another optimizer or model."""
        expected, given = self._layout(self.state_dict()), self._layout(state)
        if given != expected:
            raise ValueError(f"load_state_dict: expected {expected}, got {given}")
        for name, value in state["hyper_parameters"].items():
            setattr(self, name, value)
        self.steps = state["steps"]
        for slot, arrays in state["slots"].items():
            for name, array in arrays.items():
                self._slots[slot][name][...] = array

    @staticmethod
    def _layout(state: Mapping[str, Any]) -> dict[str, Any]:
        # What must agree for one state to replace another.
        try:
            return {
                "optimizer": state["optimizer"],
                "hyper_parameters": sorted(state["hyper_parameters"]),
                "steps": type(state["steps"]).__name__,
                "slots": {
                    slot: {name: (np.shape(array), str(array.dtype)) for name, array in arrays.items()}
                    for slot, arrays in state["slots"].items()
                },
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"load_state_dict: not an optimizer's state: {error!r}") from error


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and weight decay where asked.

    ``g = grad + weight_decay·param``, ``v = momentum·v + g``, ``param -= lr·v``; with `nesterov`
    ``param -= lr·(g + momentum·v)``. Sutskever, Martens, Dahl and Hinton, "On the importance of
    initialization and momentum in deep learning" (2013), in the form that keeps lr out of v.
    """

    _hyper_parameters = ("lr", "momentum", "nesterov", "weight_decay")
    _slot_names = ("velocity",)

    def __init__(
        self,
        model: Model,
        lr: float,
        momentum: float = 0,
        nesterov: bool = False,
        weight_decay: float = 0,
    ) -> None:
        super().__init__(model, lr)
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay

    def _update(self, param: Array, grad: Array, name: str) -> None:
        if self.weight_decay:
            grad = grad + self.weight_decay * param
        if self.momentum:
            velocity = self._slots["velocity"][name]
            velocity *= self.momentum
            velocity += grad
            grad = grad + self.momentum * velocity if self.nesterov else velocity
        param -= self.lr * grad


class Adam(Optimizer):
    """Adam: Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1.

    ``m`` and ``v`` are running means of the gradient and its square, corrected for their start at zero;
    ``param -= lr·m / (√v + eps)``.
    """

    _hyper_parameters = ("lr", "beta1", "beta2", "eps")
    _slot_names = ("m", "v")

    def __init__(
        self,
        model: Model,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(model, lr)
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps

    def _update(self, param: Array, grad: Array, name: str) -> None:
        m, v = self._slots["m"][name], self._slots["v"][name]
        m *= self.beta1
        m += (1 - self.beta1) * grad
        v *= self.beta2
        v += (1 - self.beta2) * (grad * grad)
        denominator = np.sqrt(v)
        denominator /= math.sqrt(1 - self.beta2**self.steps)
        denominator += self.eps
        param -= self.lr / (1 - self.beta1**self.steps) * (m / denominator)
