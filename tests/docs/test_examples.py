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


def test_quantile_band(tmp_path):
    text = run("own/quantile_band.py", tmp_path)
    assert number(r"at most ([\d.e+-]+) off finite differences", text) < 1e-4
    assert 40 < number(r"(\d+) % of the rows lie inside", text) < 60
    assert number(r"its curves cross at (\d+) of", text) == 0
    assert number(r"those of two networks at (\d+)", text) > 0


def test_lion(tmp_path):
    text = run("own/lion.py", tmp_path)
    assert number(r"AdamW +accuracy ([\d.]+)", text) > 0.95
    assert number(r"Lion +accuracy ([\d.]+)", text) > 0.95


def test_physics(tmp_path):
    text = run("own/physics.py", tmp_path)
    assert number(r"largest distance from the solution: ([\d.e+-]+)", text) < 0.01


def test_policy_and_value(tmp_path):
    text = run("own/policy_and_value.py", tmp_path)
    assert number(r"after  30 updates the last 100 poles stood for +(\d+)", text) < 200
    assert number(r"after 150 updates the last 100 poles stood for +(\d+)", text) > 350


def test_model_search(tmp_path):
    text = run("model_search.py", tmp_path)
    assert number(r"new rows: ([\d.]+)", text) > 0.95
    assert number(r"(\d+) % of the full grid", text) < 40
    assert number(r"halving gave up ([\d.]+)", text) < 0.005
