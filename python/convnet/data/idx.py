"""IDX files, the format of MNIST and Fashion-MNIST, plain or gzipped.

Two zero bytes, a type, the number of axes; each axis as four bytes, big-endian; then the values in row-major
order (http://yann.lecun.com/exdb/mnist). No file makes this reader allocate more than its own size allows.
"""

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .dataset import DataError, Dataset

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MOST = 1032  # DEFLATE cannot shrink more than so many bytes into one
CHUNK = 1 << 20

FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def read_idx(path: str | Path) -> NDArray[Any]:
    """The array in an IDX file, in native byte order; gzipped where the name ends in .gz.

    DataError where the file is cut short, too long, or not IDX; OSError where it cannot be read.
    """
    path = Path(path)
    size = path.stat().st_size
    packed = path.suffix == ".gz"
    opened: Any = gzip.open(path, "rb") if packed else path.open("rb")  # noqa: SIM115
    with opened as file:
        try:
            return _read(file, size * GZIP_MOST if packed else size, path)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path}: damaged gzip file: {error}") from error


def _read(file: IO[bytes], most: int, path: Path) -> NDArray[Any]:
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in TYPES:
        raise DataError(f"{path}: not an IDX file: it begins with {start!r}")
    dtype, axes = np.dtype(TYPES[start[2]]), start[3]
    header = file.read(4 * axes)
    if len(header) < 4 * axes or not axes:
        raise DataError(f"{path}: the header of {axes} axes is cut short")
    shape = tuple(int(length) for length in np.frombuffer(header, ">u4"))
    expected = prod(shape) * dtype.itemsize
    if 4 + len(header) + expected > most:
        raise DataError(
            f"{path}: the header says {shape}, {expected:,} bytes, which the file is too small for"
        )
    values = bytearray()
    while len(values) <= expected and (chunk := file.read(min(CHUNK, expected + 1 - len(values)))):
        values += chunk
    if len(values) != expected:
        what = "more" if len(values) > expected else f"{len(values):,}"
        raise DataError(f"{path}: the header says {shape}, {expected:,} bytes, but there are {what}")
    return np.frombuffer(bytes(values), dtype).reshape(shape).astype(dtype.newbyteorder("="))


def is_idx(directory: Path) -> bool:
    return any(_find(directory, name) for name in FILES.values())


def _find(directory: Path, name: str) -> Path | None:
    # Some unpack "train-images-idx3-ubyte" as "train-images.idx3-ubyte".
    names = (name, name.replace("-idx", ".idx"))
    return next((p for n in names for p in (directory / n, directory / f"{n}.gz") if p.is_file()), None)


def idx_dataset(directory: str | Path, name: str = "", classes: tuple[str, ...] = ()) -> Dataset:
    """The four files of MNIST, or of anything laid out like it, in a directory.

    Pixels run from 0 to 1. DataError where files do not fit together; FileNotFoundError where one is missing.
    """
    directory = Path(directory)
    arrays = {}
    for part, file in FILES.items():
        path = _find(directory, file)
        if path is None:
            raise FileNotFoundError(f"{directory} has no {file}, nor {file}.gz")
        arrays[part] = read_idx(path)
    for half in ("train", "test"):
        x, y = arrays[f"x_{half}"], arrays[f"y_{half}"]
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y) or not len(x):
            raise DataError(f"{directory}: {half} images {x.shape} and labels {y.shape} do not fit together")
        if x.dtype != np.uint8 or y.dtype != np.uint8:
            raise DataError(f"{directory}: {half} values are {x.dtype} and {y.dtype}, expected bytes")
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        raise DataError(
            f"{directory}: training images are {arrays['x_train'].shape[1:]}, test images "
            f"{arrays['x_test'].shape[1:]}"
        )
    count = 1 + max(int(arrays["y_train"].max()), int(arrays["y_test"].max()))
    names = classes or tuple(map(str, range(count)))
    if count > len(names):
        raise DataError(f"{directory}: label {count - 1}, but there are {len(names)} classes")
    return Dataset(
        name=name or directory.name,
        title=name or directory.name,
        classes=names,
        background=0.0,
        drawn=True,
        x_train=_scaled(arrays["x_train"]),
        y_train=arrays["y_train"].astype(np.int64),
        x_test=_scaled(arrays["x_test"]),
        y_test=arrays["y_test"].astype(np.int64),
    )


def _scaled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (images[:, None] / np.float32(255)).astype(np.float32, copy=False)
