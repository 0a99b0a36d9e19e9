"""`plot.network` by structure: units, edges, numbers, never pixels."""

import types

import numpy as np
import pytest

from fastbp import plot
from tests.plot.doubles import Net, assert_nothing_clipped, texts

plt = pytest.importorskip("matplotlib.pyplot")


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
        (None, None, {"max_units": 1}, "max_units must be an integer >= 2"),
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
