"""The three ways to compute: one module each, with the same functions under the same names.

``naive`` is loops to read, ``im2col`` is vectorised NumPy, ``native`` is the compiled core. Their functions
take settled arguments, in the form of ``_core.pyi``; `convnet.functional` is what users call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType

from . import im2col, naive, native

BACKENDS: dict[str, ModuleType] = {"naive": naive, "im2col": im2col, "native": native}

_default: ModuleType = native
# What `with backend(...)` chose for this thread or asyncio task; None where no such block is open.
_chosen: ContextVar[ModuleType | None] = ContextVar("convnet.backend", default=None)


def current() -> ModuleType:
    """The module whose functions compute now."""
    return _chosen.get() or _default


def get_backend() -> str:
    """The name of the backend in use here: "naive", "im2col" or "native"."""
    return current().__name__.rpartition(".")[2]


def set_backend(name: str) -> None:
    """Make `name` the backend of the whole process, wherever no ``with backend(...)`` block is open.

    Raises ValueError for an unknown name.
    """
    global _default
    _default = _find(name)


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Compute with `name` inside the ``with`` block; blocks nest, and other threads are not affected.

    Raises ValueError for an unknown name.
    """
    token = _chosen.set(_find(name))
    try:
        yield
    finally:
        _chosen.reset(token)


def _find(name: str) -> ModuleType:
    try:
        return BACKENDS[name]
    except (KeyError, TypeError):
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {name!r}") from None
