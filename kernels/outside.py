"""Between the gradient of a step and its update: a gradient for the user's own hands, and the update from one.

    penalize    grad = grad + l1 sign(theta) + l2 theta
    apply       theta = what the optimizer makes of theta and such a gradient, clipped to its largest norm

The operations are those of weights.py in their order, so that both together have the bits of a step. Reference:
`penalty`, `clip_by_global_norm` and RULES in fastbp/reference.py.
"""

import numpy as np

from . import dense, optimizers
from .machine.jit import entry
from .plan import COEFFICIENTS, HEADER, PLAN, RECORD, layer_of, network_at, numbers_at, totals_at
from .tuples import Net
from .weights import piece_of, shortening


@entry
def penalize(job, params, grad, mass):
    """Add the penalties' part to the gradient of a batch whose rows weigh `mass`; return the value of the penalties."""
    plan = network_at(job, PLAN)
    cost = 0.0
    for k in range(plan.n_layers):
        layer = layer_of(plan, k)
        l1, l2 = layer.l1, layer.l2 + plan.l2_per_row / mass
        if l1 != 0.0 or l2 != 0.0:
            start, stop = layer.w, layer.w + dense.stored_rows(layer) * layer.ldw
            cost += optimizers.penalty(params, start, stop, l1, l2)
            optimizers.penalize(params, grad, start, stop, l1, l2)
    return cost


@entry
def apply(job, params, grad, state, rate):
    """One step of the job's optimizer with the whole gradient, which has the penalties' part already."""
    plan = network_at(job, PLAN)
    end = PLAN + HEADER + plan.n_layers * RECORD
    coefficients = numbers_at(job, end + COEFFICIENTS, optimizers.N_COEFFICIENTS)
    totals = totals_at(job, end)
    t = np.int64(totals.steps) + 1
    totals.product = optimizers.coefficients(plan, rate, t, totals.product, coefficients)
    scale = 1.0
    if plan.clipped != 0:
        # Block by block, as phase 2 does it.
        net = Net(plan, params, grad, state, grad)
        square = 0.0
        for number in range(plan.n_blocks):
            piece = piece_of(net, number, 0, 1)
            own = optimizers.norm_squared(params, grad, piece.start, piece.stop, 0.0, 0.0)
            if piece.biased:
                b0 = piece.layer.b
                own += optimizers.norm_squared(params, grad, b0, b0 + piece.layer.ld, 0.0, 0.0)
            square += own
        scale = shortening(net, square)
    optimizers.update(plan, coefficients, params, grad, 0, state, 0, plan.n_params, 0.0, 0.0, scale)
    totals.steps = t
