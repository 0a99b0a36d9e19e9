"""`Run`: a fold of a candidate, which goes on from rung to rung, or is fitted anew for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from traceback import format_exc
from typing import Any

from sklearn.base import clone
from sklearn.metrics._scorer import _BaseScorer, _MultimetricScorer, _PassthroughScorer
from sklearn.model_selection._validation import _fit_and_score, _score
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import _num_samples

from fastbp.estimators.base import BaseMLP
from fastbp.estimators.course import Course
from fastbp.many.work import Control, Watch
from fastbp.search.candidates import Candidate
from fastbp.search.folds import Folds, Ready

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scoring:
    """How fitted estimators are scored.

    Attributes
    ----------
    scorer : callable
        scikit-learn's.
    error_score : float or "raise"
        The score of a candidate that could not be fitted.
    return_train_score : bool
    """

    scorer: Callable[..., Any]
    error_score: Any
    return_train_score: bool

    @property
    def asks_only(self) -> bool:
        """Whether the scorer only asks for predictions: then the last step of a pipeline can answer for all of it."""
        scorer = self.scorer
        scorers = scorer._scorers.values() if isinstance(scorer, _MultimetricScorer) else [scorer]
        return all(isinstance(one, _BaseScorer | _PassthroughScorer) for one in scorers)

    def failed(self) -> Any:
        """Return the scores of a fit that failed."""
        if isinstance(self.scorer, _MultimetricScorer):
            return dict.fromkeys(self.scorer._scorers, self.error_score)
        return self.error_score


class Run:
    """A fold of a candidate.

    Parameters
    ----------
    candidate : Candidate
    fold : int
    folds : Folds
    scoring : Scoring
    base : estimator
        What is searched, for candidates that are fitted anew.

    Attributes
    ----------
    result : dict
        As scikit-learn's `_fit_and_score` returns it, of the last rung; empty before the first.
    """

    def __init__(self, candidate: Candidate, fold: int, folds: Folds, scoring: Scoring, base: Any) -> None:
        self.candidate, self.fold = candidate, fold
        self.result: Result = {}
        self._folds, self._scoring, self._base = folds, scoring, base
        self._course: Course | None = None

    def to(self, epochs: int, control: Control, n_threads: int, *, last: bool) -> None:
        """Train until so many epochs are done, and score; a run that has failed or ended stays as it is.

        Parameters
        ----------
        epochs : int
            0: a fit as the estimator does it.
        control : Control
        n_threads : int
            Of the fit.
        last : bool
            Whether this is the last rung.
        """
        ended = epochs == 0 or (self._course is not None and self._course.over)
        if self.result and (ended or self.result["fit_error"] is not None):
            return
        ready = self._folds.ready(self.candidate, self.fold)
        if ready is None:
            self._anew(epochs, n_threads, last)
            control.advance(self._folds.count(self.fold) * max(1, epochs))
        else:
            self._on(ready, epochs, control, n_threads, last)

    def _anew(self, epochs: int, n_threads: int, last: bool) -> None:
        """Fit the estimator as it does it itself; with fewer epochs unless this is the last rung."""
        candidate, folds, scoring = self.candidate, self._folds, self._scoring
        parameters = dict(candidate.parameters)
        if not last and candidate.max_iter:
            parameters[candidate.resource] = epochs
        estimator = clone(self._base)
        if isinstance(_last_step(candidate.estimator), BaseMLP):
            parameters[f"{candidate.prefix}n_threads"] = n_threads
        before = self.result.get("fit_time", 0.0)
        train, test = folds.splits[self.fold]
        self.result = _fit_and_score(
            estimator,
            folds.X,
            folds.y,
            scorer=scoring.scorer,
            train=train,
            test=test,
            verbose=0,
            parameters=parameters,
            fit_params=folds.fit_params,
            score_params=folds.score_params,
            return_train_score=scoring.return_train_score,
            return_n_test_samples=True,
            return_times=True,
            error_score=scoring.error_score,
        )
        self.result["fit_time"] += before

    def _on(self, ready: Ready, epochs: int, control: Control, n_threads: int, last: bool) -> None:
        """Train on from where the last rung has ended."""
        candidate, scoring = self.candidate, self._scoring
        assert candidate.network is not None
        result: Result = {"fit_error": None}
        began, spent = time.perf_counter(), self.result.get("fit_time", 0.0)
        try:
            if self._course is None:
                self._course = Course(
                    candidate.network, ready.part, ready.checked, n_threads, [Watch(control)]
                )
            self._course.to(epochs)
            fitted = self._course.fitted()
        except Exception:
            if scoring.error_score == "raise":
                raise
            self._course = None
            result["fit_error"] = format_exc()
            result["test_scores"] = scoring.failed()
            if scoring.return_train_score:
                result["train_scores"] = scoring.failed()
            trained, score_time = time.perf_counter(), 0.0
        else:
            if last:
                self._course = None
            else:
                self._course.rest()
            trained = time.perf_counter()
            self._score(ready, fitted, result)
            score_time = time.perf_counter() - trained
        result["n_test_samples"] = _num_samples(ready.test)
        result["fit_time"], result["score_time"] = spent + trained - began, score_time
        self.result = result

    def _score(self, ready: Ready, network: BaseMLP, result: Result) -> None:
        """Score a fitted network, or the pipeline that it is the last step of."""
        candidate, folds, scoring = self.candidate, self._folds, self._scoring
        X_test, y_test = folds.test(candidate, self.fold)
        estimator: Any = network
        alone = not candidate.prefix or scoring.asks_only
        if alone:
            X_test = ready.test
        else:
            steps = ready.head.steps if ready.head is not None else []
            estimator = Pipeline([*steps, (candidate.prefix[:-2], network)])
        params = folds.scored_with(self.fold, train=False)
        result["test_scores"] = _score(estimator, X_test, y_test, scoring.scorer, params, scoring.error_score)
        if scoring.return_train_score:
            X_train, y_train = folds.train(candidate, self.fold)
            if alone and ready.head is not None:
                X_train = ready.train
            params = folds.scored_with(self.fold, train=True)
            result["train_scores"] = _score(
                estimator, X_train, y_train, scoring.scorer, params, scoring.error_score
            )


def _last_step(estimator: Any) -> Any:
    return estimator.steps[-1][1] if type(estimator) is Pipeline and estimator.steps else estimator
