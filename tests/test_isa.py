"""The numeric suites on every other instruction set of this machine, and proof of which one ran."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import convnet

TESTS = Path(__file__).parent
SUITES = (
    "test_conv2d.py",
    "test_winograd.py",
    "test_pool2d.py",
    "test_gemm.py",
    "test_activations.py",
    "test_softmax.py",
    "test_optim.py",
)
ORDER = ("baseline", "avx2", "avx512")

INFO = convnet.build_info()
OTHERS = [isa for isa in INFO["isas"] if isa != INFO["isa"]]


def python(*arguments: str, isa: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CONVNET_ISA": isa}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_best_instruction_set_is_used() -> None:
    assert INFO["isas"][0] == "baseline"
    assert list(INFO["isas"]) == [isa for isa in ORDER if isa in INFO["isas"]]
    assert INFO["isa"] == os.environ.get("CONVNET_ISA", INFO["isas"][-1])


@pytest.mark.parametrize("isa", OTHERS)
def test_the_numeric_suites_pass_on(isa: str) -> None:
    """In a process of its own, for the choice is made once, at import."""
    suites = [str(TESTS / name) for name in SUITES]
    # PyTorch may be missing, and here nothing may be skipped.
    options = ("--backend", "native", "-k", "not torch", "-p", "no:cacheprovider")
    run = python("-m", "pytest", *options, *suites, isa=isa)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f": isa {isa} of " in run.stdout
    summary = run.stdout.splitlines()[-1]
    passed = re.search(r"(\d+) passed", summary)
    assert passed, summary
    assert int(passed[1]) >= 200, summary
    assert "skipped" not in summary


def test_an_unknown_instruction_set_is_refused() -> None:
    """A misspelt name must not quietly run, and pass for, something else."""
    run = python("-c", "import convnet", isa="avx1024")
    assert run.returncode != 0
    assert "avx1024" in run.stderr
