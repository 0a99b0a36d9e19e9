"""All layers: predictions, losses, gradients, and training a run of batches, in one kernel.

    run             a call: which rows, and what for
      batches       batch after batch; a large one in parts
        steps       a part:
          rows.py     blocks of rows: forward, loss, backward
          weights.py  blocks of weights: gradient over all rows, update

`run` is entered by every thread of a team with the same arguments. Each of the phases that follow one another ends when
all its blocks are done, and what is done once per phase, the thread does that ends it (machine/sync.py). Blocks are the
same for any number of threads and every sum has a fixed order, so the numbers are too. Kernels trust their callers:
fastbp.engine checks shapes, dtypes and ranges.
"""

import numpy as np

from . import gather, one, optimizers
from .machine.jit import entry, kernel
from .machine.sync import MEMBERS, Team, fetch_add
from .plan import (
    COEFFICIENTS,
    GRADIENT,
    HEADER,
    PLAN,
    RECORD,
    ROWS,
    SYNC,
    TRAIN,
    VALUE,
    call_at,
    layer_of,
    network_at,
    totals_at,
)
from .rows import rows_phase
from .tuples import Net, Part, Rows, Sums
from .weights import clipped_phase, copies_phase, weights_phase


@entry
def run(job, params, grad, work, x, indices, indptr, y, weight, order, rates, out):
    """Rows [begin, end) of `order` (or of the data if `order` is empty), in batches; returns how many rows are done.

    The job (plan.py) says which rows, and what for. TRAIN: an optimizer step per batch, with the learning rates in
    `rates`, one or one per batch; `out` is the optimizer's state. GRADIENT: `grad` of the mean over the weight `mass`,
    batches accumulated, and in `out`, if the plan wants that, the gradient of the inputs. VALUE: the mean loss only.
    PREDICT: the outputs of the last of `layers` in `out`. The total `loss_sum` is increased by the sum over batches of
    mean loss times rows (TRAIN; times their weight if `mass` is not 0), or by the weighted mean (GRADIENT, VALUE).
    Fewer rows are done than asked for if the weights of a batch sum to 0, or if sync[STOP] was set: the batch in hand
    is given up before it changed the model.
    """
    # What lies in a job, see plan.py. Not in a function of its own: that would have to count references of arrays.
    call, plan = call_at(job, 0), network_at(job, PLAN)
    end = PLAN + HEADER + plan.n_layers * RECORD
    numbers = job[end:].view(np.float64)
    step = numbers[COEFFICIENTS : COEFFICIENTS + optimizers.N_COEFFICIENTS]
    values = numbers[ROWS : ROWS + plan.part]
    weights = numbers[ROWS + plan.part : ROWS + 2 * plan.part]
    sums = Sums(totals_at(job, end), step, values, weights, numbers[ROWS + 2 * plan.part :])
    net = Net(plan, params, grad, out, work)
    rows = Rows(x, indices, indptr, y, weight, order)
    sync = job[SYNC:PLAN]
    team = Team(sync, call.team, fetch_add(sync, MEMBERS, np.int64(1)) if call.team > 1 else 0)
    copies_phase(net, sums, team, 0, call.mode <= GRADIENT)
    if call.mode == TRAIN and plan.online != 0:
        return one.train_rows(call, net, rows, sums, rates)
    return batches(call, net, rows, sums, team, rates, out)


@kernel(inline=True)
def batches(call, net, rows, sums, team, rates, out):
    """Batch after batch of the rows that the call is about; returns how many rows are done."""
    plan, totals = net.plan, sums.totals
    first, count, phase = call.begin, 0, 1
    while first < call.end:
        m = min(plan.batch, call.end - first)
        mass, share, rate = call.mass, 1.0, 0.0
        if call.mode == TRAIN:
            mass = gather.weight_of(rows, first, m)
            if mass == 0.0:
                return first - call.begin
            share = mass if call.mass > 0.0 else float(m)
            rate = rates[count if rates.size > 1 else 0]
        # A thread that comes late must not take the number from what the others have counted meanwhile.
        step = int(totals.steps_before) + count + 1
        offset = 0
        while offset < m:
            height = min(plan.part, m - offset)
            last = call.mode == TRAIN and offset + height == m
            accumulate = offset > 0 or (call.mode == GRADIENT and count > 0)
            more = first + m < call.end
            part = Part(first + offset, height, offset, mass, share, step, rate, accumulate, last, more)
            phase = phases(call, net, rows, sums, part, team, phase, out)
            if phase < 0:
                # Others may have come further than this thread.
                return int(totals.steps - totals.steps_before) * plan.batch
            offset += height
        count += 1
        first += m
    return first - call.begin


@kernel(inline=True)
def phases(call, net, rows, sums, part, team, phase, out):
    """The two phases of a part, or three if the gradient is clipped; returns the next one's number, or -1 if stopped.

    A call is stopped only before anything is updated.
    """
    # Rows in their own order are read where they are; W' x delta is the one product that needs them padded.
    in_place = rows.order.size == 0 and net.plan.sparse == 0
    if call.mode <= GRADIENT and layer_of(net.plan, 0).transposed != 0:
        in_place = False
    if call.mode == TRAIN and net.plan.input_dropout > 0.0:
        in_place = False
    if rows_phase(call, net, rows, sums, part, team, phase, in_place, out):
        return -1
    if call.mode >= VALUE:
        return phase + 1
    clipped = part.last and net.plan.clipped != 0
    weights_phase(net, rows, sums, part, team, phase + 1, in_place, clipped)
    if not clipped:
        return phase + 2
    clipped_phase(net, sums, part, team, phase + 2)
    return phase + 3
