"""A training half, a test half, and what they are called."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]  # (N, C, H, W)
Labels = NDArray[np.int64]  # (N,)


class DataError(ValueError):
    """A file that is not what it says: cut short, too long, or with contents its format forbids."""


@dataclass(frozen=True)
class Dataset:
    """Images and labels in two halves that share no image.

    ``background`` is the value of a pixel without ink: what shifting moves in at the edge. ``drawn`` says
    that images are ink (1) on such paper, so that the object's pixels are known.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    background: float
    x_train: Images
    y_train: Labels
    x_test: Images
    y_test: Labels
    drawn: bool = False

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.x_train.shape[1:]
        return channels, height, width


def stratified_split(
    labels: NDArray[Any], test_share: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of the training and of the test examples, each class divided in the same proportion.

    Every class gives ``round(test_share * its size)`` examples, drawn with ``seed``, to the test half. Both
    halves come back shuffled. ValueError unless 0 < test_share < 1.
    """
    if not 0 < test_share < 1:
        raise ValueError(f"stratified_split: test_share must lie between 0 and 1, got {test_share}")
    rng = np.random.default_rng(seed)
    train: list[NDArray[np.intp]] = []
    test: list[NDArray[np.intp]] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held_out = round(test_share * len(members))
        test.append(members[:held_out])
        train.append(members[held_out:])
    return rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))
