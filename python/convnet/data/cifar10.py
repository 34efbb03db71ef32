"""CIFAR-10 (A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009), binary or Python
version.

The binary version is records of one label byte and 3,072 bytes of a 3x32x32 image. The Python version is
pickled; it is read without running anything: only the few opcodes such files consist of are let through, and
the names they may look up stand for data here, not for functions of NumPy.
"""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import DataError, Dataset, Images, Labels

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PIXELS = 3 * 32 * 32
LARGEST = 64 << 20  # bytes of one file; the real ones have 31 million

TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = "test_batch"

ALLOWED = {
    "PROTO", "STOP", "MARK", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "SETITEM", "SETITEMS", "APPEND", "APPENDS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "PUT",
    "GET", "BININT", "BININT1", "BININT2", "INT", "LONG1", "NONE", "NEWTRUE", "NEWFALSE", "BINSTRING",
    "SHORT_BINSTRING", "STRING", "BINUNICODE", "SHORT_BINUNICODE", "UNICODE", "BINBYTES", "SHORT_BINBYTES",
    "GLOBAL", "REDUCE", "BUILD", "MEMOIZE", "FRAME", "STACK_GLOBAL",
}  # fmt: skip


class _Array:
    """What a pickled NumPy array consists of, kept as data."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def bytes_of(self, path: Path) -> NDArray[np.uint8]:
        try:
            _, shape, dtype, fortran, raw = self.state
            rows, columns = shape
            right = dtype.name in ("u1", "uint8") and not fortran and len(raw) == rows * columns
        except (TypeError, ValueError, AttributeError):
            right = False
        if not right or not isinstance(raw, bytes):
            raise DataError(f"{path}: 'data' is not a whole array (N, {PIXELS}) of bytes")
        return np.frombuffer(raw, np.uint8).reshape(rows, columns)


class _DType:
    """A pickled dtype: its name."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.name = name.decode("latin1") if isinstance(name, bytes) else name

    def __setstate__(self, state: Any) -> None:
        pass


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    # How Python 3 writes bytes in pickles for Python 2.
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError("only latin1 text")
    return text.encode("latin1")


NAMES: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def read_python(path: str | Path) -> tuple[NDArray[np.uint8], Labels]:
    """Images (N, 3072) and labels (N,) of a batch of the Python version; DataError for anything else."""
    path = Path(path)
    content = _content(path)
    try:
        for position, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if opcode.name not in ALLOWED:
                raise DataError(f"{path}: a pickle with {opcode.name}, which no CIFAR-10 file has")
            # A memo entry beyond those there can be would make the unpickler allocate without need.
            if opcode.name in ("LONG_BINPUT", "PUT") and int(argument or 0) > position:
                raise DataError(f"{path}: a pickle with memo entry {argument} at step {position}")
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way; nothing in it was run
        raise DataError(f"{path}: not a CIFAR-10 batch: {error}") from error
    if not isinstance(batch, dict):
        raise DataError(f"{path}: expected a dict, got {type(batch).__name__}")
    data, labels = (batch.get(key, batch.get(key.decode())) for key in (b"data", b"labels"))
    if not isinstance(data, _Array) or not isinstance(labels, list):
        raise DataError(f"{path}: expected 'data' and 'labels'")
    images = data.bytes_of(path)
    if not all(isinstance(label, int) and not isinstance(label, bool) for label in labels):
        raise DataError(f"{path}: labels are not all whole numbers")
    return _checked(path, images, labels)


def read_binary(path: str | Path) -> tuple[NDArray[np.uint8], Labels]:
    """Images (N, 3072) and labels (N,) of a file of the binary version; DataError where its size or labels
    are off.
    """
    path = Path(path)
    content = np.frombuffer(_content(path), np.uint8)
    if content.size % (1 + PIXELS) or not content.size:
        raise DataError(f"{path}: {content.size:,} bytes are no whole number of records of {1 + PIXELS:,}")
    records = content.reshape(-1, 1 + PIXELS)
    return _checked(path, records[:, 1:], records[:, 0].tolist())


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size > LARGEST:
        raise DataError(f"{path}: {size:,} bytes, more than the {LARGEST:,} a CIFAR-10 file can have")
    return path.read_bytes()


def _checked(path: Path, images: NDArray[np.uint8], labels: list[int]) -> tuple[NDArray[np.uint8], Labels]:
    if images.shape != (len(labels), PIXELS) or not labels:
        raise DataError(f"{path}: images {images.shape} for {len(labels)} labels; expected (N, {PIXELS})")
    if not all(0 <= label < len(CLASSES) for label in labels):
        raise DataError(f"{path}: labels from {min(labels)} to {max(labels)}; expected 0 to 9")
    return images, np.array(labels, dtype=np.int64)


def is_cifar10(directory: Path) -> bool:
    return any((directory / f"{TEST}{end}").is_file() for end in ("", ".bin"))


def cifar10(directory: str | Path) -> Dataset:
    """CIFAR-10 from a directory with either version: the batches that are there, and the test batch.

    Images are (N, 3, 32, 32) from 0 to 1. DataError for damaged files, FileNotFoundError for missing ones.
    """
    directory = Path(directory)
    if (directory / f"{TEST}.bin").is_file():
        read, end = read_binary, ".bin"
    else:
        read, end = read_python, ""
    present = [directory / f"{name}{end}" for name in TRAIN if (directory / f"{name}{end}").is_file()]
    if not present:
        raise FileNotFoundError(f"{directory} has no {TRAIN[0]}{end}")
    batches = [read(path) for path in present]
    x_test, y_test = read(directory / f"{TEST}{end}")
    return Dataset(
        name="cifar10",
        title="CIFAR-10",
        classes=CLASSES,
        background=0.0,
        x_train=_images(np.concatenate([x for x, _ in batches])),
        y_train=np.concatenate([y for _, y in batches]),
        x_test=_images(x_test),
        y_test=y_test,
    )


def _images(rows: NDArray[np.uint8]) -> Images:
    return (rows.reshape(-1, 3, 32, 32) / np.float32(255)).astype(np.float32, copy=False)
