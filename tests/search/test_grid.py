"""eta=None: the scores of GridSearchCV and RandomizedSearchCV, to the last bit."""

import pickle

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_array_equal
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import GridSearchCV, GroupKFold, RandomizedSearchCV, StratifiedKFold

from fastbp import Loss, MLPClassifier, MLPRegressor, SearchCV
from tests.search.problems import (
    SETTINGS,
    assert_same_best,
    assert_same_results,
    assert_same_weights,
    classes,
    network,
    numbers,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

GRID = {"hidden_layer_sizes": [(5,), (4, 3)], "alpha": [1e-4, 0.1]}


@pytest.mark.filterwarnings("ignore:Got `batch_size`")
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_of_grid_search(name, n_classes, dtype):
    X, y = classes(n_classes, dtype)
    model = network(**SETTINGS[name])
    grid = {key: values for key, values in GRID.items() if key not in SETTINGS[name]}
    theirs = GridSearchCV(model, grid, cv=3).fit(X, y)
    ours = SearchCV(model, grid, cv=3, eta=None, n_threads=2).fit(X, y)
    assert_same_results(ours, theirs)
    assert_same_best(ours, theirs)
    assert set(ours.cv_results_["iter"]) == {0}
    assert set(ours.cv_results_["epochs"]) == {model.max_iter}


@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"loss": "huber"}, {"solver": "lbfgs"}])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_regression(settings, n_outputs, dtype):
    X, y = numbers(n_outputs, dtype)
    model = MLPRegressor(max_iter=10, learning_rate_init=0.02, random_state=0, **settings)
    theirs = GridSearchCV(model, GRID, cv=3).fit(X, y)
    ours = SearchCV(model, GRID, cv=3, eta=None, n_threads=2).fit(X, y)
    assert_same_results(ours, theirs)
    assert_same_best(ours, theirs)


def test_a_loss_of_the_users():
    X, y = numbers()
    loss = Loss(lambda y, out: ((out - y) ** 2).sum(1), lambda y, out: 2 * (out - y), name="square")
    model = MLPRegressor(hidden_layer_sizes=(4,), loss=loss, max_iter=5, random_state=0)
    grid = {"alpha": [1e-4, 1.0]}
    theirs = GridSearchCV(model, grid, cv=3).fit(X, y)
    assert_same_results(SearchCV(model, grid, cv=3, eta=None, n_threads=2).fit(X, y), theirs)


def test_parameters_of_every_kind():
    """Also some that change how rows are prepared, and how long a fit is."""
    X, y = classes()
    grid = [
        {"activation": ["tanh", "relu"], "batch_size": [16, "auto"], "learning_rate_init": [0.01, 0.1]},
        {"dropout": [0.0, 0.2], "max_iter": [3, 6], "dtype": ["float32", None]},
        {"solver": ["lbfgs", "adam", "sgd"], "early_stopping": [True, False]},
        {"class_weight": [None, "balanced", {0: 2.0}], "random_state": [1, np.random.RandomState(3)]},
    ]
    model = network(hidden_layer_sizes=(6,))
    theirs = GridSearchCV(model, grid, cv=2).fit(X, y)
    ours = SearchCV(model, grid, cv=2, eta=None, n_threads=2).fit(X, y)
    assert_same_results(ours, theirs)
    assert ours.best_params_ == theirs.best_params_


def test_distributions():
    X, y = classes()
    spread = {"alpha": loguniform(1e-5, 1.0), "hidden_layer_sizes": [(4,), (8,)]}
    theirs = RandomizedSearchCV(network(), spread, n_iter=5, cv=2, random_state=3).fit(X, y)
    ours = SearchCV(network(), spread, n_iter=5, cv=2, random_state=3, eta=None).fit(X, y)
    assert_same_results(ours, theirs)
    assert_same_best(ours, theirs)


@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"class_weight": "balanced"}])
def test_sample_weight(settings, rng):
    X, y = classes()
    weight = rng.uniform(0.1, 2.0, len(y))
    theirs = GridSearchCV(network(**settings), GRID, cv=3).fit(X, y, sample_weight=weight)
    ours = SearchCV(network(**settings), GRID, cv=3, eta=None).fit(X, y, sample_weight=weight)
    assert_same_results(ours, theirs)
    assert_same_best(ours, theirs)


def test_routed_metadata(rng):
    import sklearn

    X, y = classes()
    weight, groups = rng.uniform(0.1, 2.0, len(y)), np.arange(len(y)) % 6
    with sklearn.config_context(enable_metadata_routing=True):
        model = network().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        searches = [
            kind(model, GRID, cv=GroupKFold(3), **more).fit(X, y, sample_weight=weight, groups=groups)
            for kind, more in ((SearchCV, {"eta": None, "n_threads": 2}), (GridSearchCV, {}))
        ]
    assert_same_results(*searches)


def test_groups():
    X, y = classes()
    groups = np.arange(len(y)) % 6
    theirs = GridSearchCV(network(), GRID, cv=GroupKFold(3)).fit(X, y, groups=groups)
    assert_same_results(
        SearchCV(network(), GRID, cv=GroupKFold(3), eta=None).fit(X, y, groups=groups), theirs
    )


def test_validation_rows_of_the_user():
    X, y = classes()
    model, more = network(early_stopping=True), {"validation_set": (X[:20], y[:20])}
    theirs = GridSearchCV(model, GRID, cv=3).fit(X, y, **more)
    assert_same_results(SearchCV(model, GRID, cv=3, eta=None).fit(X, y, **more), theirs)


@pytest.mark.parametrize(
    "form", ["csr", "csc", "list", "text labels", "frame", "multilabel", "fortran", "float16"]
)
def test_forms_of_data(form):
    X, y = classes()
    X = np.round(X, 1)
    if form in ("csr", "csc"):
        X = scipy.sparse.random(120, 8, 0.5, format=form, random_state=0)
    elif form == "list":
        X, y = X.tolist(), y.tolist()
    elif form == "text labels":
        y = np.array(["red", "green", "blue"])[y]
    elif form == "frame":
        X = pytest.importorskip("pandas").DataFrame(X, columns=list("abcdefgh"))
    elif form == "multilabel":
        y = np.stack([y == 0, y == 1], axis=1).astype(int)
    elif form == "fortran":
        X = np.asfortranarray(X)
    else:
        X = X.astype(np.float16)
    theirs = GridSearchCV(network(), GRID, cv=3).fit(X, y)
    ours = SearchCV(network(), GRID, cv=3, eta=None).fit(X, y)
    assert_same_results(ours, theirs)
    assert_same_best(ours, theirs)
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert hasattr(ours, "feature_names_in_") == hasattr(theirs, "feature_names_in_")


def first_of_three(results):
    return 2


@pytest.mark.parametrize(
    "more",
    [
        {"scoring": "neg_log_loss"},
        {"scoring": ["accuracy", "f1_macro"], "refit": "f1_macro"},
        {"scoring": {"a": "accuracy", "e": make_scorer(mean_absolute_error)}, "refit": False},
        {"scoring": lambda model, X, y: {"width": len(model.intercepts_[0]), "n": len(y)}, "refit": "n"},
        {"scoring": lambda model, X, y: float(model.predict_proba(X).max()), "refit": first_of_three},
        {"return_train_score": True},
        {"refit": False},
        {"cv": StratifiedKFold(4, shuffle=True, random_state=0)},
        {"cv": [(np.arange(60), np.arange(60, 120)), (np.arange(120) >= 40, np.arange(120) < 40)]},
    ],
)
def test_scores_of_every_kind(more):
    X, y = classes()
    more = {"cv": 3} | more
    theirs = GridSearchCV(network(), GRID, **more).fit(X, y)
    ours = SearchCV(network(), GRID, eta=None, n_threads=2, **more).fit(X, y)
    assert_same_results(ours, theirs)
    assert ours.multimetric_ == theirs.multimetric_
    for name in ("best_index_", "best_score_", "best_params_", "best_estimator_", "refit_time_"):
        assert hasattr(ours, name) == hasattr(theirs, name), name
    if hasattr(theirs, "best_score_"):
        assert ours.best_score_ == theirs.best_score_
    if hasattr(theirs, "best_estimator_"):
        assert_same_weights(ours.best_estimator_, theirs.best_estimator_)
        if isinstance(more.get("scoring"), str | list):
            assert ours.score(X, y) == theirs.score(X, y)


def test_other_estimators():
    X, y = classes()
    grid = {"C": [0.1, 1.0, 10.0]}
    theirs = GridSearchCV(LogisticRegression(), grid, cv=3).fit(X, y)
    assert_same_results(SearchCV(LogisticRegression(), grid, cv=3, eta=None, n_threads=2).fit(X, y), theirs)


class Own(MLPClassifier):
    """A class of the user's, whose fit does something else."""

    def fit(self, X, y):
        return super().fit(X, 1 - y)


def test_a_class_derived_from_ours_is_fitted_by_its_own_fit():
    X, y = classes(2)
    theirs = GridSearchCV(Own(max_iter=5, random_state=0), {"alpha": [0.1, 1.0]}, cv=2).fit(X, y)
    ours = SearchCV(Own(max_iter=5, random_state=0), {"alpha": [0.1, 1.0]}, cv=2, eta=None).fit(X, y)
    assert_same_results(ours, theirs)


def test_fits_on_a_label_short():
    """Then the network has fewer outputs in that fold."""
    X, y = classes()
    order = np.argsort(y, kind="stable")
    folds = [(order[:80], order[80:]), (order[30:], order[:30])]
    theirs = GridSearchCV(network(), GRID, cv=folds).fit(X, y)
    assert_same_results(SearchCV(network(), GRID, cv=folds, eta=None, n_threads=2).fit(X, y), theirs)


@pytest.mark.parametrize("eta", [None, 2])
def test_any_number_of_threads(eta):
    X, y = classes()
    searches = [SearchCV(network(), GRID, cv=3, eta=eta, n_threads=n).fit(X, y) for n in (1, 2, 5)]
    for other in searches[1:]:
        assert_same_best(other, searches[0])
        assert_same_results_of_ours(other, searches[0])


def assert_same_results_of_ours(a, b):
    for name in ("mean_test_score", "rank_test_score", "epochs", "iter"):
        assert_array_equal(a.cv_results_[name], b.cv_results_[name])


def test_clone_and_pickle():
    X, y = classes()
    search = SearchCV(network(), GRID, cv=2, n_threads=2)
    again = clone(search)
    assert not hasattr(search.fit(X, y), "nothing") and not hasattr(again, "cv_results_")
    loaded = pickle.loads(pickle.dumps(search))
    assert_array_equal(loaded.predict_proba(X), search.predict_proba(X))
    assert loaded.best_params_ == search.best_params_
    assert search.n_features_in_ == 8 and search.classes_.tolist() == [0, 1, 2]
    assert search.estimator.get_params() == again.estimator.get_params()
    assert not hasattr(search.estimator, "coefs_")


def test_a_search_within_a_search():
    X, y = classes()
    inner = SearchCV(network(), GRID, cv=2)
    outer = GridSearchCV(inner, {"eta": [2, None]}, cv=2).fit(X, y)
    assert outer.best_estimator_.best_estimator_.coefs_


def test_the_estimators_threads_are_its_own_affair():
    X, y = classes()
    search = SearchCV(network(n_threads=2), {"alpha": [0.1, 0.2]}, cv=2).fit(X, y)
    assert search.best_estimator_.n_threads == 2
