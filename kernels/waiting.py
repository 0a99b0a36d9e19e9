"""Rows of the first layer's W that no row of a batch names: they wait, and take their updates several at once.

A batch of a text names a tenth of the rows of W, yet every step moves all of them, by their penalties and by what the
rule remembers; and all of W with its state comes from memory for it. So a row of W is brought up to date

    FIND      before phase 1     if a row of the batch names it; its gradient begins with zeros
    LEARN     before phase 2     with its gradient, if it was found
    SETTLE    after phase 2      in any case, if a window is over: WINDOW batches, the end of a pass or of the call, or
                                 if the call was stopped: then nothing waits

by the same operations in the same order as if it had not waited: the same bits. Only the penalty's share of the loss is
added up row by row, so it differs in its rounding. Windows begin with a pass and do not depend on how it is cut into
calls; the pieces of W are the same for any number of threads.

Reference: none of its own. fastbp/reference.py updates all rows in every step.

Only for what engine/session.py lets wait: CSR rows, W stored as it is, a batch in one part of at most SUM_ROWS rows,
no clipping.
"""

import numpy as np

from . import dense, examples, gather, optimizers, sparse, weights
from .machine.addressed import by_address
from .machine.jit import entry, kernel
from .machine.simd import fill, lanes, store
from .machine.sync import advance, claim, finished, wait
from .optimizers import TIMES, UNIT
from .plan import TEAM_PIECES, WINDOW, ZEROS, layer_of
from .tuples import Stretch

FIND, LEARN, SETTLE = range(3)
# Added to what a row has had while it is noted as found.
FOUND = WINDOW + 1


@kernel(inline=True)
def find(net, rows, part, waiting, begin, end):
    """Note the rows [begin, end) of W that the batch names, and begin their gradient with zeros; return how many."""
    layer, indices, indptr, cursors = layer_of(net.plan, 0), rows.indices, rows.indptr, rows.cursors
    first = layer.fan_in + begin
    last = first
    for r in range(part.m):
        source = gather.source(rows, part.first + r)
        k, stop = cursors[r], indptr[source + 1]
        while k < stop and indices[k] < begin:
            k += 1
        while k < stop and indices[k] < end:
            row = indices[k]
            if waiting[row] <= WINDOW:
                waiting[row] += FOUND
                waiting[last] = row
                last += 1
            k += 1
        cursors[r] = k
    for i in range(first, last):
        row = waiting[i]
        waiting[row] -= FOUND
        g = layer.w + row * layer.ldw
        for j in range(g, g + layer.ldw, lanes(net.grad)):
            store(net.grad, j, fill(net.grad, 0.0))
    return last - first


@entry
def waiting_phase(net, rows, sums, part, team, phase, stage, stop, stopped):
    """A stage for all pieces of W: rows are brought up to step `stop` of the window.

    The batch ends with SETTLE, unless the call was `stopped` before it.
    """
    plan, waiting, units, costs = net.plan, sums.waiting, sums.units, sums.costs
    layer = layer_of(plan, 0)
    n = layer.fan_in
    factors = (layer.l1, layer.l2, 1.0, 1.0)
    penalized = layer.l1 != 0.0 or layer.l2 != 0.0 or plan.l2_per_row != 0.0 or plan.weight_decay != 0.0
    still = plan.rule in optimizers.STILL and not penalized
    height = (n + TEAM_PIECES - 1) // TEAM_PIECES
    count = (n + height - 1) // height
    if stage != SETTLE:
        sparse.begin_rows(rows, part.first, part.m)
    k = claim(team, phase, count, -1)
    while k < count:
        begin, end = k * height, min((k + 1) * height, n)
        if stage == FIND:
            waiting[2 * n + k] = find(net, rows, part, waiting, begin, end)
        last, listed = begin + waiting[2 * n + k], n
        grad, g0, ldg = net.work, ZEROS, np.int64(0)
        if stage == SETTLE:
            last, listed = end, np.int64(0)
        if stage == LEARN:
            grad, g0, ldg = net.grad, layer.w, layer.ldw
            start = layer.w + begin * ldg
            sparse.weight_gradients(
                layer, rows, part.first, 0, net.work, grad, start, begin, end, part.m, True
            )
            if k == 0 and layer.b >= 0:
                dense.bias_gradients(layer, 0, net.work, grad, layer.b, part.m, False)
                bias, free = Stretch(layer.b, layer.ld, grad, layer.b, 0, 0, 1), (0.0, 0.0, 0.0, 1.0)
                optimizers.catch_up(net, bias, sums.coefficients, 1, free, waiting, 0, costs, -1)
        if stage == LEARN or not still:
            stretch = Stretch(layer.w, layer.ldw, grad, g0, ldg, begin, last)
            optimizers.catch_up(net, stretch, units, stop, factors, waiting, listed, costs, k * WINDOW)
        elif stage == FIND:
            for i in range(n + begin, n + last):
                waiting[waiting[i]] = stop
        if stage == SETTLE:
            for row in range(begin, end):
                waiting[row] = 0
        if finished(team, k, count):
            if stage == SETTLE:
                for s in range(stop):
                    value = 0.0
                    for place in range(s, count * WINDOW, WINDOW):
                        value += costs[place]
                        costs[place] = 0.0
                    sums.totals.loss_sum += value * units[s * UNIT + TIMES]
                if stopped == 0:
                    weights.finish(net, sums, part)
            advance(team, phase, stopped)
        k = claim(team, phase, count, k)
    wait(team, phase)


def example(dtype):
    """Return arguments of `waiting_phase` that have the types of a call for a dtype."""
    return examples.net(dtype), examples.rows(dtype), examples.SUMS, examples.PART, examples.TEAM, 0, 0, 0, 0


# call_waiting_phase(call.waits, arguments)
call_waiting_phase = by_address(example)
