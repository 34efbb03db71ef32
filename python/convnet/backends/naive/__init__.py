"""Every operation as loops over its outputs: start reading here.

One output value at a time, exactly as the formula has it; hundreds of times slower than `native`. Each
backward stands directly under its forward and walks the same loops.
"""

from .activations import relu, relu_backward, softmax_cross_entropy
from .convolution import conv2d, conv2d_backward
from .matrix import dense, dense_backward, gemm
from .pooling import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward, max_pool2d_with_indices

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
