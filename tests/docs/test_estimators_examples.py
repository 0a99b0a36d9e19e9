"""The programs in examples/dropin print the same with our estimators and with scikit-learn's."""

import contextlib
import io
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "examples" / "dropin").glob("*.py"))
OURS, THEIRS = "from fastbp import MLP", "from sklearn.neural_network import MLP"


def output(source, name, monkeypatch):
    """Return what a program prints; its picture goes to no window."""
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(sys, "argv", [name])
    monkeypatch.setattr(plt, "show", lambda: None)
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        exec(compile(source, name, "exec"), {"__name__": "__main__"})
    plt.close("all")
    return text.getvalue()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_same_scores_with_either_import(script, monkeypatch):
    source = script.read_text(encoding="utf-8")
    assert source.count(OURS) == 1 and source.count("fastbp") == 1
    ours = output(source, script.name, monkeypatch)
    theirs = output(source.replace(OURS, THEIRS), script.name, monkeypatch)
    assert ours == theirs
    assert len(ours.splitlines()) >= 5


def test_there_are_examples():
    assert len(SCRIPTS) >= 2
