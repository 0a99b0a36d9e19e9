"""Phase 2 of a part: blocks of weights gather their gradient over all its rows, and are updated while it is in cache.

    dW = x' delta  (BP4),  db = sum over the rows of delta  (BP3)
    theta = what the optimizer makes of theta and its gradient

Reference: `backward`, `penalty` and RULES in fastbp/reference.py.
"""

import math

import numpy as np

from . import dense, examples, optimizers, sparse
from .machine.addressed import by_address
from .machine.jit import entry, kernel
from .machine.simd import lanes, load, store
from .machine.sync import advance, claim, finished, wait
from .plan import SUM_ROWS, TEAM_PIECES, layer_of
from .tuples import Matrix, Piece, Stretch


@kernel(inline=True)
def gradient(call, net, rows, part, piece, in_place):
    """dW = x' delta and db = sum of delta, over the rows of the part.

    So many rows at a time are summed from zero, and that is added to the sum of those before: the error of the
    additions grows with SUM_ROWS and the number of such sums, not with the number of rows.
    """
    row = 0
    while row < part.m:
        m = min(SUM_ROWS, part.m - row)
        sum_rows(call, net, rows, part, piece, in_place, row, m, part.accumulate or row > 0)
        row += m


@kernel(inline=True)
def sum_rows(call, net, rows, part, piece, in_place, row, m, accumulate):
    """`gradient` over m rows, from `row` of the part on: summed from zero, then added if there are others before."""
    layer, scattered = piece.layer, piece.k == 0 and call.sparse != 0
    # Of CSR rows with fewer entries than W has rows, most rows of W have at most one: that is added where it belongs.
    first = part.first + row
    apart = accumulate and not (scattered and sparse.entries(rows, first, m) < layer.fan_in)
    target, t0 = (net.work, net.plan.partial + piece.g0) if apart else (net.grad, piece.g0)
    if scattered:
        adds = accumulate and not apart
        arguments = (net, rows, sparse.GRADIENT, first, row, m, target, t0, piece.begin, piece.end, adds)
        sparse.call_first_layer(call.sparse, arguments)
    else:
        x = Matrix(net.work, layer.a_in, layer.ld_in)
        if piece.k == 0 and in_place:
            x = Matrix(rows.x, part.first * layer.fan_in, layer.fan_in)
        dense.weight_gradients(layer, x, row, net.work, target, t0, piece.begin, piece.end, m)
    if apart:
        for j in range(0, piece.stop - piece.start, lanes(net.grad)):
            g = piece.g0 + j
            store(net.grad, g, load(net.grad, g) + load(target, t0 + j))
    if piece.biased:
        dense.bias_gradients(layer, row, net.work, net.grad, piece.gb, m, accumulate)


@kernel(inline=True)
def penalties(net, part, piece):
    """Return l1 and l2 of the weights, scikit-learn's share for this batch included."""
    return piece.layer.l1, piece.layer.l2 + net.plan.l2_per_row / part.mass


@kernel(inline=True)
def measure(net, sums, part, piece, clipped):
    """Note the piece's penalty l1 sum |W| + l2 / 2 sum W^2 and, for clipping, the square of its gradient."""
    l1, l2 = penalties(net, part, piece)
    cost = 0.0
    if l1 != 0.0 or l2 != 0.0:
        cost = optimizers.penalty(net.params, piece.start, piece.stop, l1, l2)
    sums.blocks[2 * piece.number] = cost
    if clipped:
        square = optimizers.norm_squared(net.params, net.grad, piece.start, piece.stop, l1, l2)
        if piece.biased:
            b0 = piece.layer.b
            square += optimizers.norm_squared(net.params, net.grad, b0, b0 + piece.layer.ld, 0.0, 0.0)
        sums.blocks[2 * piece.number + 1] = square


@kernel(inline=True)
def update(net, sums, part, piece):
    """One step of the optimizer with the piece's gradient; then the copy T, if another batch reads it."""
    plan, params, grad, state = net.plan, net.params, net.grad, net.state
    l1, l2 = penalties(net, part, piece)
    g0, start, stop = piece.g0, piece.start, piece.stop
    # The weights, then the bias: one update for both, since it is inlined.
    for _ in range(2 if piece.biased else 1):
        optimizers.update(plan, sums.coefficients, params, grad, g0, state, start, stop, l1, l2, 1.0)
        g0, start, stop, l1, l2 = piece.gb, piece.layer.b, piece.layer.b + piece.layer.ld, 0.0, 0.0
    if part.more:
        dense.transpose_rows(piece.layer, params, piece.begin, piece.end, True)


@kernel
def scaled_update(net, sums, part, piece, scale):
    """`update` with the gradient scaled."""
    layer, units = piece.layer, sums.coefficients
    factors = (layer.l1, layer.l2, 1.0, scale)
    stretch = Stretch(piece.start, piece.stop - piece.start, net.grad, piece.g0, 0, 0, 1)
    for _ in range(2 if piece.biased else 1):
        optimizers.catch_up(net, stretch, units, 1, factors, sums.waiting, 0, sums.costs, -1)
        stretch, factors = Stretch(layer.b, layer.ld, net.grad, piece.gb, 0, 0, 1), (0.0, 0.0, 0.0, scale)
    if part.more:
        dense.transpose_rows(layer, net.params, piece.begin, piece.end, True)


@kernel(inline=True)
def finish(net, sums, part):
    """Add the penalties of all blocks to the sum: the batch is done, and with it perhaps a pass.

    Rows of the first layer that wait have added theirs by themselves (waiting.py).
    """
    value = 0.0
    for number in range(layer_of(net.plan, 0).blocks if part.window >= 0 else 0, net.plan.n_blocks):
        value += sums.blocks[2 * number]
    sums.totals.loss_sum += value * part.times
    if part.closes >= 0:
        sums.passes[part.closes] = sums.totals.loss_sum
        sums.totals.loss_sum = 0.0
    sums.totals.loss_kept = sums.totals.loss_sum
    sums.totals.steps = part.t


@kernel(inline=True)
def clipping(net, sums):
    """Return the factor that the gradient is scaled by, as torch.nn.utils.clip_grad_norm_ does."""
    square = 0.0
    for number in range(net.plan.n_blocks):
        square += sums.blocks[2 * number + 1]
    return shortening(net, square)


@kernel(inline=True)
def shortening(net, square):
    """Return the factor that brings a gradient, of that squared norm, to its largest norm; 1 if it is shorter."""
    scale = net.plan.max_norm / (math.sqrt(square) + 1e-6)
    # NaN compares false and leaves the gradient as it is: divergence must show.
    return scale if scale < 1.0 else 1.0


@kernel(inline=True)
def pieces(net, taken):
    """Return how many pieces the weights are, if so many blocks of the first layer are one."""
    blocks = layer_of(net.plan, 0).blocks
    return (blocks + taken - 1) // taken + net.plan.n_blocks - blocks


@kernel(inline=True)
def at_once(call, net, part, team):
    """Return how many blocks of the first layer are one piece: several, if CSR rows only add to the gradient.

    A row has entries in few blocks, and to look for them in all takes longer than the sums. A block by itself has to be
    in the nearest caches for the update alone. If rows wait the layer is done already (waiting.py).
    """
    blocks = layer_of(net.plan, 0).blocks
    if part.window >= 0:
        return blocks
    if call.sparse == 0 or part.last or net.plan.slot > 0:
        return np.int64(1)
    return blocks if team.size == 1 else (blocks + TEAM_PIECES - 1) // TEAM_PIECES


@kernel(inline=True)
def piece_of(net, number, member, taken):
    """Return a piece of the network's weights: block after block, but `taken` blocks of the first layer at once.

    If nothing has to add up (plan.slot > 0), its gradient is not written to where the whole one would be, but to a
    place of this thread, which stays in its caches. Each layer has its own there, whose padding stays zero.
    """
    blocks = layer_of(net.plan, 0).blocks
    block = number * taken
    if block >= blocks:
        block = blocks + number - (blocks + taken - 1) // taken
    k = 0
    while block >= layer_of(net.plan, k).first_block + layer_of(net.plan, k).blocks:
        k += 1
    layer = layer_of(net.plan, k)
    begin = (block - layer.first_block) * layer.block_rows
    height = layer.block_rows * (taken if k == 0 else 1)
    end = min(begin + height, dense.stored_rows(layer))
    start, stop = layer.w + begin * layer.ldw, layer.w + end * layer.ldw
    g0, gb = start, layer.b
    if net.plan.slot > 0:
        gb = member * net.plan.slot + layer.in_slot
        g0 = gb + layer.ld
    biased = block == layer.first_block and layer.b >= 0
    return Piece(block, k, layer, begin, end, start, stop, g0, biased, gb)


@kernel(inline=True)
def weights_phase(call, net, rows, sums, part, team, phase, in_place, clipped):
    """Pieces of weights: the gradient, and in a batch's last part the update, unless it is to be `clipped` first."""
    taken = at_once(call, net, part, team)
    count = pieces(net, taken)
    if call.sparse != 0:
        sparse.begin_rows(rows, part.first, part.m)
    k = claim(team, phase, count, -1)
    while k < count:
        piece = piece_of(net, k, team.member, taken)
        if piece.k > 0 or part.window < 0:
            gradient(call, net, rows, part, piece, in_place)
            if part.last:
                measure(net, sums, part, piece, clipped)
                if not clipped:
                    update(net, sums, part, piece)
        if finished(team, k, count):
            if clipped:
                sums.totals.scale = clipping(net, sums)
            elif part.last and not part.settles:
                finish(net, sums, part)
            advance(team, phase, 0)
        k = claim(team, phase, count, k)
    wait(team, phase)


@entry
def clipped_phase(net, sums, part, team, phase):
    """Blocks of weights once more: the update with the whole gradient scaled to its largest norm."""
    blocks = net.plan.n_blocks
    k = claim(team, phase, blocks, -1)
    while k < blocks:
        scaled_update(net, sums, part, piece_of(net, k, team.member, 1), sums.totals.scale)
        if finished(team, k, blocks):
            finish(net, sums, part)
            advance(team, phase, 0)
        k = claim(team, phase, blocks, k)
    wait(team, phase)


def example(dtype):
    """Return arguments of `clipped_phase` that have the types of a call for a dtype."""
    return examples.net(dtype), examples.SUMS, examples.PART, examples.TEAM, 0


# call_clipped_phase(plan.clipped, arguments)
call_clipped_phase = by_address(example)


@kernel(inline=True)
def copies_phase(net, sums, team, phase, backward):
    """Before the first batch: the copies T that the call will read, block by block; and where the sums begin."""
    blocks = net.plan.n_blocks
    k = claim(team, phase, blocks, -1)
    while k < blocks:
        piece = piece_of(net, k, team.member, 1)
        dense.transpose_rows(piece.layer, net.params, piece.begin, piece.end, backward)
        if finished(team, k, blocks):
            sums.totals.steps_before = sums.totals.steps
            sums.totals.loss_kept = sums.totals.loss_sum
            advance(team, phase, 0)
        k = claim(team, phase, blocks, k)
    wait(team, phase)
