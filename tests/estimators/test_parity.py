"""Whole fits of our estimators and of scikit-learn's: every number they leave, within 1e-6 or, in float32, 1e-3."""

import warnings

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from numpy.testing import assert_allclose, assert_array_equal

import fastbp
from tests.estimators import parity_configs as configs

OURS = {"classifier": fastbp.MLPClassifier, "regressor": fastbp.MLPRegressor}
THEIRS = {
    "classifier": sklearn.neural_network.MLPClassifier,
    "regressor": sklearn.neural_network.MLPRegressor,
}
EQUAL = (
    "n_iter_",
    "t_",
    "n_layers_",
    "n_outputs_",
    "n_features_in_",
    "out_activation_",
    "_no_improvement_count",
)
CLOSE = ("loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")


def fit(config, classes, data):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator = configs.run(config, classes, data)
    return estimator, [(warning.category, str(warning.message)) for warning in caught]


def compare(config, data):
    ours, our_warnings = fit(config, OURS, data)
    theirs, their_warnings = fit(config, THEIRS, data)
    assert our_warnings == their_warnings
    tolerance = 1e-6 if ours.coefs_[0].dtype == np.float64 and config.dtype != "float32" else 1e-3
    for name in EQUAL:
        assert getattr(ours, name, "absent") == getattr(theirs, name, "absent"), name
    for name in CLOSE:
        assert hasattr(ours, name) == hasattr(theirs, name), name
        mine, other = getattr(ours, name, None), getattr(theirs, name, None)
        assert type(mine) is type(other), name
        if other is None:
            continue
        if isinstance(other, list):
            assert [type(entry) for entry in mine] == [type(entry) for entry in other], name
        assert_allclose(mine, other, rtol=tolerance, atol=tolerance, err_msg=name)
    for name in ("coefs_", "intercepts_"):
        for mine, other in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert mine.dtype == other.dtype and mine.shape == other.shape
            assert_allclose(mine, other, rtol=tolerance, atol=tolerance, err_msg=name)
    if hasattr(theirs, "_optimizer"):
        assert_allclose(ours._optimizer.learning_rate, theirs._optimizer.learning_rate, rtol=1e-12)
    compare_predictions(config, ours, theirs, data[0], tolerance)
    # The generators have been asked the same questions in the same order.
    for one, other in zip(ours._random_state.get_state(), theirs._random_state.get_state(), strict=True):
        assert_array_equal(one, other)


def compare_predictions(config, ours, theirs, X, tolerance):
    mine, other = ours.predict(X), theirs.predict(X)
    assert mine.dtype == other.dtype and mine.shape == other.shape
    if config.kind == "regressor":
        assert_allclose(mine, other, rtol=tolerance, atol=tolerance)
        return
    assert_array_equal(ours.classes_, theirs.classes_)
    p, q = ours.predict_proba(X), theirs.predict_proba(X)
    assert p.dtype == q.dtype and p.shape == q.shape
    assert_allclose(p, q, rtol=10 * tolerance, atol=tolerance)
    with np.errstate(divide="ignore"):  # log(0), scikit-learn's too
        log_p = ours.predict_log_proba(X)
        assert_array_equal(log_p, np.log(p))
        seen = q > 1e-6  # below, float32 has no digits to compare
        assert_allclose(
            log_p[seen], theirs.predict_log_proba(X)[seen], rtol=10 * tolerance, atol=10 * tolerance
        )
    certain = np.abs(theirs.predict_proba(X) - 0.5).min(axis=1) > tolerance
    assert_array_equal(mine[certain], other[certain])
    assert certain.mean() > 0.9


@pytest.mark.parametrize("config", configs.CONFIGS, ids=str)
def test_same_numbers(config):
    compare(config, configs.make_data(config))


@pytest.mark.slow
@pytest.mark.parametrize("config", configs.LONG_CONFIGS, ids=str)
def test_same_numbers_of_long_fits(config):
    compare(config, configs.make_data(config, rows=None))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_long_lbfgs_ends_as_well(kind):
    """Line searches part ways, scikit-learn's from itself too, so long runs are compared by where they end."""
    data = {"classifier": "digits", "regressor": "diabetes"}[kind]
    params = {"solver": "lbfgs", "hidden_layer_sizes": (30,), "max_iter": 150, "alpha": 1.0}
    config = configs.Config("long-lbfgs", kind, data, params)
    X, y, _ = configs.make_data(config, rows=None)
    ours, theirs = (fit(config, classes, (X, y, None))[0] for classes in (OURS, THEIRS))
    assert_allclose(ours.loss_, theirs.loss_, rtol=0.05)
    assert_allclose(ours.score(X, y), theirs.score(X, y), atol=0.05)


def test_there_are_enough_configurations():
    assert len(configs.CONFIGS) >= 60
    assert {config.dtype for config in configs.CONFIGS} >= {"float32", "float64"}


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_verbose_prints_the_same(kind, capsys):
    params = {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "tol": 0.5,
        "n_iter_no_change": 2,
        "verbose": True,
    }
    for early_stopping in (False, True):
        extra = {"hidden_layer_sizes": (3,), "early_stopping": early_stopping, "max_iter": 50}
        config = configs.Config("verbose", kind, "iris", {**params, **extra})
        data = configs.make_data(config)
        fit(config, OURS, data)
        ours = capsys.readouterr().out
        fit(config, THEIRS, data)
        theirs = capsys.readouterr().out
        assert ours == theirs
        assert "Setting learning rate" in ours


def test_predictions_take_the_dtype_of_x_and_weights():
    for dtype in (np.float32, np.float64):
        config = configs.Config("dtype", "regressor", "diabetes", {"max_iter": 2}, np.dtype(dtype).name)
        data = configs.make_data(config)
        ours, theirs = (fit(config, classes, data)[0] for classes in (OURS, THEIRS))
        for other in (np.float32, np.float64, np.int64, np.int8, bool, np.float16):
            X = data[0].astype(other)
            for rows in (X, scipy.sparse.csr_matrix(X) if other is not np.float16 else X):
                assert ours.predict(rows).dtype == theirs.predict(rows).dtype
                assert_allclose(ours.predict(rows), theirs.predict(rows), rtol=1e-3, atol=1e-5)


def test_reproducible_whatever_the_global_generator():
    """random_state=None draws from NumPy's global generator, as scikit-learn's does."""
    config = configs.Config("global", "classifier", "iris", {"random_state": None, "max_iter": 3})
    data = configs.make_data(config)
    results = []
    for classes in (OURS, THEIRS):
        np.random.seed(7)
        results.append(fit(config, classes, data)[0])
    assert_allclose(results[0].coefs_[0], results[1].coefs_[0], rtol=1e-6, atol=1e-9)
