"""Losses: the value of a row and delta = dC/da of the output, one entry each.

A loss is two functions of prediction p, target y and a parameter; rows are weighted, scaled and summed in one pass that
writes delta over the targets. binary_cross_entropy and cross_entropy take logits: with sigmoid and softmax as their own
last step both deltas are p - y (Nielsen 2015, ch. 3). poisson takes the logarithm of the rate, as
torch.nn.PoissonNLLLoss. Reference: LOSSES in fastbp/reference.py.
"""

import math

from .elementary import exp, log, sigmoid, softplus, tanh
from .jit import kernel
from .plan import FULL, HIGH, LOW, PARAMETER, SLOPE_SCALE, VALUE_SCALE
from .simd import absolute, copysign, fill, first, lanes, largest, load, select, store, total

LN2 = 0.6931471805599453


@kernel(inline=True)
def squared_value(p, y, c, full):
    """(p - y)^2."""
    return (p - y) * (p - y)


@kernel(inline=True)
def squared_slope(p, y, c):
    """2 (p - y)."""
    return (p - y) * 2.0


@kernel(inline=True)
def half_squared_value(p, y, c, full):
    """(p - y)^2 / 2: the first seed's E."""
    return (p - y) * (p - y) * 0.5


@kernel(inline=True)
def half_squared_slope(p, y, c):
    """Prediction minus target, p - y."""
    return p - y


@kernel(inline=True)
def absolute_value(p, y, c, full):
    """|p - y|."""
    return absolute(p - y)


@kernel(inline=True)
def absolute_slope(p, y, c):
    """Sign of p - y, 0 at 0."""
    e = p - y
    return select(e == 0.0, e, copysign(e * 0.0 + 1.0, e))


@kernel(inline=True)
def huber_value(p, y, c, full):
    """e^2 / 2 for |e| <= c, c (|e| - c / 2) beyond; Huber (1964)."""
    e = absolute(p - y)
    return select(e > c, (e - c * 0.5) * c, e * e * 0.5)


@kernel(inline=True)
def huber_slope(p, y, c):
    """e cut to [-c, c]."""
    e = p - y
    return select(e > c, c, select(e < -c, -c, e))


@kernel(inline=True)
def log_cosh_value(p, y, c, full):
    """log cosh e = |e| + log((1 + e^-2|e|) / 2), as softplus(-2|e|) + |e| - log 2."""
    e = absolute(p - y)
    return softplus(e * -2.0) + e - LN2


@kernel(inline=True)
def log_cosh_slope(p, y, c):
    """tanh(p - y)."""
    return tanh(p - y)


@kernel(inline=True)
def quantile_value(p, y, c, full):
    """max(c (y - p), (c - 1) (y - p)); Koenker and Bassett (1978)."""
    e = y - p
    return select(e < 0.0, e * (c - 1.0), e * c)


@kernel(inline=True)
def quantile_slope(p, y, c):
    """-c below the target, 1 - c above it, 0 on it."""
    e = y - p
    return select(e == 0.0, e, select(e < 0.0, e * 0.0 + (1.0 - c), -c))


@kernel(inline=True)
def poisson_value(p, y, c, full):
    """e^p - y p; `full` adds y log y - y, the deviance's constant."""
    value = exp(p) - y * p
    constant = select(y == 0.0, 0.0, y * log(y) - y)
    return value + constant * full


@kernel(inline=True)
def poisson_slope(p, y, c):
    """e^p - y."""
    return exp(p) - y


@kernel(inline=True)
def binary_value(p, y, c, full):
    """y softplus(-p) + (1 - y) softplus(p): bounds on both terms are applied by the caller."""
    return softplus(select(y > 0.5, -p, p)) + select(y > 0.5, (1.0 - y) * p, y * -p)


@kernel(inline=True)
def binary_slope(p, y, c):
    """sigmoid(p) - y."""
    return sigmoid(p) - y


def _rows_loop(value, slope):
    @kernel
    def loop(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, weight0, scale, row_values):
        """row_values[r] = w sum_j value; Y[r] = w scale slope, for m rows; returns nothing."""
        c = fill(P, hyper[PARAMETER])
        full = fill(P, hyper[FULL])
        low = fill(P, hyper[LOW])
        high = fill(P, hyper[HIGH])
        for r in range(m):
            w = weights[weight0 + r]
            factor = w * scale * hyper[SLOPE_SCALE]
            acc = 0.0
            for j in range(0, o, lanes(P)):
                p = load(P, p0 + r * ldp + j)
                y = load(Y, y0 + r * ldy + j)
                inside = first(P, o - j)
                v = value(p, y, c, full)
                v = select(v < low, low, select(v > high, high, v))
                acc += total(select(inside, v, 0.0))
                store(Y, y0 + r * ldy + j, select(inside, slope(p, y, c) * factor, 0.0))
            row_values[weight0 + r] = w * acc * hyper[VALUE_SCALE]

    return loop


@kernel
def cross_entropy(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, weight0, scale, row_values):
    """row_values[r] = -w sum_j y log softmax(p); Y[r] = w scale (softmax(p) sum_j y - y)."""
    low = fill(P, hyper[LOW])
    high = fill(P, hyper[HIGH])
    for r in range(m):
        w = weights[weight0 + r]
        factor = w * scale * hyper[SLOPE_SCALE]
        top = fill(P, -math.inf)
        for j in range(0, o, lanes(P)):
            p = select(first(P, o - j), load(P, p0 + r * ldp + j), -math.inf)
            top = select(p > top, p, top)
        peak = fill(P, largest(top))
        mass = fill(P, 0.0)
        targets = fill(P, 0.0)
        for j in range(0, o, lanes(P)):
            inside = first(P, o - j)
            e = select(inside, exp(load(P, p0 + r * ldp + j) - peak), 0.0)
            mass = mass + e
            targets = targets + load(Y, y0 + r * ldy + j)
        whole = fill(P, total(mass))
        logarithm = log(whole) + peak
        target = fill(P, total(targets))
        acc = 0.0
        for j in range(0, o, lanes(P)):
            inside = first(P, o - j)
            p = load(P, p0 + r * ldp + j)
            y = load(Y, y0 + r * ldy + j)
            v = logarithm - p
            v = select(v < low, low, select(v > high, high, v))
            acc += total(select(y == 0.0, 0.0, v * y))
            probability = exp(p - peak) / whole
            store(Y, y0 + r * ldy + j, select(inside, (probability * target - y) * factor, 0.0))
        row_values[weight0 + r] = w * acc * hyper[VALUE_SCALE]


_mse = _rows_loop(squared_value, squared_slope)
_half = _rows_loop(half_squared_value, half_squared_slope)
_mae = _rows_loop(absolute_value, absolute_slope)
_huber = _rows_loop(huber_value, huber_slope)
_log_cosh = _rows_loop(log_cosh_value, log_cosh_slope)
_quantile = _rows_loop(quantile_value, quantile_slope)
_poisson = _rows_loop(poisson_value, poisson_slope)
_binary = _rows_loop(binary_value, binary_slope)

# Codes in plans; the order of evaluate's branches.
CODES = {
    "mse": 0,
    "half_squared_error": 1,
    "mae": 2,
    "huber": 3,
    "log_cosh": 4,
    "quantile": 5,
    "poisson": 6,
    "binary_cross_entropy": 7,
    "cross_entropy": 8,
}
MSE, HALF, MAE, HUBER, LOG_COSH, QUANTILE, POISSON, BINARY, CROSS = range(9)


@kernel
def evaluate(code, hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, weight0, scale, row_values):
    """Value and delta of m rows: row_values[weight0 + r], and Y, the padded targets, turns into delta."""
    if code == MSE:
        _mse(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, weight0, scale, row_values)
    elif code == HALF:
        _half(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, weight0, scale, row_values)
    elif code == MAE:
        _mae(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, weight0, scale, row_values)
    elif code == HUBER:
        _huber(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, weight0, scale, row_values)
    elif code == LOG_COSH:
        _log_cosh(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, weight0, scale, row_values)
    elif code == QUANTILE:
        _quantile(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, weight0, scale, row_values)
    elif code == POISSON:
        _poisson(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, weight0, scale, row_values)
    elif code == BINARY:
        _binary(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, weight0, scale, row_values)
    elif code == CROSS:
        cross_entropy(hyper, P, p0, ldp, Y, y0, ldy, m, o, weights, weight0, scale, row_values)
