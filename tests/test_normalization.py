"""batch_norm, local_response_norm and dropout, with their gradients, on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convnet
import oracles
import shapes

# Both sides of every vector width, and of a unit of work; features alone; N-D.
SHAPES = [(4, 3), (2, 5, 1), (3, 2, 7), (2, 3, 4, 4), (2, 3, 17, 3), (1, 4, 2, 3, 5), (2, 2, 520)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def assert_close(found: np.ndarray, expected: np.ndarray, dtype: np.dtype, units: int = 64) -> None:
    assert found.shape == expected.shape
    assert found.dtype == dtype
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=units * np.finfo(dtype).eps * (1 + abs(expected).max())
    )


def across(shape: tuple[int, ...]) -> tuple[int, ...]:
    """All axes but the channels'."""
    return tuple(axis for axis in range(len(shape)) if axis != 1)


def by_channel(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return values.reshape(1, -1, *(1,) * (len(shape) - 2))


# --- batch normalisation


@every_shape
def test_batch_norm_of_the_batch(backend: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Far from zero, where a variance taken as E[x²] - E[x]² would lose its digits."""
    rng = np.random.default_rng(0)
    x = (shapes.normals(rng, shape, np.float64) + 30).astype(dtype)
    gamma, beta = shapes.normals(rng, (2, shape[1]), dtype)
    y, mean, var = convnet.batch_norm(x, gamma, beta, eps=1e-3)
    exact = x.astype(np.longdouble)
    m, v = exact.mean(across(shape)), exact.var(across(shape))
    expected = (exact - by_channel(m, shape)) / np.sqrt(by_channel(v, shape) + 1e-3)
    expected = expected * by_channel(gamma, shape) + by_channel(beta, shape)
    assert_close(mean, m, dtype)
    assert_close(var, v, dtype)
    assert_close(y, expected, dtype, units=2000)  # 30 times the spread costs 5 bits


@every_shape
def test_batch_norm_with_given_statistics(backend: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    x = shapes.normals(rng, shape, dtype)
    gamma, beta, mean, root = shapes.normals(rng, (4, shape[1]), dtype)
    var = root**2
    y = convnet.batch_norm(x, gamma, beta, mean, var)
    g, b, m, v = (by_channel(a.astype(np.longdouble), shape) for a in (gamma, beta, mean, var))
    assert_close(y, (x - m) / np.sqrt(v + 1e-5) * g + b, dtype)
    dy = shapes.normals(rng, shape, dtype)
    dx, dgamma, dbeta = convnet.batch_norm_backward(dy, x, gamma, mean, var)
    assert_close(dx, dy * g / np.sqrt(v + 1e-5), dtype)
    assert_close(dgamma, (dy * (x - m) / np.sqrt(v + 1e-5)).sum(across(shape)), dtype, units=1000)
    assert_close(dbeta, dy.astype(np.longdouble).sum(across(shape)), dtype, units=1000)


@pytest.mark.parametrize("given", [False, True])
def test_batch_norm_finite_differences(backend: str, given: bool) -> None:
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((2, 2, 3, 3, 2))
    gamma, beta, mean, root = rng.standard_normal((4, 3))
    statistics = (mean, root**2 + 0.1) if given else ()

    def forward() -> np.ndarray:
        result = convnet.batch_norm(x, gamma, beta, *statistics, eps=0.01)
        return result if given else result[0]

    found = convnet.batch_norm_backward(dy, x, gamma, *statistics, eps=0.01)
    for gradient, at in zip(found, (x, gamma, beta), strict=True):
        numeric = oracles.central_difference(forward, at, dy, step=1e-5)
        np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-8)


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 0, 2, 2), (2, 3, 0)])
def test_batch_norm_of_nothing(backend: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    x, ones = np.zeros(shape, dtype), np.ones(shape[1], dtype)
    y, mean, var = convnet.batch_norm(x, ones, ones)
    assert y.shape == shape
    np.testing.assert_array_equal(mean, np.zeros(shape[1], dtype), strict=True)
    np.testing.assert_array_equal(var, np.zeros(shape[1], dtype), strict=True)
    dx, dgamma, dbeta = convnet.batch_norm_backward(y, x, ones)
    assert dx.shape == shape
    assert not dgamma.any()
    assert not dbeta.any()


def test_a_nan_stays_in_its_channel(backend: str, dtype: np.dtype) -> None:
    x = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    x[0, 1, 2] = np.nan
    y, mean, var = convnet.batch_norm(x, np.ones(3, dtype), np.zeros(3, dtype))
    for array in (y.transpose(1, 0, 2), mean, var):
        assert np.isnan(array[1]).all()
        assert np.isfinite(array[[0, 2]]).all()


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"x": np.zeros(3)}, ValueError, r"x must have at least 2 dimensions.*\(3,\)"),
        ({"gamma": np.zeros(4)}, ValueError, r"gamma must have shape \(3,\), got \(4,\)"),
        ({"beta": np.zeros((3, 1))}, ValueError, r"beta must have shape \(3,\), got \(3, 1\)"),
        ({"mean": np.zeros(3)}, ValueError, "mean and var must both be given"),
        ({"mean": np.zeros(2), "var": np.zeros(3)}, ValueError, r"mean .*shape.*\(2,\)"),
        ({"mean": np.zeros(3), "var": np.zeros(2)}, ValueError, r"var .*shape.*\(2,\)"),
        ({"eps": -1.0}, ValueError, "eps must be at least 0, got -1.0"),
        ({"eps": float("nan")}, ValueError, "eps must be at least 0, got nan"),
        ({"eps": "small"}, TypeError, "eps must be a number, not 'small'"),
    ],
)
def test_bad_arguments_of_batch_norm(backend: str, change: dict[str, Any], error: type, told: str) -> None:
    arguments = {"x": np.zeros((2, 3, 4)), "gamma": np.ones(3), "beta": np.ones(3)} | change
    with pytest.raises(error, match=rf"^batch_norm: {told}"):
        convnet.batch_norm(**arguments)


def test_gradients_must_fit(backend: str) -> None:
    x, ones = np.zeros((2, 3, 4)), np.ones(3)
    with pytest.raises(
        ValueError, match=r"^batch_norm_backward: dy must have shape \(2, 3, 4\), got \(2, 3\)"
    ):
        convnet.batch_norm_backward(x[..., 0], x, ones)
    with pytest.raises(ValueError, match=r"^local_response_norm_backward: dy .*\(2, 3, 4\), got \(2, 3\)"):
        convnet.local_response_norm_backward(x[..., 0], x, 3)
    with pytest.raises(ValueError, match=r"^dropout_backward: dy must have shape \(2, 3, 4\), got \(2, 3\)"):
        convnet.dropout_backward(x[..., 0], x)


# --- local response normalisation

RESPONSES = [
    (5, 1e-4, 0.75, 1.0),
    (3, 2.0, 0.75, 2.0),
    (4, 1.0, 0.5, 1.0),
    (1, 1.0, 1.0, 0.5),
    (40, 3.0, 0.3, 1.0),
]
every_response = pytest.mark.parametrize("response", RESPONSES, ids=str)


def response_norm(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    total = np.zeros(x.shape, np.longdouble)
    for c in range(x.shape[1]):
        window = slice(max(c - size // 2, 0), c + (size - 1) // 2 + 1)
        total[:, c] = np.square(x[:, window].astype(np.longdouble)).sum(1)
    return x / (k + alpha / size * total) ** np.longdouble(beta)


@every_response
@every_shape
def test_response_norm(
    backend: str, dtype: np.dtype, shape: tuple[int, ...], response: tuple[int, float, float, float]
) -> None:
    x = shapes.normals(np.random.default_rng(3), shape, dtype) * dtype.type(2)
    assert_close(convnet.local_response_norm(x, *response), response_norm(x, *response), dtype)


@every_response
def test_response_norm_finite_differences(backend: str, response: tuple[int, float, float, float]) -> None:
    rng = np.random.default_rng(4)
    x, dy = rng.standard_normal((2, 2, 6, 3))
    numeric = oracles.central_difference(lambda: convnet.local_response_norm(x, *response), x, dy, step=1e-5)
    found = convnet.local_response_norm_backward(dy, x, *response)
    np.testing.assert_allclose(found, numeric, rtol=0, atol=1e-8)


def test_response_norm_edges(backend: str, dtype: np.dtype) -> None:
    """An infinite value makes its neighbours zero and itself NaN: Inf / Inf."""
    x = np.ones((1, 6, 1), dtype)
    x[0, 0] = np.inf
    y = convnet.local_response_norm(x, 3)[0, :, 0]
    assert np.isnan(y[0])
    assert y[1] == 0
    assert np.isfinite(y[2:]).all()
    for empty in ((0, 3, 2), (2, 0, 2), (2, 3, 0)):
        assert convnet.local_response_norm(np.zeros(empty, dtype), 3).shape == empty
    for size, error in ((0, ValueError), (-1, ValueError), (2.0, TypeError), (2**70, ValueError)):
        with pytest.raises(error, match=r"^local_response_norm: size"):
            convnet.local_response_norm(x, size)
    with pytest.raises(TypeError, match=r"^local_response_norm: alpha must be a number"):
        convnet.local_response_norm(x, 3, alpha=None)
    np.testing.assert_array_equal(
        convnet.local_response_norm(x[:, 1:], 2**40, 0.0), convnet.local_response_norm(x[:, 1:], 1, 0.0)
    )


# --- dropout


def test_dropout(backend: str, dtype: np.dtype) -> None:
    x = shapes.normals(np.random.default_rng(5), (50, 41), dtype)
    y, mask = convnet.dropout(x, 0.25, 3)
    assert set(np.unique(mask)) == {0, dtype.type(1 / 0.75)}
    assert 0.22 < (mask == 0).mean() < 0.28
    np.testing.assert_array_equal(y, x * mask, strict=True)
    np.testing.assert_array_equal(convnet.dropout_backward(x, mask), y, strict=True)
    again, _ = convnet.dropout(x, 0.25, np.random.default_rng(3))
    np.testing.assert_array_equal(again, y)
    other, _ = convnet.dropout(x, 0.25, 4)
    assert not np.array_equal(other, y)
    same, _ = convnet.dropout(x.astype(np.float64), 0.25, 3)
    np.testing.assert_array_equal(same == 0, y == 0)


def test_dropout_edges(backend: str, dtype: np.dtype) -> None:
    x = np.array([1, 2, 3], dtype)
    np.testing.assert_array_equal(convnet.dropout(x, 0, 0)[0], x, strict=True)
    np.testing.assert_array_equal(convnet.dropout(x, 1, 0)[0], np.zeros(3, dtype), strict=True)
    assert convnet.dropout(np.zeros((), dtype), 0.5, 0)[0].shape == ()
    assert convnet.dropout(np.zeros((0, 2), dtype), 0.5, 0)[1].shape == (0, 2)
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"^dropout: p must be in \[0, 1\]"):
            convnet.dropout(x, p, 0)
    with pytest.raises(TypeError, match=r"^dropout: p must be a number"):
        convnet.dropout(x, "half", 0)
