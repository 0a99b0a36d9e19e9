"""Compile every entry once, so that no user waits later: for images, CI, and `fastbp warmup`."""

import numpy as np

from . import compiled, network
from . import plan as p
from .machine.sync import SYNC_SIZE


def _smallest(dtype):
    """Return a plan for a network of one unit with one input, and its arrays."""
    row = 64 // np.dtype(dtype).itemsize
    plan = np.zeros(p.HEADER + p.RECORD, np.int64)
    plan[[p.N_LAYERS, p.BATCH, p.PART, p.ROW_BLOCK, p.N_OUT]] = 1
    plan[p.N_PARAMS], plan[p.WORK_SIZE] = 2 * row, 4 * row
    record = plan[p.HEADER :]
    record[[p.FAN_IN, p.FAN_OUT, p.BLOCK_ROWS]] = 1
    record[[p.T, p.Z, p.D_IN]] = -1
    record[[p.LDW, p.LD_IN, p.LD]] = record[p.B] = row
    record[p.A_IN], record[p.A], record[p.D] = row, 2 * row, 3 * row
    return plan, np.zeros(p.HYPER + p.LAYER_HYPER), np.zeros(2 * row, dtype), np.zeros(4 * row, dtype)


def warmup(dtypes=("float32", "float64"), progress=None):
    """Compile all entries for these dtypes and keep them in the cache; what is there already is only loaded.

    Parameters
    ----------
    dtypes : sequence of str
    progress : callable, optional
        Called with a line of text before each step.
    """
    for dtype in dtypes:
        plan, hyper, params, work = _smallest(dtype)
        row, number = np.zeros(1, dtype), np.zeros(1)
        say = progress or (lambda text: None)
        say(f"training and prediction, {dtype}")
        index, order = np.zeros(0, np.int32), np.zeros(0, np.int64)
        network.run(
            network.PREDICT, plan, hyper, params, row[:0], row[:0], work, np.zeros(64), row, index, index, row,
            number[:0], order, 0, 0, number, 0.0, 1, row, 0, np.zeros(SYNC_SIZE, np.int64), 1,
        )  # fmt: skip
        say(f"kernels for compiled code, {dtype}")
        state = compiled.State(plan, hyper, params)
        compiled.predict_one(state, row, row)
        compiled.predict_row(plan, params, row.reshape(1, 1), row.reshape(1, 1))
        compiled.predict(state, row.reshape(1, 1), row.reshape(1, 1))
        compiled.train_one(state, row, row, 0.0)
        compiled.value_and_grad_one(state, row, row, np.zeros_like(params))
