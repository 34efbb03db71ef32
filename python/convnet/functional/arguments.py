"""What users write, settled: dtypes, layouts, ints and pairs, the forms of padding.

Every function takes the name of the operation, to open its errors with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import Conv2dShape
from .._types import Array, Padding, Pair

IntOrPair: TypeAlias = int | Sequence[int]
PaddingForm: TypeAlias = int | Sequence[int] | Sequence[Sequence[int]] | str
Activation: TypeAlias = Literal["relu"] | None
Layout: TypeAlias = Literal["NCHW", "NHWC"]
Needs: TypeAlias = tuple[bool, bool, bool]
Gradients: TypeAlias = tuple[Array | None, Array | None, Array | None]

ALGORITHMS = ("auto", "direct", "gemm", "winograd", "reference")
LAYOUTS = ("NCHW", "NHWC")
ALL: Needs = (True, True, True)

_Plain = np.ndarray
_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)
_INT64 = np.dtype(np.int64)
_OPTIONAL = ("bias", "c")  # the operands that may be None
_MOST = 2**63 - 1  # what fits the core's integers
_LEAST = -_MOST


def floats(op: str, names: tuple[str, ...], *arrays: Any) -> Any:
    # The arrays as plain ndarrays of one dtype, float32 or float64. First the fast path: all are so already.
    dtype = getattr(arrays[0], "dtype", None)
    if dtype is _FLOAT32 or dtype is _FLOAT64:
        for place, array in enumerate(arrays):
            if type(array) is not _Plain or array.dtype is not dtype:
                if array is None and names[place] in _OPTIONAL:
                    continue
                break
        else:
            return arrays
    plain = [
        None if array is None and name in _OPTIONAL else _plain_float(op, name, array)
        for name, array in zip(names, arrays, strict=True)
    ]
    # result_type of dtypes is in native byte order.
    common = np.result_type(*(array.dtype for array in plain if array is not None))
    return [None if array is None else array.astype(common, copy=False) for array in plain]


def _plain_float(op: str, name: str, array: Any) -> Array:
    plain = _plain(op, name, array)
    if plain.dtype.kind != "f" or plain.dtype.itemsize not in (4, 8):
        raise TypeError(
            f"{op}: {name} must be float32 or float64, not {plain.dtype}; "
            f"cast it with {name}.astype(np.float32) or {name}.astype(np.float64)"
        )
    return plain


def integers(op: str, name: str, array: Any) -> NDArray[np.int64]:
    if type(array) is _Plain and array.dtype is _INT64:
        return array
    plain = _plain(op, name, array)
    if plain.dtype.kind not in "iu":
        raise TypeError(
            f"{op}: {name} must be integers, not {plain.dtype}; cast them with {name}.astype(np.int64)"
        )
    return plain.astype(_INT64, copy=False)


def _plain(op: str, name: str, array: Any) -> Array:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"{op}: {name} is a masked array, whose mask would be lost; fill it with {name}.filled(0)"
        )
    try:
        return np.asarray(array)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{op}: {name} is no array: {error}") from error


def pair(op: str, name: str, value: Any) -> Pair:
    """An int or a pair (h, w), as a pair."""
    if type(value) is int and _LEAST <= value <= _MOST:
        return value, value
    each = value if _is_sequence(value) else (value, value)
    both = _ints(op, name, each, "an int or a pair (h, w) of ints")
    if len(both) != 2:
        raise ValueError(f"{op}: {name} must be an int or a pair (h, w), not {value!r}")
    return both[0], both[1]


def _is_sequence(value: Any) -> bool:
    # bytes would pass for a sequence of ints.
    return (
        bool(value.ndim)
        if isinstance(value, np.ndarray)
        else isinstance(value, Sequence) and not isinstance(value, bytes)
    )


def flag(op: str, name: str, value: Any) -> bool:
    if value is True or value is False:
        return value
    if isinstance(value, int | np.bool_) and value in (0, 1):
        return bool(value)
    raise TypeError(f"{op}: {name} must be True or False, not {value!r}")


def one_of(op: str, name: str, value: Any, choices: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in choices:
        *others, last = map(repr, choices)
        raise ValueError(f"{op}: {name} must be {', '.join(others)} or {last}, not {value!r}")
    return value


def integer(op: str, name: str, value: Any) -> int:
    if type(value) is int and _LEAST <= value <= _MOST:
        return value
    (whole,) = _ints(op, name, (value,), "an int")
    return whole


def real(op: str, name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """A number in [least, most], as a float; NaN is in no such range."""
    if not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{op}: {name} must be a number, not {value!r}")
    if not least <= value <= most:
        expected = f"at least {least:g}" if most == math.inf else f"in [{least:g}, {most:g}]"
        raise ValueError(f"{op}: {name} must be {expected}, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{op}: {name} is too large for a float") from None


def generator(op: str, name: str, seed: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{op}: {name} is no seed: {error}") from error


def shape(op: str, name: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, np.ndarray) and value.ndim != 1:
        raise TypeError(f"{op}: {name} must be a sequence of ints, not an array of shape {value.shape}")
    return _ints(op, name, value, "a sequence of ints")


def _ints(op: str, name: str, values: Any, expected: str) -> tuple[int, ...]:
    if type(values) is tuple:  # the fast path
        for value in values:
            if type(value) is not int or not _LEAST <= value <= _MOST:
                break
        else:
            return values
    try:
        ints = tuple(map(index, values))
    except TypeError:
        raise TypeError(f"{op}: {name} must be {expected}, not {values!r}") from None
    if ints and (max(ints) > _MOST or min(ints) < _LEAST):
        raise ValueError(f"{op}: {name} is too large: {values!r}")
    return ints


def padding_ends(
    op: str, padding: Any, x_shape: Sequence[int], kernel: Sequence[int], stride: Pair, dilation: Pair
) -> Padding:
    # The forms of padding as (top, bottom, left, right).
    if type(padding) is int and _LEAST <= padding <= _MOST:
        return padding, padding, padding, padding
    if isinstance(padding, str):
        return _named_padding(op, padding, x_shape, kernel, stride, dilation)
    if not _is_sequence(padding):  # an integer of another type, or an error that pair words
        top, left = pair(op, "padding", padding)
        return top, top, left, left
    try:
        vertical, horizontal = padding
    except ValueError:
        raise ValueError(
            f"{op}: padding must be an int, (h, w) or ((top, bottom), (left, right)), not {padding!r}"
        ) from None
    return (*pair(op, "padding", vertical), *pair(op, "padding", horizontal))


def _named_padding(
    op: str, name: str, x_shape: Sequence[int], kernel: Sequence[int], stride: Pair, dilation: Pair
) -> Padding:
    if name not in ("valid", "same", "same_upper", "same_lower"):
        raise ValueError(
            f"{op}: padding must be numbers, 'valid', 'same', 'same_upper' or 'same_lower', not {name!r}"
        )
    if name == "valid" or len(x_shape) != 4 or len(kernel) != 2 or min(stride) < 1:
        return 0, 0, 0, 0  # whatever does not fit here, the check of the sizes reports
    ends: list[int] = []
    for size, k, s, d in zip(x_shape[2:], kernel, stride, dilation, strict=True):
        total = max(((size + s - 1) // s - 1) * s + (k - 1) * d + 1 - size, 0)
        less, more = total // 2, total - total // 2
        ends += (more, less) if name == "same_lower" else (less, more)
    return ends[0], ends[1], ends[2], ends[3]


def window(
    op: str, x_shape: Sequence[int], kernel_size: Any, stride: Any, padding: Any, dilation: Any
) -> tuple[Pair, Pair, Padding, Pair]:
    # A pool's kernel, stride, padding and dilation.
    kernel = pair(op, "kernel_size", kernel_size)
    step = kernel if stride is None else pair(op, "stride", stride)
    spread = pair(op, "dilation", dilation)
    return kernel, step, padding_ends(op, padding, x_shape, kernel, step, spread), spread


def patch_shape(
    op: str, x_shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any
) -> Conv2dShape:
    # im2col as the convolution whose patches it lays out, with one output channel.
    stride = pair(op, "stride", stride)  # None, which a pool takes for its kernel, means nothing here
    kernel, step, ends, spread = window(op, x_shape, kernel_size, stride, padding, dilation)
    channels = x_shape[1] if len(x_shape) > 1 else 1
    return Conv2dShape(x_shape, (1, channels, *kernel), step, ends, spread, 1, op)


def needed(op: str, needs: Sequence[bool]) -> Needs:
    if type(needs) is tuple and len(needs) == 3 and all(each is True or each is False for each in needs):
        return needs
    if not _is_sequence(needs) or len(needs) != 3:
        raise ValueError(f"{op}: needs must be three flags, for (dx, dw, db), not {needs!r}")
    return flag(op, "needs", needs[0]), flag(op, "needs", needs[1]), flag(op, "needs", needs[2])


def is_relu(op: str, activation: object) -> bool:
    if not isinstance(activation, str) or activation != "relu":
        raise ValueError(f"{op}: activation must be None or 'relu', not {activation!r}")
    return True


def check_out(op: str, out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], *inputs: Array | None) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{op}: out must be a NumPy array, not {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"{op}: out must be {dtype} of shape {shape}, got {out.dtype} of shape {out.shape}")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise ValueError(f"{op}: out must be writable, aligned and C-contiguous")
    if any(array is not None and np.may_share_memory(out, array) for array in inputs):
        raise ValueError(f"{op}: out overlaps an input")


def as_rows(x: Array) -> Array:
    # (..., features) -> (rows, features); spelled out because -1 cannot be inferred for empty arrays.
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) if x.ndim else x


def is_nhwc(op: str, layout: Any) -> bool:
    if type(layout) is str and layout == "NCHW":  # the fast path
        return False
    return one_of(op, "layout", layout, LAYOUTS) == "NHWC"


def channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) != 4:
        return shape  # the check of the sizes reports a wrong rank
    N, H, W, C = shape
    return N, C, H, W


def as_nchw(x: Array) -> Array:
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x  # the check of the sizes reports a wrong rank


def as_oihw(weight: Array) -> Array:
    return weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight


def to_nhwc(y: Array) -> Array:
    return np.ascontiguousarray(y.transpose(0, 2, 3, 1))
