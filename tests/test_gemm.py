"""gemm and dense on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convnet
import oracles
import shapes

LIMITS = {"naive": 8, "im2col": 70, "native": 90}


def sizes(data: st.DataObject, backend: str) -> tuple[int, int, int]:
    m, n, k = (data.draw(st.integers(0, LIMITS[backend]), label) for label in "mnk")
    return m, n, k


@given(data=st.data())
def test_gemm_exact_on_integers(backend: str, dtype: np.dtype, data: st.DataObject) -> None:
    """Any size, zeros included, any transposition, alpha and beta."""
    m, n, k = sizes(data, backend)
    trans_a, trans_b, with_c = (data.draw(st.booleans()) for _ in range(3))
    alpha, beta = data.draw(st.sampled_from([-2, 0, 0.5, 1, 3])), data.draw(st.sampled_from([-1, 0, 1, 2]))
    rng = np.random.default_rng(data.draw(shapes.seeds))
    a = shapes.integers(rng, (k, m) if trans_a else (m, k), dtype)
    b = shapes.integers(rng, (n, k) if trans_b else (k, n), dtype)
    c = shapes.integers(rng, (m, n), dtype) if with_c else None
    kept = None if c is None else c.copy()

    found = convnet.gemm(a, b, c, alpha=alpha, beta=beta, trans_a=trans_a, trans_b=trans_b)

    product = (a.T if trans_a else a).astype(np.int64) @ (b.T if trans_b else b).astype(np.int64)
    expected = alpha * product + (0 if c is None else beta * c.astype(np.int64))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)
    if c is not None:
        np.testing.assert_array_equal(c, kept)
        assert not np.shares_memory(c, found)


@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
def test_every_tile_tail(dtype: np.dtype, trans_a: bool, trans_b: bool) -> None:
    rng = np.random.default_rng(0)
    with convnet.backend("native"):
        for m, n, k in [
            *((size, 19, 23) for size in shapes.TILE_EDGES),
            *((13, size, 23) for size in shapes.TILE_EDGES),
            *((13, 19, size) for size in shapes.TILE_EDGES),
            *((size, size, 3) for size in shapes.TILE_EDGES),
            (1, 1, 16_384),  # a dot product, at the limit of exactness
            (7, 600, 700),  # beyond one block of n and k
            (530, 9, 300),  # and of m
        ]:
            a = shapes.integers(rng, (k, m) if trans_a else (m, k), dtype)
            b = shapes.integers(rng, (n, k) if trans_b else (k, n), dtype)
            found = convnet.gemm(a, b, trans_a=trans_a, trans_b=trans_b)
            # Whole numbers below 2^53: float64 is exact, in whatever order BLAS adds.
            expected = (a.T if trans_a else a).astype("f8") @ (b.T if trans_b else b).astype("f8")
            np.testing.assert_array_equal(found, expected, err_msg=f"{m=} {n=} {k=}")


@given(data=st.data())
def test_gemm_accuracy(backend: str, dtype: np.dtype, data: st.DataObject) -> None:
    m, n, k = sizes(data, backend)
    rng = np.random.default_rng(data.draw(shapes.seeds))
    a, b = shapes.normals(rng, (m, k), dtype), shapes.normals(rng, (k, n), dtype)
    wide_a, wide_b = a.astype(np.longdouble), b.astype(np.longdouble)
    bound = 4 * np.finfo(dtype).eps * (abs(wide_a) @ abs(wide_b))
    assert np.all(abs(convnet.gemm(a, b) - wide_a @ wide_b) <= bound)


def test_beta_zero_does_not_read_c(backend: str, dtype: np.dtype) -> None:
    """As in BLAS: 0·NaN would otherwise be NaN."""
    c = np.full((2, 2), np.nan, dtype)
    found = convnet.gemm(np.eye(2, dtype=dtype), np.eye(2, dtype=dtype), c, beta=0)
    np.testing.assert_array_equal(found, np.eye(2))


def test_gemm_carries_nan_and_inf(backend: str, dtype: np.dtype) -> None:
    a = np.array([[1, np.nan, 0], [0, 0, 0], [1, 2, 3]], dtype)
    b = np.array([[1, 0], [1, 1], [np.inf, 1]], dtype)
    with np.errstate(invalid="ignore"):
        found = convnet.gemm(a, b)
    np.testing.assert_array_equal(found, [[np.nan, np.nan], [np.nan, 0], [np.inf, 5]])


@pytest.mark.parametrize(
    ("a", "b", "c", "told"),
    [
        ((2, 3), (4, 5), None, ["(2, 3)", "(4, 5)"]),
        ((3,), (3, 5), None, ["a", "(3,)"]),
        ((2, 3), (2, 3, 5), None, ["b", "(2, 3, 5)"]),
        ((2, 3), (3, 5), (5, 2), ["c", "(5, 2)", "(2, 5)"]),
    ],
    ids=str,
)
def test_gemm_shapes_must_fit(
    backend: str, a: tuple[int, ...], b: tuple[int, ...], c: tuple[int, ...] | None, told: list[str]
) -> None:
    with pytest.raises(ValueError, match=r"^gemm: ") as caught:
        convnet.gemm(np.zeros(a), np.zeros(b), None if c is None else np.zeros(c))
    for fragment in told:
        assert fragment in str(caught.value)


@given(data=st.data())
def test_dense_exact_on_integers(backend: str, dtype: np.dtype, data: st.DataObject) -> None:
    """dense and its gradients; x may have any number of leading axes."""
    rows, n_out, n_in = sizes(data, backend)
    leading = data.draw(st.sampled_from([(rows,), (), (2, rows), (2, 1, 3)]))
    rng = np.random.default_rng(data.draw(shapes.seeds))
    x, weight, bias, dy = (
        shapes.integers(rng, shape, np.int64)
        for shape in ((*leading, n_in), (n_in, n_out), (n_out,), (*leading, n_out))
    )
    floats = [a.astype(dtype) for a in (x, weight, bias)]
    expected = x @ weight + bias
    y = convnet.dense(*floats)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(convnet.dense(*floats[:2]), x @ weight)
    np.testing.assert_array_equal(convnet.dense(*floats, activation="relu"), np.maximum(expected, 0))

    gradients = convnet.dense_backward(dy.astype(dtype), *floats[:2])
    flat_x, flat_dy = x.reshape(-1, n_in) if n_in else np.zeros((dy[..., :1].size, 0), int), dy
    flat_dy = dy.reshape(len(flat_x), n_out)
    for found, sums in zip(gradients, (dy @ weight.T, flat_x.T @ flat_dy, flat_dy.sum(0)), strict=True):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, sums)


def test_dense_finite_differences(backend: str) -> None:
    rng = np.random.default_rng(1)
    x, weight, bias, dy = (rng.standard_normal(shape) for shape in ((3, 4), (4, 5), 5, (3, 5)))
    gradients = convnet.dense_backward(dy, x, weight)
    for at, gradient in zip((x, weight, bias), gradients, strict=True):
        numeric = oracles.central_difference(lambda: convnet.dense(x, weight, bias), at, dy, step=1e-3)
        np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-9)


def test_dense_needs(backend: str) -> None:
    rng = np.random.default_rng(2)
    arrays = [rng.standard_normal(shape) for shape in ((3, 5), (3, 4), (4, 5))]
    full = convnet.dense_backward(*arrays)
    for needs in np.ndindex(2, 2, 2):
        some = convnet.dense_backward(*arrays, needs=tuple(map(bool, needs)))
        for wanted, part, whole in zip(needs, some, full, strict=True):
            if wanted:
                np.testing.assert_array_equal(part, whole)
            else:
                assert part is None


def test_memory_layouts_give_the_same_bits(backend: str, dtype: np.dtype) -> None:
    rng = np.random.default_rng(3)
    x, weight, bias, dy = (shapes.normals(rng, shape, dtype) for shape in ((6, 5), (5, 7), (7,), (6, 7)))
    expected = convnet.gemm(x, weight), convnet.dense(x, weight, bias), *convnet.dense_backward(dy, x, weight)
    held = zip(*map(shapes.memory_layouts, (x, weight, bias, dy)), strict=True)
    for (name, other_x), (_, other_weight), (_, other_bias), (_, other_dy) in held:
        found = [
            convnet.gemm(other_x, other_weight),
            convnet.dense(other_x, other_weight, other_bias),
            *convnet.dense_backward(other_dy, other_x, other_weight),
        ]
        for array, same in zip(found, expected, strict=True):
            assert type(array) is np.ndarray, name
            np.testing.assert_array_equal(array, same, err_msg=name, strict=True)


@pytest.mark.parametrize(
    ("x", "weight", "bias", "told"),
    [
        ((2, 3), (4, 5), None, ["(2, 3)", "(4, 5)"]),
        ((2, 3), (3,), None, ["weight", "(3,)"]),
        ((), (3, 5), None, ["x", "()"]),
        ((2, 3), (3, 5), (3,), ["bias", "(3,)", "5"]),
    ],
    ids=str,
)
def test_dense_shapes_must_fit(
    backend: str, x: tuple[int, ...], weight: tuple[int, ...], bias: tuple[int, ...] | None, told: list[str]
) -> None:
    with pytest.raises(ValueError, match=r"^dense: ") as caught:
        convnet.dense(np.zeros(x), np.zeros(weight), None if bias is None else np.zeros(bias))
    for fragment in told:
        assert fragment in str(caught.value)


def test_dense_dy_must_fit(backend: str) -> None:
    with pytest.raises(ValueError, match=r"^dense_backward: .*\(2, 4\)"):
        convnet.dense_backward(np.zeros((2, 4)), np.zeros((2, 3)), np.zeros((3, 5)))


@pytest.mark.parametrize("bad", ["int64", "float16", "complex64", "object"])
def test_other_dtypes_are_refused(backend: str, bad: str) -> None:
    good, unfit = np.ones((2, 2)), np.ones((2, 2), bad)
    with pytest.raises(TypeError, match=rf"b.*{unfit.dtype}.*astype"):
        convnet.gemm(good, unfit)
    with pytest.raises(TypeError, match=rf"x.*{unfit.dtype}.*astype"):
        convnet.dense(unfit, good)


def test_mixed_dtypes_promote(backend: str) -> None:
    single, double = np.ones((2, 2), np.float32), np.ones((2, 2))
    assert convnet.gemm(single, double).dtype == np.float64
    assert convnet.dense(single, single, np.ones(2)).dtype == np.float64
    assert convnet.gemm(single, single).dtype == np.float32
