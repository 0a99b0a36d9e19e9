"""Losses: the value of a row and delta = dC/da of the output, one entry each.

A loss is two functions of prediction p, target y and a parameter; rows are weighted, scaled and summed in one pass that
writes delta over the targets. binary_cross_entropy and cross_entropy take logits: with sigmoid and softmax as their own
last step both deltas are p - y (Nielsen 2015, ch. 3). poisson takes the logarithm of the rate, as
torch.nn.PoissonNLLLoss. Reference: LOSSES in fastbp/reference.py.
"""

import math

from .elementary import exp, log, sigmoid, softplus, tanh
from .machine.foreign import judge
from .machine.jit import kernel
from .machine.lanes import absolute, copysign, equal, select
from .machine.loops import score_by_code, score_by_lane
from .machine.simd import fill, first, lanes, largest, load, scratch, store, total, traced
from .machine.simd import select as choose
from .machine.squares import transpose_squares

LN2 = 0.6931471805599453


def squared_value(p, y, c, full):
    """(p - y)^2."""
    return (p - y) * (p - y)


def squared_slope(p, y, c):
    """2 (p - y)."""
    return (p - y) * 2.0


def half_squared_value(p, y, c, full):
    """(p - y)^2 / 2: the first seed's E."""
    return (p - y) * (p - y) * 0.5


def half_squared_slope(p, y, c):
    """Prediction minus target, p - y."""
    return p - y


def absolute_value(p, y, c, full):
    """|p - y|."""
    return absolute(p - y)


def absolute_slope(p, y, c):
    """Sign of p - y, 0 at 0."""
    e = p - y
    return select(equal(e, 0.0), e, copysign(e * 0.0 + 1.0, e))


def huber_value(p, y, c, full):
    """e^2 / 2 for |e| <= c, c (|e| - c / 2) beyond; Huber (1964)."""
    e = absolute(p - y)
    return select(e > c, (e - c * 0.5) * c, e * e * 0.5)


def huber_slope(p, y, c):
    """e cut to [-c, c]."""
    e = p - y
    return select(e > c, c, select(e < -c, -c, e))


def log_cosh_value(p, y, c, full):
    """log cosh e = |e| + log((1 + e^-2|e|) / 2), as softplus(-2|e|) + |e| - log 2."""
    e = absolute(p - y)
    return softplus(e * -2.0) + e - LN2


def log_cosh_slope(p, y, c):
    """tanh(p - y)."""
    return tanh(p - y)


def quantile_value(p, y, c, full):
    """max(c (y - p), (c - 1) (y - p)); Koenker and Bassett (1978)."""
    e = y - p
    return select(e < 0.0, e * (c - 1.0), e * c)


def quantile_slope(p, y, c):
    """-c below the target, 1 - c above it, 0 on it."""
    e = y - p
    return select(e < 0.0, e * 0.0 + (1.0 - c), select(e > 0.0, -c, e))


def poisson_value(p, y, c, full):
    """e^p - y p; `full` adds y log y - y, the deviance's constant."""
    value = exp(p) - y * p
    constant = select(equal(y, 0.0), 0.0, y * log(y) - y)
    return value + constant * full


def poisson_slope(p, y, c):
    """e^p - y."""
    return exp(p) - y


def binary_value(p, y, c, full):
    """y softplus(-p) + (1 - y) softplus(p): bounds on both terms are applied by the caller."""
    return softplus(select(y > 0.5, -p, p)) + select(y > 0.5, (1.0 - y) * p, y * -p)


def binary_slope(p, y, c):
    """sigmoid(p) - y."""
    return sigmoid(p) - y


# name: (value, slope); cross_entropy couples the outputs of a row and has a kernel of its own.
TABLE = {
    "mse": (squared_value, squared_slope),
    "half_squared_error": (half_squared_value, half_squared_slope),
    "mae": (absolute_value, absolute_slope),
    "huber": (huber_value, huber_slope),
    "log_cosh": (log_cosh_value, log_cosh_slope),
    "quantile": (quantile_value, quantile_slope),
    "poisson": (poisson_value, poisson_slope),
    "binary_cross_entropy": (binary_value, binary_slope),
    "cross_entropy": None,
}
CODES = {name: code for code, name in enumerate(TABLE)}
CROSS_ENTROPY = CODES["cross_entropy"]
# No loss: the caller has computed dC/da and passes it in the place of the targets. The values are the caller's, too.
GIVEN = len(TABLE)
# A loss of the user's, compiled by Numba (machine/foreign.py).
FOREIGN = GIVEN + 1
# score(code, work, p0, y0, ld, m, o, weights, values, settings): see machine/loops.py.
_PAIRS = {CODES[name]: pair for name, pair in TABLE.items() if pair}
score = score_by_code(_PAIRS)
# score_lanes(code, work, p0, y0, count, s0, settings): a model per lane.
score_lanes = score_by_lane(_PAIRS)

_exp = traced(exp)
_log = traced(log)
_equal = traced(equal, mask=True)


# Outputs in so many vectors at most are turned; of more, a row keeps its vectors busy by itself.
TURNED_VECTORS = 4


@kernel
def turn(S, s0, lds, count, span, edge, turned):
    """turned[j, r] = S[r, j] for r < count, zeros for the rows that are missing to a square."""
    side = lanes(S)
    if count == side:
        transpose_squares(S, s0, lds, turned, 0, side, side, span)
        return
    for r in range(side):
        for j in range(0, span, side):
            store(edge, r * span + j, load(S, s0 + r * lds + j) if r < count else fill(S, 0.0))
    transpose_squares(edge, 0, span, turned, 0, side, side, span)


@kernel
def turn_back(turned, count, span, edge, D, d0, ldd):
    """D[r, j] = turned[j, r] for r < count."""
    side = lanes(D)
    if count == side:
        transpose_squares(turned, 0, side, D, d0, ldd, span, side)
        return
    transpose_squares(turned, 0, side, edge, 0, span, span, side)
    for r in range(count):
        for j in range(0, span, side):
            store(D, d0 + r * ldd + j, load(edge, r * span + j))


@kernel
def cross_entropy_turned(plan, work, p0, y0, ld, m, weights, scale, values):
    """`cross_entropy` for few outputs, a vector holding one output of many rows: no lane idle, no sum across lanes.

    A row is computed alike whatever rows it is among. With 7 classes 13.9 us per 256 rows become 3.3.
    """
    side, o = lanes(work), plan.n_out
    span = (o + side - 1) // side * side
    edge = scratch(work, side * span)
    p_turned = scratch(work, side * span)
    y_turned = scratch(work, side * span)
    d_turned = scratch(work, side * span)
    row = scratch(work, side)
    low = fill(work, plan.low)
    high = fill(work, plan.high)
    for r in range(0, m, side):
        count = min(side, m - r)
        turn(work, p0 + r * ld, ld, count, span, edge, p_turned)
        turn(work, y0 + r * ld, ld, count, span, edge, y_turned)
        for k in range(side):
            row[k] = weights[r + k] * scale * plan.slope_scale if k < count else 0.0
        factor = load(row, 0)
        top = load(p_turned, 0)
        for j in range(1, o):
            p = load(p_turned, j * side)
            top = choose(p > top, p, top)
        mass = fill(work, 0.0)
        target = fill(work, 0.0)
        for j in range(o):
            e = _exp(load(p_turned, j * side) - top)
            store(d_turned, j * side, e)
            mass = mass + e
            target = target + load(y_turned, j * side)
        logarithm = _log(mass) + top
        acc = fill(work, 0.0)
        for j in range(o):
            y = load(y_turned, j * side)
            v = logarithm - load(p_turned, j * side)
            v = choose(v < low, low, choose(v > high, high, v))
            acc = acc + choose(_equal(y, 0.0), 0.0, v * y)
            probability = load(d_turned, j * side) / mass
            store(d_turned, j * side, (probability * target - y) * factor)
        for j in range(o, span):
            store(d_turned, j * side, fill(work, 0.0))
        turn_back(d_turned, count, span, edge, work, y0 + r * ld, ld)
        store(row, 0, acc)
        for k in range(count):
            values[r + k] = weights[r + k] * row[k] * plan.value_scale


@kernel
def cross_entropy(plan, work, p0, y0, ld, m, weights, scale, values):
    """values[r] = -w sum_j y log softmax(p); y = w scale (softmax(p) sum_j y - y)."""
    o = plan.n_out
    low = fill(work, plan.low)
    high = fill(work, plan.high)
    for r in range(m):
        w = weights[r]
        factor = w * scale * plan.slope_scale
        top = fill(work, -math.inf)
        for j in range(0, o, lanes(work)):
            p = choose(first(work, o - j), load(work, p0 + r * ld + j), -math.inf)
            top = choose(p > top, p, top)
        peak = fill(work, largest(top))
        mass = fill(work, 0.0)
        targets = fill(work, 0.0)
        for j in range(0, o, lanes(work)):
            inside = first(work, o - j)
            e = choose(inside, _exp(load(work, p0 + r * ld + j) - peak), 0.0)
            mass = mass + e
            targets = targets + load(work, y0 + r * ld + j)
        whole = fill(work, total(mass))
        logarithm = _log(whole) + peak
        target = fill(work, total(targets))
        acc = 0.0
        for j in range(0, o, lanes(work)):
            inside = first(work, o - j)
            p = load(work, p0 + r * ld + j)
            y = load(work, y0 + r * ld + j)
            v = logarithm - p
            v = choose(v < low, low, choose(v > high, high, v))
            acc += total(choose(_equal(y, 0.0), 0.0, v * y))
            probability = _exp(p - peak) / whole
            store(work, y0 + r * ld + j, choose(inside, (probability * target - y) * factor, 0.0))
        values[r] = w * acc * plan.value_scale


@kernel
def evaluate_each(plan, work, p0, y0, ld, m, weights, scale, values):
    """`evaluate`, row by row: what a row that never comes in company needs, and rows of many outputs."""
    if plan.loss == CROSS_ENTROPY:
        cross_entropy(plan, work, p0, y0, ld, m, weights, scale, values)
        return 0
    if plan.loss == GIVEN:
        for r in range(m):
            values[r] = 0.0
        return 0
    if plan.loss == FOREIGN:
        return judge(plan.judge, work, p0, y0, ld, m, plan.n_out, weights, values, scale)
    factor = scale * plan.slope_scale
    settings = (factor, plan.value_scale, plan.parameter, plan.full, plan.low, plan.high)
    score(plan.loss, work, p0, y0, ld, m, plan.n_out, weights, values, settings)
    return 0


@kernel(inline=True)
def evaluate(plan, work, p0, y0, ld, m, weights, scale, values):
    """Value and delta of m rows: values, weighted, and y, the padded targets, turns into delta = dC/da.

    Rows of predictions begin at work[p0], those of targets at work[y0], both ld apart. Returns 0, or 1 if a loss of the
    user's has failed.
    """
    if plan.loss == CROSS_ENTROPY and plan.n_out <= TURNED_VECTORS * lanes(work):
        cross_entropy_turned(plan, work, p0, y0, ld, m, weights, scale, values)
        return 0
    return evaluate_each(plan, work, p0, y0, ld, m, weights, scale, values)


@kernel
def cross_entropy_lanes(plan, work, p0, y0, m, s0, factor):
    """`cross_entropy` of many models, a model per lane: work[s0:] += -sum_j y log softmax(p), y = factor (...)."""
    o, side = plan.n_out, lanes(work)
    low, high = fill(work, plan.low), fill(work, plan.high)
    acc = load(work, s0)
    for r in range(m):
        p_row, y_row = p0 + r * o * side, y0 + r * o * side
        top = load(work, p_row)
        for j in range(1, o):
            p = load(work, p_row + j * side)
            top = choose(p > top, p, top)
        mass = fill(work, 0.0)
        target = fill(work, 0.0)
        for j in range(o):
            mass = mass + _exp(load(work, p_row + j * side) - top)
            target = target + load(work, y_row + j * side)
        logarithm = _log(mass) + top
        for j in range(o):
            p, y = load(work, p_row + j * side), load(work, y_row + j * side)
            v = logarithm - p
            v = choose(v < low, low, choose(v > high, high, v))
            acc = acc + choose(_equal(y, 0.0), 0.0, v * y) * plan.value_scale
            store(work, y_row + j * side, (_exp(p - top) / mass * target - y) * factor)
    store(work, s0, acc)


@kernel
def evaluate_lanes(plan, work, p0, y0, m, s0, scale):
    """Value and delta of m rows of many models, a model per lane: see `evaluate`.

    work[s0:] gains the sum of the values; predictions and targets of a row lie side by side, a vector for each output.
    """
    factor = scale * plan.slope_scale
    if plan.loss == CROSS_ENTROPY:
        cross_entropy_lanes(plan, work, p0, y0, m, s0, factor)
        return
    settings = (factor, plan.value_scale, plan.parameter, plan.full, plan.low, plan.high)
    score_lanes(plan.loss, work, p0, y0, m * plan.n_out * lanes(work), s0, settings)
