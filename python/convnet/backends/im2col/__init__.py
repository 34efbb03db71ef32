"""Every operation as vectorised NumPy: convolution is one matrix product over unfolded patches.

Chellapilla, Puri and Simard, "High performance convolutional neural networks for document processing" (2006).
Pooling walks the kernel's taps, each a strided view of all windows at once.
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
