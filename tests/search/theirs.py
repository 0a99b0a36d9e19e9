"""Our search with the arguments of scikit-learn's, for its own tests; in a module that pickles find."""

import numpy as np

from fastbp import SearchCV

OURS = {"parameters", "eta", "n_threads", "time_limit"}


class Full(SearchCV):
    """Our search of all candidates, with the arguments of scikit-learn's searches."""

    eta, n_threads, time_limit = None, 2, None

    def _take(self, given):
        for name, value in given.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)


class Grid(Full):
    """In the place of GridSearchCV."""

    _parameter_constraints = {
        name: constraint
        for name, constraint in SearchCV._parameter_constraints.items()
        if name not in {*OURS, "n_iter", "random_state"}
    } | {"param_grid": [dict, list]}
    n_iter = random_state = None
    parameters = property(lambda self: self.param_grid)

    def __init__(
        self,
        estimator,
        param_grid,
        *,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        pre_dispatch="2*n_jobs",
        error_score=np.nan,
        return_train_score=False,
    ):
        self._take(locals())


class Random(Full):
    """In the place of RandomizedSearchCV."""

    _parameter_constraints = {
        name: constraint for name, constraint in SearchCV._parameter_constraints.items() if name not in OURS
    }
    parameters = property(lambda self: self.param_distributions)

    def __init__(
        self,
        estimator,
        param_distributions,
        *,
        n_iter=10,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        pre_dispatch="2*n_jobs",
        random_state=None,
        error_score=np.nan,
        return_train_score=False,
    ):
        self._take(locals())
