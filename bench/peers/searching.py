"""A grid of 4 widths and 3 penalties over five folds: `fastbp.SearchCV` beside scikit-learn's searches.

Each run is another seed of `SEEDS`, which draws the weights and the folds. What a search found is told along with its
rate, so that scores can be compared and not only times.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.model_selection import GridSearchCV, ParameterGrid, StratifiedKFold
from sklearn.preprocessing import scale

from bench.peers.subject import Case
from bench.peers.workloads import Array

EPOCHS = {"digits": 60, "breast-cancer": 60, "table": 12}
GRID = {"hidden_layer_sizes": [(16,), (32,), (64,), (64, 32)], "alpha": [1e-4, 1e-3, 1e-2]}
CANDIDATES = list(ParameterGrid(GRID))
SEEDS = 3
ETA = 3


def make_task(name: str, dtype: str, quick: bool = False) -> tuple[Array, Array, int]:
    """Return rows and classes of a data set, and the epochs of a candidate that is never dropped."""
    if name == "digits":
        X, y = datasets.load_digits(return_X_y=True)
        X = X / 16
    elif name == "breast-cancer":
        X, y = datasets.load_breast_cancer(return_X_y=True)
    else:
        X, y = datasets.make_classification(20_000, 20, n_informative=12, n_classes=3, random_state=0)
    X = X if name == "digits" else scale(X)
    rows = slice(300) if quick else slice(None)
    return np.ascontiguousarray(X[rows], dtype=dtype), y[rows], 18 if quick else EPOCHS[name]


class Search(ABC):
    """Base: one run is one search, with the next seed."""

    work = 1.0
    check_runs = 1
    module = "fastbp"
    dtype = ""
    """Instead of the case's."""
    complete = False
    """Whether every candidate is trained to its end, in the order of `CANDIDATES`."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.x, self.y, self.epochs = make_task(case.name, self.dtype or case.dtype, case.quick)
        self.found: dict[str, Any] = {}
        self.runs = 0

    def model(self, seed: int, **options: Any) -> Any:
        """Return the module's class with the parameters that no candidate changes."""
        kind = importlib.import_module(self.module).MLPClassifier
        # So that a few epochs are enough for scores that can be compared.
        rate = 0.02 if self.case.quick else 0.001
        return kind(max_iter=self.epochs, learning_rate_init=rate, random_state=seed, **options)

    @abstractmethod
    def search(self, seed: int, **options: Any) -> Any:
        """Return the search, not yet fitted; the options are those that all searches have."""

    def fit(self, seed: int) -> Any:
        """Search, and note what was found."""
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        search = self.search(seed, cv=folds, refit=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of epochs that did not converge
            search.fit(self.x, self.y)
        # scikit-learn's halving has the epochs among the parameters.
        best = {name: search.best_params_[name] for name in GRID}
        found = {"score": float(search.best_score_), "picked": CANDIDATES.index(best)}
        if self.complete:
            found["scores"] = search.cv_results_["mean_test_score"].tolist()
        self.found[str(seed)] = found
        return search

    def reset(self) -> None:
        """Nothing: a search starts over by itself."""

    def run(self, times: int) -> None:
        """Search, `times` over."""
        for _ in range(times):
            self.fit(self.runs % SEEDS)
            self.runs += 1

    def told(self) -> dict[str, Any]:
        """Return what the searches so far have found, by seed."""
        return self.found

    def check(self) -> list[float]:
        """The best score of the first seed."""
        return [float(self.fit(0).best_score_)]


class Fastbp(Search):
    """`fastbp.SearchCV` with halving."""

    eta: int | None = ETA

    def search(self, seed: int, **options: Any) -> Any:
        """Threads are those of the search."""
        import fastbp

        return fastbp.SearchCV(
            self.model(seed), GRID, eta=self.eta, n_threads=self.case.threads, random_state=seed, **options
        )


class FastbpFull(Fastbp):
    """All candidates to their end."""

    eta = None
    complete = True


class FastbpFloat32(Fastbp):
    """With halving, in float32."""

    dtype = "float32"


class FastbpFullFloat32(FastbpFull):
    """To the end, in float32."""

    dtype = "float32"


class Parallel(Search):
    """scikit-learn's searches, a fit per core at a time."""

    backend = ""

    def fit(self, seed: int) -> Any:
        """With joblib's backend, unless there is one core."""
        import joblib

        place: Any = contextlib.nullcontext()
        if self.case.threads > 1:
            place = joblib.parallel_config(self.backend, n_jobs=self.case.threads, **self.place())
        with place:
            return super().fit(seed)

    def place(self) -> dict[str, Any]:
        """Options of the backend."""
        return {}


class Grid(Parallel):
    """GridSearchCV."""

    complete = True

    def search(self, seed: int, **options: Any) -> Any:
        """No option of its own."""
        return GridSearchCV(self.model(seed), GRID, **options)


class Halving(Parallel):
    """HalvingGridSearchCV, which starts anew in every round."""

    def search(self, seed: int, **options: Any) -> Any:
        """Epochs are the resource."""
        from sklearn.experimental import enable_halving_search_cv  # noqa: F401
        from sklearn.model_selection import HalvingGridSearchCV

        return HalvingGridSearchCV(
            self.model(seed),
            GRID,
            resource="max_iter",
            max_resources=self.epochs,
            min_resources=max(1, self.epochs // ETA**2),
            factor=ETA,
            random_state=seed,
            **options,
        )


class Ours(Parallel):
    """Our class in them: threads side by side, one for each fit."""

    backend = "threading"

    def model(self, seed: int, **options: Any) -> Any:
        """On one thread."""
        return super().model(seed, n_threads=1, **options)


class OurGrid(Ours, Grid):
    """GridSearchCV with our class."""


class OurHalving(Ours, Halving):
    """HalvingGridSearchCV with our class."""


class Theirs(Parallel):
    """scikit-learn's class in them: processes side by side, one BLAS thread for each."""

    module = "sklearn.neural_network"
    backend = "loky"

    def place(self) -> dict[str, Any]:
        """The variables of this process would give each of them as many threads as there are cores."""
        return {"inner_max_num_threads": 1}


class TheirGrid(Theirs, Grid):
    """GridSearchCV with scikit-learn's class."""


class TheirHalving(Theirs, Halving):
    """HalvingGridSearchCV with scikit-learn's class."""
