"""How a convolution's time grows with each size, and what a second thread gives.

``pytest benchmarks/test_scaling.py --picture growth.png`` also draws the first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import convnet

SHAPES = Path(__file__).parent / "shapes"
# One size at a time, from a batch of ordinary 3x3 layers; times are linear in each.
BASE = {"N": 8, "C_in": 64, "C_out": 64, "rows": 56}
SIZES = {
    "N": (4, 8, 16, 32),
    "C_in": (32, 64, 128, 256),
    "C_out": (32, 64, 128, 256),
    "rows": (28, 56, 112, 224),
}
LARGE = 50e6  # FLOP; below it the threads' start weighs


@pytest.fixture(autouse=True)
def native() -> Iterator[None]:
    threads = convnet.get_num_threads()
    with convnet.backend("native"):
        yield
    convnet.set_num_threads(threads)


def seconds(function: Callable[[], object], rounds: int = 9) -> float:
    """The least of some rounds: other work on the machine only ever adds."""
    function()
    least = np.inf
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        least = min(least, time.perf_counter() - start)
    return least


def layer(n: int, c: int, h: int, w: int, k: int, kh: int, kw: int, *geometry: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, c, h, w), np.float32)
    weight = rng.standard_normal((k, c // geometry[3], kh, kw), np.float32)
    plan = convnet.Conv2dPlan(weight, None, *geometry)
    y = plan(x)
    return lambda: plan(x, y)


def test_time_grows_linearly(request: pytest.FixtureRequest) -> None:
    grown = {}
    for axis, sizes in SIZES.items():
        grown[axis] = []
        for size in sizes:
            n, c, k, h = (BASE | {axis: size}).values()
            grown[axis].append(seconds(layer(n, c, h, 56, k, 3, 3, 1, 1, 1, 1)))
    print()
    for axis, times in grown.items():
        power = np.polyfit(np.log(SIZES[axis]), np.log(times), 1)[0]
        print(f"{axis:6} {SIZES[axis]}: {', '.join(f'{1e3 * t:.3g}' for t in times)} ms, power {power:.2f}")
    if path := request.config.getoption("--picture"):
        draw(grown, path)


def draw(grown: dict[str, list[float]], path: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for axis, times in grown.items():
        sizes = np.array(SIZES[axis]) / BASE[axis]
        axes.loglog(sizes, 1e3 * np.array(times), "o-", base=2, label=f"{axis} (1 is {BASE[axis]})")
    at_one = np.median([times[SIZES[axis].index(BASE[axis])] for axis, times in grown.items()])
    ends = np.array(axes.get_xlim())
    axes.loglog(ends, 1e3 * at_one * ends, "k--", base=2, linewidth=0.8, label="linear")
    axes.set(
        xlabel="size, relative", ylabel="time (ms)", title="3x3 convolution, 8 x 64 x 56 x 56 to 64 channels"
    )
    axes.legend()
    figure.savefig(path)
    plt.close(figure)


def test_two_threads() -> None:
    print()
    for name in ("resnet50", "vgg16", "mobilenet"):
        for line in (SHAPES / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            if line.startswith("#"):
                continue
            label, *numbers = line.split()
            n, c, h, w, k, kh, kw, *geometry = map(int, numbers)
            shape = convnet.functional.conv2d_shape((n, c, h, w), (k, c // geometry[3], kh, kw), *geometry)
            if 2 * shape.macs < LARGE:
                continue
            run = layer(*map(int, numbers))
            times = {1: np.inf, 2: np.inf}
            for _ in range(10):  # by turns, for the machine's speed drifts
                for threads, least in times.items():
                    convnet.set_num_threads(threads)
                    times[threads] = min(least, seconds(run, 2))
            one, two = times.values()
            print(f"{name} {label:12} {1e3 * one:6.2f} {1e3 * two:6.2f} ms, {one / two:.2f} times as fast")
