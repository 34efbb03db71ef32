"""A folder of class folders of pictures: ``cats/1.jpg``, ``dogs/1.png``; or ``train/cats/...``,
``test/cats/...``.

Pictures are read with Pillow, cropped to a square about their middle and resized.
"""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import PIL.Image

from .dataset import DataError, Dataset, Images, Labels, stratified_split

SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
GREY = {"1", "L", "LA", "I", "I;16", "I;16B", "F"}
MOST_PIXELS = 50_000_000  # of one picture, before it is unpacked
MOST_BYTES = 4 << 30  # of all pictures together, as float32


@contextmanager
def _opened(path: str | Path) -> "Iterator[PIL.Image.Image]":
    """The picture, its pixels not yet read; whatever is wrong with it becomes a DataError."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound is ours
            with Image.open(path) as picture:
                width, height = picture.size
                if width * height > MOST_PIXELS:
                    raise DataError(f"{path}: {width}x{height} pixels, more than {MOST_PIXELS:,}")
                yield picture
    except (DataError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a picture that can be read: {error}") from error


def read_picture(path: str | Path, mode: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture cropped and resized to ``size`` (H, W), as bytes (H, W) for mode "L" or (H, W, 3) for "RGB".

    DataError where it is no picture, damaged, or of more than 50 million pixels.
    """
    from PIL import Image, ImageOps

    with _opened(path) as picture:
        upright = ImageOps.exif_transpose(picture).convert(mode)
    return np.asarray(ImageOps.fit(upright, size[::-1], Image.Resampling.BILINEAR), dtype=np.uint8)


def open_picture(path: str | Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """A picture as it is: grey (H, W) of 8 or 16 bits, or else RGB (H, W, 3) of 8. DataError as
    `read_picture`.
    """
    from PIL import ImageOps

    with _opened(path) as picture:
        upright = ImageOps.exif_transpose(picture)
        if upright.mode.startswith("I"):  # 16 bits; as 32 some versions of Pillow read them
            values = np.asarray(upright)
            if values.min() < 0 or values.max() > 0xFFFF:
                raise DataError(f"{path}: values from {values.min()} to {values.max()}, expected 16 bits")
            return values.astype(np.uint16)
        return np.asarray(upright.convert("L" if upright.mode in GREY else "RGB"), dtype=np.uint8)


def class_folders(directory: Path) -> list[Path]:
    """The folders with pictures right in them, by name."""
    if not directory.is_dir():
        return []
    return [folder for folder in sorted(directory.iterdir()) if folder.is_dir() and _pictures(folder)]


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())


def folder(directory: str | Path, *, size: int = 32, seed: int = 0, test_share: float = 0.2) -> Dataset:
    """Pictures by class, (N, C, size, size) from 0 to 1: RGB, or grey where all are.

    With folders ``train`` and ``test`` these are the halves; else a stratified share is held out, drawn with
    ``seed``. DataError for a damaged picture, one class only, or halves of different classes.
    """
    directory = Path(directory)
    train, test = (class_folders(directory / half) for half in ("train", "test"))
    if train and test:
        classes = [f.name for f in train]
        if [f.name for f in test] != classes:
            raise DataError(f"{directory}: train has {classes}, test {[f.name for f in test]}")
        halves = [train, test]
    else:
        halves = [class_folders(directory)]
        classes = [f.name for f in halves[0]]
    if len(classes) < 2:
        raise DataError(
            f"{directory}: expected at least two folders with pictures, one a class; found {classes}"
        )
    files = [[(path, label) for label, f in enumerate(half) for path in _pictures(f)] for half in halves]
    every = [path for half in files for path, _ in half]
    if len(every) * size * size * 3 * 4 > MOST_BYTES:
        raise DataError(
            f"{directory}: {len(every):,} pictures of {size}x{size} are more than {MOST_BYTES:,} bytes"
        )
    mode = "L" if all(_is_grey(path) for path in every) else "RGB"
    read = [_read(half, mode, size) for half in files]
    if len(read) == 2:
        (x_train, y_train), (x_test, y_test) = read
    else:
        x, y = read[0]
        kept, held_out = stratified_split(y, test_share, seed)
        if not held_out.size:
            raise DataError(f"{directory}: too few pictures to hold any out for a test: {len(y)}")
        x_train, y_train, x_test, y_test = x[kept], y[kept], x[held_out], y[held_out]
    return Dataset(
        name=directory.name,
        title=f"{directory.name}, {size}x{size}",
        classes=tuple(classes),
        background=0.0,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
    )


def _is_grey(path: Path) -> bool:
    with _opened(path) as picture:
        return picture.mode in GREY


def _read(files: list[tuple[Path, int]], mode: str, size: int) -> tuple[Images, Labels]:
    images = np.stack([read_picture(path, mode, (size, size)) for path, _ in files]).astype(np.float32)
    images /= 255
    channels_first = (
        images[:, None] if images.ndim == 3 else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    )
    return channels_first, np.array([label for _, label in files], dtype=np.int64)
