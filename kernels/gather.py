"""Rows between the caller's arrays, unpadded and in any order, and the workspace, where rows are padded."""

import numpy as np

from .machine.jit import kernel
from .machine.simd import fill, lanes, load, load_first, store
from .plan import layer_of


@kernel(inline=True)
def source(rows, k):
    """Return which row of the data set row k of the order is."""
    return rows.order[k] if rows.order.size > 0 else k


@kernel(inline=True)
def copy_row(work, target, x, source, width):
    """Copy one row of the caller's into a padded one, whose padding becomes zero."""
    k = 0
    while k + lanes(work) <= width:
        store(work, target + k, load(x, source + k))
        k += lanes(work)
    if k < width:
        store(work, target + k, load_first(x, source + k, width - k))


@kernel(inline=True)
def inputs(net, rows, first, row, m):
    """Copy m rows of x, from row `first` of the order on, to the padded input of the first layer."""
    layer = layer_of(net.plan, 0)
    i, ld = layer.fan_in, layer.ld_in
    a0 = layer.a_in + row * ld
    for r in range(m):
        copy_row(net.work, a0 + r * ld, rows.x, source(rows, first + r) * i, i)


@kernel(inline=True)
def targets(call, net, rows, first, row, m):
    """Copy the rows' targets to where delta of the output will be; class codes become rows of one-hot."""
    layer = layer_of(net.plan, net.plan.n_layers - 1)
    o, ld = layer.fan_out, layer.ld
    d0 = layer.d + row * ld
    for r in range(m):
        place = source(rows, first + r)
        if call.codes != 0:
            for j in range(0, o, lanes(net.work)):
                store(net.work, d0 + r * ld + j, fill(net.work, 0.0))
            net.work[d0 + r * ld + np.int64(rows.y[place])] = 1.0
        else:
            copy_row(net.work, d0 + r * ld, rows.y, place * o, o)


@kernel(inline=True)
def weights(sums, rows, first, row, m):
    """Note the rows' weights, 1 if there are none."""
    for r in range(m):
        sums.weights[row + r] = rows.weight[source(rows, first + r)] if rows.weight.size > 0 else 1.0


@kernel(inline=True)
def weight_of(rows, first, m):
    """Return the sum of the weights of m rows."""
    if rows.weight.size == 0:
        return float(m)
    acc = 0.0
    for r in range(m):
        acc += rows.weight[source(rows, first + r)]
    return acc


@kernel
def copy_out(work, a0, ld, out, out0, width, m):
    """Write m padded rows to the caller's unpadded array."""
    for r in range(m):
        for j in range(width):
            out[out0 + r * width + j] = work[a0 + r * ld + j]
