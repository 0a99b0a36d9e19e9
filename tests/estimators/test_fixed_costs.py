"""What is done without scikit-learn's slow way answers as that does: labels, checks, and predictions in place."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import unique_labels

from fastbp import MLPClassifier, MLPRegressor
from fastbp.estimators import base, classifier, predict, solving
from fastbp.estimators.checks import labels_in

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

COLUMNS = {
    "two integers": np.array([3, 1, 3, 1]),
    "small integers": np.array([3, 1, 2], np.int8),
    "unsigned": np.array([7, 7, 0], np.uint16),
    "truth values": np.array([True, False, True]),
    "one class": np.array([5, 5]),
    "whole floats": np.array([1.0, -2.0, 1.0], np.float32),
    "zeros of both signs": np.array([0.0, -0.0, 1.0]),
    "text": np.array(["b", "a", "cc", "b"]),
    "text with room": np.array(["b", "a"], "U20"),
    "empty text": np.array(["", "a", "b"]),
}
OTHERS = {
    "fractions": np.array([0.5, 1.0]),
    "nan": np.array([np.nan, 1.0]),
    "inf": np.array([np.inf, 1.0]),
    "huge": np.array([1e300, 1.0]),
    "objects": np.array(["a", "b"], object),
    "bytes": np.array([b"a", b"b"]),
    "dates": np.array(["2020-01-01"], "M8[D]"),
    "matrix": np.array([[1], [2]]),
    "nothing": np.zeros(0, int),
    "list": [1, 2],
    "other order of bytes": np.array([1, 2], ">i4"),
    "nearly all different": np.arange(30),
}


@pytest.mark.parametrize("y", COLUMNS.values(), ids=COLUMNS)
def test_labels_are_scikit_learns(y):
    expected = LabelBinarizer().fit(y)
    labels = labels_in(y)
    assert labels.dtype == expected.classes_.dtype
    assert np.array_equal(labels, expected.classes_)
    assert np.array_equal(labels, unique_labels(y))
    assert vars(classifier._binarizer(labels)).keys() == vars(expected).keys()
    for name, value in vars(classifier._binarizer(labels)).items():
        assert np.array_equal(value, getattr(expected, name))


@pytest.mark.parametrize("y", OTHERS.values(), ids=OTHERS)
def test_scikit_learn_is_asked_of_others(y):
    assert labels_in(y) is None


@pytest.mark.parametrize("y", COLUMNS.values(), ids=COLUMNS)
def test_codes_are_scikit_learns(y):
    net = MLPClassifier((3,), max_iter=1, random_state=0).fit(np.eye(len(y)), y)
    wanted = LabelBinarizer().fit_transform(y)
    codes = net._encode(y)
    if codes.ndim == 1:
        codes = np.eye(len(net.classes_))[codes]
    assert np.array_equal(codes, wanted)
    assert set(net.predict(np.eye(len(y)))) <= set(y)


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("floats", [np.float32, np.float64, ">f8"])
@pytest.mark.parametrize("setting", [None, "float32"])
def test_small_arrays_are_checked_alike(Estimator, floats, setting, monkeypatch):
    """The same fit, with the short checks and with scikit-learn's."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 4)).astype(floats), rng.integers(0, 2, 30)
    first = Estimator(hidden_layer_sizes=(5,), max_iter=2, random_state=0, dtype=setting).fit(X, y)
    monkeypatch.setattr(predict, "SMALL", 0)
    monkeypatch.setattr(solving, "SMALL", 0)
    second = Estimator(hidden_layer_sizes=(5,), max_iter=2, random_state=0, dtype=setting).fit(X, y)
    assert first.n_features_in_ == second.n_features_in_ == 4
    for one, other in zip(
        [*first.coefs_, *first.intercepts_], [*second.coefs_, *second.intercepts_], strict=True
    ):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("setting", [None, "float32"])
def test_scikit_learn_checks_what_is_converted(Estimator, setting, dtype, monkeypatch):
    """It is not asked of small arrays that stay as they are."""
    asked, ask = [], solving.validate_data
    monkeypatch.setattr(solving, "validate_data", lambda *args, **rest: asked.append(1) or ask(*args, **rest))
    X, y = np.arange(12.0, dtype=dtype).reshape(6, 2), np.array([0, 1, 1, 0, 1, 0])
    Estimator(hidden_layer_sizes=(3,), max_iter=1, random_state=0, dtype=setting).fit(X, y)
    assert len(asked) == (setting is not None and dtype == np.float64)


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([[np.nan, 1.0], [0.0, 1.0]], [0, 1], "Input X contains NaN"),
        ([[1.0, 1.0], [0.0, 1.0]], [0.0, np.inf], "Input y contains infinity"),
        ([[1.0, 1.0], [0.0, 1.0]], [0, 1, 1], "inconsistent numbers of samples"),
    ],
)
def test_small_arrays_that_are_wrong(Estimator, X, y, message):
    with pytest.raises(ValueError, match=message):
        Estimator(max_iter=1).fit(np.array(X), np.array(y))


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_another_number_of_columns_is_refused(Estimator):
    net = Estimator(hidden_layer_sizes=(3,)).fit(np.eye(4), [0, 1, 0, 1])
    with pytest.raises(ValueError, match="X has 3 features, but MLP.* is expecting 4"):
        net.partial_fit(np.eye(4)[:, :3].copy(), np.array([0, 1, 0, 1]))
    net.fit(np.eye(4)[:, :3].copy(), np.array([0, 1, 0, 1]))
    assert net.n_features_in_ == 3


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_parameters_are_checked_once_more_by_scikit_learn_if_one_is_bad(Estimator, monkeypatch):
    asked = []
    checks = base.BaseEstimator._validate_params
    monkeypatch.setattr(base.BaseEstimator, "_validate_params", lambda self: asked.append(1) or checks(self))
    Estimator(alpha=0, activation="Swish", callbacks=[])._validate_params()
    assert not asked
    with pytest.raises(ValueError, match="The 'alpha' parameter of MLP.* must be a float in the range"):
        Estimator(alpha=-1.0)._validate_params()
    assert asked

    class Other(Estimator):
        def __init__(self, alpha=0.1):
            super().__init__(alpha=alpha)
            self.tol = "no parameter of this class"

    Other()._validate_params()
    with pytest.raises(ValueError, match="alpha"):
        Other(alpha="much")._validate_params()


def test_a_split_of_two_classes_is_scikit_learns():
    """Rows are held out by class; of a matrix of one column scikit-learn makes a text per row, with the same result."""
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    from sklearn.model_selection import train_test_split

    net = MLPClassifier((4,), early_stopping=True, max_iter=3, random_state=5).fit(X, y)
    theirs = MLPClassifier._counterpart((4,), early_stopping=True, max_iter=3, random_state=5).fit(X, y)
    assert np.allclose(net.validation_scores_, theirs.validation_scores_)
    as_column, as_text = (
        train_test_split(np.arange(60), stratify=target, random_state=3)
        for target in (y == 1, (y == 1).reshape(-1, 1))
    )
    assert all(np.array_equal(one, other) for one, other in zip(as_column, as_text, strict=True))


@pytest.fixture
def large(monkeypatch):
    """Take every network for a large one."""
    monkeypatch.setattr(predict, "LARGE", 1)


def fitted(Estimator, dtype, outputs=1):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(40, 6)).astype(dtype)
    y = (X @ rng.normal(size=(6, outputs)) > 0).astype(int)
    net = Estimator(hidden_layer_sizes=(9, 5), max_iter=3, random_state=0)
    return net.fit(X, y[:, 0] if outputs == 1 else y), X


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("rows", [1, 2, 40])
@pytest.mark.parametrize("sparse", [False, True])
def test_predictions_without_a_copy(Estimator, outputs, rows, sparse, dtype, monkeypatch):
    """The same bits as those of several rows through the engine, in either form."""
    net, X = fitted(Estimator, dtype, outputs)
    X = np.where(np.abs(X) > 1.0, X, 0)
    X = scipy.sparse.csr_matrix(X) if sparse else X
    expected = np.concatenate([raw for _, raw in net._raw_blocks(X)])
    monkeypatch.setattr(predict, "LARGE", 1)
    (few,) = (raw for _, raw in net._raw_blocks(X[:rows]))
    assert few.dtype == expected.dtype
    assert np.array_equal(few, expected[:rows])


@pytest.mark.usefixtures("large")
def test_weights_that_were_changed_count(dtype):
    net, X = fitted(MLPRegressor, dtype)
    before = net.predict(X[:1])
    net.coefs_[1][...] *= 2
    changed = net.predict(X[:1])
    assert changed != before
    net.coefs_[1] = np.asfortranarray(net.coefs_[1])
    assert net.predict(X[:1]) == pytest.approx(changed)
    net.coefs_ = [coef.astype(np.float64) for coef in net.coefs_]
    net.intercepts_ = [intercept.astype(np.float64) for intercept in net.intercepts_]
    assert net.predict(X[:1]) == pytest.approx(changed, rel=1e-5)


@pytest.mark.usefixtures("large")
def test_weights_that_do_not_fit_are_refused():
    net, X = fitted(MLPRegressor, np.float64)
    net.coefs_[1] = net.coefs_[1][:-1].copy()
    with pytest.raises(ValueError, match="weights of layer 1 must have shape"):
        net.predict(X[:1])


@pytest.mark.usefixtures("large")
def test_sparse_rows_are_checked():
    net, X = fitted(MLPRegressor, np.float64)
    row = scipy.sparse.csr_matrix(X[:1])
    row.indices[0] = 10**6
    with pytest.raises(ValueError, match="column indices outside"):
        net.predict(row)


@pytest.mark.parametrize("n", [3, 7, 60])
@pytest.mark.parametrize("kind", [np.int64, np.uint8, bool, np.float32, str, object])
def test_scores_are_scikit_learns(kind, n, rng):
    """Also of labels that the fit has not seen, of labels of another kind, in a list, and as a column."""
    X = rng.normal(size=(60, 3))
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5) * (kind is not bool)
    y = np.array(["a", "b", "c"])[y].astype(kind) if kind in (str, object) else y.astype(kind)
    net = MLPClassifier((4,), max_iter=20, random_state=0).fit(X, y)
    expected = accuracy_score(y[:n], net.predict(X[:n]))
    assert net.score(X[:n], y[:n]) == expected
    assert net.score(X[:n], y[:n].tolist()) == expected
    if kind is np.int64:
        for others in (y[:n] + 1, y[:n].astype(float), y[:n].astype(np.int8)):
            assert net.score(X[:n], others) == accuracy_score(others, net.predict(X[:n]))
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            net.score(X[:n], y[: n - 1])
