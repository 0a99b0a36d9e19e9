"""What the kernels of a training step hand on: a network, the caller's rows, and which of them it is about now.

Numba takes a named tuple apart into its fields, so they cost nothing in machine code.
"""

from typing import Any, NamedTuple

import numpy as np


class Net(NamedTuple):
    """A network: its plan (a record, plan.py), and the flat arrays that it points into."""

    plan: Any
    params: np.ndarray
    grad: np.ndarray
    state: np.ndarray
    work: np.ndarray


class Rows(NamedTuple):
    """The caller's data set, flat (CSR: x holds the entries), and the order of its rows; empty: as they lie."""

    x: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    order: np.ndarray


class Sums(NamedTuple):
    """What adds up while a call runs (see plan.py): totals, and of one batch the step, rows, blocks of weights."""

    totals: Any
    step: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    blocks: np.ndarray


class Part(NamedTuple):
    """Rows of one batch that the workspace has room for at once: m of them, from row `first` of the order.

    They are the batch's rows from `offset` on; the mean is taken over the batch's weight `whole`. `step` counts batches
    from 1, `rate` is its learning rate. If `accumulate`, their gradient is added to what is there. The `last` part of a
    batch ends in an update; if `more` batches follow, that brings the copies T up to date.
    """

    first: int
    m: int
    offset: int
    whole: float
    share: float
    step: int
    rate: float
    accumulate: bool
    last: bool
    more: bool


class Block(NamedTuple):
    """m rows of a part, from its row `row` on; `panel` is the thread's place for copied weights."""

    row: int
    m: int
    panel: int


class Matrix(NamedTuple):
    """Rows in a flat array: row r begins at data[start + r * distance]."""

    data: np.ndarray
    start: int
    distance: int
