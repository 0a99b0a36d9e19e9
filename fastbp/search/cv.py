"""SearchCV: scikit-learn's search object on trainings that go on."""

# scikit-learn has no types: its base classes and decorators are Any to mypy.
# mypy: allow-subclassing-any, allow-untyped-decorators

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy.stats import rankdata
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import _insert_error_scores, _warn_or_raise_about_fit_failures
from sklearn.utils import indexable
from sklearn.utils._param_validation import Interval, Options
from sklearn.utils.validation import _check_method_params

from fastbp.engine import teams
from fastbp.many.work import Control
from fastbp.notices import warn
from fastbp.search.candidates import candidate_of, parameters_of
from fastbp.search.folds import Folds
from fastbp.search.runs import Result, Scoring
from fastbp.search.tournament import Standing, Tournament, several_scores
from fastbp.validation import check_threads


class SearchCV(BaseSearchCV):
    """Search for the best parameters by cross-validation, with halving, in one process.

    A scikit-learn search object: what `GridSearchCV` and `RandomizedSearchCV` have, this has. Networks of this library
    are trained on one copy of the data, folds are row numbers, each thread trains one fold of one candidate. With `eta`
    all candidates get a share of their epochs, the best go on from where they are, and so on: a candidate that is
    dropped early costs little, and nothing is trained twice.

    Parameters
    ----------
    estimator : estimator
        An `MLPClassifier` or `MLPRegressor`; a `Pipeline` that ends with one; or any other estimator.
    parameters : dict or list of dict
        Values to try by names of parameters, as for `GridSearchCV`; with `n_iter` also distributions with a method
        ``rvs``, as for `RandomizedSearchCV`. Widths, activations, rates, batch sizes, dropout, steps of a pipeline ...
    cv : int, splitter, iterable or None, default=5
        As in scikit-learn. An integer is the number of (stratified) folds.
    n_iter : int or None, default=None
        Candidates to draw from `parameters`. None: the whole grid.
    eta : float or None, default=3
        Successive halving: there are up to three rungs, after 1/eta^2, 1/eta and all of the epochs (`max_iter`), and
        the best of `eta` candidates goes on to the next. Fewer rungs if there are few candidates or epochs. None: all
        candidates get all epochs, and the scores are those of `GridSearchCV`.
    scoring : str, callable, list, tuple, dict or None, default=None
        As in scikit-learn. With several scores and `eta`, `refit` must name the one that halving goes by.
    refit : bool, str or callable, default=True
        As in scikit-learn: whether to fit the best candidate on all rows, or by which score. A function gets
        `cv_results_` and returns the index of the best.
    n_threads : int or None, default=None
        Threads, each of which trains a fold of a candidate. None and -1: all cores this process may use. Results do
        not depend on it, unless `random_state` of the estimator is None.
    time_limit : float or None, default=None
        Seconds after which no training goes on. The best candidate so far is taken; refitting it comes on top. A fit
        that is not trained epoch by epoch (see Notes) is not cut off.
    random_state : int, RandomState or None, default=None
        Of the draws from distributions.
    verbose : int, default=0
        1: a bar with the best score for each rung, on a terminal or in a notebook. 2: a line for each fold of each
        candidate on standard error.
    error_score : "raise" or float, default=nan
        Score of a candidate whose fit fails or diverges; a warning tells of it. "raise": the error is raised.
    return_train_score : bool, default=False
        Whether to score on the rows of the training, too.

    Attributes
    ----------
    cv_results_ : dict of str to ndarray
        As in scikit-learn, one entry per candidate. Also ``"epochs"``, which each candidate was given (0 if the
        estimator has none, or if the search ended before), and ``"iter"``, its last rung, from 0. Scores are those of
        that rung. Candidates of later rungs have the better ranks.
    best_estimator_, best_score_, best_params_, best_index_, refit_time_
        As in scikit-learn. The best is one of the last rung.
    scorer_, multimetric_, n_splits_, classes_, n_features_in_, feature_names_in_
        As in scikit-learn.

    Raises
    ------
    TypeError, ValueError
        What scikit-learn's searches say of unknown parameters, empty grids, folds and failing fits.
    TimeoutError
        The time was up before a single candidate was scored.

    Warns
    -----
    FitFailedWarning
        Fits have failed, and were scored with `error_score`.
    UserWarning
        `time_limit` or Ctrl-C has ended the search: the best candidate so far is taken.

    See Also
    --------
    fit_many : Trains many networks, without a search.
    sklearn.model_selection.GridSearchCV, sklearn.model_selection.HalvingGridSearchCV

    Notes
    -----
    `MLPClassifier` and `MLPRegressor` with a stochastic solver, alone or as the last step of a pipeline, keep weights,
    optimizer, generator and order of the rows from rung to rung: after all epochs the weights are those of one `fit`.
    Steps before them are fitted once per fold, and anew only if a parameter of theirs is searched. Other estimators,
    ``solver="lbfgs"``, and fits that are given more than sample weights, are cloned and fitted. If they have a
    parameter `max_iter` (of a pipeline: its last step), halving sets it and fits them anew in each rung; if not, they
    are fitted once. Callbacks of an estimator see one fit; the clock of a `TimeLimit` goes on while a candidate waits.

    Successive halving: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
    optimization", AISTATS 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import fastbp as fb
    >>> X, y = load_iris(return_X_y=True)
    >>> model = fb.MLPClassifier(learning_rate_init=0.05, tol=1e-3, max_iter=180, random_state=0)
    >>> grid = {"hidden_layer_sizes": [(4,), (16,), (32, 16)], "alpha": [1e-4, 1e-2, 1.0]}
    >>> search = fb.SearchCV(model, grid, cv=3).fit(X, y)
    >>> bool(search.best_score_ > 0.9)
    True
    >>> sorted(set(search.cv_results_["epochs"].tolist()))
    [20, 60, 180]
    >>> search.predict(X[:3])
    array([0, 0, 0])
    """

    __module__ = "fastbp"

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **{
            name: constraint
            for name, constraint in BaseSearchCV._parameter_constraints.items()
            if name not in ("n_jobs", "pre_dispatch")
        },
        "parameters": [dict, list],
        "n_iter": [Interval(Integral, 1, None, closed="left"), None],
        "eta": [Interval(Real, 1, None, closed="neither"), None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), Options(Integral, {-1}), None],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        parameters: dict[str, Any] | list[dict[str, Any]],
        *,
        cv: Any = 5,
        n_iter: int | None = None,
        eta: float | None = 3,
        scoring: Any = None,
        refit: bool | str | Callable[[dict[str, Any]], int] = True,
        n_threads: int | None = None,
        time_limit: float | None = None,
        random_state: Any = None,
        verbose: int = 0,
        error_score: float | str = np.nan,
        return_train_score: bool = False,
    ) -> None:
        self.estimator = estimator
        self.parameters = parameters
        self.cv = cv
        self.n_iter = n_iter
        self.eta = eta
        self.scoring = scoring
        self.refit = refit
        self.n_threads = n_threads
        self.time_limit = time_limit
        self.random_state = random_state
        self.verbose = verbose
        self.error_score = error_score
        self.return_train_score = return_train_score

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: those of the estimator; arrays are NumPy's."""
        tags = super().__sklearn_tags__()
        tags.array_api_support = False
        return tags

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Search, and fit the best candidate on all rows.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Rows.
        y : array-like, shape (n,) or (n, n_outputs)
            Targets.
        **params : dict
            For the fits of the estimator, the scorer and the splitter, as in scikit-learn: arrays of length n, such as
            `sample_weight`, are split as X is; `groups` go to the splitter.

        Returns
        -------
        self : SearchCV
            With the best estimator, if `refit`.
        """
        begin = time.monotonic()
        if getattr(self, "_skl_callbacks", None):
            warn("SearchCV does not call the callbacks of scikit-learn; verbose=1 shows how far it is.")
        scorers, metric = self._get_scorers()
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        n_splits = cv.get_n_splits(X, y, **routed.splitter.split)
        base = clone(self.estimator)
        candidate_params = parameters_of(self.parameters, self.n_iter, self.random_state)
        splits = list(cv.split(X, y, **routed.splitter.split))
        if len(splits) != n_splits:
            raise ValueError(
                "cv.split and cv.get_n_splits return inconsistent results. "
                f"Expected {n_splits} splits, got {len(splits)}"
            )
        if not (splits and candidate_params):
            raise ValueError("No fits were performed. Was the CV iterator empty? Were there no candidates?")
        if (
            isinstance(scorers, _MultimetricScorer)
            and self.eta is not None
            and not isinstance(self.refit, str)
        ):
            raise ValueError(several_scores(self.eta, list(scorers._scorers)))
        tournament = Tournament(
            [candidate_of(number, own, base) for number, own in enumerate(candidate_params)],
            Folds(X, y, splits, routed.estimator.fit, routed.scorer.score),
            Scoring(scorers, self.error_score, self.return_train_score),
            base,
            self.refit if isinstance(self.refit, str) else metric,
            self.eta,
            check_threads(self.n_threads) or teams.default_threads(),
            Control(math.inf if self.time_limit is None else begin + self.time_limit),
            int(self.verbose),
        )
        ended = self._hold(tournament)
        out, found = self._results(tournament, candidate_params, n_splits, ended)
        multimetric = isinstance(out[0]["test_scores"], dict)
        if callable(self.scoring) and multimetric:
            self._check_refit_for_multimetric(out[0]["test_scores"])
            metric = self.refit
        made: dict[str, Any] = {"n_splits_": n_splits, "_checked_cv_orig": cv, "multimetric_": multimetric}
        if self.refit or not multimetric:
            made["best_index_"] = index = self._select_best_index(self.refit, metric, found)
            if not callable(self.refit):
                made["best_score_"] = found[f"mean_test_{metric}"][index]
            made["best_params_"] = found["params"][index]
        if self.refit:
            made.update(_refitted(base, made["best_params_"], X, y, routed.estimator.fit))
        made["scorer_"] = scorers._scorers if isinstance(scorers, _MultimetricScorer) else scorers
        made["cv_results_"] = found
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            delattr(self, name)
        for name, value in made.items():
            setattr(self, name, value)
        return self

    def _hold(self, tournament: Tournament) -> bool:
        """Hold a tournament; return whether it was ended before its end, with something to choose from."""
        try:
            tournament.hold()
            interrupted = False
        except KeyboardInterrupt:
            if not tournament.standings:
                raise
            interrupted = True
        for text, category in tournament.said:
            warn(text, category)
        if not (interrupted or tournament.control.late):
            return False
        scored, n = len(tournament.standings), len(tournament.candidates)
        if not scored:
            raise TimeoutError(
                f"time_limit={self.time_limit:g} seconds were over before one of {n} candidates was scored"
            )
        why = "Search interrupted by user" if interrupted else f"time_limit={self.time_limit:g} is over"
        warn(f"{why}: {scored} of {n} candidates are scored, and the best so far is taken.")
        return True

    def _results(
        self, tournament: Tournament, parameters: list[dict[str, Any]], n_splits: int, ended: bool
    ) -> tuple[list[Result], dict[str, Any]]:
        """Return the results of the fits, and `cv_results_`."""
        standings = tournament.standings
        done = [result for i in sorted(standings) for result in standings[i].results]
        _warn_or_raise_about_fit_failures(done, self.error_score)
        if callable(self.scoring):
            _insert_error_scores(done, self.error_score)
        nothing = Standing([_unscored(done[0])] * n_splits, 0, 0)
        places = [standings.get(i, nothing) for i in range(len(parameters))]
        out = [result for standing in places for result in standing.results]
        more = {
            "epochs": [standing.epochs for standing in places],
            "iter": [standing.rung for standing in places],
        }
        with warnings.catch_warnings():
            if ended:  # it is said already that some candidates have no score
                warnings.filterwarnings("ignore", "One or more of the .* scores are non-finite")
            found: dict[str, Any] = self._format_results(parameters, n_splits, out, more)
        if len(set(more["iter"])) > 1:
            for name in [name for name in found if name.startswith("rank_test_")]:
                found[name] = _ranked(found[f"mean_{name.removeprefix('rank_')}"], found["iter"])
        return done, found


def _refitted(base: Any, parameters: dict[str, Any], X: Any, y: Any, fit_params: Any) -> dict[str, Any]:
    """Return the attributes of a search whose best candidate is fitted on all rows."""
    best = clone(base).set_params(**clone(parameters, safe=False))
    begin = time.time()
    if y is None:
        best.fit(X, **fit_params)
    else:
        best.fit(X, y, **fit_params)
    made = {"best_estimator_": best, "refit_time_": time.time() - begin}
    if hasattr(best, "feature_names_in_"):
        made["feature_names_in_"] = best.feature_names_in_
    return made


def _unscored(like: Result) -> Result:
    """Return the result of a fit that never came to its end, in the form of others."""
    result: Result = dict.fromkeys(like, 0.0)
    result["fit_error"] = None
    for name in ("test_scores", "train_scores"):
        if name in like:
            scores = like[name]
            result[name] = dict.fromkeys(scores, np.nan) if isinstance(scores, dict) else np.nan
    return result


def _ranked(means: Any, rungs: Any) -> Any:
    """Return ranks as scikit-learn makes them, those of a later rung before those of an earlier one."""
    ranks, before = np.zeros(len(means), np.int32), 0
    for rung in sorted(set(rungs.tolist()), reverse=True):
        members = np.flatnonzero(rungs == rung)
        own = means[members]
        if not np.isnan(own).all():
            own = np.where(np.isnan(own), np.nanmin(own) - 1.0, own)
            ranks[members] = before + rankdata(-own, method="min")
        else:
            ranks[members] = before + 1
        before += len(members)
    return ranks
