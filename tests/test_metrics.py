"""Metrics: scikit-learn's scorers by name, losses by name, functions."""

import numpy as np
import pytest

from fastbp import metrics
from fastbp.layers import Dense
from fastbp.sequential import Sequential

sklearn_metrics = pytest.importorskip("sklearn.metrics")


def evaluate(net, x, y, loss, names):
    return net.evaluate(x, y, loss=loss, metrics=names)


def test_classification():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 4)), rng.integers(0, 3, 80)
    net = Sequential([Dense(3)], 4, dtype="float64")
    logits = net.predict(x)
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    names = ["accuracy", "balanced_accuracy", "f1_macro", "neg_log_loss", "roc_auc_ovr"]
    result = evaluate(net, x, y, "cross_entropy", names)
    assert result["accuracy"] == sklearn_metrics.accuracy_score(y, logits.argmax(1))
    assert result["f1_macro"] == pytest.approx(sklearn_metrics.f1_score(y, logits.argmax(1), average="macro"))
    assert result["neg_log_loss"] == pytest.approx(-sklearn_metrics.log_loss(y, chances))
    assert result["roc_auc_ovr"] == pytest.approx(
        sklearn_metrics.roc_auc_score(y, chances, multi_class="ovr")
    )
    assert evaluate(net, x, np.eye(3)[y], "cross_entropy", names) == result


def test_binary():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 4)), rng.integers(0, 2, 80)
    net = Sequential([Dense(1)], 4, dtype="float64")
    z = net.predict(x)[:, 0]
    result = evaluate(
        net, x, y, "binary_cross_entropy", ["accuracy", "roc_auc", "neg_brier_score", "average_precision"]
    )
    assert result["accuracy"] == np.mean((z > 0) == y)
    assert result["roc_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(y, z))
    assert result["neg_brier_score"] == pytest.approx(-np.mean((1 / (1 + np.exp(-z)) - y) ** 2))
    assert result["average_precision"] == pytest.approx(sklearn_metrics.average_precision_score(y, z))


def test_multilabel():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 4)), rng.integers(0, 2, (80, 3))
    net = Sequential([Dense(3)], 4, dtype="float64")
    result = evaluate(net, x, y, "binary_cross_entropy", ["accuracy", "f1_macro"])
    assert result["accuracy"] == np.mean(((net.predict(x) > 0) == y).all(axis=1))


@pytest.mark.parametrize("outputs", [1, 2])
def test_regression(outputs):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 4)), rng.normal(size=(80, outputs))
    net = Sequential([Dense(outputs)], 4, dtype="float64")
    p = net.predict(x)

    def worst(y_true, y_pred):
        assert y_true.shape == y_pred.shape == ((80,) if outputs == 1 else (80, outputs))
        return np.abs(y_true - y_pred).max()

    result = evaluate(
        net, x, y, "huber", ["r2", "neg_mean_absolute_error", "mae", "huber", worst, sklearn_metrics.r2_score]
    )
    assert result["r2"] == pytest.approx(sklearn_metrics.r2_score(y, p))
    assert result["r2_score"] == pytest.approx(result["r2"])
    assert result["mae"] == pytest.approx(np.abs(y - p).mean())
    assert result["neg_mean_absolute_error"] == pytest.approx(-result["mae"])
    assert result["huber"] == pytest.approx(result["loss"])
    assert result["worst"] == np.abs(y - p).max()


def test_metrics_of_a_poisson_model_get_rates():
    """Its outputs are logarithms of them."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 4)), rng.poisson(2.0, (80, 1)).astype(float)
    net = Sequential([Dense(1)], 4, dtype="float64")
    rates = np.exp(net.predict(x))
    seen = []

    def look(y_true, y_pred):
        seen.append(y_pred)
        return 0.0

    names = ["neg_mean_poisson_deviance", "r2", "mse", "mae", "poisson", look]
    result = evaluate(net, x, y, "poisson", names)
    deviance = sklearn_metrics.mean_poisson_deviance(y, rates)
    assert result["neg_mean_poisson_deviance"] == pytest.approx(-deviance)
    assert result["r2"] == pytest.approx(sklearn_metrics.r2_score(y, rates))
    assert result["mse"] == pytest.approx(np.mean((rates - y) ** 2))
    assert result["mae"] == pytest.approx(np.mean(np.abs(rates - y)))
    assert result["poisson"] == pytest.approx(result["loss"])
    np.testing.assert_allclose(seen[0], rates[:, 0])
    history = net.fit(x, y, loss="poisson", metrics="mse", verbose=0)
    assert history.mse[-1] == pytest.approx(np.mean((np.exp(net.predict(x)) - y) ** 2))


@pytest.mark.parametrize(("loss", "outputs"), [("binary_cross_entropy", 1), ("cross_entropy", 3)])
def test_losses_of_predictions_get_probabilities(loss, outputs):
    """As metrics, beside a loss that takes logits: the squared error is that of Brier."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 4)), np.eye(3)[rng.integers(0, 3, 80)][:, :outputs]
    net = Sequential([Dense(outputs)], 4, dtype="float64")
    z = net.predict(x)
    chances = 1 / (1 + np.exp(-z)) if outputs == 1 else np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    result = evaluate(net, x, y, loss, ["mse", loss])
    assert result["mse"] == pytest.approx(np.mean((chances - y) ** 2))
    assert result[loss] == pytest.approx(result["loss"])


def test_functions_get_classes():
    seen = {}

    def look(y_true, y_pred):
        seen.update(true=y_true, pred=y_pred)
        return 0

    net = Sequential([Dense(2, initializer="zeros")], 1)
    net.biases[0][...] = [0, 1]
    net.evaluate([[1.0], [2.0]], [0, 1], loss="cross_entropy", metrics=look)
    assert seen["true"].tolist() == [0, 1]
    assert seen["pred"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("acuracy", ValueError, "neither a scorer of scikit-learn"),
        ([1], TypeError, "metrics must be names or functions"),
        (["mae", "mae"], ValueError, "different names"),
    ],
)
def test_errors(value, error, message):
    with pytest.raises(error, match=message):
        metrics.named(value)


def test_which_way_is_up():
    up = ["accuracy", "val_accuracy", "r2", "neg_mean_squared_error", "val_neg_log_loss", "roc_auc"]
    down = ["loss", "val_loss", "mse", "val_mae", "mean_squared_error", "cross_entropy"]
    assert all(metrics.is_better_when_larger(name) for name in up)
    assert not any(metrics.is_better_when_larger(name) for name in down)


def test_errors_name_the_metric():
    net = Sequential([Dense(1)], 2)
    x, y = np.ones((4, 2)), np.ones(4)

    def fails(truth, answer):
        raise KeyError("q")

    def wide(truth, answer):
        return truth

    for metric, message in (
        (fails, "metric 'fails': KeyError: 'q'"),
        (wide, "metric 'wide' must return one number, got array"),
        ("roc_auc", "metric 'roc_auc': "),
    ):
        for call in (net.evaluate, lambda *data, **more: net.fit(*data, verbose=0, **more)):
            with pytest.raises(ValueError, match=message):
                call(x, y, metrics=metric)
