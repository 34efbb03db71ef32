"""Memory of a convolution beside its inputs, outputs and packed weights, as the kernel counts it."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import convnet

SHAPES = Path(__file__).parents[1] / "benchmarks" / "shapes"
MOST = 16 << 20  # bytes
ROUNDING = 6 << 20  # of three blocks (weights, two workspaces) to whole huge pages, and a thread's own stack

# Prints what a plan's first call adds to resident memory at its peak, of which packed weights, and what was
# foretold of the rest; in bytes. Writing 5 to clear_refs makes the peak what is resident now.
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import convnet

def resident(name):
    status = Path("/proc/self/status").read_text()
    return int(status.partition(name + ":")[2].split()[0]) * 1024

n, c, h, w, k, kh, kw, *geometry = map(int, sys.argv[1:])
convnet.set_num_threads(2)
x = np.ones((n, c, h, w), np.float32)
weight = np.ones((k, c // geometry[3], kh, kw), np.float32)
explained = convnet.explain_conv2d(x.shape, weight.shape, *geometry)
y = np.ones(convnet.functional.conv2d_shape(x.shape, weight.shape, *geometry).y, np.float32)
plan = convnet.Conv2dPlan(weight, None, *geometry)
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
plan(x, y)
print(resident("VmHWM") - before, explained.packed_weights, explained.workspace)
"""


def measured(row: list[str]) -> tuple[int, int, int]:
    # In a process of its own: blocks that an earlier row gave back would be used again, uncounted.
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *row],
        env=os.environ | {"PYTHONPATH": str(Path(convnet.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    growth, packed, workspace = map(int, run.stdout.split())
    return growth, packed, workspace


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's count of pages")
@pytest.mark.skipif(not SHAPES.is_dir(), reason="needs the benchmarks' shapes")
@pytest.mark.parametrize("network", ["resnet50", "vgg16", "mobilenet", "large"])
def test_working_memory_is_bounded(network: str) -> None:
    lines = (SHAPES / f"{network}.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(measured, [row[1:] for row in rows]))
    assert found
    for (name, *_), (growth, packed, workspace) in zip(rows, found, strict=True):
        assert growth > packed // 2, f"{name}: the packed weights were not seen"
        assert growth - packed < MOST, f"{name}: {growth - packed} bytes beside packed weights of {packed}"
        assert growth - packed < workspace + ROUNDING, f"{name}: {growth - packed}, said to be {workspace}"
