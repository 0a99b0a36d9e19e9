"""One row at a time: matrix-vector products, and a stochastic step in which each weight is read once.

A single row gives a register tile nothing to reuse; here a layer's forward pass is one sweep over its weights, and
backward and update are one more: row k of W takes part in delta W' and is then moved by -lr x_k delta (BP2 and BP4 with
plain SGD). Neither needs a transposed copy. Memory is on the stack of the caller, so these run in any number of
threads.
"""

from . import dense, examples, gather, losses
from .dense import dot
from .machine.addressed import by_address
from .machine.jit import entry, kernel
from .machine.simd import fill, fma, lanes, load, store
from .machine.tile import tile_1_1, tile_1_2, tile_1_4
from .plan import ZEROS, layer_of


@kernel(inline=True)
def row_times_rows(X, x0, P, w0, ldw, I, i0, Z, z0, N, K):  # noqa: E741
    """Z = I + x W for one row: up to four vectors of sums at once, so that their latencies overlap."""
    width = lanes(Z)
    n = 0
    while N - n > 3 * width:
        tile_1_4(X, x0, 0, 1, P, w0 + n, ldw, I, i0 + n, 0, Z, z0 + n, 0, K)
        n += 4 * width
    while N - n > width:
        tile_1_2(X, x0, 0, 1, P, w0 + n, ldw, I, i0 + n, 0, Z, z0 + n, 0, K)
        n += 2 * width
    if N > n:
        tile_1_1(X, x0, 0, 1, P, w0 + n, ldw, I, i0 + n, 0, Z, z0 + n, 0, K)


@kernel(inline=True)
def forward(layer, params, work, training):
    """z = x W + b, a = f(z) for the row in the workspace."""
    z0 = layer.a if layer.z < 0 else layer.z
    x0, w0, ldw, b0 = layer.a_in, layer.w, layer.ldw, layer.b
    i, o = layer.fan_in, layer.fan_out
    if layer.transposed != 0:
        for j in range(o):
            z = dot(work, x0, params, w0 + j * ldw, i)
            work[z0 + j] = z + params[b0 + j] if b0 >= 0 else z
    elif b0 >= 0:
        row_times_rows(work, x0, params, w0, ldw, params, b0, work, z0, o, i)
    else:
        row_times_rows(work, x0, params, w0, ldw, work, ZEROS, work, z0, o, i)
    dense.activate(layer, work, 0, 1, training)


@kernel(inline=True)
def step(layer, params, work, rate):
    """delta of the layer below, before its f'; this layer's weights and bias moved by -rate times their gradient."""
    x0, d0, w0, ldw = layer.a_in, layer.d, layer.w, layer.ldw
    i, o, below, b0 = layer.fan_in, layer.fan_out, layer.d_in, layer.b
    if layer.transposed != 0:
        if below >= 0:
            row_times_rows(work, d0, params, w0, ldw, work, ZEROS, work, below, i, o)
        for j in range(o):
            move = fill(work, work[d0 + j] * -rate)
            for k in range(0, i, lanes(work)):
                store(params, w0 + j * ldw + k, fma(load(work, x0 + k), move, load(params, w0 + j * ldw + k)))
    else:
        for k in range(i):
            row = w0 + k * ldw
            move = fill(work, work[x0 + k] * -rate)
            if below >= 0:
                work[below + k] = dot(work, d0, params, row, o)
            for j in range(0, o, lanes(work)):
                store(params, row + j, fma(load(work, d0 + j), move, load(params, row + j)))
    if b0 >= 0:
        for j in range(0, layer.ld, lanes(work)):
            store(params, b0 + j, fma(load(work, d0 + j), fill(work, -rate), load(params, b0 + j)))


@kernel
def propagate(layer, params, work):
    """Error felt by the layer's input, delta W', for the row in the workspace."""
    d0, w0, ldw, below = layer.d, layer.w, layer.ldw, layer.d_in
    i, o = layer.fan_in, layer.fan_out
    if layer.transposed != 0:
        row_times_rows(work, d0, params, w0, ldw, work, ZEROS, work, below, i, o)
    else:
        for k in range(i):
            work[below + k] = dot(work, d0, params, w0 + k * ldw, o)


@kernel
def gradient(layer, work, grad):
    """dW = x' delta and db = delta for the row in the workspace, to where W and b are in theta."""
    x0, d0, g0, ldw = layer.a_in, layer.d, layer.w, layer.ldw
    left, rows, right, width = x0, layer.fan_in, d0, layer.ld
    if layer.transposed != 0:
        left, rows, right, width = d0, layer.fan_out, x0, layer.ld_in
    for r in range(rows):
        factor = fill(work, work[left + r])
        for j in range(0, width, lanes(work)):
            store(grad, g0 + r * ldw + j, load(work, right + j) * factor)
    if layer.b >= 0:
        for j in range(0, layer.ld, lanes(work)):
            store(grad, layer.b + j, load(work, d0 + j))


@kernel(inline=True)
def error(plan, work, weight, value):
    """value[0] = the loss of the row, whose targets in the output's delta buffer turn into dC/da."""
    top = layer_of(plan, plan.n_layers - 1)
    losses.evaluate_each(plan, work, top.a, top.d, top.ld, 1, weight, 1.0, value)


@kernel
def felt(layer, params, work, out):
    """Error felt by the inputs, delta W' of the first layer, for the row in the workspace; `out` has no padding."""
    d0, w0, ldw = layer.d, layer.w, layer.ldw
    i, o = layer.fan_in, layer.fan_out
    if layer.transposed != 0:
        for k in range(i):
            out[k] = 0.0
        for j in range(o):
            for k in range(i):
                out[k] += work[d0 + j] * params[w0 + j * ldw + k]
    else:
        for k in range(i):
            out[k] = dot(work, d0, params, w0 + k * ldw, o)


@kernel(inline=True)
def descend(plan, params, work, rate):
    """Each layer's step, from dC/da of the output in the workspace down."""
    for down in range(plan.n_layers):
        layer = layer_of(plan, plan.n_layers - 1 - down)
        dense.derive(layer, work, 0, 1, 0.0)
        step(layer, params, work, rate)


@kernel(inline=True)
def train_row(plan, params, work, weight, value, rate):
    """Forward, backward and update for the row and the targets in the workspace; value[0] is the loss before."""
    for k in range(plan.n_layers):
        forward(layer_of(plan, k), params, work, True)
    error(plan, work, weight, value)
    descend(plan, params, work, rate)


@entry
def train_rows(call, net, rows, sums, rates):
    """Stochastic descent by the book on rows [begin, end) of the order, or up to a row that has no weight.

    As many steps are added to the total as rows are done.
    """
    weight, value, totals = sums.weights, sums.values, sums.totals
    weight[0] = 1.0
    begin, end = call.begin, call.end
    number, place, left = 0, begin, call.span
    for row in range(begin, end):
        if rows.weight.size > 0 and rows.weight[gather.source(rows, place)] == 0.0:
            totals.steps += row - begin
            return
        gather.inputs(net, rows, place, 0, 1)
        gather.targets(call, net, rows, place, 0, 1)
        rate = rates[row - begin if rates.size > 1 else 0]
        train_row(net.plan, net.params, net.work, weight, value, rate)
        times = rows.weight[gather.source(rows, place)] if rows.weight.size > 0 and call.mass > 0.0 else 1.0
        totals.loss_sum += value[0] * times
        place += 1
        left -= 1
        if left == 0:
            # A pass is over; without an order the next one reads the same rows.
            sums.passes[number] = totals.loss_sum
            totals.loss_sum = 0.0
            number += 1
            left = call.span
            if rows.order.size == 0:
                place -= call.span
    totals.steps += end - begin


def example(dtype):
    """Return arguments of `train_rows` that have the types of a call for a dtype."""
    return examples.CALLED, examples.net(dtype), examples.rows(dtype), examples.SUMS, examples.RATES


# call_train_rows(call.online, arguments)
call_train_rows = by_address(example)
