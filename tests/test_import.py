"""Importing convnet brings NumPy and nothing else, and leaves the process as it was."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_nothing_but_numpy_is_imported() -> None:
    found = run(
        "import sys, numpy; before = set(sys.modules); import convnet\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(new - {'convnet', 'numpy'} - sys.stdlib_module_names))"
    )
    assert found.split() == []


def test_no_thread_is_started() -> None:
    found = run(
        "import os, threading, numpy\n"
        "tasks = lambda: len(os.listdir('/proc/self/task')) if os.path.isdir('/proc/self/task') else 0\n"
        "before = tasks(); import convnet\n"
        "print(tasks() - before, threading.active_count())"
    )
    assert found.split() == ["0", "1"]


def test_the_environment_is_left_alone() -> None:
    found = run("import os; before = dict(os.environ); import convnet; print(before == dict(os.environ))")
    assert found.strip() == "True"


def test_subnormals_survive() -> None:
    """Flushing to zero would make tiny / 2 zero, and a subnormal operand equal to zero."""
    found = run(
        "import numpy as np, convnet\n"
        "for kind in (np.float32, np.float64):\n"
        "    tiny = np.full(64, np.finfo(kind).tiny)\n"
        "    half = tiny / kind(2)\n"
        "    convnet.relu(half); convnet.dense(half[None], half[:, None])\n"
        "    print((tiny / kind(2) > 0).all(), (half * kind(2) == tiny).all())"
    )
    assert found.split() == ["True"] * 4


def test_the_documented_modules_are_attributes() -> None:
    found = run(
        "import convnet\n"
        "print(convnet.layers.Conv2d.__name__, convnet.optim.SGD.__name__, convnet.training.fit.__name__,\n"
        "      convnet.losses.softmax_cross_entropy is convnet.softmax_cross_entropy,\n"
        "      all(hasattr(convnet, name) for name in convnet.__all__),\n"
        "      convnet.__version__ == convnet.build_info()['version'])"
    )
    assert found.split() == ["Conv2d", "SGD", "fit", "True", "True", "True"]
