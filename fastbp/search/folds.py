"""The data of a search: checked once, folds as row numbers, and what the steps before the network make of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from fastbp.estimators.checks import checked_weights
from fastbp.estimators.parameters import Array
from fastbp.estimators.part import Part
from fastbp.estimators.predict import as_rows
from fastbp.search.candidates import Candidate

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Ready:
    """Rows that the network of a candidate can be trained on, and how its fit would have left its attributes.

    Attributes
    ----------
    part : Part
        Rows to train on.
    checked : dict
        The attributes that the check of the rows leaves in an estimator.
    head : Pipeline or None
        The steps before the network, fitted.
    train, test : array-like
        Rows of X as the network is asked about them, to be scored on; `train` is None if there is no head.
    """

    part: Part
    checked: dict[str, Any]
    head: Pipeline | None = None
    train: Any = None
    test: Any = None


class Folds:
    """X and y, and the rows of each fold.

    Parameters
    ----------
    X, y : array-like
    splits : list of tuple (train, test)
        Row numbers or masks.
    fit_params, score_params : dict
        What fits and scorers are given, for all rows.
    """

    def __init__(
        self, X: Any, y: Any, splits: list[tuple[Any, Any]], fit_params: Any, score_params: Any
    ) -> None:
        self.X, self.y, self.splits = X, y, splits
        self.fit_params, self.score_params = fit_params, score_params
        self._made: dict[tuple[Any, ...], Any] = {}
        self._locks: dict[tuple[Any, ...], threading.Lock] = {}

    def __len__(self) -> int:
        """Return the number of folds."""
        return len(self.splits)

    def count(self, fold: int) -> int:
        """Return how many rows a fold is trained on, about."""
        train = np.asarray(self.splits[fold][0])
        return int(np.count_nonzero(train)) if train.dtype.kind == "b" else len(train)

    def test(self, candidate: Candidate, fold: int) -> tuple[Any, Any]:
        """Return X and y to score a fold on, cut once."""
        train, test = self.splits[fold]
        cut: tuple[Any, Any] = self._once(
            ("test", fold), lambda: _safe_split(candidate.estimator, self.X, self.y, test, train)
        )
        return cut

    def train(self, candidate: Candidate, fold: int) -> tuple[Any, Any]:
        """Return X and y to train a fold on: copies."""
        cut: tuple[Any, Any] = _safe_split(candidate.estimator, self.X, self.y, self.splits[fold][0])
        return cut

    def scored_with(self, fold: int, *, train: bool) -> Any:
        """Return what a scorer is given for the rows that a fold is trained on, or is scored on."""
        return _check_method_params(self.X, params=self.score_params, indices=self.splits[fold][not train])

    def ready(self, candidate: Candidate, fold: int) -> Ready | None:
        """Return what the network of a candidate is trained on in a fold; None if only its own fit can tell.

        That is so if something is wrong with the rows, if labels are missing in them, or if `fit` is given more than
        weights.
        """
        if candidate.network is None or self.y is None:
            return None
        named = f"{candidate.prefix}sample_weight"
        if any(value is not None and name != named for name, value in self.fit_params.items()):
            return None
        if candidate.head is not None:
            return self._once(
                (candidate.key, fold), lambda: _or_none(lambda: self._transformed(candidate, fold, named))
            )
        whole = self._once((candidate.key,), lambda: _or_none(lambda: _checked(candidate, self.X, self.y)))
        if whole is None:
            return None
        return self._once(
            (candidate.key, fold), lambda: _or_none(lambda: self._cut(whole, candidate, fold, named))
        )

    def forget(self, candidates: Iterable[Candidate]) -> None:
        """Let go of what was made for others than these candidates."""
        keys = {candidate.key for candidate in candidates}
        for key in list(self._made):
            if key[0] != "test" and key[0] not in keys:
                del self._made[key]

    def _once(self, key: tuple[Any, ...], make: Callable[[], Made]) -> Made:
        """Return what `make` makes, for all threads once."""
        with self._locks.setdefault(key, threading.Lock()):
            if key not in self._made:
                self._made[key] = make()
            made: Made = self._made[key]
            return made

    def _weights(self, fold: int, named: str, labels: Array) -> Array | None:
        """Return the checked weights of the rows that a fold is trained on."""
        train = self.splits[fold][0]
        weights = _check_method_params(self.X, params=self.fit_params, indices=train).get(named)
        return None if weights is None else checked_weights(weights, labels)

    def _cut(self, whole: Ready, candidate: Candidate, fold: int, named: str) -> Ready | None:
        """Return the rows of a fold by their numbers; None if they do not have all labels of the whole."""
        part = whole.part
        index = np.arange(len(part))[np.asarray(self.splits[fold][0])]
        part = Part(part.X, part.y, None, index, part.known)
        estimator = clone(candidate.network)
        estimator.__dict__.update(whole.checked)
        if not len(index) or not estimator._has_all(part.labels):
            return None
        part = part.weighted(self._weights(fold, named, part.labels))
        return Ready(part, whole.checked, test=self.test(candidate, fold)[0])

    def _transformed(self, candidate: Candidate, fold: int, named: str) -> Ready:
        """Return what the steps before the network, fitted on the fold, make of it."""
        X, y = self.train(candidate, fold)
        head = clone(candidate.head)
        train = head.fit_transform(X, y)
        test = self.test(candidate, fold)[0]
        for _, step in head.steps:  # not by the head's own `transform`: it wants its last step to look fitted
            test = test if step in (None, "passthrough") else step.transform(test)
        made = _checked(candidate, train, y)
        part = made.part.weighted(self._weights(fold, named, made.part.labels))
        return replace(made, part=part, head=head, train=train, test=test)


def _checked(candidate: Candidate, X: Any, y: Any) -> Ready:
    """Return all rows of X and y, checked by the network, which is left as it is."""
    estimator = clone(candidate.network)
    before = set(estimator.__dict__)
    X, y = estimator._check_data(X, y, incremental=False, reset=True, classes=None)
    made = {name: value for name, value in estimator.__dict__.items() if name not in before}
    return Ready(Part(as_rows(X, X.dtype), y), made)


def _or_none(make: Callable[[], Made]) -> Made | None:
    """Return what `make` makes; None after an exception, which a fit will raise again, and say in its words."""
    try:
        return make()
    except Exception:
        return None
