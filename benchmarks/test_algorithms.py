"""Every algorithm on every layer, by turns, and the share of the processor's peak that it reaches.

``pytest benchmarks/test_algorithms.py -s`` prints a row a layer: what the thresholds in csrc/ops
(`gemm_pays`, `pointwise_pays`, `channels_in_lanes_pays`, `winograd_pays`, `depthwise_serves`) come from; and
how long channels last takes beside channels first. ``CONVNET_ISA`` and ``CONVNET_NUM_THREADS`` choose what is
measured.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import convnet

HERE = Path(__file__).parent
FLAGS = {
    "avx512": ("-march=x86-64-v4", "-mprefer-vector-width=512", "-DWIDTH=64"),
    "avx2": ("-march=x86-64-v3", "-DWIDTH=32"),
}
ALGORITHMS = ("direct", "gemm", "winograd")  # "auto" alone takes depthwise
ROUNDS = 6
AT_LEAST = 0.05  # seconds a round
TOO_SLOW = 4  # times the chosen algorithm's time: not measured any further


@pytest.fixture(scope="module")
def peak(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], float]:
    """GFLOP/s of all threads at once."""
    isa, compiler = convnet.build_info()["isa"], shutil.which("c++")
    if isa not in FLAGS or compiler is None:
        pytest.skip(f"needs a C++ compiler and AVX2 or AVX-512, has {isa}")
    library = tmp_path_factory.mktemp("peak") / "fma_peak.so"
    source = str(HERE / "fma_peak.cpp")
    subprocess.run([compiler, "-O3", "-shared", "-fPIC", *FLAGS[isa], source, "-o", library], check=True)
    one = ctypes.CDLL(str(library)).fma_peak
    one.restype, one.argtypes = ctypes.c_double, [ctypes.c_double]
    threads = convnet.get_num_threads()

    def measure() -> float:
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(one, [10.0] * threads))

    return measure


def layers(name: str) -> Iterator[tuple[str, list[int]]]:
    for line in (HERE / "shapes" / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            label, *numbers = line.split()
            yield label, list(map(int, numbers))


def plans(
    x: np.ndarray, weight: np.ndarray, geometry: list[int], chosen: str
) -> dict[str, Callable[[], object]]:
    """The algorithms that serve the layer, the chosen one first."""
    found: dict[str, Callable[[], object]] = {}
    for name, algorithm in [(chosen, "auto"), *((name, name) for name in ALGORITHMS if name != chosen)]:
        try:
            plan = convnet.Conv2dPlan(weight, None, *geometry, algorithm=algorithm)
            y = plan(x)
        except ValueError:
            continue
        found[name] = lambda plan=plan, y=y: plan(x, y)
    return found


def least_seconds(function: Callable[[], object]) -> float:
    least, end = np.inf, time.perf_counter() + AT_LEAST
    while time.perf_counter() < end:
        start = time.perf_counter()
        function()
        least = min(least, time.perf_counter() - start)
    return least


@pytest.mark.parametrize("network", ["resnet50", "vgg16", "mobilenet", "small_maps", "others"])
def test_algorithms(network: str, peak: Callable[[], float]) -> None:
    rng = np.random.default_rng(0)
    print(f"\n{network}: GFLOP/s and share of the peak, counted as direct work; the first is chosen")
    for label, (n, c, h, w, k, kh, kw, *geometry) in layers(network):
        x = rng.standard_normal((n, c, h, w), np.float32)
        weight = rng.standard_normal((k, c // geometry[-1], kh, kw), np.float32)
        chosen = convnet.explain_conv2d(x.shape, weight.shape, *geometry)
        with convnet.backend("native"):
            running = plans(x, weight, geometry, chosen.algorithm)
            times, best_peak = dict.fromkeys(running, np.inf), 0.0
            for _ in range(ROUNDS):
                best_peak = max(best_peak, peak())
                for name in running:
                    if times[name] < TOO_SLOW * times[chosen.algorithm] or np.isinf(times[name]):
                        times[name] = min(times[name], least_seconds(running[name]))
        speeds = {name: 2e-9 * chosen.macs / t for name, t in times.items()}
        cells = [f"{name} {speed:.0f} ({speed / best_peak:.0%})" for name, speed in speeds.items()]
        print(f"{label:12} peak {best_peak:4.0f}  " + "  ".join(f"{cell:22}" for cell in cells).rstrip())


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


@pytest.mark.parametrize("network", ["conv2d", "resnet50", "mobilenet"])
def test_layouts(network: str) -> None:
    rng = np.random.default_rng(0)
    print(f"\n{network}: time of NHWC over NCHW's, native")
    for label, (n, c, h, w, k, kh, kw, *geometry) in layers(network):
        x = rng.standard_normal((n, c, h, w), np.float32)
        weight = rng.standard_normal((k, c // geometry[-1], kh, kw), np.float32)
        dy = np.ones_like(convnet.conv2d(x, weight, None, *geometry))
        first = dy, x, weight
        last = channels_last(dy), channels_last(x), np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
        cells = []
        for result in ("y", "dx", "dw"):
            calls = {}
            for layout, (d, *others) in (("NCHW", first), ("NHWC", last)):
                if result == "y":
                    calls[layout] = partial(convnet.conv2d, *others, None, *geometry, layout=layout)
                else:
                    calls[layout] = partial(
                        convnet.conv2d_backward,
                        *(d, *others, *geometry),
                        needs=(result == "dx", result == "dw", False),
                        layout=layout,
                    )
            times = dict.fromkeys(calls, np.inf)
            for _ in range(ROUNDS):
                for layout, call in calls.items():
                    times[layout] = min(times[layout], least_seconds(call))
            cells.append(f"{result} {times['NHWC'] / times['NCHW']:.2f}")
        print(f"{label:12} " + "  ".join(cells))
