"""The public surface is typed: a program that uses all of it passes mypy --strict, and runs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import convnet

PROGRAM = Path(__file__).parent / "typing" / "surface.py"
PARENT = Path(convnet.__file__).parents[1]
MODULES = (convnet, convnet.layers, convnet.losses)


def test_mypy_accepts_it() -> None:
    pytest.importorskip("mypy")
    sources = (
        {} if PARENT.name == "site-packages" else {"MYPYPATH": str(PARENT)}
    )  # mypy finds what is installed
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(PROGRAM)],
        env=os.environ | sources,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_it_runs() -> None:
    environment = os.environ | {"PYTHONPATH": str(PARENT)}
    subprocess.run([sys.executable, "-W", "error", str(PROGRAM)], env=environment, check=True)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_it_uses_every_name(module: ModuleType) -> None:
    tree = ast.walk(ast.parse(PROGRAM.read_text(encoding="utf-8")))
    used = {
        name
        for node in tree
        for name in (
            [node.attr]
            if isinstance(node, ast.Attribute)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert set(module.__all__) - {"checkpoint"} - used == set()
