"""Activations, softmax and their gradients on every backend."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import convnet
import oracles
import shapes

SIZES = [(), (0,), (1,), (7,), (8,), (15,), (16,), (17,), (33,), (64,), (3, 5, 7), (2, 3, 4, 5), (4, 0, 2)]


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_relu(backend: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Any number of axes, and every tail of a vector loop."""
    rng = np.random.default_rng(0)
    x, dy = shapes.integers(rng, shape, dtype), shapes.integers(rng, shape, dtype)
    y = convnet.relu(x)
    np.testing.assert_array_equal(y, np.where(x > 0, x, dtype.type(0)), strict=True)
    dx = convnet.relu_backward(dy, x)
    np.testing.assert_array_equal(dx, np.where(x > 0, dy, dtype.type(0)), strict=True)


def test_special_values(backend: str, dtype: np.dtype) -> None:
    """NaN is kept and passes its gradient on; the gradient at either zero is 0. In each place of a vector."""
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.tile(np.array([np.nan, -np.inf, np.inf, -0.0, 0.0, tiny, -tiny], dtype), 17)
    dy = np.arange(1, x.size + 1).astype(dtype)
    expected = np.tile(np.array([np.nan, 0, np.inf, 0, 0, tiny, 0], dtype), 17)
    np.testing.assert_array_equal(convnet.relu(x), expected, strict=True)
    passes = np.tile([True, False, True, False, False, True, False], 17)
    np.testing.assert_array_equal(
        convnet.relu_backward(dy, x), np.where(passes, dy, dtype.type(0)), strict=True
    )


def test_a_dead_gradient_is_zero_whatever_flows(backend: str, dtype: np.dtype) -> None:
    dy = np.array([np.nan, np.inf, -np.inf, 1], dtype)
    np.testing.assert_array_equal(convnet.relu_backward(dy, np.full(4, -1, dtype)), np.zeros(4))


def test_finite_differences(backend: str) -> None:
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((3, 9)), rng.standard_normal((3, 9))
    x[abs(x) < 1e-3] = 1  # the kink has no derivative
    numeric = oracles.central_difference(lambda: convnet.relu(x), x, dy, step=1e-4)
    np.testing.assert_allclose(convnet.relu_backward(dy, x), numeric, rtol=0, atol=1e-9)


def test_memory_layouts_give_the_same_bits(backend: str, dtype: np.dtype) -> None:
    rng = np.random.default_rng(2)
    x, dy = shapes.normals(rng, (4, 5, 6), dtype), shapes.normals(rng, (4, 5, 6), dtype)
    y, dx = convnet.relu(x), convnet.relu_backward(dy, x)
    for (name, other_x), (_, other_dy) in zip(*map(shapes.memory_layouts, (x, dy)), strict=True):
        for array, expected in ((convnet.relu(other_x), y), (convnet.relu_backward(other_dy, other_x), dx)):
            assert type(array) is np.ndarray, name
            np.testing.assert_array_equal(array, expected, err_msg=name, strict=True)


def test_the_input_is_left_alone(backend: str) -> None:
    x = np.array([-1.0, 2.0])
    y = convnet.relu(x)
    np.testing.assert_array_equal(x, [-1, 2])
    assert not np.shares_memory(x, y)


def test_bad_arguments(backend: str) -> None:
    with pytest.raises(TypeError, match=r"^relu: x.*int64.*astype"):
        convnet.relu(np.arange(4, dtype=np.int64))
    for n in (1, 3):  # nothing is broadcast
        with pytest.raises(ValueError, match=rf"^relu_backward: dy .*\({n},\)") as caught:
            convnet.relu_backward(np.ones(n), np.ones(4))
        assert "(4,)" in str(caught.value)


def test_mixed_dtypes_promote(backend: str) -> None:
    assert convnet.relu_backward(np.ones(3, np.float32), np.ones(3)).dtype == np.float64


# --- leaky_relu, sigmoid, tanh: backwards from y

FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "leaky_relu": lambda x: np.where(x > 0, x, x * np.longdouble(0.01)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}
SLOPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "leaky_relu": lambda y: np.where(y > 0, 1, np.longdouble(0.01)),
    "sigmoid": lambda y: y * (1 - y),
    "tanh": lambda y: (1 - y) * (1 + y),
}
every_function = pytest.mark.parametrize("name", FORMULAS)


@every_function
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_functions_of_y(backend: str, dtype: np.dtype, name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    x, dy = shapes.normals(rng, shape, dtype) * dtype.type(3), shapes.normals(rng, shape, dtype)
    y = getattr(convnet, name)(x)
    assert (y.shape, y.dtype) == (shape, dtype)
    exact = FORMULAS[name](x.astype(np.longdouble))
    np.testing.assert_allclose(y, exact.astype(np.float64), rtol=4 * np.finfo(dtype).eps)
    dx = getattr(convnet, f"{name}_backward")(dy, y)
    assert (dx.shape, dx.dtype) == (shape, dtype)
    expected = dy * SLOPES[name](y.astype(np.longdouble))
    np.testing.assert_allclose(dx, expected.astype(np.float64), rtol=8 * np.finfo(dtype).eps, atol=1e-300)


@every_function
def test_functions_over_their_whole_range(dtype: np.dtype, name: str) -> None:
    """Natively within 4 units in the last place, out to where the values are subnormal."""
    most = -np.log(float(np.finfo(dtype).tiny))
    small = np.geomspace(float(np.finfo(dtype).tiny), 1, 3001)
    x = np.concatenate([np.linspace(-most, most, 20_001), small, -small]).astype(dtype)
    y = getattr(convnet, name)(x)
    exact = FORMULAS[name](x.astype(np.longdouble))
    assert np.max(abs(y - exact) / np.spacing(abs(exact).astype(dtype))) <= 4


@every_function
def test_functions_at_the_edges(backend: str, dtype: np.dtype, name: str) -> None:
    """In each place of a vector."""
    x = np.tile(np.array([np.nan, -np.inf, np.inf, -0.0, 0.0, 1e30, -1e30], dtype), 17)
    at = {"leaky_relu": [-np.inf, np.inf, 0, 0, 1e30, -1e28], "sigmoid": [0, 1, 0.5, 0.5, 1, 0]}
    expected = np.array([np.nan, *at.get(name, [-1, 1, 0, 0, 1, -1])], dtype)
    np.testing.assert_allclose(getattr(convnet, name)(x), np.tile(expected, 17), rtol=1e-6)
    dx = getattr(convnet, f"{name}_backward")(np.ones_like(x), np.tile(expected, 17))
    steep = {"leaky_relu": [1, 0.01, 1, 0.01, 0.01, 1, 0.01], "sigmoid": [np.nan, 0, 0, 0.25, 0.25, 0, 0]}
    slope = np.array(steep.get(name, [np.nan, 0, 0, 1, 1, 0, 0]), dtype)
    np.testing.assert_allclose(dx, np.tile(slope, 17), rtol=1e-6)


@every_function
def test_finite_differences_of_functions(backend: str, name: str) -> None:
    rng = np.random.default_rng(4)
    x, dy = rng.standard_normal((3, 9)), rng.standard_normal((3, 9))
    x[abs(x) < 1e-3] = 1
    forward = getattr(convnet, name)
    numeric = oracles.central_difference(lambda: forward(x), x, dy, step=1e-5)
    found = getattr(convnet, f"{name}_backward")(dy, forward(x))
    np.testing.assert_allclose(found, numeric, rtol=0, atol=1e-9)


@every_function
def test_bad_arguments_of_functions(backend: str, name: str) -> None:
    with pytest.raises(TypeError, match=rf"^{name}: x.*int64.*astype"):
        getattr(convnet, name)(np.arange(4, dtype=np.int64))
    with pytest.raises(ValueError, match=rf"^{name}_backward: dy .*\(3,\)"):
        getattr(convnet, f"{name}_backward")(np.ones(3), np.ones(4))


def test_slopes(backend: str, dtype: np.dtype) -> None:
    x = np.array([-2, 3], dtype)
    np.testing.assert_array_equal(convnet.leaky_relu(x, 0.5), np.array([-1, 3], dtype), strict=True)
    np.testing.assert_array_equal(convnet.leaky_relu(x, -1), np.array([2, 3], dtype), strict=True)
    np.testing.assert_array_equal(convnet.leaky_relu_backward(x, convnet.leaky_relu(x, 0), 0), [0, 3])
    with pytest.raises(ValueError, match=r"^leaky_relu_backward: slope must be at least 0, got -1"):
        convnet.leaky_relu_backward(x, x, -1)
    with pytest.raises(TypeError, match=r"^leaky_relu: slope must be a number"):
        convnet.leaky_relu(x, None)


# --- softmax and log_softmax


@pytest.mark.parametrize(
    "shape", [(7,), (1,), (3, 5), (2, 40), (3, 4, 17), (2, 3, 4, 5), (4, 0), (0, 4), (3, 1)], ids=str
)
@pytest.mark.parametrize("scale", [1, 30])
def test_softmaxes(backend: str, dtype: np.dtype, shape: tuple[int, ...], scale: int) -> None:
    rng = np.random.default_rng(5)
    x, dy = shapes.normals(rng, shape, dtype) * dtype.type(scale), shapes.normals(rng, shape, dtype)
    eps = 16 * float(np.finfo(dtype).eps)
    for axis in range(-len(shape), len(shape)):
        shifted = x.astype(np.longdouble) - (x.max(axis, keepdims=True) if x.size else 0)
        logs = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True)) if x.size else shifted
        y, log_y = convnet.softmax(x, axis), convnet.log_softmax(x, axis)
        assert (y.shape, y.dtype, log_y.shape, log_y.dtype) == (shape, dtype) * 2
        assert y.flags.c_contiguous
        np.testing.assert_allclose(
            y, np.exp(logs).astype(float), rtol=eps * scale * 4, atol=1e-300 + eps * 1e-30
        )
        np.testing.assert_allclose(log_y, logs.astype(float), rtol=eps, atol=eps * scale)
        exact = y.astype(np.longdouble)
        dx = exact * (dy - (dy * exact).sum(axis, keepdims=True))
        np.testing.assert_allclose(
            convnet.softmax_backward(dy, y, axis), dx.astype(float), rtol=0, atol=4 * eps
        )
        dx = dy - np.exp(log_y.astype(np.longdouble)) * dy.astype(np.longdouble).sum(axis, keepdims=True)
        found = convnet.log_softmax_backward(dy, log_y, axis)
        np.testing.assert_allclose(found, dx.astype(float), rtol=0, atol=8 * eps)


def test_softmax_edges(backend: str, dtype: np.dtype) -> None:
    big = np.finfo(dtype).max / 4
    x = np.array([[big, -big, 0], [0, 0, -np.inf], [1, np.nan, 1], [1, np.inf, 1], [-np.inf] * 3], dtype)
    y, log_y = convnet.softmax(x), convnet.log_softmax(x)
    np.testing.assert_array_equal(y[:2], [[1, 0, 0], [0.5, 0.5, 0]])
    assert np.isnan(y[2:]).all()
    np.testing.assert_allclose(log_y[1], [-np.log(2), -np.log(2), -np.inf], rtol=1e-6)
    assert np.isnan(log_y[2:]).all()


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_finite_differences_of_softmaxes(backend: str, name: str) -> None:
    rng = np.random.default_rng(6)
    x, dy = rng.standard_normal((3, 4, 2)), rng.standard_normal((3, 4, 2))
    forward = getattr(convnet, name)
    numeric = oracles.central_difference(lambda: forward(x, 1), x, dy, step=1e-5)
    found = getattr(convnet, f"{name}_backward")(dy, forward(x, 1), 1)
    np.testing.assert_allclose(found, numeric, rtol=0, atol=1e-9)
    for axis, shape in ((3, (3, 4, 2)), (-4, (3, 4, 2)), (0, ())):
        with pytest.raises(ValueError, match=rf"^{name}: x of shape .* has no axis {axis}"):
            forward(np.zeros(shape), axis)
    with pytest.raises(TypeError, match=rf"^{name}: axis must be an int"):
        forward(x, 1.0)
    with pytest.raises(ValueError, match=rf"^{name}_backward: dy .*\(3, 4\)"):
        getattr(convnet, f"{name}_backward")(x[..., 0], x)
