"""The native core among threads: the same bits for any number and in any batch, many callers, fork."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convnet
import shapes
from shapes import ConvCase

THREADS = (1, 2, 3, 4, 8)

# Large enough to be shared out among threads, each in its own way: over pixels, channels, images, groups.
CASES = [
    ConvCase((1, 16, 60, 61), (24, 16, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ConvCase((5, 32, 14, 15), (70, 32, 3, 3), (2, 1), ((1, 0), (0, 1)), (1, 1), 1),
    ConvCase((9, 3, 31, 31), (25, 3, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 1),
    ConvCase((3, 48, 20, 20), (48, 1, 5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1), 48),
    ConvCase((2, 200, 5, 5), (300, 100, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 2),
    ConvCase((37, 600, 1, 1), (90, 300, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 2),
    ConvCase((3, 20, 5, 5), (96, 20, 5, 5), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),  # dx by windows
    ConvCase((9, 40, 9, 8), (130, 40, 6, 4), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ConvCase((2, 40, 9, 13), (70, 40, 3, 3), (1, 1), ((6, 6), (7, 7)), (6, 7), 1),  # zeros left out
    ConvCase((8, 40, 5, 3), (160, 40, 3, 3), (2, 1), ((1, 0), (1, 0)), (1, 1), 1),  # tiles of images
]


@pytest.fixture(autouse=True)
def native() -> Iterator[None]:
    """The native backend; the number of threads is put back."""
    threads = convnet.get_num_threads()
    with convnet.backend("native"):
        yield
    convnet.set_num_threads(threads)


def everything(case: ConvCase, dtype: np.dtype, rng: np.random.Generator) -> list[np.ndarray]:
    """Every operation once, on arrays that follow from the case and the generator."""
    x, weight, bias, dy = (
        shapes.normals(rng, shape, dtype) for shape in (case.x, case.weight, case.weight[:1], case.y)
    )
    y, indices = convnet.max_pool2d(x, 1, 2, return_indices=True)
    average = convnet.avg_pool2d(x, 1, 2)
    flat, matrix = x.reshape(x.shape[0], -1), shapes.normals(rng, (x[0].size, 33), dtype)
    logits = convnet.dense(flat, matrix)
    loss, dlogits = convnet.softmax_cross_entropy(logits, np.arange(len(x)) % 33)
    return [
        convnet.conv2d(x, weight, bias, *case.geometry),
        *convnet.conv2d_backward(dy, x, weight, *case.geometry),
        y,
        convnet.max_pool2d_backward(y, indices, x.shape, 1, 2),
        average,
        convnet.avg_pool2d_backward(average, x.shape, 1, 2),
        logits,
        *convnet.dense_backward(dlogits, flat, matrix),
        np.float64(loss),
        convnet.relu(x),
        convnet.relu_backward(x, x),
    ]


def assert_same_bits(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for place, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a.tobytes() == b.tobytes(), place


@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_bits_for_any_number_of_threads(dtype: np.dtype, case: ConvCase) -> None:
    results = []
    for threads in THREADS:
        convnet.set_num_threads(threads)
        assert convnet.get_num_threads() == threads
        results.append(everything(case, dtype, np.random.default_rng(0)))
    for other in results[1:]:
        assert_same_bits(other, results[0])


@given(case=shapes.conv_cases(macs=1_000_000), seed=shapes.seeds, threads=st.sampled_from(THREADS[1:]))
def test_same_bits_on_random_shapes(dtype: np.dtype, case: ConvCase, seed: int, threads: int) -> None:
    convnet.set_num_threads(1)
    alone = everything(case, dtype, np.random.default_rng(seed))
    convnet.set_num_threads(threads)
    assert_same_bits(everything(case, dtype, np.random.default_rng(seed)), alone)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_bits_alone_and_in_any_batch(dtype: np.dtype, case: ConvCase, threads: int) -> None:
    """An image gives the same bits alone, in a batch, and at any place of it; so does a row of dense."""
    convnet.set_num_threads(threads)
    rng = np.random.default_rng(1)
    n = 7
    x = shapes.normals(rng, (n, *case.x[1:]), dtype)
    dy = shapes.normals(rng, (n, *case.y[1:]), dtype)
    weight, bias = shapes.normals(rng, case.weight, dtype), shapes.normals(rng, case.weight[:1], dtype)
    matrix = shapes.normals(rng, (x[0].size, 19), dtype)

    def per_image(chosen: list[int]) -> list[np.ndarray]:
        x_part, dy_part = x[chosen], dy[chosen]
        flat = x_part.reshape(len(chosen), -1)
        logits = convnet.dense(flat, matrix)
        return [
            convnet.conv2d(x_part, weight, bias, *case.geometry),
            convnet.conv2d_backward(dy_part, x_part, weight, *case.geometry, needs=(True, False, False))[0],
            convnet.max_pool2d(x_part, 1, 2),
            convnet.avg_pool2d(x_part, 1, 2),
            logits,
            convnet.dense_backward(logits, flat, matrix, needs=(True, False, False))[0],
        ]

    batch = per_image(list(range(n)))
    for chosen in ([3], [6, 0], [5, 4, 3, 2, 1], [2, 2, 2]):
        for part, whole in zip(per_image(chosen), batch, strict=True):
            assert part.tobytes() == whole[chosen].tobytes()


def test_many_callers_at_once() -> None:
    """Eight Python threads on different shapes, with one kept result each to compare with."""
    dtype = np.dtype("float32")
    expected = [everything(case, dtype, np.random.default_rng(2)) for case in CASES]

    def call(turn: int) -> None:
        assert convnet.get_backend() == "native"
        place = turn % len(CASES)
        assert_same_bits(everything(CASES[place], dtype, np.random.default_rng(2)), expected[place])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(80)))


def test_results_are_not_shared() -> None:
    """Recycled memory never backs two living arrays, nor changes under a view that outlives its array."""
    x, weight = np.ones((1, 4, 64, 64), np.float32), np.ones((8, 4, 3, 3), np.float32)
    kept = [convnet.conv2d(x * turn, weight) for turn in range(6)]
    corner = convnet.conv2d(x * 9, weight)[0, 0, :2, :2]
    for turn in range(20):
        convnet.conv2d(x * -turn, weight)
    for turn, y in enumerate(kept):
        np.testing.assert_array_equal(y, np.full(y.shape, 36.0 * turn))
    np.testing.assert_array_equal(corner, np.full((2, 2), 36.0 * 9))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_after_use() -> None:
    """Threads do not survive a fork: the child computes serially, and the same bits."""
    convnet.set_num_threads(4)
    dtype, case = np.dtype("float32"), CASES[0]
    expected = everything(case, dtype, np.random.default_rng(3))
    for _ in range(5):
        child = os.fork()
        if child == 0:
            try:
                assert_same_bits(everything(case, dtype, np.random.default_rng(3)), expected)
                os._exit(0)
            finally:
                os._exit(1)
        deadline = time.monotonic() + 5
        while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.01)
        if not ended[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert ended == (child, 0), "the child hangs" if not ended[0] else "the child fails"
    assert_same_bits(everything(case, dtype, np.random.default_rng(3)), expected)


def test_a_refused_call_leaves_the_next_one_whole() -> None:
    dtype, case = np.dtype("float64"), CASES[1]
    expected = everything(case, dtype, np.random.default_rng(4))
    big = np.broadcast_to(np.float32(1), (2**20, 64, 2**10, 2**10))
    for attempt in (
        lambda: convnet.conv2d(big, np.ones((64, 64, 1, 1), np.float32)),
        lambda: convnet.conv2d(big, np.ones((64, 65, 1, 1), np.float32)),
        lambda: convnet.max_pool2d(big, 2, 0),
        lambda: convnet.gemm(np.ones((3, 4)), np.ones((5, 6))),
    ):
        with pytest.raises((ValueError, MemoryError)):
            attempt()
        assert_same_bits(everything(case, dtype, np.random.default_rng(4)), expected)


@pytest.mark.parametrize("threads", [0, -1])
def test_number_of_threads_is_checked(threads: int) -> None:
    before = convnet.get_num_threads()
    with pytest.raises(ValueError, match=str(threads)):
        convnet.set_num_threads(threads)
    assert convnet.get_num_threads() == before
