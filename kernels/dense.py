"""One dense layer on a block of rows. Shapes: x (n, i), W (i, o), b (o,), z, a, delta (n, o), rows padded to 64 bytes.

Equations as in Nielsen (2015), ch. 2, for row batches; BP1 is in losses.py. Reference: fastbp/reference.py. `layer` is
the layer's record (plan.py): it says where in `params` and `work` everything lies.
"""

import numpy as np

from . import activations
from .machine.jit import kernel
from .machine.simd import fill, fma, lanes, load, load_first, store, total
from .machine.squares import transpose_squares
from .matmul import product, product_asking
from .plan import ZEROS


@kernel
def activate(layer, work, row, m, training):
    """a = f(z) on m rows, padding kept at zero; while training, f'(z) takes the place of z if that is kept."""
    code = layer.activation
    if code == 0:
        return
    ld = layer.ld
    a0 = layer.a + row * ld
    z0 = a0 if layer.z < 0 else layer.z + row * ld
    activations.forward(code, work, z0, a0, m * ld, training)
    if code in activations.MOVES_ZERO:
        for r in range(m):
            for j in range(layer.fan_out, ld):
                work[a0 + r * ld + j] = 0.0


@kernel
def derive(layer, work, row, m, rate):
    """delta = delta * f'(z) on m rows (the second half of BP2); dropout at `rate` may have scaled a."""
    code = layer.activation
    if code == 0:
        return
    ld = layer.ld
    a0 = layer.a + row * ld
    z0 = a0 if layer.z < 0 else layer.z + row * ld
    activations.backward(code, work, z0, a0, layer.d + row * ld, m * ld, 1.0 - rate)


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


@kernel(inline=True)
def forward(layer, params, work, x, block, rows, next_row):
    """z = x W + b: the sums start from the bias.

    x is a Matrix, the layer below's rows or the caller's. Meanwhile rows order[next_row:] of the data set are asked
    for, if that is not negative.
    """
    row, m = block.row, block.m
    ld = layer.ld
    z0 = (layer.a if layer.z < 0 else layer.z) + row * ld
    w0, ldw = (layer.t, layer.ldt) if layer.transposed != 0 else (layer.w, layer.ldw)
    start, b0 = (params, layer.b) if layer.b >= 0 else (work, ZEROS)
    i, o = layer.fan_in, layer.fan_out
    x0, step = x.start, x.distance
    if layer.transposed != 0 and layer.t < 0:
        # One output, whose weights are a row without a turned copy: no tile for it.
        for r in range(m):
            work[z0 + r * ld] = start[b0] + dot(x.data, x0 + r * step, params, layer.w, i)
    elif next_row >= 0 and o > lanes(work):
        product_asking(
            x.data, x0, step, params, w0, ldw, start, b0, work, z0, ld, m, o, i, work, block.panel, rows.x, rows.order,
            next_row,
        )  # fmt: skip
    else:
        product(x.data, x0, step, 1, params, w0, ldw, start, b0, 0, work, z0, ld, m, o, i, work, block.panel)


@kernel(inline=True)
def forward_sparse(layer, params, work, rows, first, block):
    """The first layer on CSR rows: z = b + sum over the row's entries of x_k W[k, :], no densification."""
    o, ld, ldw = layer.fan_out, layer.ld, layer.ldw
    z0 = (layer.a if layer.z < 0 else layer.z) + block.row * ld
    w0, b0 = layer.w, layer.b
    x, indices = rows.x, rows.indices
    for r in range(block.m):
        source = rows.order[first + r] if rows.order.size > 0 else first + r
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


@kernel(inline=True)
def propagate(layer, params, work, block):
    """Error felt by the layer's input: delta W'  (the first half of BP2)."""
    ld, ld_in = layer.ld, layer.ld_in
    d0 = layer.d + block.row * ld
    w0, ldw = (layer.w, layer.ldw) if layer.transposed != 0 else (layer.t, layer.ldt)
    c0 = layer.d_in + block.row * ld_in
    i, o = layer.fan_in, layer.fan_out
    if layer.transposed != 0 and layer.t < 0:
        for r in range(block.m):
            felt = fill(work, work[d0 + r * ld])
            for k in range(0, i, lanes(work)):
                store(work, c0 + r * ld_in + k, felt * load(params, w0 + k))
    else:
        product(
            work,
            d0,
            ld,
            1,
            params,
            w0,
            ldw,
            work,
            ZEROS,
            0,
            work,
            c0,
            ld_in,
            block.m,
            i,
            o,
            work,
            block.panel,
        )


@kernel(inline=True)
def weight_gradients(layer, x, row, work, target, t0, begin, end, m):
    """Rows [begin, end) of dW = x' delta (BP4), or of its transpose if W' is stored, to target[t0:].

    The sum is over m rows, from `row` of the part on; x is a Matrix of the part's.
    """
    ld, ldw = layer.ld, layer.ldw
    d0, x0 = layer.d + row * ld, x.start + row * x.distance
    # One product for both, since it is inlined.
    A, a0, sak, B, b0, ldb, width = x.data, x0, x.distance, work, d0, ld, layer.fan_out
    if layer.transposed != 0:
        A, a0, sak, B, b0, ldb, width = work, d0, ld, x.data, x0, x.distance, layer.fan_in
    product(
        A, a0 + begin, 1, sak, B, b0, ldb, work, ZEROS, 0, target, t0, ldw, end - begin, width, m, work, -1
    )


@kernel
def weight_gradients_sparse(layer, rows, first, row, work, grad, g0, begin, end, m, accumulate):
    """Rows [begin, end) of dW for CSR rows, to grad[g0:]: every entry x_k of a row adds x_k delta to row k.

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
        source = rows.order[first + r] if rows.order.size > 0 else first + r
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
        source = rows.order[first + r] if rows.order.size > 0 else first + r
        rows.cursors[r] = rows.indptr[source]


@kernel(inline=True)
def bias_gradients(layer, row, work, grad, g0, m, accumulate):
    """db = sum over the rows of delta  (BP3), over m rows from `row` of the part on, to grad[g0:]."""
    ld = layer.ld
    d0 = layer.d + row * ld
    for j in range(0, ld, lanes(work)):
        acc = fill(work, 0.0)
        for r in range(m):
            acc = acc + load(work, d0 + r * ld + j)
        if accumulate:
            acc = acc + load(grad, g0 + j)
        store(grad, g0 + j, acc)


@kernel(inline=True)
def transpose_rows(layer, params, begin, end, backward):
    """Bring columns [begin, end) of the copy T up to date with rows [begin, end) of what is stored, if it is read.

    Forward reads it if W' is stored, else the way back (`backward`: it is gone) to a layer below.
    """
    t0 = layer.t
    if t0 < 0 or (layer.transposed == 0 and (not backward or layer.d_in < 0)):
        return
    w0, ldw, ldt = layer.w, layer.ldw, layer.ldt
    side = lanes(params)
    r = begin + (end - begin) // side * side
    transpose_squares(params, w0 + begin * ldw, ldw, params, t0 + begin, ldt, r - begin, ldw)
    columns = layer.fan_in if layer.transposed != 0 else layer.fan_out
    while r < end:
        for c in range(columns):
            params[t0 + c * ldt + r] = params[w0 + r * ldw + c]
        r += 1


@kernel(inline=True)
def stored_rows(layer):
    """Return how many rows the stored orientation has: fan_in, or fan_out if W' is stored."""
    return layer.fan_out if layer.transposed != 0 else layer.fan_in
