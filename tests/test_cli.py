"""The ``convnet`` command: what goes where, and with which exit status."""

import json
import os
import pickle
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

import convnet
from convnet import cli
from convnet.optim import Adam
from test_loaders import batch, serve_mnist, write_folder, write_idx


def run(*arguments: str, before: str = "pass") -> subprocess.CompletedProcess:
    """The command in a process of its own, after the statements in ``before``."""
    program = f"import sys; {before}; from convnet.cli import main; sys.exit(main({list(arguments)!r}))"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["nonsense"],
            ["compare", "--seeds", "0"],
            ["compare", "--epochs", "-1"],
            ["compare", "--threads", "two"],
            ["compare", "--backend", "gpu"],
            ["compare", "--models", "mlp,,cnn"],
            ["train", "--epochs", "0"],
            ["evaluate"],
            ["predict", "model.npz"],
            ["filter"],
            ["xo", "--seed", "1.5"],
            ["info", "surplus"],
        ],
    )
    def test_wrong_usage_is_status_2(self, arguments, capsys):
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        assert end.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("usage: convnet")

    @pytest.mark.parametrize("command", ["compare", "train", "evaluate", "predict", "filter", "xo", "info"])
    def test_help_has_examples(self, command, capsys):
        with pytest.raises(SystemExit) as end:
            cli.main([command, "--help"])
        assert end.value.code == 0
        out, _ = capsys.readouterr()
        assert f"  convnet {command}" in out.partition("examples:")[2]
        assert "--json" in out

    def test_a_number_is_told_from_a_wrong_one(self, capsys):
        with pytest.raises(SystemExit):
            cli.main(["compare", "--seeds", "0"])
        assert "argument --seeds: expected a whole number from 1, got '0'" in capsys.readouterr().err


class TestImports:
    def test_the_command_line_itself_imports_nothing_heavy(self):
        heavy = sorted(cli.EXTRAS | cli.SOMETIMES | {"convnet.compare", "convnet.data", "convnet.xo"})
        loaded = f"import convnet.cli, sys; print([name for name in {heavy!r} if name in sys.modules])"
        result = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
        assert result.stdout == "[]\n"

    @pytest.mark.parametrize("package", sorted(cli.EXTRAS))
    def test_missing_extra_is_one_line(self, package, tmp_path):
        result = run(
            *("compare", "--quick", "--out", str(tmp_path / "out")), before=f"sys.modules[{package!r}] = None"
        )
        assert result.returncode == 1
        assert result.stdout == ""
        assert result.stderr == f'convnet: compare needs {package}: pip install "convnet[compare]"\n'

    def test_info_and_xo_need_no_extra(self):
        missing = sorted(cli.EXTRAS | cli.SOMETIMES)
        before = "; ".join(f"sys.modules[{name!r}] = None" for name in missing)
        for command in ("info", "xo"):
            result = run(command, before=before)
            assert (result.returncode, result.stderr) == (0, "")


class TestInfo:
    def test_as_a_module(self):
        command = [sys.executable, "-m", "convnet", "info", "--json"]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        facts = json.loads(result.stdout)
        assert facts["version"] == convnet.__version__
        assert facts["isa"] in facts["isas"]

    def test_lists_the_same_facts_as_text(self, capsys):
        assert cli.main(["info", "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert cli.main(["info"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == list(facts)
        assert any(line.split() == ["threads", str(convnet.get_num_threads())] for line in lines)


class TestXo:
    def test_json(self, capsys):
        assert cli.main(["xo", "--json"]) == 0
        results = json.loads(capsys.readouterr().out)
        assert results["worked_example"]["scores"] == pytest.approx([0.912, 0.5175], abs=1e-12)
        assert results["worked_example"]["answer"] == results["trained"]["answer"] == "X"

    def test_text_ends_with_the_trained_network(self, capsys):
        assert cli.main(["xo"]) == 0
        out, err = capsys.readouterr()
        assert "= 0.912\n" in out
        assert "= 0.5175\n" in out
        assert out.index("= 0.5175") < out.index("THE SAME NETWORK, TRAINED")
        assert err == ""


TINY = (
    "compare",
    "--data",
    "xo",
    "--limit",
    "40",
    "--seeds",
    "1",
    "--epochs",
    "1",
    "--models",
    "mlp-parameters,cnn",
)


class TestCompare:
    def test_json_is_all_there_is_on_standard_output(self, tmp_path):
        result = run(*TINY, "--experiments", "growth,learning", "--json", "--out", str(tmp_path))
        assert (result.returncode, result.stderr) == (0, "")
        printed = json.loads(result.stdout)
        assert printed == json.loads((tmp_path / "results.json").read_text())
        assert printed["settings"]["data"] == "xo"
        assert printed["settings"]["models"] == ["mlp-parameters", "cnn"]
        assert printed["settings"]["recipe"]["epochs"] == 1
        assert [claim["id"] for claim in printed["claims"]] == [1, 2]
        assert (tmp_path / "report.html").stat().st_size > 50_000

    def test_tables_fit_a_terminal(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        assert cli.main([*TINY, "--experiments", "learning,shuffle,growth", "--out", str(tmp_path)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        lines = out.splitlines()
        assert max(map(len, lines[:-1])) <= 80
        assert "3 claims, measured on drawn X and O" in lines
        assert any(line.strip().startswith("LeNet-5") for line in lines)
        assert any("1. Flattening" in line and "✓ holds" in line for line in lines)
        assert str(tmp_path / "report.html") in lines[-1]

    def test_the_same_command_goes_on_from_finished_trainings(self, tmp_path, capsys, monkeypatch):
        command = [*TINY, "--experiments", "learning,shuffle", "--out", str(tmp_path), "--json"]
        assert cli.main(command) == 0
        first = json.loads(capsys.readouterr().out)
        monkeypatch.setattr("convnet.compare.study.fit", None)  # would fail, if it were called
        assert cli.main(command) == 0
        again = json.loads(capsys.readouterr().out)
        assert again["trainings"] == first["trainings"]
        assert again["claims"] == first["claims"]

    def test_quick_is_fewer_seeds_and_epochs_unless_said_otherwise(self, tmp_path, monkeypatch):
        asked = []

        def note(settings, **_):
            asked.append((len(settings.seeds), settings.recipe.epochs))
            raise KeyboardInterrupt

        monkeypatch.setattr("convnet.compare.run.compare", note)
        for arguments in ([], ["--quick"], ["--quick", "--seeds", "4"], ["--epochs", "7"]):
            assert cli.main(["compare", "--out", str(tmp_path), *arguments]) == 130
        assert asked == [(5, 20), (1, 5), (4, 5), (5, 7)]

    def test_ctrl_c_writes_what_is_finished_and_says_so(self, tmp_path, monkeypatch, capsys):
        @contextmanager
        def interrupting_progress():
            done = []

            def advance(what, share):
                done.append(share)
                if len(done) == 3:
                    signal.raise_signal(signal.SIGINT)

            yield advance

        monkeypatch.setattr(cli, "_progress", interrupting_progress)
        assert cli.main([*TINY, "--experiments", "learning,shuffle", "--out", str(tmp_path)]) == 130
        out, err = capsys.readouterr()
        assert (
            err == f"convnet: interrupted; what was finished is in {tmp_path}, and the same command goes on\n"
        )
        assert "LeNet-5" in out
        assert "claims, measured" not in out
        assert json.loads((tmp_path / "results.json").read_text())["finished"] is False
        assert "This run was interrupted" in (tmp_path / "report.html").read_text()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--data", "nowhere"], "no data 'nowhere': expected a directory, or one of digits, "),
            (["--models", "vgg"], "no model 'vgg'; expected one of mlp, "),
            (["--models", "vgg.py:build"], "no model file 'vgg.py'"),
            (["--experiments", "luck"], "no experiment 'luck'; expected one of growth, "),
        ],
    )
    def test_what_there_is_not_is_told_in_one_line(self, tmp_path, capsys, arguments, message):
        assert cli.main([*TINY, *arguments, "--out", str(tmp_path)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"convnet: {message}")
        assert err.count("\n") == 1

    def test_a_place_that_cannot_be_written_is_status_1_at_once(self, tmp_path, capsys):
        taken = tmp_path / "file"
        taken.write_text("")
        assert cli.main(["compare", "--out", str(taken)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("convnet: ")
        assert str(taken) in err


def compared(capsys, tmp_path, data, *arguments):
    status = cli.main(
        [
            *(
                "compare",
                "--data",
                str(data),
                "--seeds",
                "1",
                "--epochs",
                "2",
                "--json",
                "--out",
                str(tmp_path / "out"),
            ),
            *("--models", "mlp-parameters,cnn", "--experiments", "learning,shuffle", *arguments),
        ]
    )
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else None, err


class TestOwnData:
    @pytest.mark.parametrize("pack", [False, True])
    def test_idx(self, tmp_path, capsys, pack):
        write_idx(tmp_path / "data", pack, train=64)
        status, results, _ = compared(capsys, tmp_path, tmp_path / "data")
        assert status == 0
        assert results["data"]["image_shape"] == [1, 28, 28]
        assert [claim["id"] for claim in results["claims"]] == [3]

    @pytest.mark.parametrize("version", ["python", "binary"])
    def test_cifar10(self, tmp_path, capsys, version):
        (tmp_path / "data").mkdir()
        for name in ("data_batch_1", "test_batch"):
            made = batch(20)
            content = np.concatenate([np.array(made[b"labels"], np.uint8)[:, None], made[b"data"]], axis=1)
            if version == "python":
                (tmp_path / "data" / name).write_bytes(pickle.dumps(made, 2))
            else:
                (tmp_path / "data" / f"{name}.bin").write_bytes(content.tobytes())
        status, results, _ = compared(capsys, tmp_path, tmp_path / "data")
        assert status == 0
        assert results["data"]["image_shape"] == [3, 32, 32]
        assert results["models"]["cnn"]["title"] == "LeNet-5"

    def test_class_folders(self, tmp_path, capsys):
        write_folder(tmp_path / "data")
        status, results, _ = compared(capsys, tmp_path, tmp_path / "data", "--size", "20")
        assert status == 0
        assert results["data"]["image_shape"] == [3, 20, 20]
        assert results["data"]["classes"] == ["cats", "dogs"]

    def test_download(self, tmp_path, capsys, served, monkeypatch):
        pooch = pytest.importorskip("pooch")
        serve_mnist(served, monkeypatch)
        monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
        status, results, _ = compared(capsys, tmp_path, "mnist")
        assert status == 0
        assert results["data"]["title"] == "MNIST"

    def test_damaged_data_is_one_line(self, tmp_path, capsys):
        write_idx(tmp_path / "data")
        path = tmp_path / "data" / "train-images-idx3-ubyte"
        path.write_bytes(path.read_bytes()[:-1])
        status, results, err = compared(capsys, tmp_path, tmp_path / "data")
        assert (status, results) == (1, None)
        assert err.startswith(f"convnet: {path}: the header says (20, 28, 28)")
        assert err.count("\n") == 1


class TestTrainEvaluatePredict:
    @pytest.fixture
    def saved(self, tmp_path, capsys):
        write_idx(tmp_path / "data", train=96)
        self.data = ("--data", str(tmp_path / "data"))
        command = [
            "train",
            *self.data,
            "--model",
            "mlp",
            "--epochs",
            "3",
            "--out",
            str(tmp_path / "m.npz"),
            "--json",
        ]
        assert cli.main(command) == 0
        out, err = capsys.readouterr()
        assert [line.split()[1] for line in err.splitlines()] == ["1/3", "2/3", "3/3"]
        return json.loads(out)

    def test_what_is_trained_can_be_evaluated(self, saved, tmp_path, capsys):
        assert (saved["model"], saved["epochs"], saved["accuracy"]) == ("mlp", 3, 1.0)
        assert cli.main(["evaluate", saved["file"], *self.data, "--json"]) == 0
        results = json.loads(capsys.readouterr().out)
        assert (results["images"], results["accuracy"], results["classes"]) == (10, 1.0, {"0": 1.0, "1": 1.0})
        assert cli.main(["evaluate", saved["file"], *self.data]) == 0
        assert "100.0% of 10 held-out images right" in capsys.readouterr().out

    def test_and_sees_what_is_in_pictures(self, saved, tmp_path, capsys):
        pixels = np.full((2, 28, 28), 20, np.uint8)
        pixels[0, 4:12, 4:12] = pixels[1, 4:12, 16:24] = 255
        paths = [str(tmp_path / f"{number}.png") for number in range(2)]
        for path, image in zip(paths, pixels, strict=True):
            Image.fromarray(image).save(path)
        assert cli.main(["predict", saved["file"], *paths, *self.data, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [(one["image"], one["class"]) for one in found] == list(zip(paths, "01", strict=True))
        assert all(one["probability"] > 0.5 for one in found)
        Image.fromarray(255 - pixels[1]).save(paths[1])
        assert cli.main(["predict", saved["file"], paths[1], "--invert", *self.data]) == 0
        assert capsys.readouterr().out.startswith(f"{paths[1]}: 1 (")

    def test_one_seed_one_file(self, saved, tmp_path, capsys):
        other = tmp_path / "again.npz"
        assert cli.main(["train", *self.data, "--model", "mlp", "--epochs", "3", "--out", str(other)]) == 0
        first, again = (convnet.load(path) for path in (saved["file"], other))
        for name, array in first.params.items():
            np.testing.assert_array_equal(array, again.params[name])

    @pytest.mark.parametrize(
        ("name", "layer"), [("cnn", "Conv2d"), ("lenet5", "Conv2d"), ("mlp-linear", "Flatten")]
    )
    def test_models_by_name(self, tmp_path, capsys, name, layer):
        out = tmp_path / "m.npz"
        assert (
            cli.main(
                [
                    "train",
                    "--data",
                    "xo",
                    "--limit",
                    "32",
                    "--model",
                    name,
                    "--epochs",
                    "1",
                    "--out",
                    str(out),
                ]
            )
            == 0
        )
        assert type(convnet.load(out)[0]).__name__ == layer

    def test_ctrl_c_keeps_what_was_learned(self, tmp_path, capsys, monkeypatch):
        def interrupted(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr("convnet.training.fit", interrupted)
        out = tmp_path / "m.npz"
        assert cli.main(["train", "--data", "xo", "--model", "mlp", "--out", str(out)]) == 130
        assert capsys.readouterr().err == "convnet: interrupted; what was learned is saved\n"
        assert convnet.load(out).parameter_count() == 25_186

    def test_an_interrupted_training_goes_on(self, tmp_path, capsys, monkeypatch):
        """By the same command, to the weights of one that was never interrupted."""
        out, again, run = (tmp_path / name for name in ("m.npz", "again.npz", "new/run"))
        command = ["train", "--data", "xo", "--limit", "96", "--model", "cnn", "--epochs", "4", "--seed", "2"]
        assert cli.main([*command, "--out", str(out)]) == 0
        lines = capsys.readouterr().err.splitlines()
        keep = [*command, "--checkpoint", str(run), "--out", str(again)]
        steps = []

        def step(optimizer, kept=Adam.step):
            steps.append(optimizer)
            kept(optimizer)
            if len(steps) == 7:  # the first of the third epoch
                os.kill(os.getpid(), signal.SIGINT)

        with monkeypatch.context() as patch:
            patch.setattr(Adam, "step", step)
            assert cli.main(keep) == 130
        told = capsys.readouterr().err.splitlines()
        assert told == [
            *lines[:2],
            "convnet: interrupted; what was learned is saved, and the same command goes on",
        ]
        assert cli.main(keep) == 0
        assert capsys.readouterr().err.splitlines() == lines
        first, second = convnet.load(out), convnet.load(again)
        for name, array in first.params.items():
            np.testing.assert_array_equal(array, second.params[name])

        assert cli.main([*keep, "--json"]) == 0  # finished: read, and not run again
        assert json.loads(capsys.readouterr().out)["epochs"] == 4
        for other, told in (("--seed", "another x"), ("--epochs", "another lr")):
            assert cli.main([*keep, other, "7"]) == 1
            assert told in capsys.readouterr().err

    def test_a_model_for_other_images(self, saved, capsys):
        assert cli.main(["evaluate", saved["file"], "--data", "digits8"]) == 1
        assert capsys.readouterr().err.startswith("convnet: ")
        assert cli.main(["evaluate", saved["file"], "--data", "digits"]) == 1
        assert "puts out (2,) for images (1, 28, 28); the data has 10 classes" in capsys.readouterr().err

    def test_a_damaged_model(self, saved, tmp_path, capsys):
        path = tmp_path / "m.npz"
        path.write_bytes(path.read_bytes()[:-1])
        assert cli.main(["evaluate", str(path), *self.data]) == 1
        assert capsys.readouterr().err.startswith(f"convnet: {path}")
        assert cli.main(["evaluate", str(tmp_path / "none.npz"), *self.data]) == 1


class TestFilter:
    def picture(self, tmp_path, array, name="p.png"):
        Image.fromarray(array).save(tmp_path / name)
        return str(tmp_path / name)

    def test_sobel_of_grey(self, tmp_path, capsys):
        step = np.zeros((8, 10), np.uint8)
        step[:, 5:] = 50
        path = self.picture(tmp_path, step)
        assert cli.main(["filter", path, "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["file"] == str(tmp_path / "p-sobel.png")
        assert (facts["shape"], facts["bits"], facts["largest"]) == ([8, 10], 8, 200)
        saved = np.asarray(Image.open(facts["file"]))
        assert saved[3].tolist() == [0, 0, 0, 0, 200, 200, 0, 0, 0, 0]

    @pytest.mark.parametrize(
        ("dtype", "shape", "bits"), [("u1", (6, 7), 8), ("u2", (6, 7), 16), ("u1", (6, 7, 3), 8)]
    )
    def test_depth_and_colours_stay(self, tmp_path, capsys, dtype, shape, bits):
        array = np.random.default_rng(0).integers(0, 1 << bits, shape).astype(dtype)
        path, out = self.picture(tmp_path, array), tmp_path / "o.png"
        assert cli.main(["filter", path, "--kernel", "0 0 0; 0 1 0; 0 0 0", "--out", str(out), "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["shape"], facts["bits"]) == (list(shape), bits)
        np.testing.assert_array_equal(np.asarray(Image.open(out)), array)

    def test_grey_and_stretch(self, tmp_path, capsys):
        array = np.zeros((4, 4, 3), np.uint8)
        array[:2] = (0, 100, 0)
        path = self.picture(tmp_path, array)
        assert cli.main(["filter", path, "--grey", "--kernel", "box", "--stretch"]) == 0
        saved = np.asarray(Image.open(tmp_path / "p-box.png"))
        assert saved.shape == (4, 4)
        assert (saved[0, 0], saved[3, 3]) == (255, 0)
        assert "4x4 pixels, 8 bits" in capsys.readouterr().out

    @pytest.mark.parametrize("kernel", ["sobol", "1 2; 3", "1 2"])
    def test_a_kernel_that_is_none(self, tmp_path, capsys, kernel):
        path = self.picture(tmp_path, np.zeros((4, 4), np.uint8))
        assert cli.main(["filter", path, "--kernel", kernel]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert "kernel" in err

    def test_a_picture_that_is_none(self, tmp_path, capsys):
        (tmp_path / "p.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
        assert cli.main(["filter", str(tmp_path / "p.png")]) == 1
        assert "not a picture that can be read" in capsys.readouterr().err
        assert cli.main(["filter", str(tmp_path / "none.png")]) == 1
        assert "none.png" in capsys.readouterr().err
