"""Rounding of Winograd's F(4x4, 3x3), which is more than direct's: bounded forward, for dx and for dw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pytest

import convnet
import shapes
from shapes import ConvCase

UNIT = np.finfo("f4").eps / 2
UNIT_STRIDE = (1, 1)


def case_of(images: int, c: int, k: int, size: tuple[int, int], pad: int = 1, groups: int = 1) -> ConvCase:
    return ConvCase(
        (images, c, *size), (k, c // groups, 3, 3), UNIT_STRIDE, ((pad, pad), (pad, pad)), UNIT_STRIDE, groups
    )


CASES = [
    case_of(1, 64, 64, (28, 28)),
    case_of(2, 16, 48, (17, 30)),
    case_of(9, 130, 33, (7, 7)),
    case_of(1, 256, 20, (14, 13)),
    case_of(3, 40, 70, (14, 14)),
    case_of(4, 40, 36, (9, 21), groups=2),
    case_of(5, 17, 16, (12, 12), pad=0),
]
# Larger kernels, each a sum of 3x3 grids: by kernel, stride and padding
LARGER = [
    ConvCase(
        (n, c, *size), (k, c // groups, *kernel), stride, ((pads[0],) * 2, (pads[1],) * 2), (1, 1), groups
    )
    for n, c, k, size, kernel, stride, pads, groups in [
        (1, 64, 40, (28, 28), (5, 5), (1, 1), (2, 2), 1),
        (3, 17, 33, (15, 13), (4, 5), (1, 1), (2, 2), 1),
        (1, 16, 40, (30, 41), (7, 7), (1, 1), (3, 3), 1),
        (4, 40, 40, (7, 7), (5, 5), (1, 1), (2, 2), 1),
        (2, 12, 70, (19, 16), (6, 8), (1, 1), (1, 3), 2),
        (1, 3, 64, (70, 128), (7, 7), (2, 2), (3, 3), 1),
        (1, 3, 48, (67, 71), (11, 11), (4, 4), (0, 0), 1),
        (2, 12, 20, (21, 40), (5, 5), (2, 2), (1, 3), 1),
        (1, 20, 17, (40, 21), (6, 5), (2, 2), (0, 1), 1),
        (5, 40, 50, (14, 14), (5, 5), (2, 2), (2, 2), 1),
        (2, 6, 20, (33, 35), (7, 9), (3, 1), (3, 4), 2),
        (1, 18, 16, (9, 64), (3, 7), (1, 3), (1, 2), 1),
    ]
]


@pytest.fixture(autouse=True)
def native() -> Iterator[None]:
    threads = convnet.get_num_threads()
    with convnet.backend("native"):
        yield
    convnet.set_num_threads(threads)


def results(
    case: ConvCase, arrays: tuple[np.ndarray, ...], algorithm: str, layout: str = "NCHW"
) -> list[np.ndarray]:
    """y, dx and dw, from and to NCHW."""
    x, weight, dy = arrays
    if layout == "NHWC":
        x, weight, dy = shapes.channels_last(x), shapes.hwio(weight), shapes.channels_last(dy)
    asked = {"algorithm": algorithm, "layout": layout}
    y = convnet.conv2d(x, weight, None, *case.geometry, **asked)
    dx, dw, _ = convnet.conv2d_backward(dy, x, weight, *case.geometry, **asked, needs=(True, True, False))
    if layout == "NHWC":
        return [y.transpose(0, 3, 1, 2), dx.transpose(0, 3, 1, 2), dw.transpose(3, 2, 0, 1)]
    return [y, dx, dw]


def normal_arrays(case: ConvCase, seed: int) -> tuple[np.ndarray, ...]:
    """x, weight and dy."""
    rng = np.random.default_rng(seed)
    return tuple(shapes.normals(rng, shape, "f4") for shape in (case.x, case.weight, case.y))


def assert_accurate(
    case: ConvCase,
    arrays: tuple[np.ndarray, ...],
    found: list[np.ndarray],
    direct: list[np.ndarray],
    winograd: tuple[str, ...] = ("y", "dx", "dw"),
) -> None:
    """At most 64·u·Σ|x||w| anywhere, and 4 times direct's error in the root mean square."""
    wide = tuple(a.astype("f8") for a in arrays)
    exact = results(case, wide, "direct")
    sizes = results(case, tuple(abs(a) for a in wide), "direct")
    for name, y, plain, expected, size in zip(("y", "dx", "dw"), found, direct, exact, sizes, strict=True):
        if name in winograd:
            assert not np.array_equal(y, plain), f"{name}: not Winograd's"
        error, plain_error = abs(y - expected), abs(plain - expected)
        assert np.all(error <= 64 * UNIT * size), name
        assert np.sqrt(np.mean(error**2)) <= 4 * np.sqrt(np.mean(plain_error**2)), name


@pytest.mark.parametrize("case", CASES, ids=str)
def test_error_on_normal_data(case: ConvCase) -> None:
    arrays = normal_arrays(case, 0)
    found, direct = results(case, arrays, "winograd"), results(case, arrays, "direct")
    assert_accurate(case, arrays, found, direct)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("groups", [1, 2])
def test_corners_of_a_lone_input_a_channel(groups: int, layout: str) -> None:
    """Those of an unpadded convolution's dx are summed apart; "auto" takes Winograd for the rest."""
    case = case_of(3, 48 * groups, 35 * groups, (20, 23), pad=0, groups=groups)
    arrays = normal_arrays(case, 6)
    found, direct = results(case, arrays, "auto", layout), results(case, arrays, "direct", layout)
    assert_accurate(case, arrays, found, direct)
    wide = tuple(a.astype("f8") for a in arrays)
    exact, size = results(case, wide, "direct")[1], results(case, tuple(abs(a) for a in wide), "direct")[1]
    corners = np.ix_(range(3), range(48 * groups), (0, -1), (0, -1))
    assert np.all(abs(found[1] - exact)[corners] <= 8 * UNIT * size[corners])


@pytest.mark.parametrize("activation", [None, "relu"])
def test_padding_of_all_but_one_row(activation: Literal["relu"] | None) -> None:
    """Corners have bias and ReLU too; with more padding, where outputs find no input, "auto" goes direct."""
    rng = np.random.default_rng(7)
    x, weight, bias = (
        rng.integers(-3, 4, (2, 32, 15, 17)),
        rng.integers(-3, 4, (40, 32, 3, 3)),
        np.arange(40) - 20,
    )
    arrays = [a.astype("f4") for a in (x, weight, bias)]
    for padding, algorithm in ((2, "winograd"), (3, "direct")):
        assert convnet.explain_conv2d(x.shape, weight.shape, padding=padding).algorithm == algorithm
        found = convnet.conv2d(*arrays, padding=padding, activation=activation)
        wide = [a.astype("f8") for a in arrays]
        expected = convnet.conv2d(*wide, padding=padding, activation=activation)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-2)
        np.testing.assert_array_equal(found[:, :, ::16, ::18], expected[:, :, ::16, ::18])


def test_error_beside_large_values() -> None:
    """What is large in a tile of 6 x 6 inputs rounds its small outputs; no tile feels another's values."""
    rng = np.random.default_rng(1)
    case = case_of(1, 16, 16, (32, 32))
    x, weight = shapes.normals(rng, case.x, "f4"), shapes.normals(rng, case.weight, "f4")
    x[:, :, :, 15:] *= 1e6
    exact = convnet.conv2d(x.astype("f8"), weight.astype("f8"), None, *case.geometry, algorithm="direct")
    error = abs(convnet.conv2d(x, weight, None, *case.geometry, algorithm="winograd") - exact)
    small = convnet.conv2d(
        abs(x).astype("f8"), abs(weight).astype("f8"), None, *case.geometry, algorithm="direct"
    )
    # The tiles of columns 0 to 11 read inputs up to column 12; 12 and 13 share theirs with large values.
    assert np.all(error[..., :12] <= 64 * UNIT * small[..., :12])
    assert np.any(error[..., 12:14] > 64 * UNIT * small[..., 12:14])
    largest = abs(x).max() * abs(weight).sum(axis=(1, 2, 3)).max()
    assert np.all(error <= 64 * UNIT * largest)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("case", LARGER, ids=str)
def test_larger_kernels(case: ConvCase, layout: str) -> None:
    """As accurate as 3x3 ones, in either layout. A strided dw and some phases of a strided dx go direct."""
    arrays = normal_arrays(case, 4)
    found, direct = results(case, arrays, "winograd", layout), results(case, arrays, "direct", layout)
    assert_accurate(case, arrays, found, direct, ("y", "dx", "dw") if case.stride == UNIT_STRIDE else ("y",))


# Images large enough for "auto" to take the phases of the dilation
DILATED = [
    ConvCase((n, c, *size), (k, c // groups, *kernel), UNIT_STRIDE, padding, dilation, groups)
    for n, c, k, size, kernel, padding, dilation, groups in [
        (2, 64, 64, (49, 46), (3, 3), ((2, 2), (2, 2)), (2, 2), 1),
        (1, 50, 70, (54, 63), (3, 3), ((1, 1), (5, 5)), (1, 5), 1),
        (1, 64, 64, (53, 57), (3, 4), ((3, 3), (3, 3)), (3, 2), 1),
        (1, 128, 130, (50, 45), (3, 3), ((6, 6), (6, 6)), (6, 6), 2),
        (1, 64, 64, (59, 71), (5, 5), ((4, 4), (6, 6)), (2, 3), 1),
    ]
]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("case", DILATED, ids=str)
def test_dilated_kernels(case: ConvCase, layout: str) -> None:
    """As accurate as those without dilation; the same bits whatever the threads and the batch."""
    arrays = normal_arrays(case, 5)
    x, weight, _ = arrays
    assert convnet.explain_conv2d(x.shape, weight.shape, *case.geometry).algorithm == "winograd"
    found, direct = results(case, arrays, "auto", layout), results(case, arrays, "direct", layout)
    assert_accurate(case, arrays, found, direct)
    for threads in (1, 3):
        convnet.set_num_threads(threads)
        for one, other in zip(found, results(case, arrays, "auto", layout), strict=True):
            np.testing.assert_array_equal(one, other)
    if layout == "NCHW":
        alone = convnet.conv2d(x[-1:], weight, None, *case.geometry)
        np.testing.assert_array_equal(alone, found[0][-1:])


def test_little_padding_or_none_for_dilated_kernels() -> None:
    """Corners that sum a few inputs only stay with direct."""
    x_shape, weight_shape = (1, 64, 60, 60), (64, 64, 3, 3)
    for padding, algorithm in ((2, "winograd"), (0, "winograd"), (3, "direct")):
        assert convnet.explain_conv2d(x_shape, weight_shape, 1, padding, 2).algorithm == algorithm


@pytest.mark.parametrize("case", CASES + LARGER, ids=str)
def test_threads_do_not_change_a_bit(case: ConvCase) -> None:
    arrays = normal_arrays(case, 2)
    convnet.set_num_threads(1)
    alone = results(case, arrays, "winograd")
    for threads in (2, 3, 4, 8):
        convnet.set_num_threads(threads)
        for found, expected in zip(results(case, arrays, "winograd"), alone, strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("case", [case_of(5, 20, 20, (11, 14)), *LARGER], ids=str)
def test_an_image_alone_or_in_a_batch(case: ConvCase) -> None:
    rng = np.random.default_rng(3)
    x, weight = shapes.normals(rng, case.x, "f4"), shapes.normals(rng, case.weight, "f4")
    together = convnet.conv2d(x, weight, None, *case.geometry, algorithm="winograd")
    for i in range(len(x)):
        alone = convnet.conv2d(x[i : i + 1], weight, None, *case.geometry, algorithm="winograd")
        np.testing.assert_array_equal(alone[0], together[i])
