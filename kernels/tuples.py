"""What the kernels of a step hand on: a network, the caller's rows, and which of them it is about now.

Numba takes a named tuple apart into its fields, so they cost nothing in machine code. `plan`, `layer`, `call` and
`totals` are records (plan.py).
"""

from typing import Any, NamedTuple

import numpy as np


class Net(NamedTuple):
    """A network: its plan, and the flat arrays that the plan points into."""

    plan: Any
    params: np.ndarray
    grad: np.ndarray
    state: np.ndarray
    work: np.ndarray


class Rows(NamedTuple):
    """The caller's data set, flat (CSR: x holds the entries), and the order of its rows; empty: as they lie.

    `cursors` has a place of this thread's for each row of a part: the entry of CSR that it has come to.
    """

    x: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    order: np.ndarray
    cursors: np.ndarray


class Sums(NamedTuple):
    """What adds up while a call runs: the totals, and the sum of the losses of each pass.

    Of one batch: coefficients of the step (optimizers.py); value and weight of each row; of each block of weights two
    numbers, its penalty and the square of its gradient.

    Of a window of batches in which rows of W wait (waiting.py): its steps; the penalty of each piece of W before each
    step. `waiting` holds how many steps of the window each row of W has had; then the rows that the batch in hand
    names, from the first row of each piece on; then how many those are.
    """

    totals: Any
    passes: np.ndarray
    coefficients: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    blocks: np.ndarray
    units: np.ndarray
    costs: np.ndarray
    waiting: np.ndarray


class Part(NamedTuple):
    """m rows of a batch, from row `first` of the order or of the data: as many as the workspace has room for at once.

    They are the batch's rows from `offset` on. `mass` is the sum of the weights of all rows of the batch: what a mean
    is divided by. The mean loss enters the total `times` times. t is the number of the step from 1, `rate` its learning
    rate. If `accumulate`, the gradient is added to what is there. The `last` part of a batch ends in an update; if
    `more` batches follow, the update brings the copies T up to date. Its batch `closes` the pass of that number, or
    none (-1). `window` is its place in a window of batches, after which all rows of W are brought up to date if it
    `settles` (waiting.py); -1: no row of W waits.
    """

    first: int
    m: int
    offset: int
    mass: float
    times: float
    t: int
    rate: float
    accumulate: bool
    last: bool
    more: bool
    closes: int
    window: int
    settles: bool


class Block(NamedTuple):
    """m rows of a part, from its row `row` on; `panel` is the thread's place in `work` for copied weights."""

    row: int
    m: int
    panel: int


class Piece(NamedTuple):
    """A block of weights: rows [begin, end) of what layer k stores, which are theta[start:stop].

    Their gradient is grad[g0:]. The first piece of a layer brings its bias along, whose gradient is grad[gb:].
    """

    number: int
    k: int
    layer: Any
    begin: int
    end: int
    start: int
    stop: int
    g0: int
    biased: bool
    gb: int


class Stretch(NamedTuple):
    """Rows [first, last) of parameters: row r is theta[start + r * ld:], ld long, its gradient grad[g0 + r * ldg:]."""

    start: int
    ld: int
    grad: np.ndarray
    g0: int
    ldg: int
    first: int
    last: int


class Matrix(NamedTuple):
    """Rows in a flat array: row r begins at data[start + r * distance]."""

    data: np.ndarray
    start: int
    distance: int
