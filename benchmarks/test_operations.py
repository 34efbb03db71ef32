"""``pytest benchmarks/``: the three backends on the layers of shapes/*.txt, both ways, in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import convnet

Measure = Callable[..., None]
SHAPES = Path(__file__).parent / "shapes"

# Long enough to settle, short enough that all rows take a minute or two.
pytestmark = pytest.mark.benchmark(max_time=0.25, min_rounds=5, warmup=True, warmup_iterations=10)


def layers(name: str) -> list[pytest.param]:
    """The rows of a shape file: a name, then whole numbers."""
    lines = (SHAPES / name).read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    return [pytest.param(layer, *map(int, numbers), id=layer) for layer, *numbers in rows]


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


CONV = ("layer", "n", "c", "h", "w", "k", "kh", "kw", "stride", "pad", "dilation", "groups")
POOL = ("layer", "n", "c", "h", "w", "k", "stride", "pad")
DENSE = ("layer", "n", "n_in", "n_out")


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize(CONV, layers("conv2d.txt"))
def test_conv2d(
    measure: Measure,
    direction: str,
    layer: str,
    n: int,
    c: int,
    h: int,
    w: int,
    k: int,
    kh: int,
    kw: int,
    stride: int,
    pad: int,
    dilation: int,
    groups: int,
) -> None:
    x, weight, bias = values(n, c, h, w), values(k, c // groups, kh, kw), values(k)
    geometry = stride, pad, dilation, groups
    if direction == "forward":
        measure("conv2d", layer, convnet.conv2d, x, weight, bias, *geometry)
    else:
        with convnet.backend("native"):
            dy = convnet.conv2d(x, weight, bias, *geometry)
        measure("conv2d_backward", layer, convnet.conv2d_backward, dy, x, weight, *geometry)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize(POOL, layers("pool2d.txt"))
def test_max_pool2d(
    measure: Measure,
    direction: str,
    layer: str,
    n: int,
    c: int,
    h: int,
    w: int,
    k: int,
    stride: int,
    pad: int,
) -> None:
    """With indices, as training needs them."""
    x = values(n, c, h, w)
    if direction == "forward":
        measure("max_pool2d", layer, convnet.max_pool2d, x, k, stride, pad, 1, False, True)
    else:
        with convnet.backend("native"):
            y, indices = convnet.max_pool2d(x, k, stride, pad, return_indices=True)
        arguments = y, indices, x.shape, k, stride, pad
        measure("max_pool2d_backward", layer, convnet.max_pool2d_backward, *arguments)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize(POOL, layers("pool2d.txt"))
def test_avg_pool2d(
    measure: Measure,
    direction: str,
    layer: str,
    n: int,
    c: int,
    h: int,
    w: int,
    k: int,
    stride: int,
    pad: int,
) -> None:
    x = values(n, c, h, w)
    if direction == "forward":
        measure("avg_pool2d", layer, convnet.avg_pool2d, x, k, stride, pad)
    else:
        with convnet.backend("native"):
            dy = convnet.avg_pool2d(x, k, stride, pad)
        measure("avg_pool2d_backward", layer, convnet.avg_pool2d_backward, dy, x.shape, k, stride, pad)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize(DENSE, layers("dense.txt"))
def test_dense(measure: Measure, direction: str, layer: str, n: int, n_in: int, n_out: int) -> None:
    x, weight, bias, dy = values(n, n_in), values(n_in, n_out), values(n_out), values(n, n_out)
    if direction == "forward":
        measure("dense", layer, convnet.dense, x, weight, bias)
    else:
        measure("dense_backward", layer, convnet.dense_backward, dy, x, weight)
