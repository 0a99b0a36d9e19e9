"""scikit-learn's own tests of its MLP, and its checks of estimators, run against ours.

The test module is the one of the installed scikit-learn, loaded with our classes under scikit-learn's names.
"""

import importlib
import importlib.util
import inspect
import sys

import pytest
import sklearn.neural_network
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastbp import MLPClassifier, MLPRegressor

# scikit-learn runs its tests without turning warnings into errors; several expect to be warned and do not say so.
pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

SUITE = "sklearn.neural_network.tests.test_mlp"


def is_installed():
    """Whether the suite is there: some distributions ship scikit-learn without its tests."""
    return bool(importlib.util.find_spec("sklearn.neural_network.tests")) and bool(
        importlib.util.find_spec(SUITE)
    )


@pytest.fixture
def global_random_seed():
    """The seed scikit-learn's fixture of this name gives unless told otherwise."""
    return 42


def load_suite():
    """Return the tests of scikit-learn's module by name, our classes in the place of its own."""
    theirs = sklearn.neural_network.MLPClassifier, sklearn.neural_network.MLPRegressor
    # The module takes the names at import, also for its parametrizations.
    sklearn.neural_network.MLPClassifier, sklearn.neural_network.MLPRegressor = MLPClassifier, MLPRegressor
    try:
        module = importlib.import_module(SUITE)
    finally:
        sklearn.neural_network.MLPClassifier, sklearn.neural_network.MLPRegressor = theirs
        sys.modules.pop(SUITE, None)  # nobody else shall find it with our classes
    assert module.MLPClassifier is MLPClassifier
    return {name: test for name, test in inspect.getmembers(module, callable) if name.startswith("test_")}


if is_installed():
    suite = load_suite()
    globals().update(suite)
else:

    @pytest.mark.skip(reason=f"this scikit-learn was installed without {SUITE}")
    def test_scikit_learns_suite():
        """Stand in for the suite."""


@pytest.mark.skipif(not is_installed(), reason="no suite to count")
def test_the_suite_is_all_there():
    assert len(suite) >= 40
    assert {"test_fit", "test_gradient", "test_lbfgs_regression_maxfun", "test_mlp_diverging_loss"} <= set(
        suite
    )


@parametrize_with_checks([MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)])
def test_estimator_checks(estimator, check):
    check(estimator)
