"""Pictures of the real models and results, in place of stand-ins."""

import numpy as np
import pytest

from fastbp import plot
from tests.plot.doubles import legend, surface_values, texts

plt = pytest.importorskip("matplotlib.pyplot")


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
