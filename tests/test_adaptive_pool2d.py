"""Adaptive and global pools on every backend."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import convnet
import oracles
import shapes

SIZES = [(1, 1), (2, 3), (3, 3), (7, 9), (8, 12), (1, 9), (5, 1)]
every_size = pytest.mark.parametrize("size", SIZES, ids=str)


def windows(size: tuple[int, int]) -> list[tuple[int, int, slice, slice]]:
    """Of a 7 x 9 plane: from floor(i·size / out) up to ceil((i + 1)·size / out)."""
    found = []
    for i, j in np.ndindex(*size):
        rows = slice(int(np.floor(i * 7 / size[0])), int(np.ceil((i + 1) * 7 / size[0])))
        columns = slice(int(np.floor(j * 9 / size[1])), int(np.ceil((j + 1) * 9 / size[1])))
        found.append((i, j, rows, columns))
    return found


@every_size
def test_averages(backend: str, dtype: np.dtype, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x = shapes.integers(rng, (2, 3, 7, 9), dtype)
    y = convnet.adaptive_avg_pool2d(x, size)
    dy = shapes.integers(rng, y.shape, dtype)
    expected, dx = np.empty(y.shape), np.zeros(x.shape)
    for i, j, rows, columns in windows(size):
        window = x[:, :, rows, columns].astype(np.float64)
        expected[:, :, i, j] = window.mean((2, 3))
        dx[:, :, rows, columns] += dy[:, :, i, j, None, None] / (window.shape[2] * window.shape[3])
    tolerance = {"rtol": 0, "atol": 64 * np.finfo(dtype).eps * shapes.EXACT}
    assert y.dtype == dtype
    assert y.shape == (2, 3, *size)
    np.testing.assert_allclose(y, expected, **tolerance)
    np.testing.assert_allclose(convnet.adaptive_avg_pool2d_backward(dy, x.shape), dx, **tolerance)


@every_size
def test_maxima(backend: str, dtype: np.dtype, size: tuple[int, int]) -> None:
    """Few values, so ties abound; the first of them counts, and a NaN before all."""
    rng = np.random.default_rng(1)
    x = rng.integers(-2, 3, (2, 3, 7, 9)).astype(dtype)
    x[rng.random(x.shape) < 0.05] = np.nan
    x[rng.random(x.shape) < 0.1] = -np.inf
    y, indices = convnet.adaptive_max_pool2d(x, size, return_indices=True)
    plane = np.arange(63).reshape(7, 9)
    expected, places = np.empty(y.shape, dtype), np.empty(y.shape, np.int64)
    for i, j, rows, columns in windows(size):
        window = x[:, :, rows, columns].reshape(2, 3, -1)
        best = window.argmax(-1)
        expected[:, :, i, j] = np.take_along_axis(window, best[..., None], -1)[..., 0]
        places[:, :, i, j] = plane[rows, columns].reshape(-1)[best]
    np.testing.assert_array_equal(y, expected, strict=True)
    np.testing.assert_array_equal(indices, places, strict=True)
    np.testing.assert_array_equal(convnet.adaptive_max_pool2d(x, size), y)
    dy = shapes.integers(rng, y.shape, dtype)
    np.testing.assert_array_equal(
        convnet.adaptive_max_pool2d_backward(dy, indices, x.shape),
        oracles.max_pool2d_backward(dy, indices, x.shape),
        strict=True,
    )


def test_global_pools_are_those_of_one_window(backend: str, dtype: np.dtype) -> None:
    rng = np.random.default_rng(2)
    x, dy = shapes.normals(rng, (2, 3, 7, 9), dtype), shapes.normals(rng, (2, 3, 1, 1), dtype)
    y, indices = convnet.global_max_pool2d(x, return_indices=True)
    np.testing.assert_array_equal(y, x.max((2, 3), keepdims=True), strict=True)
    np.testing.assert_array_equal(indices[..., 0, 0], x.reshape(2, 3, 63).argmax(-1), strict=True)
    np.testing.assert_array_equal(convnet.global_max_pool2d(x), y)
    dx = convnet.global_max_pool2d_backward(dy, indices, x.shape)
    np.testing.assert_array_equal(dx, oracles.max_pool2d_backward(dy, indices, x.shape), strict=True)
    mean = convnet.global_avg_pool2d(x)
    np.testing.assert_allclose(mean, x.mean((2, 3), keepdims=True), rtol=0, atol=16 * np.finfo(dtype).eps)
    spread = convnet.global_avg_pool2d_backward(dy, x.shape)
    np.testing.assert_array_equal(spread, np.broadcast_to(dy / dtype.type(63), x.shape), strict=True)


def test_finite_differences(backend: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.permutation(40).reshape(1, 2, 4, 5) / 8.0
    for forward, backward, size in (
        (convnet.adaptive_avg_pool2d, lambda dy: convnet.adaptive_avg_pool2d_backward(dy, x.shape), (3, 2)),
        (
            convnet.adaptive_max_pool2d,
            lambda dy: convnet.adaptive_max_pool2d_backward(
                dy, convnet.adaptive_max_pool2d(x, (3, 2), return_indices=True)[1], x.shape
            ),
            (3, 2),
        ),
    ):
        dy = rng.standard_normal((1, 2, *size))
        numeric = oracles.central_difference(lambda f=forward, s=size: f(x, s), x, dy, step=1e-4)
        np.testing.assert_allclose(backward(dy), numeric, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(0, 3, 6, 6), (2, 0, 6, 6)])
def test_empty(backend: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    x = np.zeros(shape, dtype)
    y, indices = convnet.adaptive_max_pool2d(x, 2, return_indices=True)
    assert y.shape == indices.shape == convnet.adaptive_avg_pool2d(x, 2).shape == (*shape[:2], 2, 2)
    assert convnet.adaptive_max_pool2d_backward(y, indices, shape).shape == shape
    assert convnet.adaptive_avg_pool2d_backward(y, shape).shape == shape
    assert convnet.global_avg_pool2d(x).shape == (*shape[:2], 1, 1)


POOLS: list[Callable[..., object]] = [convnet.adaptive_avg_pool2d, convnet.adaptive_max_pool2d]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(
    ("x", "size", "told"),
    [
        ((3, 8, 9), 2, r"\(3, 8, 9\)"),
        ((1, 3, 0, 9), 2, r"at least one element.*\(1, 3, 0, 9\)"),
        ((1, 3, 8, 9), 0, r"output_size.*\(0, 0\)"),
        ((1, 3, 8, 9), (2, -1), r"output_size.*\(2, -1\)"),
        ((1, 3, 8, 9), (2, 2, 2), r"\(2, 2, 2\)"),
        ((1, 3, 8, 9), 2**40, "output_size"),
        ((1, 3, 8, 9), 2**31, "too large"),
    ],
    ids=str,
)
def test_bad_arguments(
    backend: str, pool: Callable[..., object], x: tuple[int, ...], size: object, told: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{pool.__name__}: .*{told}"):
        pool(np.zeros(x), size)


def test_bad_gradients(backend: str) -> None:
    y, indices = convnet.adaptive_max_pool2d(np.ones((2, 2, 5, 6)), (2, 3), return_indices=True)
    for index in (-1, 30, 2**40):
        bad = indices.copy()
        bad[0, 1, 1, 2] = index
        with pytest.raises(ValueError, match=str(index)):
            convnet.adaptive_max_pool2d_backward(y, bad, (2, 2, 5, 6))
    for dy, places, shape in (
        (y[:1], indices, (2, 2, 5, 6)),
        (y, indices[..., :2], (2, 2, 5, 6)),
        (y, indices, (2, 2, 0, 6)),
        (y[0], indices, (2, 2, 5, 6)),
    ):
        with pytest.raises(ValueError, match=r"^adaptive_max_pool2d_backward: "):
            convnet.adaptive_max_pool2d_backward(dy, places, shape)
    with pytest.raises(ValueError, match=r"^adaptive_avg_pool2d_backward: dy .*\(1, 2, 2, 3\)"):
        convnet.adaptive_avg_pool2d_backward(y, (1, 2, 5, 6))
    with pytest.raises(ValueError, match=r"^global_avg_pool2d_backward: dy must have shape \(2, 2, 1, 1\)"):
        convnet.global_avg_pool2d_backward(y, (2, 2, 5, 6))
    for pool in (convnet.global_avg_pool2d, convnet.global_max_pool2d):
        with pytest.raises(ValueError, match=rf"^{pool.__name__}: x must be .*\(2, 0, 5\)"):
            pool(np.ones((2, 0, 5)))
