"""Compile every entry once, so that no user waits later: for images, CI, and `fastbp warmup`."""

import numpy as np

from . import compiled, many, network, outside, plain
from . import plan as p


def _smallest(dtype):
    """Return a job with a plan of one unit with one input, and the arrays that it needs."""
    row = 64 // np.dtype(dtype).itemsize
    job, _, plan, _ = p.make_job(1, 1, 0, 1)
    plan[[p.N_LAYERS, p.BATCH, p.PART, p.N_OUT]] = 1
    plan[p.N_PARAMS], plan[p.WORK_SIZE] = 2 * row, 4 * row
    layer = plan[p.HEADER :]
    layer[[p.FAN_IN, p.FAN_OUT, p.BLOCK_ROWS]] = 1
    layer[[p.T, p.Z, p.D_IN]] = -1
    layer[[p.LDW, p.LD_IN, p.LD]] = layer[p.B] = row
    layer[p.A_IN], layer[p.A], layer[p.D] = row, 2 * row, 3 * row
    p.ask(job, 0, p.PREDICT, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0.0)
    return job, plan, np.zeros(2 * row, dtype), np.zeros(4 * row, dtype)


def warmup(dtypes=("float32", "float64"), progress=None):
    """Compile all entries for these dtypes and keep them in the cache; what is there already is only loaded.

    Parameters
    ----------
    dtypes : sequence of str
    progress : callable, optional
        Called with a line of text before each step.
    """
    for dtype in dtypes:
        job, plan, params, work = _smallest(dtype)
        row, number = np.zeros(1, dtype), np.zeros(1)
        say = progress or (lambda text: None)
        say(f"training and prediction, {dtype}")
        none, index, order = row[:0], np.zeros(0, np.int32), np.zeros(0, np.int64)
        network.run(job, params, none, work, none, index, index, none, number[:0], order, number, none)
        say(f"predictions from plain arrays, {dtype}")
        plain.forward(row, 1, row, row, False, 0, work, 0, 0)
        plain.forward_sparse(row, index, index, row, row, False, 0, work, 0, 0)
        say(f"many small models, {dtype}")
        task = np.array([int(name == "groups") for name in many.TASK.fields], np.int64)
        task = np.concatenate([task, plan])
        many.train(task, none, none, none, none, none, none, order, order, none, none, number)
        outside.penalize(job, params, np.zeros_like(params), 1.0)
        outside.apply(job, params, np.zeros_like(params), none, 0.0)
        say(f"kernels for compiled code, {dtype}")
        state = compiled.State(plan, params)
        compiled.predict_one(state, row, row)
        compiled.predict_row(plan, params, row.reshape(1, 1), row.reshape(1, 1))
        compiled.predict(state, row.reshape(1, 1), row.reshape(1, 1))
        compiled.train_one(state, row, row, 0.0)
        compiled.value_and_grad_one(state, row, row, np.zeros_like(params))
        compiled.pullback_one(state, row, row, np.zeros_like(params), row.copy())
        compiled.train_one_from(state, row, row, 0.0)
