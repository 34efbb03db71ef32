"""Changes to images that leave their class alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shift(x: NDArray[Any], dx: int, dy: int, *, fill: float = 0.0) -> NDArray[Any]:
    """Images (..., H, W) moved ``dx`` pixels to the right and ``dy`` down (negative: left, up).

    What leaves the picture is lost; ``fill`` comes in at the other side. Returns a new array of x's dtype.
    ValueError where x has fewer than two axes.
    """
    if x.ndim < 2:
        raise ValueError(f"shift: expected images (..., H, W), got shape {x.shape}")
    height, width = x.shape[-2:]
    moved = np.full_like(x, fill)
    if abs(dx) < width and abs(dy) < height:
        moved[..., max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = x[
            ..., max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)
        ]
    return moved
