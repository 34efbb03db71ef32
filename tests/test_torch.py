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


TRANSPOSED = [  # x, weight, and arguments in PyTorch's own names
    ((2, 4, 3, 4), (4, 3, 3, 2), {}),
    ((2, 4, 3, 4), (4, 3, 3, 2), {"stride": 2, "padding": 1, "output_padding": 1}),
    (
        (1, 4, 3, 4),
        (4, 3, 3, 2),
        {"stride": (3, 2), "padding": (0, 1), "groups": 2, "dilation": (2, 1), "output_padding": (2, 0)},
    ),
    ((1, 2, 2, 3), (2, 1, 2, 2), {"stride": 4}),
    ((1, 2, 2, 3), (2, 3, 2, 2), {"dilation": 3, "output_padding": 2}),
    ((1, 2, 3, 3), (2, 3, 2, 2), {"stride": 2, "dilation": 4, "output_padding": 3, "padding": 2}),
    ((4, 16, 7, 7), (16, 8, 4, 4), {"stride": 2, "padding": 1}),
]


@pytest.mark.parametrize(("x", "weight", "options"), TRANSPOSED, ids=str)
def test_conv_transpose2d(
    backend: str, dtype: np.dtype, x: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any]
) -> None:
    rng = np.random.default_rng(4)
    bias = (weight[1] * options.get("groups", 1),)
    arrays = [shapes.normals(rng, shape, dtype) for shape in (x, weight, bias)]
    tensors = [tensor(array, grad=True) for array in arrays]
    expected = F.conv_transpose2d(*tensors, **options)
    y = convnet.conv_transpose2d(*arrays, **options)
    assert_close(y, expected, dtype)
    dy = shapes.normals(rng, y.shape, dtype)
    expected.backward(tensor(dy))
    for found, of in zip(convnet.conv_transpose2d_backward(dy, *arrays[:2], **options), tensors, strict=True):
        assert_close(found, of.grad, dtype)


@pytest.mark.parametrize("size", [1, (3, 4), (9, 10), (7, 9)], ids=str)
def test_adaptive_pools(backend: str, dtype: np.dtype, size: Any) -> None:
    rng = np.random.default_rng(5)
    x = rng.integers(-3, 4, (2, 3, 7, 9)).astype(dtype)
    of = tensor(x, grad=True)
    expected = F.adaptive_avg_pool2d(of, size)
    y = convnet.adaptive_avg_pool2d(x, size)
    assert_close(y, expected, dtype)
    dy = shapes.integers(rng, y.shape, dtype)
    expected.backward(tensor(dy))
    assert_close(convnet.adaptive_avg_pool2d_backward(dy, x.shape) / 32, of.grad / 32, dtype)
    of = tensor(x, grad=True)
    expected, places = F.adaptive_max_pool2d(of, size, return_indices=True)
    y, indices = convnet.adaptive_max_pool2d(x, size, return_indices=True)
    np.testing.assert_array_equal(y, expected.detach().numpy(), strict=True)
    np.testing.assert_array_equal(indices, places.numpy(), strict=True)
    expected.backward(tensor(dy))
    dx = convnet.adaptive_max_pool2d_backward(dy, indices, x.shape)
    np.testing.assert_array_equal(dx, of.grad.numpy(), strict=True)


ELEMENTWISE = {
    "leaky_relu": (F.leaky_relu, {"slope": 0.2}, {"negative_slope": 0.2}),
    "sigmoid": (torch.sigmoid, {}, {}),
    "tanh": (torch.tanh, {}, {}),
    "softmax": (F.softmax, {"axis": 1}, {"dim": 1}),
    "log_softmax": (F.log_softmax, {"axis": 0}, {"dim": 0}),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activations(backend: str, dtype: np.dtype, name: str) -> None:
    function, options, theirs = ELEMENTWISE[name]
    rng = np.random.default_rng(6)
    x, dy = (shapes.normals(rng, (3, 14, 5), dtype) * dtype.type(3) for _ in range(2))
    of = tensor(x, grad=True)
    expected = function(of, **theirs)
    y = getattr(convnet, name)(x, **options)
    assert_close(y, expected, dtype)
    expected.backward(tensor(dy))
    assert_close(getattr(convnet, f"{name}_backward")(dy, y, **options), of.grad, dtype)


@pytest.mark.parametrize("given", [False, True])
def test_batch_norm(backend: str, dtype: np.dtype, given: bool) -> None:
    rng = np.random.default_rng(7)
    x, dy = shapes.normals(rng, (2, 3, 4, 5, 2), dtype)
    x += 3
    gamma, beta, mean, var = shapes.normals(rng, (4, 4), dtype)
    statistics = (mean, var**2 + dtype.type(0.5)) if given else ()
    tensors = [tensor(array, grad=True) for array in (x, gamma, beta)]
    theirs = [tensor(array) for array in statistics] or [None, None]
    expected = F.batch_norm(tensors[0], *theirs, *tensors[1:], training=not given)
    expected.backward(tensor(dy))
    y = convnet.batch_norm(x, gamma, beta, *statistics)
    assert_close(y if given else y[0], expected, dtype)
    for found, of in zip(convnet.batch_norm_backward(dy, x, gamma, *statistics), tensors, strict=True):
        assert_close(found, of.grad, dtype)


@pytest.mark.parametrize(
    "response", [(5, 1e-4, 0.75, 1.0), (4, 1.0, 0.75, 2.0), (3, 2.0, 0.5, 1.0), (20, 1.0, 0.3, 1.0)]
)
def test_local_response_norm(
    backend: str, dtype: np.dtype, response: tuple[int, float, float, float]
) -> None:
    rng = np.random.default_rng(8)
    x, dy = shapes.normals(rng, (2, 2, 7, 3, 2), dtype) * dtype.type(3)
    of = tensor(x, grad=True)
    expected = F.local_response_norm(of, *response)
    expected.backward(tensor(dy))
    assert_close(convnet.local_response_norm(x, *response), expected, dtype)
    assert_close(convnet.local_response_norm_backward(dy, x, *response), of.grad, dtype)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_label_smoothing(backend: str, dtype: np.dtype, smoothing: float) -> None:
    rng = np.random.default_rng(9)
    logits, labels = shapes.normals(rng, (6, 9), dtype), rng.integers(0, 9, 6)
    of = tensor(logits, grad=True)
    expected = F.cross_entropy(of, torch.tensor(labels), label_smoothing=smoothing)
    expected.backward()
    loss, dlogits = convnet.softmax_cross_entropy(logits, labels, label_smoothing=smoothing)
    assert loss == pytest.approx(expected.item(), rel=50 * float(np.finfo(dtype).eps))
    assert_close(dlogits, of.grad, dtype)
