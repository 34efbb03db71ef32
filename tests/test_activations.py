"""relu and its gradient on every backend."""

from __future__ import annotations

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
