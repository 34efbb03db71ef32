"""Optimizers: they read a model's ``grads``, change its ``params`` in place, and know nothing else of it.

Their formulas stand here in NumPy. On the native backend one compiled pass over the memory does the same, to
rounding; there a running mean or velocity below 4 times the smallest normal number is taken as zero. Arrays
that are no plain, dense ones of one dtype take the formula on every backend.

Where an optimizer takes a learning rate it takes a schedule as well: a function from the number of steps made
so far to the learning rate of the next one, such as `step_decay` and `cosine_decay` make.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np

from . import _core
from ._types import Array
from .backends import get_backend

Schedule: TypeAlias = Callable[[int], float]


class Model(Protocol):
    """Anything with learned arrays and their gradients under the same names."""

    @property
    def params(self) -> Mapping[str, Array]: ...
    @property
    def grads(self) -> Mapping[str, Array]: ...


class Optimizer(ABC):
    """Base of all optimizers.

    Attributes:
        lr: the learning rate; may be changed between steps, unless a schedule sets it before each.
        steps: how many steps were made.
    """

    _hyper_parameters: ClassVar[tuple[str, ...]] = ("lr",)
    _slot_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: Model, lr: float | Schedule) -> None:
        self.model = model
        self._schedule = lr if callable(lr) else None
        self.lr = lr(0) if callable(lr) else lr
        self.steps = 0
        # Per parameter, arrays of its shape that live from step to step.
        self._slots = {
            slot: {name: np.zeros_like(array) for name, array in model.params.items()}
            for slot in self._slot_names
        }

    def step(self) -> None:
        """Change every parameter, in place, by its gradient. RuntimeError before the first backward."""
        params, grads = dict(self.model.params.items()), dict(self.model.grads.items())
        missing = [name for name in params if name not in grads]
        if missing:
            raise RuntimeError(f"step: no gradient for {', '.join(missing)}; call the model's backward first")
        if self._schedule is not None:
            self.lr = self._schedule(self.steps)
        self.steps += 1
        compiled = get_backend() == "native"
        for name, param in params.items():
            if not (compiled and self._compiled_update(param, grads[name], name)):
                self._update(param, grads[name], name)

    @abstractmethod
    def _update(self, param: Array, grad: Array, name: str) -> None:
        """Change `param` in place; `grad` must stay as it is."""

    def _compiled_update(self, param: Array, grad: Array, name: str) -> bool:
        """The same in compiled code; False, with nothing changed, where that cannot take the arrays."""
        return False

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

    def resumed_hyper_parameters(self, steps: int) -> dict[str, Any]:
        """The hyper-parameters as they would stand after so many steps: a schedule sets lr."""
        now = {name: getattr(self, name) for name in self._hyper_parameters}
        return now if self._schedule is None or not steps else {**now, "lr": self._schedule(steps - 1)}

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
        lr: float | Schedule,
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

    def _compiled_update(self, param: Array, grad: Array, name: str) -> bool:
        velocity = self._slots["velocity"][name] if self.momentum else None
        return _core.sgd_step(param, grad, velocity, self.lr, self.momentum, self.nesterov, self.weight_decay)


class Adam(Optimizer):
    """Adam: Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1.

    ``m`` and ``v`` are running means of the gradient and its square, corrected for their start at zero;
    ``param -= lr·m / (√v + eps)``.
    """

    _hyper_parameters: ClassVar[tuple[str, ...]] = ("lr", "beta1", "beta2", "eps")
    _slot_names = ("m", "v")

    def __init__(
        self,
        model: Model,
        lr: float | Schedule = 0.001,
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

    def _compiled_update(self, param: Array, grad: Array, name: str, shrink: float = 1.0) -> bool:
        return _core.adam_step(
            param,
            grad,
            self._slots["m"][name],
            self._slots["v"][name],
            self.lr / (1 - self.beta1**self.steps),
            shrink,
            self.beta1,
            self.beta2,
            1 / math.sqrt(1 - self.beta2**self.steps),
            self.eps,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay.

    Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), algorithm 2:
    ``param -= lr·weight_decay·param`` before each step of `Adam`, out of reach of its running means.
    """

    _hyper_parameters = ("lr", "beta1", "beta2", "eps", "weight_decay")

    def __init__(
        self,
        model: Model,
        lr: float | Schedule = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(model, lr, beta1, beta2, eps)
        self.weight_decay = weight_decay

    def _update(self, param: Array, grad: Array, name: str) -> None:
        param *= 1 - self.lr * self.weight_decay
        super()._update(param, grad, name)

    def _compiled_update(self, param: Array, grad: Array, name: str, shrink: float = 1.0) -> bool:
        return super()._compiled_update(param, grad, name, shrink * (1 - self.lr * self.weight_decay))


class RMSprop(Optimizer):
    """RMSprop, with momentum and weight decay where asked.

    Hinton, "Neural networks for machine learning" (2012), lecture 6e: ``g = grad + weight_decay·param``,
    ``v = rho·v + (1 - rho)·g²``, ``param -= lr·g / (√v + eps)``; with momentum the quotients are summed as
    in `SGD`.
    """

    _hyper_parameters = ("lr", "rho", "eps", "momentum", "weight_decay")
    _slot_names = ("v", "velocity")

    def __init__(
        self,
        model: Model,
        lr: float | Schedule = 0.01,
        rho: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0,
        weight_decay: float = 0,
    ) -> None:
        super().__init__(model, lr)
        self.rho = rho
        self.eps = eps
        self.momentum = momentum
        self.weight_decay = weight_decay

    def _update(self, param: Array, grad: Array, name: str) -> None:
        if self.weight_decay:
            grad = grad + self.weight_decay * param
        v = self._slots["v"][name]
        v *= self.rho
        v += (1 - self.rho) * (grad * grad)
        direction = grad / (np.sqrt(v) + self.eps)
        if self.momentum:
            velocity = self._slots["velocity"][name]
            velocity *= self.momentum
            velocity += direction
            direction = velocity
        param -= self.lr * direction

    def _compiled_update(self, param: Array, grad: Array, name: str) -> bool:
        velocity = self._slots["velocity"][name] if self.momentum else None
        v = self._slots["v"][name]
        return _core.rmsprop_step(
            param, grad, v, velocity, self.lr, self.rho, self.eps, self.momentum, self.weight_decay
        )


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """A schedule: `lr`, times `factor` after every `every` steps."""
    if every < 1:
        raise ValueError(f"step_decay: every must be at least 1, got {every}")
    return lambda steps: lr * factor ** (steps // every)


def cosine_decay(lr: float, total: int, final: float = 0, warmup: int = 0) -> Schedule:
    """A schedule: up to `lr` in `warmup` equal steps, then half a cosine down to `final` at step `total`.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), equation 5, without
    restarts; from `total` on it stays at `final`.
    """
    if not 0 <= warmup < total:
        raise ValueError(f"cosine_decay: warmup must be in [0, total), got {warmup} of {total}")

    def schedule(steps: int) -> float:
        if steps < warmup:
            return lr * (steps + 1) / (warmup + 1)
        gone = min((steps - warmup) / (total - warmup), 1)
        return final + (lr - final) * (1 + math.cos(math.pi * gone)) / 2

    return schedule


def clip_gradients(model: Model, most: float) -> float:
    """Scale all gradients, in place, so that their norm over the whole model is at most `most`.

    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013),
    section 3.2. Call it between backward and step.

    Returns:
        the norm before; where that is not finite, nothing is changed.

    Raises ValueError for a `most` that is not positive.
    """
    if not most > 0:
        raise ValueError(f"clip_gradients: most must be positive, got {most}")
    squares = (np.square(grad, dtype=np.float64) for grad in model.grads.values())
    norm = math.sqrt(sum(float(np.sum(each)) for each in squares))
    if math.isfinite(norm) and norm > most:
        for grad in model.grads.values():
            grad *= most / norm
    return norm
