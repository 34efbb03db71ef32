"""A program that uses the whole public surface, as ``mypy --strict`` and Python both take it.

A line with ``type: ignore`` is a mistake that the types must find: strict mypy reports an ignore without one.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import convnet
from convnet import functional, initializers, layers, losses, optim, training

Array = NDArray[Any]
Gradients = tuple[Array | None, Array | None, Array | None]

rng = np.random.default_rng(0)
x, weight, bias = rng.standard_normal((2, 4, 6, 6)), rng.standard_normal((4, 4, 3, 3)), rng.standard_normal(4)
rows, matrix = rng.standard_normal((3, 5)), rng.standard_normal((5, 4))


def convolutions() -> None:
    y = assert_type(convnet.conv2d(x, weight, bias, 1, ((1, 1), (1, 1)), (1, 1), activation="relu"), Array)
    assert_type(
        convnet.conv2d(x, weight, padding="same_lower", algorithm="gemm", out=np.empty_like(x)), Array
    )
    assert_type(convnet.conv2d_backward(y, x, weight, padding=1, needs=(True, False, True)), Gradients)
    up = assert_type(convnet.conv_transpose2d(x, weight, bias, 2, 1, output_padding=1), Array)
    assert_type(convnet.conv_transpose2d_backward(up, x, weight, 2, 1, 1), Gradients)
    plan = convnet.Conv2dPlan(weight, bias, padding="same", activation="relu")
    assert_type(plan(x), Array)
    columns = assert_type(convnet.im2col(x, (2, 2)), Array)
    assert_type(convnet.col2im(columns, x.shape, 2), Array)
    shape = functional.conv2d_shape(x.shape, weight.shape, padding=1)
    assert_type(shape.y, tuple[int, int, int, int])
    assert_type(shape.macs, int)
    explained = convnet.explain_conv2d(x.shape, weight.shape, padding=1, dtype="float64", algorithm="direct")
    assert_type(explained, convnet.Conv2dExplanation)
    assert_type(explained.tile, tuple[int, int])
    if x.size == 0:
        convnet.conv2d(x, weight, layout="CHWN")  # type: ignore[arg-type]
        convnet.conv2d(x, weight, activation="tanh")  # type: ignore[arg-type]
        convnet.conv2d(x, weight, stride=1.5)  # type: ignore[arg-type]
        convnet.conv2d(x)  # type: ignore[call-arg]
        convnet.conv2d(x, None)  # type: ignore[arg-type]


def pools() -> None:
    assert_type(convnet.max_pool2d(x, 2), Array)
    y, indices = convnet.max_pool2d(x, 2, return_indices=True)
    assert_type(indices, NDArray[np.int64])
    assert_type(convnet.max_pool2d_backward(y, indices, x.shape, 2), Array)
    assert_type(convnet.avg_pool2d(x, (2, 2), 2, 0, True, False, dilation=1), Array)
    assert_type(convnet.avg_pool2d_backward(y, x.shape, 2), Array)
    y, indices = convnet.adaptive_max_pool2d(x, (3, 2), return_indices=True)
    assert_type(convnet.adaptive_max_pool2d_backward(y, indices, x.shape), Array)
    assert_type(convnet.adaptive_avg_pool2d_backward(convnet.adaptive_avg_pool2d(x, 3), x.shape), Array)
    y, indices = convnet.global_max_pool2d(x, return_indices=True)
    assert_type(convnet.global_max_pool2d_backward(y, indices, x.shape), Array)
    assert_type(convnet.global_avg_pool2d_backward(convnet.global_avg_pool2d(x), x.shape), Array)


def matrices_and_activations() -> None:
    assert_type(convnet.gemm(rows, matrix, None, alpha=2.0, beta=0.0, trans_a=False, trans_b=False), Array)
    y = assert_type(convnet.dense(rows, matrix, None, activation="relu"), Array)
    assert_type(convnet.dense_backward(y, rows, matrix), Gradients)
    assert_type(convnet.relu_backward(rows, convnet.relu(rows)), Array)
    assert_type(convnet.leaky_relu_backward(rows, convnet.leaky_relu(rows, 0.1), 0.1), Array)
    assert_type(convnet.sigmoid_backward(rows, convnet.sigmoid(rows)), Array)
    assert_type(convnet.tanh_backward(rows, convnet.tanh(rows)), Array)
    assert_type(convnet.softmax_backward(rows, convnet.softmax(rows, axis=0), axis=0), Array)
    assert_type(convnet.log_softmax_backward(rows, convnet.log_softmax(rows)), Array)
    loss, dlogits = convnet.softmax_cross_entropy(rows, np.array([0, 1, 2]), label_smoothing=0.1)
    assert_type(loss, float)
    assert_type(dlogits, Array)
    assert_type(losses.softmax_cross_entropy(rows, np.array([0, 1, 2])), tuple[float, Array])
    assert_type(losses.mean_squared_error(rows, rows), tuple[float, Array])


def normalization() -> None:
    gamma, beta = np.ones(4), np.zeros(4)
    y, mean, var = convnet.batch_norm(x, gamma, beta)
    assert_type(convnet.batch_norm(x, gamma, beta, mean, var, eps=1e-3), Array)
    assert_type(convnet.batch_norm_backward(y, x, gamma), tuple[Array, Array, Array])
    y = assert_type(convnet.local_response_norm(x, 3), Array)
    assert_type(convnet.local_response_norm_backward(y, x, 3), Array)
    y, mask = convnet.dropout(x, 0.5, rng)
    assert_type(convnet.dropout_backward(y, mask), Array)


def choices() -> None:
    assert_type(convnet.get_backend(), str)
    with convnet.backend("im2col"):
        convnet.relu(rows)
    convnet.set_backend(convnet.get_backend())
    convnet.set_num_threads(assert_type(convnet.get_num_threads(), int))
    assert_type(convnet.build_info(), dict[str, Any])
    assert_type(convnet.__version__, str)


class Doubled(layers.Layer):
    """A layer of one's own."""

    def forward(self, x: Array, training: bool = False) -> Array:
        return 2 * x

    def backward(self, dy: Array, input_grad: bool = True) -> Array | None:
        return 2 * dy


def networks() -> None:
    model = layers.Sequential(
        layers.Conv2d(4, 8, 3, padding=1, rng=0, init=initializers.he_uniform),
        layers.BatchNorm2d(8),
        layers.LeakyReLU(0.1),
        layers.MaxPool2d(2),
        layers.ConvTranspose2d(8, 4, 2, stride=2, rng=0, init=initializers.glorot_normal),
        layers.LocalResponseNorm(3),
        layers.Tanh(),
        layers.AvgPool2d(2),
        layers.Sigmoid(),
        layers.AdaptiveAvgPool2d(2),
        layers.Dropout(0.2, rng=0),
        layers.ReLU(),
        layers.Flatten(),
        layers.Dense(16, 3, rng=0, init=initializers.glorot_uniform),
    )
    summary = assert_type(model.summary((4, 6, 6)), layers.Summary)
    assert_type(summary.macs, int)
    assert_type(summary.rows[0], layers.LayerSummary)
    images, labels = x.astype(np.float32), np.array([0, 2])
    history = training.fit(
        model, images, labels, optimizer=optim.Adam(model), epochs=1, batch_size=2, progress=False
    )
    assert_type(history[0], training.Epoch)
    assert_type(history, training.History)
    assert_type(training.evaluate(model, images, labels), tuple[float, float])
    assert_type(model.predict(images, batch_size=1), Array)
    assert_type(optim.clip_gradients(model, 1.0), float)
    for optimizer in (
        optim.SGD(model, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4),
        optim.AdamW(model, optim.cosine_decay(0.1, total=10, warmup=2)),
        optim.RMSprop(model, optim.step_decay(0.1, every=3)),
    ):
        optimizer.step()
        assert_type(optimizer.state_dict(), dict[str, Any])
    with TemporaryDirectory() as room:
        model.save(Path(room) / "model")
        assert_type(convnet.load(Path(room) / "model", layers=[Doubled]), layers.Sequential)
        try:
            convnet.load(__file__)
        except convnet.CheckpointError as error:
            assert_type(str(error), str)
    assert_type(initializers.he_normal((3, 4), 0), Array)
    heads = layers.GlobalAvgPool2d()(images), layers.GlobalMaxPool2d()(images)
    assert_type(heads, tuple[Array, Array])
    assert_type(layers.Softmax()(rows), Array)
    assert_type(Doubled()(rows), Array)
    if x.size == 0:
        layers.Dense("4", 2)  # type: ignore[arg-type]
        optim.SGD(model)  # type: ignore[call-arg]


if __name__ == "__main__":
    convolutions()
    pools()
    matrices_and_activations()
    normalization()
    choices()
    networks()
