"""`plot.descent_path` by structure: lines, limits, labels, never pixels."""

import numpy as np
import pytest

from fastbp import plot
from tests.plot.doubles import descend, legend

plt = pytest.importorskip("matplotlib.pyplot")


def test_descent_in_one_dimension():
    paths = [descend(lambda x: 2 * x, start, 0.1, 6) for start in (-2.0, 3.0)]
    ax = plot.descent_path(lambda x: x**2, *paths)
    curve, *drawn = ax.lines
    assert np.allclose(curve.get_ydata(), curve.get_xdata() ** 2)
    # for each path: its points, its start, its end, one tangent
    assert len(drawn) == 2 * 4
    assert np.allclose(drawn[0].get_xydata(), np.stack([paths[0].path, paths[0].path ** 2], axis=1))
    assert drawn[1].get_xydata().tolist() == [[-2.0, 4.0]]
    assert np.allclose(drawn[2].get_xdata(), paths[0].path[-1])
    (x0, x1), (y0, y1) = drawn[3].get_data()
    assert (y1 - y0) / (x1 - x0) == pytest.approx(-4.0)
    assert legend(ax) == ["from \N{MINUS SIGN}2: 6 steps", "from 3: 6 steps"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "f(x)")
    low, high = ax.get_xlim()
    assert low < -2 and high > 3


def test_learning_rates_from_one_start():
    paths = [descend(lambda x: 2 * x, 1.0, rate, 5) for rate in (0.01, 0.4, 0.95)]
    ax = plot.descent_path(lambda x: x**2, *paths, tangents=0)
    assert legend(ax) == [f"learning rate {rate}: 5 steps" for rate in (0.01, 0.4, 0.95)]
    assert len(ax.lines) == 1 + 3 * 3
    # told apart without color: each its own marker
    assert len({line.get_marker() for line in ax.lines[1::3]}) == 3


def test_plain_arrays_from_one_start_are_numbered():
    ax = plot.descent_path(np.square, [1.0, 0.5], [1.0, 0.2, 0.1])
    assert legend(ax) == ["path 1: 1 step", "path 2: 2 steps"]


def test_one_result_is_named_by_its_rate():
    ax = plot.descent_path(np.square, descend(lambda x: 2 * x, 1.0, 0.25, 3))
    assert legend(ax) == ["learning rate 0.25: 3 steps"]
    twice = [descend(lambda x: 2 * x, 1.0, 0.25, 3)] * 2  # two rules of one rate
    assert legend(plot.descent_path(np.square, *twice)) == ["path 1: 3 steps", "path 2: 3 steps"]


def test_divergence_stays_readable():
    ax = plot.descent_path(lambda x: x**2, descend(lambda x: 2 * x, 1.0, 1.1, 200))
    low, high = ax.get_xlim()
    assert -20 < low < -1.2 and 1 < high < 20
    ax = plot.descent_path(lambda x: x**2, [1.0, -5.0, np.inf, np.nan])
    assert legend(ax) == ["from 1: 1 step"]


def test_descent_in_two_dimensions():
    def f(x):
        assert x.shape == (2,)
        return x[0] ** 2 + 10 * x[1] ** 2

    paths = [descend(lambda x: x * [2, 20], start, 0.04, 20) for start in ([-4.0, 1.0], [3.0, -1.0])]
    ax = plot.descent_path(f, *paths, resolution=20, labels=["left", "right"])
    assert legend(ax) == ["left", "right"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")
    assert ax.get_aspect() == 1
    assert len(ax.lines) == 2 * 3
    assert np.allclose(ax.lines[0].get_xydata(), paths[0].path)
    assert ax.get_xlim()[0] < -4 and ax.get_xlim()[1] > 3
    (bar,) = ax.child_axes
    assert bar.get_ylabel() == "f(x)"


def test_all_of_a_winding_path_is_seen():
    path = [[-1.2, 1.0], [-0.7, 0.5], [0.0, 0.0], [0.7, 0.5], [0.95, 0.9]]
    ax = plot.descent_path(lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2, path, resolution=10)
    assert ax.get_ylim()[0] < 0


def test_limits_are_those_given():
    ax = plot.descent_path(np.square, [1.0, 0.5], xlim=(-3, 3), ylim=(-1, 9))
    assert (ax.get_xlim(), ax.get_ylim()) == ((-3, 3), (-1, 9))
    ax = plot.descent_path(lambda x: x @ x, [[1.0, 1.0]], xlim=(-3, 3), ylim=(-1, 9), resolution=5)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-3, 3), (-1, 9))


def test_vectors_of_one_variable():
    ax = plot.descent_path(lambda x: float(x[0] ** 2), np.array([[2.0], [1.0]]))
    assert ax.get_ylabel() == "f(x)"


@pytest.mark.filterwarnings("error")
def test_gaps_of_the_function():
    ax = plot.descent_path(np.log, [3.0, 2.0, 0.1], xlim=(-1, 4))
    assert np.isnan(ax.lines[0].get_ydata()).any()
    plot.descent_path(
        lambda x: np.log(x[0]) + x[1] ** 2, [[1.0, 1.0], [0.2, 0.2]], resolution=20
    ).figure.canvas.draw()
    plot.descent_path(lambda x: 3.0, [[1.0, 1.0], [0.2, 0.2]], resolution=4).figure.canvas.draw()


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((), {}, "at least one path"),
        (([],), {}, r"path 0 must have shape"),
        (([1.0], [[1.0, 2.0]]), {}, "differ in dimension"),
        (([[1.0, 2.0, 3.0]],), {}, "path 0 has 3 variables"),
        (([np.nan, 1.0],), {}, "path 0 starts at nan"),
        (([1.0],), {"labels": ["a", "b"]}, "got 2 names for 1 paths"),
        (([1.0],), {"xlim": (1, 0)}, "xlim must be"),
        (([1.0],), {"resolution": 1}, "resolution must be an integer >= 2, got 1"),
        (([[1.0, 1.0]],), {"levels": 0}, "levels must be an integer >= 2"),
    ],
)
def test_descent_errors(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        plot.descent_path(lambda x: np.sum(np.square(x)), *arguments, **options)


def test_descent_function_errors():
    with pytest.raises(TypeError, match="f must be callable, got list"):
        plot.descent_path([1.0], [1.0])
    with pytest.raises(ValueError, match=r"f must return one number.*\(2,\)"):
        plot.descent_path(lambda x: x, [[1.0, 2.0]])
    with pytest.raises(TypeError, match="tangents must be an integer"):
        plot.descent_path(np.square, [1.0], tangents=1.5)
