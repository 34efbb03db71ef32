"""The operations: NumPy arrays in, new plain NumPy arrays out.

What users write is settled in `arguments` and only there: dtypes, layouts, ints and pairs, the forms of padding. Each
function then makes one call to the backend in use (`convnet.backend`), which checks that the sizes fit.

All of them:

- compute in float32 or float64; the two mixed promote to float64. Any other dtype, and a masked array, is a
  TypeError that names the cast to make.
- take arrays of any strides, byte order and alignment, read-only ones and subclasses too.
- raise ValueError with the sizes where shapes and numbers do not fit together, before anything is computed.

``stride``, ``dilation`` and ``kernel_size`` are an int or a pair (h, w). ``padding`` is an int, (h, w),
((top, bottom), (left, right)), "valid" (none), "same" (= "same_upper": the output has ceil(input / stride)
rows and columns, an odd pixel of padding goes to the end) or "same_lower" (it goes to the beginning).
"""

from .activations import relu, relu_backward, softmax_cross_entropy
from .arguments import ALGORITHMS, IntOrPair, PaddingForm, pair
from .convolution import Conv2dPlan, col2im, conv2d, conv2d_backward, conv2d_shape, im2col
from .matrix import dense, dense_backward, gemm
from .pooling import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward, pool2d_shape

__all__ = [
    "ALGORITHMS",
    "Conv2dPlan",
    "IntOrPair",
    "PaddingForm",
    "avg_pool2d",
    "avg_pool2d_backward",
    "col2im",
    "conv2d",
    "conv2d_backward",
    "conv2d_shape",
    "dense",
    "dense_backward",
    "gemm",
    "im2col",
    "max_pool2d",
    "max_pool2d_backward",
    "pair",
    "pool2d_shape",
    "relu",
    "relu_backward",
    "softmax_cross_entropy",
]
