"""The compiled core: NumPy arrays in, NumPy arrays out.

Arrays are float32 or float64, all of one dtype in a call; any strides are accepted (non-contiguous arrays are
copied). Geometry arrives settled: ``stride``, ``dilation`` and ``kernel`` as (h, w), ``padding`` as
(top, bottom, left, right). `convnet.functional` turns what users write into this form.
"""

from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = tuple[int, int, int, int]  # top, bottom, left, right

__version__: str

@final
class Conv2dShape:
    """A validated 2-D convolution: ValueError with the sizes where the numbers do not fit together."""

    def __init__(
        self,
        x: tuple[int, ...],
        weight: tuple[int, ...],
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
        op: str = "conv2d",
    ) -> None: ...
    @property
    def x(self) -> tuple[int, int, int, int]: ...
    @property
    def weight(self) -> tuple[int, int, int, int]: ...
    @property
    def y(self) -> tuple[int, int, int, int]: ...
    @property
    def stride(self) -> Pair: ...
    @property
    def padding(self) -> Padding: ...
    @property
    def dilation(self) -> Pair: ...
    @property
    def groups(self) -> int: ...
    @property
    def macs(self) -> int: ...

@final
class Pool2dShape:
    """A validated 2-D pooling, with PyTorch's ceil_mode rule."""

    def __init__(
        self,
        x: tuple[int, ...],
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        ceil_mode: bool,
        op: str = "max_pool2d",
    ) -> None: ...
    @property
    def x(self) -> tuple[int, int, int, int]: ...
    @property
    def y(self) -> tuple[int, int, int, int]: ...
    @property
    def kernel(self) -> Pair: ...
    @property
    def stride(self) -> Pair: ...
    @property
    def padding(self) -> Padding: ...
    @property
    def dilation(self) -> Pair: ...

@final
class Conv2dPlan:
    def __init__(
        self,
        weight: Array,
        bias: Array | None,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
        relu: bool,
        algorithm: str,
    ) -> None: ...
    def __call__(self, x: Array, out: Array | None = None) -> Array: ...

def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    relu: bool,
    algorithm: str,
    out: Array | None,
    channels_last: bool = False,
) -> Array: ...
def explain_conv2d(
    shape: Conv2dShape, is_float32: bool, algorithm: str
) -> tuple[str, str, tuple[int, int], int, int]:
    """algorithm, isa, the register tile, bytes of packed weights, bytes of workspace."""

def conv2d_backward(
    dy: Array,
    x: Array,
    weight: Array,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    needs: tuple[bool, bool, bool],
    algorithm: str,
    channels_last: bool = False,
) -> tuple[Array | None, Array | None, Array | None]: ...
def conv_transpose2d_shape(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    stride: Pair,
    padding: Padding,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
    op: str = "conv_transpose2d",
) -> Conv2dShape:
    """The convolution whose input gradient this is: ``.x`` is the shape of y here, ``.y`` that of x."""

def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Padding,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array: ...
def conv_transpose2d_backward(
    dy: Array,
    x: Array,
    weight: Array,
    stride: Pair,
    padding: Padding,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
    needs: tuple[bool, bool, bool],
) -> tuple[Array | None, Array | None, Array | None]: ...
def transpose(x: Array) -> Array:
    """The last two of three axes swapped, as a new dense array."""

# Of pools, x_shape is (N, C, H, W) even where the arrays have their channels last.
def max_pool2d(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
    channels_last: bool,
) -> Array: ...
def max_pool2d_with_indices(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
    channels_last: bool,
) -> tuple[Array, NDArray[np.int64]]: ...
def max_pool2d_backward(
    dy: Array,
    indices: NDArray[np.int64],
    x_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
    channels_last: bool,
) -> Array: ...
def avg_pool2d(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    channels_last: bool,
) -> Array: ...
def avg_pool2d_backward(
    dy: Array,
    x_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    channels_last: bool,
) -> Array: ...
def adaptive_max_pool2d(x: Array, output_size: Pair) -> tuple[Array, NDArray[np.int64]]: ...
def adaptive_max_pool2d_backward(
    dy: Array, indices: NDArray[np.int64], x_shape: tuple[int, ...]
) -> Array: ...
def adaptive_avg_pool2d(x: Array, output_size: Pair) -> Array: ...
def adaptive_avg_pool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array: ...
def gemm(
    a: Array, b: Array, c: Array | None, alpha: float, beta: float, trans_a: bool, trans_b: bool
) -> Array:
    """alpha·op(a)·op(b) + beta·c for 2-D arrays; c, (M, N), is read, never written."""

def dense(x: Array, weight: Array, bias: Array | None, relu: bool) -> Array:
    """x (M, in), weight (in, out), bias (out,) -> (M, out)."""

def dense_backward(
    dy: Array, x: Array, weight: Array, needs: tuple[bool, bool, bool]
) -> tuple[Array | None, Array | None, Array | None]: ...
def relu(x: Array) -> Array: ...
def relu_backward(dy: Array, x: Array) -> Array: ...
def leaky_relu(x: Array, slope: float) -> Array: ...
def leaky_relu_backward(dy: Array, y: Array, slope: float) -> Array: ...
def sigmoid(x: Array) -> Array: ...
def sigmoid_backward(dy: Array, y: Array) -> Array: ...
def tanh(x: Array) -> Array: ...
def tanh_backward(dy: Array, y: Array) -> Array: ...
def softmax(x: Array) -> Array:
    """Over each row of x (M, K); so the three below."""

def softmax_backward(dy: Array, y: Array) -> Array: ...
def log_softmax(x: Array) -> Array: ...
def log_softmax_backward(dy: Array, y: Array) -> Array: ...
def softmax_cross_entropy(
    logits: Array, labels: NDArray[np.int64], label_smoothing: float
) -> tuple[float, Array]:
    """Mean loss over the rows of logits (N, classes), and its gradient; a label out of range: ValueError."""

def batch_statistics(x: Array) -> tuple[Array, Array]:
    """x (N, C, positions) -> each channel's mean and biased variance; zeros where there is nothing."""

def batch_norm(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Array: ...
def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float, of_batch: bool
) -> tuple[Array, Array, Array]:
    """(dx, dgamma, dbeta); `of_batch`: mean and var are those of x and depend on it."""

def local_response_norm(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """x (N, C, positions), normalised over neighbouring channels."""

def local_response_norm_backward(
    dy: Array, x: Array, size: int, alpha: float, beta: float, k: float
) -> Array: ...

# Steps of optimizers change param, velocity, m and v in place. False, with nothing changed, where an array is
# no plain ndarray of param's shape and dtype, dense, aligned and, but for grad, writable.
def sgd_step(
    param: Array,
    grad: Array,
    velocity: Array | None,
    rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> bool: ...

# param = shrink·param - rate·m / (root_scale·√v + eps)
def adam_step(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    rate: float,
    shrink: float,
    beta1: float,
    beta2: float,
    root_scale: float,
    eps: float,
) -> bool: ...
def rmsprop_step(
    param: Array,
    grad: Array,
    v: Array,
    velocity: Array | None,
    rate: float,
    rho: float,
    eps: float,
    momentum: float,
    weight_decay: float,
) -> bool: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def build_info() -> dict[str, Any]:
    """version, compiler, isa (in use), isas (built and runnable here), threads, openmp."""
