"""Agreement with PyTorch, where it is installed: the same call gives the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given

import convnet
import shapes

torch = pytest.importorskip("torch")
F = torch.nn.functional

LAYERS = [  # x, weight, and arguments in PyTorch's own names
    ((1, 3, 10, 10), (4, 3, 3, 3), {}),
    ((2, 4, 8, 9), (6, 4, 3, 2), {"stride": 2, "padding": 1}),
    ((2, 4, 8, 9), (6, 2, 3, 3), {"stride": (3, 2), "padding": (2, 1), "groups": 2}),
    ((2, 4, 9, 9), (8, 1, 3, 3), {"padding": 1, "groups": 4}),
    ((2, 3, 12, 11), (5, 3, 3, 3), {"dilation": (2, 3), "padding": "valid"}),
    ((1, 3, 7, 8), (5, 3, 4, 3), {"dilation": 2, "padding": "same"}),
    ((3, 6, 1, 1), (7, 6, 1, 1), {}),
    ((1, 1, 28, 28), (6, 1, 5, 5), {"padding": 2}),
    ((1, 4, 5, 5), (4, 4, 2, 3), {"stride": (2, 2), "padding": (2, 1), "dilation": (1, 2)}),
]
POOLS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (2, 3), "stride": (2, 1), "padding": (1, 0)},
    {"kernel_size": 2, "stride": 2, "ceil_mode": True},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel_size": (3, 2), "stride": (5, 3), "padding": (1, 1), "ceil_mode": True},
]


def tensor(array: np.ndarray, *, grad: bool = False) -> Any:
    return torch.tensor(array, requires_grad=grad)


def assert_close(found: np.ndarray, expected: Any, dtype: np.dtype) -> None:
    """Within rounding of sums of up to a few hundred products of size one."""
    expected = expected.detach().numpy()
    assert found.shape == expected.shape
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=500 * np.finfo(dtype).eps)


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize(("x", "weight", "options"), LAYERS, ids=str)
def test_conv2d(
    backend: str, dtype: np.dtype, x: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    arrays = [shapes.normals(rng, shape, dtype) for shape in (x, weight, weight[:1])]
    tensors = [tensor(array, grad=True) for array in arrays]
    expected = F.conv2d(*tensors, **options)
    y = convnet.conv2d(*arrays, **options)
    assert_close(y, expected, dtype)
    dy = shapes.normals(rng, y.shape, dtype)
    expected.backward(tensor(dy))
    for found, of in zip(convnet.conv2d_backward(dy, *arrays[:2], **options), tensors, strict=True):
        assert_close(found, of.grad, dtype)


@given(case=shapes.conv_cases(macs=200_000), seed=shapes.seeds)
def test_conv2d_on_random_shapes(dtype: np.dtype, case: shapes.ConvCase, seed: int) -> None:
    """PyTorch pads evenly; what is uneven goes through F.pad."""
    rng = np.random.default_rng(seed)
    x, weight, bias, dy = (
        shapes.integers(rng, shape, dtype) for shape in (case.x, case.weight, case.weight[:1], case.y)
    )
    tensors = [tensor(array, grad=True) for array in (x, weight, bias)]
    (top, bottom), (left, right) = case.padding
    padded = F.pad(tensors[0], (left, right, top, bottom))
    expected = F.conv2d(padded, *tensors[1:], case.stride, 0, case.dilation, case.groups)
    expected.backward(tensor(dy))
    with convnet.backend("native"):
        y = convnet.conv2d(x, weight, bias, *case.geometry)
        gradients = convnet.conv2d_backward(dy, x, weight, *case.geometry)
    np.testing.assert_array_equal(y, expected.detach().numpy())
    for found, of in zip(gradients, tensors, strict=True):
        np.testing.assert_array_equal(found, of.grad.numpy())


@pytest.mark.parametrize("special", [False, True], ids=["ties", "nan and inf"])
@pytest.mark.parametrize("options", [*POOLS, {"kernel_size": 2, "dilation": 2}], ids=str)
def test_max_pool2d(backend: str, dtype: np.dtype, options: dict[str, Any], special: bool) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(-2, 3, (2, 3, 9, 10)).astype(dtype)
    if special:
        x[rng.random(x.shape) < 0.2] = -np.inf
        x[rng.random(x.shape) < 0.1] = np.nan
        x[rng.random(x.shape) < 0.1] = np.inf
    of = tensor(x, grad=True)
    expected, places = F.max_pool2d(of, **options, return_indices=True)
    y, indices = convnet.max_pool2d(x, **options, return_indices=True)
    np.testing.assert_array_equal(y, expected.detach().numpy(), strict=True)
    if special:  # PyTorch names the last NaN of a window, convnet the first
        real = ~np.isnan(y)
        np.testing.assert_array_equal(indices[real], places.numpy()[real])
        return
    np.testing.assert_array_equal(indices, places.numpy(), strict=True)
    dy = shapes.integers(rng, y.shape, dtype)
    expected.backward(tensor(dy))
    dx = convnet.max_pool2d_backward(dy, indices, x.shape, **options)
    np.testing.assert_array_equal(dx, of.grad.numpy(), strict=True)


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("options", POOLS, ids=str)
def test_avg_pool2d(backend: str, dtype: np.dtype, options: dict[str, Any], count_include_pad: bool) -> None:
    rng = np.random.default_rng(2)
    x = shapes.normals(rng, (2, 3, 9, 10), dtype)
    of = tensor(x, grad=True)
    expected = F.avg_pool2d(of, **options, count_include_pad=count_include_pad)
    y = convnet.avg_pool2d(x, **options, count_include_pad=count_include_pad)
    assert_close(y, expected, dtype)
    dy = shapes.normals(rng, y.shape, dtype)
    expected.backward(tensor(dy))
    dx = convnet.avg_pool2d_backward(dy, x.shape, **options, count_include_pad=count_include_pad)
    assert_close(dx, of.grad, dtype)


@given(case=shapes.pool_cases(channels=4, columns=20), seed=shapes.seeds)
def test_pools_on_random_shapes(dtype: np.dtype, case: shapes.PoolCase, seed: int) -> None:
    padding = case.padding[0][0], case.padding[1][0]
    assume(case.padding == tuple((side, side) for side in padding))
    assume(all(2 * side <= size for side, size in zip(padding, case.kernel, strict=True)))
    x = shapes.integers(np.random.default_rng(seed), case.x, dtype)
    window = case.kernel, case.stride, padding
    expected, places = F.max_pool2d(tensor(x), *window, case.dilation, case.ceil_mode, return_indices=True)
    with convnet.backend("native"):
        y, indices = convnet.max_pool2d(x, *window, case.dilation, case.ceil_mode, return_indices=True)
        np.testing.assert_array_equal(y, expected.numpy(), strict=True)
        np.testing.assert_array_equal(indices, places.numpy(), strict=True)
        if case.dilation == (1, 1):
            for include in (True, False):
                found = convnet.avg_pool2d(x, *window, case.ceil_mode, include)
                assert_close(found, F.avg_pool2d(tensor(x), *window, case.ceil_mode, include), dtype)


def test_dense_relu_and_cross_entropy(backend: str, dtype: np.dtype) -> None:
    """Two layers and the loss, end to end."""
    rng = np.random.default_rng(3)
    x, first, bias, second = (
        shapes.normals(rng, shape, dtype) for shape in ((6, 20), (20, 15), (15,), (15, 10))
    )
    labels = rng.integers(0, 10, 6)
    tensors = [tensor(array, grad=True) for array in (x, first, bias, second)]
    expected = F.cross_entropy(
        F.relu(tensors[0] @ tensors[1] + tensors[2]) @ tensors[3], torch.tensor(labels)
    )
    expected.backward()

    before = convnet.dense(x, first, bias)
    hidden = convnet.relu(before)
    loss, dlogits = convnet.softmax_cross_entropy(convnet.dense(hidden, second), labels)
    dhidden, dsecond, _ = convnet.dense_backward(dlogits, hidden, second)
    dx, dfirst, dbias = convnet.dense_backward(convnet.relu_backward(dhidden, before), x, first)
    assert loss == pytest.approx(expected.item(), rel=50 * float(np.finfo(dtype).eps))
    for found, of in zip((dx, dfirst, dbias, dsecond), tensors, strict=True):
        assert_close(found, of.grad, dtype)
