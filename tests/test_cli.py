"""The ``convnet`` command: what goes where, and with which exit status."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

import convnet
from convnet import cli


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

    @pytest.mark.parametrize("command", ["compare", "xo", "info"])
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
        heavy = sorted(cli.EXTRAS | {"convnet.compare", "convnet.data", "convnet.xo"})
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
        before = "; ".join(f"sys.modules[{name!r}] = None" for name in sorted(cli.EXTRAS))
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


TINY = ("compare", "--seeds", "1", "--epochs", "1")


class TestCompare:
    def test_json_is_all_there_is_on_standard_output(self, tmp_path):
        result = run(*TINY, "--json", "--out", str(tmp_path))
        assert (result.returncode, result.stderr) == (0, "")
        printed = json.loads(result.stdout)
        assert printed == json.loads((tmp_path / "results.json").read_text())
        assert printed["settings"]["seeds"] == [0]
        assert printed["settings"]["recipe"]["epochs"] == 1
        assert (tmp_path / "report.html").stat().st_size > 50_000

    def test_table_shows_models_side_by_side(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        assert cli.main([*TINY, "--out", str(tmp_path)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        lines = out.splitlines()
        assert max(map(len, lines[:-1])) <= 80
        lenet = next(line for line in lines if line.split()[:1] == ["LeNet-5"])
        assert "61,706" in lenet
        assert "416,520" in lenet
        moved = next(line for line in lines if "Moved by" in line)
        assert moved.index("MLP 784-32-10") < moved.index("LeNet-5")
        assert [line.split()[0] for line in lines if " px " in line] == [*"012345", *"012"]
        assert str(tmp_path / "report.html") in lines[-1]

    def test_quick_is_fewer_seeds_and_epochs_unless_said_otherwise(self, tmp_path, monkeypatch):
        asked = []

        def note(settings, advance):
            asked.append((len(settings.seeds), settings.recipe.epochs))
            raise KeyboardInterrupt

        monkeypatch.setattr("convnet.compare.run.compare", note)
        for arguments in ([], ["--quick"], ["--quick", "--seeds", "4"], ["--epochs", "7"]):
            assert cli.main(["compare", "--out", str(tmp_path), *arguments]) == 130
        assert asked == [(5, 30), (2, 10), (4, 10), (5, 7)]

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
        assert cli.main([*TINY, "--out", str(tmp_path)]) == 130
        out, err = capsys.readouterr()
        assert err == f"convnet: interrupted; what was finished is in {tmp_path}\n"
        assert "MLP 784-78-10" in out
        assert "Moved by" not in out
        assert json.loads((tmp_path / "results.json").read_text())["finished"] is False
        assert "This run was interrupted" in (tmp_path / "report.html").read_text()

    def test_a_place_that_cannot_be_written_is_status_1_at_once(self, tmp_path, capsys):
        taken = tmp_path / "file"
        taken.write_text("")
        assert cli.main(["compare", "--out", str(taken)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("convnet: ")
        assert str(taken) in err
