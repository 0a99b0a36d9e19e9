"""A loss of the user's on rows whose outputs are known: its mean, and its slopes in the place of the targets."""

from __future__ import annotations

import numpy as np

from fastbp.engine.memory import Array
from fastbp.engine.rows import Rows
from fastbp.own import Loss, check_grad

CHECKED_ROWS = 16  # of the first batch: enough to find a wrong formula, and next to nothing beside a training


def mean_of(loss: Loss, rows: Rows, outputs: Array, index: Array | None = None) -> float:
    """Return the weighted mean of the loss of rows; `index` are the numbers by which messages call them.

    Raises
    ------
    ZeroDivisionError
        The weights of the rows sum to zero.
    """
    if rows.mass == 0.0:
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")
    values = loss.values(rows.targets, outputs, index)
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # a mean that is not finite is reported by who asked for it
        return float((values @ rows.weights if rows.weights.size else values.sum()) / rows.mass)


def judged(loss: Loss, rows: Rows, outputs: Array, index: Array | None = None) -> tuple[float, Rows]:
    """Return `mean_of` the loss, and the rows with d mean / d out, which the kernels take for the loss `GIVEN`."""
    mean = mean_of(loss, rows, outputs, index)
    slopes = loss.slopes(rows.targets, outputs, index)
    share = rows.weights[:, None] / rows.mass if rows.weights.size else 1.0 / rows.mass
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows here shows in the weights
        given = np.ascontiguousarray(slopes * share, rows.layout.dtype)
    return mean, rows.relabeled(given)


def check_slopes(loss: Loss, rows: Rows, outputs: Array) -> None:
    """Compare the slopes of a loss with finite differences, for some rows, if it wants that; see `check_grad`."""
    some = np.flatnonzero(np.isfinite(outputs).all(axis=1))[:CHECKED_ROWS]
    if loss.check and len(some):
        check_grad(loss, rows.targets[some], outputs[some])
