"""The types that the modules have in common."""

from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Pair: TypeAlias = tuple[int, int]  # h, w
Padding: TypeAlias = tuple[int, int, int, int]  # top, bottom, left, right
