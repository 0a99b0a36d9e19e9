"""What the pictures share: axes, styles, colors, matplotlib only if it is needed."""

import subprocess
import sys
import types

import numpy as np
import pytest

from fastbp import plot
from fastbp.plot import _style
from tests.plot.doubles import Net, assert_nothing_clipped

plt = pytest.importorskip("matplotlib.pyplot")

SEARCH = types.SimpleNamespace(
    best_index_=1,
    cv_results_={
        "params": [{"alpha": 0.1, "size": 4}, {"alpha": 1.0, "size": 4}, {"alpha": 1.0, "size": 8}],
        "mean_test_score": [0.8, 0.9, np.nan],
        "std_test_score": [0.1, 0.0, np.nan],
        "epochs": [4, 12, 4],
    },
)


def test_import_does_not_load_matplotlib():
    code = "import fastbp.plot, sys; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def calls():
    data = np.array([[0.0, 0.0], [1.0, 0.5], [0.2, 1.0], [1.0, 1.0]])
    line, flat = Net([2, 1], ["sigmoid"]), Net([2, 3, 1], ["tanh", "identity"])
    return {
        "descent_path 1": lambda ax: plot.descent_path(np.square, [2.0, 1.0, 0.5], ax=ax),
        "descent_path 2": lambda ax: plot.descent_path(lambda x: x @ x, [[2.0, 1.0], [1.0, 0.5]], ax=ax),
        "loss_curve": lambda ax: plot.loss_curve({"loss": [2, 1, 0.01], "val_loss": [2, 1, 1.5]}, ax=ax),
        "loss_surface": lambda ax: plot.loss_surface(flat, data, data[:, :1], resolution=5, ax=ax),
        "decision_boundary": lambda ax: plot.decision_boundary(line, data, [0, 1, 1, 0], resolution=9, ax=ax),
        "network": lambda ax: plot.network(flat, [0.3, -0.4], ax=ax),
        "search": lambda ax: plot.search(SEARCH, ax=ax),
        "search epochs": lambda ax: plot.search(SEARCH, show="epochs", ax=ax),
    }


@pytest.mark.parametrize("name", calls())
def test_axes_are_returned_and_nothing_is_clipped(name):
    ax = calls()[name](None)
    assert ax.figure.get_layout_engine() is not None
    assert_nothing_clipped(ax)
    _, mine = plt.subplots()
    assert calls()[name](mine) is mine
    mine.figure.canvas.draw()


@pytest.mark.parametrize("name", calls())
def test_axes_of_another_kind_are_refused(name):
    _, grid = plt.subplots(1, 2)
    with pytest.raises(TypeError, match=r"ax must be a matplotlib Axes.*take one of its elements"):
        calls()[name](grid)
    solid = plt.figure().add_subplot(projection="3d")
    with pytest.raises(ValueError, match="two dimensions"):
        calls()[name](solid)


@pytest.mark.parametrize("name", calls())
def test_dark_style(name):
    with plt.style.context("dark_background"):
        calls()[name](None).figure.canvas.draw()


def test_colors_differ_in_gray():
    gray = np.array([_style.luminance(color) ** (1 / 2.2) for color in _style.COLORS])
    assert np.abs(np.diff(gray)).min() > 0.1
    assert abs(_style.luminance(_style.POSITIVE) - _style.luminance(_style.NEGATIVE)) > 0.3
    ramp = np.array([_style.luminance(color) for color in _style.landscape()(np.linspace(0, 1, 50))[:, :3]])
    assert (np.diff(ramp) < 1e-3).all()


@pytest.mark.parametrize(
    "low, high", [(0.0, 1.0), (-3.0, 1e6), (1000.001, 1000.002), (1e-9, 2e-9), (5.0, 5.0)]
)
def test_contour_levels_rise_and_cover(low, high, rng):
    values = low + (high - low) * rng.random((30, 30)) ** 4
    edges = _style.contour_levels(values, 16)
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= values.min() and values.max() <= edges[-1]
    if high > low:
        assert len(edges) == 17
        assert 0.3 < (values < edges[8]).mean() < 0.7
