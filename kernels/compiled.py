"""What a user calls from their own compiled code: predictions, gradients and steps of one row.

They take a `State`, plain arrays in a NamedTuple (`net.compiled()`), so any njit function can carry it. Workspace is on
the stack of the calling thread: nothing is allocated, and calls from `prange` or from several threads do not meet,
except where two of them train the same state. The arrays passed in are trusted: their sizes are not checked.
"""

from typing import NamedTuple

import numpy as np

from . import dense, one
from .losses import CROSS_ENTROPY
from .machine.jit import entry, kernel
from .machine.key import identity
from .machine.simd import fill, lanes, scratch, store
from .plan import layer_of, network_at

# A field of no bytes, whose name makes the type of a State that of this version of the kernels. A user's own function
# that is kept on disk (cache=True) holds the kernels of its day; with another version it finds nothing to load.
VERSION = np.zeros(0, [(f"kernels_{identity()}", np.int8)])


class State(NamedTuple):
    """A network for compiled code: its plan (int64), and params, which is the network's own memory."""

    plan: np.ndarray
    params: np.ndarray
    version: np.ndarray = VERSION


@kernel(inline=True)
def _clear(work):
    for j in range(0, work.size, lanes(work)):
        store(work, j, fill(work, 0.0))


@kernel
def _inputs(plan, work, x):
    """Copy the row x to the input of the first layer."""
    a0 = layer_of(plan, 0).a_in
    for k in range(layer_of(plan, 0).fan_in):
        work[a0 + k] = x[k]


@kernel
def _targets(plan, work, y):
    """Targets of the row into the output's delta buffer: values, one-hot, or one class code."""
    top = layer_of(plan, plan.n_layers - 1)
    o, d0 = top.fan_out, top.d
    if plan.loss == CROSS_ENTROPY and y.size == 1 and o > 1:
        for j in range(o):
            work[d0 + j] = 0.0
        work[d0 + np.int64(y[0])] = 1.0
    else:
        for j in range(o):
            work[d0 + j] = y[j]


@kernel
def _predict(plan, params, work, x, out):
    """Every layer for the row x; the outputs of the last one."""
    _inputs(plan, work, x)
    for k in range(plan.n_layers):
        one.forward(layer_of(plan, k), params, work, False)
    top = layer_of(plan, plan.n_layers - 1)
    a0 = top.a
    for j in range(top.fan_out):
        out[j] = work[a0 + j]


@kernel
def _given(plan, params, work, grad):
    """Every layer for the row in the workspace, and dE/d out in the output's delta buffer."""
    for k in range(plan.n_layers):
        one.forward(layer_of(plan, k), params, work, True)
    top = layer_of(plan, plan.n_layers - 1)
    for j in range(top.fan_out):
        work[top.d + j] = grad[j]


@kernel
def _gradients(plan, params, work, grad):
    """Each layer's gradient, if `grad` has room for it, and the deltas, from the output's down to the first layer's."""
    for down in range(plan.n_layers):
        layer = layer_of(plan, plan.n_layers - 1 - down)
        dense.derive(layer, work, 0, 1, 0.0)
        if grad.size > 0:
            one.gradient(layer, work, grad)
        if layer.d_in >= 0:
            one.propagate(layer, params, work)


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
    plan = network_at(state.plan, 0)
    work = scratch(state.params, plan.work_size)
    _clear(work)
    _predict(plan, state.params, work, x, out)


@entry
def predict_row(plan, params, x, out):
    """Outputs (1, n_outputs) for x (1, n_inputs): `predict_one` for Python, where each array costs 0.15 us."""
    plan = network_at(plan, 0)
    work = scratch(params, plan.work_size)
    _clear(work)
    _predict(plan, params, work, x[0], out[0])


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
    plan = network_at(state.plan, 0)
    work = scratch(state.params, plan.work_size)
    _clear(work)
    for row in range(x.shape[0]):
        _predict(plan, state.params, work, x[row], out[row])


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
    plan = network_at(state.plan, 0)
    work = scratch(state.params, plan.work_size)
    _clear(work)
    numbers = state.plan.view(np.float64)
    weight = scratch(numbers, 1)
    value = scratch(numbers, 1)
    weight[0] = 1.0
    _inputs(plan, work, x)
    _targets(plan, work, y)
    one.train_row(plan, state.params, work, weight, value, lr)
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
    plan = network_at(state.plan, 0)
    work = scratch(state.params, plan.work_size)
    _clear(work)
    numbers = state.plan.view(np.float64)
    weight = scratch(numbers, 1)
    value = scratch(numbers, 1)
    weight[0] = 1.0
    _inputs(plan, work, x)
    _targets(plan, work, y)
    for k in range(plan.n_layers):
        one.forward(layer_of(plan, k), state.params, work, True)
    one.error(plan, work, weight, value)
    _gradients(plan, state.params, work, grad)
    return value[0]


@entry
def pullback_one(state, x, grad, theta_grad, x_grad):
    """Gradients of any E of the outputs for one row, from dE/d out: with respect to every parameter, and to the inputs.

    Parameters
    ----------
    state : State
        From `Sequential.compiled()`; its loss does not matter.
    x : array, shape (n_inputs,), dtype of the network
    grad : array, shape (n_outputs,), dtype of the network
        dE/d out at the outputs that `predict_one` gives for x.
    theta_grad : array, shape (theta.size,), dtype of the network
        Written: dE/d theta in the layout of theta. Of size 0: not wanted.
    x_grad : array, shape (n_inputs,), dtype of the network
        Written: dE/d x. Of size 0: not wanted.

    Examples
    --------
    >>> import numpy as np, fastbp as fb
    >>> net = fb.Sequential([fb.Dense(1)], n_inputs=2)
    >>> net.set_weights([np.array([[3.0], [4.0]])], [np.zeros(1)])
    >>> theta_grad, x_grad = np.zeros_like(net.engine.theta), np.zeros(2, np.float32)
    >>> x, one = np.array([1, 2], np.float32), np.ones(1, np.float32)
    >>> fb.kernels.pullback_one(net.compiled(), x, one, theta_grad, x_grad)
    >>> x_grad
    array([3., 4.], dtype=float32)
    >>> dW, db = net.engine.views(theta_grad)
    >>> dW[0].ravel(), db[0]
    (array([1., 2.], dtype=float32), array([1.], dtype=float32))
    """
    plan = network_at(state.plan, 0)
    work = scratch(state.params, plan.work_size)
    _clear(work)
    _inputs(plan, work, x)
    _given(plan, state.params, work, grad)
    _gradients(plan, state.params, work, theta_grad)
    if x_grad.size > 0:
        one.felt(layer_of(plan, 0), state.params, work, x_grad)


@entry
def train_one_from(state, x, grad, lr):
    """One step of stochastic gradient descent on one row, in place, for any E of the outputs whose dE/d out is given.

    Parameters
    ----------
    state : State
        From `Sequential.compiled()`; its loss does not matter.
    x : array, shape (n_inputs,), dtype of the network
    grad : array, shape (n_outputs,), dtype of the network
        dE/d out at the outputs that `predict_one` gives for x.
    lr : float

    Examples
    --------
    >>> import numpy as np, fastbp as fb
    >>> net = fb.Sequential([fb.Dense(1)], n_inputs=1)
    >>> net.set_weights([np.zeros((1, 1))], [np.zeros(1)])
    >>> one = np.ones(1, np.float32)
    >>> fb.kernels.train_one_from(net.compiled(), one, -one, 0.25)
    >>> net.weights[0], net.biases[0]
    (array([[0.25]], dtype=float32), array([0.25], dtype=float32))
    """
    plan = network_at(state.plan, 0)
    work = scratch(state.params, plan.work_size)
    _clear(work)
    _inputs(plan, work, x)
    _given(plan, state.params, work, grad)
    one.descend(plan, state.params, work, lr)
