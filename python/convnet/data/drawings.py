"""X and O drawn by the pen of a random number generator: the smallest data set with something to learn."""

import numpy as np

from .dataset import Images, Labels

XO_CLASSES = ("X", "O")


def draw_xo(
    count: int,
    size: int = 9,
    *,
    seed: int = 0,
    stroke: tuple[float, float] = (0.8, 1.6),
    noise: float = 0.1,
) -> tuple[Images, Labels]:
    """Drawings (count, 1, size, size) from -1 (paper) to +1 (ink), and labels: 0 for X, 1 for O.

    Place, size and stroke width (in pixels, between the two ``stroke`` values) vary from drawing to drawing,
    but every pen path lies on the paper. ``noise`` is the standard deviation of Gaussian noise added to each
    pixel. Half of the drawings are X (the larger half of an odd count), in random order. One seed, one
    result. ValueError where count is negative, size is under 5 or noise is negative.
    """
    if count < 0 or size < 5 or noise < 0:
        raise ValueError(
            f"draw_xo: expected count >= 0, size >= 5 and noise >= 0, got {count}, {size} and {noise}"
        )
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 2).astype(np.int64)

    def between(low: float, high: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return rng.uniform(low, high, size=(count, 1, 1))

    half = between(0.28, 0.42) * (size - 1)  # half the figure's height
    slack = (size - 1) / 2 - half  # how far it can move and stay on the paper
    down = np.arange(size)[:, None] - (size - 1) / 2 - slack * between(-1, 1)
    right = np.arange(size) - (size - 1) / 2 - slack * between(-1, 1)
    width = between(*stroke)

    # Distance from each pixel to the pen's path. By symmetry the X is one segment, (0, 0) to (half, half).
    along = np.clip((abs(down) + abs(right)) / 2, 0, half)
    to_x = np.hypot(abs(down) - along, abs(right) - along)
    to_o = abs(np.hypot(down, right) - half)
    distance = np.where(labels[:, None, None] == 0, to_x, to_o)
    ink = np.clip((width + 1) / 2 - distance, 0, 1)  # a soft edge one pixel wide
    drawings = 2 * ink - 1 + noise * rng.standard_normal((count, size, size))
    return drawings[:, None].astype(np.float32), labels
