"""Phase 1 of a part: blocks of rows go forward, through the loss, and back. No row needs another.

    forward    a = x;  z = a W + b, a = f(z) in each layer
    loss       delta = dC/da f'(z) of the output                 (BP1)
    backward   delta = (delta W') f'(z) of the layer below       (BP2)

Reference: `forward`, LOSSES and `backward` in fastbp/reference.py.
"""

import numpy as np

from . import dense, gather, losses, optimizers, random, sparse
from .machine.jit import kernel
from .machine.sync import STOP, STOPPED, advance, claim, finished, publish, read, wait
from .plan import GRADIENT, PREDICT, VALUE, layer_of
from .tuples import Block, Matrix


@kernel(inline=True)
def forward(call, net, rows, part, block, in_place, ahead):
    """z = a W + b and a = f(z), layer by layer, for a block of rows; dropout of a if the call has a seed.

    The first layer reads its rows of x `in_place`, or a copy; meanwhile those that are `ahead` in the order are
    prefetched.
    """
    plan, first, training = net.plan, part.first + block.row, call.mode <= GRADIENT
    if call.sparse == 0 and not in_place:
        gather.inputs(net, rows, first, block.row, block.m)
        drop(call, net, part, block, layer_of(plan, 0).a_in, layer_of(plan, 0).ld_in, -1)
    for k in range(call.layers):
        layer = layer_of(plan, k)
        if k == 0 and call.sparse != 0:
            arguments = (net, rows, sparse.FORWARD, first, block.row, block.m, net.work, 0, 0, 0, False)
            sparse.call_first_layer(call.sparse, arguments)
        else:
            a = Matrix(net.work, layer.a_in + block.row * layer.ld_in, layer.ld_in)
            if k == 0 and in_place:
                a = Matrix(rows.x, first * layer.fan_in, layer.fan_in)
            next_row = first + ahead if k == 0 and rows.order.size > 0 else -1
            dense.forward(layer, net.params, net.work, a, block, rows, next_row)
        # f follows while the rows are in the nearest cache.
        dense.activate(layer, net.work, block.row, block.m, training)
        drop(call, net, part, block, layer.a, layer.ld, k)


@kernel(inline=True)
def loss(call, net, rows, sums, part, block):
    """The rows' values, and dC/da of the output in the place of its delta; returns 0, or 1 if that failed."""
    plan, first, row, m = net.plan, part.first + block.row, block.row, block.m
    gather.targets(call, net, rows, first, row, m)
    gather.weights(sums, rows, first, row, m)
    top = layer_of(plan, plan.n_layers - 1)
    a0, d0 = top.a + row * top.ld, top.d + row * top.ld
    weights, values = sums.weights[row : row + m], sums.values[row : row + m]
    return losses.evaluate(plan, net.work, a0, d0, top.ld, m, weights, 1.0 / part.mass, values)


@kernel(inline=True)
def backward(call, net, part, block):
    """delta f'(z) for the output; delta W' and f'(z) for each layer below it. The inputs' is for who asks for it."""
    last = net.plan.n_layers - 1
    for down in range(last + 1):
        k = last - down
        layer = layer_of(net.plan, k)
        rate = dropout(call, net, k) if k < last else 0.0
        dense.derive(layer, net.work, block.row, block.m, rate)
        if layer.d_in >= 0:
            dense.propagate(layer, net.params, net.work, block)
            drop(call, net, part, block, layer.d_in, layer.ld_in, k - 1)


@kernel(inline=True)
def dropout(call, net, k):
    """Return the rate of dropout of layer k's output, or of the inputs for k = -1: 0 if the call has no seed."""
    if call.seed < 0:
        return 0.0
    return layer_of(net.plan, k).dropout if k >= 0 else net.plan.input_dropout


@kernel(inline=True)
def drop(call, net, part, block, start, ld, k):
    """Zero a share of layer k's numbers at work[start:], and scale up the others: the same ones forward and back."""
    rate = dropout(call, net, k)
    if rate > 0.0:
        key = random.key_of(call.seed, part.t, k)
        random.drop(net.work, start + block.row * ld, ld, part.offset + block.row, block.m, rate, key)


@kernel(inline=True)
def give(net, part, block, start, ld, width, out):
    """Copy the block's rows at work[start:], `width` numbers each, to the caller's `out`."""
    place = (part.first + block.row) * width
    gather.copy_out(net.work, start + block.row * ld, ld, out, place, width, block.m)


@kernel(inline=True)
def through(call, net, rows, sums, part, block, in_place, ahead, out):
    """Take a block of rows as far as the call asks; returns 0, or 1 if the loss failed."""
    forward(call, net, rows, part, block, in_place, ahead)
    if call.mode == PREDICT:
        top = layer_of(net.plan, call.layers - 1)
        give(net, part, block, top.a, top.ld, top.fan_out, out)
        return 0
    if loss(call, net, rows, sums, part, block) != 0:
        return 1
    if call.mode != VALUE:
        backward(call, net, part, block)
        if net.plan.want_inputs != 0:
            bottom = layer_of(net.plan, 0)
            give(net, part, block, bottom.d_in, bottom.ld_in, bottom.fan_in, out)
    return 0


@kernel(inline=True)
def finish(call, net, sums, part):
    """Add the mean of the rows' weighted values to the sum; prepare the step, if one follows."""
    value = 0.0
    for r in range(part.m):
        value += sums.values[r]
    sums.totals.loss_sum += value / part.mass * part.times
    if part.last:
        product, unit = sums.totals.product, sums.coefficients
        sums.totals.product = optimizers.coefficients(net.plan, part.rate, part.t, product, unit)
        unit[optimizers.SHARE], unit[optimizers.TIMES] = net.plan.l2_per_row / part.mass, part.times
        if part.window >= 0:
            for k in range(optimizers.UNIT):
                sums.units[part.window * optimizers.UNIT + k] = unit[k]


@kernel(inline=True)
def rows_phase(call, net, rows, sums, part, team, phase, in_place, out):
    """Blocks of rows, until none is left; returns whether the call was stopped."""
    height = call.row_block
    blocks = (part.m + height - 1) // height
    panel = net.plan.panel + team.member * net.plan.panel_size
    k = claim(team, phase, blocks, -1)
    while k < blocks:
        block = Block(k * height, min(height, part.m - k * height), panel)
        if read(team.sync, STOP) == 0 and through(
            call, net, rows, sums, part, block, in_place, height * team.size, out
        ):
            # As if the caller had asked to stop: the batch is given up before anything is updated.
            publish(team.sync, STOP, np.int64(1))
        if finished(team, k, blocks):
            stopped = read(team.sync, STOP)
            if stopped != 0:
                sums.totals.loss_sum = sums.totals.loss_kept
            elif call.mode != PREDICT:
                finish(call, net, sums, part)
            advance(team, phase, stopped)
        k = claim(team, phase, blocks, k)
    wait(team, phase)
    return read(team.sync, STOPPED) != 0
