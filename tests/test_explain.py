"""What `explain_conv2d` says of the algorithm, the tile and the memory of a convolution."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import convnet

SQUARE = (1, 64, 56, 56), (64, 64, 3, 3), 1, 1


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = convnet.get_num_threads()
    yield
    convnet.set_num_threads(before)


@pytest.mark.parametrize(
    ("algorithm", "arguments", "dtype"),
    [
        ("winograd", SQUARE, "float32"),
        ("winograd", ((1, 64, 28, 28), (64, 64, 5, 5), 1, 2), "float32"),
        ("winograd", ((1, 3, 224, 224), (64, 3, 7, 7), 2, 3), "float32"),
        ("direct", SQUARE, "float64"),
        ("direct", ((1, 64, 56, 56), (64, 64, 3, 3), 2, 1), "float32"),
        ("gemm", ((1, 256, 56, 56), (64, 256, 1, 1)), "float32"),
        ("gemm", ((1, 256, 11, 11), (20, 256, 1, 1)), "float32"),
        ("direct", ((32, 1, 28, 28), (6, 1, 5, 5), 1, 2), "float32"),
        ("gemm", ((1, 1024, 14, 14), (256, 1024, 1, 1)), "float32"),
        ("gemm", ((1, 512, 14, 14), (512, 512, 1, 1), 2), "float64"),
        ("direct", ((1, 512, 14, 14), (512, 512, 3, 3), 2, 1), "float64"),
        ("depthwise", ((1, 32, 112, 112), (32, 1, 3, 3), 1, 1, 1, 32), "float32"),
        ("depthwise", ((1, 32, 112, 112), (64, 1, 5, 5), 2, 2, 1, 32), "float64"),
        ("depthwise", ((1, 240, 14, 14), (240, 1, 5, 5), 1, 2, 1, 240), "float32"),
        ("reference", ((0, 64, 56, 56), (64, 64, 3, 3), 1, 1), "float32"),
        ("reference", ((1, 0, 56, 56), (64, 0, 3, 3), 1, 1), "float32"),
    ],
)
def test_the_choice(algorithm: str, arguments: tuple, dtype: str) -> None:
    explained = convnet.explain_conv2d(*arguments, dtype=dtype)
    assert explained.algorithm == algorithm
    assert explained.isa == convnet.build_info()["isa"]
    assert min(explained.tile) >= 1
    assert explained.macs == convnet.functional.conv2d_shape(*arguments).macs
    weights = int(np.prod(arguments[1])) * np.dtype(dtype).itemsize
    # Winograd's transformed weights are 36 for nine or fewer.
    assert explained.packed_weights >= weights * (4 if algorithm == "winograd" else 1)
    assert (explained.workspace == 0) == (algorithm == "reference")


def test_the_batch_and_the_threads_do_not_choose() -> None:
    x_shape, *others = SQUARE
    for images in (1, 7):
        for threads in (1, 2, 8):
            convnet.set_num_threads(threads)
            assert convnet.explain_conv2d((images, *x_shape[1:]), *others).algorithm == "winograd"


def test_threads_have_workspace_each() -> None:
    def workspace(threads: int) -> int:
        convnet.set_num_threads(threads)
        return convnet.explain_conv2d((1, 3, 224, 224), (64, 3, 7, 7), 2, 3).workspace

    assert workspace(2) == 2 * workspace(1)


def test_the_algorithm_asked_for() -> None:
    assert convnet.explain_conv2d(*SQUARE, algorithm="direct").algorithm == "direct"
    assert convnet.explain_conv2d(*SQUARE, algorithm="gemm").algorithm == "gemm"
    explained = convnet.explain_conv2d(*SQUARE, algorithm="reference")
    assert (explained.algorithm, explained.workspace) == ("reference", 0)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (((1, 3, 8, 8), (4, 2, 3, 3)), {}, "x has 3 channels but weight expects 2"),
        (((1, 3, 8, 8), (4, 3, 9, 9)), {}, "kernel"),
        (((3, 8, 8), (4, 3, 3, 3)), {}, "x must"),
        (((1, 3, 8, 8), (4, 3, 3, 3)), {"stride": 0}, "stride"),
        (((1, 3, 8, 8), (4, 3, 3, 3)), {"stride": 2, "algorithm": "winograd"}, "winograd"),
        (((1, 3, 8, 8), (4, 3, 3, 3)), {"dtype": float, "algorithm": "winograd"}, "float32"),
        (((1, 3, 8, 8), (4, 3, 3, 3)), {"algorithm": "fft"}, "not 'fft'"),
    ],
)
def test_bad_shapes_are_those_of_conv2d(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convnet.explain_conv2d(*arguments, **options)


def test_arrays_are_no_shapes() -> None:
    with pytest.raises(TypeError, match=r"x_shape must be .* not an array of shape \(1, 3, 8, 8\)"):
        convnet.explain_conv2d(np.ones((1, 3, 8, 8)), (4, 3, 3, 3))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="weight_shape must be a sequence of ints, not 4"):
        convnet.explain_conv2d((1, 3, 8, 8), 4)  # type: ignore[arg-type]


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match="not float16"):
        convnet.explain_conv2d(*SQUARE, dtype=np.float16)


@pytest.mark.parametrize("x_shape", [(0, 64, 56, 56), (0, 3, 8, 8)])
def test_no_images(x_shape: tuple[int, ...]) -> None:
    """A shape that Winograd's algorithm serves has nothing to cut into blocks without images."""
    weight = np.ones((64, x_shape[1], 3, 3), np.float32)
    with convnet.backend("native"):
        y = convnet.conv2d(np.ones(x_shape, np.float32), weight, padding=1)
    assert y.shape == (0, 64, *x_shape[2:])
