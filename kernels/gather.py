"""Rows between the caller's arrays, unpadded and in any order, and the workspace, where rows are padded."""

from .machine.jit import kernel
from .machine.simd import fill, lanes, load, load_first, store
from .plan import A_IN, CLASS_INDEX, FAN_IN, FAN_OUT, HEADER, LD, LD_IN, N_LAYERS, RECORD, D


@kernel(inline=True)
def copy_row(work, target, x, source, width):
    """Copy one row of the caller's into a padded one, whose padding becomes zero."""
    k = 0
    while k + lanes(work) <= width:
        store(work, target + k, load(x, source + k))
        k += lanes(work)
    if k < width:
        store(work, target + k, load_first(x, source + k, width - k))


@kernel
def rows(plan, work, x, order, first, row, m):
    """Copy m rows of the data set, chosen by `order`, into the padded input of the first layer."""
    i, ld = plan[HEADER + FAN_IN], plan[HEADER + LD_IN]
    a0 = plan[HEADER + A_IN] + row * ld
    for r in range(m):
        copy_row(work, a0 + r * ld, x, (order[first + r] if order.size > 0 else first + r) * i, i)


@kernel
def targets(plan, work, y, order, first, row, m):
    """Copy the rows' targets to where delta of the output will be; class codes become rows of one-hot."""
    at = HEADER + (plan[N_LAYERS] - 1) * RECORD
    o, ld = plan[at + FAN_OUT], plan[at + LD]
    d0 = plan[at + D] + row * ld
    for r in range(m):
        source = order[first + r] if order.size > 0 else first + r
        if plan[CLASS_INDEX] != 0:
            for j in range(0, o, lanes(work)):
                store(work, d0 + r * ld + j, fill(work, 0.0))
            work[d0 + r * ld + int(y[source])] = 1.0
        else:
            copy_row(work, d0 + r * ld, y, source * o, o)


@kernel
def copy_out(work, a0, ld, out, out0, width, m):
    """Write m padded rows to the caller's unpadded array."""
    for r in range(m):
        for j in range(width):
            out[out0 + r * width + j] = work[a0 + r * ld + j]


@kernel
def weights(numbers, sample_weight, order, first, row, m):
    """Put the rows' weights (1 where there are none) behind the rows' values."""
    for r in range(m):
        if sample_weight.size > 0:
            source = order[first + r] if order.size > 0 else first + r
            numbers[row + r] = sample_weight[source]
        else:
            numbers[row + r] = 1.0


@kernel
def weight_of(sample_weight, order, first, m):
    """Return the sum of the weights of m rows."""
    if sample_weight.size == 0:
        return float(m)
    acc = 0.0
    for r in range(m):
        acc += sample_weight[order[first + r] if order.size > 0 else first + r]
    return acc
