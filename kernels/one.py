"""One row at a time: matrix-vector products, and a stochastic step in which each weight is read once.

A single row gives a register tile nothing to reuse; here a layer's forward pass is one sweep over its weights, and
backward and update are one more: row k of W takes part in delta W' and is then moved by -lr x_k delta (BP2 and BP4 with
plain SGD). Neither needs a transposed copy. Memory is on the stack of the caller, so these run in any number of
threads.
"""

from . import activations, dense, losses
from .dense import dot
from .machine.jit import kernel
from .machine.simd import fill, fma, lanes, load, store
from .machine.tile import tile_1_1, tile_1_2, tile_1_4
from .plan import (
    A_IN,
    ACTIVATION,
    D_IN,
    FAN_IN,
    FAN_OUT,
    HEADER,
    LD,
    LDW,
    LOSS,
    N_LAYERS,
    RECORD,
    TRANSPOSED,
    A,
    B,
    D,
    W,
    Z,
)


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


@kernel
def forward(plan, at, params, work):
    """z = x W + b, a = f(z) for the row in the workspace."""
    z0 = plan[at + A] if plan[at + Z] < 0 else plan[at + Z]
    x0, w0, ldw, b0 = plan[at + A_IN], plan[at + W], plan[at + LDW], plan[at + B]
    i, o = plan[at + FAN_IN], plan[at + FAN_OUT]
    if plan[at + TRANSPOSED] != 0:
        for j in range(o):
            z = dot(work, x0, params, w0 + j * ldw, i)
            work[z0 + j] = z + params[b0 + j] if b0 >= 0 else z
    elif b0 >= 0:
        row_times_rows(work, x0, params, w0, ldw, params, b0, work, z0, o, i)
    else:
        row_times_rows(work, x0, params, w0, ldw, work, 0, work, z0, o, i)
    if plan[at + ACTIVATION] != 0:
        dense.activate(plan, at, work, 0, 1)


@kernel
def step(plan, at, params, work, lr):
    """delta of the layer below (before its f'), and this layer's weights and bias moved by -lr times their gradient."""
    x0, d0, w0, ldw = plan[at + A_IN], plan[at + D], plan[at + W], plan[at + LDW]
    i, o, below, b0 = plan[at + FAN_IN], plan[at + FAN_OUT], plan[at + D_IN], plan[at + B]
    if plan[at + TRANSPOSED] != 0:
        if below >= 0:
            row_times_rows(work, d0, params, w0, ldw, work, 0, work, below, i, o)
        for j in range(o):
            move = fill(work, work[d0 + j] * -lr)
            for k in range(0, i, lanes(work)):
                store(params, w0 + j * ldw + k, fma(load(work, x0 + k), move, load(params, w0 + j * ldw + k)))
    else:
        for k in range(i):
            row = w0 + k * ldw
            move = fill(work, work[x0 + k] * -lr)
            if below >= 0:
                work[below + k] = dot(work, d0, params, row, o)
            for j in range(0, o, lanes(work)):
                store(params, row + j, fma(load(work, d0 + j), move, load(params, row + j)))
    if b0 >= 0:
        for j in range(0, plan[at + LD], lanes(work)):
            store(params, b0 + j, fma(load(work, d0 + j), fill(work, -lr), load(params, b0 + j)))


@kernel
def propagate(plan, at, params, work):
    """Error felt by the layer's input, delta W', for the row in the workspace."""
    d0, w0, ldw, below = plan[at + D], plan[at + W], plan[at + LDW], plan[at + D_IN]
    i, o = plan[at + FAN_IN], plan[at + FAN_OUT]
    if plan[at + TRANSPOSED] != 0:
        row_times_rows(work, d0, params, w0, ldw, work, 0, work, below, i, o)
    else:
        for k in range(i):
            work[below + k] = dot(work, d0, params, w0 + k * ldw, o)


@kernel
def derive(plan, at, work):
    """delta = delta * f'(z) for the row in the workspace."""
    code = plan[at + ACTIVATION]
    if code != 0:
        a0 = plan[at + A]
        z0 = a0 if plan[at + Z] < 0 else plan[at + Z]
        activations.backward(code, work, z0, work, a0, work, plan[at + D], plan[at + LD], 1.0)


@kernel
def error(plan, hyper, work, weight, value):
    """value[0] = the loss of the row, whose targets in the output's delta buffer turn into delta."""
    top = HEADER + (plan[N_LAYERS] - 1) * RECORD
    ld = plan[top + LD]
    losses.evaluate_each(
        plan[LOSS],
        hyper,
        work,
        plan[top + A],
        ld,
        work,
        plan[top + D],
        ld,
        1,
        plan[top + FAN_OUT],
        weight,
        1.0,
        value,
    )
    derive(plan, top, work)


@kernel
def train_row(plan, hyper, params, work, weight, value, lr):
    """Forward, backward and update for the row and the targets in the workspace; value[0] is the loss before."""
    for layer in range(plan[N_LAYERS]):
        forward(plan, HEADER + layer * RECORD, params, work)
    error(plan, hyper, work, weight, value)
    for down in range(plan[N_LAYERS]):
        at = HEADER + (plan[N_LAYERS] - 1 - down) * RECORD
        step(plan, at, params, work, lr)
        if plan[at + D_IN] >= 0 and at > HEADER:
            derive(plan, at - RECORD, work)
