"""Data from files: what is read, and what is refused, with one error and without harm."""

import contextlib
import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convnet.data import DataError, load
from convnet.data.cifar10 import PIXELS, cifar10, read_binary, read_python
from convnet.data.download import SOURCES, Source, fetch
from convnet.data.folder import folder, open_picture, read_picture
from convnet.data.idx import FILES, idx_dataset, read_idx

Image = pytest.importorskip("PIL.Image")


def idx_bytes(array, code=0x08):
    return (
        struct.pack(">HBB", 0, code, array.ndim)
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.tobytes()
    )


def write_idx(directory, pack=False, train=20, test=10, size=(28, 28)):
    """Four files like MNIST's, of squares whose place is their class; returns the training images."""
    rng = np.random.default_rng(0)
    directory.mkdir(exist_ok=True)
    images = {}
    for half, count in (("train", train), ("test", test)):
        y = (np.arange(count) % 2).astype(np.uint8)
        x = rng.integers(0, 40, (count, *size)).astype(np.uint8)
        for image, label in zip(x, y, strict=True):
            image[4:12, 4 + 12 * label : 12 + 12 * label] = 255
        images[half] = x
        for part, array in ((f"x_{half}", x), (f"y_{half}", y)):
            content = idx_bytes(array)
            name = FILES[part] + (".gz" if pack else "")
            (directory / name).write_bytes(gzip.compress(content) if pack else content)
    return images["train"]


class TestIDX:
    @pytest.mark.parametrize(
        ("code", "dtype"),
        [(0x08, "u1"), (0x09, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")],
    )
    def test_every_type(self, tmp_path, code, dtype):
        array = np.arange(-3, 3).astype(dtype).reshape(2, 3)
        (tmp_path / "a").write_bytes(idx_bytes(array, code))
        read = read_idx(tmp_path / "a")
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype.newbyteorder("=")
        assert read.dtype.isnative

    def test_gzipped(self, tmp_path):
        array = np.zeros((300, 28, 28), np.uint8)  # shrinks a thousandfold
        (tmp_path / "a.gz").write_bytes(gzip.compress(idx_bytes(array)))
        np.testing.assert_array_equal(read_idx(tmp_path / "a.gz"), array)

    GOOD = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))

    @pytest.mark.parametrize("length", range(len(GOOD)))
    @pytest.mark.parametrize("pack", [False, True])
    def test_cut_short(self, tmp_path, length, pack):
        path = tmp_path / ("a.gz" if pack else "a")
        path.write_bytes(gzip.compress(self.GOOD[:length]) if pack else self.GOOD[:length])
        with pytest.raises(DataError, match=str(path)):
            read_idx(path)

    @pytest.mark.parametrize("pack", [False, True])
    def test_too_long(self, tmp_path, pack):
        path = tmp_path / ("a.gz" if pack else "a")
        path.write_bytes(gzip.compress(self.GOOD + b"x") if pack else self.GOOD + b"x")
        with pytest.raises(DataError, match="but there are more"):
            read_idx(path)

    def test_damaged_gzip(self, tmp_path):
        packed = gzip.compress(self.GOOD)
        for damaged in (
            packed[:-4],
            packed[:-8] + b"\0" * 8,
            b"\x1f\x8b" + b"\0" * 20,
            packed + b"surplus",
            b"",
        ):
            (tmp_path / "a.gz").write_bytes(damaged)
            with pytest.raises(DataError):
                read_idx(tmp_path / "a.gz")

    @pytest.mark.parametrize(
        "header",
        [
            b"\0\0\x08\x03" + b"\xff" * 12,  # 2^96 bytes
            b"\0\0\x0e\x02" + struct.pack(">II", 1 << 31, 1 << 31),
            b"\0\0\x08\x01" + struct.pack(">I", 1 << 31),
            b"\0\0\x08\xff" + b"\xff" * 1020,
        ],
    )
    @pytest.mark.parametrize("pack", [False, True])
    def test_a_lying_header_allocates_nothing(self, tmp_path, header, pack):
        path = tmp_path / ("a.gz" if pack else "a")
        path.write_bytes(gzip.compress(header) if pack else header)
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match="too small for"):
                read_idx(path)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()

    def test_a_gzip_bomb_stops_at_what_its_header_says(self, tmp_path):
        content = idx_bytes(np.zeros(1000, np.uint8)) + bytes(64 << 20)
        (tmp_path / "a.gz").write_bytes(gzip.compress(content))
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match="but there are more"):
                read_idx(tmp_path / "a.gz")
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()

    @given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
    def test_any_byte_changed_is_read_or_refused(self, tmp_path_factory, place, value):
        path = tmp_path_factory.getbasetemp() / "changed"
        path.write_bytes(self.GOOD[:place] + bytes([value]) + self.GOOD[place + 1 :])
        with contextlib.suppress(DataError):
            assert read_idx(path).nbytes == 12

    @pytest.mark.parametrize("pack", [False, True])
    def test_four_files_are_a_data_set(self, tmp_path, pack):
        images = write_idx(tmp_path, pack)
        data = load(tmp_path)
        assert data.x_train.shape == (20, 1, 28, 28)
        assert data.x_train.dtype == np.float32
        np.testing.assert_allclose(data.x_train[:, 0] * 255, images, atol=1e-4)
        assert data.y_test.tolist() == [0, 1] * 5
        assert data.classes == ("0", "1")

    def test_files_that_do_not_fit_together(self, tmp_path):
        write_idx(tmp_path)
        labels = tmp_path / FILES["y_train"]
        labels.write_bytes(idx_bytes(np.zeros(19, np.uint8)))
        with pytest.raises(DataError, match=r"images \(20, 28, 28\) and labels \(19,\)"):
            idx_dataset(tmp_path)
        labels.write_bytes(idx_bytes(np.zeros(20, ">i4"), 0x0C))
        with pytest.raises(DataError, match="expected bytes"):
            idx_dataset(tmp_path)
        labels.unlink()
        with pytest.raises(FileNotFoundError, match="train-labels-idx1-ubyte"):
            load(tmp_path)
        write_idx(tmp_path)
        with pytest.raises(DataError, match="label 1, but there are 1 classes"):
            idx_dataset(tmp_path, classes=("only",))


def batch(count=6, **changes):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (count, PIXELS)).astype(np.uint8)
    return {
        b"batch_label": b"one of one",
        b"labels": [i % 10 for i in range(count)],
        b"data": data,
        **changes,
    }


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/should-never-be-there",)


class TestCIFAR10:
    def write(self, directory, protocol=2):
        for number, name in enumerate(("data_batch_1", "data_batch_2", "test_batch")):
            (directory / name).write_bytes(pickle.dumps(batch(6 + number), protocol))

    @pytest.mark.parametrize("protocol", [2, 4])
    def test_python_version(self, tmp_path, protocol):
        self.write(tmp_path, protocol)
        data = load(tmp_path)
        assert data.x_train.shape == (13, 3, 32, 32)
        assert data.classes[3] == "cat"
        np.testing.assert_allclose(data.x_test.reshape(8, -1) * 255, batch(8)[b"data"], atol=1e-4)
        assert data.y_test.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]

    def test_as_python_2_wrote_it(self, tmp_path):
        # Byte strings by SHORT_BINSTRING and BINSTRING, as in the real files.
        data = batch(1)[b"data"].tobytes()
        text = (
            b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03K\x07aU\x04dataq\x04"
            b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07"
            b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\x09"
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x0c\x00\x00" + data + b"tbu."
        )
        (tmp_path / "b").write_bytes(text)
        images, labels = read_python(tmp_path / "b")
        assert images.tobytes() == data
        assert labels.tolist() == [7]

    def test_binary_version(self, tmp_path):
        records = {}
        for name in ("data_batch_1", "test_batch"):
            made = batch(4)
            content = np.concatenate([np.array(made[b"labels"], np.uint8)[:, None], made[b"data"]], axis=1)
            records[name] = made
            (tmp_path / f"{name}.bin").write_bytes(content.tobytes())
        data = cifar10(tmp_path)
        assert data.y_train.tolist() == [0, 1, 2, 3]
        np.testing.assert_allclose(
            data.x_train.reshape(4, -1) * 255, records["data_batch_1"][b"data"], atol=1e-4
        )

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "no whole number of records"),
            (bytes(PIXELS), "no whole number of records"),
            (bytes(PIXELS + 2), "no whole number of records"),
            (b"\x0a" + bytes(PIXELS), "labels from 10 to 10"),
        ],
    )
    def test_damaged_binary(self, tmp_path, content, message):
        (tmp_path / "b").write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_binary(tmp_path / "b")

    @pytest.mark.parametrize(
        "content",
        [
            [1, 2],
            {},
            batch(labels=3) | {b"labels": None},
            {**batch(), b"labels": [0] * 5},
            {**batch(), b"labels": [0] * 5 + [10]},
            {**batch(), b"labels": [0] * 5 + ["1"]},
            {**batch(), b"data": batch()[b"data"].astype(np.int16)},
            {**batch(), b"data": batch()[b"data"][:, :-1]},
            {**batch(), b"data": np.asfortranarray(batch()[b"data"])},
            {**batch(), b"data": [1, 2]},
            {**batch(), b"extra": Evil()},
            {**batch(), b"extra": print},
        ],
    )
    def test_other_pickles(self, tmp_path, content):
        (tmp_path / "b").write_bytes(pickle.dumps(content, 2))
        with pytest.raises(DataError, match=str(tmp_path / "b")):
            read_python(tmp_path / "b")
        assert not os.path.exists("/tmp/should-never-be-there")  # noqa: PTH110

    @pytest.mark.parametrize(
        "content",
        [
            b"\x80\x02r\xff\xff\xff\x7f.",  # a memo of two thousand million entries
            b"\x80\x02N" + b"r\xff\xff\xff\x7f.",
            b"\x80\x02T\xff\xff\xff\x7fabc.",  # a string of two thousand million bytes
            b"cos\nsystem\n(S'true'\ntR.",
            b"\x80\x02cbuiltins\neval\nU\x011\x85R.",
            b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",
        ],
    )
    def test_hostile_pickles(self, tmp_path, content):
        (tmp_path / "b").write_bytes(content)
        tracemalloc.start()
        try:
            with pytest.raises(DataError):
                read_python(tmp_path / "b")
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()

    SMALL = pickle.dumps(batch(1), 2)

    @given(st.integers(0, len(SMALL) - 1), st.integers(0, 255), st.booleans())
    def test_any_damage_is_read_or_refused(self, tmp_path_factory, place, value, cut):
        path = tmp_path_factory.getbasetemp() / "damaged"
        place = place if cut else place % 150  # all but the pixels, most of the time
        path.write_bytes(self.SMALL[:place] + (b"" if cut else bytes([value]) + self.SMALL[place + 1 :]))
        try:
            images, labels = read_python(path)
            assert images.shape == (len(labels), PIXELS)
        except DataError:
            pass

    def test_too_large_a_file_is_not_even_read(self, tmp_path):
        with (tmp_path / "b").open("wb") as file:
            file.truncate(1 << 40)  # a sparse terabyte
        for read in (read_python, read_binary):
            with pytest.raises(DataError, match="more than the"):
                read(tmp_path / "b")

    def test_missing_batches(self, tmp_path):
        (tmp_path / "test_batch").write_bytes(pickle.dumps(batch(), 2))
        with pytest.raises(FileNotFoundError, match="data_batch_1"):
            load(tmp_path)


def write_folder(directory, mode="RGB", count=10, size=(40, 30)):
    rng = np.random.default_rng(0)
    for name, level in (("cats", 60), ("dogs", 200)):
        (directory / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(level - 50, level + 50, (size[1], size[0], 3)).astype(np.uint8)
            Image.fromarray(pixels).convert(mode).save(directory / name / f"{number}.png")


class TestFolder:
    def test_classes_are_folders(self, tmp_path):
        write_folder(tmp_path)
        (tmp_path / "notes.txt").write_text("not a picture")
        (tmp_path / "empty").mkdir()
        data = load(tmp_path, size=16)
        assert data.classes == ("cats", "dogs")
        assert data.image_shape == (3, 16, 16)
        assert (len(data.y_train), len(data.y_test)) == (16, 4)
        means = data.x_train.mean(axis=(1, 2, 3))
        assert means[data.y_train == 0].max() < means[data.y_train == 1].min()
        assert 0 <= data.x_train.min() < data.x_train.max() <= 1

    def test_grey_where_all_are(self, tmp_path):
        write_folder(tmp_path, "L")
        assert folder(tmp_path, size=8).image_shape == (1, 8, 8)

    def test_seed_draws_the_split(self, tmp_path):
        write_folder(tmp_path)
        first, again, other = (folder(tmp_path, size=8, seed=seed) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first.x_test, again.x_test)
        assert not np.array_equal(first.x_test, other.x_test)

    def test_halves_given(self, tmp_path):
        write_folder(tmp_path / "train", count=4)
        write_folder(tmp_path / "test", count=2)
        data = load(tmp_path, size=8)
        assert (len(data.y_train), len(data.y_test)) == (8, 4)
        (tmp_path / "test" / "dogs").rename(tmp_path / "test" / "wolves")
        with pytest.raises(DataError, match=r"train has \['cats', 'dogs'\], test \['cats', 'wolves'\]"):
            load(tmp_path, size=8)

    def test_one_class_is_none(self, tmp_path):
        write_folder(tmp_path)
        (tmp_path / "dogs").rename(tmp_path / "dogs.txt")
        for picture in (tmp_path / "dogs.txt").iterdir():
            picture.unlink()
        with pytest.raises(DataError, match=r"at least two folders with pictures.*found \['cats'\]"):
            load(tmp_path)

    @pytest.mark.parametrize("damage", [lambda b: b[:200], lambda b: b"", lambda b: b"GIF89a" + b[:50]])
    def test_a_damaged_picture_is_named(self, tmp_path, damage):
        write_folder(tmp_path)
        path = tmp_path / "cats" / "3.png"
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(DataError, match=r"3\.png: not a picture that can be read"):
            load(tmp_path)

    @pytest.mark.parametrize(
        ("size", "message"),
        [((10_000, 6_000), "10000x6000 pixels, more than"), ((20_000, 20_000), "decompression bomb")],
    )
    def test_a_picture_that_would_unpack_to_too_much(self, tmp_path, size, message):
        Image.new("1", size).save(tmp_path / "bomb.png")
        assert (tmp_path / "bomb.png").stat().st_size < 100_000
        for read in (open_picture, lambda path: read_picture(path, "L", (8, 8))):
            with pytest.raises(DataError, match=message):
                read(tmp_path / "bomb.png")

    def test_nothing_known(self, tmp_path):
        with pytest.raises(DataError, match="neither IDX files"):
            load(tmp_path)
        with pytest.raises(ValueError, match="no data 'nowhere': expected a directory, or one of digits, "):
            load("nowhere")


def serve_mnist(served, monkeypatch):
    root, url = served
    write_idx(root, pack=True)
    files = {path.name: "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() for path in root.iterdir()}
    monkeypatch.setitem(SOURCES, "mnist", Source(url, files))
    return root


class TestDownload:
    @pytest.fixture(autouse=True)
    def pooch(self):
        return pytest.importorskip("pooch")

    def test_is_fetched_once_and_read(self, served, tmp_path, monkeypatch):
        root = serve_mnist(served, monkeypatch)
        directory = fetch("mnist", tmp_path / "cache")
        assert idx_dataset(directory).x_train.shape == (20, 1, 28, 28)
        for path in root.iterdir():
            path.unlink()
        assert fetch("mnist", tmp_path / "cache") == directory

    def test_a_wrong_checksum_is_refused(self, served, tmp_path, monkeypatch):
        root = serve_mnist(served, monkeypatch)
        path = root / "t10k-images-idx3-ubyte.gz"
        path.write_bytes(path.read_bytes() + b"x")
        with pytest.raises(ValueError, match=r"(?s)hash.*t10k-images"):
            fetch("mnist", tmp_path / "cache")

    def test_an_archive_is_unpacked(self, served, tmp_path, monkeypatch):
        root, url = served
        made = batch(4)
        content = np.concatenate(
            [np.array(made[b"labels"], np.uint8)[:, None], made[b"data"]], axis=1
        ).tobytes()
        with tarfile.open(root / "cifar.tar.gz", "w:gz") as archive:
            for name in ("data_batch_1.bin", "test_batch.bin"):
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        checksum = "md5:" + hashlib.md5((root / "cifar.tar.gz").read_bytes()).hexdigest()
        monkeypatch.setitem(SOURCES, "cifar10", Source(url, {"cifar.tar.gz": checksum}))
        assert cifar10(fetch("cifar10", tmp_path / "cache")).y_test.tolist() == [0, 1, 2, 3]

    def test_every_source_has_checksums(self):
        for source in SOURCES.values():
            for checksum in source.files.values():
                algorithm, _, digits = checksum.partition(":")
                assert len(digits) == {"md5": 32, "sha256": 64}[algorithm]
                int(digits, 16)
