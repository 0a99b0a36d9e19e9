"""`plot.loss_surface` by structure: planes, levels, paths, never pixels."""

import numpy as np
import pytest

from fastbp import plot
from fastbp.plot import _surface
from tests.plot.doubles import Net, legend, surface_values

plt = pytest.importorskip("matplotlib.pyplot")


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
        ({"resolution": 1}, "resolution must be an integer >= 2"),
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
