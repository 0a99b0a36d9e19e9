"""Gradients against finite differences, weights of rows and classes, and what targets may look like (values:
test_torch.py)."""

import numpy as np
import pytest

from fastbp import objectives, reference
from fastbp.estimators import MLPRegressor
from fastbp.layers import Dense
from fastbp.objectives import Objective
from fastbp.optimizers import Adam
from fastbp.sequential import Sequential
from fastbp.training import Trainer
from tests.entries import targets, with_parameters

LOSSES = with_parameters()


def problem(loss, dtype, seed=0, activations=("tanh", "sigmoid"), **dense):
    rng = np.random.default_rng(seed)
    n, i, k = 37, 5, 3
    layers = [*(Dense(int(rng.integers(3, 20)), a, **dense) for a in activations), Dense(k, **dense)]
    net = Sequential(layers, i, dtype=dtype, seed=seed)
    for b in net.biases:
        if b is not None:
            b[...] = rng.normal(scale=0.3, size=b.shape)
    return net, rng.normal(size=(n, i)).astype(dtype), targets(loss, rng, n, k, dtype, codes=True)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_finite_differences(loss):
    net, x, y = problem(loss, "float64", seed=3, l2=1e-2)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, len(x))
    _, grads = net.value_and_grad(x, y, loss=loss, sample_weight=weight, inputs=True)
    h = 1e-6

    def slope(array, place):
        old = array[place]
        values = []
        for shift in (h, -h):
            array[place] = old + shift
            values.append(net.evaluate(x, y, loss=loss, sample_weight=weight))
        array[place] = old
        return (values[0] - values[1]) / (2 * h)

    for array, gradient in [
        (net.weights[0], grads.weights[0]),
        (net.biases[1], grads.biases[1]),
        (x, grads.inputs),
    ]:
        for place in [tuple(0 for _ in array.shape), tuple(s - 1 for s in array.shape)]:
            assert gradient[place] == pytest.approx(slope(array, place), rel=2e-5, abs=1e-8)


def test_sample_weight_is_a_weighted_mean():
    net, x, y = problem("mse", "float64")
    weight = np.random.default_rng(1).integers(0, 4, len(x))
    repeated = np.repeat(np.arange(len(x)), weight)
    value, grads = net.value_and_grad(x, y, sample_weight=weight)
    expected, expected_grads = net.value_and_grad(x[repeated], y[repeated])
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(grads.weights[0], expected_grads.weights[0], rtol=1e-9, atol=1e-13)


def test_one_hot_is_codes():
    net, x, y = problem("cross_entropy", "float64")
    for other in (
        np.eye(3)[y],
        np.eye(3, dtype=int)[y],
        y.reshape(-1, 1),
        y.astype(float),
        y.tolist(),
        y.astype("uint8"),
    ):
        assert net.evaluate(x, other, loss="cross_entropy") == net.evaluate(x, y, loss="cross_entropy")


def test_flat_targets_for_one_output():
    net = Sequential([Dense(1)], 2, dtype="float64")
    x, y = np.ones((4, 2)), np.arange(4)
    values = {net.evaluate(x, target) for target in (y, y.reshape(-1, 1), y.tolist(), y.astype("float32"))}
    assert len(values) == 1


@pytest.mark.parametrize(
    ("loss", "outputs", "y", "message"),
    [
        ("mse", 2, np.zeros(3), r"y must have shape \(3, 2\) for loss='mse', got \(3,\)"),
        ("mse", 1, np.zeros((3, 2)), r"y must have shape \(3, 1\) or \(3,\)"),
        ("mse", 1, np.zeros(4), "y has 4 rows, but X has 3"),
        ("mse", 1, np.array([0, np.nan, 0]), "y holds nan in row 1"),
        ("mse", 1, None, "y is missing"),
        ("cross_entropy", 1, np.zeros(3), "needs one output per class"),
        (
            "cross_entropy",
            2,
            np.array([0, 1, 2]),
            "y holds class 2 in row 2, but the model has 2 outputs: codes are 0 ... 1",
        ),
        ("cross_entropy", 2, np.array([0, -1, 1]), "class -1 in row 1"),
        ("cross_entropy", 2, np.array([0, 0.5, 1]), "y holds 0.5 in row 1"),
        ("cross_entropy", 2, np.full((3, 2), 2.0), r"takes targets in \[0, 1\]"),
        ("cross_entropy", 3, np.zeros((3, 2)), "or integer codes of shape"),
        ("binary_cross_entropy", 1, np.array([0, 1, 2]), "holds 2.0 in row 2, column 0"),
        ("poisson", 1, np.array([0, -1, 2]), "takes targets >= 0"),
    ],
)
def test_target_errors(loss, outputs, y, message):
    net = Sequential([Dense(outputs)], 2)
    with pytest.raises(ValueError, match=message):
        net.evaluate(np.zeros((3, 2)), y, loss=loss)


def test_labels_are_refused_with_advice():
    net = Sequential([Dense(2)], 1)
    with pytest.raises(TypeError, match="MLPClassifier takes labels of any kind"):
        net.evaluate(np.zeros((2, 1)), ["cat", "dog"], loss="cross_entropy")


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("mean_squared", "loss must be one of"),
        ("cross_entorpy", "did you mean 'cross_entropy'"),
        ("huber(1, 2)", "takes one argument"),
        ("mse(1)", "takes no arguments"),
        ("huber(0)", "delta of huber"),
        ("quantile(1.5)", "q of quantile"),
        ("huber(a)", "must be numbers"),
    ],
)
def test_loss_errors(loss, message):
    with pytest.raises(ValueError, match=message):
        objectives.get(loss)


def test_loss_of_wrong_type():
    with pytest.raises(TypeError, match="loss must be one of"):
        objectives.get(3)
    assert objectives.get(Objective("mae")) == Objective("mae")


def test_class_weight():
    codes = np.array([0, 0, 0, 1])
    ce, dtype = Objective("cross_entropy"), np.dtype("float64")

    def weights(table, targets=codes, own=None, objective=ce):
        return objectives.apply_class_weight(table, targets, own, objective, dtype, 2)

    np.testing.assert_allclose(weights("balanced"), [2 / 3] * 3 + [2])
    np.testing.assert_array_equal(weights({1: 5}), [1, 1, 1, 5])
    np.testing.assert_array_equal(weights({1: 5}, own=np.array([1.0, 2, 3, 4])), [1, 2, 3, 20])
    np.testing.assert_array_equal(weights({1: 5}, targets=np.eye(2)[codes]), [1, 1, 1, 5])
    binary = codes.reshape(-1, 1).astype(float)
    np.testing.assert_array_equal(
        weights({1: 5}, targets=binary, objective=Objective("binary_cross_entropy")), [1, 1, 1, 5]
    )
    with pytest.raises(ValueError, match="class_weight needs classes"):
        weights({1: 5}, targets=binary, objective=Objective("mse"))
    np.testing.assert_array_equal(weights({np.int64(1): 5}), [1, 1, 1, 5])
    np.testing.assert_array_equal(weights({1: 5}, targets=np.array([0, 0])), [1, 1])  # a fold without class 1
    for table in ({7: 5}, {2: 5}, {-1: 5}):
        with pytest.raises(ValueError, match="a class code must be an integer"):
            weights(table)
    for table in ({"0": 5}, {0.9: 5}, {0.0: 5}, {True: 5}, {np.True_: 5}, {None: 5}):
        with pytest.raises(TypeError, match="a class code must be an integer"):
            weights(table)
    for value in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"class_weight\[1\] must be a finite number"):
            weights({1: value})
    with pytest.raises(ValueError, match="balanced"):
        weights("even")
    with pytest.raises(TypeError, match="dict of class code"):
        weights([1, 5])


def test_probabilities():
    logits = np.array([[0.0, 1000.0, -1000.0], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(
        objectives.probabilities(logits, Objective("cross_entropy")), [[0, 1, 0], [1 / 3] * 3]
    )
    chances = objectives.probabilities(
        np.array([[-1000.0], [0.0], [1000.0]]), Objective("binary_cross_entropy")
    )
    np.testing.assert_allclose(chances, [[0], [0.5], [1]])


@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        ("sigmoid", "binary_cross_entropy"),
        ("hard_sigmoid", "binary_cross_entropy"),
        ("sigmoid", "cross_entropy"),
        ("hard_sigmoid", "cross_entropy"),
        ("exp", "poisson"),
        ("softplus", "poisson"),
    ],
)
def test_what_a_loss_contains_is_not_counted_twice(activation, loss):
    net = Sequential([Dense(4, "tanh"), Dense(2, activation)], 3)
    x, y = np.ones((6, 3), np.float32), np.ones((6, 2), np.float32)
    message = f"loss='{loss}' contains .* the last layer is '{activation}': leave the last layer 'identity'"
    for call in (
        lambda: net.fit(x, y, loss=loss, verbose=0),
        lambda: net.fit([(x, y)], loss=loss, verbose=0),
        lambda: net.evaluate(x, y, loss=loss),
        lambda: net.value_and_grad(x, y, loss=loss),
        lambda: net.compiled(loss),
        lambda: Trainer(net, loss=loss),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    for call in (
        lambda: net.fit(x, y, loss="mse", metrics=loss, verbose=0),
        lambda: net.evaluate(x, y, loss="mse", metrics=loss),
    ):
        with pytest.raises(ValueError, match=f"metric{message[4:]}"):
            call()


def test_a_sigmoid_within_or_with_mse_is_fine():
    x = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.float32)
    net = Sequential([Dense(8, "sigmoid"), Dense(1)], 2)
    net.fit(x, y, loss="binary_cross_entropy", epochs=30, optimizer=Adam(0.05), verbose=0)
    assert net.evaluate(x, y, loss="binary_cross_entropy", metrics="accuracy")["accuracy"] > 0.97
    squared = Sequential([Dense(8, "tanh"), Dense(1, "sigmoid")], 2)
    assert squared.fit(x, y, loss="mse", epochs=30, optimizer=Adam(0.05), verbose=0).loss[-1] < 0.03


def test_class_weight_of_a_class_that_the_split_lacks():
    x = np.random.default_rng(0).normal(size=(40, 2))
    y = np.repeat([0, 1, 2], [15, 15, 10])
    net = Sequential([Dense(3)], 2)
    net.fit(x, y, loss="cross_entropy", class_weight={2: 9.0}, validation_split=0.25, verbose=0)
    with pytest.raises(TypeError, match="class_weight: a class code must be an integer >= 0, got '0'"):
        net.fit(x, y, loss="cross_entropy", class_weight={"0": 9.0}, verbose=0)
    one = Sequential([Dense(1)], 2)
    one.fit(x, y > 0, loss="binary_cross_entropy", class_weight={1: 9.0}, verbose=0)
    with pytest.raises(ValueError, match="a class code must be an integer <= 1, got 2"):
        one.fit(x, y > 0, loss="binary_cross_entropy", class_weight={2: 9.0}, verbose=0)


def test_the_parameters_of_losses_have_one_default():
    """Those of PyTorch, Keras and our regressor: delta = 1; the median."""
    own = {name: entry.parameter.default for name, entry in reference.LOSSES.items() if entry.parameter}
    assert own == {"huber": 1.0, "quantile": 0.5}
    parameters = MLPRegressor().get_params()
    assert {"huber": parameters["delta"], "quantile": parameters["quantile"]} == own
    assert {name: Objective(name).number for name in own} == own
