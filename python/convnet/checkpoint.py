"""Models in files: what `Sequential.save` writes and `convnet.load` reads.

A file is a NumPy .npz archive without compression and without pickle, which `numpy.load` can read too:

- ``header``: UTF-8 JSON with the version of the format and the architecture, each layer by the name of its
  class and the arguments of its constructor;
- ``params/<name>`` and ``state/<name>``: the model's arrays, float32 or float64;
- as the archive's comment, "sha256:" and the digest of every byte before it.

A file is whole or absent: it is written beside its place, forced to the disk and then moved there in one
step. Damage is noticed: every truncation and every changed byte is a `CheckpointError`. A file cannot make a
reader allocate more than a few times its own size.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from . import layers as built_in
from ._types import Array
from .layers import Layer, Sequential

__all__ = ["CheckpointError", "load", "save"]

_FORMAT = "convnet model"
_VERSION = 1
_MARK = b"sha256:"
_DIGEST_LENGTH = 64  # hexadecimal digits
_CHUNK = 1 << 20


class CheckpointError(ValueError):
    """A file that is no whole, undamaged model; or not one that can be read here."""


def save(model: Sequential, path: str | os.PathLike[str]) -> None:
    """Write `model` to `path`; a file that was there stays as it is until the new one is complete.

    Raises:
        TypeError: for a layer's argument that JSON cannot hold, or an array that is not float32 or float64.
        OSError: where the file cannot be written; an older one is then intact.
    """
    import json  # here and below: what importing convnet need not wait for
    import zipfile

    place = Path(os.path.realpath(path))
    header = {"format": _FORMAT, "version": _VERSION, "model": _described(model)}
    arrays = _arrays(model)
    for name, array in arrays.items():
        if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
            raise TypeError(f"save: {name} must be float32 or float64, not {array.dtype}")
    text = json.dumps(header, allow_nan=False).encode()
    temporary = place.with_name(f".{place.name}.{os.urandom(8).hex()}")
    try:
        with temporary.open("x+b") as file:
            np.savez(file, header=np.frombuffer(text, np.uint8), **arrays)  # type: ignore[arg-type]
            with zipfile.ZipFile(file, "a") as archive:
                archive.comment = _MARK + b"0" * _DIGEST_LENGTH
            end = file.seek(0, os.SEEK_END) - _DIGEST_LENGTH
            digest = _digest(file, end)
            file.seek(end)
            file.write(digest)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(place.parent)


def load(
    path: str | os.PathLike[str], *, layers: Iterable[type[Layer]] = (), max_bytes: int = 1 << 34
) -> Sequential:
    """The model that `Sequential.save` wrote to `path`: its architecture, parameters and state.

    Args:
        layers: classes of your own that the file may name, besides those of `convnet.layers`.
        max_bytes: the largest file to read; 16 GiB where not given.

    Raises:
        CheckpointError: where the file is damaged, incomplete, too large, of a later version, or not a model.
        OSError: where it cannot be read at all.
    """
    import json
    import zipfile

    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise CheckpointError(f"{path}: {size} bytes are more than max_bytes = {max_bytes}")
        _check_digest(path, file, size)
        known = {
            c.__name__: c for c in vars(built_in).values() if isinstance(c, type) and issubclass(c, Layer)
        }
        known |= {c.__name__: c for c in layers}
        try:
            members = _members(file, size)
            header = json.loads(_array(members.pop("header", b"")).tobytes())
            if header["format"] != _FORMAT or header["version"] != _VERSION:
                raise CheckpointError(
                    f"{path}: expected {_FORMAT} of version {_VERSION}, got {header['format']} of version "
                    f"{header['version']}"
                )
            model = _built(header["model"], known, most=max(size, _CHUNK))
            if not isinstance(model, Sequential):
                raise CheckpointError(f"{path}: holds a {type(model).__name__}, expected a Sequential")
            _fill(model, members)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
        except (
            ValueError,
            TypeError,
            LookupError,
            ArithmeticError,
            AttributeError,
            EOFError,
            MemoryError,
            NotImplementedError,
            RecursionError,
            zipfile.BadZipFile,
        ) as error:
            raise CheckpointError(f"{path}: not a model that can be read here: {error}") from error
    return model


def _described(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, Sequential):
        return {"type": "Sequential", "layers": [_described(each) for each in layer]}
    arguments = {name: _plain(layer, name, value) for name, value in layer.arguments().items()}
    return {"type": type(layer).__name__, "arguments": arguments}


def _plain(layer: Layer, name: str, value: Any) -> Any:
    # As JSON has it.
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(layer, name, each) for each in value]
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        f"save: {type(layer).__name__}'s argument {name}={value!r} is no number, text or list of them"
    )


def _built(description: Any, known: Mapping[str, type[Layer]], most: int) -> Layer:
    # The layer, its weights not filled in and not allocated.
    if description["type"] == "Sequential":
        return Sequential(*(_built(each, known, most) for each in description["layers"]))
    name = description["type"]
    if name not in known:
        raise CheckpointError(
            f"holds a layer of class {name!r}, which is not known here; give it as layers=[...]"
        )
    arguments = {key: _tuples(value, most) for key, value in description["arguments"].items()}
    if "init" in inspect.signature(known[name]).parameters:
        arguments["init"] = lambda shape, rng, dtype: np.broadcast_to(np.zeros((), dtype), shape)
    return known[name](**arguments)


def _tuples(value: Any, most: int) -> Any:
    # Lists as the tuples they were; a number of channels beyond the file's own size is not believed.
    if isinstance(value, list):
        return tuple(_tuples(each, most) for each in value)
    if isinstance(value, int) and abs(value) > most:
        raise CheckpointError(f"holds a layer of size {value}, larger than the file")
    return value


def _arrays(model: Sequential) -> dict[str, Array]:
    return {
        f"{kind}/{name}": array
        for kind, arrays in (("params", model.params), ("state", model.state))
        for name, array in arrays.items()
    }


def _fill(model: Sequential, members: Mapping[str, bytes]) -> None:
    expected = _arrays(model)
    if expected.keys() != members.keys():
        odd = sorted(expected.keys() ^ members.keys())
        raise CheckpointError(f"its arrays are not those of its layers: {', '.join(odd)}")
    for name, placeholder in expected.items():
        array = _array(members[name])
        if array.shape != placeholder.shape or array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
            raise CheckpointError(
                f"{name} must be float32 or float64 of shape {placeholder.shape}, "
                f"got {array.dtype} of shape {array.shape}"
            )
        kind, _, key = name.partition("/")
        getattr(model, kind)[key] = array.astype(array.dtype.newbyteorder("="), copy=False)


def _members(file: IO[bytes], size: int) -> dict[str, bytes]:
    # The archive's members: together no larger than the file, whatever they claim.
    import zipfile

    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        claimed = sum(info.file_size for info in infos)
        if claimed > size or any(info.compress_type != zipfile.ZIP_STORED for info in infos):
            raise CheckpointError("its members are compressed, or overlap")
        if len({info.filename for info in infos}) != len(infos):
            raise CheckpointError("two of its members have one name")
        return {info.filename.removesuffix(".npy"): archive.read(info) for info in infos}


def _array(member: bytes) -> Array:
    # A .npy file in memory; its header is checked against its length before anything is allocated.
    stream = io.BytesIO(member)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise CheckpointError("holds an array in another version of the .npy format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject or dtype.itemsize == 0:
        raise CheckpointError(f"holds an array of dtype {dtype}")
    count = 1
    for extent in shape:
        count *= extent
    if min(shape, default=0) < 0 or count * dtype.itemsize != len(member) - stream.tell():
        raise CheckpointError(f"holds an array of shape {shape} in {len(member)} bytes")
    stream.seek(0)
    array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _digest(file: IO[bytes], end: int) -> bytes:
    # Of the file's bytes up to `end`.
    import hashlib

    digest = hashlib.sha256()
    file.seek(0)
    left = end
    while left > 0:
        chunk = file.read(min(left, _CHUNK))
        if not chunk:
            break
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest().encode()


def _check_digest(path: str | os.PathLike[str], file: IO[bytes], size: int) -> None:
    end = size - _DIGEST_LENGTH
    expected = _digest(file, end)
    file.seek(max(end - len(_MARK), 0))
    if end < len(_MARK) or file.read() != _MARK + expected:
        raise CheckpointError(f"{path}: damaged, incomplete, or not a saved model: its digest does not match")


def _sync_directory(directory: Path) -> None:
    # So that the new name survives a power failure; some systems cannot open directories.
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
