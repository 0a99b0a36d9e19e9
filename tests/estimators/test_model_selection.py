"""scikit-learn's model selection and ensembles: with our class the scores of its own, by threads and by processes."""

import joblib
import numpy as np
import pytest
import sklearn.neural_network
from numpy.testing import assert_allclose
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)

import fastbp

X, y = load_iris(return_X_y=True)
X = X - X.mean(axis=0)
FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)
ALPHAS = [1e-4, 1e-2, 1.0]
GRID = {"alpha": ALPHAS, "hidden_layer_sizes": [(5,), (8, 4)]}
SEARCH = {"cv": FOLDS, "n_jobs": 2}


def searched(search):
    search.fit(X, y)
    return search.cv_results_["mean_test_score"], search.predict_proba(X)


def ensemble(model):
    model.fit(X, y)
    return model.predict_proba(X), np.array(model.score(X, y))


def two(model):
    return [("small", model), ("deep", sklearn.base.clone(model).set_params(hidden_layer_sizes=(8, 4)))]


def validated(model):
    scores = cross_validate(model, X, y, cv=FOLDS, n_jobs=2, return_train_score=True)
    return scores["test_score"], scores["train_score"]


TOOLS = {
    "cross_val_score": lambda model: [cross_val_score(model, X, y, cv=FOLDS, n_jobs=2)],
    "cross_validate": validated,
    "cross_val_predict": lambda model: [
        cross_val_predict(model, X, y, cv=FOLDS, n_jobs=2, method="predict_proba")
    ],
    "learning_curve": lambda model: learning_curve(
        model, X, y, cv=FOLDS, n_jobs=2, shuffle=True, random_state=0
    )[1:],
    "validation_curve": lambda model: validation_curve(
        model, X, y, param_name="alpha", param_range=ALPHAS, cv=FOLDS, n_jobs=2
    ),
    "GridSearchCV": lambda model: searched(GridSearchCV(model, GRID, **SEARCH)),
    "RandomizedSearchCV": lambda model: searched(
        RandomizedSearchCV(model, GRID, n_iter=4, random_state=0, **SEARCH)
    ),
    "HalvingGridSearchCV": lambda model: searched(
        HalvingGridSearchCV(model, GRID, resource="max_iter", max_resources=20, random_state=0, **SEARCH)
    ),
    "BaggingClassifier": lambda model: ensemble(
        BaggingClassifier(model, n_estimators=4, random_state=0, n_jobs=2)
    ),
    "VotingClassifier": lambda model: ensemble(VotingClassifier(two(model), voting="soft", n_jobs=2)),
    "StackingClassifier": lambda model: ensemble(
        StackingClassifier(two(model), LogisticRegression(), cv=FOLDS, n_jobs=2)
    ),
}


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
@pytest.mark.parametrize("tool", TOOLS)
def test_scores_are_those_of_scikit_learn(tool, backend):
    """Threads of joblib run fits side by side: kernels hold no lock of the interpreter. So do its processes."""
    options = {"hidden_layer_sizes": (6,), "max_iter": 20, "random_state": 0, "learning_rate_init": 0.02}
    with joblib.parallel_config(backend):
        ours = TOOLS[tool](fastbp.MLPClassifier(**options))
    with joblib.parallel_config("sequential"):
        alone = TOOLS[tool](fastbp.MLPClassifier(**options))
        theirs = TOOLS[tool](sklearn.neural_network.MLPClassifier(**options))
    for mine, same, other in zip(ours, alone, theirs, strict=True):
        # Bagging adds up its members by threads, so the last digit may differ.
        assert_allclose(mine, same, rtol=1e-14)
        assert_allclose(mine, other, rtol=1e-6, atol=1e-9)
