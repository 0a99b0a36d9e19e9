"""Update rules: theta after one step, in one fused loop over a range of the flat parameters.

g is the gradient plus the penalties' (l1 sign(theta) + l2 theta), scaled by the clipping factor, plus weight decay.
`state` holds up to three arrays as long as theta, one behind the other. Formulas are PyTorch's, and scikit-learn's where
a flag says so; the bias corrections of step t are computed once per batch (`coefficients`). Reference: RULES in
fastbp/reference.py.
"""

import math

import numpy as np

from .jit import kernel
from .plan import (
    ALPHA,
    BETA1,
    BETA2,
    EPS,
    EPS_INSIDE,
    ETA_MINUS,
    ETA_PLUS,
    MOMENTUM,
    MOMENTUM_DECAY,
    N_PARAMS,
    NESTEROV,
    RULE,
    STEP_MAX,
    STEP_MIN,
    VELOCITY,
    WEIGHT_DECAY,
)
from .simd import absolute, copysign, fill, fma, lanes, load, select, sqrt, store, total

# name: (code, number of state arrays)
CODES = {"sgd": 0, "adagrad": 1, "rmsprop": 2, "adam": 3, "adamw": 4, "nadam": 5, "rprop": 6, "momentum": 7}
SLOTS = {
    "sgd": (),
    "momentum": ("velocity",),
    "adagrad": ("sum",),
    "rmsprop": ("square_avg", "velocity"),
    "adam": ("exp_avg", "exp_avg_sq"),
    "adamw": ("exp_avg", "exp_avg_sq"),
    "nadam": ("exp_avg", "exp_avg_sq"),
    "rprop": ("previous", "step_size"),
}
SGD, ADAGRAD, RMSPROP, ADAM, ADAMW, NADAM, RPROP, MOMENTUM_RULE = range(8)

# What a step's coefficients mean, by place in the array that `coefficients` fills.
STEP, SECOND_STEP, EPSILON, SHRINK, GRADIENT = 0, 1, 2, 3, 4
N_COEFFICIENTS = 8


@kernel
def coefficients(plan, hyper, learning_rate, t, product, out):
    """Fill `out` for step t (from 1): step sizes and corrected epsilon, once per batch and not once per parameter.

    `product` is the running product of NAdam's momenta; the new one is returned (1 for the other rules).
    """
    rule = plan[RULE]
    beta1, beta2, eps, decay = hyper[BETA1], hyper[BETA2], hyper[EPS], hyper[WEIGHT_DECAY]
    out[SHRINK] = 1.0
    out[EPSILON] = eps
    out[STEP] = -learning_rate
    out[SECOND_STEP] = 0.0
    out[GRADIENT] = 1.0
    if rule == MOMENTUM_RULE and plan[VELOCITY] != 0:
        out[GRADIENT] = -learning_rate
        out[STEP] = 1.0
    if rule == ADAM or rule == ADAMW or rule == NADAM:
        correction1 = 1.0 - beta1**t
        correction2 = math.sqrt(1.0 - beta2**t)
        # sqrt(v / c2^2) + eps = (sqrt(v) + eps c2) / c2
        out[STEP] = -learning_rate * correction2 / correction1
        if plan[EPS_INSIDE] != 0:
            out[EPSILON] = eps * correction2
    if rule == ADAMW:
        out[SHRINK] = 1.0 - learning_rate * decay
    if rule == NADAM:
        momentum = beta1 * (1.0 - 0.5 * 0.96 ** (t * hyper[MOMENTUM_DECAY]))
        following = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1) * hyper[MOMENTUM_DECAY]))
        product = product * momentum
        correction2 = math.sqrt(1.0 - beta2**t)
        out[STEP] = -learning_rate * (1.0 - momentum) / (1.0 - product) * correction2
        out[SECOND_STEP] = -learning_rate * following / (1.0 - product * following) * correction2
    return product


@kernel(inline=True)
def _gradient(params, grad, j, l1, l2, scale, decay):
    """The gradient the rule sees, and the parameters."""
    theta = load(params, j)
    g = fma(theta, l2, load(grad, j))
    sign = select(theta == 0.0, theta, copysign(l1, theta))
    return fma(theta, decay, (g + sign) * scale), theta


@kernel
def update(plan, hyper, step, params, grad, state, start, stop, l1, l2, scale):
    """theta[start:stop] after one step of the plan's rule."""
    rule = plan[RULE]
    size = plan[N_PARAMS]
    one = fill(params, l1)
    two = fill(params, l2)
    clip = fill(params, scale)
    decay = fill(params, 0.0 if rule == ADAMW else hyper[WEIGHT_DECAY])
    rate = fill(params, step[STEP])
    eps = fill(params, step[EPSILON])
    if rule == SGD:
        for j in range(start, stop, lanes(params)):
            g, theta = _gradient(params, grad, j, one, two, clip, decay)
            store(params, j, fma(g, rate, theta))
    elif rule == MOMENTUM_RULE:
        mu = fill(params, hyper[MOMENTUM])
        weight = fill(params, step[GRADIENT])
        look_ahead = plan[NESTEROV] != 0
        for j in range(start, stop, lanes(params)):
            g, theta = _gradient(params, grad, j, one, two, clip, decay)
            g = g * weight
            v = fma(load(state, j), mu, g)
            store(state, j, v)
            if look_ahead:
                v = fma(v, mu, g)
            store(params, j, fma(v, rate, theta))
    elif rule == ADAM or rule == ADAMW:
        beta1 = fill(params, hyper[BETA1])
        beta2 = fill(params, hyper[BETA2])
        rest1 = fill(params, 1.0 - hyper[BETA1])
        rest2 = fill(params, 1.0 - hyper[BETA2])
        shrink = fill(params, step[SHRINK])
        for j in range(start, stop, lanes(params)):
            g, theta = _gradient(params, grad, j, one, two, clip, decay)
            m = fma(load(state, j), beta1, g * rest1)
            v = fma(load(state, size + j), beta2, g * g * rest2)
            store(state, j, m)
            store(state, size + j, v)
            store(params, j, fma(m / (sqrt(v) + eps), rate, theta * shrink))
    elif rule == NADAM:
        beta1 = fill(params, hyper[BETA1])
        beta2 = fill(params, hyper[BETA2])
        rest1 = fill(params, 1.0 - hyper[BETA1])
        rest2 = fill(params, 1.0 - hyper[BETA2])
        second = fill(params, step[SECOND_STEP])
        for j in range(start, stop, lanes(params)):
            g, theta = _gradient(params, grad, j, one, two, clip, decay)
            m = fma(load(state, j), beta1, g * rest1)
            v = fma(load(state, size + j), beta2, g * g * rest2)
            store(state, j, m)
            store(state, size + j, v)
            store(params, j, fma(g * rate + m * second, 1.0 / (sqrt(v) + eps), theta))
    elif rule == ADAGRAD:
        for j in range(start, stop, lanes(params)):
            g, theta = _gradient(params, grad, j, one, two, clip, decay)
            v = fma(g, g, load(state, j))
            store(state, j, v)
            store(params, j, fma(g / (sqrt(v) + eps), rate, theta))
    elif rule == RMSPROP:
        alpha = fill(params, hyper[ALPHA])
        rest = fill(params, 1.0 - hyper[ALPHA])
        mu = fill(params, hyper[MOMENTUM])
        for j in range(start, stop, lanes(params)):
            g, theta = _gradient(params, grad, j, one, two, clip, decay)
            v = fma(load(state, j), alpha, g * g * rest)
            store(state, j, v)
            velocity = fma(load(state, size + j), mu, g / (sqrt(v) + eps))
            store(state, size + j, velocity)
            store(params, j, fma(velocity, rate, theta))
    elif rule == RPROP:
        minus = fill(params, hyper[ETA_MINUS])
        plus = fill(params, hyper[ETA_PLUS])
        low = fill(params, hyper[STEP_MIN])
        high = fill(params, hyper[STEP_MAX])
        for j in range(start, stop, lanes(params)):
            g, theta = _gradient(params, grad, j, one, two, clip, decay)
            agreement = g * load(state, j)
            size_now = load(state, size + j)
            size_now = select(agreement > 0.0, size_now * plus, select(agreement < 0.0, size_now * minus, size_now))
            size_now = select(size_now > high, high, select(size_now < low, low, size_now))
            g = select(agreement < 0.0, 0.0, g)
            store(state, j, g)
            store(state, size + j, size_now)
            # a padded parameter has g = 0 and must not move
            move = select(g == 0.0, g, copysign(size_now, g))
            store(params, j, theta - move)


@kernel
def norm_squared(params, grad, start, stop, l1, l2):
    """Sum of the squares of the gradient with its penalties, in float64 per range: for clipping by global norm."""
    one = fill(params, l1)
    two = fill(params, l2)
    acc = fill(params, 0.0)
    for j in range(start, stop, lanes(params)):
        theta = load(params, j)
        g = fma(theta, two, load(grad, j)) + select(theta == 0.0, theta, copysign(one, theta))
        acc = fma(g, g, acc)
    return np.float64(total(acc))


@kernel
def penalty(params, start, stop, l1, l2):
    """l1 sum |theta| + l2 / 2 sum theta^2: what the gradient l1 sign(theta) + l2 theta belongs to."""
    weights = fill(params, 0.0)
    squares = fill(params, 0.0)
    for j in range(start, stop, lanes(params)):
        theta = load(params, j)
        weights = weights + absolute(theta)
        squares = fma(theta, theta, squares)
    return l1 * np.float64(total(weights)) + 0.5 * l2 * np.float64(total(squares))
