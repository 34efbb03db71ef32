"""Calls every operation with every bad value of every argument, and prints what came of it.

Run as ``python invalid_inputs.py OPERATION BACKEND...``: one line of JSON before each cell, so that a crash
is laid at its door, and one after it. `test_invalid` starts it and judges. Address space is bounded: what is
too large to allocate must fail, not swap.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import convnet
import operations
from operations import (
    Choice,
    Flag,
    Floats,
    Integers,
    Needs,
    Number,
    Operation,
    Out,
    Padding,
    Seed,
    Shape,
    Size,
    Whole,
)

ADDRESS_SPACE = 3 << 30  # bytes, of which the interpreter, NumPy and its threads take a part

OVERFLOWING = (2**31 + 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, 2**70, -1, -(2**31), -(2**63), -(2**70))
NO_NUMBERS: tuple[Any, ...] = ("1", "", b"\x01", 1j, object(), {}, [], (), (None, 1), [1, "1"], len)
NO_INTS = (*NO_NUMBERS, 1.0, 1.5, float("nan"), float("inf"), np.float32(1), (1.0, 1), (1, float("nan")))
NO_PAIRS = (
    (1,),
    (1, 1, 1),
    [1] * 5,
    ((1, 1), (1, 1)),
    np.ones((2, 2), int),
    np.array([1.5, 1]),
    np.array([]),
)
HUGE_AXES = (2**31, 2**40)
HUGE_PLANES = (
    (46341, 46341),
    (2**16, 2**16),
    (2**20, 2**20),
)  # int32 overflows in the element count, or bytes


class Unlike:
    """An object that claims to be an array and fails at it."""

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise ValueError("no array after all")


def _resized(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _not_floats(shape: tuple[int, ...]) -> Iterator[Any]:
    for code in np.typecodes["All"]:
        if code not in "fd" and np.dtype(code) not in (np.float32, np.float64):
            yield np.zeros(shape, code)
    yield np.zeros(shape, [("re", "f4"), ("im", "f4")])
    yield np.full(shape, "1.5")
    yield np.ma.masked_array(np.zeros(shape), mask=False)


def _shapes_that_differ(shape: tuple[int, ...], fixed: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for axis in fixed:
        for size in (0, 1, shape[axis] - 1, shape[axis] + 1, 2 * shape[axis], 10_007):
            if size != shape[axis]:
                yield _resized(shape, axis, size)


def _huge(shape: tuple[int, ...], fill: Any) -> Iterator[Any]:
    # Broadcast: they take no memory until someone copies them.
    for axis in range(len(shape)):
        for size in HUGE_AXES:
            yield np.broadcast_to(fill, _resized(shape, axis, size))
    if len(shape) == 4:
        for plane in HUGE_PLANES:
            yield np.broadcast_to(fill, (*shape[:2], *plane))
        yield np.broadcast_to(fill, (2**16, 2**16, 8, 8))


def _floats(kind: Floats) -> Iterator[Any]:
    shape = kind.shape
    yield from _not_floats(shape)
    if not kind.optional:
        yield None
    yield from ("x", b"x", 3, True, 2**70, 1j, {}, {1.0}, len, object(), Unlike(), [["1"]], [None], [1, 2])
    yield from ([[1.0], [1.0, 2.0]], [1.0, "x"], np.array(None), iter([1.0]))
    if not kind.any_rank:
        yield from (1.5, float("nan"), np.float64(2), [], [1.0] * 7, np.zeros(()), np.zeros(shape[1:]))
        yield from (np.zeros((*shape, 1)), np.zeros((1, *shape)), np.zeros((1,) * 16), np.full((1,), np.nan))
    yield from (np.zeros(other) for other in _shapes_that_differ(shape, kind.fixed))
    yield from (np.zeros(_resized(shape, axis, 0)) for axis in kind.filled)
    if not kind.any_size:
        yield from _huge(shape, np.float64(1))
        yield from _huge(shape, np.float32(1))


def _integers(kind: Integers) -> Iterator[Any]:
    shape = kind.shape
    for code in "?efdgFDGSUVOMm":
        yield np.zeros(shape, code)
    yield np.ma.masked_array(np.zeros(shape, int), mask=False)
    yield from (
        None,
        "x",
        b"x",
        1.0,
        float("nan"),
        {},
        object(),
        Unlike(),
        ["1"],
        [None],
        2**70,
        [2**70],
        [],
        0,
    )
    yield from (np.zeros(other, int) for other in _shapes_that_differ(shape, tuple(range(len(shape)))))
    yield from (np.zeros(shape[1:], int), np.zeros((*shape, 1), int), np.zeros((1, *shape), int))
    for value in (
        -1,
        kind.below,
        kind.below + 1,
        2**31 - 1,
        2**31,
        2**32,
        2**62,
        2**63 - 1,
        -(2**31),
        -(2**63),
    ):
        for place in (0, -1):
            wild = np.zeros(shape, np.int64)
            wild.flat[place] = value
            yield wild
    yield np.full(shape, 2**63, np.uint64)
    yield np.full(shape, 2**64 - 1, np.uint64)
    yield np.full(shape, -1, np.int8)
    yield np.full(shape, 255, np.uint8)
    yield from _huge(shape, np.int64(0))


def _sizes(kind: Size) -> Iterator[Any]:
    if not kind.optional:
        yield None
    yield from NO_INTS
    wrong = [*OVERFLOWING, *range(kind.least)]
    if not kind.unbounded:
        wrong += [2**31, 2**31 - 1]
    if kind.single:
        wrong += [3, 10**9]
        yield from ((1, 1), [1], np.array([1]))
    else:
        yield from NO_PAIRS
        yield from ((1, value) for value in wrong)
        yield from ([value, 1] for value in wrong)
    yield from wrong


def _wholes(kind: Whole) -> Iterator[Any]:
    yield None
    yield from (*NO_INTS, *NO_PAIRS, (1, 1), [1], np.array([1]))
    yield from (kind.least - 1, kind.most + 1, -(2**31), 2**63, 2**64, 2**70, -(2**63), -(2**70))


def _seeds() -> Iterator[Any]:
    yield from (
        "x",
        b"x",
        -1,
        -(2**70),
        1.5,
        float("nan"),
        1j,
        object(),
        {},
        len,
        [-1],
        [0.5],
        np.array([1.5]),
    )


def _paddings() -> Iterator[Any]:
    yield None
    yield from (value for value in NO_INTS if value != "")
    yield from ("full", "SAME", "", "valid ", "same_middle", ("same", "same"))
    wrong = [*OVERFLOWING, 2**31, 2**31 - 1, 2**30, 2**24]
    yield from wrong
    yield from ((0, value) for value in wrong)
    yield from (((0, 0), (value, 0)) for value in wrong)
    yield from (((value, 0), (0, 0)) for value in wrong)
    yield from (
        (1,),
        (1, 1, 1),
        (1, 1, 1, 1),
        ((1, 1),),
        ((1, 1), (1, 1), (1, 1)),
        ((1,), (1,)),
        ((0, 0), ()),
    )
    yield from (((1, 1), (1, 1.5)), ((1, 1), (1, None)), ((1, 1), "ab"), b"ab", {1: 1, 2: 2}, {1, 2})
    yield from (np.array([]), np.array([1.0, 1.0]), np.ones((2, 3), int), np.ones((3, 2), int))


def _choices(kind: Choice) -> Iterator[Any]:
    if not kind.optional:
        yield None
    yield from ("", "none", "RELU", "Auto", "nchw", "relu ", b"relu", "\0", "x" * 10_000)
    yield from (0, 1, True, -1, 2**31, 2**62, 2**63, 1.5, float("nan"), (), [], ["relu"], {}, object(), len)
    yield from (np.array("relu"), np.array(["relu", "auto"]), np.array(["NCHW", "NHWC"]), np.array([]))


def _flags() -> Iterator[Any]:
    yield from (
        None,
        "",
        "False",
        "yes",
        b"\x01",
        2,
        -1,
        2**31,
        2**62,
        2**63,
        0.0,
        1.0,
        0.5,
        float("nan"),
        1j,
    )
    yield from ((), [], [True], {}, object(), len, np.array([True, False]), np.array([]), np.array(1.0))


def _numbers(kind: Number) -> Iterator[Any]:
    yield from (None, "", "1", "nan", b"1", 1j, 10**400, -(10**400), (), [], [1.0], {}, object(), len)
    yield from (np.array([1.0, 2.0]), np.array([]), np.array(["1"]), np.complex64(1), np.datetime64(1, "s"))
    yield from (np.nan, float("nan"))
    if kind.least > -np.inf:
        yield from (kind.least - 1, -np.inf, -(2**63))
    if kind.most < np.inf:
        yield from (kind.most + 1, np.inf, 2**31, 2**63)


def _input_shapes(kind: Shape) -> Iterator[Any]:
    shape = kind.value
    yield from (
        None,
        5,
        1.5,
        "abcd",
        b"abcd",
        (),
        [],
        {},
        object(),
        len,
        shape[1:],
        (*shape, 1),
        np.zeros(shape),
    )
    for axis in range(len(shape)):
        sizes: list[Any] = [0, -1, -(2**63), -(2**70), 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64]
        sizes += [float(shape[axis]), float("nan"), None, str(shape[axis]), (shape[axis],)]
        sizes += [1, 2 * shape[axis], 2**16] if axis in kind.fixed else []
        yield from (_resized(shape, axis, size) for size in sizes)
    yield from ((2**31,) * 4, (2**16, 2**16, 2**16, 2**16), (2**62,) * 4, (0, 0, 0, 0), (-2, -3, 6, 5))
    yield from (np.array(shape, float), np.array([shape]), np.array(shape, object) + 0.5)


def _needs() -> Iterator[Any]:
    yield from (
        None,
        True,
        1,
        "yes",
        "abc",
        b"abc",
        (),
        (True,),
        (True, True),
        (True,) * 4,
        {},
        object(),
        len,
    )
    yield from (
        (True, True, None),
        (1, 1, 2),
        (True, "x", True),
        ([], [], []),
        1.5,
        2**63,
        (True, True, 2**63),
    )
    yield from ((True, True, float("nan")), (True, True, np.array([True, False])), np.ones((3, 2), bool))
    yield from (np.array([0.5, 1, 1]), ((True, True, True),), {1, 2, 3})


def _outs(kind: Out) -> Iterator[Any]:
    shape = kind.shape
    for code in np.typecodes["All"]:
        if np.dtype(code) != np.float64:
            yield np.zeros(shape, code)
    yield from (np.full(other, 7.0) for other in _shapes_that_differ(shape, tuple(range(len(shape)))))
    yield from (np.full(shape[1:], 7.0), np.full((*shape, 1), 7.0), np.float64(7), np.array(7.0))
    yield from ("x", 7.0, 3, [], [[7.0]], (), {}, object(), len, memoryview(bytes(8)), Unlike())
    frozen = np.full(shape, 7.0)
    frozen.flags.writeable = False
    crooked = np.full(8 * int(np.prod(shape)) + 1, 7, np.uint8)[1:].view(np.float64).reshape(shape)
    yield from (frozen, np.asfortranarray(np.full(shape, 7.0)), crooked, np.full(shape, 7.0, ">f8"))
    yield from (np.full((*shape[:-1], 2 * shape[-1]), 7.0)[..., ::2], np.full(shape, 7.0)[..., ::-1])
    yield np.broadcast_to(np.float64(7), shape)


def bad_values(kind: operations.Kind) -> Iterator[Any]:
    """Values that an argument of this kind must refuse."""
    match kind:
        case Floats():
            return _floats(kind)
        case Integers():
            return _integers(kind)
        case Size():
            return _sizes(kind)
        case Whole():
            return _wholes(kind)
        case Seed():
            return _seeds()
        case Padding():
            return _paddings()
        case Choice():
            return _choices(kind)
        case Flag():
            return _flags()
        case Number():
            return _numbers(kind)
        case Shape():
            return _input_shapes(kind)
        case Needs():
            return _needs()
        case Out():
            return _outs(kind)


def cells(operation: Operation) -> Iterator[dict[str, Any]]:
    """Every bad value of every argument, and what asks for too much memory: arguments to replace."""
    for name, kind in operation.arguments.items():
        for value in bad_values(kind):
            yield {name: value}
    if operation.too_large:
        yield operation.too_large


def describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        few = f" {value.ravel()[:3].tolist()}" if value.size < 1000 else ""
        return f"{value.dtype} {value.shape}{few}"
    return repr(value)[:60]


def attempt(operation: Operation, bad: dict[str, Any]) -> dict[str, Any]:
    """Calls with bad values among valid ones: what was raised, and whether all arrays were left alone."""
    arguments = operation.make() | bad
    kept = {
        name: array.copy()
        for name, array in arguments.items()
        if isinstance(array, np.ndarray) and array.size < 2**20 and array.dtype != object
    }
    start = time.process_time()
    try:
        operation.call(**arguments)
        outcome: dict[str, Any] = {"raised": None, "message": ""}
    except Exception as error:
        outcome = {"raised": type(error).__name__, "message": str(error)[:300]}
    outcome["seconds"] = time.process_time() - start
    outcome["untouched"] = all(arguments[name].tobytes() == array.tobytes() for name, array in kept.items())
    return outcome


def main(name: str, backends: list[str]) -> None:
    operation = operations.OPERATIONS[name]
    for backend in backends:
        with convnet.backend(backend):
            expected = operations.results(operation.call(**operation.make()))
            for bad in cells(operation):
                cell = {"backend": backend, "bad": {key: describe(value) for key, value in bad.items()}}
                print(json.dumps(cell), flush=True)
                print(json.dumps(cell | attempt(operation, bad)), flush=True)
            found = operations.results(operation.call(**operation.make()))
            same = all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
            print(json.dumps({"backend": backend, "next call works": same}), flush=True)


if __name__ == "__main__":
    import resource  # POSIX alone

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    np.seterr(all="ignore")
    main(sys.argv[1], sys.argv[2:])
