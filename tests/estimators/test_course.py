"""A fit in pieces: weights and records are those of a fit in one go, bit by bit."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from fastbp import MLPRegressor
from fastbp.estimators.course import Course
from fastbp.estimators.part import Part
from tests.search.problems import SETTINGS, assert_same_weights, classes, network, numbers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

STOCHASTIC = {name: settings for name, settings in SETTINGS.items() if name != "lbfgs"}


def course_of(model, X, y, rows=None):
    """A course of a model on some rows of X and y."""
    draft = clone(model)
    before = set(vars(draft))
    X, y = draft._check_data(X, y, incremental=False, reset=True, classes=None)
    checked = {name: value for name, value in vars(draft).items() if name not in before}
    return Course(model, Part(X, y, None, rows), checked, 1)


@pytest.mark.filterwarnings("ignore:Got `batch_size`")
@pytest.mark.parametrize("name", STOCHASTIC)
def test_a_fit_in_pieces_is_a_fit(name, dtype):
    """After each piece weights and records are those of a fit of so many epochs on the rows themselves."""
    X, y = classes(3, dtype)
    rows = np.flatnonzero(np.arange(len(y)) % 4)
    model = network(hidden_layer_sizes=(5, 4), **STOCHASTIC[name])
    course = course_of(model, X, y, rows)
    for epochs in (1, 3, 4, model.max_iter):
        course.to(epochs)
        fitted = course.fitted()
        whole = clone(model).set_params(max_iter=min(epochs, model.max_iter)).fit(X[rows], y[rows])
        assert_same_weights(fitted, whole)
        for record in (
            "loss_curve_",
            "validation_scores_",
            "n_iter_",
            "t_",
            "_no_improvement_count",
            "best_loss_",
        ):
            assert getattr(fitted, record) == getattr(whole, record), record
        assert_array_equal(fitted.predict_proba(X), whole.predict_proba(X))
        course.rest()
    assert course.over


@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"loss": "poisson"}])
def test_a_regression_in_pieces(settings, dtype):
    X, y = numbers(2, dtype)
    model = MLPRegressor(hidden_layer_sizes=(5,), max_iter=9, random_state=0, batch_size=16, **settings)
    if settings.get("loss") == "poisson":
        y = np.abs(y)
    course = course_of(model, X, y)
    for epochs in (2, 3, 9):
        course.to(epochs)
        assert_same_weights(course.fitted(), clone(model).set_params(max_iter=epochs).fit(X, y))
        course.rest()


def test_a_course_ends_by_its_own_rules():
    X, y = classes()
    model = network(tol=1.0, n_iter_no_change=2, max_iter=50)
    course = course_of(model, X, y)
    course.to(2)
    assert not course.over
    course.to(40)
    whole = clone(model).fit(X, y)
    assert course.over and course.epoch == whole.n_iter_ < 40
    assert_same_weights(course.fitted(), whole)


def test_callbacks_are_called_once_per_fit():
    X, y = classes()
    course = course_of(network(callbacks=[Counter()]), X, y)
    for epochs in (1, 2, 8):
        course.to(epochs)
    assert course.fitted().callbacks[0].calls == {"begin": 1, "epoch": 8, "end": 1}


class Counter:
    """Counts its calls."""

    def __init__(self):
        self.calls = {"begin": 0, "epoch": 0, "end": 0}

    def on_fit_begin(self):
        self.calls["begin"] += 1

    def on_epoch_end(self):
        self.calls["epoch"] += 1

    def on_fit_end(self):
        self.calls["end"] += 1
