"""The command line as a user meets it: in a process of its own, in a folder of its own."""

import subprocess
import sys

import pytest

from fastbp import cli
from tests.cli.tables import export


@pytest.fixture
def run(tmp_path):
    """Run a command in an empty folder; returns the finished process."""

    def start(*arguments, code=0, **options):
        options = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "stdin": subprocess.DEVNULL,
            **options,
        }
        done = subprocess.run(
            [sys.executable, "-m", "fastbp", *map(str, arguments)], text=True, cwd=tmp_path, **options
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in (done.stderr or "")
        return done

    return start


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """The same in this process, which saves loading everything anew; returns standard output."""
    monkeypatch.chdir(tmp_path)

    def start(*arguments):
        assert cli.main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    return start


@pytest.fixture
def fails(run, tmp_path):
    """Run a command that must end with exit code 1, one line on stderr with these parts, and nothing written."""

    def check(*arguments, parts):
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        done = run(*arguments, code=1)
        line = done.stderr.removesuffix("\n")
        assert line.startswith("fastbp: error: ") and "\n" not in line
        for part in parts:
            assert part in line
        assert done.stdout == ""
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
        return line

    return check


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Files made once: iris as a CSV file with text labels, and a model of it."""
    folder = tmp_path_factory.mktemp("models")
    export("iris", folder / "iris.csv", "species")
    command = [sys.executable, "-m", "fastbp", "train", "iris.csv", "--json", "--target", "species"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "report.json").write_text(done.stdout)
    return folder
