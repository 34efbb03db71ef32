"""The types that the modules have in common."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
# In quotes, so that importing convnet does not import numpy.random, which is not light.
Seed: TypeAlias = "int | np.random.Generator | None"
Pair: TypeAlias = tuple[int, int]  # h, w
Padding: TypeAlias = tuple[int, int, int, int]  # top, bottom, left, right
