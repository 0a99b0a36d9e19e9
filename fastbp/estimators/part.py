"""`Part`: checked rows that a fit trains on, all of those at hand or some of them by their numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.estimators.parameters import Array
from fastbp.estimators.predict import as_rows
from fastbp.objectives import Objective

if TYPE_CHECKING:  # what trains loads the kernels
    from fastbp.engine.layout import Layout
    from fastbp.engine.rows import Rows


@dataclass(slots=True)
class Part:
    """Rows of a fit, checked.

    Parameters
    ----------
    X : ndarray or sparse matrix
    y : ndarray
        As `BaseMLP._validate_input` returns it: (n, k), or class codes (n,).
    sample_weight : ndarray, optional
        Of the rows of this part.
    index : ndarray of int64, optional
        Which rows of X and y the part has; None: all.
    known : dict
        Rows as the kernels take them: parts of the same X and y share it, and nothing is copied for each.
    """

    X: Any
    y: Array
    sample_weight: Array | None = None
    index: Array | None = None
    known: dict[Any, Rows] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return the number of rows of this part."""
        return self.X.shape[0] if self.index is None else len(self.index)

    @property
    def labels(self) -> Array:
        """The part's own rows of y."""
        return self.y if self.index is None else self.y[self.index]

    def weighted(self, sample_weight: Array | None) -> Part:
        """Return the same rows with other weights."""
        return Part(self.X, self.y, sample_weight, self.index, self.known)

    def some(self, places: Array) -> Part:
        """Return some of the rows, by their places in this part."""
        index = places if self.index is None else self.index[places]
        weight = None if self.sample_weight is None else self.sample_weight[places]
        return Part(self.X, self.y, weight, index, self.known)

    def rows(self, layout: Layout, objective: Objective) -> Rows:
        """Return X and y as the kernels take them: of the whole, if the part has an index."""
        from fastbp.engine.rows import Rows

        key = (layout.n_inputs, layout.n_outputs, layout.dtype, objective.name)
        rows = self.known.get(key)
        if rows is None:
            targets = np.ascontiguousarray(self.y, dtype=np.int64 if self.y.ndim == 1 else layout.dtype)
            rows = Rows(layout, as_rows(self.X, layout.dtype), targets, None, objective)
            self.known[key] = rows
        if self.sample_weight is None or self.index is None:
            return rows if self.sample_weight is None else rows.weighted(self.sample_weight)
        # By their numbers; the other rows are not looked at.
        weights = np.zeros(len(rows))
        weights[self.index] = self.sample_weight
        return rows.weighted(weights)

    def own_rows(self, layout: Layout, objective: Objective) -> Rows:
        """Return the part's own rows as the kernels take them, copied if the part has an index."""
        rows = self.rows(layout, objective)
        return rows if self.index is None else rows.take(self.index)
