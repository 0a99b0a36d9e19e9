"""eta: who goes on, and that going on is as good as never having stopped."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.naive_bayes import GaussianNB

from fastbp import MLPClassifier, SearchCV
from tests.search.problems import assert_same_weights, classes, network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("early_stopping", [False, True])
def test_each_rung_has_the_scores_of_so_many_epochs(early_stopping):
    X, y = classes(n=150)
    model = network(max_iter=18, early_stopping=early_stopping)
    grid = {"hidden_layer_sizes": [(2,), (6,), (9, 4)], "alpha": [1e-4, 0.1, 1.0]}
    search = SearchCV(model, grid, cv=3, n_threads=2).fit(X, y)
    found = search.cv_results_
    assert sorted(found["epochs"].tolist()) == [2] * 6 + [6] * 2 + [18]
    rungs = np.select([found["epochs"] == 2, found["epochs"] == 6], [0, 1], 2)
    assert_array_equal(found["iter"], rungs)
    for rung, epochs in enumerate((2, 6, 18)):
        whole = GridSearchCV(clone(model).set_params(max_iter=epochs), grid, cv=3, refit=False).fit(X, y)
        there = found["iter"] == rung
        for name in ("mean_test_score", "split0_test_score", "split2_test_score", "std_test_score"):
            assert_array_equal(found[name][there], whole.cv_results_[name][there])
    assert found["iter"][search.best_index_] == 2
    assert found["rank_test_score"][search.best_index_] == 1
    assert sorted(found["rank_test_score"][found["iter"] == 1]) in ([2, 3], [2, 2])
    assert_same_weights(search.best_estimator_, clone(model).set_params(**search.best_params_).fit(X, y))


def test_who_goes_on():
    """The best third of the first rung, by the scores that a full search with so many epochs finds."""
    X, y = classes()
    model = network(max_iter=9)
    grid = {"learning_rate_init": [1e-6, 1e-5, 0.03, 1e-4, 0.05, 1e-7]}
    search = SearchCV(model, grid, cv=2).fit(X, y)
    first = GridSearchCV(clone(model).set_params(max_iter=3), grid, cv=2, refit=False).fit(X, y)
    best = np.argsort(-first.cv_results_["mean_test_score"], kind="stable")[:2]
    assert sorted(np.flatnonzero(search.cv_results_["iter"] == 1)) == sorted(best)


@pytest.mark.parametrize(
    ("max_iter", "epochs"),
    [(1, [1]), (2, [2]), (3, [1, 3]), (9, [1, 3, 9]), (10, [1, 3, 10]), (60, [7, 20, 60])],
)
def test_few_epochs(max_iter, epochs):
    X, y = classes(n=40)
    grid = {"alpha": np.logspace(-5, 0, 9).tolist()}
    search = SearchCV(network(max_iter=max_iter), grid, cv=2).fit(X, y)
    assert sorted(set(search.cv_results_["epochs"].tolist())) == epochs


@pytest.mark.parametrize(("candidates", "rungs"), [(1, 1), (2, 1), (3, 2), (8, 2), (9, 3), (28, 3)])
def test_few_candidates(candidates, rungs):
    X, y = classes(n=40)
    grid = {"alpha": np.logspace(-5, 0, candidates).tolist()}
    search = SearchCV(network(max_iter=9), grid, cv=2).fit(X, y)
    assert search.cv_results_["iter"].max() == rungs - 1
    assert len(search.cv_results_["params"]) == candidates


def test_epochs_may_be_searched():
    """Then each candidate gets its share of its own."""
    X, y = classes(n=60)
    search = SearchCV(network(), {"max_iter": [3, 30], "alpha": [0.1, 1.0]}, cv=2, eta=2).fit(X, y)
    found = search.cv_results_
    for given, epochs, rung in zip(found["param_max_iter"], found["epochs"], found["iter"], strict=True):
        assert epochs == {3: [1, 2, 3], 30: [8, 15, 30]}[given][rung]


@pytest.mark.parametrize("model", [LogisticRegression(max_iter=90), network(solver="lbfgs", max_iter=90)])
def test_fits_that_cannot_go_on_are_made_anew(model):
    X, y = classes()
    grid = (
        {"C": np.logspace(-3, 2, 9)}
        if isinstance(model, LogisticRegression)
        else {"alpha": np.logspace(-5, 1, 9)}
    )
    search = SearchCV(model, grid, cv=2, n_threads=2).fit(X, y)
    found = search.cv_results_
    assert sorted(set(found["epochs"].tolist())) == [10, 30, 90]
    whole = GridSearchCV(model, grid, cv=2, refit=False).fit(X, y)
    last = found["iter"] == 2
    assert_array_equal(found["mean_test_score"][last], whole.cv_results_["mean_test_score"][last])
    assert found["params"] == whole.cv_results_["params"]


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
def test_nobody_is_warned_of_fits_that_were_to_be_short():
    X, y = classes()
    for solver in ("lbfgs", "adam"):
        model = network(solver=solver, max_iter=300, tol=0.05, n_iter_no_change=2)
        SearchCV(model, {"alpha": np.logspace(-5, 1, 9)}, cv=2, n_threads=2).fit(X, y)


def test_estimators_without_epochs_are_fitted_once():
    X, y = classes()
    grid = {"var_smoothing": np.logspace(-9, 0, 9)}
    search = SearchCV(GaussianNB(), grid, cv=2).fit(X, y)
    theirs = GridSearchCV(GaussianNB(), grid, cv=2).fit(X, y)
    assert_array_equal(search.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])
    assert set(search.cv_results_["epochs"]) == {0}


def test_of_several_scores_refit_names_the_one_to_go_by():
    X, y = classes()
    grid = {"learning_rate_init": [1e-6, 1e-5, 0.03]}
    search = SearchCV(
        network(max_iter=9), grid, cv=2, scoring=["accuracy", "neg_log_loss"], refit="neg_log_loss"
    )
    found = search.fit(X, y).cv_results_
    assert found["iter"].tolist() == [0, 0, 1]
    assert found["rank_test_accuracy"][2] == found["rank_test_neg_log_loss"][2] == 1
    for refit in (False, lambda results: 0):
        with pytest.raises(ValueError, match="refit must be the name of one of them, accuracy, neg_log_loss"):
            search.set_params(refit=refit).fit(X, y)
    search.set_params(scoring=lambda model, X, y: {"a": 1.0, "b": 2.0}, refit=False)
    with pytest.raises(ValueError, match="refit must be the name of one of them, a, b"):
        search.fit(X, y)


def test_splitters_that_shuffle_are_asked_once():
    """scikit-learn's halving refuses them, since it would ask again in each rung."""
    X, y = classes()
    cv = StratifiedKFold(2, shuffle=True)
    search = SearchCV(network(max_iter=9), {"alpha": [1e-4, 1e-3, 0.1]}, cv=cv).fit(X, y)
    assert len(search.cv_results_["params"]) == 3


def test_fitting_again_starts_again():
    X, y = classes()
    search = SearchCV(network(max_iter=9), {"alpha": [1e-4, 1e-3, 0.1]}, cv=2).fit(X, y)
    first = search.cv_results_["mean_test_score"]
    assert_array_equal(search.fit(X, y).cv_results_["mean_test_score"], first)
    search.set_params(refit=False).fit(X, y)
    assert not hasattr(search, "best_estimator_")


def test_the_search_keeps_what_it_has_if_a_later_fit_fails():
    X, y = classes()
    search = SearchCV(MLPClassifier((3,), max_iter=3, random_state=0), {"alpha": [0.1]}, cv=2).fit(X, y)
    held = search.best_estimator_
    with pytest.raises(ValueError):
        search.fit(X[:1], y[:1])
    assert search.best_estimator_ is held
