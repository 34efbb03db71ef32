"""Initialisers: their spread by the papers' formulas, their shape of distribution, their seeds."""

from __future__ import annotations

import numpy as np
import pytest

from convnet import initializers

DENSE, CONV = (300, 200), (64, 32, 3, 5)
# fan_in, fan_out: by hand
FANS = {DENSE: (300, 200), CONV: (32 * 15, 64 * 15)}
ALL = ["he_normal", "he_uniform", "glorot_normal", "glorot_uniform"]


@pytest.mark.parametrize("shape", [DENSE, CONV])
@pytest.mark.parametrize("name", ALL)
def test_mean_and_variance(name: str, shape: tuple[int, ...]) -> None:
    fan_in, fan_out = FANS[shape]
    variance = 2 / fan_in if name.startswith("he") else 2 / (fan_in + fan_out)
    values = getattr(initializers, name)(shape, 0, np.float64)
    assert values.shape == shape
    # within five standard errors: of the mean, and of the variance (at most 2σ⁴/n)
    assert abs(values.mean()) < 5 * (variance / values.size) ** 0.5
    assert abs(values.var() - variance) < 5 * variance * (2 / values.size) ** 0.5
    bound = (3 * variance) ** 0.5
    if name.endswith("uniform"):
        assert 0.99 * bound < np.abs(values).max() <= bound
    else:
        assert np.mean(np.abs(values) < variance**0.5) == pytest.approx(0.6827, abs=0.01)


@pytest.mark.parametrize("name", ALL)
def test_seeds(name: str, dtype: np.dtype) -> None:
    initialize = getattr(initializers, name)
    values = initialize((6, 5), 7, dtype)
    assert values.dtype == dtype
    np.testing.assert_array_equal(values, initialize((6, 5), np.random.default_rng(7), dtype))
    np.testing.assert_array_equal(values, initialize((6, 5), 7, np.float64).astype(dtype))
    assert not np.array_equal(values, initialize((6, 5), 8, dtype))
    assert not np.array_equal(initialize((6, 5)), initialize((6, 5)))
    assert initialize((6, 5)).dtype == np.float32


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(), (3,), (3, 3, 3)])
def test_other_shapes_have_no_fans(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected a weight of shape"):
        getattr(initializers, name)(shape)


@pytest.mark.parametrize("name", ALL)
def test_empty_weights(name: str) -> None:
    assert getattr(initializers, name)((0, 5)).shape == (0, 5)
    assert getattr(initializers, name)((4, 0, 3, 3)).shape == (4, 0, 3, 3)
