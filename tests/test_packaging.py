"""What is installed: its size, what it asks for, what importing it does."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import convnet

PACKAGE = Path(convnet.__file__).parent


def fresh(code: str) -> str:
    """Standard output of a new interpreter."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


def test_at_most_three_megabytes() -> None:
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert any(path.name.startswith("_core.") and path.suffix == ".so" for path in files)
    assert sum(path.stat().st_size for path in files) <= 3e6


def test_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
    assert (PACKAGE / "_core.pyi").is_file()


def test_numpy_is_the_only_requirement() -> None:
    try:
        distribution = metadata.distribution("convnet")
    except metadata.PackageNotFoundError:
        pytest.skip("convnet is on the path, not installed")
    assert distribution.version == convnet.__version__
    plain = [name for name in distribution.requires or [] if "extra ==" not in name]
    assert [name.split(">")[0] for name in plain] == ["numpy"]


def test_version() -> None:
    assert convnet.build_info()["version"] == convnet.__version__


def test_import_loads_no_distribution_but_numpy() -> None:
    code = (
        "import sys; before = set(sys.modules); import convnet; "
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    loaded = set(fresh(code).split())
    assert loaded >= {"convnet", "numpy"}
    installed = metadata.packages_distributions()
    assert {name for module in loaded for name in installed.get(module, [])} <= {"convnet", "numpy"}


def test_import_starts_no_thread_and_changes_no_environment() -> None:
    code = (
        "import numpy, os, threading; n = len(os.listdir('/proc/self/task')); e = dict(os.environ); "
        "import convnet; assert len(os.listdir('/proc/self/task')) == n; assert dict(os.environ) == e"
    )
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs /proc")
    fresh(code)


def test_import_leaves_subnormals_alone() -> None:
    code = (
        "import convnet, numpy as np; x = np.full(64, np.finfo('f4').smallest_subnormal); "
        "assert np.all(x * np.float32(1) > 0); "
        "convnet.gemm(np.ones((64, 64), 'f4'), np.ones((64, 64), 'f4')); "
        "assert np.all(x * np.float32(1) > 0); print('kept')"
    )
    assert fresh(code) == "kept"


# Modules of the standard library that take milliseconds, each wanted by something here when that is used.
HEAVY = {
    "argparse", "asyncio", "concurrent.futures", "email", "gzip", "hashlib",
    "html", "http", "importlib.metadata", "json", "logging", "multiprocessing",
    "pickle", "random", "shutil", "socket", "sqlite3", "ssl",
    "subprocess", "tempfile", "unittest", "urllib.request", "xml", "zipfile",
}  # fmt: skip


def test_import_loads_no_heavy_module() -> None:
    """Beyond those NumPy itself loads. benchmarks/test_import_time.py has the time."""
    loaded = fresh(
        "import sys, numpy; before = set(sys.modules); import convnet; print(*set(sys.modules) - before)"
    )
    new = set(loaded.split())
    assert "convnet.layers" in new
    assert new & HEAVY == set()
    assert not [name for name in new if name.startswith(("convnet.compare", "convnet.data", "convnet.cli"))]


def test_every_public_name_exists_and_has_a_docstring() -> None:
    for name in convnet.__all__:
        value = getattr(convnet, name)
        if callable(value):
            assert value.__doc__, name


def test_subnormal_results_are_kept() -> None:
    tiny = np.array([[np.finfo(np.float32).smallest_subnormal]], np.float32)
    assert convnet.gemm(tiny, np.ones((1, 1), np.float32)).item() > 0
