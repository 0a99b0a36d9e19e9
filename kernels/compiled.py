"""What a user calls from their own compiled code: predict_one, predict, value_and_grad_one, train_one.

They take a `State`, plain arrays in a NamedTuple (`net.compiled()`), so any njit function can carry it. Workspace is on
the stack of the calling thread: nothing is allocated, and calls from `prange` or from several threads do not meet,
except where two of them train the same state. The arrays passed in are trusted: their sizes are not checked.
"""

from typing import NamedTuple

import numpy as np

from . import one
from .machine.jit import entry, kernel
from .machine.simd import fill, lanes, load, scratch, store
from .plan import (
    A_IN,
    CLASS_INDEX,
    D_IN,
    FAN_IN,
    FAN_OUT,
    HEADER,
    LD,
    LD_IN,
    LDW,
    N_LAYERS,
    RECORD,
    TRANSPOSED,
    WORK_SIZE,
    A,
    B,
    D,
    W,
)


class State(NamedTuple):
    """A network for compiled code: plan (int64), hyper (float64), and params, which is the network's own memory."""

    plan: np.ndarray
    hyper: np.ndarray
    params: np.ndarray


@kernel(inline=True)
def _clear(work):
    for j in range(0, work.size, lanes(work)):
        store(work, j, fill(work, 0.0))


@kernel
def _forward(plan, params, work, x):
    """Every layer for the row x."""
    a0 = plan[HEADER + A_IN]
    for k in range(plan[HEADER + FAN_IN]):
        work[a0 + k] = x[k]
    for layer in range(plan[N_LAYERS]):
        one.forward(plan, HEADER + layer * RECORD, params, work)


@kernel
def _targets(plan, work, y):
    """Targets of the row into the output's delta buffer: values, one-hot, or one class code."""
    top = HEADER + (plan[N_LAYERS] - 1) * RECORD
    o, d0 = plan[top + FAN_OUT], plan[top + D]
    if plan[CLASS_INDEX] != 0 and y.size == 1 and o > 1:
        for j in range(o):
            work[d0 + j] = 0.0
        work[d0 + int(y[0])] = 1.0
    else:
        for j in range(o):
            work[d0 + j] = y[j]


@entry
def predict_one(state, x, out):
    """Outputs of the network for one row.

    Parameters
    ----------
    state : State
        From `Sequential.compiled()`.
    x : array, shape (n_inputs,), dtype of the network
    out : array, shape (n_outputs,), dtype of the network
        Written.

    Examples
    --------
    >>> import numpy as np, fastbp as fb
    >>> net = fb.Sequential([fb.Dense(2)], n_inputs=3)
    >>> net.set_weights([np.ones((3, 2))], [np.zeros(2)])
    >>> out = np.zeros(2, np.float32)
    >>> fb.kernels.predict_one(net.compiled(), np.array([1, 2, 3], np.float32), out)
    >>> out
    array([6., 6.], dtype=float32)
    """
    plan = state.plan
    work = scratch(state.params, plan[WORK_SIZE])
    _clear(work)
    _forward(plan, state.params, work, x)
    top = HEADER + (plan[N_LAYERS] - 1) * RECORD
    a0 = plan[top + A]
    for j in range(plan[top + FAN_OUT]):
        out[j] = work[a0 + j]


@entry
def predict_row(plan, params, x, out):
    """Outputs (1, n_outputs) for x (1, n_inputs): `predict_one` for Python, where each array costs 0.15 us."""
    work = scratch(params, plan[WORK_SIZE])
    _clear(work)
    _forward(plan, params, work, x[0])
    top = HEADER + (plan[N_LAYERS] - 1) * RECORD
    a0 = plan[top + A]
    for j in range(plan[top + FAN_OUT]):
        out[0, j] = work[a0 + j]


@entry
def predict(state, x, out):
    """Outputs of the network for several rows.

    Parameters
    ----------
    state : State
    x : array, shape (n, n_inputs), dtype of the network
    out : array, shape (n, n_outputs), dtype of the network
        Written.

    Examples
    --------
    >>> import numpy as np, fastbp as fb
    >>> net = fb.Sequential([fb.Dense(1)], n_inputs=2)
    >>> net.set_weights([np.ones((2, 1))], [np.zeros(1)])
    >>> out = np.zeros((2, 1), np.float32)
    >>> fb.kernels.predict(net.compiled(), np.array([[1, 2], [3, 4]], np.float32), out)
    >>> out.ravel()
    array([3., 7.], dtype=float32)
    """
    plan = state.plan
    work = scratch(state.params, plan[WORK_SIZE])
    _clear(work)
    top = HEADER + (plan[N_LAYERS] - 1) * RECORD
    a0, o = plan[top + A], plan[top + FAN_OUT]
    for row in range(x.shape[0]):
        _forward(plan, state.params, work, x[row])
        for j in range(o):
            out[row, j] = work[a0 + j]


@entry
def train_one(state, x, y, lr):
    """One step of stochastic gradient descent on one row, in place: theta = theta - lr * gradient of the row's loss.

    Parameters
    ----------
    state : State
        From `Sequential.compiled(loss=...)`.
    x : array, shape (n_inputs,), dtype of the network
    y : array, shape (n_outputs,), dtype of the network
        For cross_entropy also shape (1,): the class code.
    lr : float

    Returns
    -------
    float
        The row's loss before the step.

    Examples
    --------
    >>> import numpy as np, fastbp as fb
    >>> net = fb.Sequential([fb.Dense(1)], n_inputs=1)
    >>> net.set_weights([np.zeros((1, 1))], [np.zeros(1)])
    >>> state = net.compiled(loss="half_squared_error")
    >>> one = np.ones(1, np.float32)
    >>> fb.kernels.train_one(state, one, one, 0.25)
    0.5
    >>> net.weights[0], net.biases[0]
    (array([[0.25]], dtype=float32), array([0.25], dtype=float32))
    """
    plan = state.plan
    work = scratch(state.params, plan[WORK_SIZE])
    _clear(work)
    weight = scratch(state.hyper, 1)
    value = scratch(state.hyper, 1)
    weight[0] = 1.0
    a0 = plan[HEADER + A_IN]
    for k in range(plan[HEADER + FAN_IN]):
        work[a0 + k] = x[k]
    _targets(plan, work, y)
    one.train_row(plan, state.hyper, state.params, work, weight, value, lr)
    return value[0]


@entry
def value_and_grad_one(state, x, y, grad):
    """Loss of one row, and its gradient with respect to every parameter, in the layout of theta.

    Parameters
    ----------
    state : State
        From `Sequential.compiled(loss=...)`.
    x : array, shape (n_inputs,), dtype of the network
    y : array, shape (n_outputs,), dtype of the network
        For cross_entropy also shape (1,): the class code.
    grad : array, shape (theta.size,), dtype of the network
        Written: what would be subtracted, times a learning rate, from `net.engine.theta`.

    Returns
    -------
    float
        The loss.

    Examples
    --------
    >>> import numpy as np, fastbp as fb
    >>> net = fb.Sequential([fb.Dense(1)], n_inputs=1)
    >>> net.set_weights([np.zeros((1, 1))], [np.zeros(1)])
    >>> grad = np.zeros_like(net.engine.theta)
    >>> one = np.ones(1, np.float32)
    >>> fb.kernels.value_and_grad_one(net.compiled(loss="half_squared_error"), one, one, grad)
    0.5
    >>> dW, db = net.engine.views(grad)
    >>> dW[0], db[0]
    (array([[-1.]], dtype=float32), array([-1.], dtype=float32))
    """
    plan, params = state.plan, state.params
    work = scratch(params, plan[WORK_SIZE])
    _clear(work)
    weight = scratch(state.hyper, 1)
    value = scratch(state.hyper, 1)
    weight[0] = 1.0
    _targets(plan, work, y)
    _forward(plan, params, work, x)
    one.error(plan, state.hyper, work, weight, value)
    for down in range(plan[N_LAYERS]):
        at = HEADER + (plan[N_LAYERS] - 1 - down) * RECORD
        x0, d0, g0, ldw = plan[at + A_IN], plan[at + D], plan[at + W], plan[at + LDW]
        i, o, b0 = plan[at + FAN_IN], plan[at + FAN_OUT], plan[at + B]
        turned = plan[at + TRANSPOSED] != 0
        left, rows, right, width = (d0, o, x0, plan[at + LD_IN]) if turned else (x0, i, d0, plan[at + LD])
        for r in range(rows):
            factor = fill(work, work[left + r])
            for j in range(0, width, lanes(work)):
                store(grad, g0 + r * ldw + j, load(work, right + j) * factor)
        if b0 >= 0:
            for j in range(0, plan[at + LD], lanes(work)):
                store(grad, b0 + j, load(work, d0 + j))
        if plan[at + D_IN] >= 0:
            one.propagate(plan, at, params, work)
            one.derive(plan, at - RECORD, work)
    return value[0]
