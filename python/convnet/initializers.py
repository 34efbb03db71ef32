"""First values of weights: random, with a variance that lets signals neither grow nor fade.

- He: He, Zhang, Ren and Sun, "Delving deep into rectifiers" (2015), equation 10: variance 2 / fan_in, for
  ReLU networks.
- Glorot: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks"
  (2010), equations 12 and 16: variance 2 / (fan_in + fan_out), for symmetric activations such as tanh.

Shapes are those of weights: (in, out) of a dense layer, (C_out, C_in/groups, kH, kW) of a convolution. `rng`
is a seed, a `numpy.random.Generator`, or None for fresh randomness; a seed gives the same values, rounded, in
either dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from ._types import Array, Seed

# In quotes for the same reason as Seed.
Initializer: TypeAlias = "Callable[[tuple[int, ...], Seed, DTypeLike], Array]"


def he_normal(shape: tuple[int, ...], rng: Seed = None, dtype: DTypeLike = np.float32) -> Array:
    """Normal values of mean 0 and variance 2 / fan_in."""
    return _normal(shape, 2 / _fans(shape)[0], rng, dtype)


def he_uniform(shape: tuple[int, ...], rng: Seed = None, dtype: DTypeLike = np.float32) -> Array:
    """Uniform values of mean 0 and variance 2 / fan_in."""
    return _uniform(shape, 2 / _fans(shape)[0], rng, dtype)


def glorot_normal(shape: tuple[int, ...], rng: Seed = None, dtype: DTypeLike = np.float32) -> Array:
    """Normal values of mean 0 and variance 2 / (fan_in + fan_out)."""
    return _normal(shape, 2 / sum(_fans(shape)), rng, dtype)


def glorot_uniform(shape: tuple[int, ...], rng: Seed = None, dtype: DTypeLike = np.float32) -> Array:
    """Uniform values of mean 0 and variance 2 / (fan_in + fan_out)."""
    return _uniform(shape, 2 / sum(_fans(shape)), rng, dtype)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    # How many inputs make an output, how many outputs an input goes into; at least 1, for empty weights.
    if len(shape) == 2:
        fan_in, fan_out = shape
    elif len(shape) == 4:
        taps = shape[2] * shape[3]
        fan_in, fan_out = shape[1] * taps, shape[0] * taps
    else:
        raise ValueError(f"expected a weight of shape (in, out) or (C_out, C_in/groups, kH, kW), got {shape}")
    return max(fan_in, 1), max(fan_out, 1)


def _normal(shape: tuple[int, ...], variance: float, rng: Seed, dtype: DTypeLike) -> Array:
    values = np.random.default_rng(rng).normal(0, math.sqrt(variance), shape)
    return values.astype(dtype)


def _uniform(shape: tuple[int, ...], variance: float, rng: Seed, dtype: DTypeLike) -> Array:
    bound = math.sqrt(3 * variance)
    return np.random.default_rng(rng).uniform(-bound, bound, shape).astype(dtype)
