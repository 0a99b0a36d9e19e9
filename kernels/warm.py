"""Compile every entry once, so that no user waits later: for images, CI, `fastbp warmup`, and platform wheels."""

import numpy as np

from . import compiled, many, network, outside, plain
from . import plan as p
from .machine.jit import compile_for


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
    p.ask(job, 0, p.PREDICT, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0.0)
    return job, plan, np.zeros(2 * row, dtype), np.zeros(4 * row, dtype)


def calls(dtype):
    """Yield what is compiled for a dtype: a line of text, an entry, and arguments of the types that it takes."""
    job, plan, params, work = _smallest(dtype)
    row, number = np.zeros(1, dtype), np.zeros(1)
    none, index, order = row[:0], np.zeros(0, np.int32), np.zeros(0, np.int64)
    text = f"training and prediction, {dtype}"
    yield (
        text,
        network.run,
        (job, params, none, work, none, index, index, none, number[:0], order, number, none),
    )
    for demanded, example in network.ON_DEMAND.values():
        yield text, demanded, example(dtype)
    text = f"predictions from plain arrays, {dtype}"
    yield text, plain.forward, (row, 1, row, row, False, 0, work, 0, 0)
    yield text, plain.forward_sparse, (row, index, index, row, row, False, 0, work, 0, 0)
    text = f"many small models, {dtype}"
    task = np.array([int(name == "groups") for name in many.TASK.fields], np.int64)
    task = np.concatenate([task, plan])
    yield text, many.train, (task, none, none, none, none, none, none, order, order, none, none, number)
    yield text, outside.penalize, (job, params, np.zeros_like(params), 1.0)
    yield text, outside.apply, (job, params, np.zeros_like(params), none, 0.0)
    text = f"kernels for compiled code, {dtype}"
    state, square = compiled.State(plan, params), row.reshape(1, 1)
    yield text, compiled.predict_one, (state, row, row)
    yield text, compiled.predict_row, (plan, params, square, square)
    yield text, compiled.predict, (state, square, square)
    yield text, compiled.train_one, (state, row, row, 0.0)
    yield text, compiled.value_and_grad_one, (state, row, row, np.zeros_like(params))
    yield text, compiled.pullback_one, (state, row, row, np.zeros_like(params), row.copy())
    yield text, compiled.train_one_from, (state, row, row, 0.0)


def warmup(dtypes=("float32", "float64"), progress=None):
    """Compile all entries for these dtypes and keep them in the cache; what is there already is only loaded.

    Parameters
    ----------
    dtypes : sequence of str
    progress : callable, optional
        Called with a line of text before each step.
    """
    said = None
    for dtype in dtypes:
        for text, entry, arguments in calls(dtype):
            if progress and text != said:
                progress(text)
            said = text
            compile_for(entry, arguments)
