"""Calls made again and again with arrays of the same shapes: what does not change from one to the next is done once.

A small step takes half a microsecond in the kernel, and ten times as long if everything around it is looked up, checked
and written down at each call. So `Session` and `Engine` keep a function that does the last call again for other arrays
like those. It looks at what may differ between arrays (type, dtype, shape, order in memory) and returns None if
anything does; then the call goes the long way. Whoever changes what else the function relies on must drop it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastbp.engine.gradients import Gradients, new_gradients, reuse
from fastbp.engine.layout import Layout
from fastbp.engine.memory import Array
from fastbp.engine.rows import NO_INDEX, NO_WEIGHTS, to_codes
from fastbp.engine.workspace import EMPTY_ORDER, NO_RATES, Workspace
from fastbp.kernels import network
from fastbp.kernels import plan as p

Like = Callable[[Any, Any], bool]
Step = Callable[[Any, Any, float], float | None]
Gradient = Callable[[Any, Any, Gradients | None], tuple[float, Gradients] | None]
INT64 = np.dtype(np.int64)


def like(layout: Layout, n: int, *, codes: bool = False) -> Like:
    """Return a function that tells whether x and y are n rows as kernels take them; y are values, or class codes."""
    array, dtype, y_dtype = np.ndarray, layout.dtype, INT64 if codes else layout.dtype
    x_shape, y_shape = (n, layout.n_inputs), (n,) if codes else (n, layout.n_outputs)

    def is_like(x: Any, y: Any) -> bool:
        return (
            type(x) is array
            and type(y) is array
            and x.dtype is dtype
            and y.dtype is y_dtype
            and x.shape == x_shape
            and y.shape == y_shape
            and x.flags.carray
            and y.flags.carray
        )

    return is_like


def step_of(
    workspace: Workspace, params: Array, is_like: Like, n: int, *, codes: bool, seed: int, online: bool
) -> Step:
    """Return step(x, y, learning_rate), which trains on one batch of n rows and returns its mean loss.

    It relies on the workspace's plan, on its state of the optimizer, and on the arguments. It returns None and has done
    nothing if a loss of the user's fails.
    """
    outputs, dtype = workspace.layout.n_outputs, workspace.layout.dtype
    job, losses, grad, work = workspace.job, workspace.losses, workspace.grad, workspace.work
    state, rates = workspace.out, np.zeros(1)
    place, ask = p.LOSS_SUM, workspace.ask
    question = workspace.question(p.TRAIN, 0, n, mass=n, codes=codes, seed=seed, online=online)

    def step(x: Any, y: Any, learning_rate: float) -> float | None:
        if not is_like(x, y):
            return None
        targets = to_codes(y, outputs, dtype) if codes else y.ravel()
        ask(question)
        rates[0] = learning_rate
        # The sum of a pass that is under way is not this batch's.
        before, losses[place] = losses[place], 0.0
        inputs = x.ravel()
        done = network.run(
            job,
            params,
            grad,
            work,
            inputs,
            NO_INDEX,
            NO_INDEX,
            targets,
            NO_WEIGHTS,
            EMPTY_ORDER,
            rates,
            state,
        )
        total, losses[place] = losses[place], before
        if done != n:
            workspace.begin_anew()
            return None
        return total / n

    return step


def gradient_of(workspace: Workspace, params: Array, is_like: Like, n: int) -> Gradient:
    """Return gradient(x, y, out), which returns the mean loss of n rows and its gradient, in `out` if given.

    It relies on the workspace, which nobody else may use, and returns None while another thread is at it, and if a
    number is not finite. Nobody looks through the rows for that. Each number of x is a factor in the gradient of every
    unit of the first layer, and each of y a term of the loss. Infinity times zero is NaN, and neither ever becomes
    finite again in a sum. So the loss and the gradient of one unit are finite only if all rows are.
    """
    layout, nothing, free = workspace.layout, workspace.out, [workspace]
    isfinite, vdot = math.isfinite, np.vdot
    job, losses, work, place = workspace.job, workspace.losses, workspace.work, p.LOSS_SUM
    workspace.ask(workspace.question(p.GRADIENT, 0, n, mass=n))

    def gradient(x: Any, y: Any, out: Gradients | None) -> tuple[float, Gradients] | None:
        if not is_like(x, y):
            return None
        grads = new_gradients(layout) if out is None else reuse(out, layout, (x, y))
        inputs, targets = x.ravel(), y.ravel()
        try:
            free.pop()
        except IndexError:
            return None
        try:
            losses[place] = 0.0
            network.run(
                job,
                params,
                grads.theta,
                work,
                inputs,
                NO_INDEX,
                NO_INDEX,
                targets,
                NO_WEIGHTS,
                EMPTY_ORDER,
                NO_RATES,
                nothing,
            )
            loss, made = losses[place], grads._made
            # A sum of squares that overflows sends finite numbers the long way, too.
            fine = made is not None and isfinite(loss) and isfinite(vdot(made.unit, made.unit))
            return (loss, grads) if fine else None
        finally:
            free.append(workspace)

    return gradient
