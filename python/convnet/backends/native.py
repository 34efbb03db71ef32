"""The operations as the compiled core has them."""

from .._core import (
    avg_pool2d,
    avg_pool2d_backward,
    conv2d,
    conv2d_backward,
    dense,
    dense_backward,
    gemm,
    max_pool2d,
    max_pool2d_backward,
    max_pool2d_with_indices,
    relu,
    relu_backward,
    softmax_cross_entropy,
)

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "conv2d",
    "conv2d_backward",
    "dense",
    "dense_backward",
    "gemm",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_with_indices",
    "relu",
    "relu_backward",
    "softmax_cross_entropy",
]
