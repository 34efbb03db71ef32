"""softmax_cross_entropy on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convnet
import oracles
import shapes


@given(
    rows=st.integers(1, 9), classes=st.integers(1, 40), scale=st.sampled_from([0, 1, 30]), seed=shapes.seeds
)
def test_against_the_formula(
    backend: str, dtype: np.dtype, rows: int, classes: int, scale: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = shapes.normals(rng, (rows, classes), dtype) * dtype.type(scale)
    labels = rng.integers(0, classes, rows)
    loss, dlogits = convnet.softmax_cross_entropy(logits, labels)
    expected_loss, expected = oracles.softmax_cross_entropy(logits.astype(np.longdouble), labels)
    eps = np.finfo(dtype).eps
    assert isinstance(loss, float)
    assert abs(loss - expected_loss) <= 8 * eps * (1 + abs(logits).max())
    assert dlogits.dtype == dtype
    # exp turns an absolute error of its argument into a relative one.
    assert np.all(abs(dlogits - expected) <= 8 * eps * (1 + abs(logits).max()) / rows)


def test_known_values(backend: str, dtype: np.dtype) -> None:
    """Equal logits: the loss is log(classes), the gradient 1/classes, less one at the label."""
    loss, dlogits = convnet.softmax_cross_entropy(np.full((2, 4), 3, dtype), np.array([1, 3]))
    assert loss == pytest.approx(np.log(4), rel=4 * float(np.finfo(dtype).eps))
    np.testing.assert_allclose(
        dlogits, [[0.125, -0.375, 0.125, 0.125], [0.125, 0.125, 0.125, -0.375]], rtol=1e-6
    )


def test_large_logits_do_not_overflow(backend: str, dtype: np.dtype) -> None:
    big = np.finfo(dtype).max / 4
    loss, dlogits = convnet.softmax_cross_entropy(np.array([[big, -big, 0]], dtype), np.array([0]))
    assert loss == 0
    np.testing.assert_array_equal(dlogits, np.zeros((1, 3)))


def test_finite_differences(backend: str) -> None:
    rng = np.random.default_rng(1)
    logits, labels = rng.standard_normal((4, 6)), np.array([0, 5, 2, 2])
    _, dlogits = convnet.softmax_cross_entropy(logits, labels)
    numeric = oracles.central_difference(
        lambda: np.array(convnet.softmax_cross_entropy(logits, labels)[0]), logits, np.array(1.0), step=1e-5
    )
    np.testing.assert_allclose(dlogits, numeric, rtol=0, atol=1e-9)


def test_a_nan_is_not_lost(backend: str) -> None:
    loss, dlogits = convnet.softmax_cross_entropy(np.array([[1.0, np.nan], [1.0, 2.0]]), np.array([0, 1]))
    assert np.isnan(loss)
    assert np.isnan(dlogits[0]).all()
    assert np.isfinite(dlogits[1]).all()


def test_an_empty_batch(backend: str, dtype: np.dtype) -> None:
    loss, dlogits = convnet.softmax_cross_entropy(np.zeros((0, 4), dtype), np.zeros(0, np.int64))
    assert loss == 0
    np.testing.assert_array_equal(dlogits, np.zeros((0, 4), dtype), strict=True)


def test_memory_layouts_give_the_same_bits(backend: str, dtype: np.dtype) -> None:
    rng = np.random.default_rng(2)
    logits, labels = shapes.normals(rng, (5, 7), dtype), rng.integers(0, 7, 5)
    loss, dlogits = convnet.softmax_cross_entropy(logits, labels)
    held = zip(*map(shapes.memory_layouts, (logits, labels)), strict=True)
    for (name, other), (_, other_labels) in held:
        found, slope = convnet.softmax_cross_entropy(other, other_labels)
        assert found == loss, name
        assert type(slope) is np.ndarray, name
        np.testing.assert_array_equal(slope, dlogits, err_msg=name, strict=True)
    for kind in (np.uint8, np.int32, np.uint64):
        assert convnet.softmax_cross_entropy(logits, labels.astype(kind))[0] == loss


@pytest.mark.parametrize(
    ("labels", "told"),
    [([0, 3, 1], "3"), ([0, -1, 1], "-1"), ([0, 1], r"\(2,\)"), ([[0, 1, 2]], r"\(1, 3\)")],
    ids=str,
)
def test_labels_must_be_classes(backend: str, labels: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=f"^softmax_cross_entropy: .*label.*{told}"):
        convnet.softmax_cross_entropy(np.zeros((3, 3)), np.array(labels))


def test_bad_arguments(backend: str) -> None:
    with pytest.raises(ValueError, match=r"^softmax_cross_entropy: logits.*\(3,\)"):
        convnet.softmax_cross_entropy(np.zeros(3), np.zeros(3, int))
    with pytest.raises(TypeError, match=r"^softmax_cross_entropy: logits.*int64.*astype"):
        convnet.softmax_cross_entropy(np.zeros((3, 3), np.int64), np.zeros(3, int))
    with pytest.raises(TypeError, match=r"^softmax_cross_entropy: labels.*float64"):
        convnet.softmax_cross_entropy(np.zeros((3, 3)), np.zeros(3))


@pytest.mark.parametrize("smoothing", [0.1, 0.5, 1])
def test_label_smoothing(backend: str, dtype: np.dtype, smoothing: float) -> None:
    """Against the definition: cross-entropy with a target that has `smoothing` shared out."""
    rng = np.random.default_rng(3)
    logits, labels = shapes.normals(rng, (5, 7), dtype), rng.integers(0, 7, 5)
    loss, dlogits = convnet.softmax_cross_entropy(logits, labels, label_smoothing=smoothing)
    target = (1 - smoothing) * np.eye(7)[labels] + smoothing / 7
    shifted = logits.astype(np.float64)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    tolerance = 64 * float(np.finfo(dtype).eps)
    assert loss == pytest.approx(-(target * logs).sum(1).mean(), rel=tolerance)
    np.testing.assert_allclose(dlogits, (np.exp(logs) - target) / 5, rtol=0, atol=tolerance)
    assert dlogits.dtype == dtype


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
def test_bad_label_smoothing(backend: str, smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"^softmax_cross_entropy: label_smoothing must be in \[0, 1\]"):
        convnet.softmax_cross_entropy(np.zeros((3, 3)), np.zeros(3, int), label_smoothing=smoothing)
