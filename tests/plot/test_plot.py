"""Pictures by structure: lines, limits, labels, collections, never pixels."""

import subprocess
import sys
import types

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt  # noqa: E402

from fastbp import plot  # noqa: E402
from fastbp.plot import _style, _surface  # noqa: E402


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


class Net:
    """A small network with what the pictures need of a Sequential."""

    def __init__(self, sizes, activations, *, bias=True, seed=0):
        rng = np.random.default_rng(seed)
        self.weights = [
            rng.standard_normal((i, o)) / np.sqrt(i) for i, o in zip(sizes[:-1], sizes[1:], strict=True)
        ]
        self.biases = [rng.standard_normal(o) * 0.1 if bias else None for o in sizes[1:]]
        self.layers = [
            types.SimpleNamespace(units=o, activation=a) for o, a in zip(sizes[1:], activations, strict=True)
        ]
        self.n_inputs, self.dtype = sizes[0], np.dtype("float64")
        self.engine = types.SimpleNamespace(hidden=self.hidden)
        self.evaluations = 0

    def hidden(self, x):
        functions = {"identity": lambda z: z, "sigmoid": lambda z: 1 / (1 + np.exp(-z)), "tanh": np.tanh}
        layers = []
        for W, b, layer in zip(self.weights, self.biases, self.layers, strict=True):
            x = functions[layer.activation](x @ W + (0 if b is None else b))
            layers.append(x)
        return layers

    def predict(self, x):
        assert x.flags.c_contiguous and x.dtype == self.dtype
        return self.hidden(x)[-1]

    def copy(self):
        twin = object.__new__(Net)
        twin.__dict__.update(self.__dict__)
        twin.set_weights(self.weights, self.biases)
        twin.engine = types.SimpleNamespace(hidden=twin.hidden)
        return twin

    def set_weights(self, weights, biases):
        for old, new in zip(self.weights, weights, strict=True):
            assert old.shape == new.shape and old.dtype == new.dtype
        self.weights = [W.copy() for W in weights]
        self.biases = [None if b is None else b.copy() for b in biases]

    def evaluate(self, x, y, loss="mse"):
        assert loss == "mse"
        return float(np.mean((self.hidden(x)[-1] - y) ** 2))

    def value_and_grad(self, x, y, loss, inputs=False):
        """half_squared_error, or cross_entropy with class codes."""
        slopes = {"identity": np.ones_like, "sigmoid": lambda a: a * (1 - a), "tanh": lambda a: 1 - a * a}
        layers = self.hidden(x)
        if loss == "half_squared_error":
            delta = (layers[-1] - y) * slopes[self.layers[-1].activation](layers[-1])
            value = 0.5 * np.sum((layers[-1] - y) ** 2)
        else:
            p = np.exp(layers[-1])
            p /= p.sum()
            value, delta = -np.log(p[0, y[0]]), p - np.eye(p.shape[1])[y]
        before = [x, *layers]
        deltas, weights = [delta], []
        for level in range(len(self.weights) - 1, -1, -1):
            weights.insert(0, before[level].T @ delta)
            delta = delta @ self.weights[level].T
            if level:
                delta = delta * slopes[self.layers[level - 1].activation](before[level])
                deltas.insert(0, delta)
        biases = [None if b is None else d[0] for b, d in zip(self.biases, deltas, strict=True)]
        return value, types.SimpleNamespace(weights=weights, biases=biases, inputs=delta)


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def assert_nothing_clipped(ax):
    """All that is drawn lies inside of the figure, to a pixel."""
    figure = ax.figure
    figure.canvas.draw()
    drawn = figure.get_tightbbox()  # inches
    slack = 1 / figure.dpi
    assert drawn.x0 > -slack and drawn.y0 > -slack, drawn
    width, height = figure.get_size_inches()
    assert drawn.x1 < width + slack and drawn.y1 < height + slack, drawn


def descend(gradient, start, rate, steps):
    x = np.asarray(start, dtype=float)
    path = [x]
    for _ in range(steps):
        x = x - rate * gradient(x)
        path.append(x)
    path = np.array(path)
    return types.SimpleNamespace(
        path=path, values=(path**2).reshape(len(path), -1).sum(1), learning_rate=rate
    )


# What all share


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


# descent_path


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
        (([1.0],), {"resolution": 1}, "resolution must be at least 2, got 1"),
        (([[1.0, 1.0]],), {"levels": 0}, "levels must be at least 2"),
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
    with pytest.raises(TypeError, match="tangents must be an int"):
        plot.descent_path(np.square, [1.0], tangents=1.5)


# loss_curve


def test_one_run():
    history = types.SimpleNamespace(loss=[1.0, 0.5, 0.4], val_loss=[1.1, 0.6, 0.7])
    ax = plot.loss_curve(history)
    train, validation, ring = ax.lines
    assert train.get_xydata().tolist() == [[1, 1.0], [2, 0.5], [3, 0.4]]
    assert validation.get_ydata().tolist() == [1.1, 0.6, 0.7]
    assert train.get_linestyle() == "-" != validation.get_linestyle()
    assert ring.get_xydata().tolist() == [[2, 0.6]]
    assert legend(ax) == ["train", "validation", "lowest validation loss, epoch 2"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("epoch", "loss", "linear")


def test_several_runs():
    runs = [
        {"loss": [1.0, 0.5], "val_loss": []},
        [0.9, 0.7],
        types.SimpleNamespace(loss=(1, 0.8), val_loss=None),
    ]
    ax = plot.loss_curve(*runs)
    assert legend(ax) == ["run 1", "run 2", "run 3"]
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 3
    ax = plot.loss_curve(
        runs[0], {"loss": [1.0, 2.0], "val_loss": [2.0, 1.5]}, labels=["batch", "stochastic"]
    )
    assert legend(ax) == ["batch", "stochastic", "train", "validation", "lowest validation loss"]
    assert len(ax.lines) == 4


@pytest.mark.parametrize(
    "losses, yscale, expected",
    [
        ([1.0, 0.01], "auto", "log"),
        ([1.0, 0.5], "auto", "linear"),
        ([1.0, 0.0], "auto", "linear"),
        ([1.0, -0.01], "auto", "linear"),
        ([1.0, 0.9], "log", "log"),
        ([1.0, 0.001], "linear", "linear"),
        ([1.0, np.nan, np.inf], "auto", "linear"),
    ],
)
def test_scale(losses, yscale, expected):
    ax = plot.loss_curve(losses, yscale=yscale)
    assert ax.get_yscale() == expected
    ax.figure.canvas.draw()


def test_log_axis_is_labeled_in_plain_numbers():
    ax = plot.loss_curve([1.0, 0.3, 0.04])
    ax.figure.canvas.draw()
    labels = [text.get_text() for text in ax.get_yticklabels(which="both")]
    assert {"0.1", "0.05", "1"} <= set(labels)


def test_estimators():
    scikit = types.SimpleNamespace(loss="log_loss", loss_curve_=[2.0, 1.0])
    ours = types.SimpleNamespace(loss="log_loss", loss_curve_=[2.0, 1.5], validation_loss_curve_=[2.5, 1.8])
    ax = plot.loss_curve(scikit, ours)
    assert [line.get_ydata().tolist() for line in ax.lines[:3]] == [[2.0, 1.0], [2.0, 1.5], [2.5, 1.8]]


def test_seconds():
    history = {"loss": [1.0, 0.5], "epoch_seconds": [0.25, 0.5]}
    ax = plot.loss_curve(history, x="seconds")
    assert ax.lines[0].get_xdata().tolist() == [0.25, 0.75]
    assert ax.get_xlabel() == "seconds"


def test_one_epoch_is_a_point():
    ax = plot.loss_curve([0.5])
    assert ax.lines[0].get_marker() == "o"
    assert ax.get_xlim() == (0.5, 1.5)
    assert ax.get_legend() is None


@pytest.mark.parametrize(
    "histories, options, error, message",
    [
        ([], {}, ValueError, "at least one history"),
        ([{"accuracy": [1.0]}], {}, TypeError, "history 0 is a dict without losses"),
        ([[]], {}, ValueError, r"at least one, got shape \(0,\)"),
        ([[[1.0]]], {}, ValueError, r"got shape \(1, 1\)"),
        ([{"loss": [1.0], "val_loss": [1.0, 2.0]}], {}, ValueError, "1 training losses, but 2"),
        ([[1.0]], {"labels": ["a", "b"]}, ValueError, "got 2 names for 1 histories"),
        ([[1.0]], {"x": "hours"}, ValueError, "x must be"),
        ([[1.0]], {"yscale": "symlog"}, ValueError, "yscale must be"),
        ([[1.0]], {"x": "seconds"}, ValueError, "needs epoch_seconds, which history 0"),
        ([{"loss": [1.0], "epoch_seconds": [1, 2]}], {"x": "seconds"}, ValueError, "1 losses, but 2"),
    ],
)
def test_curve_errors(histories, options, error, message):
    with pytest.raises(error, match=message):
        plot.loss_curve(*histories, **options)


# loss_surface


@pytest.fixture
def trained(rng):
    x = rng.standard_normal((40, 3))
    y = np.tanh(x @ np.array([[1.0], [-2.0], [0.5]]))
    net = Net([3, 4, 1], ["tanh", "identity"])
    path = [net.copy()]
    for _ in range(20):
        gradients = net.value_and_grad(x, y, "half_squared_error")[1]
        net.set_weights(
            [W - 0.01 * dW for W, dW in zip(net.weights, gradients.weights, strict=True)], net.biases
        )
        path.append(net.copy())
    return net, x, y, path


def surface_values(ax):
    """Least and greatest contour level."""
    return ax.collections[0].levels[[0, -1]]


def test_random_surface(trained):
    net, x, y, _ = trained
    before = [W.copy() for W in net.weights]
    ax = plot.loss_surface(net, x, y, resolution=7)
    assert all((W == old).all() for W, old in zip(net.weights, before, strict=True))
    assert ax.get_xlabel() == "random direction 1 (filter-normalized)"
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1), (-1, 1))
    assert legend(ax) == ["network"]
    low, high = surface_values(ax)
    assert low <= net.evaluate(x, y) <= high


def test_filter_normalization(trained):
    net = trained[0]
    direction = _surface._random_direction(net, np.random.default_rng(0))
    first, rest = direction[:12].reshape(3, 4), direction[12:]
    assert np.allclose(np.linalg.norm(first, axis=0), np.linalg.norm(net.weights[0], axis=0))
    assert (rest[:4] == 0).all()  # biases
    assert np.linalg.norm(rest[4:8]) == pytest.approx(np.linalg.norm(net.weights[1]))


def test_seed_decides_the_plane(trained):
    net, x, y, _ = trained
    levels = [
        plot.loss_surface(net, x, y, resolution=5, seed=seed).collections[0].levels for seed in (0, 0, 1)
    ]
    assert (levels[0] == levels[1]).all() and not np.array_equal(levels[0], levels[2])


def test_path_by_principal_components(trained):
    net, x, y, path = trained
    ax = plot.loss_surface(net, x, y, path=path, resolution=5)
    assert legend(ax) == ["path of training, 20 steps"]
    assert ax.get_xlabel().startswith("principal direction 1 (9")
    line = ax.lines[0].get_xydata()
    assert np.allclose(line[-1], 0)
    flat = np.stack([_surface._flat(snapshot.weights, snapshot.biases) for snapshot in path])
    # an orthonormal plane: the projection is no longer than the path, and here nearly as long
    length, true = np.linalg.norm(line[0]), np.linalg.norm(flat[0] - flat[-1])
    assert 0.98 * true < length <= true * (1 + 1e-12)
    assert line[0, 0] < 0
    assert ax.get_xlim()[0] < line[:, 0].min() and ax.get_xlim()[1] > 0


@pytest.mark.parametrize("form", ["pairs", "flat", "theta"])
def test_forms_of_a_path(trained, form):
    net, x, y, path = trained
    expected = plot.loss_surface(net, x, y, path=path, resolution=3).lines[0].get_xydata()
    if form == "pairs":
        given = [(snapshot.weights, snapshot.biases) for snapshot in path]
    else:
        given = [_surface._flat(snapshot.weights, snapshot.biases) for snapshot in path]
    if form == "theta":  # padded, and live
        theta = np.zeros(24)
        net.engine.theta = theta
        net.copy = lambda: live
        live = Net([3, 4, 1], ["tanh", "identity"])
        live.weights = [theta[:12].reshape(3, 4), theta[16:20].reshape(4, 1)]
        live.biases = [theta[12:16], theta[20:21]]
        live.engine.theta = theta
        padded = np.zeros((len(path), 24))
        padded[:, :21] = given
        given = list(padded)
    assert np.allclose(plot.loss_surface(net, x, y, path=given, resolution=3).lines[0].get_xydata(), expected)


def test_path_on_random_directions(trained):
    net, x, y, path = trained
    ax = plot.loss_surface(net, x, y, path=path[:5], directions="random", resolution=3, span=0.5)
    assert ax.get_xlabel().startswith("random")
    assert legend(ax) == ["path of training, 4 steps", "network"] or ax.get_xlim() == (-0.5, 0.5)


def test_path_on_a_line_and_without_motion(trained):
    net, x, y, _ = trained
    center = _surface._flat(net.weights, net.biases)
    line = [center + scale for scale in (2.0, 1.0, 0.0)]
    ax = plot.loss_surface(net, x, y, path=line, resolution=3)
    assert ax.get_xlabel() == "principal direction 1 (100 % of the path)"
    assert ax.get_ylabel() == "random direction"
    ax = plot.loss_surface(net, x, y, path=[center, center], resolution=3)
    assert ax.get_xlabel() == "random direction"
    ax.figure.canvas.draw()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"directions": "up"}, "directions must be"),
        ({"directions": "pca"}, "needs a path"),
        ({"span": 0}, "span must be positive"),
        ({"resolution": 1}, "resolution must be at least 2"),
        ({"path": [np.zeros(21)]}, "at least two snapshots, got 1"),
        ({"path": [np.zeros(21), np.zeros(20)]}, "snapshot 1 of path has 20 parameters, but net has 21"),
        ({"path": [np.zeros(21), np.full(21, np.nan)]}, "snapshot 1 of path is not finite"),
    ],
)
def test_surface_errors(trained, options, message):
    net, x, y, _ = trained
    with pytest.raises(ValueError, match=message):
        plot.loss_surface(net, x, y, **options)


def test_surface_needs_a_network(trained):
    _, x, y, _ = trained
    with pytest.raises(TypeError, match="net must be a Sequential, but dict has no weights"):
        plot.loss_surface({}, x, y)


# decision_boundary


class Classifier:
    """Probability of each class falls with the distance from its center."""

    def __init__(self, centers, classes):
        self.centers, self.classes_ = np.array(centers, dtype=float), np.array(classes)

    def predict_proba(self, X):
        distance = ((np.asarray(X)[:, None, :] - self.centers) ** 2).sum(axis=2)
        p = np.exp(-distance)
        return p / p.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def test_two_classes():
    model = Classifier([[0, 0], [2, 0]], ["cat", "dog"])
    ax = plot.decision_boundary(model, [[0, 0], [0, 1], [2, 0], [0.5, 0]], ["cat", "cat", "dog", "dog"])
    assert legend(ax) == ["cat", "dog", "misclassified (1 of 4)"]
    (bar,) = ax.child_axes
    assert bar.get_ylabel() == "probability of dog"
    shading, border, cats, dogs, wrong = ax.collections
    (path,) = border.get_paths()
    assert np.allclose(path.vertices[:, 0], 1.0, atol=0.02)  # half way between the centers
    assert [len(points.get_offsets()) for points in (cats, dogs, wrong)] == [2, 2, 1]
    assert wrong.get_offsets().tolist() == [[0.5, 0.0]]
    assert not np.array_equal(cats.get_paths()[0].vertices, dogs.get_paths()[0].vertices)  # markers
    assert ax.get_xlim()[0] < 0 and ax.get_xlim()[1] > 2


def test_three_classes():
    model = Classifier([[0, 0], [2, 0], [0, 2]], [0, 1, 2])
    ax = plot.decision_boundary(model, model.centers, [0, 1, 2], resolution=50)
    assert legend(ax) == ["class 0", "class 1", "class 2"]
    assert len(ax.images) == 1
    assert ax.child_axes[0].get_ylabel() == "probability of the predicted class"
    assert len(ax.collections) == 3 + 3  # borders and points
    image = ax.images[0].get_array()
    assert image.min() >= 0 and image.max() <= 1
    assert not np.allclose(image[0, 0], image[0, -1])


def test_data_frame_keeps_its_columns():
    pandas = pytest.importorskip("pandas")

    class Named(Classifier):
        def predict_proba(self, X):
            assert list(X.columns) == ["height", "width"]
            return super().predict_proba(X)

    frame = pandas.DataFrame({"height": [0.0, 2.0], "width": [0.0, 0.0]})
    ax = plot.decision_boundary(
        Named(frame.to_numpy(), [0, 1]), frame, pandas.Series([0, 1]), labels=["a", "b"]
    )
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("height", "width")
    assert legend(ax) == ["a", "b"]


def test_classifier_without_probabilities():
    model = Classifier([[0, 0], [2, 0]], [0, 1])
    plain = types.SimpleNamespace(classes_=model.classes_, predict=model.predict)
    ax = plot.decision_boundary(plain, model.centers, [0, 1])
    assert len(ax.collections) == 4


@pytest.mark.parametrize(
    "activation, output, outputs, expected",
    [
        ("identity", "auto", [-30.0, 0.0, 30.0], [0.0, 0.5, 1.0]),
        ("sigmoid", "auto", [0.0, 0.5, 1.0], [0.0, 0.5, 1.0]),
        ("tanh", "auto", [-1.0, 0.0, 1.0], [0.0, 0.5, 1.0]),
        ("identity", "probabilities", [-0.2, 0.5, 1.3], [0.0, 0.5, 1.0]),
        ("identity", "signs", [-1.0, 0.0, 2.0], [0.0, 0.5, 1.0]),
    ],
)
def test_what_outputs_mean(activation, output, outputs, expected):
    from fastbp.plot._boundary import _probabilities

    net = types.SimpleNamespace(
        layers=[types.SimpleNamespace(activation=activation), types.SimpleNamespace(rate=0.5)],
        weights=[],
        predict=lambda X: np.array(outputs)[:, None],
    )
    probabilities, classes = _probabilities(net, np.zeros((3, 2)), output)
    assert classes is None
    assert np.allclose(probabilities[:, 1], expected) and np.allclose(probabilities.sum(axis=1), 1)


def test_networks_and_their_targets(rng):
    X = rng.standard_normal((30, 2))
    ax = plot.decision_boundary(Net([2, 1], ["identity"]), X, np.where(X[:, :1] > 0, 5, 3), resolution=20)
    assert legend(ax)[:2] == ["class 3", "class 5"]
    codes = rng.integers(0, 3, 30)
    three = Net([2, 3], ["identity"])
    for y in (codes, codes[:, None], np.eye(3)[codes]):
        ax = plot.decision_boundary(three, X, y, resolution=20)
        assert legend(ax)[:3] == ["class 0", "class 1", "class 2"]


@pytest.mark.parametrize(
    "X, y, options, message",
    [
        (np.zeros((2, 3)), [0, 1], {}, r"X must have shape \(n, 2\).*got \(2, 3\)"),
        (np.zeros((0, 2)), [], {}, "at least one row"),
        ([[0, np.nan]], [0], {}, "finite"),
        ([[0, 0], [1, 1]], [0], {}, r"y must have shape \(2,\)"),
        ([[0, 0], [1, 1]], [0, 7], {}, "none of the model's classes.*: 7"),
        ([[0, 0], [1, 1]], [0, 1], {"labels": ["a"]}, "got 1 names for 2 classes"),
        ([[0, 0], [1, 1]], [0, 1], {"output": "odds"}, "output must be"),
    ],
)
def test_boundary_errors(X, y, options, message):
    with pytest.raises(ValueError, match=message):
        plot.decision_boundary(Classifier([[0, 0], [1, 1]], [0, 1]), X, y, **options)


def test_boundary_needs_a_classifier():
    with pytest.raises(TypeError, match="but dict has neither"):
        plot.decision_boundary({}, [[0, 0]], [0])
    with pytest.raises(ValueError, match="has no classes_"):
        plot.decision_boundary(types.SimpleNamespace(predict=lambda X: X[:, 0]), [[0, 0]], [0])


# network

MINUS = "\N{MINUS SIGN}"


def test_weights_alone():
    net = Net([3, 2, 1], ["sigmoid", "identity"], bias=False)
    net.weights = [np.array([[1.0, -2.0], [0.5, 0.25], [0.0, 0.75]]), np.array([[1.5], [-0.125]])]
    ax = plot.network(net)
    assert len(ax.patches) == 6
    positive, negative = ax.collections
    assert (positive.get_label(), negative.get_label()) == ("positive weight", "negative weight")
    assert len(positive.get_segments()) == 5 and len(negative.get_segments()) == 2  # a zero is no line
    assert max(negative.get_linewidths()) == pytest.approx(3.5)
    assert positive.get_linestyles() != negative.get_linestyles()
    assert {"input\n3 units", "hidden\n2 units\nsigmoid", "output\n1 unit\nidentity"} <= set(texts(ax))
    assert {"1.00", f"{MINUS}2.00", "0.50", f"{MINUS}0.12", "$x_{3}$", r"$\hat{y}$"} <= set(texts(ax))
    assert ax.get_legend().get_title().get_text().endswith("at most 2")
    assert len(ax.figure.axes) == 1
    assert_nothing_clipped(ax)


def test_activations_of_one_sample():
    net = Net([3, 2, 1], ["sigmoid", "identity"])
    x = np.array([0.5, -1.0, 2.0])
    ax = plot.network(net, x)
    hidden, output = net.hidden(x[None])
    for value in (*x, *hidden[0], *output[0]):
        assert f"{value:.2f}".replace("-", MINUS) in texts(ax)
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == "activation"
    assert sum(text.startswith("b ") for text in texts(ax)) == 3
    assert_nothing_clipped(ax)


@pytest.mark.parametrize("y, loss", [([0.25, 1.0], "half_squared_error"), (1, "cross_entropy")])
def test_deltas_are_derivatives(y, loss):
    from fastbp.plot._network import _deltas

    net = Net([3, 4, 2], ["tanh", "identity"])
    x = np.array([[0.5, -1.0, 2.0]])
    deltas = _deltas(net, x, y, None, [3, 4, 2])
    target = np.array([y]) if loss == "cross_entropy" else np.array([y], dtype=float)
    step = 1e-6
    for layer, delta in enumerate(deltas):
        for unit, value in enumerate(delta):
            values = []
            for sign in (1, -1):
                moved, shifted = net.copy(), x.copy()
                if layer == 0:
                    shifted[0, unit] += sign * step
                else:
                    moved.biases[layer - 1][unit] += sign * step
                values.append(moved.value_and_grad(shifted, target, loss)[0])
            assert value == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-7)
    ax = plot.network(net, x[0], y)
    assert ax.figure.axes[1].get_ylabel().startswith("delta")


def test_wide_layers_are_elided():
    net = Net([784, 30, 10], ["tanh", "identity"])
    ax = plot.network(net, np.ones(784), max_units=6)
    assert len(ax.patches) == 18
    assert sum(len(lines.get_segments()) for lines in ax.collections) == 72
    assert {"$x_{1}$", "$x_{3}$", "$x_{782}$", "$x_{784}$"} <= set(texts(ax))
    assert "$x_{4}$" not in texts(ax)
    assert "input\n784 units" in texts(ax)
    assert len(ax.lines) == 3  # the dots of three layers
    assert_nothing_clipped(ax)


@pytest.mark.parametrize("sizes", [[1, 1], [2, 3, 3, 3, 3, 3, 1], [4, 8, 8, 3], [1, 100, 1], [100, 1]])
def test_any_shape_fits(sizes):
    net = Net(sizes, ["sigmoid"] * (len(sizes) - 1))
    names = [f"a long name {index}" for index in range(sizes[0])]
    outputs = ["a class"] * sizes[-1]
    assert_nothing_clipped(plot.network(net, np.ones(sizes[0]), input_names=names, output_names=outputs))
    assert_nothing_clipped(plot.network(net))


def test_numbers_are_left_out_where_they_would_cover_each_other():
    ax = plot.network(Net([2, 8, 1], ["tanh", "tanh"]))
    weights = [text for text in texts(ax) if "." in text and not text.startswith("b ")]
    assert len(weights) == 8  # those of the second layer


def test_small_axes_drop_the_numbers():
    _, grid = plt.subplots(2, 3, figsize=(6, 4), layout="constrained")
    ax = plot.network(Net([3, 2, 1], ["tanh", "tanh"]), [1.0, 2.0, 3.0], ax=grid[0, 0])
    assert len(ax.patches) == 6
    assert not any(text.startswith("b ") for text in texts(ax))


def test_estimator():
    inner = Net([2, 3, 1], ["tanh", "sigmoid"])
    estimator = types.SimpleNamespace(
        coefs_=inner.weights,
        intercepts_=inner.biases,
        activation="tanh",
        out_activation_="logistic",
        hidden_activations=lambda X: inner.hidden(X)[:-1],
        predict_proba=lambda X: np.hstack([1 - inner.predict(X), inner.predict(X)]),
    )
    ax = plot.network(estimator, [0.5, -0.5])
    output = inner.predict(np.array([[0.5, -0.5]]))[0, 0]
    assert f"{output:.2f}" in texts(ax)
    assert "output\n1 unit\nlogistic" in texts(ax)
    with pytest.raises(TypeError, match="deltas need a Sequential"):
        plot.network(estimator, [0.5, -0.5], 1.0)
    del estimator.hidden_activations
    with pytest.raises(TypeError, match="only its weights can be shown"):
        plot.network(estimator, [0.5, -0.5])
    plot.network(estimator)


@pytest.mark.parametrize(
    "x, y, options, message",
    [
        (None, None, {"show": "gradients"}, "show must be"),
        (None, None, {"show": "activations"}, "needs a sample x"),
        ([1, 2, 3], None, {"show": "deltas"}, "needs the target y"),
        ([1, 2], None, {}, r"x must be one sample of 3 inputs, got shape \(2,\)"),
        ([[1, 2, 3]] * 2, None, {}, r"got shape \(2, 3\)"),
        ([1, 2, 3], [1, 2], {}, r"y must be one target of 1 outputs"),
        ([1, 2, np.nan], None, {}, "activations of layer 0 are not finite"),
        (None, None, {"input_names": ["a"]}, "got 1 names for 3 inputs"),
        (None, None, {"max_units": 1}, "max_units must be at least 2"),
    ],
)
def test_network_errors(x, y, options, message):
    with pytest.raises(ValueError, match=message):
        plot.network(Net([3, 2, 1], ["tanh", "tanh"]), x, y, **options)


def test_diverged_network():
    net = Net([3, 2, 1], ["tanh", "tanh"])
    net.weights[1][0, 0] = np.nan
    with pytest.raises(ValueError, match="weights of layer 2 are not finite"):
        plot.network(net)


def test_network_needs_weights():
    with pytest.raises(TypeError, match="net must have weights and biases"):
        plot.network({})


# With the real ones


@pytest.fixture
def real():
    from fastbp.layers import Dense, Dropout
    from fastbp.sequential import Sequential

    layers = [Dense(3, "sigmoid", use_bias=False), Dropout(0.2), Dense(1, "sigmoid", use_bias=False)]
    return Sequential(layers, n_inputs=2, seed=0)


def test_deltas_of_a_network_without_biases(real):
    from fastbp.plot._network import _deltas, _sample

    x = _sample(real, [0.5, -1.0], 2)
    hidden, output = real.engine.hidden(x)
    last = (output - 0.25) * output * (1 - output)
    first = (last @ real.weights[1].T) * hidden * (1 - hidden)
    expected = (first @ real.weights[0].T, first, last)
    for delta, by_hand in zip(_deltas(real, x, 0.25, None, [2, 3, 1]), expected, strict=True):
        assert np.allclose(delta, by_hand.ravel(), rtol=1e-5)
    ax = plot.network(real, [0.5, -1.0], 0.25)
    assert "hidden\n3 units\nsigmoid" in texts(ax)
    assert not any(text.startswith("b ") for text in texts(ax))


def test_pictures_of_a_sequential(real, rng):
    x = rng.standard_normal((20, 2))
    y = (x[:, :1] > 0).astype(float)
    path = [real.engine.theta.copy()]
    history = None
    for _ in range(3):
        history = real.fit(x, y, epochs=2, batch_size=5, verbose=0, n_threads=1, validation_data=(x, y))
        path.append(real.engine.theta.copy())
    before = real.engine.theta.copy()
    ax = plot.loss_surface(real, x, y, path=path, resolution=5)
    assert (real.engine.theta == before).all()
    assert np.allclose(ax.lines[0].get_xydata()[-1], 0, atol=1e-6)
    low, high = surface_values(ax)
    assert low <= real.evaluate(x, y) <= high
    assert len(plot.loss_curve(history).lines) == 3
    assert legend(plot.decision_boundary(real, x, y))[:2] == ["class 0", "class 1"]


def test_pictures_of_an_estimator(rng):
    from fastbp.estimators import MLPClassifier

    X = rng.standard_normal((30, 2))
    model = MLPClassifier((4,), max_iter=20, solver="lbfgs", random_state=0).fit(X, X[:, 0] > 0)
    assert "output\n1 unit\nlogistic" in texts(plot.network(model, X[0]))
    assert legend(plot.decision_boundary(model, X, X[:, 0] > 0))[:2] == ["class False", "class True"]


def test_picture_of_gradient_descent():
    from fastbp.descent import gradient_descent

    results = [gradient_descent(np.square, lambda x: 2 * x, 1.0, rate) for rate in (0.1, 0.4)]
    ax = plot.descent_path(np.square, *results)
    assert [text.split(":")[0] for text in legend(ax)] == ["learning rate 0.1", "learning rate 0.4"]
