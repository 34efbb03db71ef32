"""Data by name or by path: the one place that knows every source."""

from collections.abc import Callable
from pathlib import Path

from .cifar10 import cifar10, is_cifar10
from .dataset import DataError, Dataset
from .digits import digits
from .download import fetch
from .drawings import XO_CLASSES, draw_xo
from .folder import class_folders, folder
from .idx import idx_dataset, is_idx

FASHION = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def xo(*, seed: int = 0, size: int = 28) -> Dataset:
    """1,000 drawn X and O to train on and 500 to test with, from -1 (paper) to 1 (ink)."""
    x, y = draw_xo(1500, size, seed=seed, stroke=(1.0, 3.0))
    return Dataset(
        "xo", "drawn X and O", XO_CLASSES, -1.0, x[:1000], y[:1000], x[1000:], y[1000:], drawn=True
    )


NAMED: dict[str, Callable[[int], Dataset]] = {
    "digits": lambda seed: digits(28, seed=seed),
    "digits8": lambda seed: digits(8, seed=seed),
    "xo": lambda seed: xo(seed=seed),
    "mnist": lambda seed: idx_dataset(fetch("mnist"), "MNIST"),
    "fashion-mnist": lambda seed: idx_dataset(fetch("fashion-mnist"), "Fashion-MNIST", FASHION),
    "cifar10": lambda seed: cifar10(fetch("cifar10")),
}
"""What there is by name. The last three are downloaded on first use."""


def load(source: str | Path, *, seed: int = 0, size: int = 32) -> Dataset:
    """A data set by name (see `NAMED`), or from a directory: IDX files, CIFAR-10, or class folders of
    pictures.

    Args:
        seed: draws the split where the data has none of its own.
        size: pictures in class folders become size x size.

    ValueError for an unknown name, DataError for damaged files, OSError for missing ones.
    """
    if str(source) in NAMED:
        return NAMED[str(source)](seed)
    directory = Path(source)
    if not directory.is_dir():
        raise ValueError(f"no data {str(source)!r}: expected a directory, or one of {', '.join(NAMED)}")
    if is_idx(directory):
        return idx_dataset(directory)
    if is_cifar10(directory):
        return cifar10(directory)
    if class_folders(directory) or class_folders(directory / "train"):
        return folder(directory, size=size, seed=seed)
    raise DataError(
        f"{directory}: neither IDX files (train-images-idx3-ubyte, .gz), nor CIFAR-10 (test_batch, "
        f"test_batch.bin), nor class folders of pictures"
    )
