"""How the operations take their arguments: dtypes, layouts, ints and pairs, padding, out. And backends."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import convnet
from convnet import functional as F

rng = np.random.default_rng(0)
X = rng.standard_normal((2, 4, 7, 6))
WEIGHT = rng.standard_normal((6, 2, 3, 2))
BIAS = rng.standard_normal(6)
GEOMETRY = {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": 1, "groups": 2}


def conv(x: Any = X, weight: Any = WEIGHT, bias: Any = BIAS, **options: Any) -> np.ndarray:
    return convnet.conv2d(x, weight, bias, **{**GEOMETRY, **options})


def misaligned(array: np.ndarray) -> np.ndarray:
    buffer = np.zeros(array.nbytes + 1, np.uint8)
    view = buffer[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


X2, W2, B2 = X[:, 0, 0], WEIGHT[:, 0].reshape(6, 6), BIAS
POOLED, INDICES = convnet.max_pool2d(X, 2, return_indices=True)


# --- arrays


def test_none_is_no_array(backend: str) -> None:
    with pytest.raises(TypeError, match="weight must be float32 or float64, not object"):
        convnet.conv2d(X, None)
    with pytest.raises(TypeError, match="x must be float32 or float64, not object"):
        convnet.relu(None)


@pytest.mark.parametrize("kind", [float, bool, object, complex])
def test_integers_are_asked_for_where_they_count(backend: str, kind: type) -> None:
    with pytest.raises(TypeError, match=r"labels\.astype\(np\.int64\)"):
        convnet.softmax_cross_entropy(X2, np.array([1, 0]).astype(kind))
    with pytest.raises(TypeError, match=r"indices\.astype\(np\.int64\)"):
        convnet.max_pool2d_backward(POOLED, INDICES.astype(kind), X.shape, 2)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", ">i4", "uint64"])
def test_any_integers_do(backend: str, kind: str) -> None:
    dx = convnet.max_pool2d_backward(POOLED, INDICES.astype(kind), X.shape, 2)
    np.testing.assert_array_equal(dx, convnet.max_pool2d_backward(POOLED, INDICES, X.shape, 2))


# --- numbers


@pytest.mark.parametrize("two", [2, (2, 2), [2, 2], np.int32(2), np.array([2, 2]), np.array(2)])
def test_an_int_stands_for_both(backend: str, two: Any) -> None:
    options = {"stride": two, "padding": two, "dilation": two}
    np.testing.assert_array_equal(conv(**options), conv(stride=2, padding=2, dilation=2))
    pool = convnet.max_pool2d(X, two, two)
    np.testing.assert_array_equal(pool, convnet.max_pool2d(X, 2))


@pytest.mark.parametrize(
    ("form", "ends"),
    [
        (1, ((1, 1), (1, 1))),
        ((1, 0), ((1, 1), (0, 0))),
        ([2, 1], ((2, 2), (1, 1))),
        (((1, 0), (0, 2)), ((1, 0), (0, 2))),
        (np.array([[1, 0], [0, 2]]), ((1, 0), (0, 2))),
        ("valid", ((0, 0), (0, 0))),
    ],
)
def test_padding_forms(backend: str, form: Any, ends: tuple[tuple[int, int], tuple[int, int]]) -> None:
    padded = np.pad(X, ((0, 0), (0, 0), *ends))
    np.testing.assert_array_equal(conv(padding=form), conv(padded, padding=0))


@pytest.mark.parametrize("name", ["same", "same_upper", "same_lower"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", [5, 6, 7])
def test_same_padding(name: str, stride: int, dilation: int, size: int) -> None:
    """Out = ceil(in / stride), and the odd pixel goes where the name says: the tap by which the first output
    reads the first pixel of the input tells how much padding stands before it."""
    kernel = 4
    x = np.zeros((1, 1, size, size))
    x[0, 0, 0, 0] = 1
    weight = (1.0 + np.arange(kernel * kernel)).reshape(1, 1, kernel, kernel)
    y = convnet.conv2d(x, weight, None, stride, name, dilation)
    out = -(-size // stride)
    assert y.shape == (1, 1, out, out)
    total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    before = total - total // 2 if name == "same_lower" else total // 2
    tap, between = divmod(before, dilation)
    assert y[0, 0, 0, 0] == (0 if between else weight[0, 0, tap, tap])
    assert convnet.avg_pool2d(x, kernel, stride, name, dilation=dilation).shape == y.shape
    assert convnet.max_pool2d(x, kernel, stride, name, dilation).shape == y.shape


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"stride": 1.5}, TypeError, "stride must be an int or a pair"),
        ({"stride": "2"}, TypeError, "stride must be an int or a pair"),
        ({"stride": None}, TypeError, "stride must be an int or a pair"),
        ({"stride": (1, 2, 3)}, ValueError, r"stride must be an int or a pair \(h, w\), not \(1, 2, 3\)"),
        ({"dilation": (1, 1.0)}, TypeError, "dilation must be an int or a pair"),
        ({"groups": 1.0}, TypeError, "groups must be an int"),
        ({"groups": (2, 2)}, TypeError, "groups must be an int"),
        ({"stride": 2**63}, ValueError, "stride is too large"),
        ({"stride": (1, 2**70)}, ValueError, "stride is too large"),
        ({"padding": -(2**70)}, ValueError, "padding is too large"),
        ({"groups": 2**70}, ValueError, "groups is too large"),
        ({"padding": "full"}, ValueError, "'same_lower', not 'full'"),
        ({"padding": (1, 2, 3)}, ValueError, r"padding must be an int, \(h, w\)"),
        ({"padding": (1, 2, 3, 4)}, ValueError, r"padding must be an int, \(h, w\)"),
        ({"padding": 0.5}, TypeError, "padding must be an int or a pair"),
        ({"padding": None}, TypeError, "padding must be an int or a pair"),
        ({"padding": ((1, 1), (1, 1.5))}, TypeError, "padding must be an int or a pair"),
        ({"activation": "tanh"}, ValueError, "activation must be None or 'relu', not 'tanh'"),
        ({"algorithm": "fft"}, ValueError, "algorithm must be .*, not 'fft'"),
        ({"layout": "CHWN"}, ValueError, "layout must be 'NCHW' or 'NHWC', not 'CHWN'"),
    ],
)
def test_bad_arguments_are_told(backend: str, options: dict[str, Any], error: type, told: str) -> None:
    with pytest.raises(error, match=told):
        conv(**options)


@pytest.mark.parametrize("shape", [(2, 4, 7), (2, 4, 7, 6.0), 5, (2**70, 4, 7, 6), (-1, 4, 7, 6)])
def test_bad_input_shapes(backend: str, shape: Any) -> None:
    for call in (
        lambda: convnet.max_pool2d_backward(POOLED, INDICES, shape, 2),
        lambda: convnet.avg_pool2d_backward(POOLED, shape, 2),
        lambda: convnet.col2im(POOLED[0, 0], shape, 2),
    ):
        with pytest.raises((TypeError, ValueError), match=r"max_pool2d_backward|avg_pool2d_backward|col2im"):
            call()


@pytest.mark.parametrize("needs", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
def test_needs(backend: str, needs: tuple[int, int, int]) -> None:
    dy = conv()
    for backward, arrays in (
        (lambda *a, **k: convnet.conv2d_backward(*a, **GEOMETRY, **k), (dy, X, WEIGHT)),
        (convnet.dense_backward, (X2, X2, W2)),
    ):
        for needed, found, full in zip(needs, backward(*arrays, needs=needs), backward(*arrays), strict=True):
            if needed:
                np.testing.assert_array_equal(found, full)
            else:
                assert found is None
        with pytest.raises(ValueError, match="needs must be three flags"):
            backward(*arrays, needs=(True, True))


# --- layouts


def test_nhwc_is_nchw_transposed(backend: str) -> None:
    nhwc, oihw = (0, 2, 3, 1), (2, 3, 1, 0)
    x, weight, y = X.transpose(nhwc), WEIGHT.transpose(oihw), conv()
    found = conv(x, weight, layout="NHWC")
    np.testing.assert_allclose(
        found, y.transpose(nhwc), rtol=0, atol=1e-13
    )  # its terms may come in another order
    assert found.flags.c_contiguous
    expected = convnet.conv2d_backward(y, X, WEIGHT, **GEOMETRY)
    dx, dw, db = convnet.conv2d_backward(y.transpose(nhwc), x, weight, **GEOMETRY, layout="NHWC")
    np.testing.assert_allclose(dx, expected[0].transpose(nhwc), rtol=0, atol=1e-12)
    np.testing.assert_allclose(dw, expected[1].transpose(oihw), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(db, expected[2])
    pooled = convnet.max_pool2d(x, 2, return_indices=True, layout="NHWC")
    for a, b in zip(pooled, (POOLED, INDICES), strict=True):
        np.testing.assert_array_equal(a, b.transpose(nhwc))
    np.testing.assert_array_equal(convnet.max_pool2d(x, 2, layout="NHWC"), POOLED.transpose(nhwc))
    average = convnet.avg_pool2d(x, 2, layout="NHWC")
    np.testing.assert_array_equal(average, convnet.avg_pool2d(X, 2).transpose(nhwc))


@pytest.mark.parametrize("padding", [0, "same", 1])
def test_one_by_one_kernels_in_nhwc(backend: str, padding: Any) -> None:
    """Without padding they are one matrix product."""
    weight = WEIGHT[:, :, :1, :1].repeat(2, axis=1)
    x, oihw = X.transpose(0, 2, 3, 1), weight.transpose(2, 3, 1, 0)
    options = {"padding": padding, "activation": "relu"}
    y = convnet.conv2d(x, oihw, BIAS, **options, layout="NHWC")
    np.testing.assert_allclose(
        y, convnet.conv2d(X, weight, BIAS, **options).transpose(0, 2, 3, 1), rtol=0, atol=1e-13
    )
    assert y.flags.c_contiguous
    dy = y.transpose(0, 3, 1, 2)
    found = convnet.conv2d_backward(y, x, oihw, padding=padding, layout="NHWC", needs=(True, True, False))
    expected = convnet.conv2d_backward(dy, X, weight, padding=padding)
    np.testing.assert_allclose(found[0], expected[0].transpose(0, 2, 3, 1), rtol=0, atol=1e-13)
    np.testing.assert_allclose(found[1], expected[1].transpose(2, 3, 1, 0), rtol=0, atol=1e-12)
    assert found[2] is None
    with pytest.raises(ValueError, match=r"^conv2d: bias"):
        convnet.conv2d(x, oihw, BIAS[:3], layout="NHWC")
    with pytest.raises(ValueError, match=r"^conv2d: dilation"):
        convnet.conv2d(x, oihw, dilation=0, layout="NHWC")


@pytest.mark.parametrize("rank", [0, 1, 3, 5])
def test_wrong_rank_in_nhwc(backend: str, rank: int) -> None:
    x = np.zeros((3,) * rank)
    with pytest.raises(ValueError, match="conv2d: x must"):
        conv(x, layout="NHWC")
    with pytest.raises(ValueError, match="conv2d: weight must"):
        conv(X.transpose(0, 2, 3, 1), x, layout="NHWC")
    with pytest.raises(ValueError, match="max_pool2d: x must"):
        convnet.max_pool2d(x, 2, padding="same", layout="NHWC")


# --- out


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_out_is_written_and_returned(backend: str, layout: str) -> None:
    x, weight = (X, WEIGHT) if layout == "NCHW" else (X.transpose(0, 2, 3, 1), WEIGHT.transpose(2, 3, 1, 0))
    expected = conv(x, weight, layout=layout, activation="relu")
    out = np.full(expected.shape, np.nan)
    assert conv(x, weight, layout=layout, activation="relu", out=out) is out
    np.testing.assert_array_equal(out, expected)


def bad_outs() -> dict[str, Any]:
    good = np.zeros(conv().shape)
    return {
        "shape": good[:1].copy(),
        "dtype": good.astype(np.float32),
        "byte order": good.astype(good.dtype.newbyteorder()),
        "read-only": read_only(good),
        "order": np.asfortranarray(good),
        "strides": np.repeat(good, 2, axis=-1)[..., ::2],
        "alignment": misaligned(good),
    }


@pytest.mark.parametrize("fault", bad_outs())
def test_bad_out_is_refused_and_untouched(backend: str, fault: str) -> None:
    out = bad_outs()[fault]
    with pytest.raises(ValueError, match="out must be"):
        conv(out=out)
    assert not out.any()
    with pytest.raises(ValueError, match="out"):
        F.Conv2dPlan(WEIGHT, BIAS, **GEOMETRY)(X, out)


def test_out_that_is_no_array(backend: str) -> None:
    with pytest.raises(TypeError, match="out must be a NumPy array, not list"):
        conv(out=[])
    with pytest.raises(TypeError, match="out must be a NumPy array, not list"):
        F.Conv2dPlan(WEIGHT, BIAS, **GEOMETRY)(X, [])


@pytest.mark.parametrize("which", ["x", "weight", "bias"])
def test_out_must_not_overlap_an_input(backend: str, which: str) -> None:
    buffer = np.zeros(1000)
    x = buffer[:16].reshape(1, 1, 4, 4)
    weight = buffer[100:101].reshape(1, 1, 1, 1)
    bias = buffer[200:201]
    start = {"x": 8, "weight": 90, "bias": 195}[which]
    with pytest.raises(ValueError, match="out overlaps an input"):
        convnet.conv2d(x, weight, bias, out=buffer[start : start + 16].reshape(1, 1, 4, 4))
    free = buffer[300:316].reshape(1, 1, 4, 4)
    assert convnet.conv2d(x, weight, bias, out=free) is free


# --- dense with leading axes


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (0,), (2, 0, 3)])
def test_dense_takes_any_leading_axes(backend: str, leading: tuple[int, ...]) -> None:
    x = rng.standard_normal((*leading, 6))
    y = convnet.dense(x, W2, B2)
    np.testing.assert_allclose(y, x @ W2 + B2, atol=1e-12)
    dx, dw, db = convnet.dense_backward(y, x, W2)
    np.testing.assert_allclose(dx, y @ W2.T, atol=1e-12)
    rows, dys = x.reshape(-1, 6), y.reshape(-1, 6)
    np.testing.assert_allclose(dw, rows.T @ dys, atol=1e-12)
    np.testing.assert_allclose(db, dys.sum(axis=0), atol=1e-12)


def test_dense_wants_a_feature_axis(backend: str) -> None:
    with pytest.raises(ValueError, match="dense: x must"):
        convnet.dense(np.array(1.0), W2)
    with pytest.raises(ValueError, match=r"dy \(3, 2, 6\) and x \(2, 3, 6\) differ"):
        convnet.dense_backward(np.zeros((3, 2, 6)), np.zeros((2, 3, 6)), W2)


# --- plans


def test_plan_is_the_convolution_with_its_weights_copied() -> None:
    weight, bias = WEIGHT.copy(), BIAS.copy()
    plan = convnet.Conv2dPlan(weight, bias, **GEOMETRY, activation="relu")
    expected = conv(activation="relu")
    weight[...] = bias[...] = 0
    np.testing.assert_array_equal(plan(X), expected)
    np.testing.assert_array_equal(plan(X[:1]), expected[:1])
    out = np.empty(expected.shape)
    assert plan(X, out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("name", ["valid", "same", "same_lower"])
def test_plan_padding_by_name(name: str) -> None:
    plan = convnet.Conv2dPlan(WEIGHT, padding=name, dilation=(1, 2), groups=2)
    np.testing.assert_array_equal(plan(X), convnet.conv2d(X, WEIGHT, padding=name, dilation=(1, 2), groups=2))


def test_plan_refuses() -> None:
    with pytest.raises(ValueError, match="depends on x"):
        convnet.Conv2dPlan(WEIGHT, stride=2, padding="same", groups=2)
    with pytest.raises(ValueError, match="not 'fft'"):
        convnet.Conv2dPlan(WEIGHT, groups=2, algorithm="fft")
    with pytest.raises(ValueError, match="weight must"):
        convnet.Conv2dPlan(WEIGHT[0])
    plan = convnet.Conv2dPlan(WEIGHT.astype(np.float32), groups=2)
    with pytest.raises(TypeError, match=r"x\.astype\(np\.float32\)"):
        plan(X)
    wide = convnet.Conv2dPlan(WEIGHT, groups=2)
    x = X.astype(np.float32)
    np.testing.assert_array_equal(wide(x), wide(x.astype(np.float64)))


# --- im2col and col2im


@pytest.mark.parametrize("geometry", [(2,), ((3, 2), (2, 1), ((1, 0), (2, 1))), (2, 1, 1, 2), (3, 4)])
def test_im2col_rows_are_the_patches(geometry: tuple[Any, ...], dtype: np.dtype) -> None:
    columns = convnet.im2col(X.astype(dtype), *geometry)
    kernel = (geometry[0],) * 2 if isinstance(geometry[0], int) else geometry[0]
    weight = rng.standard_normal((5, 4, *kernel)).astype(dtype)
    y = convnet.conv2d(X.astype(dtype), weight, None, *geometry[1:])
    assert columns.dtype == dtype
    product = (columns @ weight.reshape(5, -1).T).reshape(len(X), *y.shape[2:], 5)
    np.testing.assert_allclose(product.transpose(0, 3, 1, 2), y, atol=1e-4 if dtype == "float32" else 1e-12)
    # integers: both sides of <im2col(x), c> = <x, col2im(c)> are exact
    x = rng.integers(-8, 9, X.shape).astype(dtype)
    c = rng.integers(-8, 9, columns.shape).astype(dtype)
    folded = convnet.col2im(c, X.shape, *geometry)
    assert np.vdot(convnet.im2col(x, *geometry), c) == np.vdot(x, folded)


def test_im2col_errors() -> None:
    with pytest.raises(ValueError, match=r"im2col: .*larger than the padded input"):
        convnet.im2col(X, 9)
    with pytest.raises(ValueError, match="im2col: x must"):
        convnet.im2col(X[0], 2)
    with pytest.raises(ValueError, match=r"col2im: columns must have shape .* \(60, 16\), got \(59, 16\)"):
        convnet.col2im(np.zeros((59, 16)), X.shape, 2)


# --- choosing the backend


def test_backends_nest_and_come_back() -> None:
    assert convnet.get_backend() == "native"
    with convnet.backend("naive"):
        with convnet.backend("im2col"):
            assert convnet.get_backend() == "im2col"
        assert convnet.get_backend() == "naive"
        with pytest.raises(ZeroDivisionError), convnet.backend("im2col"):
            raise ZeroDivisionError
        assert convnet.get_backend() == "naive"
    assert convnet.get_backend() == "native"


def test_a_block_is_of_its_thread_alone() -> None:
    seen = []
    with convnet.backend("naive"):
        thread = threading.Thread(target=lambda: seen.append(convnet.get_backend()))
        thread.start()
        thread.join()
    assert seen == ["native"]


def test_set_backend_is_for_the_process() -> None:
    seen = []
    convnet.set_backend("im2col")
    try:
        thread = threading.Thread(target=lambda: seen.append(convnet.get_backend()))
        thread.start()
        thread.join()
        with convnet.backend("naive"):
            seen.append(convnet.get_backend())
        seen.append(convnet.get_backend())
    finally:
        convnet.set_backend("native")
    assert seen == ["im2col", "naive", "im2col"]


@pytest.mark.parametrize("name", ["torch", "", None, ["naive"]])
def test_unknown_backends(name: Any) -> None:
    with pytest.raises(ValueError, match="expected one of naive, im2col, native"):
        convnet.set_backend(name)
    with pytest.raises(ValueError, match="expected one of naive, im2col, native"), convnet.backend(name):
        pass
    assert convnet.get_backend() == "native"


def test_the_chosen_backend_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each operation calls the function of its own name in the module that was chosen."""
    from convnet.backends import BACKENDS

    for name, module in BACKENDS.items():
        monkeypatch.setattr(module, "relu", lambda x, name=name: name)
    for name in BACKENDS:
        with convnet.backend(name):
            assert convnet.relu(X) == name
