"""Losses: values by hand, gradients by differences. The softmax's own suite is test_softmax.py."""

from __future__ import annotations

import numpy as np
import pytest

import convnet
from convnet.losses import mean_squared_error, softmax_cross_entropy


def test_softmax_cross_entropy_is_the_operation() -> None:
    assert softmax_cross_entropy is convnet.softmax_cross_entropy


def test_mean_squared_error_by_hand(dtype: np.dtype) -> None:
    loss, gradient = mean_squared_error(np.array([[1, 2], [3, 4]], dtype), [[1, 0], [3, 1]])
    assert loss == (4 + 9) / 4
    np.testing.assert_array_equal(gradient, [[0, 1], [0, 1.5]])
    assert gradient.dtype == dtype


def test_mean_squared_error_gradient() -> None:
    rng = np.random.default_rng(0)
    prediction, target = rng.standard_normal((2, 5, 3))
    _, gradient = mean_squared_error(prediction, target)
    for at in np.ndindex(5, 3):
        step = np.zeros((5, 3))
        step[at] = 1e-6
        above, below = (mean_squared_error(prediction + s, target)[0] for s in (step, -step))
        assert gradient[at] == pytest.approx((above - below) / 2e-6, abs=1e-8)


def test_mean_squared_error_edges() -> None:
    loss, gradient = mean_squared_error(np.zeros((0, 2)), np.zeros((0, 2)))
    assert loss == 0
    assert gradient.shape == (0, 2)
    with pytest.raises(ValueError, match=r"target must have shape \(2, 1\), got \(2,\)"):
        mean_squared_error(np.zeros((2, 1)), np.zeros(2))
