"""`Tournament`: all candidates through the rungs, on all threads, until one of them is the best."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import config_context, get_config
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.parallel import _get_threadpool_controller

from fastbp.many.work import Control, work_off
from fastbp.notices import kept
from fastbp.search.candidates import Candidate
from fastbp.search.folds import Folds
from fastbp.search.rungs import epochs_at, shares_of, survivors
from fastbp.search.runs import Result, Run, Scoring


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a candidate: the results of its folds in the last rung that it has finished.

    Attributes
    ----------
    results : list of dict
    rung : int
    epochs : int
        That a fold was given, 0 if the estimator has no epochs.
    """

    results: list[Result]
    rung: int
    epochs: int


def several_scores(eta: float, names: Sequence[str]) -> str:
    """Return what is wrong if there are several scores and `refit` names none of them."""
    return (
        f"eta={eta:g} lets the better candidates go on, and scoring has several scores: refit must be the name of one "
        f"of them, {', '.join(names)}. Or pass eta=None for the full grid."
    )


class Tournament:
    """Candidates that are trained, scored and sorted out.

    Parameters
    ----------
    candidates : sequence of Candidate
    folds : Folds
    scoring : Scoring
    base : estimator
        What is searched.
    metric : str
        Of several scores, the one that says who is better.
    eta : float or None
        One in so many goes on to the next rung; None: one rung with all epochs.
    threads : int
    control : Control
    verbose : int

    Attributes
    ----------
    standings : dict of int to Standing
        By the numbers of the candidates: of those that have finished a rung.
    said : list of tuple (text, category)
        Warnings of the fits.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        folds: Folds,
        scoring: Scoring,
        base: Any,
        metric: str,
        eta: float | None,
        threads: int,
        control: Control,
        verbose: int,
    ) -> None:
        self.candidates, self.folds, self.metric, self.eta = candidates, folds, metric, eta
        self.threads, self.control, self.verbose = threads, control, verbose
        self.standings: dict[int, Standing] = {}
        self.said: list[tuple[str, type[Warning]]] = []
        self._runs = {
            candidate.number: [Run(candidate, fold, folds, scoring, base) for fold in range(len(folds))]
            for candidate in candidates
        }
        longest = max((candidate.max_iter for candidate in candidates), default=0)
        self.shares = shares_of(len(candidates), longest, eta)
        self._best = -math.inf
        self._lock = threading.Lock()

    def hold(self) -> None:
        """Go through all rungs, or until `control` ends that; `standings` are filled as candidates finish.

        Raises
        ------
        KeyboardInterrupt, or what a fit or a scorer has raised if `error_score` is "raise"
        """
        alive = list(self.candidates)
        for rung in range(len(self.shares)):
            self._rung(rung, alive)
            if self.control.late or rung + 1 == len(self.shares):
                return
            assert self.eta is not None
            # The best begin the next rung: whoever ends the search then has their scores.
            scores = [self.score(candidate) for candidate in alive]
            alive = [alive[place] for place in survivors(scores, self.eta)]
            numbers = {candidate.number for candidate in alive}
            self._runs = {number: runs for number, runs in self._runs.items() if number in numbers}
            self.folds.forget(alive)

    def score(self, candidate: Candidate) -> float:
        """Return the mean score of a candidate that has finished a rung."""
        results = self.standings[candidate.number].results
        return float(np.mean([self._value(result["test_scores"]) for result in results]))

    def _value(self, scores: Any) -> float:
        """Return the score that says who is better."""
        if not isinstance(scores, dict):
            return float(scores)
        if self.metric not in scores and self.eta is not None:
            raise ValueError(several_scores(self.eta, list(scores)))
        return float(scores.get(self.metric, math.nan))

    def _rung(self, rung: int, alive: list[Candidate]) -> None:
        """Train and score all folds of the candidates that are left."""
        share, last = self.shares[rung], rung + 1 == len(self.shares)
        n_pieces = len(alive) * len(self.folds)
        n_threads = max(1, self.threads // n_pieces)
        config, samples = get_config(), 0
        pieces, self._best = [], -math.inf
        for candidate in alive:
            epochs = epochs_at(candidate.max_iter, share) if candidate.max_iter else 0
            before = self.standings[candidate.number].epochs if rung else 0
            left = [len(self.folds)]
            for run in self._runs[candidate.number]:
                samples += self.folds.count(run.fold) * max(1, epochs - before)
                pieces.append(
                    functools.partial(self._piece, run, epochs, rung, last, left, n_threads, config)
                )
        title = f"rung {rung + 1} of {len(self.shares)}" if len(self.shares) > 1 else "search"
        with contextlib.ExitStack() as stack:
            if any(candidate.network is not None for candidate in alive):
                # The threads of a BLAS would wait for each other. Other estimators may use them: that is their affair.
                stack.enter_context(_get_threadpool_controller().limit(limits=n_threads, user_api="blas"))
            stack.enter_context(warnings.catch_warnings())
            if not last:  # a fit with fewer epochs than asked for has not converged, and nobody wants it to
                warnings.simplefilter("ignore", ConvergenceWarning)
            work_off(pieces, self.threads, self.control, samples=samples, verbose=self.verbose, title=title)

    def _piece(
        self,
        run: Run,
        epochs: int,
        rung: int,
        last: bool,
        left: list[int],
        n_threads: int,
        config: dict[str, Any],
        control: Control,
    ) -> str:
        """Bring a fold of a candidate to the end of a rung; return a line about it."""
        control.check()
        with config_context(**config), kept() as said:
            run.to(epochs, control, n_threads, last=last)
        candidate = run.candidate
        with self._lock:
            self.said += said
            left[0] -= 1
            if left[0] == 0:
                results = [other.result for other in self._runs[candidate.number]]
                self.standings[candidate.number] = Standing(results, rung, epochs)
                score = self.score(candidate)
                if score > self._best:
                    self._best = score
                    control.note = f"best score {score:.4g}"
        shown = " ".join(f"{name}={value}" for name, value in candidate.parameters.items())
        return f"{shown}  fold {run.fold + 1}/{len(self.folds)}  {epochs} epochs  {run.result['test_scores']}"
