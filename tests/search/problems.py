"""Data and comparisons that the tests of searches share."""

import numpy as np
from numpy.testing import assert_array_equal
from sklearn.datasets import make_classification, make_regression

from fastbp import MLPClassifier, ReduceLROnPlateau, TimeLimit

TIMES = ("mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time")

# Of networks that are searched, and trained in pieces.
SETTINGS = {
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "sgd invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "sgd adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 1},
    "adam": {},
    "adamw": {"solver": "adamw"},
    "nadam": {"solver": "nadam"},
    "rmsprop": {"solver": "rmsprop"},
    "rprop": {"solver": "rprop", "batch_size": 10**4},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 2},
    "in order": {"shuffle": False},
    "dropout": {"dropout": 0.3},
    "clipped": {"max_grad_norm": 0.1},
    "class_weight": {"class_weight": "balanced"},
    "without a class": {"class_weight": {0: 0.0}},
    "lbfgs": {"solver": "lbfgs"},
    "float32": {"dtype": "float32"},
    "warm start": {"warm_start": True},
    "callbacks": {"callbacks": [ReduceLROnPlateau(monitor="loss", patience=1), TimeLimit(1e6)]},
    "online": {"solver": "sgd", "batch_size": 1, "alpha": 0.0, "max_iter": 2},
}


def network(**settings):
    return MLPClassifier(
        **{"max_iter": 8, "batch_size": 20, "learning_rate_init": 0.02, "random_state": 0} | settings
    )


def classes(n_classes=3, dtype=np.float64, n=120):
    """Rows of some classes, mixed."""
    X, y = make_classification(
        n, 8, n_informative=6, n_redundant=0, n_classes=n_classes, class_sep=0.7, random_state=1
    )
    return X.astype(dtype), y


def numbers(n_outputs=1, dtype=np.float64, n=100):
    """Rows with numbers to predict."""
    X, y = make_regression(n, 6, n_targets=n_outputs, noise=5.0, random_state=2)
    return X.astype(dtype), (y / y.std()).astype(dtype)


def assert_same_results(ours, theirs):
    """All of scikit-learn's cv_results_ but the times, to the last bit."""
    a, b = ours.cv_results_, theirs.cv_results_
    assert set(a) - {"epochs", "iter"} == set(b)
    assert a["params"] == b["params"]
    for name in set(b) - {*TIMES, "params"}:
        if name.startswith("param_"):
            assert a[name].tolist() == b[name].tolist(), name
        else:
            assert_array_equal(a[name], b[name], err_msg=name)


def assert_same_best(ours, theirs):
    """The same choice, and the same network to the last bit."""
    assert ours.best_index_ == theirs.best_index_
    assert ours.best_params_ == theirs.best_params_
    assert ours.best_score_ == theirs.best_score_
    assert_same_weights(ours.best_estimator_, theirs.best_estimator_)


def assert_same_weights(a, b):
    """Two fitted networks, to the last bit."""
    for ours, theirs in zip([*a.coefs_, *a.intercepts_], [*b.coefs_, *b.intercepts_], strict=True):
        assert ours.dtype == theirs.dtype
        assert_array_equal(ours, theirs)
