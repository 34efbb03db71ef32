"""What ``import convnet`` costs after NumPy: ``pytest benchmarks/test_import_time.py -s``."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

ROUNDS = 15
CODE = """
import time, numpy
start = time.perf_counter()
import convnet
print(time.perf_counter() - start)
"""


def milliseconds(environment: dict[str, str]) -> float:
    """In a process of its own, because a module is imported once."""
    run = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True
    )
    return 1e3 * float(run.stdout)


def test_import_over_numpy(tmp_path: Path) -> None:
    # Bytecode as an installed package has it, whatever this shell says of it.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    milliseconds(environment)  # makes the bytecode
    times = [milliseconds(environment) for _ in range(ROUNDS)]
    least, median = min(times), statistics.median(times)
    print(f"\nimport convnet after numpy: least {least:.1f} ms, median {median:.1f} ms of {ROUNDS} processes")
