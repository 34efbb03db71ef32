"""The ONNX project's own cases of the operators that convnet has: those in two dimensions and float32.

The package makes the cases when asked; each carries its inputs and what must come out. `ADAPTERS` says how an
operator's attributes (https://onnx.ai/onnx/operators/) become the arguments of a call.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import convnet

pytest.importorskip("onnx")

Attributes = dict[str, Any]

LEAST_CASES = 80  # in all; onnx 1.23 has 84
SPATIAL = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")


def padding(a: Attributes) -> Any:
    auto = a.get("auto_pad", b"NOTSET").decode()
    if auto != "NOTSET":
        return {"VALID": "valid", "SAME_UPPER": "same_upper", "SAME_LOWER": "same_lower"}[auto]
    top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
    return (top, bottom), (left, right)


def pair(a: Attributes, name: str, default: int = 1) -> tuple[int, int]:
    h, w = a.get(name, (default, default))
    return h, w


def conv(a: Attributes, x: Any, weight: Any, bias: Any = None) -> Any:
    groups = a.get("group", 1)
    return convnet.conv2d(x, weight, bias, pair(a, "strides"), padding(a), pair(a, "dilations"), groups)


def conv_transpose(a: Attributes, x: Any, weight: Any, bias: Any = None) -> Any:
    """Where the size of the output is given, or is input times stride (auto_pad), padding follows from it."""
    stride, dilation, extra = pair(a, "strides"), pair(a, "dilations"), list(pair(a, "output_padding", 0))
    auto = a.get("auto_pad", b"NOTSET").decode()
    size = a.get("output_shape")
    if size is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        size = [x.shape[2 + axis] * stride[axis] for axis in (0, 1)]
    if size is None:
        ends = padding(a)
    else:
        ends = []
        for axis in (0, 1):
            full = stride[axis] * (x.shape[2 + axis] - 1) + (weight.shape[2 + axis] - 1) * dilation[axis] + 1
            total = full + extra[axis] - size[axis]
            if total < 0:  # more than the input reaches: rows and columns are added at the end
                extra[axis], total = extra[axis] - total, 0
            less, more = total // 2, total - total // 2
            ends.append((less, more) if auto == "SAME_UPPER" else (more, less))
    groups = a.get("group", 1)
    return convnet.conv_transpose2d(x, weight, bias, stride, ends, tuple(extra), groups, dilation)


def max_pool(a: Attributes, x: Any) -> Any:
    """ONNX counts indices through the whole tensor, by columns where storage_order is 1."""
    window = a["kernel_shape"], pair(a, "strides"), padding(a), pair(a, "dilations"), bool(a.get("ceil_mode"))
    y, indices = convnet.max_pool2d(x, *window, return_indices=True)
    N, C, H, W = x.shape
    if a.get("storage_order"):
        indices = indices % W * H + indices // W
    return y, indices + np.arange(N * C).reshape(N, C, 1, 1) * (H * W)


def average_pool(a: Attributes, x: Any) -> Any:
    flags = bool(a.get("ceil_mode")), bool(a.get("count_include_pad"))
    window = a["kernel_shape"], pair(a, "strides"), padding(a)
    return convnet.avg_pool2d(x, *window, *flags, dilation=pair(a, "dilations"))


def gemm(a: Attributes, left: Any, right: Any, c: Any = None) -> Any:
    """ONNX broadcasts C."""
    trans_a, trans_b = bool(a.get("transA")), bool(a.get("transB"))
    if c is not None:
        c = np.broadcast_to(c, (left.shape[trans_a], right.shape[not trans_b]))
    numbers = {"alpha": a.get("alpha", 1.0), "beta": a.get("beta", 1.0)}
    return convnet.gemm(left, right, c, **numbers, trans_a=trans_a, trans_b=trans_b)


def batch_normalization(a: Attributes, x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
    """In training ONNX also gives the running figures; momentum weighs the old ones."""
    eps, momentum = a.get("epsilon", 1e-5), a.get("momentum", 0.9)
    if not a.get("training_mode"):
        return convnet.batch_norm(x, gamma, beta, mean, var, eps=eps)
    y, batch_mean, batch_var = convnet.batch_norm(x, gamma, beta, eps=eps)
    blend = lambda old, new: (momentum * old + (1 - momentum) * new).astype(x.dtype)  # noqa: E731
    return y, blend(mean, batch_mean), blend(var, batch_var)


def lrn(a: Attributes, x: Any) -> Any:
    return convnet.local_response_norm(
        x, a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0)
    )


ADAPTERS: dict[str, Callable[..., Any]] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": lambda a, x: convnet.global_avg_pool2d(x),
    "GlobalMaxPool": lambda a, x: convnet.global_max_pool2d(x),
    "Gemm": gemm,
    "Relu": lambda a, x: convnet.relu(x),
    "LeakyRelu": lambda a, x: convnet.leaky_relu(x, a.get("alpha", 0.01)),
    "Sigmoid": lambda a, x: convnet.sigmoid(x),
    "Tanh": lambda a, x: convnet.tanh(x),
    "Softmax": lambda a, x: convnet.softmax(x, a.get("axis", -1)),
    "LogSoftmax": lambda a, x: convnet.log_softmax(x, a.get("axis", -1)),
    "BatchNormalization": batch_normalization,
    "LRN": lrn,
}


@pytest.fixture(scope="session")
def cases() -> dict[str, list[Any]]:
    """The cases by operator."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():  # making the cases of other operators overflows and divides by zero
        warnings.simplefilter("ignore")
        every = load_model_tests(kind="node")
    found = defaultdict(list)
    for case in every:
        if case.model is None or len(case.model.graph.node) != 1:
            continue
        operator = case.model.graph.node[0].op_type
        inputs = case.data_sets[0][0]
        if operator not in ADAPTERS or (operator in SPATIAL and inputs[0].ndim != 4):
            continue
        if all(array.dtype == np.float32 for array in inputs):
            found[operator].append(case)
    return found


def test_there_are_enough(cases: dict[str, list[Any]]) -> None:
    assert set(cases) == set(ADAPTERS)
    assert sum(map(len, cases.values())) >= LEAST_CASES


@pytest.mark.parametrize("operator", ADAPTERS)
def test_operator(backend: str, operator: str, cases: dict[str, list[Any]]) -> None:
    from onnx.helper import get_attribute_value

    for case in cases[operator]:
        attributes = {a.name: get_attribute_value(a) for a in case.model.graph.node[0].attribute}
        for inputs, outputs in case.data_sets:
            found = ADAPTERS[operator](attributes, *inputs)
            found = found if isinstance(found, tuple) else (found,)
            for value, expected in zip(found, outputs, strict=False):  # the last outputs are optional
                assert value.dtype == expected.dtype, case.name
                assert value.shape == expected.shape, case.name
                np.testing.assert_allclose(value, expected, rtol=case.rtol, atol=case.atol, err_msg=case.name)
