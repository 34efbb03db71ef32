"""Each instruction set's object file gives the linker one symbol, its table, and nothing it could share.

An inline function compiled for AVX-512 with a weak symbol may be the copy that the linker keeps for all, and
then an older processor dies in it. At -O0 nothing is inlined, so all that could leak does.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "csrc" / "kernels" / "isa.cpp"
COMPILER = shutil.which(os.environ.get("CXX", "c++"))
FLAGS = {"baseline": []}
if platform.machine() in ("x86_64", "AMD64"):
    FLAGS |= {"avx2": ["-march=x86-64-v3"], "avx512": ["-march=x86-64-v4"]}

pytestmark = pytest.mark.skipif(
    not SOURCE.exists() or COMPILER is None or shutil.which("nm") is None,
    reason="needs the C++ sources, a compiler and nm",
)


@pytest.mark.parametrize("isa", FLAGS)
def test_an_object_defines_its_table_alone(isa: str, tmp_path: Path) -> None:
    compiled = tmp_path / "isa.o"
    command = [COMPILER, "-std=c++17", "-O0", "-fPIC", "-fno-exceptions", "-fno-rtti", "-Wno-psabi"]
    command += [*FLAGS[isa], f"-DCONVNET_ISA={isa}", "-c", str(SOURCE), "-o", str(compiled)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    lines = subprocess.check_output(["nm", "-C", str(compiled)], text=True).splitlines()
    symbols = [line[17:].split(maxsplit=1) for line in lines]
    # Lower-case types are local, but w, v and u (GNU unique) are shared; U is what others define.
    shared = [(kind, name) for kind, name in symbols if kind != "U" and (kind.isupper() or kind in "wvu")]
    assert len(shared) == 1, shared
    kind, name = shared[0]
    assert kind == "T"
    assert f"isa_table_{isa}(" in name
