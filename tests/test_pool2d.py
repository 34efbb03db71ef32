"""max_pool2d and avg_pool2d, forward and backward, on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convnet
import oracles
import shapes
from shapes import PoolCase

LIMITS = {"naive": (2, 6), "im2col": (5, 20), "native": (9, 70)}  # channels, output columns


def draw_case(data: st.DataObject, backend: str) -> tuple[PoolCase, np.random.Generator]:
    case = data.draw(shapes.pool_cases(*LIMITS[backend]))
    return case, np.random.default_rng(data.draw(shapes.seeds))


@given(data=st.data())
def test_max_pool(backend: str, dtype: np.dtype, data: st.DataObject) -> None:
    """Values and indices, with many ties, both zeros, infinities and NaN among the values."""
    case, rng = draw_case(data, backend)
    values = np.array([-np.inf, -2, -1, -0.0, 0.0, 1, np.inf, np.nan], dtype)
    weights = np.array([4, 1, 1, 1, 1, 1, 0.2, 0.2])
    x = rng.choice(values, case.x, p=weights / weights.sum())
    window = case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode
    expected, places = oracles.max_pool2d(x, *window)
    y, indices = convnet.max_pool2d(x, *window, return_indices=True)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, places)
    np.testing.assert_array_equal(convnet.max_pool2d(x, *window), y)


@given(data=st.data())
def test_max_pool_backward(backend: str, dtype: np.dtype, data: st.DataObject) -> None:
    """Against the oracle, and as the adjoint: <y, dy> = <x, dx> when the choice of maxima stays."""
    case, rng = draw_case(data, backend)
    x = shapes.integers(rng, case.x, dtype)
    window = case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode
    y, indices = convnet.max_pool2d(x, *window, return_indices=True)
    dy = shapes.integers(rng, y.shape, dtype)
    dx = convnet.max_pool2d_backward(dy, indices, case.x, *window)
    assert dx.dtype == dtype
    np.testing.assert_array_equal(dx, oracles.max_pool2d_backward(dy, indices, case.x))
    assert np.sum((y * dy).astype(np.int64)) == np.sum((x * dx).astype(np.int64))


@pytest.mark.parametrize("count_include_pad", [True, False])
@given(data=st.data())
def test_avg_pool(backend: str, dtype: np.dtype, count_include_pad: bool, data: st.DataObject) -> None:
    """Sums of integers are exact, so that only the division rounds."""
    case, rng = draw_case(data, backend)
    x = shapes.integers(rng, case.x, dtype)
    geometry = case.kernel, case.stride, case.padding
    expected = oracles.avg_pool2d(
        x.astype(np.longdouble), *geometry, case.dilation, case.ceil_mode, count_include_pad
    )
    y = convnet.avg_pool2d(x, *geometry, case.ceil_mode, count_include_pad, dilation=case.dilation)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected.astype(np.float64), rtol=np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("count_include_pad", [True, False])
@given(data=st.data())
def test_avg_pool_backward(
    backend: str, dtype: np.dtype, count_include_pad: bool, data: st.DataObject
) -> None:
    """Within 8·u of the sum of sizes of the oracle."""
    case, rng = draw_case(data, backend)
    geometry = case.kernel, case.stride, case.padding
    y = convnet.avg_pool2d(
        np.zeros(case.x, dtype), *geometry, case.ceil_mode, count_include_pad, dilation=case.dilation
    )
    dy = shapes.integers(rng, y.shape, dtype)
    dx = convnet.avg_pool2d_backward(
        dy, case.x, *geometry, case.ceil_mode, count_include_pad, dilation=case.dilation
    )
    assert dx.dtype == dtype
    settled = case.x, *geometry, case.dilation, case.ceil_mode, count_include_pad
    expected, scale = (
        oracles.avg_pool2d_backward(a, *settled)
        for a in (dy.astype(np.longdouble), abs(dy).astype(np.longdouble))
    )
    assert np.all(abs(dx - expected) <= 4 * np.finfo(dtype).eps * scale)


@pytest.mark.parametrize("count_include_pad", [True, False])
def test_finite_differences(backend: str, count_include_pad: bool) -> None:
    rng = np.random.default_rng(1)
    x = rng.permutation(2 * 3 * 5 * 6).reshape(2, 3, 5, 6).astype(np.float64)  # no ties
    geometry = (3, 2), (2, 1), ((1, 0), (1, 1))

    y, indices = convnet.max_pool2d(x, *geometry, return_indices=True)
    dy = rng.standard_normal(y.shape)
    numeric = oracles.central_difference(lambda: convnet.max_pool2d(x, *geometry), x, dy, step=0.25)
    dx = convnet.max_pool2d_backward(dy, indices, x.shape, *geometry)
    np.testing.assert_allclose(dx, numeric, rtol=0, atol=1e-9)

    def average() -> np.ndarray:
        return convnet.avg_pool2d(x, *geometry, count_include_pad=count_include_pad)

    numeric = oracles.central_difference(average, x, dy, step=0.25)
    dx = convnet.avg_pool2d_backward(dy, x.shape, *geometry, count_include_pad=count_include_pad)
    np.testing.assert_allclose(dx, numeric, rtol=0, atol=1e-9)


def test_stride_defaults_to_the_kernel(backend: str) -> None:
    x = np.arange(2 * 6 * 9.0).reshape(1, 2, 6, 9)
    np.testing.assert_array_equal(convnet.max_pool2d(x, (2, 3)), convnet.max_pool2d(x, (2, 3), (2, 3)))
    np.testing.assert_array_equal(convnet.avg_pool2d(x, 3), convnet.avg_pool2d(x, (3, 3), (3, 3)))
    y, indices = convnet.max_pool2d(x, (2, 3), return_indices=True)
    dx = convnet.max_pool2d_backward(np.ones_like(y), indices, x.shape, (2, 3))
    assert dx.sum() == y.size
    dx = convnet.avg_pool2d_backward(np.ones((1, 2, 2, 3)), x.shape, 3)
    np.testing.assert_allclose(dx, np.full(x.shape, 1 / 9), rtol=1e-15)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "ceil_mode", "extent"),
    [
        (5, 2, 2, 0, False, 2),
        (5, 2, 2, 0, True, 3),  # a partial window
        (7, 2, 2, 0, True, 4),  # the worked example's maps: 7 -> 4 -> 2
        (4, 2, 2, 1, True, 3),
        (3, 2, 2, 1, True, 2),  # a third window would start in the right padding
        (2, 1, 3, 0, True, 1),  # and here past the end
        (1, 1, 1, 0, True, 1),
    ],
)
def test_ceil_mode(
    backend: str, size: int, kernel: int, stride: int, padding: int, ceil_mode: bool, extent: int
) -> None:
    x = np.zeros((1, 1, size, size))
    assert convnet.max_pool2d(x, kernel, stride, padding, 1, ceil_mode).shape == (1, 1, extent, extent)
    assert convnet.avg_pool2d(x, kernel, stride, padding, ceil_mode).shape == (1, 1, extent, extent)


def test_average_divides_by_the_clipped_window(backend: str) -> None:
    """The last window of 5 columns by pairs holds one; padding counts when asked, never past its edge."""
    x = np.full((1, 1, 5, 5), 12.0)
    np.testing.assert_array_equal(convnet.avg_pool2d(x, 2, ceil_mode=True), np.full((1, 1, 3, 3), 12.0))
    padded = convnet.avg_pool2d(x, 3, 2, 1)
    np.testing.assert_allclose(padded[0, 0, 0], [12 * 4 / 9, 12 * 6 / 9, 12 * 4 / 9], rtol=1e-15)
    real = convnet.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    np.testing.assert_allclose(real, np.full((1, 1, 3, 3), 12.0), rtol=1e-15)


def test_maxima_at_the_edges_of_arithmetic(backend: str, dtype: np.dtype) -> None:
    """First NaN, first of ties, equal zeros, -inf alone: a valid index each time."""
    nan, inf = np.nan, np.inf
    windows = [
        ((1, nan, 2, nan), nan, 1),
        ((3, 3, 3, 3), 3, 0),
        ((1, 7, 7, 2), 7, 1),
        ((-0.0, 0.0, -1, -1), 0.0, 0),
        ((0.0, -0.0, -1, -1), 0.0, 0),
        ((-inf, -inf, -inf, -inf), -inf, 0),
        ((-inf, nan, inf, 0), nan, 1),
        ((-inf, -5, inf, inf), inf, 2),
    ]
    for window, value, place in windows:
        x = np.array(window, dtype).reshape(1, 1, 2, 2)
        y, indices = convnet.max_pool2d(x, 2, return_indices=True)
        np.testing.assert_array_equal(y, np.full((1, 1, 1, 1), value, dtype), strict=True)
        assert indices.item() == place
        assert indices.dtype == np.int64


def test_padding_never_wins(backend: str, dtype: np.dtype) -> None:
    x = np.full((1, 1, 2, 2), -np.inf, dtype)
    y, indices = convnet.max_pool2d(x, 3, 1, 1, return_indices=True)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(indices, np.zeros((1, 1, 2, 2)))


@pytest.mark.parametrize("name", ["same", "same_upper", "same_lower", "valid"])
def test_padding_by_name(backend: str, name: str) -> None:
    x = np.random.default_rng(2).integers(-9, 9, (1, 1, 7, 8)).astype(np.float64)
    padding = ((0, 0), (0, 0))
    if name != "valid":
        rows, columns = (oracles.same_padding(n, 3, 2, 1, lower=name == "same_lower") for n in (7, 8))
        padding = (rows, columns)
    settled = (3, 3), (2, 2), padding, (1, 1), False
    y, indices = convnet.max_pool2d(x, 3, 2, name, return_indices=True)
    expected, places = oracles.max_pool2d(x, *settled)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, places)
    np.testing.assert_array_equal(
        convnet.max_pool2d_backward(y, indices, x.shape, 3, 2, name),
        oracles.max_pool2d_backward(y, indices, x.shape),
    )
    np.testing.assert_allclose(
        convnet.avg_pool2d(x, 3, 2, name), oracles.avg_pool2d(x, *settled, True), rtol=1e-15
    )


def last(a: np.ndarray) -> np.ndarray:
    """(N, C, H, W) as (N, H, W, C)."""
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1))


CHANNELS_LAST = {"naive": (3, 3), "im2col": (9, 9), "native": (140, 9)}  # channels, output columns


@given(data=st.data())
def test_channels_last(backend: str, dtype: np.dtype, data: st.DataObject) -> None:
    """The maxima of the oracle, and what channels first gives, to the bit: whole vectors and parts."""
    case = data.draw(shapes.pool_cases(*CHANNELS_LAST[backend]))
    rng = np.random.default_rng(data.draw(shapes.seeds))
    values = np.array([-np.inf, -2, -1, -0.0, 0.0, 1, np.inf, np.nan], dtype)
    weights = np.array([4, 1, 1, 1, 1, 1, 0.2, 0.2])
    x = rng.choice(values, case.x, p=weights / weights.sum())
    window = case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode
    expected, places = oracles.max_pool2d(x, *window)
    y, indices = convnet.max_pool2d(last(x), *window, return_indices=True, layout="NHWC")
    assert y.dtype == dtype
    assert y.tobytes() == last(expected).tobytes()
    np.testing.assert_array_equal(indices, last(places), strict=True)
    np.testing.assert_array_equal(convnet.max_pool2d(last(x), *window, layout="NHWC"), y)

    dy, shape = shapes.normals(rng, expected.shape, dtype), last(x).shape
    dx = convnet.max_pool2d_backward(last(dy), indices, shape, *window, layout="NHWC")
    assert dx.tobytes() == last(convnet.max_pool2d_backward(dy, places, case.x, *window)).tobytes()

    x = shapes.integers(rng, case.x, dtype)
    geometry = case.kernel, case.stride, case.padding, case.ceil_mode, bool(rng.integers(2))
    first, other = {"dilation": case.dilation}, {"dilation": case.dilation, "layout": "NHWC"}
    mean = convnet.avg_pool2d(last(x), *geometry, **other)
    assert mean.tobytes() == last(convnet.avg_pool2d(x, *geometry, **first)).tobytes()
    dx = convnet.avg_pool2d_backward(last(dy), shape, *geometry, **other)
    assert dx.tobytes() == last(convnet.avg_pool2d_backward(dy, case.x, *geometry, **first)).tobytes()


@pytest.mark.parametrize("channels", [1, 3, 4, 16, 21, 64, 70])
def test_indices_outside_their_windows(backend: str, dtype: np.dtype, channels: int) -> None:
    """In their plane they are served, in both layouts; outside they are refused."""
    rng = np.random.default_rng(channels)
    shape = (2, channels, 6, 7)
    dy = shapes.integers(rng, (2, channels, 3, 3), dtype)
    indices = rng.integers(0, 42, dy.shape)
    expected = oracles.max_pool2d_backward(dy, indices, shape)
    np.testing.assert_array_equal(convnet.max_pool2d_backward(dy, indices, shape, 2), expected)
    dx = convnet.max_pool2d_backward(last(dy), last(indices), (2, 6, 7, channels), 2, layout="NHWC")
    np.testing.assert_array_equal(dx, last(expected))
    for index in (-1, 42, 2**32, 2**32 + 9, -(2**63)):
        indices[1, channels - 1, 0, 1] = index
        with pytest.raises(ValueError, match=f"^max_pool2d_backward: .*{index}"):
            convnet.max_pool2d_backward(last(dy), last(indices), (2, 6, 7, channels), 2, layout="NHWC")


def test_memory_layouts_give_the_same_bits(backend: str, dtype: np.dtype) -> None:
    rng = np.random.default_rng(4)
    x = shapes.normals(rng, (2, 3, 5, 6), dtype)
    y, indices = convnet.max_pool2d(x, 2, 1, 1, return_indices=True)
    average = convnet.avg_pool2d(x, 2, 1, 1)
    dy = shapes.normals(rng, y.shape, dtype)
    max_dx = convnet.max_pool2d_backward(dy, indices, x.shape, 2, 1, 1)
    avg_dx = convnet.avg_pool2d_backward(dy, x.shape, 2, 1, 1)
    held = zip(*map(shapes.memory_layouts, (x, dy, indices)), strict=True)
    for (name, other_x), (_, other_dy), (_, other_indices) in held:
        found = [
            *convnet.max_pool2d(other_x, 2, 1, 1, return_indices=True),
            convnet.avg_pool2d(other_x, 2, 1, 1),
            convnet.max_pool2d_backward(other_dy, other_indices, x.shape, 2, 1, 1),
            convnet.avg_pool2d_backward(other_dy, x.shape, 2, 1, 1),
        ]
        for array, expected in zip(found, (y, indices, average, max_dx, avg_dx), strict=True):
            assert type(array) is np.ndarray, name
            np.testing.assert_array_equal(array, expected, err_msg=name, strict=True)


@pytest.mark.parametrize("bad", ["int32", "float16", "complex128", "bool", "object"])
def test_other_dtypes_are_refused(backend: str, bad: str) -> None:
    x = np.ones((1, 1, 4, 4), bad)
    for pool in (convnet.max_pool2d, convnet.avg_pool2d):
        with pytest.raises(TypeError, match=rf"x.*{x.dtype}.*astype"):
            pool(x, 2)
    with pytest.raises(TypeError, match="indices"):
        convnet.max_pool2d_backward(np.ones((1, 1, 2, 2)), np.zeros((1, 1, 2, 2)), (1, 1, 4, 4), 2)


@pytest.mark.parametrize(
    ("x", "options", "told"),
    [
        ((3, 8, 9), {}, ["x", "(3, 8, 9)"]),
        ((1, 3, 8, 9), {"kernel_size": 0}, ["kernel", "0"]),
        ((1, 3, 8, 9), {"kernel_size": (9, 2)}, ["9", "8"]),
        ((1, 3, 8, 9), {"kernel_size": (2, 2, 2)}, ["(2, 2, 2)"]),
        ((1, 3, 8, 9), {"stride": 0}, ["stride", "0"]),
        ((1, 3, 8, 9), {"stride": -1}, ["stride", "-1"]),
        ((1, 3, 8, 9), {"dilation": 0}, ["dilation", "0"]),
        ((1, 3, 8, 9), {"padding": -1}, ["padding", "-1"]),
        ((1, 3, 8, 9), {"padding": 2}, ["padding", "2"]),  # not below the kernel: a window of padding only
        ((1, 3, 8, 9), {"padding": ((0, 2), (0, 0))}, ["padding", "2"]),
        ((1, 1, 1, 1), {"kernel_size": 2, "dilation": 2, "padding": 1, "stride": 1}, ["holds no element"]),
        ((1, 1, 1, 1), {"kernel_size": 3, "dilation": 3, "padding": 6, "stride": 1}, ["holds no element"]),
        ((1, 3, 8, 9), {"padding": "half"}, ["padding", "half"]),
    ],
    ids=str,
)
def test_bad_arguments_are_told_with_their_sizes(
    backend: str, x: tuple[int, ...], options: dict[str, object], told: list[str]
) -> None:
    arguments = {"kernel_size": 2, **options}
    for pool in (convnet.max_pool2d, convnet.avg_pool2d):
        with pytest.raises(ValueError, match=f"^{pool.__name__}: ") as caught:
            pool(np.zeros(x), **arguments)
        for fragment in told:
            assert fragment in str(caught.value)


@pytest.mark.parametrize("index", [-1, 30, 2**40, -(2**63)])
def test_indices_are_checked_against_their_plane(backend: str, index: int) -> None:
    """An index one image over would write into a neighbour; one far away, anywhere."""
    y, indices = convnet.max_pool2d(np.ones((2, 2, 5, 6)), 2, return_indices=True)
    indices[0, 1, 1, 2] = index
    with pytest.raises(ValueError, match=str(index)):
        convnet.max_pool2d_backward(y, indices, (2, 2, 5, 6), 2)


def test_dy_and_indices_must_fit(backend: str) -> None:
    y, indices = convnet.max_pool2d(np.ones((2, 2, 6, 6)), 2, return_indices=True)
    for dy, places in ((y[:1], indices), (y, indices[..., :2]), (y[:, :, :2], indices[:, :, :2])):
        with pytest.raises(ValueError, match=r"^max_pool2d_backward: .*\(2, 2, 3, 3\)"):
            convnet.max_pool2d_backward(dy, places, (2, 2, 6, 6), 2)
    with pytest.raises(ValueError, match=r"^avg_pool2d_backward: .*\(2, 2, 3, 3\)"):
        convnet.avg_pool2d_backward(y[:, :, :2], (2, 2, 6, 6), 2)


@pytest.mark.parametrize("shape", [(0, 3, 6, 6), (2, 0, 6, 6)])
def test_empty(backend: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    x = np.zeros(shape, dtype)
    y, indices = convnet.max_pool2d(x, 2, return_indices=True)
    assert y.shape == indices.shape == convnet.avg_pool2d(x, 2).shape == (*shape[:2], 3, 3)
    assert convnet.max_pool2d_backward(y, indices, shape, 2).shape == shape
    assert convnet.avg_pool2d_backward(y, shape, 2).shape == shape
