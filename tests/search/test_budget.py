"""What ends a search before its end, and what it shows meanwhile."""

import _thread
import math
import types

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastbp import SearchCV
from fastbp.many import work
from tests.search.problems import classes, network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = classes()
GRID = {"alpha": np.logspace(-5, 0, 9).tolist()}


# So long that nobody is done before Ctrl-C has arrived.
LONG = {"max_iter": 900, "tol": 0.0, "n_iter_no_change": 10**6}


class After:
    """Scores, and does something at one of the calls."""

    def __init__(self, calls, act):
        self.calls, self.act = calls, act

    def __call__(self, model, X, y):
        self.calls -= 1
        if self.calls == 0:
            self.act()
        return model.score(X, y)


def clock(monkeypatch):
    """A clock that stands until it is told that the time is over."""
    over = []
    monkeypatch.setattr(work, "time", types.SimpleNamespace(monotonic=lambda: math.inf if over else 0.0))
    return lambda: over.append(True)


@pytest.mark.parametrize("eta", [None, 3])
def test_a_time_limit_takes_the_best_so_far(eta, monkeypatch):
    scoring = After(7, clock(monkeypatch))
    search = SearchCV(
        network(max_iter=9), GRID, cv=2, eta=eta, scoring=scoring, time_limit=100.0, n_threads=1
    )
    with pytest.warns(UserWarning, match="time_limit=100 is over: 3 of 9 candidates are scored"):
        search.fit(X, y)
    found = search.cv_results_
    epochs = 9 if eta is None else 1
    assert found["epochs"].tolist() == [epochs] * 3 + [0] * 6
    assert np.isfinite(found["mean_test_score"]).tolist() == [True] * 3 + [False] * 6
    assert search.best_index_ == np.nanargmax(found["mean_test_score"])
    assert search.predict(X).shape == y.shape


def test_a_time_limit_in_the_last_rung(monkeypatch):
    """Nine candidates, three, one; it ends amid the second rung, which the best have begun."""
    calls = 9 * 2 + 2
    search = SearchCV(
        network(max_iter=9), GRID, cv=2, scoring=After(calls, clock(monkeypatch)), time_limit=9.0
    )
    with pytest.warns(UserWarning, match="time_limit=9 is over: 9 of 9"):
        search.set_params(n_threads=1).fit(X, y)
    found = search.cv_results_
    assert sorted(found["iter"].tolist()) == [0] * 8 + [1]
    assert found["iter"][search.best_index_] == 1


def test_time_is_up_before_anything_is_scored():
    search = SearchCV(network(), GRID, cv=2, time_limit=1e-9)
    with pytest.raises(TimeoutError, match="time_limit=1e-09 seconds were over before one of 9 candidates"):
        search.fit(X, y)
    assert not hasattr(search, "cv_results_")


@pytest.mark.parametrize("eta", [None, 3])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_ctrl_c_takes_the_best_so_far(eta, n_threads):
    scoring = After(9, _thread.interrupt_main)
    search = SearchCV(network(**LONG), GRID, cv=2, eta=eta, scoring=scoring, n_threads=n_threads)
    search.set_params(refit=False)
    with pytest.warns(UserWarning, match="Search interrupted by user: .* of 9 candidates are scored"):
        search.fit(X, y)
    scored = np.isfinite(search.cv_results_["mean_test_score"])
    assert 3 <= scored.sum() <= 9
    assert scored[search.best_index_]


def test_ctrl_c_before_anything_is_scored():
    scoring = After(1, _thread.interrupt_main)
    search = SearchCV(network(**LONG), GRID, cv=5, eta=None, scoring=scoring, n_threads=1)
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, y)
    assert not hasattr(search, "cv_results_")


def test_a_limit_that_is_not_reached_changes_nothing():
    searches = [SearchCV(network(), GRID, cv=2, time_limit=limit).fit(X, y) for limit in (None, 1e6)]
    assert_array_equal(*[search.cv_results_["mean_test_score"] for search in searches])


class Bar:
    """Stands in for tqdm's."""

    made: list["Bar"] = []

    def __init__(self, total):
        self.total, self.n, self.title, self.note = total, 0, "", ""
        self.made.append(self)

    def set_description_str(self, text, refresh):
        self.title = text

    def set_postfix_str(self, text, refresh):
        self.note = text

    def update(self, n):
        self.n += n

    def close(self):
        pass


def test_bars_tell_the_rung_and_the_best_score(monkeypatch):
    Bar.made.clear()
    monkeypatch.setattr(work, "bar_of", Bar)
    search = SearchCV(network(max_iter=9), GRID, cv=2, verbose=1).fit(X, y)
    assert [bar.title for bar in Bar.made] == ["rung 1 of 3", "rung 2 of 3", "rung 3 of 3"]
    assert [bar.n for bar in Bar.made] == [bar.total for bar in Bar.made] == [9 * 120, 3 * 2 * 120, 6 * 120]
    assert Bar.made[-1].note == f"best score {search.best_score_:.4g}"


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_what_is_printed(verbose, capfd):
    SearchCV(network(max_iter=3), {"alpha": [0.1, 1.0]}, cv=2, eta=None, verbose=verbose, n_threads=1).fit(
        X, y
    )
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == (4 if verbose == 2 else 0)
    if verbose == 2:
        assert lines[1].startswith("alpha=0.1  fold 2/2  3 epochs  0.")
