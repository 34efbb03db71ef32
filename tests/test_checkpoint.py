"""Models in files: what is saved is what is loaded, and what is damaged is refused."""

from __future__ import annotations

import errno
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convnet
from convnet import checkpoint, layers
from convnet.layers import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Flatten,
    Layer,
    MaxPool2d,
    ReLU,
    Sequential,
)

MODELS: dict[str, tuple[Callable[[], Sequential], tuple[int, ...]]] = {
    "empty": (Sequential, (2, 3)),
    "tiny": (lambda: Sequential(Dense(2, 1, rng=0)), (3, 2)),
    "float64": (lambda: Sequential(Dense(3, 2, bias=False, dtype=np.float64, rng=0)), (4, 3)),
    "network": (
        lambda: Sequential(
            Conv2d(1, 4, (3, 2), padding=((1, 0), (0, 1)), rng=0),
            BatchNorm2d(4, momentum=0.2),
            ReLU(),
            Sequential(MaxPool2d(2, ceil_mode=True), layers.Dropout(0.25)),
            ConvTranspose2d(4, 2, 2, 2, groups=2, bias=False, rng=1),
            layers.LeakyReLU(0.3),
            layers.AdaptiveAvgPool2d((3, 2)),
            layers.LocalResponseNorm(3, alpha=0.5),
            Flatten(),
            Dense(12, 5, rng=2),
            layers.Softmax(),
        ),
        (2, 1, 7, 6),
    ),
    "padding by name": (lambda: Sequential(Conv2d(1, 1, 3, padding="same_lower", rng=0)), (1, 1, 4, 4)),
}
every_model = pytest.mark.parametrize("name", MODELS)


@every_model
def test_what_is_saved_is_loaded(tmp_path: Path, name: str) -> None:
    build, shape = MODELS[name]
    model = build()
    dtype = np.float64 if name == "float64" else np.float32
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    model.forward(x, training=True)  # batch normalisation has a state now
    model.save(tmp_path / "model.npz")
    loaded = convnet.load(tmp_path / "model.npz")
    assert repr(loaded) == repr(model)
    for ours, theirs in ((model.params, loaded.params), (model.state, loaded.state)):
        assert list(ours) == list(theirs)
        for key, array in ours.items():
            np.testing.assert_array_equal(theirs[key], array, strict=True)
            assert theirs[key].flags.writeable
    np.testing.assert_array_equal(loaded.forward(x), model.forward(x), strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


def test_a_loaded_model_trains(tmp_path: Path) -> None:
    build, shape = MODELS["network"]
    build().save(tmp_path / "model.npz")
    model = convnet.load(tmp_path / "model.npz")
    before = {name: array.copy() for name, array in model.params.items()}
    y = model.forward(np.random.default_rng(0).standard_normal(shape).astype(np.float32), training=True)
    model.backward(np.random.default_rng(1).standard_normal(y.shape).astype(np.float32), input_grad=False)
    convnet.optim.SGD(model, 0.1).step()
    assert any(not np.array_equal(model.params[name], array) for name, array in before.items())


def test_numpy_reads_the_file(tmp_path: Path) -> None:
    model = MODELS["tiny"][0]()
    model.save(str(tmp_path / "model.npz"))
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        assert sorted(file) == ["header", "params/0.bias", "params/0.weight"]
        np.testing.assert_array_equal(file["params/0.weight"], model.params["0.weight"])
        assert json.loads(file["header"].tobytes())["version"] == 1


def test_the_same_model_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        MODELS["network"][0]().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class Twice(Layer):
    """A layer of the user's own."""

    def __init__(self, factor: float = 2) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        return x * self.factor

    def backward(self, dy: np.ndarray, input_grad: bool = True) -> np.ndarray | None:
        return dy * self.factor if input_grad else None


def test_layers_of_ones_own(tmp_path: Path) -> None:
    Sequential(Twice(np.float64(3))).save(tmp_path / "model.npz")
    loaded = convnet.load(tmp_path / "model.npz", layers=[Twice])
    assert repr(loaded) == "Sequential(Twice(factor=3.0))"
    with pytest.raises(convnet.CheckpointError, match="class 'Twice', which is not known here"):
        convnet.load(tmp_path / "model.npz")


# --- damage


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    MODELS["tiny"][0]().save(tmp_path / "model.npz")
    return tmp_path / "model.npz"


def test_every_truncation_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in range(len(whole)):
        saved.write_bytes(whole[:length])
        with pytest.raises(convnet.CheckpointError, match=r"model\.npz: "):
            convnet.load(saved)
    saved.write_bytes(whole + b"\0")
    with pytest.raises(convnet.CheckpointError):
        convnet.load(saved)


@pytest.mark.parametrize("mask", [0x01, 0x20, 0xFF])
def test_every_changed_byte_is_refused(saved: Path, mask: int) -> None:
    """0x20 turns the digest's letters into capitals."""
    whole = bytearray(saved.read_bytes())
    for position in range(len(whole)):
        whole[position] ^= mask
        saved.write_bytes(whole)
        with pytest.raises(convnet.CheckpointError):
            convnet.load(saved)
        whole[position] ^= mask
    saved.write_bytes(whole)
    convnet.load(saved)


def test_what_is_no_model(tmp_path: Path) -> None:
    for content in (b"", b"x" * 1000, b"PK\5\6" + b"\0" * 18):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(convnet.CheckpointError, match="its digest does not match"):
            convnet.load(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        convnet.load(tmp_path / "nowhere")
    assert issubclass(convnet.CheckpointError, ValueError)


def forged(path: Path, header: Any, compress: int = zipfile.ZIP_STORED, **members: Any) -> Path:
    """An archive with a right digest whose content is not what `save` would write."""
    with zipfile.ZipFile(path, "w", compress) as archive:
        for name, value in {
            "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
            **members,
        }.items():
            stream = io.BytesIO()
            if isinstance(value, bytes):
                stream.write(value)
            else:
                np.save(stream, value, allow_pickle=True)
            archive.writestr(f"{name.replace('__', '/', 1).replace('__', '.')}.npy", stream.getvalue())
        archive.comment = b"sha256:" + b"0" * 64
    with path.open("r+b") as file:
        digest = checkpoint._digest(file, path.stat().st_size - 64)
        file.seek(-64, os.SEEK_END)
        file.write(digest)
    return path


def header(*described: dict[str, Any], **changes: Any) -> dict[str, Any]:
    model = {"type": "Sequential", "layers": list(described)}
    return {"format": "convnet model", "version": 1, "model": model} | changes


DENSE = {"type": "Dense", "arguments": {"in_features": 2, "out_features": 1, "bias": False}}
WEIGHT = np.ones((2, 1), np.float32)


def npy(shape: str) -> bytes:
    """A .npy file that claims a shape and holds nothing."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()


def test_a_forgery_that_is_right_is_read(tmp_path: Path) -> None:
    model = convnet.load(forged(tmp_path / "m", header(DENSE), params__0__weight=WEIGHT))
    np.testing.assert_array_equal(model.params["0.weight"], WEIGHT)


FORGERIES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "later version": (header(version=2), {}, "of version 2"),
    "other format": (header(format="other"), {}, "got other"),
    "a text": ("", {}, "not a model"),
    "a list": ([1, 2], {}, "not a model"),
    "no Sequential": ({**header(), "model": DENSE}, {"params__weight": WEIGHT}, "holds a Dense"),
    "unknown layer": (header({"type": "os.system", "arguments": {}}), {}, "not known here"),
    "base class": (header({"type": "Layer", "arguments": {}}), {}, "not a model"),
    "odd argument": (header({"type": "ReLU", "arguments": {"x": 1}}), {}, "not a model"),
    "missing array": (header(DENSE), {}, "not those of its layers: params/0.weight"),
    "additional array": (header(), {"params__0__weight": WEIGHT}, "not those of its layers"),
    "wrong shape": (
        header(DENSE),
        {"params__0__weight": WEIGHT.T},
        r"shape \(2, 1\), got float32 of shape \(1, 2\)",
    ),
    "wrong dtype": (header(DENSE), {"params__0__weight": WEIGHT.astype(int)}, "got int64"),
    "pickle": (header(DENSE), {"params__0__weight": WEIGHT.astype(object)}, "dtype object"),
    "huge array": (header(DENSE), {"params__0__weight": npy(f"({2**40}, 1)")}, "holds an array of shape"),
    "negative array": (header(DENSE), {"params__0__weight": npy("(-1, 0)")}, "array of shape|not a model"),
    "huge layer": (
        header({"type": "BatchNorm2d", "arguments": {"channels": 2**40}}),
        {"params__0__gamma": WEIGHT},
        "larger than the file",
    ),
    "no layers": ({**header(), "model": 0}, {}, "not a model"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgeries_are_refused(tmp_path: Path, name: str) -> None:
    described, members, told = FORGERIES[name]
    path = forged(tmp_path / "m", described, **members)
    with pytest.raises(convnet.CheckpointError, match=told):
        convnet.load(path)


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    path = forged(
        tmp_path / "m", header(DENSE), zipfile.ZIP_DEFLATED, params__0__weight=np.zeros((2, 1), np.float32)
    )
    with pytest.raises(convnet.CheckpointError, match="compressed"):
        convnet.load(path)


def test_the_budget_comes_first(saved: Path) -> None:
    size = saved.stat().st_size
    convnet.load(saved, max_bytes=size)
    with pytest.raises(convnet.CheckpointError, match=f"{size} bytes are more than max_bytes = {size - 1}"):
        convnet.load(saved, max_bytes=size - 1)


# --- writing


class Stop(BaseException):
    pass


@pytest.mark.parametrize("step", ["fsync", "replace", "write"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "no space left"), KeyboardInterrupt(), Stop()], ids=repr
)
def test_a_failed_save_leaves_the_old_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    before = saved.read_bytes()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    target = {"fsync": (os, "fsync"), "replace": (Path, "replace"), "write": (np, "savez")}[step]
    monkeypatch.setattr(*target, fail)
    with pytest.raises(type(error)):
        MODELS["network"][0]().save(saved)
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["model.npz"]


def test_a_link_is_followed(saved: Path) -> None:
    link = saved.with_name("link")
    link.symlink_to(saved)
    MODELS["network"][0]().save(link)
    assert link.is_symlink()
    assert len(convnet.load(saved)) == 11


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    model = Sequential(Dense(2, 1))
    model.params["0.weight"] = np.ones((2, 1), np.int64)
    with pytest.raises(TypeError, match=r"params/0.weight must be float32 or float64, not int64"):
        model.save(tmp_path / "m")
    with pytest.raises(TypeError, match="Twice's argument factor"):
        Sequential(Twice(object())).save(tmp_path / "m")
    with pytest.raises(FileNotFoundError):
        Sequential().save(tmp_path / "nowhere" / "m")
    assert not list(tmp_path.iterdir())
