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
) -> Array: ...
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
) -> tuple[Array | None, Array | None, Array | None]: ...
def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
) -> Array: ...
def max_pool2d_with_indices(
    x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
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
) -> Array: ...
def avg_pool2d(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
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
) -> Array: ...
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
def softmax_cross_entropy(logits: Array, labels: NDArray[np.int64]) -> tuple[float, Array]:
    """Mean loss over the rows of logits (N, classes), and its gradient. ValueError for a label out of range."""

def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def build_info() -> dict[str, Any]:
    """version, compiler, isa (in use), isas (built and runnable here), threads, openmp."""
