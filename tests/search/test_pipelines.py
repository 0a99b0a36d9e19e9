"""Pipelines: steps before the network are fitted once per fold, and anew if their parameters are searched."""

import threading

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from fastbp import SearchCV
from tests.search.problems import assert_same_results, assert_same_weights, classes, network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

GRID = {"mlp__hidden_layer_sizes": [(5,), (4, 3)], "mlp__alpha": [1e-4, 0.1]}


class Counting(TransformerMixin, BaseEstimator):
    """Scales the rows, and counts its fits, all instances together."""

    fits: list[int] = []
    lock = threading.Lock()

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y=None):
        with self.lock:
            self.fits.append(len(X))
        self.mean_ = np.mean(X, axis=0)
        return self

    def transform(self, X):
        return (X - self.mean_) * self.factor


class Stateless(Counting):
    """Keeps nothing of its fits."""

    def fit(self, X, y=None):
        with self.lock:
            self.fits.append(len(X))
        return self

    def transform(self, X):
        return X * self.factor


@pytest.fixture
def fits():
    Counting.fits.clear()
    return Counting.fits


def piped(*steps, **settings):
    return Pipeline([*steps, ("mlp", network(**settings))])


HEADS = {
    "nothing": [],
    "scaler": [("scale", StandardScaler())],
    "with targets": [("scale", StandardScaler()), ("select", SelectKBest(k=3))],
    "passthrough": [("scale", "passthrough"), ("none", None)],
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"solver": "lbfgs"}])
def test_scores_of_grid_search(head, settings):
    X, y = classes()
    model = piped(*HEADS[head], **settings)
    theirs = GridSearchCV(model, GRID, cv=3, return_train_score=True).fit(X, y)
    ours = SearchCV(model, GRID, cv=3, eta=None, n_threads=2, return_train_score=True).fit(X, y)
    assert_same_results(ours, theirs)
    assert_same_weights(ours.best_estimator_[-1], theirs.best_estimator_[-1])


@pytest.mark.parametrize("step", [Counting(), Stateless()])
def test_steps_are_fitted_once_per_fold(step, fits):
    X, y = classes()
    model = piped(("count", step), max_iter=9)
    SearchCV(model, {"mlp__alpha": np.logspace(-5, 0, 9)}, cv=3, n_threads=2).fit(X, y)
    assert fits == [80, 80, 80, 120]


def test_steps_are_fitted_anew_if_they_are_searched(fits):
    X, y = classes()
    grid = {"count__factor": [0.1, 1.0], "mlp__alpha": [1e-4, 0.1]}
    model = piped(("count", Counting()))
    ours = SearchCV(model, grid, cv=3, eta=None, refit=False).fit(X, y)
    assert len(fits) == 2 * 3
    theirs = GridSearchCV(model, grid, cv=3, refit=False).fit(X, y)
    assert_same_results(ours, theirs)


def test_steps_are_not_fitted_again_in_later_rungs(fits):
    X, y = classes()
    grid = {"count__factor": [0.01, 0.1, 1.0], "mlp__alpha": [1e-4, 0.1, 1.0]}
    SearchCV(piped(("count", Counting()), max_iter=9), grid, cv=2, refit=False).fit(X, y)
    assert len(fits) == 3 * 2


def test_steps_themselves_may_be_searched():
    X, y = classes()
    grid = [
        {"scale": [StandardScaler(), MinMaxScaler(), "passthrough", None], "mlp__alpha": [1e-4, 0.1]},
        {"mlp": [LogisticRegression(), network(alpha=0.5)], "scale": [PCA(4, random_state=0)]},
    ]
    model = piped(("scale", StandardScaler()))
    theirs = GridSearchCV(model, grid, cv=3).fit(X, y)
    ours = SearchCV(model, grid, cv=3, eta=None, n_threads=2).fit(X, y)
    for name in ("mean_test_score", "split1_test_score", "rank_test_score"):
        np.testing.assert_array_equal(ours.cv_results_[name], theirs.cv_results_[name])


def test_halving_is_that_of_the_network_alone():
    X, y = classes(n=150)
    grid = {"mlp__learning_rate_init": [1e-6, 0.001, 0.01, 0.03, 0.1, 1e-5]}
    model = piped(("scale", StandardScaler()), max_iter=9)
    search = SearchCV(model, grid, cv=3, n_threads=2).fit(X, y)
    whole = GridSearchCV(model, grid, cv=3).fit(X, y)
    last = search.cv_results_["iter"] == 1
    assert sorted(search.cv_results_["epochs"].tolist()) == [3] * 4 + [9] * 2
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"][last], whole.cv_results_["mean_test_score"][last]
    )


def test_a_function_that_scores_sees_the_whole_pipeline():
    X, y = classes()
    seen = []

    def score(model, X, y):
        seen.append((type(model), X.shape[1], len(model.steps)))
        return model.score(X, y)

    model = piped(("pca", PCA(3, random_state=0)))
    ours = SearchCV(model, GRID, cv=2, eta=None, scoring=score, refit=False).fit(X, y)
    assert set(seen) == {(Pipeline, 8, 2)}
    assert_same_results(ours, GridSearchCV(model, GRID, cv=2, scoring=score, refit=False).fit(X, y))


def test_sample_weight_of_the_network(rng):
    X, y = classes()
    weight = rng.uniform(0.1, 2.0, len(y))
    model = piped(("scale", StandardScaler()))
    theirs = GridSearchCV(model, GRID, cv=3).fit(X, y, mlp__sample_weight=weight)
    ours = SearchCV(model, GRID, cv=3, eta=None).fit(X, y, mlp__sample_weight=weight)
    assert_same_results(ours, theirs)
    theirs = GridSearchCV(model, GRID, cv=3).fit(X, y, scale__sample_weight=weight)
    ours = SearchCV(model, GRID, cv=3, eta=None).fit(X, y, scale__sample_weight=weight)
    assert_same_results(ours, theirs)


def test_frames_of_mixed_columns():
    pandas = pytest.importorskip("pandas")
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OneHotEncoder

    X, y = classes()
    frame = pandas.DataFrame(X[:, :2], columns=["a", "b"]).assign(kind=np.array(["x", "y", "z"])[y])
    columns = make_column_transformer((StandardScaler(), ["a", "b"]), (OneHotEncoder(), ["kind"]))
    model = make_pipeline(columns, network())
    grid = {"mlpclassifier__alpha": [1e-4, 0.1]}
    theirs = GridSearchCV(model, grid, cv=3).fit(frame, y)
    ours = SearchCV(model, grid, cv=3, eta=None).fit(frame, y)
    assert_same_results(ours, theirs)
    assert ours.feature_names_in_.tolist() == ["a", "b", "kind"]


def test_the_pipeline_is_left_as_it_is():
    X, y = classes()
    model = piped(("scale", StandardScaler()))
    before = repr(clone(model))
    SearchCV(model, GRID, cv=2).fit(X, y)
    assert repr(model) == before and not hasattr(model[0], "mean_") and not hasattr(model[-1], "coefs_")
