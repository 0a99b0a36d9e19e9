"""The examples run, and find what they claim."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name, folder):
    """Run an example, its picture written to `folder`; return what it prints."""
    picture = folder / "picture.png"
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), str(picture)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 10_000
    return done.stdout


def number(pattern, text):
    """The number in the group of the pattern."""
    match = re.search(pattern, text)
    assert match, text
    return float(match.group(1))


def test_surrogate_ode(tmp_path):
    text = run("surrogate_ode.py", tmp_path)
    assert number(r"other points: ([\d.]+) % of the field", text) < 3
    assert number(r"([\d.]+) apart", text) < 0.5


def test_cartpole(tmp_path):
    text = run("cartpole.py", tmp_path)
    assert number(r"tries 800 to 999: the pole stood for +([\d.]+)", text) > 450
    assert number(r"it stands for (\d+) of 2000", text) == 2000


def test_tabular_regression(tmp_path):
    text = run("tabular_regression.py", tmp_path)
    assert number(r"R2 ([\d.]+)", text) > 0.9
    assert "after the interruption: the same weights" in text
    assert "equal predictions: True" in text
    if "onnxruntime differs" in text:
        assert number(r"differs by at most ([\d.e+-]+)", text) < 1e-5
