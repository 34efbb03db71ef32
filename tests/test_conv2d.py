"""conv2d and conv2d_backward on every backend, against `oracles` and against each other."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convnet
import oracles
import shapes
from shapes import ConvCase, Padding, Pair, Shape4

NO_PADDING = ((0, 0), (0, 0))
MACS = {"naive": 1_500, "im2col": 300_000, "native": 1_500_000}
ALWAYS = ("auto", "gemm", "reference")  # algorithms that serve every shape


def algorithms(backend: str) -> tuple[str, ...]:
    return ALWAYS if backend == "native" else ("auto",)


def exact_choice(case: ConvCase) -> str:
    """The algorithm that is as good as "auto" and exact: "auto" may choose Winograd, which is not.

    It needs some terms and three taps in a phase of the stride.
    """
    tall = all(kernel > 2 * stride for kernel, stride in zip(case.weight[2:], case.stride, strict=True))
    return "direct" if tall and case.dilation == (1, 1) and np.prod(case.weight[1:]) > 74 else "auto"


def draw_case(data: st.DataObject, backend: str) -> tuple[ConvCase, np.random.Generator]:
    return data.draw(shapes.conv_cases(MACS[backend])), np.random.default_rng(data.draw(shapes.seeds))


def assert_forward_exact(case: ConvCase, backend: str, dtype: np.dtype, rng: np.random.Generator) -> None:
    x, weight, bias = (
        shapes.integers(rng, shape, np.int64) for shape in (case.x, case.weight, case.weight[:1])
    )
    floats = [a.astype(dtype) for a in (x, weight, bias)]
    expected = oracles.conv2d(x, weight, bias, *case.geometry)
    choice = exact_choice(case)
    for algorithm in {choice, *algorithms(backend)} - ({"auto"} - {choice}):
        y = convnet.conv2d(*floats, *case.geometry, algorithm=algorithm)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, expected, err_msg=algorithm)
        last = shapes.channels_last(floats[0]), shapes.hwio(floats[1]), floats[2]
        y = convnet.conv2d(*last, *case.geometry, algorithm=algorithm, layout="NHWC")
        turned = shapes.channels_last(expected)
        np.testing.assert_array_equal(y, turned, err_msg=f"{algorithm}, channels last")
    without_bias = convnet.conv2d(*floats[:2], None, *case.geometry, algorithm=choice)
    np.testing.assert_array_equal(without_bias, expected - bias[:, None, None])
    fused = convnet.conv2d(*floats, *case.geometry, activation="relu", algorithm=choice)
    np.testing.assert_array_equal(fused, np.maximum(expected, 0))


def assert_backward_exact(case: ConvCase, dtype: np.dtype, rng: np.random.Generator) -> None:
    x, weight, dy = (shapes.integers(rng, shape, np.int64) for shape in (case.x, case.weight, case.y))
    choice = exact_choice(case)
    found = convnet.conv2d_backward(
        *(a.astype(dtype) for a in (dy, x, weight)), *case.geometry, algorithm=choice
    )
    expected = oracles.conv2d_backward(dy, x, weight, *case.geometry)
    last = shapes.channels_last(dy), shapes.channels_last(x), shapes.hwio(weight)
    found_last = convnet.conv2d_backward(
        *(a.astype(dtype) for a in last), *case.geometry, algorithm=choice, layout="NHWC"
    )
    expected_last = shapes.channels_last(expected[0]), shapes.hwio(expected[1]), expected[2]
    for gradients, all_sums in ((found, expected), (found_last, expected_last)):
        for name, gradient, sums in zip(("dx", "dw", "db"), gradients, all_sums, strict=True):
            assert gradient.dtype == dtype
            np.testing.assert_array_equal(gradient, sums, err_msg=name)


@given(data=st.data())
def test_exact_on_integers(backend: str, dtype: np.dtype, data: st.DataObject) -> None:
    case, rng = draw_case(data, backend)
    assert_forward_exact(case, backend, dtype, rng)


@given(data=st.data())
def test_backward_exact_on_integers(backend: str, dtype: np.dtype, data: st.DataObject) -> None:
    case, rng = draw_case(data, backend)
    assert_backward_exact(case, dtype, rng)


@given(data=st.data())
def test_backward_is_the_adjoint(backend: str, dtype: np.dtype, data: st.DataObject) -> None:
    """<conv(x, w), dy> = <x, dx> = <w, dw>, and <conv(0, w, b), dy> = <b, db>: exact on integers."""
    case, rng = draw_case(data, backend)
    x, weight, bias, dy = (
        shapes.integers(rng, shape, dtype) for shape in (case.x, case.weight, case.weight[:1], case.y)
    )
    choice = exact_choice(case)
    y = convnet.conv2d(x, weight, None, *case.geometry, algorithm=choice)
    dx, dw, db = convnet.conv2d_backward(dy, x, weight, *case.geometry, algorithm=choice)

    def inner(a: np.ndarray, b: np.ndarray) -> int:
        return int(np.sum(a.astype(np.int64) * b.astype(np.int64)))

    assert inner(y, dy) == inner(x, dx) == inner(weight, dw)
    biased = convnet.conv2d(np.zeros_like(x), weight, bias, *case.geometry, algorithm=choice)
    assert inner(biased, dy) == inner(bias, db)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("varied", ["channels", "outputs", "columns"])
def test_every_tile_tail(dtype: np.dtype, kernel: int, varied: str) -> None:
    """One size goes through both sides of every tile edge while the others stay."""
    rng = np.random.default_rng(kernel)
    with convnet.backend("native"):
        for size in shapes.TILE_EDGES:
            channels, outputs, columns = (
                size if name == varied else other
                for name, other in (("channels", 5), ("outputs", 19), ("columns", 21))
            )
            case = ConvCase(
                (2, channels, kernel + 1, columns + kernel - 1),
                (outputs, channels, kernel, kernel),
                (1, 1),
                NO_PADDING,
                (1, 1),
                1,
            )
            assert_forward_exact(case, "native", dtype, rng)
            assert_backward_exact(case, dtype, rng)


@pytest.mark.parametrize(
    "case",
    [
        ConvCase((1, 512, 6, 7), (70, 512, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),  # a long reduction
        ConvCase((1, 3, 70, 71), (130, 3, 5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1), 1),  # many pixels
        ConvCase((1, 300, 1, 1), (600, 300, 1, 1), (1, 1), NO_PADDING, (1, 1), 1),  # a single pixel
        ConvCase((1, 520, 20, 21), (45, 520, 1, 1), (1, 1), NO_PADDING, (1, 1), 1),  # pointwise in two steps
        ConvCase((2, 26, 43, 41), (90, 13, 1, 1), (2, 2), NO_PADDING, (1, 1), 2),  # strided, in groups
        ConvCase((3, 34, 33, 47), (58, 17, 1, 1), (1, 1), NO_PADDING, (1, 1), 2),  # block after block
        ConvCase((2, 3, 9, 112), (20, 3, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),  # rows of whole vectors
        ConvCase((9, 40, 7, 9), (70, 40, 1, 1), (1, 1), NO_PADDING, (1, 1), 1),  # dw of images together
        ConvCase((2, 140, 37, 41), (38, 70, 1, 1), (1, 1), NO_PADDING, (1, 1), 2),  # and of parts of one
        ConvCase((1, 18, 27, 39), (53, 18, 3, 2), (1, 2), ((1, 1), (0, 1)), (2, 1), 1),  # channels in lanes
        ConvCase((3, 66, 9, 300), (60, 33, 1, 5), (1, 3), ((0, 0), (2, 3)), (1, 1), 2),  # blocks of columns
        ConvCase((33, 2, 3, 3), (4, 2, 3, 3), (1, 1), NO_PADDING, (1, 1), 1),  # many images, one pixel each
        ConvCase((33, 40, 1, 1), (70, 20, 1, 1), (1, 1), NO_PADDING, (1, 1), 2),
        ConvCase((3, 9, 2, 3), (5, 9, 1, 1), (2, 3), NO_PADDING, (1, 1), 1),  # dx of one, among zeros
        ConvCase((3, 8, 2, 1), (6, 4, 2, 1), (2, 1), NO_PADDING, (1, 1), 2),  # and one of each phase
        ConvCase((2, 64, 9, 9), (128, 1, 3, 3), (2, 2), ((0, 1), (1, 0)), (1, 1), 64),  # depthwise
        ConvCase(
            (2, 20, 25, 61), (20, 1, 5, 4), (2, 2), ((2, 1), (0, 2)), (1, 1), 20
        ),  # its phases take turns
        ConvCase((2, 6, 31, 130), (6, 1, 7, 7), (3, 3), ((3, 3), (3, 3)), (1, 1), 6),  # by three
        ConvCase((2, 6, 31, 170), (6, 1, 6, 3), (5, 4), ((2, 3), (1, 1)), (1, 1), 6),  # by five and four
        ConvCase((2, 20, 70, 1), (34, 10, 5, 1), (3, 1), ((2, 1), (0, 0)), (2, 1), 2),  # columns
        ConvCase((2, 20, 150, 1), (20, 1, 4, 1), (1, 1), ((1, 1), (0, 0)), (1, 1), 20),
        ConvCase((2, 5, 30, 1), (7, 5, 3, 1), (1, 2), ((1, 1), (0, 2)), (1, 1), 1),  # that padding widens
        ConvCase((13, 66, 3, 2), (120, 33, 3, 2), (1, 1), ((1, 1), (0, 1)), (1, 1), 2),  # tiles of images
        ConvCase((33, 130, 4, 5), (150, 130, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 1),
        ConvCase((2, 40, 23, 30), (70, 40, 1, 3), (4, 2), ((1, 0), (1, 1)), (1, 1), 1),  # rows unread
        ConvCase((1, 66, 34, 29), (40, 33, 3, 3), (4, 3), ((1, 2), (0, 3)), (3, 2), 2),  # among others
        ConvCase((2, 9, 10, 70), (3, 3, 1, 5), (1, 4), ((0, 0), (2, 2)), (1, 1), 3),  # by four
        ConvCase((3, 40, 23, 33), (24, 40, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 1),  # in lanes
        ConvCase((2, 50, 17, 52), (9, 50, 4, 3), (3, 3), ((0, 1), (1, 0)), (1, 1), 1),
        ConvCase((2, 78, 41, 43), (6, 39, 1, 1), (1, 1), NO_PADDING, (1, 1), 2),  # a few outputs, as x lies
        ConvCase((1, 37, 30, 31), (13, 37, 1, 1), (1, 1), NO_PADDING, (1, 1), 1),
        ConvCase(
            (2, 130, 5, 5), (40, 130, 1, 1), (1, 1), NO_PADDING, (1, 1), 1
        ),  # dw: more weights than positions
        ConvCase(
            (1, 40, 9, 9), (70, 40, 5, 5), (1, 1), NO_PADDING, (1, 1), 1
        ),  # dx: weights from the last tap on
        ConvCase(
            (1, 70, 11, 12), (40, 70, 4, 5), (2, 3), ((1, 1), (2, 2)), (1, 1), 1
        ),  # and for all phases at once
        ConvCase((2, 1, 7, 1), (2, 1, 3, 1), (2, 2), NO_PADDING, (1, 1), 1),  # dx narrower than the step
        ConvCase((2, 5, 11, 1), (5, 1, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 5),
        ConvCase((2, 20, 9, 1), (24, 20, 3, 2), (2, 2), ((1, 1), (1, 1)), (1, 1), 1),
        ConvCase((2, 20, 10, 2), (20, 1, 3, 3), (2, 4), ((1, 1), (1, 1)), (1, 1), 20),
        ConvCase(
            (2, 33, 14, 13), (40, 33, 5, 5), (4, 3), ((1, 1), (2, 2)), (1, 1), 1
        ),  # dx: turns in short rows
        ConvCase((2, 20, 9, 31), (30, 20, 2, 6), (3, 5), ((0, 1), (3, 0)), (1, 1), 1),  # and some unreached
        ConvCase((3, 2, 6, 7), (140, 2, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),  # few channels
        ConvCase((3, 3, 31, 31), (25, 3, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 1),  # dw: dy piece by piece
        ConvCase((1, 1, 1, 200), (3, 1, 1, 65), (1, 3), ((0, 0), (40, 40)), (1, 2), 1),  # a 1-D signal
        ConvCase((1, 2, 5, 5), (3, 2, 2, 2), (7, 9), ((4, 1), (3, 8)), (5, 6), 1),  # stride beyond the kernel
        ConvCase((1, 1, 1, 1), (2, 1, 3, 3), (1, 1), ((9, 9), (9, 9)), (1, 1), 1),  # windows of padding only
    ],
    ids=str,
)
def test_exact_at_the_extremes(dtype: np.dtype, case: ConvCase) -> None:
    with convnet.backend("native"):
        assert_forward_exact(case, "native", dtype, np.random.default_rng(0))
        assert_backward_exact(case, dtype, np.random.default_rng(1))


@given(data=st.data())
def test_accuracy(backend: str, dtype: np.dtype, data: st.DataObject) -> None:
    """|error| <= 8·u·Σ|x||w|, the scale of the sum itself: cancellation may leave a tiny result."""
    case, rng = draw_case(data, backend)
    wide = np.float64 if dtype == np.float32 else np.longdouble
    x, weight, dy = (shapes.normals(rng, shape, dtype) for shape in (case.x, case.weight, case.y))
    bound = 8 * np.finfo(dtype).eps / 2
    exact = [a.astype(wide) for a in (dy, x, weight)]
    sizes = [abs(a) for a in exact]

    scale = bound * oracles.conv2d(sizes[1], sizes[2], None, *case.geometry)
    expected = oracles.conv2d(exact[1], exact[2], None, *case.geometry)
    for algorithm in algorithms(backend):
        y = convnet.conv2d(x, weight, None, *case.geometry, algorithm=algorithm)
        assert np.all(abs(y - expected) <= scale), algorithm
    gradients = convnet.conv2d_backward(dy, x, weight, *case.geometry)
    for found, sums, scale in zip(
        gradients,
        oracles.conv2d_backward(*exact, *case.geometry),
        oracles.conv2d_backward(*sizes, *case.geometry),
        strict=True,
    ):
        assert np.all(abs(found - sums) <= bound * scale)


@pytest.mark.parametrize(
    "case",
    [
        ConvCase((2, 2, 4, 5), (3, 2, 3, 2), (1, 1), ((1, 1), (0, 1)), (1, 1), 1),
        ConvCase((1, 4, 5, 4), (2, 2, 2, 2), (2, 1), ((0, 1), (1, 1)), (1, 2), 2),
    ],
    ids=str,
)
def test_finite_differences(backend: str, case: ConvCase) -> None:
    rng = np.random.default_rng(3)
    x, weight, bias, dy = (
        rng.standard_normal(shape) for shape in (case.x, case.weight, case.weight[0], case.y)
    )
    gradients = convnet.conv2d_backward(dy, x, weight, *case.geometry)
    for at, gradient in zip((x, weight, bias), gradients, strict=True):
        numeric = oracles.central_difference(
            lambda: convnet.conv2d(x, weight, bias, *case.geometry), at, dy, step=1e-3
        )
        np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-9)


def test_algorithms_that_cannot_serve_say_why() -> None:
    """Whatever an algorithm is asked, it answers within the accuracy bound or raises with its name."""
    rng = np.random.default_rng(5)
    cases = [
        ConvCase((1, 8, 12, 12), (8, 8, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
        ConvCase((1, 3, 12, 12), (8, 3, 5, 5), (2, 2), NO_PADDING, (1, 1), 1),
        ConvCase((1, 8, 12, 12), (8, 1, 3, 3), (1, 1), NO_PADDING, (2, 2), 8),
    ]
    with convnet.backend("native"):
        for case in cases:
            x, weight = shapes.normals(rng, case.x, "f4"), shapes.normals(rng, case.weight, "f4")
            wide = x.astype(np.float64), weight.astype(np.float64)
            expected = oracles.conv2d(*wide, None, *case.geometry)
            scale = oracles.conv2d(*map(abs, wide), None, *case.geometry)
            for algorithm in ("direct", "winograd"):
                try:
                    y = convnet.conv2d(x, weight, None, *case.geometry, algorithm=algorithm)
                except ValueError as error:
                    assert algorithm in str(error)  # noqa: PT017
                else:
                    assert np.all(abs(y - expected) <= 64 * np.finfo("f4").eps * scale)
        with pytest.raises(ValueError, match="fft"):
            convnet.conv2d(x, weight, None, *case.geometry, algorithm="fft")


@pytest.mark.parametrize(
    ("kernel", "size"),
    [((4, 4), (9, 35)), ((7, 7), (15, 20)), ((11, 5), (12, 70)), ((7, 1), (30, 9)), ((6, 3), (2, 40))],
)
@pytest.mark.parametrize("channels", [3, 40])
def test_tall_depthwise_kernels(dtype: np.dtype, channels: int, kernel: Pair, size: Pair) -> None:
    """Columns of four taps and more share their loads; fewer than four rows of outputs do not."""
    rng = np.random.default_rng(11)
    padding = tuple((k // 2, (k - 1) // 2) for k in kernel)
    with convnet.backend("native"):
        for dilation in (1, 1), (1, 2):
            wide = (size[0], size[1] + (dilation[1] - 1) * kernel[1])
            case = ConvCase((2, channels, *wide), (channels, 1, *kernel), (1, 1), padding, dilation, channels)
            assert_forward_exact(case, "native", dtype, rng)
            assert_backward_exact(case, dtype, rng)


@pytest.mark.parametrize("channels", [16, 37])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("kernel", [(3, 3), (5, 4), (7, 7)])
def test_depthwise_on_small_maps(dtype: np.dtype, kernel: Pair, stride: Pair, channels: int) -> None:
    """A vector of channels at a time, the last of which overlap those before; some inputs are never read."""
    rng = np.random.default_rng(13)
    padding = ((kernel[0] // 2, kernel[0] // 2), (kernel[1] - 1, 0))
    with convnet.backend("native"):
        for size in (1, 2), (3, 5), (7, 7), (8, 13), (20, 9):
            for dilation in ((1, 1), (2, 1)) if stride == (1, 1) else ((1, 1),):
                weight = (channels, 1, *kernel)
                case = ConvCase((2, channels, *size), weight, stride, padding, dilation, channels)
                if min(case.y) < 1:
                    continue
                assert_forward_exact(case, "native", dtype, rng)
                assert_backward_exact(case, dtype, rng)
        case = ConvCase((3, channels, 9, 12), (channels, 1, 2, 2), (3, 3), NO_PADDING, (1, 1), channels)
        assert_backward_exact(case, dtype, rng)  # rows and columns of dx that no phase reaches


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        ((2, 3, 128, 120), (70, 3, 8, 8)),
        ((2, 5, 87, 90), (60, 5, 3, 3)),
        ((2, 24, 62, 66), (40, 24, 2, 2)),
        ((1, 17, 54, 60), (40, 17, 3, 4)),
        ((0, 3, 64, 64), (8, 3, 16, 16)),
        ((1, 20, 5, 900), (9, 20, 1, 9)),
    ],
)
def test_windows_side_by_side(dtype: np.dtype, x: Shape4, weight: Shape4) -> None:
    """The patches of a vision transformer: each input is read by one output, rows left over by none."""
    rng = np.random.default_rng(12)
    with convnet.backend("native"):
        for padding in NO_PADDING, ((0, weight[2]), (0, 0)):
            case = ConvCase(x, weight, weight[2:], padding, (1, 1), 1)
            assert_forward_exact(case, "native", dtype, rng)
            assert_backward_exact(case, dtype, rng)


@pytest.mark.parametrize(
    ("x", "weight", "padding", "groups"),
    [
        ((3, 20, 5, 5), (96, 20, 5, 5), NO_PADDING, 1),  # all images are positions of one product
        ((9, 7, 9, 8), (130, 7, 6, 4), NO_PADDING, 1),  # several images at a time, and a rest
        ((2, 3, 14, 41), (190, 3, 5, 7), ((1, 0), (0, 2)), 1),  # several vectors of columns
        ((5, 18, 3, 4), (240, 9, 5, 5), ((1, 2), (1, 1)), 2),  # windows that reach beyond the map
        ((2, 96, 12, 11), (200, 96, 7, 1), NO_PADDING, 1),  # some channels at a time
        ((1, 2, 4, 40), (140, 2, 2, 30), ((0, 0), (20, 3)), 1),  # columns that no window of a row reaches
    ],
)
def test_overlapping_windows(
    dtype: np.dtype, x: Shape4, weight: Shape4, padding: Padding, groups: int
) -> None:
    """dx of kernels that are large for their map, added up from windows."""
    rng = np.random.default_rng(14)
    with convnet.backend("native"):
        assert_backward_exact(ConvCase(x, weight, (1, 1), padding, (1, 1), groups), dtype, rng)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "case",
    [
        ConvCase((2, 40, 9, 13), (70, 40, 3, 3), (1, 1), ((6, 6), (7, 7)), (6, 7), 1),
        ConvCase((1, 300, 5, 6), (33, 300, 5, 3), (1, 1), ((2, 2), (1, 1)), (1, 1), 1),  # taps in parts
        ConvCase((17, 66, 3, 2), (128, 33, 5, 5), (1, 1), ((2, 3), (2, 2)), (1, 1), 2),  # tiles of images
        ConvCase(
            (1, 20, 4, 5), (20, 20, 3, 3), (1, 1), ((9, 0), (0, 9)), (4, 1), 1
        ),  # outputs of the bias alone
        ConvCase((1, 260, 33, 31), (20, 260, 3, 3), (1, 1), ((18, 18), (18, 18)), (18, 18), 1),
        ConvCase((2, 700, 33, 30), (5, 700, 3, 3), (1, 1), ((18, 18), (18, 18)), (18, 18), 1),  # in parts
    ],
    ids=str,
)
def test_zeros_left_out(dtype: np.dtype, case: ConvCase, layout: str) -> None:
    """Taps that meet the padding more than the image: what is not finite in a weight still reaches y."""
    rng = np.random.default_rng(15)
    with convnet.backend("native"):
        if layout == "NCHW":
            assert_forward_exact(case, "native", dtype, rng)
            assert_backward_exact(case, dtype, rng)
        x, weight, bias = (
            shapes.integers(rng, shape, dtype) for shape in (case.x, case.weight, case.weight[:1])
        )
        last = layout == "NHWC"
        dy = shapes.integers(rng, case.y, dtype)
        dy.flat[dy.size // 3] = np.inf
        with np.errstate(invalid="ignore"):
            expected = oracles.conv2d_backward(dy, x, weight, *case.geometry)[1]
        arrays = (dy, x, weight)
        if last:
            arrays = (dy.transpose(0, 2, 3, 1), x.transpose(0, 2, 3, 1), weight.transpose(2, 3, 1, 0))
        dw = convnet.conv2d_backward(*arrays, *case.geometry, layout=layout)[1]
        np.testing.assert_array_equal(dw.transpose(3, 2, 0, 1) if last else dw, expected)
        for special in 0, np.inf, np.nan:
            weight.flat[weight.size // 2] = special
            with np.errstate(invalid="ignore"):
                expected = np.maximum(oracles.conv2d(x, weight, bias, *case.geometry), 0)
            y = convnet.conv2d(
                *arrays[1:], bias, *case.geometry, algorithm="direct", activation="relu", layout=layout
            )
            np.testing.assert_array_equal(y.transpose(0, 3, 1, 2) if last else y, expected)


@pytest.mark.parametrize("size", [(7, 8), (5, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("name", ["same", "same_upper", "same_lower", "valid"])
def test_padding_by_name(backend: str, size: Pair, stride: int, dilation: int, name: str) -> None:
    rng = np.random.default_rng(7)
    x, weight = shapes.integers(rng, (1, 1, *size), "f8"), shapes.integers(rng, (1, 1, 3, 2), "f8")
    if name == "valid":
        padding = NO_PADDING
    else:
        rows, columns = (
            oracles.same_padding(size[axis], (3, 2)[axis], stride, dilation, lower=name == "same_lower")
            for axis in (0, 1)
        )
        padding = (rows, columns)
    settled = (stride, stride), padding, (dilation, dilation), 1
    y = convnet.conv2d(x, weight, None, stride, name, dilation)
    np.testing.assert_array_equal(y, oracles.conv2d(x, weight, None, *settled))
    dy = shapes.integers(rng, y.shape, "f8")
    dx, dw, _ = convnet.conv2d_backward(dy, x, weight, stride, name, dilation)
    expected = oracles.conv2d_backward(dy, x, weight, *settled)
    np.testing.assert_array_equal(dx, expected[0])
    np.testing.assert_array_equal(dw, expected[1])
    if name != "valid":
        assert y.shape[2:] == (-(-size[0] // stride), -(-size[1] // stride))


def test_forms_of_geometry(backend: str) -> None:
    """An int stands for both axes, a pair for (h, w), a pair of pairs for ((top, bottom), (left, right))."""
    rng = np.random.default_rng(9)
    x, weight = shapes.integers(rng, (1, 2, 6, 7), "f4"), shapes.integers(rng, (2, 2, 2, 2), "f4")
    reference = convnet.conv2d(x, weight, None, (2, 2), ((1, 1), (1, 1)), (2, 2))
    for same in [
        (2, 1, 2),
        ((2, 2), (1, 1), (2, 2)),
        ([2, 2], [1, 1], [2, 2]),
        (np.int32(2), np.int64(1), 2),
    ]:
        np.testing.assert_array_equal(convnet.conv2d(x, weight, None, *same), reference)
    np.testing.assert_array_equal(
        convnet.conv2d(x, weight, padding=(1, 2)), convnet.conv2d(x, weight, padding=((1, 1), (2, 2)))
    )


def test_channels_last(backend: str, dtype: np.dtype) -> None:
    """layout="NHWC": x and y (N, H, W, C), weight (kH, kW, C_in/groups, C_out)."""
    rng = np.random.default_rng(11)
    case = ConvCase((2, 4, 6, 5), (6, 2, 3, 2), (2, 1), ((1, 0), (1, 1)), (1, 2), 2)
    x, weight, bias, dy = (
        shapes.integers(rng, shape, dtype) for shape in (case.x, case.weight, case.weight[:1], case.y)
    )
    last, hwio = x.transpose(0, 2, 3, 1), weight.transpose(2, 3, 1, 0)
    y = convnet.conv2d(last, hwio, bias, *case.geometry, layout="NHWC")
    np.testing.assert_array_equal(y.transpose(0, 3, 1, 2), convnet.conv2d(x, weight, bias, *case.geometry))
    dx, dw, db = convnet.conv2d_backward(dy.transpose(0, 2, 3, 1), last, hwio, *case.geometry, layout="NHWC")
    expected = convnet.conv2d_backward(dy, x, weight, *case.geometry)
    np.testing.assert_array_equal(dx.transpose(0, 3, 1, 2), expected[0])
    np.testing.assert_array_equal(dw.transpose(3, 2, 0, 1), expected[1])
    np.testing.assert_array_equal(db, expected[2])
    with pytest.raises(ValueError, match="NCWH"):
        convnet.conv2d(x, weight, layout="NCWH")


@pytest.mark.parametrize(
    "case",
    [
        ConvCase((3, 32, 21, 19), (40, 32, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),  # Winograd in float32
        ConvCase((3, 40, 14, 70), (36, 20, 3, 3), (1, 1), ((1, 0), (1, 1)), (1, 1), 2),  # and by groups
        ConvCase((3, 3, 40, 37), (40, 3, 5, 5), (2, 2), ((2, 1), (1, 2)), (1, 1), 1),  # taps side by side
        ConvCase(
            (3, 300, 9, 21), (290, 300, 1, 1), (1, 1), NO_PADDING, (1, 1), 1
        ),  # several steps and chunks
        ConvCase((3, 70, 41, 33), (70, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 70),  # depthwise
        ConvCase((2, 3, 9, 37), (6, 3, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),  # few channels
        ConvCase((2, 1, 8, 50), (5, 1, 5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1), 1),
        ConvCase((2, 3, 29, 200), (5, 3, 5, 5), (2, 1), ((2, 2), (2, 2)), (1, 1), 1),  # in several blocks
        ConvCase((2, 3, 12, 34), (25, 3, 3, 3), (1, 2), ((1, 1), (1, 1)), (1, 1), 1),  # dx: columns together
        ConvCase((2, 5, 17, 20), (21, 5, 4, 5), (3, 3), ((1, 1), (2, 2)), (1, 1), 1),
        ConvCase((2, 4, 9, 37), (6, 2, 3, 3), (1, 2), ((1, 1), (1, 1)), (1, 1), 2),
        ConvCase((2, 1, 29, 130), (7, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
        ConvCase((2, 14, 7, 40), (4, 7, 3, 3), (1, 2), ((1, 1), (0, 1)), (1, 1), 2),
        ConvCase((2, 3, 9, 45), (3, 1, 3, 3), (2, 1), ((1, 1), (0, 2)), (1, 2), 3),  # a part of a vector
        ConvCase((2, 3, 21, 50), (3, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 3),  # pixels where they lie
        ConvCase((2, 12, 40, 130), (12, 1, 5, 5), (2, 2), ((2, 2), (2, 2)), (1, 1), 12),  # in several strips
        ConvCase((2, 4, 13, 47), (12, 1, 3, 3), (1, 2), ((1, 1), (1, 1)), (1, 1), 4),  # of three outputs each
        ConvCase((2, 40, 9, 20), (80, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 40),
        ConvCase((2, 40, 6, 39), (40, 1, 5, 5), (1, 1), ((2, 1), (2, 3)), (1, 1), 40),
        ConvCase((2, 33, 3, 70), (33, 1, 3, 3), (1, 1), ((0, 2), (2, 0)), (1, 1), 33),
        ConvCase((2, 48, 23, 9), (48, 1, 3, 3), (2, 1), ((4, 4), (5, 1)), (3, 5), 48),
        ConvCase((3, 96, 7, 7), (96, 96, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),  # small maps
        ConvCase((9, 40, 7, 9), (70, 40, 1, 1), (1, 1), NO_PADDING, (1, 1), 1),
        ConvCase((2, 140, 37, 41), (38, 70, 1, 1), (1, 1), NO_PADDING, (1, 1), 2),
    ],
    ids=str,
)
def test_channels_last_holds_what_channels_first_does(dtype: np.dtype, case: ConvCase) -> None:
    """The accuracy, and the same bits for any number of threads and for an image alone."""
    rng = np.random.default_rng(25)
    x, weight, dy = (shapes.normals(rng, shape, dtype) for shape in (case.x, case.weight, case.y))
    wide = [a.astype(np.float64) for a in (dy, x, weight)]
    bound = 64 * np.finfo(dtype).eps / 2
    scales = [
        oracles.conv2d(*map(abs, wide[1:]), None, *case.geometry),
        *oracles.conv2d_backward(*map(abs, wide), *case.geometry)[:2],
    ]
    expected = [
        oracles.conv2d(*wide[1:], None, *case.geometry),
        *oracles.conv2d_backward(*wide, *case.geometry)[:2],
    ]
    turns = (shapes.channels_last, shapes.channels_last, shapes.hwio)
    last = [turn(a) for turn, a in zip(turns, (dy, x, weight), strict=True)]
    used = convnet.get_num_threads()
    found = []
    with convnet.backend("native"):
        try:
            for threads in (1, 3):
                convnet.set_num_threads(threads)
                y = convnet.conv2d(*last[1:], None, *case.geometry, layout="NHWC")
                found.append((y, *convnet.conv2d_backward(*last, *case.geometry, layout="NHWC")))
        finally:
            convnet.set_num_threads(used)
        alone = convnet.conv2d(last[1][1:2], last[2], None, *case.geometry, layout="NHWC")
        dx_alone = convnet.conv2d_backward(
            last[0][1:2], last[1][1:2], last[2], *case.geometry, layout="NHWC", needs=(True, False, False)
        )[0]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(alone, found[0][0][1:2])
    np.testing.assert_array_equal(dx_alone, found[0][1][1:2])
    for array, turn, sums, scale in zip(found[0][:3], turns, expected, scales, strict=True):
        assert np.all(abs(array - turn(sums)) <= bound * turn(scale))
    np.testing.assert_allclose(found[0][3], wide[0].sum((0, 2, 3)), rtol=0, atol=bound * abs(wide[0]).sum())


def test_memory_layouts_give_the_same_bits(backend: str, dtype: np.dtype) -> None:
    rng = np.random.default_rng(13)
    x, weight, bias = (shapes.normals(rng, shape, dtype) for shape in ((2, 3, 5, 6), (4, 3, 3, 3), (4,)))
    dy = shapes.normals(rng, (2, 4, 5, 6), dtype)
    y = convnet.conv2d(x, weight, bias, padding=1)
    gradients = convnet.conv2d_backward(dy, x, weight, padding=1)
    held = zip(*map(shapes.memory_layouts, (x, weight, bias, dy)), strict=True)
    for (name, other_x), (_, other_weight), (_, other_bias), (_, other_dy) in held:
        found = [convnet.conv2d(other_x, other_weight, other_bias, padding=1)]
        found += convnet.conv2d_backward(other_dy, other_x, other_weight, padding=1)
        for array, expected in zip(found, (y, *gradients), strict=True):
            assert type(array) is np.ndarray, name
            assert array.dtype == dtype, name
            assert array.dtype.isnative, name
            np.testing.assert_array_equal(array, expected, err_msg=name, strict=True)


def test_mixed_dtypes_promote(backend: str) -> None:
    rng = np.random.default_rng(15)
    single, double = shapes.normals(rng, (1, 2, 4, 4), "f4"), shapes.normals(rng, (3, 2, 2, 2), "f8")
    y = convnet.conv2d(single, double)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, convnet.conv2d(single.astype("f8"), double))
    assert convnet.conv2d(single, double.astype("f4"), np.zeros(3)).dtype == np.float64
    dx, dw, db = convnet.conv2d_backward(y.astype("f4"), single, double)
    assert dx.dtype == dw.dtype == db.dtype == np.float64


@pytest.mark.parametrize(
    "bad", ["int64", "uint8", "bool", "float16", "longdouble", "complex64", "object", "U3"]
)
def test_other_dtypes_are_refused(backend: str, bad: str) -> None:
    x, weight = np.ones((1, 1, 4, 4), np.float32), np.ones((1, 1, 2, 2), np.float32)
    name = re.escape(str(np.dtype(bad)))
    with pytest.raises(TypeError, match=rf"x.*{name}.*astype"):
        convnet.conv2d(x.astype(bad), weight)
    with pytest.raises(TypeError, match=rf"weight.*{name}.*astype"):
        convnet.conv2d(x, weight.astype(bad))
    with pytest.raises(TypeError, match=rf"dy.*{name}.*astype"):
        convnet.conv2d_backward(np.ones((1, 1, 3, 3)).astype(bad), x, weight)


def test_masked_arrays_are_refused(backend: str) -> None:
    x = np.ma.masked_array(np.ones((1, 1, 4, 4)), mask=False)
    with pytest.raises(TypeError, match="masked"):
        convnet.conv2d(x, np.ones((1, 1, 2, 2)))


X, W = (2, 3, 8, 9), (4, 3, 3, 3)


@pytest.mark.parametrize(
    ("x", "weight", "bias", "options", "told"),
    [
        (X, (4, 2, 3, 3), None, {}, ["3 channels", "(2, 3, 8, 9)", "(4, 2, 3, 3)"]),
        (X, (4, 3, 9, 3), None, {}, ["(9, 3)", "(8, 9)"]),
        (X, (4, 3, 3, 12), None, {"padding": 1}, ["(3, 12)", "(10, 11)"]),
        (X, W, None, {"dilation": 5}, ["(11, 11)", "(8, 9)"]),
        (X, W, (3,), {}, ["bias", "(3,)", "4"]),
        (X, W, (4, 1), {}, ["bias", "(4, 1)"]),
        (X[1:], W, None, {}, ["x", "(3, 8, 9)"]),
        (X, W[1:], None, {}, ["weight", "(3, 3, 3)"]),
        (X, (4, 3, 0, 3), None, {}, ["kernel", "0"]),
        (X, W, None, {"stride": 0}, ["stride", "0"]),
        (X, W, None, {"stride": (1, -2)}, ["stride", "-2"]),
        (X, W, None, {"stride": (1, 2, 3)}, ["stride", "(1, 2, 3)"]),
        (X, W, None, {"dilation": 0}, ["dilation", "0"]),
        (X, W, None, {"padding": -1}, ["padding", "-1"]),
        (X, W, None, {"padding": ((0, 0), (0, -3))}, ["padding", "-3"]),
        (X, W, None, {"padding": "full"}, ["padding", "full"]),
        (X, W, None, {"padding": (1, 1, 1, 1)}, ["padding", "(1, 1, 1, 1)"]),
        (X, W, None, {"groups": 0}, ["groups", "0"]),
        (X, W, None, {"groups": 2}, ["groups", "2", "3"]),
        (X, W, None, {"activation": "gelu"}, ["activation", "gelu"]),
        (X, W, None, {"padding": 2**40}, ["padding", str(2**40)]),
        (X, W, None, {"stride": 2**70}, ["stride"]),
    ],
    ids=str,
)
def test_bad_arguments_are_told_with_their_sizes(
    backend: str,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    bias: tuple[int, ...] | None,
    options: dict[str, object],
    told: list[str],
) -> None:
    arrays = [None if shape is None else np.zeros(shape, np.float32) for shape in (x, weight, bias)]
    with pytest.raises(ValueError, match=r"^conv2d: ") as caught:
        convnet.conv2d(*arrays, **options)
    for fragment in told:
        assert fragment in str(caught.value)


@pytest.mark.parametrize("dy", [(2, 4, 6, 6), (1, 4, 6, 7), (2, 3, 6, 7), (4, 6, 7)])
def test_dy_must_fit(backend: str, dy: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="conv2d_backward: ") as caught:
        convnet.conv2d_backward(np.zeros(dy), np.zeros(X), np.zeros(W))
    assert str(dy) in str(caught.value)


@pytest.mark.parametrize("options", [{"stride": 1.5}, {"stride": "2"}, {"padding": None}, {"groups": 1.0}])
def test_geometry_is_whole_numbers(backend: str, options: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        convnet.conv2d(np.zeros(X), np.zeros(W), **options)


def test_out(backend: str, dtype: np.dtype) -> None:
    rng = np.random.default_rng(17)
    x, weight = shapes.normals(rng, X, dtype), shapes.normals(rng, W, dtype)
    expected = convnet.conv2d(x, weight)
    out = np.full(expected.shape, np.nan, dtype)
    assert convnet.conv2d(x, weight, out=out) is out
    np.testing.assert_array_equal(out, expected)

    frozen = np.zeros_like(expected)
    frozen.flags.writeable = False
    other = "float64" if dtype == np.float32 else "float32"
    refused = {
        r"out .*\(2, 4, 6, 7\).*\(2, 4, 6, 6\)": np.zeros((2, 4, 6, 6), dtype),
        f"out .*{dtype}.*{other}": np.zeros(expected.shape, other),
        "out .*C-contiguous": np.zeros((*expected.shape[:3], 14), dtype)[..., ::2],
        "out .*writable": frozen,
    }
    for told, unfit in refused.items():
        with pytest.raises(ValueError, match=told):
            convnet.conv2d(x, weight, out=unfit)

    shared = np.zeros(x.size + expected.size - 1, dtype)
    overlapping = shared[: x.size].reshape(x.shape), shared[x.size - 1 :].reshape(expected.shape)
    with pytest.raises(ValueError, match="overlap"):
        convnet.conv2d(overlapping[0], weight, out=overlapping[1])


def test_out_is_untouched_by_a_refused_call(backend: str) -> None:
    out = np.full((2, 4, 6, 7), 7.0)
    with pytest.raises(ValueError, match="stride"):
        convnet.conv2d(np.zeros(X), np.zeros(W), stride=0, out=out)
    assert np.all(out == 7)


def test_needs(backend: str, dtype: np.dtype) -> None:
    rng = np.random.default_rng(19)
    x, weight, dy = (shapes.normals(rng, shape, dtype) for shape in (X, W, (2, 4, 6, 7)))
    full = convnet.conv2d_backward(dy, x, weight)
    for needs in np.ndindex(2, 2, 2):
        some = convnet.conv2d_backward(dy, x, weight, needs=tuple(map(bool, needs)))
        for wanted, part, whole in zip(needs, some, full, strict=True):
            if wanted:
                np.testing.assert_array_equal(part, whole)
            else:
                assert part is None


def test_inputs_are_left_alone(backend: str) -> None:
    rng = np.random.default_rng(21)
    arrays = [rng.standard_normal(shape) for shape in (X, W, (4,), (2, 4, 6, 7))]
    kept = [array.copy() for array in arrays]
    x, weight, bias, dy = arrays
    convnet.conv2d(x, weight, bias, activation="relu")
    convnet.conv2d_backward(dy, x, weight)
    for array, copy in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_no_images(backend: str, dtype: np.dtype) -> None:
    x, weight = np.zeros((0, 3, 8, 9), dtype), np.ones(W, dtype)
    y = convnet.conv2d(x, weight, np.ones(4, dtype))
    assert y.shape == (0, 4, 6, 7)
    dx, dw, db = convnet.conv2d_backward(y, x, weight)
    assert dx.shape == x.shape
    np.testing.assert_array_equal(dw, np.zeros(W, dtype), strict=True)
    np.testing.assert_array_equal(db, np.zeros(4, dtype), strict=True)


def test_no_input_channels_leaves_the_bias(backend: str, dtype: np.dtype) -> None:
    x, weight = np.zeros((2, 0, 5, 5), dtype), np.zeros((3, 0, 2, 2), dtype)
    bias = np.array([1, -2, 3], dtype)
    y = convnet.conv2d(x, weight, bias)
    np.testing.assert_array_equal(y, np.broadcast_to(bias[:, None, None], (2, 3, 4, 4)))
    np.testing.assert_array_equal(convnet.conv2d(x, weight), np.zeros((2, 3, 4, 4)))
    fused = convnet.conv2d(x, weight, bias, activation="relu")
    np.testing.assert_array_equal(fused, np.maximum(y, 0))
    dx, dw, db = convnet.conv2d_backward(np.ones_like(y), x, weight)
    assert dx.shape == x.shape
    assert dw.shape == weight.shape
    np.testing.assert_array_equal(db, [32, 32, 32])


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_reach_exactly_their_windows(backend: str, dtype: np.dtype, special: float) -> None:
    """All algorithms but Winograd agree with the formula element for element, a zero weight included."""
    rng = np.random.default_rng(23)
    x, weight = shapes.integers(rng, (2, 3, 9, 11), dtype), shapes.integers(rng, (5, 3, 3, 3), dtype)
    weight[0] = 0
    x[1, 2, 4, 5] = special
    with np.errstate(invalid="ignore"):
        expected = oracles.conv2d(x, weight, None, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
        for algorithm in algorithms(backend):
            y = convnet.conv2d(x, weight, padding=1, algorithm=algorithm)
            np.testing.assert_array_equal(y, expected, err_msg=algorithm)


def test_sizes_no_machine_can_hold(backend: str) -> None:
    """Broadcast arrays take no memory; their products overflow. The next call works."""
    huge = np.broadcast_to(np.float32(1), (2**20, 1, 2**20, 2**20))
    with pytest.raises((ValueError, MemoryError)):
        convnet.conv2d(huge, np.broadcast_to(np.float32(1), (2**20, 1, 1, 1)))
    with pytest.raises((ValueError, MemoryError)):
        convnet.conv2d(np.ones((1, 1, 4, 4)), np.ones((1, 1, 2, 2)), padding=2**30)
    assert convnet.conv2d(np.ones((1, 1, 4, 4)), np.ones((1, 1, 2, 2)))[0, 0, 0, 0] == 4


def test_an_unknown_backend_is_refused() -> None:
    used = convnet.get_backend()
    with pytest.raises(ValueError, match="cuda"):
        convnet.set_backend("cuda")
    assert convnet.get_backend() == used
