"""scikit-learn's checks of estimators."""

import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastbp import MLPClassifier, MLPRegressor, SearchCV

pytestmark = pytest.mark.filterwarnings("ignore")

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 40, "learning_rate_init": 0.02, "random_state": 0}
SEARCHES = [
    SearchCV(MLPClassifier(**SMALL), {"alpha": [1e-4, 1e-2, 0.1]}, cv=2, n_threads=1),
    SearchCV(
        MLPRegressor(**SMALL), {"alpha": [1e-4, 1e-2]}, cv=2, eta=None, error_score="raise", n_threads=1
    ),
    SearchCV(
        make_pipeline(StandardScaler(), MLPClassifier(**SMALL)),
        {"mlpclassifier__alpha": [1e-4, 1e-2]},
        cv=2,
        n_threads=1,
    ),
]
# As for scikit-learn's own searches: folds are cut by rows, whatever these weigh.
BY_FOLDS = {
    name: "weights change the folds of a search"
    for name in (
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    )
}


@parametrize_with_checks(SEARCHES, expected_failed_checks=lambda search: BY_FOLDS)
def test_estimator_checks(estimator, check):
    check(estimator)
