"""Bad input, failing and diverging candidates: the errors and warnings of GridSearchCV, word for word."""

import re
import warnings

import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV
from sklearn.pipeline import Pipeline

from fastbp import SearchCV
from tests.search.problems import assert_same_results, classes, network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = classes()
GRID = {"alpha": [1e-4, 0.1]}


def error_of(call):
    with pytest.raises(Exception) as caught:
        call()
    return type(caught.value), str(caught.value)


def without_places(text):
    """What is said, without the lines of the tracebacks, which come from other files, and how often it is said."""
    lines = [line for line in text.splitlines() if not line.startswith(" ")]
    return [re.sub(r"^\d+ fits failed with", "fits failed with", line) for line in lines]


@pytest.mark.parametrize("eta", [None, 3])
@pytest.mark.parametrize(
    ("grid", "more", "data"),
    [
        ({"no_such": [1e-4]}, {}, (X, y)),
        ({"alpha": []}, {}, (X, y)),
        ({"alpha": 0.1}, {}, (X, y)),
        ({"activation": "tanh"}, {}, (X, y)),
        ({"alpha": np.ones((2, 2))}, {}, (X, y)),
        ([], {}, (X, y)),
        ([3], {}, (X, y)),
        (GRID, {"cv": 1000}, (X, y)),
        (GRID, {"cv": 1}, (X, y)),
        (GRID, {"cv": "five"}, (X, y)),
        (GRID, {"cv": []}, (X, y)),
        (GRID, {"scoring": "acuracy"}, (X, y)),
        (GRID, {"scoring": ["accuracy", "f1_macro"]}, (X, y)),
        (GRID, {"scoring": ["accuracy"], "refit": "f1"}, (X, y)),
        (GRID, {"scoring": lambda model, X, y: "good"}, (X, y)),
        (GRID, {"refit": lambda results: 7}, (X, y)),
        (GRID, {"refit": lambda results: "first"}, (X, y)),
        (GRID, {"error_score": "drop"}, (X, y)),
        (GRID, {}, (X, y[:-1])),
        (GRID, {}, (X[:0], y[:0])),
    ],
    ids=range(20),
)
def test_errors_are_those_of_grid_search(grid, more, data, eta):
    more = {"cv": 3} | more
    theirs = error_of(lambda: GridSearchCV(network(), grid, **more).fit(*data))
    ours = error_of(lambda: SearchCV(network(), grid, eta=eta, **more).fit(*data))
    assert ours[0] is theirs[0]
    assert ours[1].replace("SearchCV", "GridSearchCV").replace("GridGrid", "Grid") == theirs[1]


def test_the_grid_is_a_dict_or_a_list():
    kind, text = error_of(lambda: SearchCV(network(), "alpha").fit(X, y))
    assert issubclass(kind, ValueError) and "The 'parameters' parameter of SearchCV must be" in text


@pytest.mark.parametrize(
    ("more", "name"),
    [({"eta": 1}, "eta"), ({"eta": "3"}, "eta"), ({"n_iter": 0}, "n_iter"), ({"n_threads": 0}, "n_threads"),
     ({"time_limit": 0}, "time_limit"), ({"verbose": -1}, "verbose"), ({"random_state": "x"}, "random_state")],
)  # fmt: skip
def test_own_parameters_are_checked(more, name):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of SearchCV must be"):
        SearchCV(network(), GRID, **more).fit(X, y)


def test_a_distribution_needs_a_number_of_draws():
    with pytest.raises(
        ValueError, match=r"parameters\['alpha'\] is a distribution.*n_iter must say how many"
    ):
        SearchCV(network(), {"alpha": loguniform(1e-4, 1.0)}).fit(X, y)
    ours = error_of(lambda: SearchCV(network(), {"alpha": 3}, n_iter=2).fit(X, y))
    assert ours == error_of(lambda: RandomizedSearchCV(network(), {"alpha": 3}, n_iter=2).fit(X, y))


class Raises(TransformerMixin, BaseEstimator):
    """A step that fails if it is told to."""

    def __init__(self, fails=False):
        self.fails = fails

    def fit(self, X, y=None):
        if self.fails:
            raise ValueError("told to fail")
        return self

    def transform(self, X):
        return X


PIPE = Pipeline([("step", Raises()), ("mlp", network())])
FAILING = {
    "parameter": (network(), {"alpha": [1e-4, -1.0]}),
    "widths": (network(), {"hidden_layer_sizes": [(4,), (0,)]}),
    "types": (network(), {"hidden_layer_sizes": [(4,), ("a",)]}),
    "split": (network(early_stopping=True), {"validation_fraction": [0.1, 0.999]}),
    "lbfgs": (network(solver="lbfgs"), {"dropout": [0.0, 0.5]}),
    "diverges": (network(solver="sgd", max_iter=18), {"learning_rate_init": [0.01, 1e200]}),
    "step": (PIPE, {"step__fails": [False, True]}),
    "after a step": (PIPE, {"mlp__alpha": [1e-4, -1.0]}),
}


@pytest.mark.filterwarnings(
    "ignore:One or more of the test scores", "ignore:overflow", "ignore:invalid value"
)
@pytest.mark.parametrize("error_score", [np.nan, -5.0])
@pytest.mark.parametrize("name", FAILING)
def test_failing_fits_are_scored_by_error_score(name, error_score):
    model, grid = FAILING[name]
    said, searches = [], []
    for kind, more in ((GridSearchCV, {}), (SearchCV, {"eta": None, "n_threads": 2})):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            searches.append(kind(model, grid, cv=3, error_score=error_score, **more).fit(X, y))
        (failed,) = [item for item in seen if item.category is FitFailedWarning]
        said.append(without_places(str(failed.message)))
    assert_same_results(*reversed(searches))
    assert said[0] == said[1]
    assert searches[1].best_index_ == 0


@pytest.mark.filterwarnings(
    "ignore:One or more of the test scores", "ignore:overflow", "ignore:invalid value"
)
@pytest.mark.parametrize("name", FAILING)
def test_failing_candidates_do_not_go_on(name):
    model, grid = FAILING[name]
    ((parameter, (good, bad)),) = grid.items()
    values = [bad, bad, good, good, good, bad, bad, bad, bad]
    with pytest.warns(FitFailedWarning, match="fits failed out of a total of"):
        search = SearchCV(model, {parameter: values}, cv=2, n_threads=2).fit(X, y)
    assert search.best_index_ == 2
    assert search.cv_results_["iter"][[0, 1, 5, 6, 7, 8]].tolist() == [0] * 6


@pytest.mark.parametrize("eta", [None, 3])
@pytest.mark.parametrize("name", FAILING)
def test_failing_fits_may_raise(name, eta):
    model, grid = FAILING[name]
    grid = {parameter: values[1:] * 3 for parameter, values in grid.items()}
    theirs = error_of(lambda: GridSearchCV(model, grid, cv=3, error_score="raise").fit(X, y))
    search = SearchCV(model, grid, cv=3, error_score="raise", eta=eta)
    assert error_of(lambda: search.fit(X, y)) == theirs
    assert not hasattr(search, "cv_results_")


@pytest.mark.parametrize("eta", [None, 3])
def test_all_fits_fail(eta):
    theirs = error_of(lambda: GridSearchCV(network(), {"alpha": [-1.0, -2.0, -3.0]}, cv=3).fit(X, y))
    ours = error_of(lambda: SearchCV(network(), {"alpha": [-1.0, -2.0, -3.0]}, cv=3, eta=eta).fit(X, y))
    assert ours[0] is theirs[0] is ValueError
    assert without_places(ours[1]) == without_places(theirs[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_number_fails_where_it_is_seen(bad):
    """In the folds that are trained on it; where it is in the test rows, the score fails."""
    data = X.copy()
    data[3, 2] = bad
    said, searches = [], []
    for kind, more in ((GridSearchCV, {}), (SearchCV, {"eta": None, "n_threads": 2})):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            searches.append(kind(network(), GRID, cv=KFold(3), refit=False, **more).fit(data, y))
        said.append(sorted({(item.category, str(item.message)[:60]) for item in seen}, key=str))
    assert_same_results(*reversed(searches))
    assert said[0] == said[1]


@pytest.mark.filterwarnings("ignore:One or more of the test scores", "ignore:Scoring failed")
@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc_ovr", "neg_log_loss"])
def test_a_class_is_missing_in_a_fold(scoring):
    order = np.argsort(y, kind="stable")
    theirs = GridSearchCV(network(), GRID, cv=KFold(3), scoring=scoring).fit(X[order], y[order])
    ours = SearchCV(network(), GRID, cv=KFold(3), scoring=scoring, eta=None).fit(X[order], y[order])
    assert_same_results(ours, theirs)


def test_a_class_is_too_small_for_the_folds():
    few = np.where(np.arange(len(y)) < 2, 3, y)
    said = []
    for kind in (GridSearchCV, SearchCV):
        with pytest.warns(UserWarning, match="The least populated class") as seen:
            kind(network(), GRID, cv=5).fit(X, few)
        said.append({str(item.message) for item in seen})
    assert said[0] == said[1]


def test_a_model_without_fit_is_refused():
    with pytest.raises(ValueError, match="The 'estimator' parameter of SearchCV must be"):
        SearchCV(object(), GRID).fit(X, y)
