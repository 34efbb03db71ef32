"""Bad input raises ValueError, TypeError or MemoryError that names what is wrong, and the process lives on.

Every operation is called with every bad value of every argument (`invalid_inputs`), in a process of its own:
if that dies, the last cell it named is the culprit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import convnet
import invalid_inputs
from conftest import BACKENDS
from operations import OPERATIONS, public_name

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="address space is bounded on Linux alone")

LEAST_CELLS = 1_500  # of the matrix operation x argument x value, each on every backend
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(convnet.__file__).parents[1])]),
    "OMP_NUM_THREADS": "2",
    "OPENBLAS_NUM_THREADS": "1",
}


def faults(operation: str, cell: dict[str, Any]) -> list[str]:
    """What is wrong with the outcome of one cell."""
    raised, message = cell["raised"], cell["message"]
    wrong = []
    if raised not in ("ValueError", "TypeError", "MemoryError"):
        wrong.append(f"raised {raised or 'nothing'}: {message}")
    elif raised == "MemoryError":
        if "allocate" not in message:
            wrong.append(f"does not say how much was wanted: {message}")
    elif not any(
        name in message for name in (operation, operation.replace("global", "adaptive"), *cell["bad"])
    ):
        wrong.append(f"names neither the operation nor the argument: {raised}: {message}")
    if not cell["untouched"]:
        wrong.append("wrote into an array")
    if cell["seconds"] > 1:
        wrong.append(f"took {cell['seconds']:.1f} s")
    return wrong


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_bad_value_of_every_argument(name: str) -> None:
    operation = OPERATIONS[name]
    backends = BACKENDS[-1:] if operation.native else BACKENDS
    run = subprocess.run(
        [sys.executable, invalid_inputs.__file__, name, *backends],
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 0, f"died with {run.returncode} after {lines[-1:]}: {run.stderr[-1000:]}"
    assert [line for line in lines if "next call works" in line] == [
        {"backend": backend, "next call works": True} for backend in backends
    ]
    outcomes = [line for line in lines if "raised" in line]
    assert len(outcomes) == len(backends) * sum(1 for _ in invalid_inputs.cells(operation))
    bad = [
        f"{cell['backend']} {cell['bad']}: {'; '.join(w)}"
        for cell in outcomes
        if (w := faults(public_name(name), cell))
    ]
    assert not bad, f"{len(bad)} of {len(outcomes)} cells\n" + "\n".join(bad)
    if operation.too_large:
        assert outcomes[-1]["raised"] == "MemoryError"


def test_the_matrix_is_large_enough() -> None:
    counts = {name: sum(1 for _ in invalid_inputs.cells(row)) for name, row in OPERATIONS.items()}
    assert sum(counts.values()) >= LEAST_CELLS, counts
    assert min(counts.values()) >= 20, counts
