"""One contract for every layer, on every backend; then each layer's own figures, and whole networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import convnet
from convnet import layers
from convnet.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
    Layer,
    LeakyReLU,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from convnet.optim import SGD

STEP = 1e-6
F64: dict[str, Any] = {"dtype": np.float64, "rng": 3}

# Every layer, in the forms that matter: (constructor, shape of an input).
CASES: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "Conv2d": (lambda: Conv2d(2, 3, 3, **F64), (2, 2, 5, 4)),
    "Conv2d-geometry": (
        lambda: Conv2d(4, 6, (3, 2), (2, 1), ((1, 0), (2, 1)), (1, 2), 2, **F64),
        (2, 4, 6, 5),
    ),
    "Conv2d-same-without-bias": (lambda: Conv2d(1, 2, 2, 2, "same", bias=False, **F64), (1, 1, 5, 5)),
    "ConvTranspose2d": (lambda: ConvTranspose2d(2, 3, 3, **F64), (2, 2, 4, 3)),
    "ConvTranspose2d-geometry": (
        lambda: ConvTranspose2d(4, 6, (3, 2), (2, 3), ((1, 0), (2, 1)), (1, 2), 2, True, (1, 2), **F64),
        (2, 4, 3, 3),
    ),
    "ConvTranspose2d-same-without-bias": (
        lambda: ConvTranspose2d(1, 2, 3, 2, "same", bias=False, **F64),
        (1, 1, 3, 3),
    ),
    "Dense": (lambda: Dense(5, 3, **F64), (4, 5)),
    "Dense-leading-axes": (lambda: Dense(5, 3, **F64), (2, 3, 5)),
    "Dense-without-bias": (lambda: Dense(5, 3, bias=False, **F64), (4, 5)),
    "MaxPool2d": (lambda: MaxPool2d(2), (2, 3, 6, 4)),
    "MaxPool2d-overlapping": (lambda: MaxPool2d(3, 2, 1, ceil_mode=True), (1, 2, 6, 7)),
    "AvgPool2d": (lambda: AvgPool2d(2), (2, 3, 6, 4)),
    "AvgPool2d-overlapping": (lambda: AvgPool2d(3, 2, 1, ceil_mode=True), (1, 2, 6, 7)),
    "AvgPool2d-real-pixels": (lambda: AvgPool2d(3, 2, 1, count_include_pad=False), (1, 2, 6, 7)),
    "GlobalAvgPool2d": (GlobalAvgPool2d, (2, 3, 4, 3)),
    "GlobalMaxPool2d": (GlobalMaxPool2d, (2, 3, 4, 3)),
    "AdaptiveAvgPool2d": (lambda: AdaptiveAvgPool2d((3, 2)), (2, 3, 5, 4)),
    "BatchNorm2d": (lambda: BatchNorm2d(3, dtype=np.float64), (2, 3, 3, 2)),
    "BatchNorm2d-features": (lambda: BatchNorm2d(3, eps=0.1, dtype=np.float64), (5, 3)),
    "LocalResponseNorm": (lambda: LocalResponseNorm(3, alpha=2.0, k=2.0), (2, 5, 3, 2)),
    "LocalResponseNorm-even": (lambda: LocalResponseNorm(4, alpha=1.0, beta=0.5), (2, 3, 2)),
    "Dropout": (lambda: Dropout(0.4, rng=5), (3, 7)),
    "ReLU": (ReLU, (3, 2, 4)),
    "LeakyReLU": (lambda: LeakyReLU(0.2), (3, 2, 4)),
    "Sigmoid": (Sigmoid, (3, 2, 4)),
    "Tanh": (Tanh, (3, 2, 4)),
    "Softmax": (Softmax, (3, 4)),
    "Softmax-channels": (lambda: Softmax(1), (2, 3, 2, 2)),
    "Flatten": (Flatten, (2, 3, 4, 2)),
    "Sequential": (lambda: Sequential(Dense(5, 4, **F64), ReLU(), Sequential(Dense(4, 3, **F64))), (4, 5)),
    "Sequential-empty": (Sequential, (2, 3)),
}
every_layer = pytest.mark.parametrize("case", CASES)


def data(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Distinct values at least 1e-2 apart and away from 0: no difference quotient crosses a kink."""
    size = int(np.prod(shape))
    values = np.arange(size) - size // 2 + 0.5
    return np.random.default_rng(seed).permutation(values).reshape(shape) * 0.02


def slopes(f: Callable[[], float], array: np.ndarray) -> np.ndarray:
    """Central differences of f for each element of `array`, which is changed in place and put back."""
    result = np.empty(array.shape)
    for at in np.ndindex(array.shape):
        kept = array[at]
        array[at] = kept + STEP
        above = f()
        array[at] = kept - STEP
        below = f()
        array[at] = kept
        result[at] = (above - below) / (2 * STEP)
    return result


# These compute something else in training.
TWO_MODES = (BatchNorm2d, Dropout)


def check_layer(build: Callable[[], Layer], input_shape: tuple[int, ...]) -> None:
    """What every layer promises."""
    layer, x = build(), data(input_shape)
    assert layer.output_shape(input_shape) == layer.forward(x).shape
    assert layer.macs(input_shape) >= 0
    assert layer.parameter_count() == sum(array.size for array in layer.params.values())
    assert type(layer).__name__ in repr(layer)

    y = layer.forward(x, training=True)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(layer(x), layer(x, training=False))
    if not isinstance(layer, TWO_MODES):
        np.testing.assert_array_equal(layer(x), y)

    def forward(training: bool) -> np.ndarray:
        """As a layer just built computes it, with the parameters of this one: the same in every call."""
        fresh = build()
        for name, array in layer.params.items():
            fresh.params[name] = array
        return fresh.forward(x, training)

    # backward, in both modes: the right gradients, params left alone, the same arrays as before
    dy = np.random.default_rng(1).standard_normal(y.shape)
    for training in (True, False):
        if not training and not isinstance(layer, TWO_MODES):
            continue
        layer = build()
        kept = {name: (array, array.copy()) for name, array in layer.params.items()}
        layer.forward(x, training)
        dx = layer.backward(dy)
        assert set(layer.grads) == set(layer.params)

        def loss(training: bool = training) -> float:
            return np.vdot(forward(training), dy)

        np.testing.assert_allclose(dx, slopes(loss, x), atol=1e-7)
        for name, (array, before) in kept.items():
            assert layer.params[name] is array
            np.testing.assert_array_equal(array, before)
            np.testing.assert_allclose(layer.grads[name], slopes(loss, array), atol=1e-7)

    # writes, does not add; also after a forward outside training; without dx the same gradients
    layer.forward(x)
    dx = layer.backward(dy)
    first = {name: array.copy() for name, array in layer.grads.items()}
    layer.forward(x)
    np.testing.assert_array_equal(layer.backward(dy), dx)
    for name, array in first.items():
        np.testing.assert_array_equal(layer.grads[name], array)
        layer.grads[name] = np.full_like(array, np.nan)
    layer.forward(x)
    assert layer.backward(dy, input_grad=False) is None
    for name, array in first.items():
        np.testing.assert_array_equal(layer.grads[name], array)

    # parameters are the user's: written into, or rebound, they are what the next forward uses
    for name in layer.params:
        before = layer.forward(x)
        layer.params[name][...] += 0.5
        written = layer.forward(x)
        assert not np.array_equal(written, before)
        layer.params[name] = layer.params[name] - 0.5
        np.testing.assert_allclose(layer.forward(x), before, atol=1e-12)

    # an empty batch
    empty = layer.forward(np.zeros((0, *input_shape[1:])), training=True)
    assert empty.shape == (0, *y.shape[1:])
    assert layer.backward(empty).shape == (0, *input_shape[1:])
    for array in layer.grads.values():
        assert not array.any()


@every_layer
def test_contract(backend: str, case: str) -> None:
    check_layer(*CASES[case])


def test_every_layer_is_held_to_the_contract() -> None:
    public = {c.__name__ for c in vars(layers).values() if isinstance(c, type) and issubclass(c, Layer)}
    assert public - {"Layer"} == {case.partition("-")[0] for case in CASES}


@every_layer
def test_float32_stays_float32(backend: str, case: str) -> None:
    build, shape = CASES[case]
    layer = build()
    for arrays in (layer.params, layer.state):
        for name in arrays:
            arrays[name] = arrays[name].astype(np.float32)
    y = layer.forward(data(shape).astype(np.float32), training=True)
    dx = layer.backward(y)
    assert {y.dtype, dx.dtype, *(array.dtype for array in layer.grads.values())} == {np.dtype(np.float32)}


# --- construction


def test_weights_are_he_normal_float32_and_biases_zero() -> None:
    for layer, fan_in in ((Conv2d(16, 64, 3, rng=0), 16 * 9), (Dense(400, 100, rng=0), 400)):
        weight, bias = layer.params["weight"], layer.params["bias"]
        assert weight.dtype == bias.dtype == np.float32
        assert weight.std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
        assert not bias.any()


def test_one_generator_serves_many_layers() -> None:
    rng = np.random.default_rng(5)
    first, second = Dense(3, 3, rng=rng), Dense(3, 3, rng=rng)
    assert not np.array_equal(first.params["weight"], second.params["weight"])
    np.testing.assert_array_equal(first.params["weight"], Dense(3, 3, rng=5).params["weight"])


def test_another_initializer() -> None:
    layer = Conv2d(2, 3, 3, init=convnet.initializers.glorot_uniform, rng=1)
    np.testing.assert_array_equal(
        layer.params["weight"], convnet.initializers.glorot_uniform((3, 2, 3, 3), 1, np.float32)
    )


@pytest.mark.parametrize("groups", [0, -1, 3, 4])
@pytest.mark.parametrize("layer", [Conv2d, ConvTranspose2d])
def test_groups_must_divide_the_channels(layer: type[Layer], groups: int) -> None:
    with pytest.raises(ValueError, match=f"{layer.__name__}: groups={groups} must divide 4 and 6 channels"):
        layer(4, 6, 3, groups=groups)


def test_repr_tells_what_is_not_usual() -> None:
    assert repr(Conv2d(1, 6, 5, padding="same", rng=0)) == "Conv2d(1, 6, (5, 5), padding='same')"
    assert repr(MaxPool2d(3, 2, ceil_mode=True)) == "MaxPool2d(3, stride=2, ceil_mode=True)"
    assert repr(Sequential(Flatten(), Dense(4, 2))) == "Sequential(Flatten(), Dense(4, 2))"


# --- normalisation and dropout


def test_batch_norm_keeps_running_statistics(backend: str) -> None:
    """PyTorch's rule: running += momentum·(batch - running), the variance unbiased."""
    layer = BatchNorm2d(2, momentum=0.25, dtype=np.float64)
    state = dict(layer.state)
    x = np.random.default_rng(0).normal(3, 2, (4, 2, 3, 3))
    layer.forward(x, training=True)
    np.testing.assert_allclose(layer.state["mean"], 0.25 * x.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(layer.state["var"], 0.75 + 0.25 * x.var((0, 2, 3), ddof=1), rtol=1e-12)
    assert all(layer.state[name] is array for name, array in state.items())
    kept = {name: array.copy() for name, array in state.items()}
    y = layer.forward(x)
    expected = (x - kept["mean"][:, None, None]) / np.sqrt(kept["var"][:, None, None] + 1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    layer.forward(x[:0], training=True)
    for name, array in kept.items():
        np.testing.assert_array_equal(layer.state[name], array)


def test_dropout_is_the_identity_outside_training(backend: str) -> None:
    layer, x = Dropout(0.5, rng=0), data((50, 40))
    np.testing.assert_array_equal(layer.forward(x), x)
    np.testing.assert_array_equal(layer.backward(x), x)
    first, second = layer.forward(x, training=True), layer.forward(x, training=True)
    assert not np.array_equal(first, second)
    dropped = second == 0
    assert 0.4 < dropped.mean() < 0.6
    np.testing.assert_array_equal(second[~dropped], 2 * x[~dropped])
    np.testing.assert_array_equal(layer.backward(x), second)
    with pytest.raises(ValueError, match=r"p must be in \[0, 1\], got 1.5"):
        Dropout(1.5)


# --- Sequential


def mlp(dtype: Any = np.float32, seed: int = 0) -> Sequential:
    rng = np.random.default_rng(seed)
    return Sequential(
        Flatten(), Dense(64, 16, dtype=dtype, rng=rng), ReLU(), Dense(16, 4, dtype=dtype, rng=rng)
    )


def small_lenet(dtype: Any = np.float32, seed: int = 0) -> Sequential:
    rng = np.random.default_rng(seed)
    return Sequential(
        Conv2d(1, 3, 3, padding=1, dtype=dtype, rng=rng),
        ReLU(),
        MaxPool2d(2),
        Conv2d(3, 4, 3, dtype=dtype, rng=rng),
        ReLU(),
        AvgPool2d(2),
        Flatten(),
        Dense(4, 4, dtype=dtype, rng=rng),
    )


def lenet5() -> Sequential:
    return Sequential(
        Conv2d(1, 6, 5, padding=2),
        ReLU(),
        MaxPool2d(2),
        Conv2d(6, 16, 5),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Dense(400, 120),
        ReLU(),
        Dense(120, 84),
        ReLU(),
        Dense(84, 10),
    )


def test_sequential_shares_its_layers_arrays() -> None:
    model = Sequential(Dense(2, 3), Sequential(ReLU(), Dense(3, 1)))
    assert list(model.params) == ["0.weight", "0.bias", "1.1.weight", "1.1.bias"]
    assert model.params["1.1.weight"] is model[1][1].params["weight"]
    replacement = np.ones((3, 1), np.float32)
    model.params.update({"1.1.weight": replacement})
    assert model[1][1].params["weight"] is replacement
    assert len(model.params) == 4
    assert len(model.grads) == 0
    assert "0.weight" in model.params
    assert "0.weights" not in model.params
    assert "9.weight" not in model.params
    assert "weight" not in model.params
    del model.params["0.bias"]
    assert "bias" not in model[0].params
    assert len(model) == 2
    assert list(model) == model.layers
    assert repr(model.params) == repr(dict(model.params))


class Spy(Layer):
    """Counts its backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        return x

    def backward(self, dy: np.ndarray, input_grad: bool = True) -> np.ndarray | None:
        self.calls += 1
        return dy if input_grad else None


def test_nothing_is_computed_below_the_first_layer_that_learns() -> None:
    below, above = Spy(), Spy()
    model = Sequential(below, Dense(3, 2, rng=0), above)
    dy = model.forward(np.ones((1, 3), np.float32))
    assert model.backward(dy, input_grad=False) is None
    assert (below.calls, above.calls) == (0, 1)
    assert model.backward(dy).shape == (1, 3)
    assert (below.calls, above.calls) == (1, 2)
    assert Sequential(below).backward(dy, input_grad=False) is None
    assert below.calls == 1


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_predict_is_forward_in_batches(backend: str, batch_size: int) -> None:
    model, x = small_lenet(np.float64), data((7, 1, 8, 8))
    np.testing.assert_allclose(model.predict(x, batch_size), model.forward(x), atol=1e-12)
    assert model.predict(x[:0], batch_size).shape == (0, 4)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        model.predict(x, 0)


# --- costs: figures from the literature


def test_summary_of_lenet5() -> None:
    """61,706 parameters, 416,520 multiply-accumulates: the modern form on 28x28 images."""
    summary = lenet5().summary((1, 28, 28))
    assert (summary.parameters, summary.macs) == (61_706, 416_520)
    assert [row.parameters for row in summary.rows if row.parameters] == [156, 2_416, 48_120, 10_164, 850]
    assert [row.macs for row in summary.rows if row.macs] == [117_600, 240_000, 48_000, 10_080, 840]
    assert [row.output_shape for row in summary.rows[:7]] == [
        (1, 6, 28, 28),
        (1, 6, 28, 28),
        (1, 6, 14, 14),
        (1, 16, 10, 10),
        (1, 16, 10, 10),
        (1, 16, 5, 5),
        (1, 400),
    ]
    values = 2 * 6 * 28 * 28 + 6 * 14 * 14 + 2 * 16 * 100 + 400 + 2 * 120 + 2 * 84 + 10
    assert summary.activation_bytes == 4 * values
    assert summary.rows[6].activation_bytes == 0, "Flatten gives a view"
    batch = lenet5().summary((32, 1, 28, 28))
    assert (batch.macs, batch.activation_bytes) == (32 * summary.macs, 32 * summary.activation_bytes)
    assert batch.parameters == summary.parameters


@pytest.mark.parametrize(
    ("layer", "shape", "output", "parameters", "macs"),
    [
        (Conv2d(3, 10, 3), (1, 3, 50, 50), (1, 10, 48, 48), 280, 48 * 48 * 10 * 27),
        (Conv2d(32, 32, 3, padding=1, groups=32), (2, 32, 8, 8), (2, 32, 8, 8), 320, 2 * 32 * 64 * 9),
        (Dense(1024, 1000, bias=False), (1, 1024), (1, 1000), 1_024_000, 1_024_000),
        (MaxPool2d(3, 2, ceil_mode=True), (1, 2, 6, 7), (1, 2, 3, 3), 0, 0),
        (AvgPool2d(3, 2), (1, 2, 6, 7), (1, 2, 2, 3), 0, 0),
        (ConvTranspose2d(6, 4, 2, 2), (2, 6, 5, 5), (2, 4, 10, 10), 100, 2 * 6 * 4 * 25 * 4),
        (BatchNorm2d(8), (1, 8, 5, 5), (1, 8, 5, 5), 16, 0),
        (GlobalAvgPool2d(), (2, 8, 5, 5), (2, 8, 1, 1), 0, 0),
    ],
)
def test_costs(layer: Layer, shape: Any, output: Any, parameters: int, macs: int) -> None:
    assert layer.output_shape(shape) == output
    assert layer.parameter_count() == parameters
    assert layer.macs(shape) == macs


def test_an_mlp_784_32_2_has_25_186_parameters() -> None:
    model = Sequential(Flatten(), Dense(784, 32), ReLU(), Dense(32, 2))
    summary = model.summary((1, 28, 28))
    assert (summary.parameters, summary.macs) == (25_186, 25_152)
    assert model.activations((1, 1, 28, 28)) * 4 == summary.activation_bytes == 4 * (32 + 32 + 2)
    assert model.macs((1, 1, 28, 28)) == summary.macs
    assert model.output_shape((5, 1, 28, 28)) == (5, 2)


def test_summary_prints_an_aligned_table() -> None:
    model = Sequential(Flatten(), Dense(12, 1000, dtype=np.float64))
    lines = str(model.summary((3, 2, 2))).splitlines()
    assert lines == [
        "layer            output shape  parameters    MACs  activation bytes",
        "-------------------------------------------------------------------",
        "input            (1, 3, 2, 2)",
        "Flatten()        (1, 12)                0       0                 0",
        "Dense(12, 1000)  (1, 1000)         13,000  12,000             8,000",
        "-------------------------------------------------------------------",
        "total                              13,000  12,000             8,000",
    ]


def test_summary_of_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"Dense: expected .*400.*, got"):
        lenet5().summary((1, 32, 32))
    with pytest.raises(ValueError, match="conv2d: x has 3 channels but weight expects 1"):
        lenet5().summary((3, 28, 28))


# --- whole networks


def train(model: Sequential, steps: int, dtype: Any) -> list[float]:
    """Steps on one batch: class k has its bright square in corner k. Returns the loss before each step."""
    rng = np.random.default_rng(0)
    labels = np.arange(8) % 4
    x = rng.normal(0, 0.1, (8, 1, 8, 8)).astype(dtype)
    for image, k in zip(x, labels, strict=True):
        image[0, 4 * (k // 2) :, 4 * (k % 2) :][:4, :4] += 1
    optimizer = SGD(model, lr=0.1, momentum=0.9)
    losses = []
    for _ in range(steps):
        loss, dlogits = convnet.softmax_cross_entropy(model.forward(x, training=True), labels)
        model.backward(dlogits, input_grad=False)
        optimizer.step()
        losses.append(loss)
    return losses


@pytest.mark.parametrize("build", [mlp, small_lenet])
def test_networks_learn(backend: str, dtype: np.dtype, build: Callable[..., Sequential]) -> None:
    losses = train(build(dtype), 25, dtype)
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("build", [mlp, small_lenet])
def test_backends_train_alike(build: Callable[..., Sequential], dtype: np.dtype) -> None:
    models = {}
    for name in ("naive", "im2col", "native"):
        with convnet.backend(name):
            models[name] = build(dtype)
            train(models[name], 5, dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    for name in ("naive", "im2col"):
        for key, array in models[name].params.items():
            np.testing.assert_allclose(models["native"].params[key], array, rtol=0, atol=tolerance)
