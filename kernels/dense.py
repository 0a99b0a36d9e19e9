"""One dense layer on a block of rows. Shapes: x (n, i), W (i, o), b (o,), z, a, delta (n, o), rows padded to 64 bytes.

Equations as in Nielsen (2015), ch. 2, for row batches; BP1 is in losses.py. Reference: fastbp/reference.py. `layer` is
the layer's record (plan.py): it says where in `params` and `work` everything lies.
"""

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
