"""Many small models of one architecture, a model per lane: one vector holds the same number of each of them.

    train       groups of `lanes` models, one after the other
      keep      all rows of a group as `gather` would leave them, if the order takes each of them several times
      batch     a batch of a group, in parts that stay in the first cache
        gather  x and targets of the rows, each model's own or one row for all
        forward, backward    x W, x' delta and delta W' by one routine (machine/patch.py)

A model has its own rows, learning rate and penalties; architecture, loss, rule and the sizes of the batches are one for
all. What network.py spends on calls, on padding and on sums across lanes is nothing here, so small models train several
times as fast; with more weights than stay in the first cache, network.py is faster. Results equal its own but for
rounding: sums of losses, and of the gradient of more than SUM_ROWS rows, are made in another order.

Reference: `fit_many` of fastbp/reference.py.

All arrays of models are "lane-minor": number k of the model in lane l is at [k * lanes + l]. The plan is plan.py's; its
places count vectors: `w`, `b` and those in `work`. `panel` is room for rows to be turned, `partial` the sum of the
losses, `slot` the step's coefficients. work[0] is zero.
"""

from typing import NamedTuple

import numpy as np

from . import activations, losses, optimizers
from .activations import RELU
from .machine.jit import entry, kernel
from .machine.lanes import select
from .machine.patch import PATCH_COLUMNS, PATCH_ROWS, PATCH_TALL, Grid, make_patches
from .machine.records import Record, record_at
from .machine.simd import fill, lanes, load, load_first, store, traced
from .machine.squares import pick, transpose_squares
from .plan import HEADER, RECORD, layer_of, network_at
from .tuples import Net

# What a call is asked for: how many groups of models; passes over how many rows each; whether each model has its `own`
# order, and whether all models of a group see the `same` row at a time; class codes for targets; steps before; how many
# rows of the data, from the row `lowest` on, are kept turned.
_FIELDS = ("groups", "passes", "n_rows", "own", "same", "codes", "steps", "kept", "lowest")
TASK = Record("Task", {name: place for place, name in enumerate(_FIELDS)}, len(_FIELDS))
task_at = record_at(TASK)
# Where the plan begins, behind the task in the same array.
PLAN = len(_FIELDS)


class Data(NamedTuple):
    """The rows of all models, flat, the order they are seen in, the row 0 of each model; room for rows of a part.

    `kept` are the rows of a group that are kept turned: a vector for each input, then one for each target.
    """

    x: np.ndarray
    y: np.ndarray
    order: np.ndarray
    base: np.ndarray
    found: np.ndarray
    kept: np.ndarray
    side: int


def _floor(z, t):
    return select(z < t, t, z)


def _mask(delta, t, a):
    return select(a <= t, 0.0, delta)


def make_product(finish=None):
    """Return product(X, W, S, C, E, t, M, N, K): C = finish(S + X W, t, E) for M rows and N columns of vectors."""
    patch, half_patch, patch_row, patch_column, patch_element = make_patches(finish)

    @kernel(inline=True)
    def product(X, W, S, C, E, t, M, N, K):
        r, wide = 0, N // PATCH_COLUMNS * PATCH_COLUMNS
        while r < M and wide > 0:
            height = PATCH_ROWS if M - r >= PATCH_ROWS else PATCH_ROWS // 2 if M - r >= PATCH_ROWS // 2 else 1
            row = Grid(X.data, X.start + r * X.down, X.down, X.right)
            for c in range(0, wide, PATCH_COLUMNS):
                column = Grid(W.data, W.start + c * W.right, W.down, W.right)
                first = Grid(S.data, S.start + r * S.down + c * S.right, S.down, S.right)
                result = Grid(C.data, C.start + r * C.down + c * C.right, C.down, C.right)
                edge = Grid(E.data, E.start + r * E.down + c * E.right, E.down, E.right)
                if height == PATCH_ROWS:
                    patch(row, column, first, result, edge, t, K)
                elif height > 1:
                    half_patch(row, column, first, result, edge, t, K)
                else:
                    patch_row(row, column, first, result, edge, t, K)
            r += height
        for c in range(wide, N):
            column = Grid(W.data, W.start + c * W.right, W.down, W.right)
            r = 0
            while r < M:
                row = Grid(X.data, X.start + r * X.down, X.down, X.right)
                first = Grid(S.data, S.start + r * S.down + c * S.right, S.down, S.right)
                result = Grid(C.data, C.start + r * C.down + c * C.right, C.down, C.right)
                edge = Grid(E.data, E.start + r * E.down + c * E.right, E.down, E.right)
                if M - r >= PATCH_TALL:
                    patch_column(row, column, first, result, edge, t, K)
                    r += PATCH_TALL
                else:
                    patch_element(row, column, first, result, edge, t, K)
                    r += 1

    return product


# z = b + x W, at least t; dW = x' delta; and delta W', 0 where a <= t. A t of 0 is relu on the fly, and its derivative;
# one of -inf or NaN does nothing.
outputs, slopes, deltas = make_product(_floor), make_product(), make_product(_mask)


def _felt(delta, w, t, a):
    return _mask(delta * w, t, a)


felt = traced(_felt)


@kernel(inline=True)
def find(task, data, group, first, m):
    """Note which row of the data the model in each lane sees at m places of the order, from `first` on."""
    side = data.side
    base = group * side
    for r in range(m):
        if task.own != 0:
            for lane in range(side):
                data.found[r * side + lane] = data.order[(first + r) * side + lane] + data.base[base + lane]
        else:
            row = data.order[first + r]
            for lane in range(side):
                data.found[r * side + lane] = row + data.base[base + lane]


@kernel(inline=True)
def gather(task, net, data, group, first, m):
    """Copy m rows of the order, from place `first` on, to the input of the first layer and the delta of the last."""
    if task.kept == 0:
        find(task, data, group, first, m)
        turn(task, net, data, m)
        return
    work, side = net.work, data.side
    bottom, top = layer_of(net.plan, 0), layer_of(net.plan, net.plan.n_layers - 1)
    i, o = bottom.fan_in, top.fan_out
    for r in range(m):
        source = (data.order[first + r] - task.lowest) * (i + o) * side
        x, y = (bottom.a_in + r * bottom.ld_in) * side, (top.d + r * o) * side
        for j in range(i):
            store(work, x + j * side, load(data.kept, source + j * side))
        for j in range(o):
            store(work, y + j * side, load(data.kept, source + (i + j) * side))


@kernel(inline=True)
def keep(task, net, data, group):
    """Turn all rows of the models of a group that the order takes, once and for all passes."""
    work, side = net.work, data.side
    bottom, top = layer_of(net.plan, 0), layer_of(net.plan, net.plan.n_layers - 1)
    i, o = bottom.fan_in, top.fan_out
    done = 0
    while done < task.kept:
        m = min(net.plan.part, task.kept - done)
        for r in range(m):
            for lane in range(side):
                data.found[r * side + lane] = task.lowest + done + r + data.base[group * side + lane]
        turn(task, net, data, m)
        for r in range(m):
            target = (done + r) * (i + o) * side
            x, y = (bottom.a_in + r * bottom.ld_in) * side, (top.d + r * o) * side
            for j in range(i):
                store(data.kept, target + j * side, load(work, x + j * side))
            for j in range(o):
                store(data.kept, target + (i + j) * side, load(work, y + j * side))
        done += m


@kernel(inline=True)
def turn(task, net, data, m):
    """Copy the m rows that were found, each model's own or one for all, with the models side by side."""
    if task.same != 0:
        gather_same(net, data, m)
    else:
        gather_own(net, data, m)
    plan, work, side = net.plan, net.work, data.side
    top = layer_of(plan, plan.n_layers - 1)
    o = top.fan_out
    for r in range(m):
        target = (top.d + r * o) * side
        if task.codes != 0:
            for j in range(o):
                store(work, target + j * side, fill(work, 0.0))
            for lane in range(side):
                work[target + np.int64(data.y[data.found[r * side + lane]]) * side + lane] = 1.0
        elif task.same != 0:
            row = data.found[r * side] * o
            for j in range(o):
                store(work, target + j * side, fill(work, data.y[row + j]))
        else:
            for j in range(o):
                store(work, target + j * side, pick(data.y, data.found, r * side, o, j))


@kernel(inline=True)
def gather_same(net, data, m):
    """Each number of m rows of x in all lanes."""
    work, side, bottom = net.work, data.side, layer_of(net.plan, 0)
    i, ld = bottom.fan_in, bottom.ld_in
    for r in range(m):
        row = data.found[r * side]
        for j in range(i):
            store(work, (bottom.a_in + r * ld + j) * side, fill(work, data.x[row * i + j]))


@kernel(inline=True)
def gather_own(net, data, m):
    """m rows of x of each model, turned by squares: as many short ones at once as a vector holds."""
    work, side, bottom = net.work, data.side, layer_of(net.plan, 0)
    i, ld, turned = bottom.fan_in, bottom.ld_in, net.plan.panel * side
    # Rows of the input lie side by side if a vector holds two or more; else each is padded to whole vectors.
    count, span = (side // i, side) if ld < side else (1, ld)
    r = 0
    while r < m:
        for lane in range(side):
            for q in range(min(count, m - r)):
                row = data.found[(r + q) * side + lane] * i
                place = turned + lane * span + q * i
                j = 0
                while j + side <= i:
                    store(work, place + j, load(data.x, row + j))
                    j += side
                if j < i:
                    # What is written behind a short row is overwritten by the next one.
                    store(work, place + j, load_first(data.x, row + j, i - j))
        transpose_squares(work, turned, span, work, (bottom.a_in + r * ld) * side, side, side, span)
        r += count


@kernel(inline=True)
def forward(net, m):
    """z = a W + b, a = f(z), layer by layer, for m rows."""
    work, side = net.work, lanes(net.work)
    for k in range(net.plan.n_layers):
        layer = layer_of(net.plan, k)
        i, o = layer.fan_in, layer.fan_out
        z = (layer.a if layer.z < 0 else layer.z) * side
        x = Grid(work, layer.a_in * side, layer.ld_in * side, side)
        # Without a bias sums start from the zeros at the begin of the workspace.
        start = Grid(work, 0, 0, 0)
        if layer.b >= 0:
            start = Grid(net.params, layer.b * side, 0, side)
        W, result = Grid(net.params, layer.w * side, o * side, side), Grid(work, z, o * side, side)
        least = 0.0 if layer.activation == RELU else -np.inf
        outputs(x, W, start, result, result, least, m, o, i)
        if layer.activation != 0 and layer.activation != RELU:
            activations.forward(layer.activation, work, z, layer.a * side, m * o * side, True)


@kernel(inline=True)
def add_rows(work, d, grad, b, m, o, accumulate):
    """db = sum over m rows of delta, added to what is there if `accumulate`."""
    side = lanes(work)
    for j in range(o):
        acc = load(grad, (b + j) * side) if accumulate else fill(work, 0.0)
        for r in range(m):
            acc = acc + load(work, (d + r * o + j) * side)
        store(grad, (b + j) * side, acc)


@kernel(inline=True)
def backward(net, m, accumulate):
    """delta f'(z), dW = x' delta, db = sum of delta, and delta W' for the layer below, from the last layer on."""
    work, grad, side = net.work, net.grad, lanes(net.work)
    zeros = Grid(work, 0, 0, 0)
    for down in range(net.plan.n_layers):
        k = net.plan.n_layers - 1 - down
        layer = layer_of(net.plan, k)
        i, o = layer.fan_in, layer.fan_out
        d, w = layer.d * side, layer.w * side
        # Below the last layer relu's derivative came with delta.
        if layer.activation != 0 and (layer.activation != RELU or down == 0):
            z = (layer.a if layer.z < 0 else layer.z) * side
            activations.backward(layer.activation, work, z, layer.a * side, d, m * o * side, 1.0)
        delta, result = Grid(work, d, o * side, side), Grid(grad, w, o * side, side)
        before = result if accumulate else zeros
        turned = Grid(work, layer.a_in * side, side, layer.ld_in * side)
        slopes(turned, delta, before, result, result, 0.0, i, o, m)
        if layer.b >= 0:
            add_rows(work, layer.d, grad, layer.b, m, o, accumulate)
        if layer.d_in >= 0:
            a, below = layer.a_in * side, layer.d_in * side
            most = 0.0 if layer_of(net.plan, k - 1).activation == RELU else np.nan
            if o == 1:
                # Nothing adds up.
                for r in range(m):
                    error = load(work, d + r * side)
                    for j in range(0, i * side, side):
                        place = r * i * side + j
                        weight = load(net.params, w + j)
                        store(work, below + place, felt(error, weight, most, load(work, a + place)))
            else:
                W, edge = Grid(net.params, w, side, o * side), Grid(work, a, i * side, side)
                deltas(delta, W, zeros, Grid(work, below, i * side, side), edge, most, m, i, o)


@kernel(inline=True)
def penalty(net, factors, out, times):
    """Add `times` the penalty l1 sum |W| + l2 / 2 sum W^2 of each model to `out`."""
    side = lanes(net.params)
    for k in range(net.plan.n_layers):
        layer = layer_of(net.plan, k)
        if layer.l1 != 0.0 or layer.l2 != 0.0:
            for lane in range(side):
                l1, l2 = factors[3 * k * side + lane], factors[(3 * k + 1) * side + lane]
                cost = 0.0
                for j in range(layer.fan_in * layer.fan_out):
                    theta = net.params[(layer.w + j) * side + lane]
                    cost += l1 * abs(theta) + 0.5 * l2 * theta * theta
                out[lane] += cost * times


@kernel(inline=True)
def update(net, factors):
    """One step of the plan's rule for all models of a group; weights are penalized, biases are not."""
    plan, side = net.plan, lanes(net.params)
    code, size = plan.rule, plan.n_params
    numbers = net.work[plan.slot * side : (plan.slot + optimizers.N_COEFFICIENTS) * side]
    free = factors[3 * plan.n_layers * side :]
    for k in range(plan.n_layers):
        layer = layer_of(plan, k)
        w0, w1 = layer.w * side, (layer.w + layer.fan_in * layer.fan_out) * side
        own = factors[3 * k * side : 3 * (k + 1) * side]
        optimizers.step_lanes(code, size, numbers, net.params, net.grad, net.state, w0, w0, w1, own)
        if layer.b >= 0:
            b0, b1 = layer.b * side, (layer.b + layer.fan_out) * side
            optimizers.step_lanes(code, size, numbers, net.params, net.grad, net.state, b0, b0, b1, free)


@kernel(inline=True)
def batch(task, net, data, factors, total, group, first, m):
    """One step with the m rows from place `first` of the order on; its loss times m is added to `total`."""
    plan, work, side = net.plan, net.work, lanes(net.work)
    top, acc = layer_of(plan, plan.n_layers - 1), plan.partial * side
    store(work, acc, fill(work, 0.0))
    done = 0
    while done < m:
        height = min(plan.part, m - done)
        gather(task, net, data, group, first + done, height)
        forward(net, height)
        losses.evaluate_lanes(plan, work, top.a * side, top.d * side, height, acc, 1.0 / m)
        backward(net, height, done > 0)
        done += height
    for lane in range(side):
        total[lane] += work[acc + lane]
    penalty(net, factors, total, float(m))
    update(net, factors)


@entry
def train(job, params, state, grad, work, x, y, order, base, rates, factors, numbers):
    """Train groups of models for some passes over their rows, in place; returns NAdam's product of momenta.

    Parameters
    ----------
    job : int64, TASK, from PLAN on a plan, and room for `part` * lanes row numbers; the plan's `n_params` is how far
        arrays of a group, its parameters and each one of its state, lie apart
    params, state : (groups, ...) lane-minor, flat
    grad : as the parameters of one group
    work : see the head of this file; behind what the plan asks for, room for the rows of a group that are kept turned
    x, y : the data, flat; class codes as numbers
    order : int64, (passes, rows), or (groups, passes, rows, lanes) if each model has its own
    base : int64, (groups, lanes), is added to the row numbers of the order
    rates : (groups, lanes), or (steps, groups, lanes)
    factors : (groups, layers + 1, 3, lanes): l1, l2 and 1 of each layer, then those of biases
    numbers : float64: the product before; room for the coefficients of all steps; (groups, passes, lanes), which gains
        the sum of loss times rows of each pass
    """
    task, plan = task_at(job, 0), network_at(job, PLAN)
    side, n, count = lanes(params), task.n_rows, optimizers.N_COEFFICIENTS
    steps = (n + plan.batch - 1) // plan.batch
    units, sums = numbers[1:], numbers[1 + steps * task.passes * count :]
    momenta = numbers[0]
    for s in range(steps * task.passes):
        unit = units[s * count : (s + 1) * count]
        momenta = optimizers.coefficients(plan, 1.0, task.steps + s + 1, momenta, unit)
    of_row = layer_of(plan, 0).fan_in + layer_of(plan, plan.n_layers - 1).fan_out
    kept = work[work.size - task.kept * of_row * side :]
    data = Data(x, y, order, base, job[PLAN + HEADER + plan.n_layers * RECORD :], kept, side)
    size, room = params.size // task.groups, state.size // task.groups
    width = 3 * (plan.n_layers + 1) * side
    stride = task.groups * side if rates.size > task.groups * side else 0
    for g in range(task.groups):
        net = Net(plan, params[g * size : (g + 1) * size], grad, state[g * room : (g + 1) * room], work)
        own = factors[g * width : (g + 1) * width]
        keep(task, net, data, g)
        for e in range(task.passes):
            total = sums[(g * task.passes + e) * side : (g * task.passes + e + 1) * side]
            start = ((g if task.own != 0 else 0) * task.passes + e) * n
            done, s = 0, e * steps
            while done < n:
                m = min(plan.batch, n - done)
                unit, r0 = units[s * count : (s + 1) * count], s * stride + g * side
                optimizers.coefficients_of_lanes(plan, unit, rates, r0, work, plan.slot * side)
                batch(task, net, data, own, total, g, start + done, m)
                done += m
                s += 1
    return momenta
