"""Images to train on: real handwritten digits, drawn X and O, files, and the changes made to them.

Images are float32 arrays (N, C, H, W), labels int64 arrays (N,).
"""

from .dataset import DataError, Dataset, stratified_split
from .digits import centre_on_canvas, digits
from .drawings import draw_xo
from .sources import load
from .transforms import shift

__all__ = [
    "DataError",
    "Dataset",
    "centre_on_canvas",
    "digits",
    "draw_xo",
    "load",
    "shift",
    "stratified_split",
]
