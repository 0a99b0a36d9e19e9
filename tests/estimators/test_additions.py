"""What the estimators have beyond scikit-learn: each addition does what it says, and nothing unasked."""

import ast
import inspect
import re

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.metrics import accuracy_score, log_loss, r2_score

import fastbp
from fastbp import MLPClassifier, MLPRegressor, reference
from fastbp.estimators.choices import ACTIVATION, LOSS, beyond_sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_iris, y_iris = load_iris(return_X_y=True)
X_diabetes, y_diabetes = load_diabetes(return_X_y=True)
X_diabetes = X_diabetes / X_diabetes.std(axis=0)
y_diabetes = (y_diabetes - y_diabetes.mean()) / y_diabetes.std()
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 0}
WHOLE = {**SMALL, "batch_size": len(X_diabetes), "shuffle": False, "alpha": 0.0}
STILL = {"solver": "sgd", "learning_rate_init": 1e-14, "momentum": 0.0}  # the initial weights, practically
BOTH = pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])


def packed(net):
    return np.concatenate([part.ravel() for part in (*net.coefs_, *net.intercepts_)])


def same(one, other):
    assert one.loss_curve_ == other.loss_curve_
    assert_array_equal(packed(one), packed(other))


@BOTH
def test_additions_that_say_nothing_change_nothing(Estimator):
    plain = Estimator(**SMALL).fit(X_iris, y_iris)
    extra = (
        {"class_weight": {0: 1, 1: 1, 2: 1.0}}
        if Estimator is MLPClassifier
        else {"out_activation": "identity"}
    )
    net = Estimator(
        **SMALL,
        activation=["relu"],
        dropout=[0.0],
        max_grad_norm=1e30,
        callbacks=[],
        n_threads=1,
        dtype="float64",
        **extra,
    )
    net.fit(X_iris, y_iris, validation_set=(X_iris, y_iris))
    same(plain, net)
    assert plain.validation_loss_curve_ is None


# Activations ----------------------------------------------------------------------------------------------

FORMULAS = {
    name: np.vectorize(reference.ACTIVATIONS[ACTIVATION.ours(name)].f, otypes=[float])
    for name in ACTIVATION.options
}


@pytest.mark.parametrize("activation", FORMULAS)
def test_activation_is_its_formula(activation):
    net = MLPRegressor(**{**SMALL, "hidden_layer_sizes": (6, 4)}, activation=activation).fit(
        X_diabetes, y_diabetes
    )
    first, second = net.hidden_activations(X_diabetes)
    f = FORMULAS[activation]
    assert_allclose(first, f(X_diabetes @ net.coefs_[0] + net.intercepts_[0]), rtol=1e-9, atol=1e-12)
    assert_allclose(second, f(first @ net.coefs_[1] + net.intercepts_[1]), rtol=1e-9, atol=1e-12)
    assert_allclose(net.predict(X_diabetes), second @ net.coefs_[2][:, 0] + net.intercepts_[2][0], rtol=1e-9)


def check_gradient(net, X, y):
    """Compare the gradient of the loss with central differences, where the loss has a derivative."""
    theta = packed(net)
    y = np.asarray(y, dtype=float).reshape(len(y), -1)
    gradient = net._loss_grad_lbfgs(theta, X, y, None)[1]
    step = 1e-6
    numeric = np.empty_like(theta)
    for i in range(len(theta)):
        e = np.zeros_like(theta)
        e[i] = step
        numeric[i] = (
            net._loss_grad_lbfgs(theta + e, X, y, None)[0] - net._loss_grad_lbfgs(theta - e, X, y, None)[0]
        ) / (2 * step)
    assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("activation", [*FORMULAS, ["tanh", "gelu"]], ids=str)
def test_gradient_through_activations(activation):
    params = {"hidden_layer_sizes": (5, 4) if isinstance(activation, list) else (5,)}
    net = MLPRegressor(**params, activation=activation, solver="lbfgs", max_iter=3, random_state=1, alpha=0.1)
    net.fit(X_diabetes[:40], y_diabetes[:40])
    check_gradient(net, X_diabetes[:40], y_diabetes[:40])


def test_activation_per_layer():
    sizes = {**SMALL, "hidden_layer_sizes": (6, 4)}
    same(
        MLPClassifier(**sizes, activation=["tanh", "tanh"]).fit(X_iris, y_iris),
        MLPClassifier(**sizes, activation="tanh").fit(X_iris, y_iris),
    )
    net = MLPClassifier(**sizes, activation=("tanh", "relu")).fit(X_iris, y_iris)
    first, second = net.hidden_activations(X_iris)
    assert (first < 0).any() and (second >= 0).all() and (second == 0).any()
    assert MLPClassifier((), activation=[], max_iter=2).fit(X_iris, y_iris).hidden_activations(X_iris) == []


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"activation": ["relu", "tanh"]}, "activation has 2 entries, but there are 1 hidden layers"),
        ({"activation": ["sine"]}, "'sine' is not one of identity, relu, logistic"),
        ({"activation": ["sigmod"]}, "did you mean 'sigmoid', here 'logistic'"),
        ({"activation": "relu7"}, r"instead \(did you mean 'relu'\?\)"),
        ({"dropout": [0.1, 0.2]}, "dropout has 2 entries, but there are 1 hidden layers"),
        ({"dropout": [1.0]}, r"1\.0 is not a rate in \[0, 1\)"),
        ({"dropout": 1.0}, "The 'dropout' parameter of MLPRegressor must be"),
        ({"dropout": 0.5, "solver": "lbfgs"}, "dropout=0.5 needs a stochastic solver, but solver='lbfgs'"),
        ({"max_grad_norm": 1.0, "solver": "lbfgs"}, "max_grad_norm=1.0 needs a stochastic solver"),
        ({"max_grad_norm": 0.0}, "The 'max_grad_norm' parameter of MLPRegressor must be"),
        ({"n_threads": 0}, "The 'n_threads' parameter of MLPRegressor must be"),
        ({"dtype": "float16"}, "The 'dtype' parameter of MLPRegressor must be"),
        ({"loss": "hinge"}, "The 'loss' parameter of MLPRegressor must be"),
        ({"loss": "quantile", "quantile": 1.0}, "The 'quantile' parameter of MLPRegressor must be"),
        ({"loss": "huber", "delta": 0.0}, "The 'delta' parameter of MLPRegressor must be"),
        ({"out_activation": "softmax"}, "The 'out_activation' parameter of MLPRegressor must be"),
        ({"out_activation": "relu", "loss": "poisson"}, "out_activation='relu' with loss='poisson'"),
    ],
    ids=str,
)
def test_bad_values_are_named(params, message):
    net = MLPRegressor(**{**SMALL, **params})
    with pytest.raises(ValueError, match=message):
        net.fit(X_diabetes, y_diabetes)
    assert not hasattr(net, "coefs_")


# Solvers: steps on all rows against the specification ------------------------------------------------------

SOLVERS = beyond_sklearn("solver")


@pytest.mark.parametrize("solver", SOLVERS)
def test_solver_follows_its_formula(solver):
    params = {**WHOLE, "activation": "tanh", "alpha": 0.1}
    theta = packed(MLPRegressor(**params, **STILL).fit(X_diabetes, y_diabetes))
    net = MLPRegressor(**{**params, "max_iter": 4}, solver=solver, learning_rate_init=0.05)
    net.fit(X_diabetes, y_diabetes)
    # The gradient of the loss the solver sees: adamw's alpha is weight decay, on weights and biases, apart from it.
    problem = MLPRegressor(
        **{**params, "alpha": 0.0 if solver == "adamw" else 0.1, "max_iter": 1}, solver="lbfgs"
    )
    problem.fit(X_diabetes, y_diabetes)
    hyper = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.1 if solver == "adamw" else 0.0}
    known = inspect.signature(reference.RULES[solver].rule).parameters
    hyper = {name: value for name, value in hyper.items() if name in known}
    state = {}
    for t in range(1, 5):
        gradient = problem._loss_grad_lbfgs(theta, X_diabetes, y_diabetes[:, None], None)[1]
        theta = np.array(reference.RULES[solver](theta.tolist(), gradient.tolist(), state, t, 0.05, **hyper))
    assert_allclose(packed(net), theta, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
def test_solver_learns_and_goes_on(solver):
    net = MLPClassifier((10,), solver=solver, max_iter=150, random_state=0, batch_size=150)
    # At one of the rates that a user would try: they suit some and not others.
    fits = (net.set_params(learning_rate_init=rate).fit(X_iris, y_iris) for rate in (0.02, 0.1, 0.01, 0.005))
    assert any(fit.score(X_iris, y_iris) > 0.93 for fit in fits)
    # fit and partial_fit are one road, moments and all.
    one = MLPRegressor(**{**WHOLE, "max_iter": 6}, solver=solver).fit(X_diabetes, y_diabetes)
    two = MLPRegressor(**WHOLE, solver=solver)
    for _ in range(6):
        two.partial_fit(X_diabetes, y_diabetes)
    assert_allclose(packed(one), packed(two), rtol=1e-12)


# Losses ---------------------------------------------------------------------------------------------------

NUMBERS = {"huber": ("delta", 0.3), "quantile": ("quantile", 0.8)}


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("loss", beyond_sklearn("loss"))
def test_loss_is_its_formula(loss, outputs):
    entry = reference.LOSSES[LOSS.ours(loss)]
    number = entry.parameter.default if entry.parameter else 0.0
    params = {}
    if loss in NUMBERS:
        parameter, number = NUMBERS[loss]
        params = {parameter: number}
    y = np.column_stack([y_diabetes, -y_diabetes, y_diabetes**2])[:, :outputs]
    net = MLPRegressor(loss, **{**WHOLE, "max_iter": 1}, **params, **STILL)
    net.fit(X_diabetes, y[:, 0] if outputs == 1 else y)
    prediction = net.predict(X_diabetes).reshape(y.shape)
    value = np.vectorize(entry.element)(prediction, y, number).mean()
    assert_allclose(net.loss_, value, rtol=1e-9)
    net.set_params(solver="lbfgs", activation="tanh")
    check_gradient(net, X_diabetes[:30], y[:30])


def test_quantile_and_absolute_error_find_the_quantiles():
    rng = np.random.RandomState(0)
    X, y = np.ones((400, 1)), rng.exponential(size=400)
    params = {
        "hidden_layer_sizes": (),
        "max_iter": 1500,
        "batch_size": 400,
        "learning_rate_init": 0.003,
        "alpha": 0.0,
    }
    params |= {"n_iter_no_change": np.inf, "random_state": 0}
    for share in (0.1, 0.5, 0.9):
        net = MLPRegressor("quantile", quantile=share, **params).fit(X, y)
        assert_allclose((y < net.predict(X)).mean(), share, atol=0.03)
    net = MLPRegressor("absolute_error", **params).fit(X, y)
    assert_allclose(net.predict(X[:1]), np.median(y), atol=0.05)
    squared = MLPRegressor(**params).fit(X, y)
    assert_allclose(squared.predict(X[:1]), y.mean(), atol=0.05)


@pytest.mark.parametrize("name", ["logistic", "tanh", "relu", "softplus", "hard_sigmoid", "mish"])
def test_out_activation_is_applied(name):
    y = expit(y_diabetes)
    net = MLPRegressor(**{**SMALL, "max_iter": 30}, out_activation=name, activation="tanh").fit(X_diabetes, y)
    (hidden,) = net.hidden_activations(X_diabetes)
    raw = hidden @ net.coefs_[1] + net.intercepts_[1]
    assert_allclose(net.predict(X_diabetes), FORMULAS[name](raw)[:, 0], rtol=1e-9, atol=1e-12)
    assert net.out_activation_ == name
    net.set_params(solver="lbfgs")
    if name not in ("relu", "hard_sigmoid"):  # which have a corner
        check_gradient(net, X_diabetes[:30], y[:30])


# Class weights --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [["a", "b", "c"], [0, 1]])
def test_class_weight_is_a_weight_of_the_rows(labels):
    y = np.array(labels)[y_iris % len(labels)]
    weights = {label: 1.0 + 3.0 * i for i, label in enumerate(labels)}
    rows = np.array([weights[label] for label in y])
    other = np.random.RandomState(0).uniform(0.5, 2, 150)
    same(
        MLPClassifier(**SMALL, class_weight=weights).fit(X_iris, y),
        MLPClassifier(**SMALL).fit(X_iris, y, rows),
    )
    same(
        MLPClassifier(**SMALL, class_weight=weights).fit(X_iris, y, other),
        MLPClassifier(**SMALL).fit(X_iris, y, rows * other),
    )
    first = MLPClassifier(**SMALL, class_weight=weights).partial_fit(X_iris[:5], y[:5], classes=labels)
    same(first, MLPClassifier(**SMALL).partial_fit(X_iris[:5], y[:5], rows[:5], classes=labels))


def test_balanced_classes():
    keep = np.r_[0:50, 50:60, 100:105]
    X, y = X_iris[keep], y_iris[keep]
    rows = 65 / (3 * np.bincount(y))[y]
    same(MLPClassifier(**SMALL, class_weight="balanced").fit(X, y), MLPClassifier(**SMALL).fit(X, y, rows))
    with pytest.raises(ValueError, match="class_weight='balanced' needs all rows at once"):
        MLPClassifier(**SMALL, class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])


def test_keys_and_values_of_class_weight():
    """scikit-learn's rule for keys: one that is no class is an error if some class has no weight."""
    X, y = X_iris[:100], y_iris[:100]
    for keys in ({"0": 5}, {0.9: 5}, {0: 5, 7: 1}):
        with pytest.raises(ValueError, match="are not in class_weight"):
            MLPClassifier(**SMALL, class_weight=keys).fit(X, y)
    MLPClassifier(**SMALL, class_weight={0: 5}).fit(X, y)
    MLPClassifier(**SMALL, class_weight={0: 5, 1: 1, 2: 1}).fit(X, y)  # a fold that lacks class 2
    for value in (np.nan, np.inf, -1.0):
        with pytest.raises(ValueError, match=r"class_weight\[1\] must be a finite number"):
            MLPClassifier(**SMALL, class_weight={0: 1.0, 1: value}).fit(X, y)
    labels = np.column_stack([y, 1 - y])
    with pytest.raises(ValueError, match=r"class_weight\[0\] must be a finite number"):
        MLPClassifier(**SMALL, class_weight=[{0: np.nan, 1: 1}, {0: 1, 1: 1}]).fit(X, labels)


@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"solver": "lbfgs"}])
def test_rows_of_class_weight_zero_are_left_out(options):
    params = {**SMALL, "batch_size": 10, "shuffle": False, **options}
    X, y = X_iris, y_iris  # sorted by class: whole batches of weight 0
    if options.get("solver") == "lbfgs":
        del params["batch_size"]
    net = MLPClassifier(**params, class_weight={0: 0.0, 1: 1.0, 2: 2.0}).fit(X, y)
    assert list(net.classes_) == [0, 1, 2]
    if not options:
        thin = MLPClassifier(**params, class_weight=net.class_weight).fit(scipy.sparse.csr_matrix(X), y)
        assert_allclose(thin.loss_curve_, net.loss_curve_)
        net = MLPClassifier(**params, class_weight=net.class_weight).partial_fit(X, y, classes=[0, 1, 2])
        other = MLPClassifier(**params)
        other.partial_fit(X[y > 0], y[y > 0], np.repeat([1.0, 2.0], 50), classes=[0, 1, 2])
        assert_array_equal(packed(net), packed(other))
    with pytest.raises(ValueError, match="leave no row with a weight above 0"):
        MLPClassifier(**params, class_weight={0: 0.0, 1: 0.0, 2: 0.0}).fit(X, y)


@pytest.mark.parametrize("sizes", [(64.0,), 64.5, ("3",), (True,)])
def test_hidden_layer_sizes_are_named(sizes):
    with pytest.raises((TypeError, ValueError), match="hidden_layer_sizes"):
        MLPRegressor(**{**SMALL, "hidden_layer_sizes": sizes}).fit(X_diabetes, y_diabetes)


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_ftol_and_maxcor_reach_lbfgs(Estimator):
    """With scikit-learn's ftol a smaller tol changes nothing; a smaller ftol fits better, and is what SciPy does."""
    params = {**SMALL, "solver": "lbfgs", "max_iter": 20000, "max_fun": 100000, "alpha": 0.0, "tol": 1e-12}
    X, y = (X_iris, y_iris) if Estimator is MLPClassifier else (X_diabetes[:60], y_diabetes[:60] / 100)
    plain = Estimator(**params).fit(X, y)
    assert plain.loss_ == Estimator(**{**params, "tol": 1e-8}).fit(X, y).loss_
    fine = Estimator(**params, ftol=1e-13, maxcor=20).fit(X, y)
    assert fine.loss_ < plain.loss_ and fine.n_iter_ > plain.n_iter_
    assert Estimator(**params, maxcor=3).fit(X, y).loss_ != plain.loss_
    with pytest.warns(UserWarning, match="cannot train with ftol=1e-13, maxcor=20"):
        fine.to_sklearn()
    for wrong in ({"ftol": -1.0}, {"maxcor": 0}):
        with pytest.raises(ValueError, match=f"The '{next(iter(wrong))}' parameter of"):
            Estimator(**wrong).fit(X, y)


def test_class_weight_of_labels():
    X, Y = make_multilabel_classification(n_samples=60, n_classes=2, random_state=0)
    weights = [{0: 1.0, 1: 3.0}, {0: 1.0, 1: 0.5}]
    rows = np.where(Y[:, 0], 3.0, 1.0) * np.where(Y[:, 1], 0.5, 1.0)
    same(MLPClassifier(**SMALL, class_weight=weights).fit(X, Y), MLPClassifier(**SMALL).fit(X, Y, rows))


# Dropout and clipping -------------------------------------------------------------------------------------


def test_dropout_adds_its_variance_to_the_loss():
    """A linear net whose hidden outputs h are dropped at rate r: the mean loss grows by r/(1-r) sum (h w)^2 / 2."""
    X = np.repeat(X_diabetes[:1], 40_000, axis=0)
    params = {
        "hidden_layer_sizes": (50,),
        "activation": "identity",
        "alpha": 0.0,
        "random_state": 0,
        "max_iter": 1,
    }
    params |= {"batch_size": 1000, **STILL}
    plain = MLPRegressor(**params).fit(X, np.zeros(len(X)))
    net = MLPRegressor(**params, dropout=0.3).fit(X, np.zeros(len(X)))
    (hidden,) = plain.hidden_activations(X[:1])
    variance = 0.3 / 0.7 * ((hidden[0] * plain.coefs_[1][:, 0]) ** 2).sum()
    assert_allclose(net.loss_ - plain.loss_, variance / 2, rtol=0.05)
    assert_allclose(net.predict(X[:1]), plain.predict(X[:1]), rtol=1e-6)  # nothing is dropped in prediction


def test_dropout_per_layer_and_reproducible():
    sizes = {**SMALL, "hidden_layer_sizes": (20, 10)}
    nets = [
        MLPClassifier(**sizes, dropout=rate, n_threads=threads).fit(X_iris, y_iris)
        for rate, threads in ((0.4, 1), (0.4, 2), ([0.4, 0.4], 1), ([0.4, 0.0], 1), ([0.0, 0.4], 1), (0.0, 1))
    ]
    same(nets[0], nets[1])
    same(nets[0], nets[2])
    curves = {tuple(net.loss_curve_) for net in nets}
    assert len(curves) == 4
    other = MLPClassifier(**{**sizes, "random_state": 1}, dropout=0.4).fit(X_iris, y_iris)
    assert tuple(other.loss_curve_) not in curves


def test_max_grad_norm_bounds_the_step():
    params = {**WHOLE, "solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1}
    start = packed(MLPRegressor(**WHOLE, **STILL).fit(X_diabetes, y_diabetes))
    free = packed(MLPRegressor(**{**params, "max_iter": 1}).fit(X_diabetes, y_diabetes)) - start
    norm = np.linalg.norm(free) / 0.1
    clipped = MLPRegressor(**{**params, "max_iter": 1}, max_grad_norm=norm / 2).fit(X_diabetes, y_diabetes)
    assert_allclose(packed(clipped) - start, free / 2, rtol=1e-6, atol=1e-9)
    loose = MLPRegressor(**{**params, "max_iter": 1}, max_grad_norm=norm * 2).fit(X_diabetes, y_diabetes)
    assert_allclose(packed(loose) - start, free, rtol=1e-12, atol=1e-12)


# Validation set -------------------------------------------------------------------------------------------


def test_validation_set_of_a_classifier():
    train, held = np.arange(0, 150, 2), np.arange(1, 150, 2)
    params = {**SMALL, "learning_rate_init": 0.05, "max_iter": 40, "alpha": 0.0}
    net = MLPClassifier(**params, early_stopping=True, n_iter_no_change=5)
    net.fit(X_iris[train], y_iris[train], validation_set=(X_iris[held], y_iris[held]))
    assert net.t_ == len(train) * net.n_iter_  # no row is held out
    assert len(net.validation_loss_curve_) == len(net.validation_scores_) == net.n_iter_
    assert_allclose(net.score(X_iris[held], y_iris[held]), max(net.validation_scores_))
    # The same epochs without early stopping: its last records are those of the weights it ends with.
    plain = MLPClassifier(**{**params, "max_iter": net.n_iter_})
    plain.fit(X_iris[train], y_iris[train], validation_set=(X_iris[held], y_iris[held]))
    assert plain.loss_curve_ == net.loss_curve_ and plain.validation_loss_curve_ == net.validation_loss_curve_
    assert_allclose(
        plain.validation_loss_curve_[-1], log_loss(y_iris[held], plain.predict_proba(X_iris[held]))
    )
    assert_allclose(net.validation_scores_[-1], accuracy_score(y_iris[held], plain.predict(X_iris[held])))


def test_validation_set_of_a_regressor():
    weight = np.linspace(0.1, 2, 142)
    held = X_diabetes[300:], y_diabetes[300:]
    net = MLPRegressor(**SMALL, alpha=1.0)
    net.fit(X_diabetes[:300], y_diabetes[:300], validation_set=(*held, weight))
    errors = (net.predict(held[0]) - held[1]) ** 2 / 2
    assert_allclose(net.validation_loss_curve_[-1], np.average(errors, weights=weight))
    net.set_params(early_stopping=True, max_iter=1).fit(
        X_diabetes[:300], y_diabetes[:300], validation_set=(*held, weight)
    )
    assert_allclose(net.validation_scores_, [r2_score(held[1], net.predict(held[0]), sample_weight=weight)])


@pytest.mark.parametrize(
    ("validation_set", "message"),
    [
        ((X_iris,), "validation_set must be"),
        (X_iris, "validation_set must be"),
        ((X_iris, y_iris[:-1]), "X has 150 rows, but y has 149"),
        ((X_iris, y_iris + 1), r"classes \[3\] that are not in classes_ \[0 1 2\]"),
        ((X_iris[:, :2], y_iris), "X has 2 features, but MLPClassifier is expecting 4"),
    ],
)
def test_bad_validation_sets(validation_set, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**SMALL).fit(X_iris, y_iris, validation_set=validation_set)


def test_lbfgs_takes_no_validation_set():
    with pytest.raises(ValueError, match=r"validation_set \(X_val, y_val\) is for the stochastic solvers"):
        MLPClassifier(**SMALL, solver="lbfgs").fit(X_iris, y_iris, validation_set=(X_iris, y_iris))
    with pytest.raises(ValueError, match="y has 2 outputs, but the network 1"):
        pair = np.c_[y_diabetes, y_diabetes]
        MLPRegressor(**SMALL).fit(X_diabetes, y_diabetes, validation_set=(X_diabetes, pair))


# Callbacks ------------------------------------------------------------------------------------------------


class Recorder:
    """Notes every call; stops at an epoch if told so."""

    def __init__(self, stop_at=None):
        self.calls, self.logs, self.samples, self.stop_at = [], [], 0, stop_at

    def on_fit_begin(self):
        self.calls.append("begin")

    def on_epoch_begin(self, epoch):
        self.calls.append(epoch)

    def on_chunk_end(self, seconds, samples):
        assert seconds >= 0
        self.samples += samples

    def on_epoch_end(self, epoch, logs):
        self.logs.append(logs)
        return epoch == self.stop_at

    def on_fit_end(self):
        self.calls.append("end")


@BOTH
def test_callbacks_are_called_in_order(Estimator):
    recorder = Recorder()
    net = Estimator(**SMALL, callbacks=[recorder], early_stopping=True)
    net.fit(X_iris, y_iris, validation_set=(X_iris, y_iris))
    assert recorder.calls == ["begin", 0, 1, 2, 3, 4, "end"]
    assert recorder.samples == net.t_
    assert [logs["loss"] for logs in recorder.logs] == net.loss_curve_
    assert [logs["val_loss"] for logs in recorder.logs] == net.validation_loss_curve_
    assert [logs["val_score"] for logs in recorder.logs] == net.validation_scores_
    same(net, Estimator(**SMALL, early_stopping=True).fit(X_iris, y_iris, validation_set=(X_iris, y_iris)))


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_callback_stops_training(solver, recwarn):
    net = MLPRegressor(**SMALL, solver=solver, callbacks=[Recorder(stop_at=2)]).fit(X_diabetes, y_diabetes)
    assert net.n_iter_ == 3
    assert not recwarn.list  # a wanted end is no failure to converge
    part = MLPRegressor(**{**SMALL, "max_iter": 3}, solver=solver).fit(X_diabetes, y_diabetes)
    assert_allclose(packed(net), packed(part))


def test_early_stopping_callback_restores_the_best():
    callback = fastbp.EarlyStopping(patience=3, monitor="val_loss")
    params = {"hidden_layer_sizes": (30,), "max_iter": 300, "random_state": 0, "learning_rate_init": 0.05}
    net = MLPClassifier(**params, callbacks=[callback])
    net.fit(X_iris[::3], y_iris[::3], validation_set=(X_iris[1::3], y_iris[1::3]))
    curve = net.validation_loss_curve_
    assert len(curve) < 300 and np.argmin(curve) < len(curve) - 1
    held = log_loss(y_iris[1::3], net.predict_proba(X_iris[1::3]))
    assert_allclose(held, min(curve), rtol=1e-6)


def test_learning_rate_callback_lowers_the_rate():
    flat = fastbp.ReduceLROnPlateau(factor=0.5, patience=0, threshold=10.0)  # every epoch is a plateau
    recorder = Recorder()
    MLPRegressor(**SMALL, callbacks=[flat, recorder]).fit(X_diabetes, y_diabetes)
    rates = [logs["learning_rate"] for logs in recorder.logs]
    assert rates[-1] < rates[0] == 0.001


def test_time_limit_keeps_a_record():
    net = MLPRegressor(**SMALL, callbacks=[fastbp.TimeLimit(0.0)]).fit(X_diabetes, y_diabetes)
    assert net.n_iter_ == 1 and len(net.loss_curve_) == 1 and 0 < net.t_ <= len(X_diabetes)


def test_lbfgs_goes_back_to_the_best_of_a_callback():
    recorder = Recorder()
    stop = fastbp.EarlyStopping(patience=1, min_delta=1.0)  # the first is the best
    net = MLPRegressor(**SMALL, solver="lbfgs", callbacks=[stop, recorder]).fit(X_diabetes, y_diabetes)
    assert net.n_iter_ == len(recorder.logs) == 2
    assert_allclose(net.loss_, recorder.logs[0]["loss"])


def test_terminate_on_nan_leaves_the_estimator():
    net = MLPRegressor(**SMALL, solver="sgd", learning_rate_init=1e6, callbacks=[fastbp.TerminateOnNaN()])
    with pytest.raises(fastbp.DivergenceError):
        net.fit(X_diabetes, y_diabetes)
    assert not hasattr(net, "coefs_")


# Threads and precision ------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_threads_do_not_change_a_bit(Estimator, solver):
    X = np.tile(X_iris, (20, 8))
    y = np.tile(y_iris, 20)
    params = {"hidden_layer_sizes": (300, 200), "max_iter": 2, "batch_size": 500, "random_state": 0}
    nets = [Estimator(**params, solver=solver, n_threads=n).fit(X, y) for n in (1, 2, None)]
    for net in nets[1:]:
        assert_array_equal(packed(net), packed(nets[0]))
        assert_array_equal(net.predict(X), nets[0].predict(X))
        assert net.loss_ == nets[0].loss_


def test_the_cuts_into_chunks_change_no_loss(monkeypatch):
    curves = []
    for seconds in (1e-9, 3e-5, 10.0):
        monkeypatch.setattr("fastbp.engine.session.CHUNK_SECONDS", seconds)
        net = MLPRegressor(**SMALL, batch_size=9, dropout=0.2).fit(X_diabetes, y_diabetes)
        curves.append(net.loss_curve_)
    assert curves[0] == curves[1] == curves[2]


@BOTH
def test_dtype_is_that_of_the_network(Estimator):
    for dtype in ("float32", "float64"):
        net = Estimator(**SMALL, dtype=dtype).fit(X_iris, y_iris)
        cast = Estimator(**SMALL).fit(X_iris.astype(dtype), y_iris)
        same(net, cast)
        assert net.coefs_[0].dtype == dtype
        answer = net.predict_proba(X_iris) if Estimator is MLPClassifier else net.predict(X_iris)
        assert answer.dtype == dtype
    assert Estimator(**SMALL).fit(X_iris, y_iris).coefs_[0].dtype == np.float64


def test_hidden_activations_take_sparse_rows_and_lists():
    from scipy.sparse import csr_matrix

    net = MLPClassifier(**{**SMALL, "hidden_layer_sizes": (6, 3)}).fit(X_iris, y_iris)
    dense = net.hidden_activations(X_iris)
    assert [layer.shape for layer in dense] == [(150, 6), (150, 3)]
    for rows in (csr_matrix(X_iris), X_iris.tolist(), np.asfortranarray(X_iris)):
        for one, other in zip(net.hidden_activations(rows), dense, strict=True):
            assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@BOTH
def test_a_stop_within_an_epoch_ends_it_there(Estimator, monkeypatch):
    from fastbp.engine import session

    monkeypatch.setattr(session, "CHUNK_SECONDS", 0.0)  # a chunk per batch

    class Stop:
        def on_chunk_end(self, seconds, samples):
            return True

    net = Estimator(**SMALL, batch_size=10, callbacks=[Stop()]).fit(X_iris, y_iris)
    assert 0 < net.t_ < len(X_iris)
    assert net.t_ % 10 == 0
    assert net.n_iter_ == len(net.loss_curve_) == 1


@BOTH
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("rows", [3, 20_000])
@pytest.mark.parametrize("kind", ["list", "float32", "float64", "fortran", "frame", "sparse"])
def test_predict_refuses_what_is_not_finite(Estimator, bad, rows, kind):
    net = Estimator(**SMALL).fit(X_iris, y_iris)
    X = np.resize(X_iris, (rows, 4)).copy()
    X[-1, 2] = bad
    if kind == "list":
        X = X[-50:].tolist()
    elif kind == "frame":
        X = pytest.importorskip("pandas").DataFrame(X)
    elif kind == "sparse":
        X = scipy.sparse.csr_matrix(X)
    else:
        X = np.asfortranarray(X) if kind == "fortran" else X.astype(kind)
    with pytest.raises(ValueError, match="NaN|infinity"):
        net.predict(X)


@BOTH
def test_predict_leaves_the_callers_matrix_alone(Estimator):
    """Duplicates are summed in a copy."""
    net = Estimator(**SMALL).fit(X_iris, y_iris)
    data, indices, indptr = np.array([1.0, 2.0, 3.0]), np.array([2, 0, 2]), np.array([0, 3])
    X = scipy.sparse.csr_matrix((data, indices, indptr), shape=(1, 4))
    assert_allclose(net.predict(X), net.predict([[2.0, 0.0, 4.0, 0.0]]))
    net.partial_fit(X, y_iris[:1])
    net.fit(scipy.sparse.vstack([X, scipy.sparse.csr_matrix(X_iris)]).tocsr(), np.append(y_iris, 1))
    assert X.data.tolist() == [1.0, 2.0, 3.0]
    assert X.indices.tolist() == [2, 0, 2]
    assert X.indptr.tolist() == [0, 3]


@BOTH
def test_few_engines_are_kept(Estimator):
    from fastbp.estimators import predict

    net = Estimator(**SMALL).fit(X_iris, y_iris)
    for activation in FORMULAS:
        net.set_params(activation=activation).predict(X_iris)
        assert 1 <= len(predict._engines[net]) <= 4


@BOTH
def test_defaults_are_those_of_the_docstring(Estimator):
    documented = {}
    for names, default in re.findall(
        r"^(\w+(?:, \w+)*) : .*, default=(.+)$", inspect.getdoc(Estimator), re.MULTILINE
    ):
        names = names.split(", ")
        values = ast.literal_eval(default)
        documented.update(zip(names, values if len(names) > 1 else [values], strict=True))
    assert documented == Estimator().get_params()


@pytest.mark.parametrize("scale", [1e8, 1e10])
def test_lbfgs_with_float32_rows_and_large_targets(scale):
    """It stopped after 1 or 2 iterations at R2 0.04 or less, without a word: float32 saw no loss change."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5)).astype(np.float32)
    y = (np.sin(X[:, 0]) + X[:, 1] * X[:, 2]).astype(np.float64) * scale
    settings = {"hidden_layer_sizes": (20,), "solver": "lbfgs", "random_state": 0, "max_iter": 300}
    theirs = sklearn.neural_network.MLPRegressor(**settings).fit(X, y)
    ours = MLPRegressor(**settings).fit(X, y)
    assert ours.score(X, y) > theirs.score(X, y) - 0.02 > 0.9


def test_patience_is_counted_in_float64():
    """float32 has no number between the loss of 5e7 and that less tol: every epoch looked like an improvement."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(64, 3)).astype(np.float32)
    y = (1e4 + X[:, 0]).astype(np.float32)
    net = MLPRegressor(
        hidden_layer_sizes=(4,), solver="sgd", learning_rate_init=1e-13, momentum=0.0, max_iter=30, tol=0.1,
        n_iter_no_change=3, random_state=0, alpha=0.0,
    )  # fmt: skip
    net.fit(X, y)
    assert type(net.loss_) is type(net.loss_curve_[-1]) is np.float32
    assert net.n_iter_ < 10


@BOTH
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_kernels_are_loaded_before_a_training_begins(Estimator, solver, monkeypatch):
    """What loads or compiles them is no part of what callbacks measure."""
    from fastbp.engine import loading

    loaded = set()
    monkeypatch.setattr(loading, "_LOADED", loaded)
    seen = []

    class Look:
        def on_fit_begin(self, run):
            seen.append({dtype.name for dtype in loaded})

    Estimator(**SMALL, solver=solver, callbacks=[Look()]).fit(X_iris.astype("float32"), y_iris)
    Estimator(**SMALL, solver=solver, callbacks=[Look()]).fit(X_iris, y_iris)
    assert seen == [{"float32"}, {"float32", "float64"}]
