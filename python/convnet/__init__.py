"""NumPy in, NumPy out: convolutional networks at the speed of the machine.

`convnet.functional` has the operations, all of them re-exported here; `convnet.layers`, `convnet.optim` and
`convnet.training` build and train networks of them.
"""

from . import functional, initializers, layers, losses, optim, training
from ._core import __version__, build_info, get_num_threads, set_num_threads
from .backends import backend, get_backend, set_backend
from .functional import (
    Conv2dPlan,
    avg_pool2d,
    avg_pool2d_backward,
    col2im,
    conv2d,
    conv2d_backward,
    dense,
    dense_backward,
    gemm,
    im2col,
    max_pool2d,
    max_pool2d_backward,
    relu,
    relu_backward,
    softmax_cross_entropy,
)

__all__ = [
    "Conv2dPlan",
    "__version__",
    "avg_pool2d",
    "avg_pool2d_backward",
    "backend",
    "build_info",
    "col2im",
    "conv2d",
    "conv2d_backward",
    "dense",
    "dense_backward",
    "functional",
    "gemm",
    "get_backend",
    "get_num_threads",
    "im2col",
    "initializers",
    "layers",
    "losses",
    "max_pool2d",
    "max_pool2d_backward",
    "optim",
    "relu",
    "relu_backward",
    "set_backend",
    "set_num_threads",
    "softmax_cross_entropy",
    "training",
]
