"""What a picture of a search draws: its candidates, as the search itself or scikit-learn's has left them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbp.plot._style import Floats, number

BUDGETS = ("epochs", "n_resources")
"""Columns of ``cv_results_`` that say how far a candidate was trained: of SearchCV, of scikit-learn's halving."""


@dataclass(frozen=True)
class Column:
    """The values that one parameter has among the candidates."""

    name: str
    values: list[Any]
    """Each once: numbers in their order, others in that of the candidates."""
    codes: list[int]
    """For each candidate the place of its value."""

    @property
    def numbers(self) -> bool:
        """Whether all values are numbers."""
        return all(
            isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
            for value in self.values
        )

    def text(self, code: int) -> str:
        """Write a value shortly."""
        return number(float(self.values[code])) if self.numbers else str(self.values[code])


@dataclass(frozen=True)
class Candidates:
    """What is drawn of a search: a row for each candidate."""

    columns: list[Column]
    scores: Floats
    """Mean over the folds; NaN if the candidate failed."""
    spread: Floats
    budget: Floats | None
    unit: str
    """Of the budget."""
    best: int
    score: str
    """What the scores are called."""

    @property
    def stopped(self) -> NDArray[np.bool_]:
        """Which candidates got less than others, array of bool."""
        if self.budget is None:
            return np.zeros(len(self.scores), dtype=bool)
        return np.asarray(self.budget < self.budget.max())


def candidates(fitted: Any, metric: str | None) -> Candidates:
    """Read a fitted search; `plot.search` says what is raised."""
    results = getattr(fitted, "cv_results_", None)
    if results is None or "params" not in results:
        raise TypeError(
            "fitted must be a fitted search such as SearchCV or GridSearchCV, "
            f"but {type(fitted).__name__} has no cv_results_"
        )
    name = _metric(fitted, results, metric)
    # In scikit-learn's halving a candidate has a row for each of its rounds, and its epochs are among the parameters.
    resource = str(getattr(fitted, "resource", "")) if "n_resources" in results else None
    params = [{k: v for k, v in given.items() if k != resource} for given in results["params"]]
    rows = list(range(len(params))) if resource is None else _last_rows(params)
    params = [params[row] for row in rows]
    scores = np.asarray(results[f"mean_test_{name}"], dtype=np.float64)[rows]
    spread = np.asarray(results[f"std_test_{name}"], dtype=np.float64)[rows]
    if not np.isfinite(scores).any():
        raise ValueError("no candidate of the search has a score")
    key = next((key for key in BUDGETS if key in results), None)
    budget = None if key is None else np.asarray(results[key], dtype=np.float64)[rows]
    unit = resource or str(key)
    best = getattr(fitted, "best_index_", None) if metric is None else None
    if best is None or best not in rows:
        # The score of a candidate that was stopped early says little beside those that were not.
        whole = scores if budget is None else np.where(budget == budget.max(), scores, np.nan)
        best = rows[int(np.nanargmax(whole if np.isfinite(whole).any() else scores))]
    scoring = getattr(fitted, "scoring", None)
    called = name if name != "score" else scoring if isinstance(scoring, str) else "score"
    folds = getattr(fitted, "n_splits_", None)
    return Candidates(
        _columns(params),
        scores,
        spread,
        budget,
        unit,
        rows.index(best),
        called if folds is None else f"{called}, mean of {folds} folds",
    )


def _metric(fitted: Any, results: Any, metric: str | None) -> str:
    """Return the name of the scorer that is drawn."""
    names = [key.removeprefix("mean_test_") for key in results if key.startswith("mean_test_")]
    if metric is None:
        refit = getattr(fitted, "refit", None)
        metric = refit if isinstance(refit, str) and refit in names else "score"
    if metric not in names:
        raise ValueError(f"metric must be one of the search's scorers ({', '.join(names)}), got {metric!r}")
    return metric


def _last_rows(params: list[dict[str, Any]]) -> list[int]:
    """Return the last row of each candidate."""
    last = {repr(sorted(given.items())): row for row, given in enumerate(params)}
    return sorted(last.values())


def _columns(params: list[dict[str, Any]]) -> list[Column]:
    """Return the parameters that differ among the candidates, or all if none does."""
    names = list(dict.fromkeys(name for candidate in params for name in candidate))
    columns = [_column(name, [candidate.get(name, "not set") for candidate in params]) for name in names]
    return [column for column in columns if len(column.values) > 1] or columns


def _column(name: str, values: list[Any]) -> Column:
    # By their text: a value may be a list, which has no hash, or an array, which has no truth.
    distinct = {repr(value): value for value in values}
    column = Column(name, list(distinct.values()), [])
    order = list(distinct)
    if column.numbers:
        order.sort(key=lambda text: float(distinct[text]))
    return Column(name, [distinct[text] for text in order], [order.index(repr(value)) for value in values])
