"""Gradient descent on a function: where it ends, how it got there, and what it says when it fails."""

import doctest
import math
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

import fastbp as fb
from fastbp import descent
from fastbp import reference as ref
from fastbp.descent import gradient_descent, numerical_gradient


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def rosenbrock_gradient(x):
    return np.array(
        [-2 * (1 - x[0]) - 400 * x[0] * (x[1] - x[0] ** 2), 200 * (x[1] - x[0] ** 2)],
    )


@dataclass
class Peer:
    """Any object with a rule and a rate will do."""

    learning_rate: object
    given: object

    def rule(self):
        return self.given


@dataclass
class Rule:
    """The few fields of the engine's Rule that matter here, and one that the reference does not know."""

    kind: str = "sgd"
    momentum: float = 0.0
    beta1: float = 0.9
    unrelated: float = 1.0


def test_doctests():
    assert doctest.testmod(descent).failed == 0


def test_public_name():
    assert fb.gradient_descent is gradient_descent


def test_one_variable_is_the_closed_form():
    """On x^2, x' = (1 - 2 lr) x: the path is a geometric sequence."""
    result = gradient_descent(lambda x: x**2, lambda x: 2 * x, 1.0, learning_rate=0.25, max_iter=10, tol=0.0)
    assert result.path == pytest.approx(0.5 ** np.arange(11))
    assert result.values == pytest.approx(0.25 ** np.arange(11))
    assert result.n_iter == 10
    assert not result.converged
    assert not result.diverged
    assert "max_iter=10" in result.message
    assert isinstance(result.x, float)
    assert result.x == result.path[-1]


def test_many_variables(rng):
    A = rng.normal(size=(4, 4))
    A = A @ A.T + np.eye(4)
    b = rng.normal(size=4)
    rate = 1 / np.linalg.norm(A, 2)
    result = gradient_descent(lambda x: 0.5 * x @ A @ x - b @ x, lambda x: A @ x - b, np.zeros(4), rate)
    assert result.converged
    assert result.x == pytest.approx(np.linalg.solve(A, b), abs=1e-7)
    assert result.path.shape == (result.n_iter + 1, 4)
    assert result.values.shape == (result.n_iter + 1,)
    assert (np.diff(result.values) <= 1e-14).all()
    assert result.learning_rate == rate


def test_the_start_decides_which_minimum():
    def f(x):
        return x**4 - 2 * x**2 + 0.3 * x

    ends = [gradient_descent(f, None, x0, 0.05).x for x0 in (-2.0, 2.0)]
    assert ends[0] < -0.9 < 0.9 < ends[1]
    assert all(abs(4 * x**3 - 4 * x + 0.3) < 1e-7 for x in ends)


def test_a_start_at_the_minimum_takes_no_step():
    result = gradient_descent(lambda x: x**2, lambda x: 2 * x, 0.0)
    assert (result.n_iter, result.converged, result.path.shape) == (0, True, (1,))


def test_numerical_gradient(rng):
    for x in rng.normal(size=(5, 2)):
        assert numerical_gradient(rosenbrock, x) == pytest.approx(rosenbrock_gradient(x), rel=1e-6, abs=1e-6)
    analytic = gradient_descent(rosenbrock, rosenbrock_gradient, [0.8, 0.6], 1e-3, max_iter=50)
    numerical = gradient_descent(rosenbrock, None, [0.8, 0.6], 1e-3, max_iter=50)
    assert numerical.path == pytest.approx(analytic.path, abs=1e-6)


@pytest.mark.parametrize("name", ref.RULES)
def test_every_rule_by_name(name):
    result = gradient_descent(
        lambda x: float(x @ x), lambda x: 2 * x, [1.0, -2.0], 0.02, 2000, optimizer=name
    )
    assert result.values[-1] < 0.2 * result.values[0]
    assert not result.diverged


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: fb.SGD(0.01, momentum=0.9),
        lambda: fb.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda: fb.Adagrad(0.5),
        lambda: fb.RMSProp(0.01, alpha=0.9),
        lambda: fb.Adam(0.1, beta1=0.8),
        lambda: fb.AdamW(0.1),
        lambda: fb.NAdam(0.1),
        lambda: fb.Rprop(0.1),
    ],
)
def test_the_same_optimizers_train_a_network(optimizer):
    """One linear unit with bias: descending its loss by hand is training it in full batches."""
    optimizer = optimizer()
    x, y = np.array([[0.5], [-1.0], [2.0]]), np.array([[1.0], [0.0], [3.0]])
    net = fb.Sequential([fb.Dense(1)], n_inputs=1, dtype="float64", seed=0)
    start = [float(net.weights[0][0, 0]), float(net.biases[0][0])]

    def loss(p):
        return float(np.mean((x * p[0] + p[1] - y) ** 2))

    def slope(p):
        error = 2 * (x * p[0] + p[1] - y) / 3
        return [float((error * x).sum()), float(error.sum())]

    result = gradient_descent(loss, slope, start, max_iter=20, tol=0.0, optimizer=optimizer)
    net.fit(x, y, loss="mse", optimizer=optimizer, epochs=20, batch_size=None, verbose=0)
    trained = [float(net.weights[0][0, 0]), float(net.biases[0][0])]
    assert result.x == pytest.approx(trained, rel=1e-7)


def test_any_object_with_a_rule():
    by_object = gradient_descent(
        lambda x: x**2, lambda x: 2 * x, 1.0, max_iter=5, optimizer=Peer(0.1, Rule(momentum=0.5))
    )
    theta, state, path = [1.0], {}, [1.0]
    for t in range(1, 6):
        theta = ref.RULES["sgd"](theta, [2 * theta[0]], state, t, 0.1, momentum=0.5)
        path += theta
    assert by_object.path == pytest.approx(path)


def test_schedule():
    result = gradient_descent(
        lambda x: x**2, lambda x: 2 * x, 1.0, lambda step: 0.5 / (step + 2), max_iter=3, tol=0.0
    )
    assert result.path == pytest.approx([1.0, 0.5, 1 / 3, 0.25])
    bound = gradient_descent(lambda x: x**2, lambda x: 2 * x, 1.0, fb.CosineDecay(0.1), max_iter=10)
    assert bound.learning_rate(10) == 0.0


@pytest.mark.parametrize("x0", [1.0, [1.0, 1.0]])
def test_a_rate_too_large_is_reported(x0):
    with pytest.warns(RuntimeWarning, match="diverged.*smaller learning rate"):
        result = gradient_descent(lambda x: np.sum(np.square(x)), lambda x: 2 * np.asarray(x), x0, 1.1)
    assert result.diverged
    assert not result.converged
    assert result.n_iter < 200
    assert result.values[-1] > 1e9
    assert np.isfinite(result.x).all()


def test_leaving_the_domain_is_reported():
    with pytest.warns(RuntimeWarning, match="not finite at step 1"):
        result = gradient_descent(lambda x: math.log(x) if x > 0 else math.nan, lambda x: 1 / x, 0.1, 1.0)
    assert result.x == 0.1  # the last point where f was a number
    assert math.isnan(result.values[-1])


def test_a_function_without_minimum_is_reported():
    with pytest.warns(RuntimeWarning, match="diverged"):
        result = gradient_descent(lambda x: -(x**2), lambda x: -2 * x, 1.0, 0.5)
    assert result.diverged


def test_overflow_does_not_warn_of_itself():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        gradient_descent(lambda x: np.exp(x[0] ** 2), lambda x: 2 * x * np.exp(x**2), [3.0], 1.0)
    assert [str(w.message)[:25] for w in seen] == ["gradient descent diverged"]


def test_the_function_cannot_change_the_path():
    def f(x):
        value = float(x @ x)
        x[:] = 100.0
        return value

    assert gradient_descent(f, lambda x: 2 * x, [1.0]).converged


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"f": 3.0}, TypeError, "f must be callable"),
        ({"grad": 3.0}, TypeError, "grad must be callable"),
        ({"x0": "zero"}, TypeError, "x0 must be a number"),
        ({"x0": [[1.0]]}, ValueError, r"shape \(1, 1\)"),
        ({"x0": []}, ValueError, r"shape \(0,\)"),
        ({"x0": math.inf}, ValueError, "x0 must be finite"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate"),
        ({"max_iter": -1}, ValueError, "max_iter"),
        ({"tol": -1.0}, ValueError, "tol"),
        ({"optimizer": "newton"}, ValueError, "'newton'"),
        ({"optimizer": 3}, TypeError, "optimizer must be"),
        ({"optimizer": Peer(0.3, Rule()), "learning_rate": 0.2}, ValueError, "given twice"),
        ({"f": lambda x: [x, x]}, ValueError, "f must return one number"),
        ({"grad": lambda x: [x, x]}, ValueError, r"grad must return shape \(\)"),
        ({"f": lambda x: math.nan}, ValueError, "finite at x0"),
    ],
)
def test_bad_arguments(arguments, error, message):
    given = {"f": lambda x: x**2, "grad": lambda x: 2 * x, "x0": 1.0, **arguments}
    with pytest.raises(error, match=message):
        gradient_descent(**given)
