"""The first layer on CSR rows: shapes as in dense.py, x stays sparse. Rows of W are read where the entries lie.

Reference: fastbp/reference.py, whose rows are dense; an entry that is not there is 0.
"""

import numpy as np

from . import examples, gather
from .machine.addressed import by_address
from .machine.jit import entry, kernel
from .machine.simd import fill, lanes, load, store
from .plan import layer_of

FORWARD, GRADIENT = range(2)


@kernel(inline=True)
def forward(layer, params, work, rows, first, row, m):
    """z = b + sum over the entries of x_k W[k, :], for m rows, from `row` of the part on, row `first` of the order."""
    o, ld, ldw = layer.fan_out, layer.ld, layer.ldw
    z0 = (layer.a if layer.z < 0 else layer.z) + row * ld
    w0, b0 = layer.w, layer.b
    x, indices = rows.x, rows.indices
    for r in range(m):
        source = gather.source(rows, first + r)
        begin, end = rows.indptr[source], rows.indptr[source + 1]
        z = z0 + r * ld
        if layer.transposed != 0:
            for j in range(o):
                # One number takes all products of the row, however many: in float64.
                acc = np.float64(params[b0 + j]) if b0 >= 0 else 0.0
                for k in range(begin, end):
                    acc += x[k] * params[w0 + j * ldw + indices[k]]
                work[z + j] = acc
        else:
            j, side = 0, lanes(work)
            # Rows of W lie anywhere: as much of one as there are registers for is read at once.
            while j + 4 * side <= ld:
                first_acc = load(params, b0 + j) if b0 >= 0 else fill(work, 0.0)
                second_acc = load(params, b0 + j + side) if b0 >= 0 else fill(work, 0.0)
                third_acc = load(params, b0 + j + 2 * side) if b0 >= 0 else fill(work, 0.0)
                fourth_acc = load(params, b0 + j + 3 * side) if b0 >= 0 else fill(work, 0.0)
                for k in range(begin, end):
                    w = w0 + indices[k] * ldw + j
                    first_acc = first_acc + load(params, w) * x[k]
                    second_acc = second_acc + load(params, w + side) * x[k]
                    third_acc = third_acc + load(params, w + 2 * side) * x[k]
                    fourth_acc = fourth_acc + load(params, w + 3 * side) * x[k]
                store(work, z + j, first_acc)
                store(work, z + j + side, second_acc)
                store(work, z + j + 2 * side, third_acc)
                store(work, z + j + 3 * side, fourth_acc)
                j += 4 * side
            while j < ld:
                acc = load(params, b0 + j) if b0 >= 0 else fill(work, 0.0)
                for k in range(begin, end):
                    acc = acc + load(params, w0 + indices[k] * ldw + j) * x[k]
                store(work, z + j, acc)
                j += side


@kernel
def weight_gradients(layer, rows, first, row, work, grad, g0, begin, end, m, accumulate):
    """Rows [begin, end) of dW to grad[g0:]: every entry x_k of a row adds x_k delta to row k.

    The sum is over m rows, from `row` of the part on, which is row `first` of the order. The columns of a row rise, and
    so do the blocks that a thread takes in a phase: rows.cursors holds the first entry of each row of the part that may
    belong to this block. Looking for it anew in each of a thousand blocks would take longer than the sums.
    """
    o, ld, ldw = layer.fan_out, layer.ld, layer.ldw
    x, indices, indptr, cursors = rows.x, rows.indices, rows.indptr, rows.cursors
    if not accumulate:
        for j in range(g0, g0 + (end - begin) * ldw):
            grad[j] = 0.0
    for r in range(m):
        source = gather.source(rows, first + r)
        d = layer.d + (row + r) * ld
        if layer.transposed != 0:
            for j in range(begin, end):
                for k in range(indptr[source], indptr[source + 1]):
                    grad[g0 + (j - begin) * ldw + indices[k]] += x[k] * work[d + j]
        else:
            k, stop = cursors[row + r], indptr[source + 1]
            # Other threads took the blocks between the last one of this thread and this one.
            while k < stop and indices[k] < begin:
                k += 1
            while k < stop and indices[k] < end:
                for j in range(0, o, lanes(work)):
                    g = g0 + (indices[k] - begin) * ldw + j
                    store(grad, g, load(grad, g) + load(work, d + j) * x[k])
                k += 1
            cursors[row + r] = k


@kernel
def begin_rows(rows, first, m):
    """Set the cursors of m rows of the order, from row `first` on, to the rows' first entries."""
    for r in range(m):
        source = gather.source(rows, first + r)
        rows.cursors[r] = rows.indptr[source]


@kernel(inline=True)
def entries(rows, first, m):
    """Return how many entries m CSR rows of the order have, from row `first` on."""
    count = 0
    for r in range(first, first + m):
        source = gather.source(rows, r)
        count += rows.indptr[source + 1] - rows.indptr[source]
    return count


@entry
def first_layer(net, rows, stage, first, row, m, target, t0, begin, end, accumulate):
    """FORWARD of m rows, or the GRADIENT of rows [begin, end) of W over them, to target[t0:]."""
    layer = layer_of(net.plan, 0)
    if stage == FORWARD:
        forward(layer, net.params, net.work, rows, first, row, m)
    else:
        weight_gradients(layer, rows, first, row, net.work, target, t0, begin, end, m, accumulate)


def example(dtype):
    """Return arguments of `first_layer` that have the types of a call for a dtype."""
    net = examples.net(dtype)
    return net, examples.rows(dtype), 0, 0, 0, 0, net.grad, 0, 0, 0, False


# call_first_layer(call.sparse, arguments)
call_first_layer = by_address(example)
