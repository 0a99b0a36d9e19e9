"""Layers on weights as others keep them: W (fan_in, fan_out) without padding, read once where it lies.

The layout of a network is made for many rows and many steps. For a few rows of a large network, whose weights somebody
else holds, to bring them into it takes longer than to compute. The numbers are those of dense.py bit for bit, because
every sum has the same order. Rows of x and z lie ldx and ldz apart; those of z are padded to 64 bytes.
"""

import numpy as np

from . import activations
from .machine.jit import entry, kernel
from .machine.simd import fill, fma, lanes, load, load_first, store, total


@kernel(inline=True)
def dot(x, x0, W, count):
    """Return the product of a row and the one column of W."""
    whole = count // lanes(x) * lanes(x)
    acc = fill(x, 0.0)
    for j in range(0, whole, lanes(x)):
        acc = fma(load(x, x0 + j), load(W, j), acc)
    if whole < count:
        rest = count - whole
        acc = fma(load_first(x, x0 + whole, rest), load_first(W, whole, rest), acc)
    return total(acc)


@kernel(inline=True)
def begin(b, z, z0):
    """z = b."""
    for j in range(0, b.size, lanes(z)):
        store(z, z0 + j, load_first(b, j, b.size - j))


@kernel(inline=True)
def add_rows(x, x0, W, z, z0, i, o):
    """z = z + x W for one row, along the rows of W, four at a time: z stays in the nearest cache."""
    whole = o // lanes(z) * lanes(z)
    rest = o - whole
    k = 0
    while k + 4 <= i:
        w = k * o
        x1, x2 = fill(z, x[x0 + k]), fill(z, x[x0 + k + 1])
        x3, x4 = fill(z, x[x0 + k + 2]), fill(z, x[x0 + k + 3])
        for j in range(0, whole, lanes(z)):
            acc = fma(x1, load(W, w + j), load(z, z0 + j))
            acc = fma(x2, load(W, w + o + j), acc)
            acc = fma(x3, load(W, w + 2 * o + j), acc)
            acc = fma(x4, load(W, w + 3 * o + j), acc)
            store(z, z0 + j, acc)
        if rest > 0:
            w += whole
            acc = fma(x1, load_first(W, w, rest), load(z, z0 + whole))
            acc = fma(x2, load_first(W, w + o, rest), acc)
            acc = fma(x3, load_first(W, w + 2 * o, rest), acc)
            acc = fma(x4, load_first(W, w + 3 * o, rest), acc)
            store(z, z0 + whole, acc)
        k += 4
    while k < i:
        x1 = fill(z, x[x0 + k])
        for j in range(0, o, lanes(z)):
            store(z, z0 + j, fma(x1, load_first(W, k * o + j, o - j), load(z, z0 + j)))
        k += 1


@entry
def forward(x, ldx, W, b, alone, activation, z, ldz, m):
    """z = f(x W + b) on m rows.

    If `alone`, one output is summed as `dense.dot` does it, else in the order of k as the tiles do.
    """
    i, o = W.size // b.size, b.size
    for r in range(m):
        if alone:
            z[r * ldz] = b[0] + dot(x, r * ldx, W, i)
        else:
            begin(b, z, r * ldz)
            add_rows(x, r * ldx, W, z, r * ldz, i, o)
    if activation != 0:
        activations.forward(activation, z, 0, 0, m * ldz, False)


@entry
def forward_sparse(x, indices, indptr, W, b, narrow, activation, z, ldz, m):
    """z = f(x W + b) on m CSR rows: only those rows of W are read that have an entry.

    A `narrow` layer, of which the engine stores W', is summed there output by output, in float64.
    """
    o = b.size
    for r in range(m):
        z0 = r * ldz
        if narrow:
            for j in range(o):
                acc = np.float64(b[j])
                for k in range(indptr[r], indptr[r + 1]):
                    acc += x[k] * W[indices[k] * o + j]
                z[z0 + j] = acc
        else:
            begin(b, z, z0)
            for k in range(indptr[r], indptr[r + 1]):
                w = indices[k] * o
                for j in range(0, o, lanes(z)):
                    store(z, z0 + j, load(z, z0 + j) + load_first(W, w + j, o - j) * x[k])
    if activation != 0:
        activations.forward(activation, z, 0, 0, m * ldz, False)
