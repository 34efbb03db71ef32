"""conv_transpose2d and its gradients: the adjoint of conv2d, on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import convnet
import oracles
import shapes

# x, weight, and the arguments
CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 4, 5), (3, 2, 3, 3), {}),
    ((1, 3, 4, 5), (3, 2, 3, 2), {"stride": 2, "padding": 1, "output_padding": 1}),
    (
        (2, 4, 3, 4),
        (4, 3, 3, 2),
        {"stride": (3, 2), "padding": (0, 1), "groups": 2, "output_padding": (2, 0)},
    ),
    ((1, 2, 3, 3), (2, 3, 2, 3), {"dilation": (3, 2), "padding": ((1, 0), (2, 1))}),
    ((1, 2, 2, 3), (2, 1, 2, 2), {"stride": 4}),  # rows and columns that no kernel reaches
    ((1, 2, 3, 3), (2, 3, 2, 2), {"stride": 2, "dilation": 4, "output_padding": 3, "padding": 2}),
    ((2, 6, 1, 1), (6, 1, 4, 4), {"groups": 6}),
    ((1, 1, 1, 1), (1, 1, 1, 1), {"stride": 3, "output_padding": 2}),
]
every_case = pytest.mark.parametrize(("x", "weight", "options"), CASES, ids=str)


def direct(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, **options: Any) -> np.ndarray:
    """Each input value lays its kernel, scaled, over the full output, from which padding is then cut."""
    stride, dilation, more = (
        np.broadcast_to(options.get(name, default), 2)
        for name, default in (("stride", 1), ("dilation", 1), ("output_padding", 0))
    )
    padding = np.array(options.get("padding", 0))
    (top, bottom), (left, right) = (
        padding if padding.ndim == 2 else np.broadcast_to(padding[..., None], (2, 2))
    )
    groups = options.get("groups", 1)
    n, c_in, h, w = x.shape
    _, c_group, *kernel = weight.shape
    extent = [
        (size - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1 + more[axis]
        for axis, size in enumerate((h, w))
    ]
    full = np.zeros((n, c_group * groups, *extent), x.dtype)
    for c in range(c_in):
        first = c // (c_in // groups) * c_group
        for i, j, a, b in np.ndindex(h, w, *kernel):
            place = i * stride[0] + a * dilation[0], j * stride[1] + b * dilation[1]
            full[:, first : first + c_group, place[0], place[1]] += x[:, c, i, j, None] * weight[c, :, a, b]
    full += bias[:, None, None]
    return full[:, :, top : extent[0] - bottom, left : extent[1] - right]


def arrays(dtype: Any, x: tuple[int, ...], weight: tuple[int, ...], groups: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [shapes.integers(rng, shape, dtype) for shape in (x, weight, (weight[1] * groups,))]


@every_case
def test_exact_on_integers(
    backend: str, dtype: np.dtype, x: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any]
) -> None:
    given_ = arrays(dtype, x, weight, options.get("groups", 1))
    np.testing.assert_array_equal(
        convnet.conv_transpose2d(*given_, **options), direct(*given_, **options), strict=True
    )
    without = convnet.conv_transpose2d(*given_[:2], **options)
    np.testing.assert_array_equal(without, direct(*given_[:2], np.zeros_like(given_[2]), **options))


@every_case
def test_gradients_are_adjoint(
    backend: str, dtype: np.dtype, x: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any]
) -> None:
    """y is linear in x and in weight: <dy, y(x)> = <dx, x>, exactly on integers."""
    xs, ws, _ = arrays(dtype, x, weight, options.get("groups", 1))
    y = convnet.conv_transpose2d(xs, ws, **options)
    dy = shapes.integers(np.random.default_rng(1), y.shape, dtype)
    dx, dw, db = convnet.conv_transpose2d_backward(dy, xs, ws, **options)
    assert (dx.dtype, dw.dtype, db.dtype) == (dtype,) * 3
    inner = np.vdot(dy.astype(np.float64), y)
    assert np.vdot(dx.astype(np.float64), xs) == inner
    assert np.vdot(dw.astype(np.float64), ws) == inner
    np.testing.assert_array_equal(db, dy.sum((0, 2, 3)))


@settings(max_examples=60)
@given(case=shapes.conv_cases(macs=2_000), seed=shapes.seeds)
def test_is_the_input_gradient_of_conv2d(backend: str, case: shapes.ConvCase, seed: int) -> None:
    """On random geometries, against the oracle; the rows that a stride left over are output_padding."""
    rng = np.random.default_rng(seed)
    dy, weight = (shapes.integers(rng, shape, np.float64) for shape in (case.y, case.weight))
    x = np.zeros(case.x)
    expected, _, _ = oracles.conv2d_backward(dy, x, weight, *case.geometry)
    over = [
        (case.x[2 + axis] + sum(case.padding[axis]) - case.dilation[axis] * (case.weight[2 + axis] - 1) - 1)
        % case.stride[axis]
        for axis in (0, 1)
    ]
    y = convnet.conv_transpose2d(
        dy, weight, None, case.stride, case.padding, over, case.groups, case.dilation
    )
    np.testing.assert_array_equal(y, expected, strict=True)


def test_finite_differences(backend: str) -> None:
    rng = np.random.default_rng(2)
    options = {"stride": (2, 1), "padding": (1, 0), "output_padding": (1, 0), "groups": 2}
    x, weight, bias = (rng.standard_normal(shape) for shape in ((1, 2, 3, 2), (2, 2, 3, 2), (4,)))

    def forward() -> np.ndarray:
        return convnet.conv_transpose2d(x, weight, bias, **options)

    dy = rng.standard_normal(forward().shape)
    found = convnet.conv_transpose2d_backward(dy, x, weight, **options)
    for gradient, at in zip(found, (x, weight, bias), strict=True):
        numeric = oracles.central_difference(forward, at, dy, step=1e-4)
        np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-9)


@pytest.mark.parametrize("needs", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
def test_needs(backend: str, needs: tuple[int, int, int]) -> None:
    x, weight, _ = arrays(np.float64, (1, 2, 3, 3), (2, 3, 2, 2))
    dy = convnet.conv_transpose2d(x, weight, stride=2)
    full = convnet.conv_transpose2d_backward(dy, x, weight, stride=2)
    for needed, found, whole in zip(
        needs, convnet.conv_transpose2d_backward(dy, x, weight, stride=2, needs=needs), full, strict=True
    ):
        assert (found is None) != needed
        if needed:
            np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize(("name", "before"), [("same", 0), ("same_upper", 0), ("same_lower", 1)])
def test_same_multiplies_the_size_by_the_stride(backend: str, name: str, before: int) -> None:
    x, weight, _ = arrays(np.float64, (1, 1, 3, 4), (1, 1, 3, 3))
    y = convnet.conv_transpose2d(x, weight, None, 2, name)
    assert y.shape == (1, 1, 6, 8)
    ends = (before, 1 - before)
    np.testing.assert_array_equal(y, convnet.conv_transpose2d(x, weight, None, 2, (ends, ends)))
    with pytest.raises(ValueError, match=r"^conv_transpose2d: padding='same.*stride \(4, 4\)"):
        convnet.conv_transpose2d(x, weight, None, 4, name)


@pytest.mark.parametrize("shape", [(0, 2, 3, 3), (2, 0, 3, 3)])
def test_empty(backend: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """No image, no output; no input channel, the bias alone."""
    x, weight, bias = np.ones(shape, dtype), np.ones((shape[1], 2, 2, 2), dtype), np.array([3, 4], dtype)
    y = convnet.conv_transpose2d(x, weight, bias, 2)
    np.testing.assert_array_equal(y, np.zeros((shape[0], 2, 6, 6), dtype) + bias[:, None, None], strict=True)
    dx, dw, db = convnet.conv_transpose2d_backward(y, x, weight, 2)
    assert dx.shape == x.shape
    np.testing.assert_array_equal(dw, np.zeros_like(weight), strict=True)
    np.testing.assert_array_equal(db, y.sum((0, 2, 3)), strict=True)


@pytest.mark.parametrize(
    ("x", "weight", "options", "told"),
    [
        ((2, 3, 4), (3, 2, 3, 3), {}, ["x must", "(2, 3, 4)"]),
        ((2, 3, 4, 4), (3, 2, 3), {}, ["weight must", "(3, 2, 3)"]),
        ((2, 3, 4, 4), (4, 2, 3, 3), {}, ["3 channels", "expects 4"]),
        ((2, 3, 4, 4), (3, 2, 3, 3), {"groups": 2}, ["groups = 2", "3 input channels"]),
        ((2, 3, 4, 4), (3, 2, 3, 3), {"groups": 0}, ["groups", "0"]),
        ((2, 3, 0, 4), (3, 2, 3, 3), {}, ["height", "0"]),
        ((2, 3, 4, 4), (3, 2, 0, 3), {}, ["kernel", "0"]),
        ((2, 3, 4, 4), (3, 2, 3, 3), {"stride": 0}, ["stride", "0"]),
        ((2, 3, 4, 4), (3, 2, 3, 3), {"dilation": -1}, ["dilation", "-1"]),
        ((2, 3, 4, 4), (3, 2, 3, 3), {"padding": -1}, ["padding", "-1"]),
        ((2, 3, 4, 4), (3, 2, 3, 3), {"padding": 3}, ["padding", "3", "leaves nothing"]),
        ((2, 3, 4, 4), (3, 2, 3, 3), {"stride": 2, "output_padding": 2}, ["output_padding", "2"]),
        ((2, 3, 4, 4), (3, 2, 3, 3), {"output_padding": -1}, ["output_padding", "-1"]),
        ((2, 3, 4, 4), (3, 2, 3, 3), {"stride": 2**40}, ["stride", str(2**40)]),
        ((2, 3, 4, 4), (3, 2, 3, 3), {"stride": 2**31}, ["too large"]),
        ((2, 3, 4, 4), (3, 2, 3, 3), {"padding": "full"}, ["padding", "full"]),
    ],
    ids=str,
)
def test_bad_arguments(
    backend: str, x: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any], told: list[str]
) -> None:
    with pytest.raises(ValueError, match=r"^conv_transpose2d: ") as caught:
        convnet.conv_transpose2d(np.zeros(x), np.zeros(weight), **options)
    for fragment in told:
        assert fragment in str(caught.value)


def test_bias_and_dy_must_fit(backend: str) -> None:
    x, weight = np.zeros((1, 4, 3, 3)), np.zeros((4, 3, 2, 2))
    with pytest.raises(ValueError, match=r"^conv_transpose2d: bias .*\(4,\)"):
        convnet.conv_transpose2d(x, weight, np.zeros(4))
    with pytest.raises(ValueError, match=r"^conv_transpose2d_backward: dy .*\(1, 3, 3, 3\)"):
        convnet.conv_transpose2d_backward(np.zeros((1, 3, 3, 3)), x, weight)
