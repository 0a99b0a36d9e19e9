"""scikit-learn's own tests of its searches, run against ours.

The test module is the one of the installed scikit-learn, loaded with our class under the names of its searches. What
they are told differs, see `tests.search.theirs`.
"""

import importlib
import importlib.util
import inspect

import pytest
import sklearn.model_selection

from tests.search.theirs import Grid, Random

# scikit-learn runs its tests without turning warnings into errors.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SUITE = "sklearn.model_selection.tests.test_search"
OTHERWISE = {
    "test_array_api_search_cv_classifier": "arrays are NumPy's, and pytest no longer takes its parameters",
    "test_custom_run_search": "candidates are not handed out by _run_search",
    "test_grid_search_cv_results": "cv_results_ has epochs and iter, too",
    "test_random_search_cv_results": "cv_results_ has epochs and iter, too",
    "test_multi_metric_search_forwards_metadata": "looks for fit among the callers, in a thread of ours",
    "test_search_cv_verbose_3": "progress is a bar, or lines on standard error",
    "test_search_callbacks_no_propagation": "scikit-learn's callbacks are not called",
    "test_search_callbacks_propagation": "scikit-learn's callbacks are not called",
    "test_search_callbacks_receive_sample_weight": "scikit-learn's callbacks are not called",
    "test_search_callbacks_with_partial_fit_failures": "scikit-learn's callbacks are not called",
}


@pytest.fixture
def global_random_seed():
    """The seed scikit-learn's fixture of this name gives unless told otherwise."""
    return 42


def load_suite():
    """Return the tests of scikit-learn's module by name, our class in the place of its own."""
    package = sklearn.model_selection
    theirs = package.GridSearchCV, package.RandomizedSearchCV
    package.GridSearchCV, package.RandomizedSearchCV = Grid, Random
    try:
        module = importlib.import_module(SUITE)  # it stays: a test pickles what it has defined
    finally:
        package.GridSearchCV, package.RandomizedSearchCV = theirs
    assert module.GridSearchCV is Grid
    found = inspect.getmembers(module, callable)
    return {name: test for name, test in found if name.startswith("test_") and name not in OTHERWISE}


if importlib.util.find_spec("sklearn.model_selection.tests") and importlib.util.find_spec(SUITE):
    suite = load_suite()
    globals().update(suite)

    def test_the_suite_is_all_there():
        assert len(suite) >= 60
        assert {"test_grid_search_error", "test_fit_grid_point", "test_grid_search_failing_classifier"} & set(
            suite
        )
