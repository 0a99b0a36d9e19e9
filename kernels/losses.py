"""Losses: the value of a row and delta = dC/da of the output, one entry each.

A loss is two functions of prediction p, target y and a parameter; rows are weighted, scaled and summed in one pass that
writes delta over the targets. binary_cross_entropy and cross_entropy take logits: with sigmoid and softmax as their own
last step both deltas are p - y (Nielsen 2015, ch. 3). poisson takes the logarithm of the rate, as
torch.nn.PoissonNLLLoss. Reference: LOSSES in fastbp/reference.py.
"""

import math

from llvmlite import ir
from numba.core import cgutils, types

from .elementary import exp, log, sigmoid, softplus, tanh
from .machine.jit import kernel
from .machine.lanes import Lanes, absolute, copysign, equal, select, splat, total
from .machine.loops import dispatch, vector_loop
from .machine.simd import (
    checked_pointer,
    fill,
    fill_twin,
    first,
    first_lanes,
    first_twin,
    lanes,
    lanes_of,
    largest,
    load,
    load_at,
    load_twin,
    operation,
    scratch,
    store,
    store_at,
    store_twin,
    traced,
    vector_of,
)
from .machine.simd import select as choose
from .machine.simd import total as sum_lanes
from .machine.squares import transpose_squares
from .plan import FULL, HIGH, LOW, PARAMETER, SLOPE_SCALE, VALUE_SCALE

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
_PAIRS = {CODES[name]: pair for name, pair in TABLE.items() if pair}


def _rows_twin(
    code, P, p0, ldp, Y, y0, ldy, m, o, weights, factor, value_scale, parameter, full, low, high, row_values
):
    value, slope = _PAIRS[code]
    c, full, low, high = (fill_twin(P, v) for v in (parameter, full, low, high))
    for r in range(m):
        scale = P.dtype.type(weights[r] * factor)
        acc = 0.0
        for j in range(0, o, lanes_of(P)):
            place = y0 + r * ldy + j
            p, y, inside = load_twin(P, p0 + r * ldp + j), load_twin(Y, place), first_twin(P, o - j)
            v = value(p, y, c, full)
            v = select(v < low, low, select(v > high, high, v))
            acc += float(total(select(inside, v, 0.0)))
            store_twin(Y, place, select(inside, slope(p, y, c) * scale, 0.0))
        row_values[r] = weights[r] * acc * value_scale


@operation(twin=_rows_twin)
def rows(
    typingctx,
    code,
    P,
    p0,
    ldp,
    Y,
    y0,
    ldy,
    m,
    o,
    weights,
    factor,
    value_scale,
    parameter,
    full,
    low,
    high,
    row_values,
):
    """rows(code, P, p0, ldp, Y, y0, ldy, m, o, weights, factor, value_scale, parameter, full, low, high, row_values).

    row_values[r] = w value_scale sum_j value, each value kept in [low, high]; Y, the targets, becomes w factor slope.
    Lanes beyond o count nothing and become 0. The branch is taken once for all rows.
    """
    width = vector_of(P.dtype).lanes

    def codegen(context, builder, sig, args):
        code, P, p0, ldp, Y, y0, ldy, m, o, weights, factor, value_scale, *numbers, row_values = args
        dtype = sig.args[1].dtype
        word = lambda n: ir.Constant(o.type, n)  # noqa: E731
        span = builder.and_(builder.add(o, word(width - 1)), word(-width))
        last = builder.sub(m, word(1))
        p_base = checked_pointer(
            context, builder, sig.args[1], P, p0, builder.add(builder.mul(last, ldp), span)
        )
        y_base = checked_pointer(
            context, builder, sig.args[4], Y, y0, builder.add(builder.mul(last, ldy), span)
        )
        weight_base = checked_pointer(context, builder, sig.args[9], weights, word(0), m)
        value_base = checked_pointer(context, builder, sig.args[16], row_values, word(0), m)

        def spread(value):
            return Lanes(builder, splat(builder, context.cast(builder, value, types.float64, dtype), width))

        c, full, low, high = (spread(v) for v in numbers)
        acc = cgutils.alloca_once(builder, value_scale.type)

        def body(pair):
            value, slope = pair
            with vector_loop(builder, word(0), m, 1) as (r, _):
                weight = builder.load(builder.gep(weight_base, [r]))
                scale = spread(builder.fmul(weight, factor))
                p_row, y_row = builder.mul(r, ldp), builder.mul(r, ldy)
                builder.store(ir.Constant(value_scale.type, 0.0), acc)
                with vector_loop(builder, word(0), o, width) as (j, _):
                    p = load_at(builder, builder.gep(p_base, [builder.add(p_row, j)]), width)
                    place = builder.gep(y_base, [builder.add(y_row, j)])
                    y = load_at(builder, place, width)
                    inside = first_lanes(builder, builder.sub(o, j), width)
                    v = value(p, y, c, full)
                    v = select(v < low, low, select(v > high, high, v))
                    part = context.cast(builder, total(select(inside, v, 0.0)), dtype, types.float64)
                    builder.store(builder.fadd(builder.load(acc), part), acc)
                    store_at(builder, place, select(inside, slope(p, y, c) * scale, 0.0))
                weighted = builder.fmul(weight, builder.fmul(builder.load(acc), value_scale))
                builder.store(weighted, builder.gep(value_base, [r]))

        dispatch(builder, code, {number: (body, pair) for number, pair in _PAIRS.items()})
        return context.get_dummy_value()

    p, f = types.intp, types.float64
    return types.void(p, P, p, p, Y, p, p, p, p, weights, f, f, f, f, f, f, row_values), codegen


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
def cross_entropy_turned(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, scale, row_values):
    """`cross_entropy` for few outputs, a vector holding one output of many rows: no lane idle, no sum across lanes.

    A row is computed alike whatever rows it is among. With 7 classes 13.9 us per 256 rows become 3.3.
    """
    side = lanes(P)
    span = (o + side - 1) // side * side
    edge = scratch(P, side * span)
    p_turned = scratch(P, side * span)
    y_turned = scratch(P, side * span)
    d_turned = scratch(P, side * span)
    row = scratch(P, side)
    low = fill(P, hyper[LOW])
    high = fill(P, hyper[HIGH])
    for r in range(0, m, side):
        count = min(side, m - r)
        turn(P, p0 + r * ldp, ldp, count, span, edge, p_turned)
        turn(Y, y0 + r * ldy, ldy, count, span, edge, y_turned)
        for k in range(side):
            row[k] = weights[r + k] * scale * hyper[SLOPE_SCALE] if k < count else 0.0
        factor = load(row, 0)
        top = load(p_turned, 0)
        for j in range(1, o):
            p = load(p_turned, j * side)
            top = choose(p > top, p, top)
        mass = fill(P, 0.0)
        target = fill(P, 0.0)
        for j in range(o):
            e = _exp(load(p_turned, j * side) - top)
            store(d_turned, j * side, e)
            mass = mass + e
            target = target + load(y_turned, j * side)
        logarithm = _log(mass) + top
        acc = fill(P, 0.0)
        for j in range(o):
            y = load(y_turned, j * side)
            v = logarithm - load(p_turned, j * side)
            v = choose(v < low, low, choose(v > high, high, v))
            acc = acc + choose(_equal(y, 0.0), 0.0, v * y)
            probability = load(d_turned, j * side) / mass
            store(d_turned, j * side, (probability * target - y) * factor)
        for j in range(o, span):
            store(d_turned, j * side, fill(P, 0.0))
        turn_back(d_turned, count, span, edge, Y, y0 + r * ldy, ldy)
        store(row, 0, acc)
        for k in range(count):
            row_values[r + k] = weights[r + k] * row[k] * hyper[VALUE_SCALE]


@kernel
def cross_entropy(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, scale, row_values):
    """row_values[r] = -w sum_j y log softmax(p); Y[r] = w scale (softmax(p) sum_j y - y)."""
    low = fill(P, hyper[LOW])
    high = fill(P, hyper[HIGH])
    for r in range(m):
        w = weights[r]
        factor = w * scale * hyper[SLOPE_SCALE]
        top = fill(P, -math.inf)
        for j in range(0, o, lanes(P)):
            p = choose(first(P, o - j), load(P, p0 + r * ldp + j), -math.inf)
            top = choose(p > top, p, top)
        peak = fill(P, largest(top))
        mass = fill(P, 0.0)
        targets = fill(P, 0.0)
        for j in range(0, o, lanes(P)):
            inside = first(P, o - j)
            e = choose(inside, _exp(load(P, p0 + r * ldp + j) - peak), 0.0)
            mass = mass + e
            targets = targets + load(Y, y0 + r * ldy + j)
        whole = fill(P, sum_lanes(mass))
        logarithm = _log(whole) + peak
        target = fill(P, sum_lanes(targets))
        acc = 0.0
        for j in range(0, o, lanes(P)):
            inside = first(P, o - j)
            p = load(P, p0 + r * ldp + j)
            y = load(Y, y0 + r * ldy + j)
            v = logarithm - p
            v = choose(v < low, low, choose(v > high, high, v))
            acc += sum_lanes(choose(_equal(y, 0.0), 0.0, v * y))
            probability = _exp(p - peak) / whole
            store(Y, y0 + r * ldy + j, choose(inside, (probability * target - y) * factor, 0.0))
        row_values[r] = w * acc * hyper[VALUE_SCALE]


@kernel
def evaluate_each(code, hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, scale, row_values):
    """`evaluate`, row by row: what a row that never comes in company needs, and rows of many outputs."""
    if code == CROSS_ENTROPY:
        cross_entropy(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, scale, row_values)
        return
    rows(
        code,
        P,
        p0,
        ldp,
        Y,
        y0,
        ldy,
        m,
        o,
        weights,
        scale * hyper[SLOPE_SCALE],
        hyper[VALUE_SCALE],
        hyper[PARAMETER],
        hyper[FULL],
        hyper[LOW],
        hyper[HIGH],
        row_values,
    )


@kernel
def evaluate(code, hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, scale, row_values):
    """Value and delta of m rows: row_values, weighted, and Y, the padded targets, turns into delta = dC/da."""
    if code == CROSS_ENTROPY and o <= TURNED_VECTORS * lanes(P):
        cross_entropy_turned(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, scale, row_values)
    else:
        evaluate_each(code, hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, scale, row_values)
