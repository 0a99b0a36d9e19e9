"""All layers: predictions, losses, gradients, and training a run of batches, in one kernel.

    run             a call: which rows, and what for
      batches       batch after batch; a large one in parts
        phases      a part:
          rows.py     blocks of rows: forward, loss, backward
          weights.py  blocks of weights: gradient over all rows, update
          waiting.py  rows of weights that no row of a batch names, of a text

What fastbp/reference.py says of it, one row and one number at a time:

    forward, Loss.delta, backward       phase 1, rows_phase: a block of rows through all layers
    value_and_grad's sums over rows     phase 2, weights_phase: a block of weights over all rows
    penalty, Update                     phase 2 too, for the block that was just summed up
    clip_by_global_norm, then Update    phase 3, clipped_phase: the norm needs the whole gradient
    one sgd step with a single row      one.py, without phases

Its theta is `params` here, its X, Y and sample_weight are `rows`, its (z, a) of every layer lie in `work`, and what its
rules remember in `state`. All are flat arrays; the plan says what lies where. m is a number of rows.

Every thread of a team enters `run` with the same arguments. The phases follow one another, and a phase is over when all
its blocks are done. Some work belongs to a phase and not to one of its blocks: the thread that finishes the last block
does it (machine/sync.py). Blocks are the same for any number of threads and every sum has a fixed order, so the numbers
are the same, too. Kernels trust their callers: fastbp.engine checks shapes, dtypes and ranges.
"""

import functools

import numpy as np

from . import gather, one, optimizers, sparse, waiting, weights
from .machine import addressed
from .machine.jit import entry, kernel
from .machine.sync import MEMBERS, SYNC_SIZE, Team, fetch_add
from .plan import (
    COEFFICIENTS,
    GRADIENT,
    HEADER,
    MOST_PASSES,
    PASSES,
    PLAN,
    RECORD,
    ROWS,
    SYNC,
    TEAM_PIECES,
    TRAIN,
    VALUE,
    WAITING,
    WINDOW,
    call_at,
    layer_of,
    network_at,
    numbers_at,
    totals_at,
    words_at,
)
from .rows import rows_phase
from .tuples import Net, Part, Rows, Sums
from .waiting import FIND, LEARN, SETTLE, call_waiting_phase
from .weights import call_clipped_phase, copies_phase, weights_phase

# Entries that not every call needs, by the field of a call or a plan that holds their address; and their arguments.
ON_DEMAND = {
    "sparse": (sparse.first_layer, sparse.example),
    "online": (one.train_rows, one.example),
    "waits": (waiting.waiting_phase, waiting.example),
    "clipped": (weights.clipped_phase, weights.example),
}


@functools.cache
def address_for(field, dtype):
    """Compile what a field needs, for a dtype, or load it; return the field's value."""
    entry, example = ON_DEMAND[field]
    return addressed.address_of(entry, example(dtype))


@entry
def run(job, params, grad, work, x, indices, indptr, y, weight, order, rates, out):
    """Rows [begin, end) of `order` (or of the data if `order` is empty), in batches; returns how many rows are done.

    The job (plan.py) says which rows, and what for:

    TRAIN     An optimizer step per batch. `rates` are the learning rates, one for all or one per batch. `out` is the
              optimizer's state.
    GRADIENT  The gradient of the mean over all rows in `grad`, added up batch by batch. `out` is the gradient of the
              inputs, if the plan wants that.
    VALUE     The mean loss only.
    PREDICT   The outputs of the last of `layers` in `out`.

    With a seed, GRADIENT and PREDICT have the dropout of the next step; its gradient, and the outputs that it sees.

    TRAIN adds each batch's mean loss times its rows to the total `loss_sum`, or times their weight if `mass` is not 0;
    GRADIENT and VALUE the weighted mean. Fewer rows are done than asked for if the weights of a batch sum to 0, or if
    sync[STOP] was set: then the batch in hand is given up before it changed the model.
    """
    # A job is one array: the call, the words that threads meet at, the plan, and numbers (plan.py says where). It is
    # taken apart here and not in a function, which would have to count references of arrays.
    call, plan = call_at(job, 0), network_at(job, PLAN)
    end = PLAN + HEADER + plan.n_layers * RECORD
    coefficients = numbers_at(job, end + COEFFICIENTS, optimizers.UNIT)
    passes = numbers_at(job, end + PASSES, MOST_PASSES)
    values = numbers_at(job, end + ROWS, plan.part)
    weights = numbers_at(job, end + ROWS + plan.part, plan.part)
    ahead = end + ROWS + 2 * plan.part
    blocks = numbers_at(job, ahead, 2 * plan.n_blocks)
    # At the end of a job with room for rows of W that wait.
    room = 0 if call.waits == 0 else 1
    fan_in = room * layer_of(plan, 0).fan_in
    window = job.size - room * WAITING - 2 * fan_in
    units = numbers_at(job, window, room * WINDOW * optimizers.UNIT)
    costs = numbers_at(job, window + units.size, room * WINDOW * TEAM_PIECES)
    waiting = words_at(job, window + units.size + costs.size, room * TEAM_PIECES + 2 * fan_in)
    sums = Sums(totals_at(job, end), passes, coefficients, values, weights, blocks, units, costs, waiting)
    # `out` is the state if this call trains; otherwise nothing looks at a state.
    net = Net(plan, params, grad, out, work)
    sync = words_at(job, SYNC, SYNC_SIZE)
    team = Team(sync, call.team, fetch_add(sync, MEMBERS, np.int64(1)) if call.team > 1 else 0)
    cursors = words_at(job, ahead + blocks.size + team.member * plan.part, plan.part)
    rows = Rows(x, indices, indptr, y, weight, order, cursors)
    # Some copies T are read by the backward pass only. The modes are in order: TRAIN and GRADIENT have one.
    copies_phase(net, sums, team, 0, call.mode <= GRADIENT)
    if call.mode == TRAIN and call.online != 0:
        one.call_train_rows(call.online, (call, net, rows, sums, rates))
        return np.int64(sums.totals.steps - sums.totals.steps_before)
    return batches(call, net, rows, sums, team, rates, out)


@kernel(inline=True)
def batches(call, net, rows, sums, team, rates, out):
    """Batch after batch of the rows that the call is about; returns how many rows are done."""
    plan, totals = net.plan, sums.totals
    # Rows done, batches done. The copies were phase 0.
    done, count, phase = call.begin, 0, 1
    while done < call.end:
        # A batch ends with its pass. Without an order each pass reads the rows as they lie.
        first, stop, closes, before = done, call.end, np.int64(-1), 0
        if call.span > 0:
            number = done // call.span
            before = number * call.span
            stop = (number + 1) * call.span
            if rows.order.size == 0:
                first = done - before
            if done + plan.batch >= stop:
                closes = number
        m = min(plan.batch, stop - done)
        index = np.int64(-1)
        if call.waits != 0:
            index = (done - before) // plan.batch % WINDOW
        settles = index >= 0 and (index + 1 == WINDOW or done + m == stop)
        # A mean is a sum of w_r loss_r divided by `mass`, the sum of w_r. Only TRAIN takes it over the batch.
        mass, times, rate = call.mass, 1.0, 0.0
        if call.mode == TRAIN:
            mass = gather.weight_of(rows, first, m)
            times = mass if call.mass > 0.0 else float(m)
            rate = rates[count if rates.size > 1 else 0]
        # Counted from `steps_before`, which stays: others may have finished this batch before this thread comes here,
        # and `steps` would count it already.
        t = np.int64(totals.steps_before) + count + 1
        # A batch goes in parts if the workspace has no room for all of its rows. The gradient adds up over them.
        offset = 0
        while offset < m:
            height = min(plan.part, m - offset)
            last = call.mode == TRAIN and offset + height == m
            accumulate = offset > 0 or (call.mode == GRADIENT and count > 0)
            more = done + m < call.end
            part = Part(
                first + offset,
                height,
                offset,
                mass,
                times,
                t,
                rate,
                accumulate,
                last,
                more,
                closes,
                index,
                settles,
            )
            phase = phases(call, net, rows, sums, part, team, phase, out)
            if phase < 0:
                # Others may have come further than this thread.
                return rows_of(call, plan, np.int64(totals.steps - totals.steps_before))
            offset += height
        count += 1
        done += m
    return done - call.begin


@kernel
def rows_of(call, plan, count):
    """Return how many rows the first `count` batches of a call have, if it was stopped after them."""
    if call.span == 0:
        return count * plan.batch
    per_pass = (call.span + plan.batch - 1) // plan.batch
    return count // per_pass * call.span + count % per_pass * plan.batch


@kernel(inline=True)
def phases(call, net, rows, sums, part, team, phase, out):
    """The two phases of a part, or three if the gradient is clipped; returns the next one's number, or -1 if stopped.

    Phase 1 alone asks whether the call is to stop, because nothing is updated yet. A batch whose rows weigh nothing
    stops it before that. If rows of W wait there are more phases.
    """
    empty = call.mode == TRAIN and part.mass == 0.0
    if part.window >= 0 and not empty:
        call_waiting_phase(call.waits, (net, rows, sums, part, team, phase, FIND, part.window, np.int64(0)))
        phase += 1
    # The first layer reads the caller's rows where they are, if they are wanted in their order. A copy, whose rows are
    # padded, is made for a layer that stores W' (its gradient delta' x runs along the rows of x), and for dropout.
    in_place = rows.order.size == 0 and call.sparse == 0
    if call.mode <= GRADIENT and layer_of(net.plan, 0).transposed != 0:
        in_place = False
    if call.seed >= 0 and net.plan.input_dropout > 0.0:
        in_place = False
    stopped = empty
    if not empty:
        stopped = rows_phase(call, net, rows, sums, part, team, phase, in_place, out)
        phase += 1
    if not stopped and call.mode < VALUE:
        if part.window >= 0:
            ahead = part.window + 1
            call_waiting_phase(call.waits, (net, rows, sums, part, team, phase, LEARN, ahead, np.int64(0)))
            phase += 1
        clipped = part.last and net.plan.clipped != 0
        weights_phase(call, net, rows, sums, part, team, phase, in_place, clipped)
        phase += 1
        if clipped:
            call_clipped_phase(net.plan.clipped, (net, sums, part, team, phase))
            phase += 1
    if part.window >= 0 and (stopped or part.settles):
        done = part.window if stopped else part.window + 1
        call_waiting_phase(call.waits, (net, rows, sums, part, team, phase, SETTLE, done, np.int64(stopped)))
        phase += 1
    return -1 if stopped else phase
