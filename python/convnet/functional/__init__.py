"""The operations: NumPy arrays in, new plain NumPy arrays out.

What users write is settled in `arguments` and only there: dtypes, layouts, ints and pairs, the forms of
padding. Each function then makes one call to the backend in use (`convnet.backend`), which checks that the
sizes fit.

All of them:

- compute in float32 or float64; the two mixed promote to float64. Any other dtype, and a masked array, is a
  TypeError that names the cast to make.
- take arrays of any strides, byte order and alignment, read-only ones and subclasses too.
- raise ValueError with the sizes where shapes and numbers do not fit together, before anything is computed.

``stride``, ``dilation`` and ``kernel_size`` are an int or a pair (h, w). ``padding`` is an int, (h, w),
((top, bottom), (left, right)), "valid" (none), "same" (= "same_upper": the output has ceil(input / stride)
rows and columns, an odd pixel of padding goes to the end) or "same_lower" (it goes to the beginning).
"""

from .activations import (
    leaky_relu,
    leaky_relu_backward,
    log_softmax,
    log_softmax_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softmax,
    softmax_backward,
    softmax_cross_entropy,
    tanh,
    tanh_backward,
)
from .arguments import ALGORITHMS, IntOrPair, PaddingForm, pair
from .convolution import (
    Conv2dExplanation,
    Conv2dPlan,
    col2im,
    conv2d,
    conv2d_backward,
    conv2d_shape,
    conv_transpose2d,
    conv_transpose2d_backward,
    conv_transpose2d_shape,
    explain_conv2d,
    im2col,
)
from .matrix import dense, dense_backward, gemm
from .normalization import (
    batch_norm,
    batch_norm_backward,
    dropout,
    dropout_backward,
    local_response_norm,
    local_response_norm_backward,
)
from .pooling import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    global_max_pool2d,
    global_max_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    pool2d_shape,
)

__all__ = [
    "ALGORITHMS",
    "Conv2dExplanation",
    "Conv2dPlan",
    "IntOrPair",
    "PaddingForm",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "col2im",
    "conv2d",
    "conv2d_backward",
    "conv2d_shape",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "conv_transpose2d_shape",
    "dense",
    "dense_backward",
    "dropout",
    "dropout_backward",
    "explain_conv2d",
    "gemm",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "global_max_pool2d",
    "global_max_pool2d_backward",
    "im2col",
    "leaky_relu",
    "leaky_relu_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "pair",
    "pool2d_shape",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "tanh",
    "tanh_backward",
]
