"""One row for every operation: a valid call of it, with each argument's kind.

`Operation.arguments` gives the arguments of that call by name, in order. What a kind says beside its value is
what suites that try other values must know: which sizes another array fixes, whether None means something.
An operation joins `test_edges`, `test_invalid` and `test_doctests` by getting its row here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import convnet


@dataclass(frozen=True)
class Floats:
    """An array of floats. Another size of a `fixed` axis does not fit the other arguments, a zero size of a
    `filled` one means nothing; any number of axes is right where `any_rank`. Where `any_size`, NumPy code may
    well read a broadcast array of terabytes to its end."""

    shape: tuple[int, ...]
    fixed: tuple[int, ...] = ()
    filled: tuple[int, ...] = ()
    optional: bool = False
    any_rank: bool = False
    any_size: bool = False
    positive: bool = False

    def make(self, rng: np.random.Generator) -> NDArray[Any]:
        values = rng.standard_normal(self.shape)
        return abs(values) + 0.5 if self.positive else values


@dataclass(frozen=True)
class Integers:
    """An array of whole numbers in [0, below), of a shape that other arguments fix."""

    shape: tuple[int, ...]
    below: int

    def make(self, rng: np.random.Generator) -> NDArray[Any]:
        return rng.integers(0, self.below, self.shape)


@dataclass(frozen=True)
class Size:
    """An int of at least `least`, or a pair of them; as large as one likes where `unbounded`."""

    value: int | tuple[int, int]
    least: int = 1
    optional: bool = False
    unbounded: bool = False
    single: bool = False


@dataclass(frozen=True)
class Whole:
    """An int in [least, most]."""

    value: int
    least: int
    most: int = 2**63 - 1


@dataclass(frozen=True)
class Padding:
    value: int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] | str


@dataclass(frozen=True)
class Choice:
    value: str | None
    optional: bool = False


@dataclass(frozen=True)
class Flag:
    value: bool


@dataclass(frozen=True)
class Number:
    """A float in [least, most]; NaN is in no such range."""

    value: float
    least: float = -np.inf
    most: float = np.inf


@dataclass(frozen=True)
class Shape:
    """The shape of an input, whose `fixed` axes another argument must match."""

    value: tuple[int, ...]
    fixed: tuple[int, ...] = (0, 1, 2, 3)


@dataclass(frozen=True)
class Seed:
    value: int


@dataclass(frozen=True)
class Needs:
    value: tuple[bool, bool, bool] = (True, True, True)


@dataclass(frozen=True)
class Out:
    shape: tuple[int, ...]

    def make(self, rng: np.random.Generator) -> NDArray[Any]:
        return np.full(self.shape, 7.0)


Kind = Floats | Integers | Size | Whole | Padding | Choice | Flag | Number | Shape | Seed | Needs | Out


@dataclass(frozen=True)
class Operation:
    call: Callable[..., Any]
    arguments: dict[str, Kind]
    batch: tuple[str, ...] = ()  # the arguments whose first axis is the batch
    native: bool = False  # always runs natively, whatever the backend
    too_large: dict[str, Any] = field(default_factory=dict)  # these instead ask for more memory than there is

    def make(self, seed: int = 0) -> dict[str, Any]:
        """The arguments of the valid call, newly made."""
        rng = np.random.default_rng(seed)
        return {
            name: kind.make(rng) if isinstance(kind, Floats | Integers | Out) else kind.value
            for name, kind in self.arguments.items()
        }

    def floats(self) -> list[str]:
        """The names of the arguments that are arrays of floats and not written to."""
        return [name for name, kind in self.arguments.items() if isinstance(kind, Floats)]


def public_name(row: str) -> str:
    """The operation of a row: what stands before a comma."""
    return row.partition(",")[0]


def results(result: Any) -> Sequence[Any]:
    """What a call returned, as a sequence."""
    return result if isinstance(result, tuple) else (result,)


def _planned(x: Any, out: Any = None, **arguments: Any) -> Any:
    return convnet.Conv2dPlan(**arguments)(x, out)


X, WEIGHT, Y = (2, 4, 6, 5), (6, 2, 3, 2), (2, 6, 6, 6)  # a convolution in two groups with padding 1
POOLED, HALVED = (2, 3, 6, 5), (2, 3, 3, 2)
NARROW, SPREAD = (2, 4, 3, 4), (4, 3, 3, 2)  # a transposed one in two groups, to (2, 6, 6, 7)
ALL = (0, 1, 2, 3)


def _geometry() -> dict[str, Kind]:
    return {
        "stride": Size(1),
        "padding": Padding(1),
        "dilation": Size(1),
        "groups": Size(2, single=True),
    }


def _window(*, unbounded: bool = False, **more: Kind) -> dict[str, Kind]:
    return {
        "kernel_size": Size(2),
        "stride": Size(2, optional=True, unbounded=unbounded),
        "padding": Padding(0),
        **more,
    }


def _transposed() -> dict[str, Kind]:
    return {
        "stride": Size(2),
        "padding": Padding(1),
        "output_padding": Size(1, least=0),
        "groups": Size(2, single=True),
        "dilation": Size(1),
    }


def _elementwise(
    call: Callable[..., Any],
    backward: Callable[..., Any],
    *,
    at: str = "y",
    forward: dict[str, Kind] | None = None,
    gradient: dict[str, Kind] | None = None,
    **both: Kind,
) -> dict[str, Operation]:
    """An operation whose result is of the shape of x, and its gradient from dy and x or y."""
    shape = (2, 3, 4)
    arrays: dict[str, Kind] = {name: Floats(shape, fixed=(0, 1, 2)) for name in ("dy", at)}
    return {
        call.__name__: Operation(
            call, {"x": Floats(shape, any_rank=True), **(forward or {}), **both}, batch=("x",)
        ),
        backward.__name__: Operation(backward, {**arrays, **(gradient or {}), **both}, batch=("dy", at)),
    }


def _whole_plane(kind: str, y: tuple[int, ...], size: dict[str, Kind]) -> dict[str, Operation]:
    """The pools that take any input_shape, and their gradients."""
    name = f"{kind}_{{}}_pool2d{{}}".format
    x = Floats(POOLED, filled=(2, 3), any_size=True)
    dy = Floats(y, fixed=ALL) if kind == "global" else Floats(y, fixed=(0, 1), filled=(2, 3), any_size=True)
    shape: dict[str, Kind] = {"input_shape": Shape(POOLED, fixed=(0, 1))}
    indices: dict[str, Kind] = {"indices": Integers(y, 30)}
    rows: dict[str, tuple[dict[str, Kind], tuple[str, ...]]] = {
        name("avg", ""): ({"x": x, **size}, ("x",)),
        name("max", ""): ({"x": x, **size, "return_indices": Flag(True)}, ("x",)),
        name("avg", "_backward"): (
            {"dy": dy, **shape},
            ("dy", "input_shape"),
        ),
        name("max", "_backward"): (
            {"dy": Floats(y, fixed=ALL), **indices, **shape},
            ("dy", "indices", "input_shape"),
        ),
    }
    return {key: Operation(getattr(convnet, key), *row) for key, row in rows.items()}


_IMAGES = Floats(POOLED, filled=(2, 3))
_LAYOUT = Choice("NCHW")
_COLUMNS = Floats((3, 5), fixed=(0, 1))

OPERATIONS = {
    "conv2d": Operation(
        convnet.conv2d,
        {
            "x": Floats(X, fixed=ALL),
            "weight": Floats(WEIGHT, fixed=ALL),
            "bias": Floats(WEIGHT[:1], fixed=(0,), optional=True),
            **_geometry(),
            "activation": Choice("relu", optional=True),
            "algorithm": Choice("auto"),
            "layout": _LAYOUT,
            "out": Out(Y),
        },
        too_large={"padding": 2**14, "out": None},
        batch=("x", "out"),
    ),
    "conv2d_backward": Operation(
        convnet.conv2d_backward,
        {
            "dy": Floats(Y, fixed=ALL),
            "x": Floats(X, fixed=ALL),
            "weight": Floats(WEIGHT, fixed=ALL),
            **_geometry(),
            "needs": Needs(),
            "layout": _LAYOUT,
        },
        batch=("dy", "x"),
    ),
    "Conv2dPlan": Operation(
        _planned,
        {
            "x": Floats(X, fixed=ALL),
            "weight": Floats(WEIGHT, fixed=ALL),
            "bias": Floats(WEIGHT[:1], fixed=(0,), optional=True),
            **_geometry(),
            "activation": Choice("relu", optional=True),
            "algorithm": Choice("auto"),
            "out": Out(Y),
        },
        native=True,
        too_large={"padding": 2**14, "out": None},
        batch=("x", "out"),
    ),
    "conv_transpose2d": Operation(
        convnet.conv_transpose2d,
        {
            "x": Floats(NARROW, fixed=(1,), filled=(2, 3)),
            "weight": Floats(SPREAD, fixed=(0, 1), filled=(2, 3)),
            "bias": Floats((6,), fixed=(0,), optional=True),
            **_transposed(),
        },
        batch=("x",),
        too_large={"stride": 2**14},
    ),
    "conv_transpose2d_backward": Operation(
        convnet.conv_transpose2d_backward,
        {
            "dy": Floats((2, 6, 6, 7), fixed=ALL),
            "x": Floats(NARROW, fixed=ALL),
            "weight": Floats(SPREAD, fixed=ALL),
            **_transposed(),
            "needs": Needs(),
        },
        batch=("dy", "x"),
    ),
    "im2col": Operation(
        convnet.im2col,
        {
            "x": _IMAGES,
            "kernel_size": Size(2),
            "stride": Size(1, unbounded=True),
            "padding": Padding(0),
            "dilation": Size(1),
        },
        too_large={"padding": 2**14},
        batch=("x",),
    ),
    "col2im": Operation(
        convnet.col2im,
        {
            "columns": Floats((2 * 5 * 4, 3 * 2 * 2), fixed=(0, 1)),
            "input_shape": Shape(POOLED),
            "kernel_size": Size(2),
            "stride": Size(1),
            "padding": Padding(0),
            "dilation": Size(1),
        },
        batch=("columns", "input_shape"),
    ),
    "max_pool2d": Operation(
        convnet.max_pool2d,
        {
            "x": _IMAGES,
            **_window(
                unbounded=True,
                dilation=Size(1),
                ceil_mode=Flag(False),
                return_indices=Flag(True),
                layout=_LAYOUT,
            ),
        },
        batch=("x",),
    ),
    "max_pool2d_backward": Operation(
        convnet.max_pool2d_backward,
        {
            "dy": Floats(HALVED, fixed=ALL),
            "indices": Integers(HALVED, 30),
            "input_shape": Shape(POOLED),
            **_window(dilation=Size(1), ceil_mode=Flag(False), layout=_LAYOUT),
        },
        batch=("dy", "indices", "input_shape"),
    ),
    "avg_pool2d": Operation(
        convnet.avg_pool2d,
        {
            "x": _IMAGES,
            **_window(
                unbounded=True,
                ceil_mode=Flag(False),
                count_include_pad=Flag(True),
                dilation=Size(1),
                layout=_LAYOUT,
            ),
        },
        batch=("x",),
    ),
    "avg_pool2d_backward": Operation(
        convnet.avg_pool2d_backward,
        {
            "dy": Floats(HALVED, fixed=ALL),
            "input_shape": Shape(POOLED),
            **_window(ceil_mode=Flag(False), count_include_pad=Flag(True), dilation=Size(1), layout=_LAYOUT),
        },
        batch=("dy", "input_shape"),
    ),
    **_whole_plane("adaptive", (2, 3, 3, 2), {"output_size": Size((3, 2))}),
    **_whole_plane("global", (2, 3, 1, 1), {}),
    "gemm": Operation(
        convnet.gemm,
        {
            "a": Floats((4, 3), fixed=(0, 1)),
            "b": _COLUMNS,
            "c": Floats((4, 5), fixed=(0, 1), optional=True),
            "alpha": Number(0.5),
            "beta": Number(2.0),
            "trans_a": Flag(False),
            "trans_b": Flag(False),
        },
        too_large={"a": np.ones((2**20, 1)), "b": np.ones((1, 2**20)), "c": None},
        batch=("a", "c"),
    ),
    "dense": Operation(
        convnet.dense,
        {
            "x": Floats((4, 3), fixed=(1,), any_rank=True),
            "weight": _COLUMNS,
            "bias": Floats((5,), fixed=(0,), optional=True),
            "activation": Choice("relu", optional=True),
        },
        too_large={"x": np.ones((2**20, 1)), "weight": np.ones((1, 2**20)), "bias": None},
        batch=("x",),
    ),
    "dense_backward": Operation(
        convnet.dense_backward,
        {
            "dy": Floats((4, 5), fixed=(0, 1)),
            "x": Floats((4, 3), fixed=(0, 1)),
            "weight": _COLUMNS,
            "needs": Needs(),
        },
        batch=("dy", "x"),
    ),
    **_elementwise(convnet.relu, convnet.relu_backward, at="x"),
    **_elementwise(
        convnet.leaky_relu,
        convnet.leaky_relu_backward,
        forward={"slope": Number(0.1)},
        gradient={"slope": Number(0.1, least=0)},
    ),
    **_elementwise(convnet.sigmoid, convnet.sigmoid_backward),
    **_elementwise(convnet.tanh, convnet.tanh_backward),
    **_elementwise(convnet.softmax, convnet.softmax_backward, axis=Whole(-1, -3, 2)),
    **_elementwise(convnet.log_softmax, convnet.log_softmax_backward, axis=Whole(1, -3, 2)),
    **_elementwise(
        convnet.local_response_norm,
        convnet.local_response_norm_backward,
        at="x",
        size=Whole(3, 1),
        alpha=Number(0.1),
        beta=Number(0.75),
        k=Number(1.0),
    ),
    **_elementwise(
        convnet.dropout, convnet.dropout_backward, at="mask", forward={"p": Number(0.3, 0, 1), "rng": Seed(0)}
    ),
    "batch_norm": Operation(
        convnet.batch_norm,
        {
            "x": Floats(POOLED, fixed=(1,), any_rank=True),
            **{name: Floats((3,), fixed=(0,)) for name in ("gamma", "beta", "mean")},
            "var": Floats((3,), fixed=(0,), positive=True),
            "eps": Number(1e-5, least=0),
        },
        batch=("x",),
    ),
    "batch_norm_backward": Operation(
        convnet.batch_norm_backward,
        {
            "dy": Floats(POOLED, fixed=ALL),
            "x": Floats(POOLED, fixed=ALL),
            **{name: Floats((3,), fixed=(0,)) for name in ("gamma", "mean")},
            "var": Floats((3,), fixed=(0,), positive=True),
            "eps": Number(1e-5, least=0),
        },
        batch=("dy", "x"),
    ),
    "batch_norm, of the batch": Operation(
        convnet.batch_norm,
        {
            "x": Floats(POOLED, fixed=(1,), any_rank=True, any_size=True),
            **{name: Floats((3,), fixed=(0,)) for name in ("gamma", "beta")},
            "eps": Number(1e-5, least=0),
        },
        batch=("x",),
    ),
    "batch_norm_backward, of the batch": Operation(
        convnet.batch_norm_backward,
        {
            "dy": Floats(POOLED, fixed=ALL),
            "x": Floats(POOLED, fixed=ALL, any_size=True),
            "gamma": Floats((3,), fixed=(0,)),
            "eps": Number(1e-5, least=0),
        },
        batch=("dy", "x"),
    ),
    "softmax_cross_entropy": Operation(
        convnet.softmax_cross_entropy,
        {
            "logits": Floats((4, 5), fixed=(0,)),
            "labels": Integers((4,), 5),
            "label_smoothing": Number(0.1, 0, 1),
        },
        batch=("logits", "labels"),
    ),
}
