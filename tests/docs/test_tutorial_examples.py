"""The tutorial: each script runs and draws; each idea has its row, and each row a command that works."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fastbp import cli

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "examples" / "tutorial").glob("*.py"))
PAGE = (ROOT / "docs" / "tutorial" / "seeds.rst").read_text(encoding="utf-8")
ROWS = re.findall(r"^   \* - (\d+)\n((?:     .*\n|\n)+)", PAGE, re.MULTILINE)
COMMANDS = sorted(
    set(re.findall(r"``((?:python|fastbp) [^`]+)``", PAGE)) | {"fastbp explain", "fastbp train diabetes"}
)


def run(*command, cwd):
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONWARNINGS": "error"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_saves_its_picture(script, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    done = run(sys.executable, "-W", "error", str(script), str(tmp_path / "picture.png"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.strip()
    picture = image.imread(tmp_path / "picture.png")
    assert picture.shape[0] >= 300
    assert picture.shape[1] >= 500
    assert picture.std() > 0.05  # not a blank page
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_uses_public_names_only(script):
    text = script.read_text(encoding="utf-8")
    assert "\nimport fastbp as fb\n" in text
    assert not re.search(r"from fastbp|import fastbp\.|\bfb\.\w*\._|\bfb\._", text)
    assert len(text.splitlines()) <= 120


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_is_a_page_of_the_gallery(script):
    """sphinx-gallery takes title and introduction from the docstring."""
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[0] in ('"""', 'r"""')
    assert set(lines[2]) == {"="}
    assert len(lines[2]) >= len(lines[1])


def test_every_idea_has_a_row():
    assert [int(number) for number, _ in ROWS] == list(range(1, 19))
    for number, text in ROWS:
        assert re.search(r"``(python|fastbp) [^`]+``", text), f"row {number} has no command"


def test_every_page_is_a_script():
    pages = re.findall(r"sphx_glr_gallery_tutorial_(\w+)\.py", PAGE)
    assert set(pages) <= {script.stem for script in SCRIPTS}
    assert len(pages) == 18


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python")])
def test_every_script_of_the_table_exists(command):
    python, script, *rest = shlex.split(command)
    assert (ROOT / script).is_file()
    assert not rest


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("fastbp explain")])
def test_every_explanation_of_the_table_works(command, capsys):
    assert cli.main(shlex.split(command)[1:]) == 0
    output = capsys.readouterr().out
    assert "the same numbers" in output


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("fastbp train")])
def test_every_training_of_the_table_works(command, tmp_path):
    done = run(sys.executable, "-m", *shlex.split(command), "--epochs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("*.safetensors"))


def test_two_edges_add_up(capsys):
    """The row of the example with Y2 and Y3: one hidden unit feels both outputs."""
    cli.main(["explain", "--sizes", "1,1,2", "--activation", "identity", "--seed", "0"])
    text = capsys.readouterr().out
    (line,) = (line for line in text.splitlines() if line.strip().startswith("delta(1) = (") and "*" in line)
    assert line.count("*") == 3  # two edges and f'
