"""What happens at the edges: every promise, the tests that hold it, and the tests that need every operation.

`PROMISES` is the table; it refers to what the suites of single operations test already. The tests below go
through `operations.OPERATIONS` or fill what is left.
"""

from __future__ import annotations

import ast
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convnet
import oracles
import shapes
from operations import OPERATIONS, Floats, Integers, public_name, results

PROMISES = {
    "float32 and float64 stay, mixed they promote; any other dtype is a TypeError that names the cast": [
        "test_edges.py::test_dtype_stays",
        "test_edges.py::test_mixed_dtypes_promote",
        "test_edges.py::test_other_dtypes_are_refused_with_the_cast_to_make",
        "test_edges.py::test_masked_arrays_are_refused",
        "test_functional.py::test_integers_are_asked_for_where_they_count",
    ],
    "any strides, order, byte order, alignment, read-only, subclasses: the same bits, a plain ndarray out": [
        "test_edges.py::test_layout_in_memory_changes_no_bit",
        "test_edges.py::test_inputs_are_left_alone",
    ],
    "N = 0: empty output, zero weight gradients": [
        "test_edges.py::test_no_images",
        "test_conv2d.py::test_no_images",
        "test_pool2d.py::test_empty",
        "test_softmax.py::test_an_empty_batch",
    ],
    "C_in = 0: a convolution gives the bias, a pool an empty array": [
        "test_conv2d.py::test_no_input_channels_leaves_the_bias",
        "test_pool2d.py::test_empty",
        "test_edges.py::test_no_channels",
    ],
    "numbers and sizes that do not fit are a ValueError with the sizes": [
        "test_conv2d.py::test_bad_arguments_are_told_with_their_sizes",
        "test_conv2d.py::test_dy_must_fit",
        "test_pool2d.py::test_bad_arguments_are_told_with_their_sizes",
        "test_pool2d.py::test_dy_and_indices_must_fit",
        "test_gemm.py::test_gemm_shapes_must_fit",
        "test_gemm.py::test_dense_shapes_must_fit",
        "test_gemm.py::test_dense_dy_must_fit",
        "test_invalid.py::test_every_bad_value_of_every_argument",
    ],
    "sizes that overflow or cannot be allocated: ValueError or MemoryError, and the next call works": [
        "test_conv2d.py::test_sizes_no_machine_can_hold",
        "test_threads.py::test_a_refused_call_leaves_the_next_one_whole",
        "test_invalid.py::test_every_bad_value_of_every_argument",
    ],
    "pool padding is smaller than the kernel's extent, and every window holds a real element": [
        "test_pool2d.py::test_bad_arguments_are_told_with_their_sizes",
        "test_edges.py::test_pool_padding_up_to_the_kernel",
    ],
    "ceil_mode is PyTorch's; the average divides by the window clipped to the padded extent": [
        "test_pool2d.py::test_ceil_mode",
        "test_pool2d.py::test_average_divides_by_the_clipped_window",
        "test_torch_samples.py::test_max_pool2d_samples",
        "test_torch_samples.py::test_random_pools",
    ],
    "max pool: the first NaN wins, then the first of equals; -inf has an index; -0.0 equals 0.0": [
        "test_pool2d.py::test_max_pool",
        "test_pool2d.py::test_maxima_at_the_edges_of_arithmetic",
        "test_pool2d.py::test_padding_never_wins",
        "test_edges.py::test_max_pool_in_every_place_of_a_vector",
    ],
    "max_pool2d_backward checks every index against its plane": [
        "test_pool2d.py::test_indices_are_checked_against_their_plane",
        "test_invalid.py::test_every_bad_value_of_every_argument",
    ],
    "relu keeps NaN; its gradient is dy where x > 0 or NaN, else 0": [
        "test_activations.py::test_special_values",
        "test_activations.py::test_a_dead_gradient_is_zero_whatever_flows",
        "test_edges.py::test_fused_relu_keeps_nan",
    ],
    "Inf and NaN in x or weight: direct, gemm and reference agree; Winograd may fill its 4 x 4 tile": [
        "test_conv2d.py::test_nan_and_inf_reach_exactly_their_windows",
        "test_edges.py::test_nan_and_inf_in_x_or_weight",
        "test_edges.py::test_nan_and_inf_in_gradients",
        "test_edges.py::test_winograd_keeps_a_nan_within_its_tile",
    ],
    "out= is checked, may not overlap an input, and is left alone by a refused call": [
        "test_conv2d.py::test_out",
        "test_conv2d.py::test_out_is_untouched_by_a_refused_call",
        "test_functional.py::test_bad_out_is_refused_and_untouched",
        "test_functional.py::test_out_must_not_overlap_an_input",
        "test_invalid.py::test_every_bad_value_of_every_argument",
    ],
    "importing leaves the floating-point mode alone": ["test_import.py::test_subnormals_survive"],
    "Ctrl-C ends a long computation within about a second; training stops between batches": [
        "test_edges.py::test_an_interrupt_ends_a_computation",
        "test_training.py::test_an_interrupt_waits_for_the_end_of_the_batch",
    ],
    "fork after use: the child works; spawn works": [
        "test_threads.py::test_fork_after_use",
        "test_edges.py::test_spawn",
    ],
    "pickle is never loaded, sizes are checked before they are read, one error class for a broken file": [
        "test_checkpoint.py::test_every_truncation_is_refused",
        "test_checkpoint.py::test_every_changed_byte_is_refused",
        "test_checkpoint.py::test_the_budget_comes_first",
    ],
    "any number of threads may call operations at once": [
        "test_threads.py::test_many_callers_at_once",
        "test_edges.py::test_every_operation_from_many_threads",
    ],
}

NAN, INF = float("nan"), float("inf")
every_operation = pytest.mark.parametrize("operation", OPERATIONS)


def arguments(operation: str) -> dict[str, Any]:
    """Those of the valid call, with nothing to write into."""
    return OPERATIONS[operation].make() | ({"out": None} if "out" in OPERATIONS[operation].arguments else {})


def call(operation: str, given: dict[str, Any]) -> list[Any]:
    return list(results(OPERATIONS[operation].call(**given)))


def arrays(operation: str) -> dict[str, np.ndarray]:
    """The arrays among the arguments, those of integers too."""
    kinds = OPERATIONS[operation].arguments
    return {
        name: value
        for name, value in arguments(operation).items()
        if isinstance(kinds[name], Floats | Integers)
    }


def assert_same(found: list[Any], expected: list[Any], told: str = "") -> None:
    for f, e in zip(found, expected, strict=True):
        assert type(f) is type(e), told
        np.testing.assert_array_equal(f, e, err_msg=told)
        if isinstance(f, np.ndarray):
            assert f.dtype == e.dtype, told
            assert f.dtype.isnative, told


def test_every_promise_is_tested() -> None:
    """The names in the table are those of tests that are there."""
    room = Path(__file__).parent
    for promise, tests in PROMISES.items():
        assert tests, promise
        for test in tests:
            file, _, name = test.partition("::")
            tree = ast.parse((room / file).read_text(encoding="utf-8"))
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


# --- dtypes


@every_operation
def test_dtype_stays(backend: str, operation: str, dtype: np.dtype) -> None:
    given = arguments(operation)
    given |= {name: given[name].astype(dtype) for name in OPERATIONS[operation].floats()}
    found = [result for result in call(operation, given) if isinstance(result, np.ndarray)]
    assert found
    for result in found:
        assert result.dtype == (np.int64 if result.dtype.kind == "i" else dtype)


MIXED = [
    (name, wide)
    for name, operation in OPERATIONS.items()
    for wide in operation.floats()
    if len(operation.floats()) > 1 and name != "Conv2dPlan"  # whose weights are packed: x must be as they are
]


@pytest.mark.parametrize(("operation", "wide"), MIXED)
def test_mixed_dtypes_promote(backend: str, operation: str, wide: str) -> None:
    given = arguments(operation)
    mixed = {name: given[name].astype(np.float32) for name in OPERATIONS[operation].floats() if name != wide}
    widened = {name: array.astype(np.float64) for name, array in mixed.items()}
    assert_same(call(operation, given | mixed), call(operation, given | widened))


@every_operation
@pytest.mark.parametrize(
    "kind", ["int64", "uint8", "bool", "float16", "longdouble", "complex128", "object", "U3"]
)
def test_other_dtypes_are_refused_with_the_cast_to_make(backend: str, operation: str, kind: str) -> None:
    given = arguments(operation)
    for name in OPERATIONS[operation].floats():
        other = given[name].astype(kind)
        told = rf"^{public_name(operation)}: {name} .*{other.dtype}.*{name}\.astype\(np\.float32\)"
        with pytest.raises(TypeError, match=told):
            call(operation, given | {name: other})


@every_operation
def test_masked_arrays_are_refused(backend: str, operation: str) -> None:
    given = arguments(operation)
    for name, array in arrays(operation).items():
        with pytest.raises(TypeError, match=rf"{name} is a masked array.*{name}\.filled\("):
            call(operation, given | {name: np.ma.masked_less(array, 0)})


# --- memory


@every_operation
def test_layout_in_memory_changes_no_bit(backend: str, operation: str) -> None:
    given, held = arguments(operation), arrays(operation)
    expected = call(operation, given)
    forms = {name: dict(shapes.memory_layouts(array)) for name, array in held.items()}
    for form in next(iter(forms.values())):
        found = call(operation, given | {name: forms[name][form] for name in held})
        assert_same(found, expected, form)
    assert_same(call(operation, given | {name: array.tolist() for name, array in held.items()}), expected)


@every_operation
def test_inputs_are_left_alone(backend: str, operation: str) -> None:
    given = arguments(operation)
    call(operation, given)
    for name, array in arrays(operation).items():
        np.testing.assert_array_equal(given[name], array)


# --- nothing


@pytest.mark.parametrize("operation", [name for name, row in OPERATIONS.items() if row.batch])
def test_no_images(backend: str, operation: str, dtype: np.dtype) -> None:
    """Results with a batch are empty, those without one, the gradients of weights, are zero."""
    given = arguments(operation)
    given |= {name: given[name].astype(dtype) for name in OPERATIONS[operation].floats()}
    full = call(operation, given)
    for name in OPERATIONS[operation].batch:
        if isinstance(given[name], tuple):
            given[name] = (0, *given[name][1:])
        elif given[name] is not None:
            given[name] = given[name][:0]
    for found, before in zip(call(operation, given), full, strict=True):
        found, before = np.asarray(found), np.asarray(before)
        if found.shape != before.shape:
            assert found.shape == (0, *before.shape[1:])
        assert not found.any()
        assert found.dtype == before.dtype


def test_no_channels(backend: str, dtype: np.dtype) -> None:
    x, weight, bias = np.zeros((2, 0, 4, 4), dtype), np.zeros((3, 0, 2, 2), dtype), np.arange(3, dtype=dtype)
    y = convnet.Conv2dPlan(weight, bias)(x)
    np.testing.assert_array_equal(y, np.broadcast_to(bias[:, None, None], (2, 3, 3, 3)))
    assert convnet.im2col(x, 2).shape == (18, 0)
    assert convnet.col2im(np.zeros((18, 0), dtype), x.shape, 2).shape == x.shape
    last = np.zeros((2, 4, 4, 0), dtype)
    assert convnet.max_pool2d(last, 2, layout="NHWC").shape == (2, 2, 2, 0)
    assert convnet.avg_pool2d(last, 2, layout="NHWC").shape == (2, 2, 2, 0)


# --- windows


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_pool_padding_up_to_the_kernel(backend: str, kernel: int, dilation: int) -> None:
    """0 <= padding < extent is taken wherever every window holds a pixel, anything more is refused."""
    x = np.arange(1.0, 26).reshape(1, 1, 5, 5)
    extent = (kernel - 1) * dilation + 1
    for before in range(extent + 1):
        for after in range(extent + 1):
            ends = (before, after), (0, 0)
            window = (kernel, 1), (1, 1), ends
            calls: list[Callable[[], Any]] = [
                partial(convnet.max_pool2d, x, *window, (dilation, 1)),
                partial(convnet.avg_pool2d, x, *window, dilation=(dilation, 1)),
            ]
            if max(before, after) < extent:
                expected = oracles.max_pool2d(x, *window, (dilation, 1), False)[0]
                np.testing.assert_array_equal(calls[0](), expected)
                expected = oracles.avg_pool2d(x, *window, (dilation, 1), False, True)
                np.testing.assert_allclose(calls[1](), expected, rtol=1e-15)
            else:
                for refused in calls:
                    with pytest.raises(ValueError, match=rf"padding.*\({before}, {after}\)"):
                        refused()


def test_max_pool_in_every_place_of_a_vector(backend: str, dtype: np.dtype) -> None:
    """A NaN, a tie and a lone -inf travel through every column, tap and border of 3 x 3 windows."""
    width = 40 if backend == "native" else 7
    window = (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), False
    for column in range(width):
        x = np.full((1, 1, 3, width), -np.inf, dtype)
        x[..., 1, column] = -1
        x[..., 2, column:] = -1
        x[..., 0, column // 2] = np.nan
        x[..., 2, column // 2] = np.nan
        expected, places = oracles.max_pool2d(x, *window)
        y, indices = convnet.max_pool2d(x, *window, return_indices=True)
        np.testing.assert_array_equal(y, expected, strict=True)
        np.testing.assert_array_equal(indices, places, strict=True)
        np.testing.assert_array_equal(convnet.max_pool2d(x, *window), expected, strict=True)
        y, indices = convnet.max_pool2d(x.transpose(0, 2, 3, 1), *window, return_indices=True, layout="NHWC")
        np.testing.assert_array_equal(indices, places.transpose(0, 2, 3, 1), strict=True)


# --- NaN and Inf


def serving(backend: str, *given: Any, dtype: np.dtype) -> Iterator[str]:
    """The algorithms, Winograd aside, that take these arguments."""
    for algorithm in ("auto", "reference", "gemm", "direct") if backend == "native" else ("auto",):
        if algorithm == "auto" and dtype == np.float32:
            continue  # may be Winograd
        try:
            convnet.conv2d(*given, algorithm=algorithm)
        except ValueError:
            if algorithm != "direct":
                raise
        else:
            yield algorithm


GEOMETRIES = {  # x, weight, stride, padding, dilation, groups
    "3x3": ((2, 3, 7, 20), (5, 3, 3, 3), 1, 1, 1, 1),
    "strided": ((2, 4, 9, 9), (6, 4, 3, 2), (2, 3), 2, 1, 1),
    "dilated": ((1, 3, 9, 12), (4, 3, 3, 3), 1, 2, 2, 1),
    "1x1": ((2, 5, 4, 9), (7, 5, 1, 1), 1, 0, 1, 1),
    "depthwise": ((2, 6, 8, 19), (6, 1, 3, 3), 1, 1, 1, 6),
    "groups": ((1, 4, 6, 6), (6, 2, 3, 3), 1, 1, 1, 2),
    "one channel": ((1, 1, 9, 17), (3, 1, 5, 5), 1, 2, 1, 1),
}
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES)


def settled(geometry: str) -> tuple[Any, ...]:
    stride, padding, dilation, groups = GEOMETRIES[geometry][2:]
    pair = lambda value: value if isinstance(value, tuple) else (value, value)  # noqa: E731
    return pair(stride), (pair(padding), pair(padding)), pair(dilation), groups


@every_geometry
@pytest.mark.parametrize("special", [NAN, INF, -INF])
@pytest.mark.parametrize("held", ["x", "weight", "bias"])
def test_nan_and_inf_in_x_or_weight(
    backend: str, dtype: np.dtype, geometry: str, special: float, held: str
) -> None:
    """Every algorithm gives what the formula gives, element for element: Inf times a padding zero is NaN."""
    rng = np.random.default_rng(1)
    x_shape, weight_shape = GEOMETRIES[geometry][:2]
    x, weight, bias = (
        shapes.integers(rng, shape, dtype) for shape in (x_shape, weight_shape, weight_shape[:1])
    )
    x[0, 0, 0, 0] = weight[-1, 0, -1, -1] = 0
    array = {"x": x, "weight": weight, "bias": bias}[held]
    array.flat[array.size // 2] = special
    with np.errstate(invalid="ignore"):
        expected = oracles.conv2d(x, weight, bias, *settled(geometry))
    given = x, weight, bias, *settled(geometry)
    for algorithm in serving(backend, *given, dtype=dtype):
        y = convnet.conv2d(*given, algorithm=algorithm)
        np.testing.assert_array_equal(y, expected, err_msg=algorithm)


@every_geometry
@pytest.mark.parametrize("special", [NAN, INF])
@pytest.mark.parametrize("held", ["dy", "x", "weight"])
def test_nan_and_inf_in_gradients(geometry: str, special: float, held: str) -> None:
    """The backends agree element for element, but that natively a weight that is not finite may also reach
    those pixels of dx which it meets only in the zeros around dy."""
    rng = np.random.default_rng(2)
    x_shape, weight_shape = GEOMETRIES[geometry][:2]
    x, weight = shapes.integers(rng, x_shape, np.float64), shapes.integers(rng, weight_shape, np.float64)
    dy = shapes.integers(rng, convnet.conv2d(x, weight, None, *settled(geometry)).shape, np.float64)
    array = {"dy": dy, "x": x, "weight": weight}[held]
    array.flat[array.size // 2] = special
    found = {}
    for name in ("naive", "im2col", "native"):
        with convnet.backend(name):
            found[name] = convnet.conv2d_backward(dy, x, weight, *settled(geometry))
    assert_same(list(found["im2col"]), list(found["naive"]))
    if held == "weight":
        dx, expected = found["native"][0], found["naive"][0]
        assert not np.isfinite(dx[~np.isfinite(expected)]).any()
        beyond = np.isnan(dx) & ~np.isnan(expected)
        dx[beyond] = expected[beyond]
    assert_same(list(found["native"]), list(found["naive"]))


@pytest.mark.parametrize("size", [3, 4, 5, 7])
def test_winograd_keeps_a_nan_within_its_tile(size: int) -> None:
    """Of 4 x 4 outputs; images and channels that do not see the NaN stay finite."""
    rng = np.random.default_rng(3)
    x, weight = shapes.normals(rng, (2, 16, 20, 20), "f4"), shapes.normals(rng, (16, 16, size, size), "f4")
    padding = ((size // 2, (size - 1) // 2),) * 2
    for row, column in ((0, 0), (7, 8), (10, 13), (19, 19)):
        spoilt = x.copy()
        spoilt[1, 3, row, column] = np.nan
        exact = np.isnan(convnet.conv2d(spoilt, weight, padding=padding, algorithm="reference"))
        found = np.isnan(convnet.conv2d(spoilt, weight, padding=padding, algorithm="winograd"))
        assert found[exact].all()
        tiles = exact.reshape(2, 16, 5, 4, 5, 4).any((3, 5), keepdims=True)
        assert not (found & ~np.broadcast_to(tiles, (2, 16, 5, 4, 5, 4)).reshape(found.shape)).any()


def test_fused_relu_keeps_nan(backend: str, dtype: np.dtype) -> None:
    """As relu after the operation, in every place of a vector."""
    rng = np.random.default_rng(4)
    x, weight = shapes.integers(rng, (2, 3, 5, 37), dtype), shapes.integers(rng, (4, 3, 3, 3), dtype)
    x[rng.random(x.shape) < 0.02] = np.nan
    x[rng.random(x.shape) < 0.02] = -np.inf
    given = x, weight, None, (1, 1), ((1, 1), (1, 1)), (1, 1), 1
    for algorithm in serving(backend, *given, dtype=dtype):
        y = convnet.conv2d(*given, algorithm=algorithm)
        fused = convnet.conv2d(*given, algorithm=algorithm, activation="relu")
        np.testing.assert_array_equal(fused, convnet.relu(y), err_msg=algorithm)
        assert np.isnan(fused).any()
    rows, matrix = x.reshape(30, 37), shapes.integers(rng, (37, 19), dtype)
    fused = convnet.dense(rows, matrix, activation="relu")
    np.testing.assert_array_equal(fused, convnet.relu(convnet.dense(rows, matrix)))
    assert np.isnan(fused).any()


# --- processes and threads


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_ends_a_computation(backend: str) -> None:
    """A process that computes without end is told to stop, and has computed on after catching that."""
    code = (
        "import convnet, numpy as np\n"
        f"convnet.set_backend({backend!r})\n"
        "x, weight = np.ones((1, 8, 32, 32)), np.ones((8, 8, 3, 3))\n"
        "expected = convnet.conv2d(x[:, :, :4, :4], weight)\n"
        "try:\n"
        "    print('ready', flush=True)\n"
        "    while True: convnet.conv2d(x, weight)\n"
        "except KeyboardInterrupt:\n"
        "    assert (convnet.conv2d(x[:, :, :4, :4], weight) == expected).all()\n"
        "    print('stopped')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        try:
            assert child.communicate(timeout=10)[0] == "stopped\n"
        finally:
            child.kill()
    assert child.returncode == 0


def test_spawn() -> None:
    x, weight = np.ones((2, 3, 20, 20), np.float32), np.ones((4, 3, 3, 3), np.float32)
    convnet.conv2d(x, weight)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        y = pool.submit(convnet.conv2d, x, weight).result(timeout=60)
    np.testing.assert_array_equal(y, convnet.conv2d(x, weight))


def test_every_operation_from_many_threads(backend: str) -> None:
    """Eight threads, each through all operations from another start, at once."""
    names = list(OPERATIONS)
    expected = {name: call(name, arguments(name)) for name in names}
    barrier, failures = threading.Barrier(8), []

    def run(start: int) -> None:
        barrier.wait()
        with convnet.backend(backend):
            for name in names[start:] + names[:start]:
                try:
                    assert_same(call(name, arguments(name)), expected[name], name)
                except BaseException as error:
                    failures.append(error)

    threads = [threading.Thread(target=run, args=(start % len(names),)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
