"""Models in files: what `Sequential.save` writes and `convnet.load` reads; trainings, for `training.fit`.

A model's file is a NumPy .npz archive without compression and without pickle, which `numpy.load` can read
too:

- ``header``: UTF-8 JSON with the version of the format and the architecture, each layer by the name of its
  class and the arguments of its constructor;
- ``params/<name>`` and ``state/<name>``: the model's arrays, float32 or float64;
- as the archive's comment, "sha256:" and the digest of every byte before it.

A training's file has its own ``format``. Its header holds the architecture, to be compared, the optimizer's
hyper-parameters and steps, the states of all random generators, and the epochs so far;
``slots/<slot>/<name>`` are the arrays that the optimizer keeps.

A file is whole or absent: it is written beside its place, forced to the disk and then moved there in one
step. Damage is noticed: every truncation and every changed byte is a `CheckpointError`. A file cannot make a
reader allocate more than a few times its own size.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from . import layers as built_in
from ._types import Array
from .layers import Layer, Sequential

if TYPE_CHECKING:
    from .optim import Optimizer

__all__ = ["CheckpointError", "load", "load_training", "save", "save_training"]

_FORMAT = "convnet model"
_TRAINING = "convnet training"
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
    header = {"format": _FORMAT, "version": _VERSION, "model": _described(model)}
    _write(path, header, _arrays(model), allow_nan=False)


def save_training(
    path: str | os.PathLike[str],
    model: Layer,
    optimizer: Optimizer,
    generators: Iterable[np.random.Generator],
    facts: Mapping[str, Any],
) -> None:
    """Write all it takes to go on from here exactly, as `save` writes a model.

    Args:
        generators: of the training, besides those of the model's layers.
        facts: whatever else there is to know, as JSON has it; NaN is allowed.

    Raises TypeError and OSError as `save` does.
    """
    state = optimizer.state_dict()
    arrays = _arrays(model) | {
        f"slots/{slot}/{name}": array
        for slot, slots in state["slots"].items()
        for name, array in slots.items()
    }
    header = {
        "format": _TRAINING,
        "version": _VERSION,
        "model": _described(model),
        "optimizer": {**state, "slots": list(state["slots"])},
        "generators": [_generator_state(each) for each in (*generators, *model.generators())],
        "facts": facts,
    }
    _write(path, header, arrays, allow_nan=True)


def load_training(
    path: str | os.PathLike[str],
    model: Layer,
    optimizer: Optimizer,
    generators: Iterable[np.random.Generator],
    check: Callable[[Mapping[str, Any], Mapping[str, Any], int], None],
) -> None:
    """Bring model, optimizer and generators to where `save_training` wrote them, in place.

    Args:
        check: ``check(facts, hyper_parameters, steps)`` is called before anything is changed, with the facts
            of `save_training` and the optimizer's figures; a CheckpointError that it raises says why this
            training cannot go on from there.

    Raises:
        CheckpointError: where the file is damaged, or of another model or optimizer. Nothing is changed then.
        OSError: where it cannot be read at all.
    """
    import json

    with _opened(path, max_bytes=1 << 40) as members:
        header = _header(members, _TRAINING)
        if header["model"] != json.loads(json.dumps(_described(model))):
            raise CheckpointError("is of another model")
        current = _arrays(model)
        stored = {name: _array(member) for name, member in members.items()}
        slots = {name: array for name, array in stored.items() if name.startswith("slots/")}
        _same_arrays(current, {name: array for name, array in stored.items() if name not in slots})
        state = dict(header["optimizer"])
        state["slots"] = {slot: {} for slot in state["slots"]}
        for name, array in slots.items():
            _, slot, key = name.split("/", 2)
            state["slots"][slot][key] = array
        every = [*generators, *model.generators()]
        states = [_like(g.bit_generator.state, s) for g, s in zip(every, header["generators"], strict=True)]
        for generator, each in zip(every, states, strict=True):
            type(generator.bit_generator)().state = each  # ValueError where it is none
        if not all(isinstance(value, int | float) for value in state["hyper_parameters"].values()):
            raise CheckpointError("its optimizer's hyper-parameters are no numbers")
        check(header["facts"], state["hyper_parameters"], state["steps"])
        try:
            optimizer.load_state_dict(state)
        except ValueError as error:
            raise CheckpointError(f"is of another optimizer: {error}") from error
    for name, array in current.items():
        array[...] = stored[name]
    for generator, each in zip(every, states, strict=True):
        generator.bit_generator.state = each


def _same_arrays(expected: Mapping[str, Array], given: Mapping[str, Array]) -> None:
    if expected.keys() != given.keys():
        odd = sorted(expected.keys() ^ given.keys())
        raise CheckpointError(f"its arrays are not those of the model: {', '.join(odd)}")
    for name, array in expected.items():
        if (array.shape, array.dtype) != (given[name].shape, given[name].dtype):
            raise CheckpointError(
                f"{name} must be {array.dtype} of shape {array.shape}, "
                f"got {given[name].dtype} of shape {given[name].shape}"
            )


def _generator_state(generator: np.random.Generator) -> Any:
    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(each) for key, each in value.items()}
        return value.tolist() if isinstance(value, np.ndarray | np.generic) else value

    return plain(generator.bit_generator.state)


def _like(current: Any, stored: Any) -> Any:
    # A generator's state, from JSON to the form and the dtypes of the one it has now.
    if isinstance(current, Mapping):
        if current.keys() != stored.keys() or current.get("bit_generator") != stored.get("bit_generator"):
            raise CheckpointError("its random generators are of another kind")
        return {key: _like(value, stored[key]) for key, value in current.items()}
    if isinstance(current, np.ndarray):
        return np.array(stored, current.dtype).reshape(current.shape)
    return type(current)(stored)


def _write(
    path: str | os.PathLike[str], header: Mapping[str, Any], arrays: Mapping[str, Array], *, allow_nan: bool
) -> None:
    import json  # here and below: what importing convnet need not wait for
    import zipfile

    place = Path(os.path.realpath(path))
    for name, array in arrays.items():
        if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
            raise TypeError(f"save: {name} must be float32 or float64, not {array.dtype}")
    text = json.dumps(header, allow_nan=allow_nan, default=_number).encode()
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
    known = {c.__name__: c for c in vars(built_in).values() if isinstance(c, type) and issubclass(c, Layer)}
    known |= {c.__name__: c for c in layers}
    with _opened(path, max_bytes) as members:
        size = sum(map(len, members.values()))
        model = _built(_header(members, _FORMAT)["model"], known, most=max(size, _CHUNK))
        if not isinstance(model, Sequential):
            raise CheckpointError(f"holds a {type(model).__name__}, expected a Sequential")
        _fill(model, members)
    return model


def _number(value: Any) -> Any:
    # NumPy's scalars, as JSON has numbers.
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"save: {value!r} is no number or text")


def _header(members: dict[str, bytes], expected: str) -> Any:
    import json

    header = json.loads(_array(members.pop("header", b"")).tobytes())
    if header["format"] != expected or header["version"] != _VERSION:
        raise CheckpointError(
            f"expected {expected} of version {_VERSION}, "
            f"got {header['format']} of version {header['version']}"
        )
    return header


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str], max_bytes: int) -> Iterator[dict[str, bytes]]:
    # The members of a file whose digest is right. Whatever is wrong with them inside the block is a
    # CheckpointError that names the file.
    import zipfile

    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise CheckpointError(f"{path}: {size} bytes are more than max_bytes = {max_bytes}")
        _check_digest(path, file, size)
        try:
            yield _members(file, size)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from None
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


def _arrays(model: Layer) -> dict[str, Array]:
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
