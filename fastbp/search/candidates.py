"""The candidates of a search: their parameters, and how each of them can be trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from sklearn.base import clone
from sklearn.model_selection import ParameterGrid, ParameterSampler
from sklearn.pipeline import Pipeline

from fastbp.estimators import MLPClassifier, MLPRegressor
from fastbp.estimators.base import BaseMLP
from fastbp.estimators.choices import SOLVER
from fastbp.validation import shown

PLAIN = (bool, int, float, str, type(None))


def parameters_of(parameters: Any, n_iter: int | None, random_state: Any) -> list[dict[str, Any]]:
    """Return the parameters of each candidate: a grid, or `n_iter` draws.

    Raises
    ------
    TypeError, ValueError
        What scikit-learn's `ParameterGrid` and `ParameterSampler` say; or there is a distribution and no `n_iter`.

    >>> parameters_of({"alpha": [0.1, 0.2]}, None, None)
    [{'alpha': 0.1}, {'alpha': 0.2}]
    """
    if n_iter is not None:
        return list(ParameterSampler(parameters, n_iter, random_state=random_state))
    for grid in [parameters] if isinstance(parameters, Mapping) else parameters:
        for name, value in grid.items() if isinstance(grid, Mapping) else ():
            if hasattr(value, "rvs"):
                raise ValueError(
                    f"parameters[{name!r}] is a distribution, {shown(value)}: n_iter must say how many candidates to "
                    "draw, got n_iter=None"
                )
    return list(ParameterGrid(parameters))


@dataclass(slots=True)
class Candidate:
    """What is searched for, with the parameters of one candidate.

    Attributes
    ----------
    number : int
    parameters : dict
    estimator : estimator
        With these parameters, not fitted.
    network : BaseMLP or None
        The estimator, or the last step of the pipeline, if its epochs can be trained piece by piece.
    head : Pipeline or None
        The steps before it.
    prefix : str
        Of the network's parameters, such as ``"mlp__"``.
    key : tuple
        Equal for candidates whose data are prepared alike.
    max_iter : int
        Epochs, or iterations; 0 if the estimator has no such parameter.
    """

    number: int
    parameters: dict[str, Any]
    estimator: Any
    network: BaseMLP | None
    head: Pipeline | None
    prefix: str
    key: tuple[Any, ...]
    max_iter: int

    @property
    def resource(self) -> str:
        """The name of the parameter that says how many epochs there are."""
        return f"{self.prefix}max_iter"


def candidate_of(number: int, parameters: dict[str, Any], base: Any) -> Candidate:
    """Return a candidate.

    Raises
    ------
    ValueError
        A parameter that the estimator does not have.
    """
    # Parameters may be estimators, and those are fitted.
    estimator = clone(base).set_params(**clone(parameters, safe=False))
    last, head, prefix = estimator, None, ""
    searched: list[tuple[str, Any]] = []
    if type(estimator) is Pipeline and estimator.steps:
        name, last = estimator.steps[-1]
        prefix = f"{name}__"
        if len(estimator.steps) > 1:
            head = Pipeline(estimator.steps[:-1], memory=estimator.memory)
        searched = [item for item in parameters.items() if item[0] != name and not item[0].startswith(prefix)]
    network = last if _goes_on(last) and getattr(estimator, "transform_input", None) is None else None
    key = (
        type(last),
        _identity(getattr(last, "dtype", None)),
        *((name, _identity(value)) for name, value in searched),
    )
    given = getattr(last, "max_iter", None)
    max_iter = int(given) if isinstance(given, Integral) and not isinstance(given, bool) else 0
    return Candidate(number, parameters, estimator, network, head, prefix, key, max(0, max_iter))


def _goes_on(estimator: Any) -> bool:
    """Whether a fit can be trained piece by piece: a class of the user's may do anything in its own."""
    return type(estimator) in (MLPClassifier, MLPRegressor) and SOLVER.find(estimator.solver) not in (
        None,
        "lbfgs",
    )


def _identity(value: Any) -> tuple[type, Any]:
    """Return what two equal values have in common: candidates of a grid hold the same objects."""
    return type(value), value if isinstance(value, PLAIN) else id(value)
