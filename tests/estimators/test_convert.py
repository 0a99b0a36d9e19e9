"""to_sklearn, from_sklearn, and what other programs make of the result; LossCurveDisplay."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import sklearn.neural_network
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastbp import MLPClassifier, MLPRegressor
from fastbp.estimators import LossCurveDisplay

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_iris, y_iris = load_iris(return_X_y=True)
X_diabetes, y_diabetes = load_diabetes(return_X_y=True)
X_labels, y_labels = make_multilabel_classification(n_samples=60, random_state=0)
SMALL = {"hidden_layer_sizes": (6, 4), "max_iter": 5, "random_state": 0}
THEIRS = {
    MLPClassifier: sklearn.neural_network.MLPClassifier,
    MLPRegressor: sklearn.neural_network.MLPRegressor,
}
CASES = {
    "multiclass": (MLPClassifier, {}, X_iris, y_iris),
    "binary": (MLPClassifier, {"solver": "sgd"}, X_iris, y_iris > 1),
    "text": (MLPClassifier, {"activation": "tanh"}, X_iris, np.array(["a", "b", "c"])[y_iris]),
    "multilabel": (MLPClassifier, {"activation": "logistic"}, X_labels, y_labels),
    "lbfgs": (MLPClassifier, {"solver": "lbfgs"}, X_iris, y_iris),
    "early stopping": (MLPClassifier, {"early_stopping": True}, X_iris, y_iris),
    "regressor": (MLPRegressor, {}, X_diabetes, y_diabetes),
    "several outputs": (MLPRegressor, {"activation": "identity"}, X_labels, y_labels),
    "poisson": (MLPRegressor, {"loss": "poisson"}, X_iris, y_iris),
    "one activation in a list": (MLPRegressor, {"activation": ["tanh", "tanh"]}, X_iris, y_iris),
}


def answers(net, X):
    return [getattr(net, name)(X) for name in ("predict", "predict_proba") if hasattr(net, name)]


@pytest.mark.parametrize("case", CASES)
def test_there_and_back(case):
    Estimator, params, X, y = CASES[case]
    net = Estimator(**SMALL, **params).fit(X, y)
    plain = net.to_sklearn()
    assert type(plain) is THEIRS[Estimator]
    back = Estimator.from_sklearn(plain)
    for mine, theirs, again in zip(answers(net, X), answers(plain, X), answers(back, X), strict=True):
        assert mine.dtype == theirs.dtype
        if mine.dtype.kind == "f":
            assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)
        else:
            assert_array_equal(mine, theirs)
        assert_array_equal(mine, again)
    plain.coefs_[0][...] = 0.0
    assert net.coefs_[0].any() and back.coefs_[0].any()  # no memory is shared
    for name in ("loss_curve_", "n_iter_", "t_", "classes_", "validation_scores_"):
        assert hasattr(net, name) == hasattr(plain, name) == hasattr(back, name)


@pytest.mark.parametrize("case", CASES)
def test_warm_starts_agree(case):
    """Weights and records arrive: the next fit gives the same numbers there and here."""
    Estimator, params, X, y = CASES[case]
    net = Estimator(**SMALL, **params, warm_start=True).fit(X, y)
    plain = net.to_sklearn()
    back = Estimator.from_sklearn(plain).fit(X, y)
    plain.fit(X, y)
    assert_allclose(net.fit(X, y).coefs_[0], plain.coefs_[0], rtol=1e-6, atol=1e-9)
    assert_allclose(back.coefs_[0], plain.coefs_[0], rtol=1e-6, atol=1e-9)
    if "loss_curve_" in vars(plain):
        assert_allclose(back.loss_curve_, plain.loss_curve_, rtol=1e-6)
        assert len(back.loss_curve_) == 2 * back.n_iter_


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_unfitted_there_and_back(Estimator):
    net = Estimator(alpha=0.5, solver="sgd", random_state=3)
    plain = net.to_sklearn()
    assert plain.get_params() == {name: net.get_params()[name] for name in plain.get_params()}
    assert Estimator.from_sklearn(plain).get_params() == net.get_params()
    with pytest.raises(NotFittedError):
        plain.predict(X_iris)


def test_fitted_by_scikit_learn():
    plain = make_pipeline(StandardScaler(), sklearn.neural_network.MLPClassifier(**SMALL)).fit(X_iris, y_iris)
    net = MLPClassifier.from_sklearn(plain[-1])
    X = plain[:-1].transform(X_iris)
    assert_allclose(net.predict_proba(X), plain.predict_proba(X_iris), rtol=1e-9)
    assert net.partial_fit(X, y_iris).t_ == 6 * 150


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"activation": "gelu"}, "activation='gelu' has no counterpart in scikit-learn"),
        ({"activation": ["relu", "tanh"]}, "hidden layers all have one of"),
        ({"out_activation": "softplus"}, "out_activation='softplus' has no counterpart"),
    ],
)
def test_what_scikit_learn_cannot_compute(params, message):
    with pytest.raises(ValueError, match=message):
        MLPRegressor(**SMALL, **params).fit(X_diabetes, y_diabetes).to_sklearn()


def test_what_scikit_learn_cannot_train_is_said():
    net = MLPRegressor("huber", **SMALL, solver="rmsprop", dropout=0.1, out_activation="tanh")
    net.fit(X_diabetes, y_diabetes / 400)
    with pytest.warns(
        UserWarning, match=r"dropout=0.1, loss='huber', out_activation='tanh', solver='rmsprop'"
    ):
        plain = net.to_sklearn()
    assert_allclose(plain.predict(X_diabetes), net.predict(X_diabetes), rtol=1e-9)
    assert (plain.solver, plain.loss) == ("adam", "squared_error")


def test_other_objects_are_refused():
    for other in (sklearn.neural_network.MLPRegressor(), MLPClassifier(), None):
        with pytest.raises(TypeError, match=r"takes a sklearn.neural_network.MLPClassifier, got"):
            MLPClassifier.from_sklearn(other)


def test_a_predict_of_its_own_is_not_converted():
    class Shifted(sklearn.neural_network.MLPRegressor):
        def predict(self, X):
            return super().predict(X) + 1

    with pytest.raises(
        TypeError, match="from_sklearn takes a sklearn.neural_network.MLPRegressor, got .*Shifted"
    ):
        MLPRegressor.from_sklearn(Shifted())

    class Ours(MLPClassifier):
        def predict_proba(self, X):
            return super().predict_proba(X) ** 2

    with pytest.raises(TypeError, match="Ours has its own predict_proba"):
        Ours().to_sklearn()

    class Preset(MLPClassifier):
        pass

    assert type(Preset().to_sklearn()) is sklearn.neural_network.MLPClassifier


def test_pickle_for_a_machine_without_fastbp(tmp_path):
    path = tmp_path / "net.pickle"
    path.write_bytes(pickle.dumps(MLPClassifier(**SMALL).fit(X_iris, y_iris).to_sklearn()))
    code = (
        "import sys, pickle; sys.modules['fastbp'] = None; "
        f"print(type(pickle.load(open({str(path)!r}, 'rb'))).__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("sklearn.neural_network")


@pytest.mark.parametrize("case", ["multiclass", "binary", "regressor"])
def test_onnx_through_scikit_learn(case):
    skl2onnx = pytest.importorskip("skl2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    Estimator, params, X, y = CASES[case]
    X = X.astype(np.float32)
    pipe = make_pipeline(StandardScaler(), Estimator(**SMALL, **params)).fit(X, y)
    expected = answers(pipe, X)
    pipe.steps[-1] = ("net", pipe[-1].to_sklearn())
    options = {} if Estimator is MLPRegressor else {"zipmap": False}
    model = skl2onnx.to_onnx(pipe, X[:1], options=options)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    got = session.run(None, {session.get_inputs()[0].name: X})
    for mine, theirs in zip(expected, got, strict=True):
        assert_allclose(mine, np.asarray(theirs).reshape(mine.shape), rtol=1e-3, atol=1e-5)


# LossCurveDisplay ------------------------------------------------------------------------------------------


def test_display_of_losses_and_scores():
    plt = pytest.importorskip("matplotlib.pyplot")
    held = X_iris[::3], y_iris[::3]
    net = MLPClassifier(**SMALL, early_stopping=True).fit(X_iris, y_iris, validation_set=held)
    display = LossCurveDisplay.from_estimator(net, color="black")
    assert_array_equal(display.line_.get_ydata(), net.loss_curve_)
    assert_array_equal(display.line_.get_xdata(), [1, 2, 3, 4, 5])
    assert display.line_.get_color() == "black"
    assert_array_equal(display.validation_line_.get_ydata(), net.validation_loss_curve_)
    assert_array_equal(display.score_line_.get_ydata(), net.validation_scores_)
    assert display.ax_.get_xlabel() == "Epoch" and display.ax_.get_ylabel() == "Loss"
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == [
        "MLPClassifier: training loss",
        "MLPClassifier: validation loss",
        "MLPClassifier: validation score",
    ]
    assert display.figure_ is display.ax_.figure
    plt.close("all")


def test_display_on_given_axes_for_both_libraries():
    plt = pytest.importorskip("matplotlib.pyplot")
    _, ax = plt.subplots()
    for kind, name in ((MLPRegressor, "ours"), (sklearn.neural_network.MLPRegressor, "theirs")):
        display = LossCurveDisplay.from_estimator(kind(**SMALL).fit(X_iris, y_iris), ax=ax, name=name)
        assert display.ax_ is ax and display.validation_line_ is display.score_ax_ is None
        assert display.line_.get_label() == f"{name}: training loss"
    assert len(ax.lines) == 2
    plt.close("all")


def test_display_needs_a_curve():
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(MLPClassifier())
    with pytest.raises(
        ValueError, match="MLPClassifier has no loss_curve_: solver='lbfgs' does not keep one"
    ):
        LossCurveDisplay.from_estimator(MLPClassifier(**SMALL, solver="lbfgs").fit(X_iris, y_iris))
