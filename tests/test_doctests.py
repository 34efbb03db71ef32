"""The examples in the docstrings run, and every operation has one."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType

import numpy as np
import pytest

import convnet
from operations import OPERATIONS, public_name

MODULES = sorted(module.name for module in pkgutil.walk_packages(convnet.__path__, "convnet."))


def examples(module: ModuleType) -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    names = {"convnet": convnet, "np": np}
    return [found for found in finder.find(module, globs=vars(module) | names) if found.examples]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_run(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:  # a module of the comparison without its extra
        pytest.skip(str(error))
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    told: list[str] = []
    for test in examples(module):
        runner.run(test, out=told.append)
    assert runner.failures == 0, "".join(told)


def test_every_operation_has_an_example() -> None:
    without = [
        name for name in OPERATIONS if ">>>" not in (getattr(convnet, public_name(name)).__doc__ or "")
    ]
    assert not without
