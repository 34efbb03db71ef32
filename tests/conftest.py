"""Fixtures and options of the whole suite: backends, dtypes, and proof of which instruction set ran."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import convnet

BACKENDS = ("naive", "im2col", "native")

# The backend fixture wraps all examples of a test, which is what is wanted. Examples are the same in every
# run; `pytest --hypothesis-profile=thorough` searches at random, 2,000 shapes a test.
_common = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("quick", max_examples=200, derandomize=True, **_common)
settings.register_profile("thorough", max_examples=2000, **_common)
settings.load_profile("quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", choices=BACKENDS, help="run only the tests of this backend")


def pytest_report_header() -> str:
    info = convnet.build_info()
    return f"convnet {info['version']}: isa {info['isa']} of {', '.join(info['isas'])}; {info['compiler']}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--backend")
    if wanted is None:
        return
    kept, dropped = [], []
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        (kept if parameters.get("backend", wanted) == wanted else dropped).append(item)
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept


@pytest.fixture(scope="session", autouse=True)
def isa() -> str:
    """The instruction set in use, which is the one CONVNET_ISA asked for, if it asked."""
    used = convnet.build_info()["isa"]
    assert used == os.environ.get("CONVNET_ISA", used)
    return used


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs on each backend in turn."""
    with convnet.backend(request.param):
        assert convnet.get_backend() == request.param
        yield request.param


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    return np.dtype(request.param)


@pytest.fixture
def served(tmp_path):
    """A directory and the address at which it is served on this machine."""
    root = tmp_path / "served"
    root.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(root))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield root, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
