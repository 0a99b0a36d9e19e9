"""One dense layer on a block of rows. Shapes: x (n, i), W (i, o), b (o,), z, a, delta (n, o), rows padded to 64 bytes.

Equations as in Nielsen (2015), ch. 2, for row batches; BP1 is in losses.py. Reference: fastbp/reference.py. `at` is the
place of the layer's record in the plan.
"""

from . import activations
from .machine.jit import kernel
from .machine.simd import fill, fma, lanes, load, load_first, store, total
from .machine.squares import transpose_squares
from .matmul import product, product_asking
from .plan import (
    ACTIVATION,
    D_IN,
    FAN_IN,
    FAN_OUT,
    LD,
    LD_IN,
    LDT,
    LDW,
    TRANSPOSED,
    ZEROS,
    A,
    B,
    D,
    T,
    W,
    Z,
)


@kernel
def activate(plan, at, work, row, m):
    """a = f(z) on m rows, padding kept at zero."""
    code = plan[at + ACTIVATION]
    if code == 0:
        return
    ld = plan[at + LD]
    a0 = plan[at + A] + row * ld
    z0 = a0 if plan[at + Z] < 0 else plan[at + Z] + row * ld
    activations.forward(code, work, z0, work, a0, m * ld)
    if code in activations.MOVES_ZERO:
        for r in range(m):
            for j in range(plan[at + FAN_OUT], ld):
                work[a0 + r * ld + j] = 0.0


@kernel(inline=True)
def dot(X, x0, P, w0, count):
    """Return the product of two rows of `count`, the second one padded with zeros.

    The padding of the first is not read: after an overflow in the layer below it holds inf * 0.
    """
    whole = count // lanes(X) * lanes(X)
    acc = fill(X, 0.0)
    for j in range(0, whole, lanes(X)):
        acc = fma(load(X, x0 + j), load(P, w0 + j), acc)
    if whole < count:
        acc = fma(load_first(X, x0 + whole, count - whole), load(P, w0 + whole), acc)
    return total(acc)


@kernel
def forward(plan, at, params, x, x0, x_step, work, row, m, panel, data, order, place):
    """z = x W + b, a = f(z): the sums start from the bias, f follows while the rows are in the nearest cache.

    The rows of x start at x0 and lie x_step apart: the layer below's in the workspace, or the caller's own. From
    `panel` on the workspace has room for a panel of weights, if it is not negative; with `place` not negative rows
    order[place:] of the data set are asked for meanwhile.
    """
    ld = plan[at + LD]
    z0 = (plan[at + A] if plan[at + Z] < 0 else plan[at + Z]) + row * ld
    w0 = plan[at + T] if plan[at + TRANSPOSED] else plan[at + W]
    ldw = plan[at + LDT] if plan[at + TRANSPOSED] else plan[at + LDW]
    b0 = plan[at + B]
    start, first = (params, b0) if b0 >= 0 else (work, plan[ZEROS])
    o, i = plan[at + FAN_OUT], plan[at + FAN_IN]
    if plan[at + TRANSPOSED] != 0 and plan[at + T] < 0:
        # One output, whose weights are a row without a turned copy: no tile for it.
        for r in range(m):
            work[z0 + r * ld] = start[first] + dot(x, x0 + r * x_step, params, plan[at + W], i)
    elif place >= 0:
        product_asking(
            x,
            x0,
            x_step,
            params,
            w0,
            ldw,
            start,
            first,
            work,
            z0,
            ld,
            m,
            o,
            i,
            work,
            panel,
            data,
            order,
            place,
        )
    else:
        product(x, x0, x_step, 1, params, w0, ldw, start, first, 0, work, z0, ld, m, o, i, work, panel)
    activate(plan, at, work, row, m)


@kernel
def forward_sparse(plan, at, params, work, x, indices, indptr, order, first, row, m):
    """The first layer on CSR rows: z = b + sum over the row's entries of x_k W[k, :], no densification."""
    o, ld, ldw = plan[at + FAN_OUT], plan[at + LD], plan[at + LDW]
    z0 = (plan[at + A] if plan[at + Z] < 0 else plan[at + Z]) + row * ld
    w0, b0 = plan[at + W], plan[at + B]
    for r in range(m):
        source = order[first + r] if order.size > 0 else first + r
        begin, end = indptr[source], indptr[source + 1]
        z = z0 + r * ld
        if plan[at + TRANSPOSED]:
            for j in range(o):
                acc = params[b0 + j] if b0 >= 0 else params[w0] * 0
                for k in range(begin, end):
                    acc += x[k] * params[w0 + j * ldw + indices[k]]
                work[z + j] = acc
        else:
            for j in range(0, ld, lanes(work)):
                acc = load(params, b0 + j) if b0 >= 0 else fill(work, 0.0)
                for k in range(begin, end):
                    acc = acc + load(params, w0 + indices[k] * ldw + j) * x[k]
                store(work, z + j, acc)
    activate(plan, at, work, row, m)


@kernel
def propagate(plan, at, params, work, row, m, panel):
    """Error felt by the layer's input: delta W'  (the first half of BP2)."""
    ld, ld_in = plan[at + LD], plan[at + LD_IN]
    d0 = plan[at + D] + row * ld
    w0 = plan[at + W] if plan[at + TRANSPOSED] else plan[at + T]
    ldw = plan[at + LDW] if plan[at + TRANSPOSED] else plan[at + LDT]
    c0 = plan[at + D_IN] + row * ld_in
    i, o = plan[at + FAN_IN], plan[at + FAN_OUT]
    if plan[at + TRANSPOSED] != 0 and plan[at + T] < 0:
        for r in range(m):
            felt = fill(work, work[d0 + r * ld])
            for k in range(0, i, lanes(work)):
                store(work, c0 + r * ld_in + k, felt * load(params, w0 + k))
    else:
        product(work, d0, ld, 1, params, w0, ldw, work, plan[ZEROS], 0, work, c0, ld_in, m, i, o, work, panel)


@kernel
def weight_gradients(plan, at, x, x0, x_step, work, grad, g0, begin, end, m, accumulate):
    """Rows [begin, end) of dW = x' delta (BP4), or of its transpose where W' is stored; summed into grad[g0:]."""
    d0, ld, ldw = plan[at + D], plan[at + LD], plan[at + LDW]
    start, from_row, step = (grad, g0, ldw) if accumulate else (work, plan[ZEROS], 0)
    rows = end - begin
    if plan[at + TRANSPOSED]:
        product(
            work,
            d0 + begin,
            1,
            ld,
            x,
            x0,
            x_step,
            start,
            from_row,
            step,
            grad,
            g0,
            ldw,
            rows,
            plan[at + FAN_IN],
            m,
            work,
            -1,
        )
    else:
        product(
            x,
            x0 + begin,
            1,
            x_step,
            work,
            d0,
            ld,
            start,
            from_row,
            step,
            grad,
            g0,
            ldw,
            rows,
            plan[at + FAN_OUT],
            m,
            work,
            -1,
        )


@kernel
def weight_gradients_sparse(
    plan, at, work, grad, g0, x, indices, indptr, order, first, begin, end, m, accumulate
):
    """Rows [begin, end) of dW for CSR rows, to grad[g0:]: every entry x_k of a row adds x_k delta to row k."""
    o, ld, ldw = plan[at + FAN_OUT], plan[at + LD], plan[at + LDW]
    d0 = plan[at + D]
    if not accumulate:
        for j in range(g0, g0 + (end - begin) * ldw):
            grad[j] = 0.0
    for r in range(m):
        source = order[first + r] if order.size > 0 else first + r
        d = d0 + r * ld
        if plan[at + TRANSPOSED]:
            for j in range(begin, end):
                for k in range(indptr[source], indptr[source + 1]):
                    grad[g0 + (j - begin) * ldw + indices[k]] += x[k] * work[d + j]
        else:
            for k in range(indptr[source], indptr[source + 1]):
                i = indices[k]
                if begin <= i < end:
                    for j in range(0, o, lanes(work)):
                        g = g0 + (i - begin) * ldw + j
                        store(grad, g, load(grad, g) + load(work, d + j) * x[k])


@kernel
def bias_gradients(plan, at, work, grad, g0, m, accumulate):
    """db = sum over the rows of delta  (BP3), to grad[g0:]."""
    ld, d0 = plan[at + LD], plan[at + D]
    for j in range(0, ld, lanes(work)):
        acc = load(grad, g0 + j) if accumulate else fill(work, 0.0)
        for r in range(m):
            acc = acc + load(work, d0 + r * ld + j)
        store(grad, g0 + j, acc)


@kernel
def transpose_rows(plan, at, params, begin, end, backward):
    """Bring columns [begin, end) of the copy T up to date with rows [begin, end) of what is stored, if it is read.

    Forward reads it where W' is stored, else the way back (if it is gone) to a layer below.
    """
    t0 = plan[at + T]
    if t0 < 0 or (plan[at + TRANSPOSED] == 0 and (not backward or plan[at + D_IN] < 0)):
        return
    w0, ldw, ldt = plan[at + W], plan[at + LDW], plan[at + LDT]
    side = lanes(params)
    r = begin + (end - begin) // side * side
    transpose_squares(params, w0 + begin * ldw, ldw, params, t0 + begin, ldt, r - begin, ldw)
    columns = plan[at + FAN_IN] if plan[at + TRANSPOSED] else plan[at + FAN_OUT]
    while r < end:
        for c in range(columns):
            params[t0 + c * ldt + r] = params[w0 + r * ldw + c]
        r += 1


@kernel
def stored_rows(plan, at):
    """Return how many rows the stored orientation has: fan_in, or fan_out where W' is stored."""
    return plan[at + FAN_OUT] if plan[at + TRANSPOSED] else plan[at + FAN_IN]
