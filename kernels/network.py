"""All layers: predictions, losses, gradients, and training a run of batches, in one kernel.

`run` is entered by every thread of a team with the same arguments. A batch has two phases: blocks of rows go forward,
through the loss and back (no row needs another); blocks of weights gather their gradient over all rows and, hot in
cache, are updated. What is done once per phase, the thread does that ends it. Blocks are the same for any number of
threads and every sum has a fixed order, so the numbers are too. Kernels trust their callers: engine.py checks shapes,
dtypes and ranges.
"""

import math

import numpy as np

from . import activations, dense, gather, losses, one, optimizers, random
from .machine.jit import entry, kernel
from .machine.sync import MEMBERS, STOP, STOPPED, advance, claim, fetch_add, finished, read, wait
from .plan import (
    A_IN,
    ACTIVATION,
    BATCH,
    BLOCK_ROWS,
    BLOCKS,
    CLIPPED,
    D_IN,
    DROPOUT,
    FAN_IN,
    FAN_OUT,
    FIRST_BLOCK,
    HEADER,
    HYPER,
    IN_SLOT,
    INPUT_DROPOUT,
    L1,
    L2,
    L2_PER_ROW,
    LAYER_HYPER,
    LD,
    LD_IN,
    LDW,
    LOSS,
    MAX_NORM,
    N_BLOCKS,
    N_LAYERS,
    N_OUT,
    ONLINE,
    PANEL,
    PANEL_SIZE,
    PART,
    RECORD,
    ROW_BLOCK,
    SLOT,
    SPARSE,
    TRANSPOSED,
    WANT_INPUTS,
    A,
    B,
    D,
    W,
    Z,
)

# What `run` is asked for.
TRAIN, GRADIENT, VALUE, PREDICT = 0, 1, 2, 3

# Places in `numbers` (float64): results, this step's coefficients, then per row value and weight, then per block.
# The last ones are of the call: steps before it, the sum after its last finished batch, the factor of clipping.
LOSS_SUM, STEPS, PRODUCT, STEPS_BEFORE, LOSS_KEPT, SCALE = 0, 1, 2, 3, 4, 5
COEFFICIENTS = 8
ROWS = 32


@kernel
def forward_rows(
    plan,
    hyper,
    params,
    work,
    x,
    indices,
    indptr,
    order,
    first,
    row,
    m,
    layers,
    training,
    step,
    seed,
    direct,
    offset,
    panel,
    ahead,
):
    """The first `layers` layers on one block of rows; dropout while training, its masks by rows from `offset` on.

    Rows that are `ahead` in `order` are asked for while the first layer computes.
    """
    if plan[SPARSE] == 0 and not direct:
        gather.rows(plan, work, x, order, first, row, m)
        if training and hyper[INPUT_DROPOUT] > 0.0:
            ld = plan[HEADER + LD_IN]
            key = random.key_of(seed, step, -1)
            random.drop(work, plan[HEADER + A_IN] + row * ld, ld, offset + row, m, hyper[INPUT_DROPOUT], key)
    for layer in range(layers):
        at = HEADER + layer * RECORD
        if layer == 0 and plan[SPARSE] != 0:
            dense.forward_sparse(plan, at, params, work, x, indices, indptr, order, first, row, m)
        elif layer == 0 and direct:
            dense.forward(
                plan,
                at,
                params,
                x,
                first * plan[at + FAN_IN],
                plan[at + FAN_IN],
                work,
                row,
                m,
                panel,
                x,
                order,
                -1,
            )
        else:
            below = plan[at + LD_IN]
            x0 = plan[at + A_IN] + row * below
            place = first + ahead if layer == 0 and order.size > 0 else -1
            dense.forward(plan, at, params, work, x0, below, work, row, m, panel, x, order, place)
        rate = hyper[HYPER + layer * LAYER_HYPER + DROPOUT]
        if training and rate > 0.0:
            ld = plan[at + LD]
            random.drop(
                work, plan[at + A] + row * ld, ld, offset + row, m, rate, random.key_of(seed, step, layer)
            )


@kernel
def derive(plan, at, work, row, m, rate):
    """delta = delta * f'(z) in the layer's delta buffer, where a may have been scaled by dropout."""
    code = plan[at + ACTIVATION]
    if code == 0:
        return
    ld = plan[at + LD]
    a0 = plan[at + A] + row * ld
    z0 = a0 if plan[at + Z] < 0 else plan[at + Z] + row * ld
    activations.backward(code, work, z0, work, a0, work, plan[at + D] + row * ld, m * ld, 1.0 - rate)


@kernel
def backward_rows(plan, hyper, params, work, row, m, training, step, seed, offset, panel):
    """delta of every layer for one block of rows, from the loss's delta of the output down (BP2)."""
    last = plan[N_LAYERS] - 1
    derive(plan, HEADER + last * RECORD, work, row, m, 0.0)
    for down in range(last + 1):
        layer = last - down
        at = HEADER + layer * RECORD
        if plan[at + D_IN] < 0:
            continue
        dense.propagate(plan, at, params, work, row, m, panel)
        below = at - RECORD
        ld = plan[at + LD_IN]
        rate = hyper[INPUT_DROPOUT] if layer == 0 else hyper[HYPER + (layer - 1) * LAYER_HYPER + DROPOUT]
        if training and rate > 0.0:
            key = random.key_of(seed, step, layer - 1)
            random.drop(work, plan[at + D_IN] + row * ld, ld, offset + row, m, rate, key)
        if layer > 0:
            derive(plan, below, work, row, m, rate if training else 0.0)


@kernel
def layer_of_block(plan, block):
    """Return the layer that a block of weights belongs to."""
    layer = 0
    while block >= plan[HEADER + layer * RECORD + FIRST_BLOCK] + plan[HEADER + layer * RECORD + BLOCKS]:
        layer += 1
    return layer


@kernel(inline=True)
def rows_of_block(plan, at, block):
    """Return where the rows of weights begin and end that are a block of this layer."""
    begin = (block - plan[at + FIRST_BLOCK]) * plan[at + BLOCK_ROWS]
    return begin, min(begin + plan[at + BLOCK_ROWS], dense.stored_rows(plan, at))


@kernel
def update_block(
    plan, hyper, numbers, params, grad, g0, gb, state, at, block, begin, end, l1, l2, scale, refresh
):
    """One optimizer step for rows [begin, end) of a layer (its bias with the first block), then the copy T.

    Their gradient is grad[g0:], that of the bias grad[gb:].
    """
    step = numbers[COEFFICIENTS : COEFFICIENTS + optimizers.N_COEFFICIENTS]
    ldw, w0 = plan[at + LDW], plan[at + W]
    optimizers.update(plan, step, params, grad, g0, state, w0 + begin * ldw, w0 + end * ldw, l1, l2, scale)
    if block == plan[at + FIRST_BLOCK] and plan[at + B] >= 0:
        b0 = plan[at + B]
        optimizers.update(plan, step, params, grad, gb, state, b0, b0 + plan[at + LD], 0.0, 0.0, scale)
    if refresh:
        dense.transpose_rows(plan, at, params, begin, end, True)


@kernel
def add_losses(numbers, m, whole, share):
    """Add the mean of the rows' weighted values, times the rows it stands for, to the sum."""
    value = 0.0
    for r in range(m):
        value += numbers[ROWS + r]
    numbers[LOSS_SUM] += value / whole * share


@kernel
def finish_batch(plan, numbers, step, share):
    """Add the blocks' penalties to the sum: the batch is done."""
    partial = ROWS + 2 * plan[PART]
    value = 0.0
    for block in range(plan[N_BLOCKS]):
        value += numbers[partial + 2 * block]
    numbers[LOSS_SUM] += value * share
    numbers[LOSS_KEPT] = numbers[LOSS_SUM]
    numbers[STEPS] = step


@kernel
def clipping(plan, hyper, numbers):
    """Return the factor that the gradient is scaled by, as torch.nn.utils.clip_grad_norm_ does."""
    partial = ROWS + 2 * plan[PART]
    square = 0.0
    for block in range(plan[N_BLOCKS]):
        square += numbers[partial + 2 * block + 1]
    scale = hyper[MAX_NORM] / (math.sqrt(square) + 1e-6)
    # NaN compares false and leaves the gradient as it is: divergence must show.
    return scale if scale < 1.0 else 1.0


@kernel
def run_batch(
    mode,
    plan,
    hyper,
    params,
    grad,
    state,
    work,
    numbers,
    x,
    indices,
    indptr,
    y,
    sample_weight,
    order,
    first,
    m,
    whole,
    layers,
    out,
    rate,
    step,
    seed,
    offset,
    batch_rows,
    accumulate,
    refresh,
    sync,
    phase,
    slot,
    team,
):
    """m rows of a batch, from row `first` of `order`, which is row `offset` of the batch's `batch_rows`.

    `whole` is the weight that the mean is taken over. A batch larger than the workspace comes in several calls, whose
    gradients add up; the last one updates. Where nothing has to add up (SLOT > 0), the gradient of a block is not
    written to where the whole one would be, but to this thread's `slot`, which stays in its caches (a place for each
    layer there, whose padding nobody writes: it stays zero). Returns the next phase, or -1 if the call was stopped,
    which it is only before anything is updated.
    """
    values = ROWS
    weights = ROWS + plan[PART]
    partial = ROWS + 2 * plan[PART]
    training = mode == TRAIN
    last = training and offset + m == batch_rows
    share = batch_rows if training else 1.0
    height = plan[ROW_BLOCK]
    n_row_blocks = (m + height - 1) // height
    top = HEADER + (plan[N_LAYERS] - 1) * RECORD
    panel = plan[PANEL] + slot * plan[PANEL_SIZE]
    # Rows in their own order are read where they are; W' x delta is the one product that needs them padded.
    direct = order.size == 0 and plan[SPARSE] == 0 and (mode >= VALUE or plan[HEADER + TRANSPOSED] == 0)
    direct = direct and (mode != TRAIN or hyper[INPUT_DROPOUT] == 0.0)
    row_block = claim(sync, phase, n_row_blocks, team, -1)
    while row_block < n_row_blocks:
        row = row_block * height
        rows = min(height, m - row)
        if read(sync, STOP) == 0:
            forward_rows(
                plan,
                hyper,
                params,
                work,
                x,
                indices,
                indptr,
                order,
                first + row,
                row,
                rows,
                layers,
                training,
                step,
                seed,
                direct,
                offset,
                panel,
                height * team,
            )
            if mode == PREDICT:
                at = HEADER + (layers - 1) * RECORD
                ld, width = plan[at + LD], plan[at + FAN_OUT]
                gather.copy_out(work, plan[at + A] + row * ld, ld, out, (first + row) * width, width, rows)
            else:
                gather.targets(plan, work, y, order, first + row, row, rows)
                gather.weights(numbers, sample_weight, order, first + row, weights + row, rows)
                ld = plan[top + LD]
                losses.evaluate(
                    plan[LOSS],
                    hyper,
                    work,
                    plan[top + A] + row * ld,
                    ld,
                    work,
                    plan[top + D] + row * ld,
                    ld,
                    rows,
                    plan[N_OUT],
                    numbers[weights + row : weights + row + rows],
                    1.0 / whole,
                    numbers[values + row : values + row + rows],
                )
                if mode != VALUE:
                    backward_rows(plan, hyper, params, work, row, rows, training, step, seed, offset, panel)
                    if plan[WANT_INPUTS] != 0:
                        width, ld = plan[HEADER + FAN_IN], plan[HEADER + LD_IN]
                        gather.copy_out(
                            work,
                            plan[HEADER + D_IN] + row * ld,
                            ld,
                            out,
                            (first + row) * width,
                            width,
                            rows,
                        )
        if finished(sync, row_block, n_row_blocks, team):
            stopped = read(sync, STOP)
            if stopped != 0:
                numbers[LOSS_SUM] = numbers[LOSS_KEPT]
            elif mode != PREDICT:
                add_losses(numbers, m, whole, share)
                if last:
                    step_now = numbers[COEFFICIENTS : COEFFICIENTS + optimizers.N_COEFFICIENTS]
                    numbers[PRODUCT] = optimizers.coefficients(
                        plan, hyper, rate, step, numbers[PRODUCT], step_now
                    )
            advance(sync, phase, stopped, team)
        row_block = claim(sync, phase, n_row_blocks, team, row_block)
    wait(sync, phase, team)
    if read(sync, STOPPED) != 0:
        return -1
    if mode >= VALUE:
        return phase + 1
    phase += 1
    n_blocks = plan[N_BLOCKS]
    per_row = hyper[L2_PER_ROW] / whole
    clipped = last and plan[CLIPPED] != 0
    block = claim(sync, phase, n_blocks, team, -1)
    while block < n_blocks:
        layer = layer_of_block(plan, block)
        at = HEADER + layer * RECORD
        begin, end = rows_of_block(plan, at, block)
        ldw, w0, b0 = plan[at + LDW], plan[at + W], plan[at + B]
        g0, gb = w0 + begin * ldw, b0
        if plan[SLOT] > 0:
            gb = slot * plan[SLOT] + plan[at + IN_SLOT]
            g0 = gb + plan[at + LD]
        if layer == 0 and plan[SPARSE] != 0:
            dense.weight_gradients_sparse(
                plan, at, work, grad, g0, x, indices, indptr, order, first, begin, end, m, accumulate
            )
        else:
            source, x0, x_step = work, plan[at + A_IN], plan[at + LD_IN]
            if direct and layer == 0:
                source, x0, x_step = x, first * plan[at + FAN_IN], plan[at + FAN_IN]
            dense.weight_gradients(plan, at, source, x0, x_step, work, grad, g0, begin, end, m, accumulate)
        biased = block == plan[at + FIRST_BLOCK] and b0 >= 0
        if biased:
            dense.bias_gradients(plan, at, work, grad, gb, m, accumulate)
        if last:
            place = HYPER + layer * LAYER_HYPER
            l1 = hyper[place + L1]
            l2 = hyper[place + L2] + per_row
            cost = 0.0
            if l1 != 0.0 or l2 != 0.0:
                cost = optimizers.penalty(params, w0 + begin * ldw, w0 + end * ldw, l1, l2)
            numbers[partial + 2 * block] = cost
            if clipped:
                square = optimizers.norm_squared(params, grad, w0 + begin * ldw, w0 + end * ldw, l1, l2)
                if biased:
                    square += optimizers.norm_squared(params, grad, b0, b0 + plan[at + LD], 0.0, 0.0)
                numbers[partial + 2 * block + 1] = square
            else:
                update_block(
                    plan,
                    hyper,
                    numbers,
                    params,
                    grad,
                    g0,
                    gb,
                    state,
                    at,
                    block,
                    begin,
                    end,
                    l1,
                    l2,
                    1.0,
                    refresh,
                )
        if finished(sync, block, n_blocks, team):
            if clipped:
                numbers[SCALE] = clipping(plan, hyper, numbers)
            elif last:
                finish_batch(plan, numbers, step, share)
            advance(sync, phase, 0, team)
        block = claim(sync, phase, n_blocks, team, block)
    wait(sync, phase, team)
    phase += 1
    if clipped:
        block = claim(sync, phase, n_blocks, team, -1)
        while block < n_blocks:
            layer = layer_of_block(plan, block)
            at = HEADER + layer * RECORD
            begin, end = rows_of_block(plan, at, block)
            place = HYPER + layer * LAYER_HYPER
            l2 = hyper[place + L2] + per_row
            l1 = hyper[place + L1]
            scale = numbers[SCALE]
            b0 = plan[at + B]
            g0 = plan[at + W] + begin * plan[at + LDW]
            update_block(
                plan,
                hyper,
                numbers,
                params,
                grad,
                g0,
                b0,
                state,
                at,
                block,
                begin,
                end,
                l1,
                l2,
                scale,
                refresh,
            )
            if finished(sync, block, n_blocks, team):
                finish_batch(plan, numbers, step, share)
                advance(sync, phase, 0, team)
            block = claim(sync, phase, n_blocks, team, block)
        wait(sync, phase, team)
        phase += 1
    return phase


@kernel
def begin_call(mode, plan, params, numbers, sync, team):
    """Phase 0: bring the copies T up to date that this call reads, and note where it begins."""
    n_blocks = plan[N_BLOCKS]
    block = claim(sync, 0, n_blocks, team, -1)
    while block < n_blocks:
        at = HEADER + layer_of_block(plan, block) * RECORD
        begin, end = rows_of_block(plan, at, block)
        dense.transpose_rows(plan, at, params, begin, end, mode <= GRADIENT)
        if finished(sync, block, n_blocks, team):
            numbers[STEPS_BEFORE] = numbers[STEPS]
            numbers[LOSS_KEPT] = numbers[LOSS_SUM]
            advance(sync, 0, 0, team)
        block = claim(sync, 0, n_blocks, team, block)
    wait(sync, 0, team)


@kernel
def run_rows(plan, hyper, params, work, numbers, x, y, sample_weight, order, begin, end, rates):
    """Stochastic descent by the book: batches of one row and plain SGD, each weight read once per step."""
    weight = numbers[ROWS : ROWS + 1]
    value = numbers[ROWS + 1 : ROWS + 2]
    weight[0] = 1.0
    for row in range(begin, end):
        if sample_weight.size > 0 and sample_weight[order[row] if order.size > 0 else row] == 0.0:
            numbers[STEPS] += row - begin
            return row - begin
        gather.rows(plan, work, x, order, row, 0, 1)
        gather.targets(plan, work, y, order, row, 0, 1)
        one.train_row(plan, hyper, params, work, weight, value, rates[row - begin if rates.size > 1 else 0])
        numbers[LOSS_SUM] += value[0]
    numbers[STEPS] += end - begin
    return end - begin


@entry
def run(
    mode,
    plan,
    hyper,
    params,
    grad,
    state,
    work,
    numbers,
    x,
    indices,
    indptr,
    y,
    sample_weight,
    order,
    begin,
    end,
    rates,
    whole,
    layers,
    out,
    seed,
    sync,
    team,
):
    """Rows [begin, end) of `order` (or of the data where `order` is empty), in batches; one call is one chunk.

    mode TRAIN: an optimizer step per batch. GRADIENT: `grad` of the mean over `whole`, batches accumulated. VALUE: the
    mean loss only. PREDICT: the outputs of layer `layers` in `out`. `numbers[LOSS_SUM]` is increased by the sum over
    batches of mean loss times rows (TRAIN), or by the weighted mean (GRADIENT, VALUE). Returns how many rows are done:
    fewer than asked only where the weights of a batch sum to 0, or where sync[STOP] was set: the batch in hand is then
    given up before it changed the model.
    """
    begin_call(mode, plan, params, numbers, sync, team)
    if mode == TRAIN and plan[ONLINE] != 0:
        return run_rows(plan, hyper, params, work, numbers, x, y, sample_weight, order, begin, end, rates)
    batch = plan[BATCH]
    first = begin
    count = 0
    phase = 1
    slot = fetch_add(sync, MEMBERS, np.int64(1)) if team > 1 else 0
    while first < end:
        m = min(batch, end - first)
        total = whole
        rate = 0.0
        if mode == TRAIN:
            total = gather.weight_of(sample_weight, order, first, m)
            if total == 0.0:
                return first - begin
            rate = rates[count if rates.size > 1 else 0]
        # A thread that comes late must not take the number from what the others have counted meanwhile.
        step = int(numbers[STEPS_BEFORE]) + count + 1
        offset = 0
        while offset < m:
            rows = min(plan[PART], m - offset)
            phase = run_batch(
                mode,
                plan,
                hyper,
                params,
                grad,
                state,
                work,
                numbers,
                x,
                indices,
                indptr,
                y,
                sample_weight,
                order,
                first + offset,
                rows,
                total,
                layers,
                out,
                rate,
                step,
                seed,
                offset,
                m,
                offset > 0 or (mode == GRADIENT and count > 0),
                first + m < end,
                sync,
                phase,
                slot,
                team,
            )
            if phase < 0:
                # Others may have come further than this thread.
                return int(numbers[STEPS] - numbers[STEPS_BEFORE]) * batch
            offset += rows
        count += 1
        first += m
    return first - begin
