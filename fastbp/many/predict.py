"""`predict_many`: what many nets say of the same rows, one by one, on average, or by vote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from fastbp.many.outputs import outputs_of
from fastbp.many.stack import Stack
from fastbp.sequential import Sequential

__all__ = ["predict_many"]


def predict_many(
    nets: Sequence[Sequential] | Stack,
    x: Any,
    *,
    combine: str | None = None,
    n_threads: int | None = None,
) -> NDArray[Any]:
    """Return the outputs of many nets, each as its own `predict` gives them.

    Parameters
    ----------
    nets : list of Sequential, or Stack
        All with the same number of outputs.
    x : array-like of shape (rows, n_inputs), or a list of them
        For all nets, or one per net, all with the same number of rows; also an array (nets, rows, n_inputs).
    combine : {None, "mean", "vote"}
        None: every net's outputs. "mean": their mean over the nets. "vote": the class that most nets choose, the lower
        one if two have as many votes. A net chooses its largest output; one output alone is a logit, and chooses class
        1 if it is positive.
    n_threads : int, optional
        None or -1: all cores this process may use. The numbers do not depend on it.

    Returns
    -------
    ndarray
        (nets, rows, n_outputs); with "mean" (rows, n_outputs), with "vote" (rows,) of int64.

    Raises
    ------
    TypeError, ValueError
        Says what came and what was expected, and of which net.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbp as fb
    >>> nets = [fb.Sequential([fb.Dense(2)], n_inputs=3, seed=seed) for seed in range(4)]
    >>> x = np.ones((5, 3), np.float32)
    >>> fb.predict_many(nets, x).shape, fb.predict_many(nets, x, combine="vote").shape
    ((4, 5, 2), (5,))
    """
    if isinstance(nets, Stack):
        return nets.predict(x, combine=combine, n_threads=n_threads)
    return outputs_of(check_nets(nets), x, combine, n_threads)


def check_nets(nets: Any) -> list[Sequential]:
    """Return nets as a list; raise a TypeError or ValueError unless it holds models, at least one."""
    if isinstance(nets, Sequential) or not hasattr(nets, "__iter__"):
        raise TypeError(f"nets must be a list of Sequential, got {type(nets).__name__}")
    members = list(nets)
    if not members:
        raise ValueError("nets must hold at least one Sequential, got an empty list")
    for i, net in enumerate(members):
        if not isinstance(net, Sequential):
            raise TypeError(f"nets[{i}] must be a Sequential, got {type(net).__name__}")
    return members
