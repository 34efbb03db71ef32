"""Every sample of PyTorch's own operator tests, and thousands of random cases, give what PyTorch gives.

Here PyTorch computes in float64. Sums of random numbers may differ by rounding, |error| <= 64·u·Σ|x||w|;
maxima, their places and sums of integers may not differ at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convnet
import shapes
from shapes import ConvCase, PoolCase

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which the samples' module imports
F = torch.nn.functional

CASES = {"native": 5_000, "im2col": 500, "naive": 100}
BOUND = 64 * np.finfo(np.float64).eps / 2
SHARED_OUT = 720_720.0  # every number up to 16 divides it: averages and their gradients are whole


def samples(name: str) -> list[Any]:
    """PyTorch's samples of an operator: input, args and kwargs each."""
    from torch.testing._internal.common_methods_invocations import op_db

    (operator,) = (info for info in op_db if info.name == f"nn.functional.{name}")
    torch.manual_seed(0)
    return list(operator.sample_inputs("cpu", torch.float64, requires_grad=False))


def batched(x: Any) -> np.ndarray:
    """PyTorch takes one image without its batch."""
    return np.ascontiguousarray(x.numpy()[None] if x.ndim == 3 else x.numpy())


def forms(values: Any) -> Any:
    """PyTorch takes (1,) for an int and () for the default."""
    if isinstance(values, tuple) and len(values) < 2:
        return values[0] if values else None
    return values


def agree(found: np.ndarray, expected: Any, scale: Any) -> None:
    expected, scale = (tensor.detach().numpy().reshape(found.shape) for tensor in (expected, scale))
    assert np.all(abs(found - expected) <= BOUND * abs(scale))


# --- the samples


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
def test_conv2d_samples(backend: str) -> None:
    drawn = samples("conv2d")
    assert len(drawn) >= 30
    for sample in drawn:
        weight, *bias = sample.args
        arrays = [batched(sample.input), weight.numpy(), *(b if b is None else b.numpy() for b in bias)]
        absolute = [None if b is None else b.abs() for b in bias]
        y = convnet.conv2d(*arrays, **sample.kwargs)
        agree(
            y,
            F.conv2d(sample.input, weight, *bias, **sample.kwargs),
            F.conv2d(sample.input.abs(), weight.abs(), *absolute, **sample.kwargs),
        )


def test_max_pool2d_samples(backend: str) -> None:
    drawn = samples("max_pool2d")
    assert len(drawn) >= 1_440
    for sample in drawn:
        expected = F.max_pool2d(sample.input, **sample.kwargs)
        found = convnet.max_pool2d(batched(sample.input), **sample.kwargs)
        if not sample.kwargs["return_indices"]:
            found, expected = (found,), (expected,)
        for array, tensor in zip(found, expected, strict=True):
            np.testing.assert_array_equal(array, batched(tensor), err_msg=str(sample.kwargs), strict=True)


def test_avg_pool2d_samples(backend: str) -> None:
    """convnet has no divisor_override: there the mean of the real pixels, times their number, is the sum."""
    drawn = samples("avg_pool2d")
    assert len(drawn) >= 7
    for sample in drawn:
        arguments = [forms(value) for value in sample.args]
        settled, override = arguments[:5], arguments[5] if len(arguments) > 5 else None
        if override is None:
            y = convnet.avg_pool2d(batched(sample.input), *settled)
        else:
            count = F.avg_pool2d(torch.ones_like(sample.input), *settled, divisor_override=1).numpy()
            y = convnet.avg_pool2d(batched(sample.input), *settled[:4], False) * count / override
        agree(y, F.avg_pool2d(sample.input, *sample.args), F.avg_pool2d(sample.input.abs(), *sample.args))


# --- random cases


def pairs(rng: np.random.Generator, low: int, high: int) -> tuple[int, int]:
    h, w = rng.integers(low, high, 2, endpoint=True)
    return int(h), int(w)


def random_conv(rng: np.random.Generator) -> ConvCase:
    """Any stride, dilation, groups and uneven padding; outputs up to 9 x 20."""
    groups, c_group, k_group = (int(n) for n in rng.integers(1, [4, 7, 7]))
    if rng.random() < 0.1:  # depthwise
        groups, c_group = int(rng.integers(2, 20)), 1
    kernel, stride, dilation = pairs(rng, 1, 5), pairs(rng, 1, 3), pairs(rng, 1, 3)
    if rng.random() < 0.3:
        kernel, stride, dilation = (3, 3), (1, 1), (1, 1)
    padding = pairs(rng, 0, 3), pairs(rng, 0, 3)
    h, w = (
        max(1, (out - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1 - sum(padding[axis]))
        + int(rng.integers(0, stride[axis]))
        for axis, out in enumerate(rng.integers(1, [10, 21]).tolist())
    )
    weight = (groups * k_group, c_group, *kernel)
    return ConvCase(
        (int(rng.integers(1, 4)), groups * c_group, h, w), weight, stride, padding, dilation, groups
    )


def random_pool(rng: np.random.Generator) -> PoolCase:
    """What PyTorch takes: padding alike on both sides, at most half the kernel."""
    kernel, stride, dilation = pairs(rng, 1, 4), pairs(rng, 1, 4), pairs(rng, 1, 3)
    before = [int(rng.integers(0, size // 2, endpoint=True)) for size in kernel]
    h, w = (
        max(dilation[axis], dilation[axis] * (kernel[axis] - 1) + 1 - 2 * before[axis])
        + int(rng.integers(0, 12))
        for axis in (0, 1)
    )
    n, c = pairs(rng, 1, 4)
    padding = (before[0], before[0]), (before[1], before[1])
    return PoolCase((n, c, h, w), kernel, stride, padding, dilation, bool(rng.integers(2)))


def backward(y: Any, dy: np.ndarray, *of: Any) -> tuple[Any, ...]:
    return torch.autograd.grad(y, of, torch.tensor(dy))


def test_random_convolutions(backend: str) -> None:
    """Values and all gradients."""
    rng = np.random.default_rng(11)
    for _ in range(CASES[backend]):
        case = random_conv(rng)
        arrays = [rng.standard_normal(shape) for shape in (case.x, case.weight, case.weight[:1])]
        y = convnet.conv2d(*arrays, *case.geometry)
        dy = rng.standard_normal(y.shape)
        found = y, *convnet.conv2d_backward(dy, *arrays[:2], *case.geometry)

        def reference(case: ConvCase, dy: np.ndarray, arrays: list[np.ndarray]) -> tuple[Any, ...]:
            x, weight, bias = (torch.tensor(array, requires_grad=True) for array in arrays)
            (top, bottom), (left, right) = case.padding
            padded = F.pad(x, (left, right, top, bottom))
            y = F.conv2d(padded, weight, bias, case.stride, 0, case.dilation, case.groups)
            return y, *backward(y, dy, x, weight, bias)

        expected, scales = reference(case, dy, arrays), reference(case, abs(dy), [abs(a) for a in arrays])
        for array, tensor, scale in zip(found, expected, scales, strict=True):
            agree(array, tensor, scale)


def test_random_pools(backend: str) -> None:
    """Bit-equal, gradients too: many ties among the maxima, and averages that are whole numbers."""
    rng = np.random.default_rng(12)
    for _ in range(CASES[backend]):
        case = random_pool(rng)
        window = case.kernel, case.stride, (case.padding[0][0], case.padding[1][0])
        x = rng.integers(-3, 4, case.x).astype(np.float64)
        of = torch.tensor(x, requires_grad=True)
        expected, places = F.max_pool2d(of, *window, case.dilation, case.ceil_mode, return_indices=True)
        y, indices = convnet.max_pool2d(x, *window, case.dilation, case.ceil_mode, return_indices=True)
        dy = shapes.integers(rng, y.shape, np.float64)
        dx = convnet.max_pool2d_backward(dy, indices, x.shape, *window, case.dilation, case.ceil_mode)
        np.testing.assert_array_equal(y, expected.detach().numpy(), strict=True)
        np.testing.assert_array_equal(indices, places.numpy(), strict=True)
        np.testing.assert_array_equal(dx, backward(expected, dy, of)[0].numpy(), strict=True)

        include = bool(rng.integers(2))
        if case.dilation != (1, 1):  # PyTorch's averages have none
            continue
        x *= SHARED_OUT
        of = torch.tensor(x, requires_grad=True)
        expected = F.avg_pool2d(of, *window, case.ceil_mode, include)
        y = convnet.avg_pool2d(x, *window, case.ceil_mode, include)
        dy = shapes.integers(rng, y.shape, np.float64) * SHARED_OUT
        dx = convnet.avg_pool2d_backward(dy, x.shape, *window, case.ceil_mode, include)
        np.testing.assert_array_equal(y, expected.detach().numpy(), strict=True)
        np.testing.assert_array_equal(dx, backward(expected, dy, of)[0].numpy(), strict=True)
