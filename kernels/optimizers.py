"""Update rules: what happens to theta, its gradient and its state in one step, and the one loop that applies them.

A rule is a function of theta, g, its state and the step's coefficients (by name), and returns the new theta and state.
g is the gradient plus the penalties' (l1 sign(theta) + l2 theta), scaled by the clipping factor, plus weight decay.
Formulas are PyTorch's, and scikit-learn's where a flag of the plan says so. `state` holds up to two arrays as long as
theta, one behind the other. Reference: RULES in fastbp/reference.py.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .machine.jit import kernel
from .machine.lanes import copysign, equal, fma, quotient, select, sqrt
from .machine.loops import step_by_code
from .machine.records import copies
from .machine.simd import fill, lanes, load, prefetch, store, total, traced
from .machine.simd import fma as multiply_add

# Hyper-parameters, and what each is; they are fields of the plan (plan.py).
HYPER = {
    "beta1": "memory of the mean of g",
    "beta2": "memory of the mean of g^2",
    "eps": "is added to a root that may be 0",
    "momentum": "memory of the velocity",
    "weight_decay": "times theta, is added to g",
    "alpha": "memory of RMSprop's mean of g^2",
    "momentum_decay": "how fast NAdam's momentum comes to beta1",
    "eta_minus": "a step times this is the next, if g turns",
    "eta_plus": "if it does not",
    "step_min": "least step",
    "step_max": "greatest step",
}
# Those that are on or off.
SWITCHES = {
    "nesterov": "look ahead along the velocity",
    "eps_inside": "eps is added after the correction of the mean of g^2",
    "velocity": "the velocity has the learning rate in it",
}
# Places in the array of a step's coefficients, which `coefficients` fills once per batch. A rule takes those that it
# wants by their lower-case names; behind them are the numbers of HYPER that a rule takes as they are.
RATE, SECOND, EPS, SHRINK, WEIGHT, MU, AHEAD, DIRECT = range(8)
BETA1, REST1, BETA2, REST2, DECAY = range(8, 13)
_NAMES = list(globals())
_NAMES = _NAMES[_NAMES.index("RATE") : _NAMES.index("DECAY") + 1]
_COMPUTED = {name.lower(): place for place, name in enumerate(_NAMES)}


def sgd(theta, g, rate):
    """Theta - lr g. `rate` is -lr throughout."""
    return (fma(g, rate, theta),)


def momentum(theta, g, velocity, rate, weight, mu, ahead, direct):
    """v = mu v + g; theta - lr v, or with Nesterov's look-ahead theta - lr (mu v + g); Sutskever et al. (2013).

    weight = 1 and rate = -lr is PyTorch's form; weight = -lr and rate = 1 is scikit-learn's and Keras's.
    """
    g = g * weight
    v = fma(velocity, mu, g)
    return fma(fma(v, ahead, g * direct), rate, theta), v


def adagrad(theta, g, sum, rate, eps):
    """s = s + g^2; theta - lr g / (sqrt(s) + eps); Duchi et al. (2011)."""
    sum = fma(g, g, sum)
    return fma(quotient(g, sqrt(sum) + eps), rate, theta), sum


def rmsprop(theta, g, square_avg, velocity, rate, eps, mu, beta2, rest2):
    """s = alpha s + (1 - alpha) g^2; v = mu v + g / (sqrt(s) + eps); theta - lr v; Hinton (2012)."""
    square_avg = fma(square_avg, beta2, g * g * rest2)
    velocity = fma(velocity, mu, quotient(g, sqrt(square_avg) + eps))
    return fma(velocity, rate, theta), square_avg, velocity


def adam(theta, g, exp_avg, exp_avg_sq, rate, eps, shrink, beta1, rest1, beta2, rest2):
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; theta - lr m^ / (sqrt(v^) + eps); Kingma and Ba (2015).

    The corrections 1 - b^t are in rate and eps; shrink = 1 - lr decay is AdamW's (Loshchilov and Hutter 2019).
    """
    exp_avg = fma(exp_avg, beta1, g * rest1)
    exp_avg_sq = fma(exp_avg_sq, beta2, g * g * rest2)
    return fma(quotient(exp_avg, sqrt(exp_avg_sq) + eps), rate, theta * shrink), exp_avg, exp_avg_sq


def nadam(theta, g, exp_avg, exp_avg_sq, rate, second, eps, beta1, rest1, beta2, rest2):
    """Adam with Nesterov's momentum: (a g + b m) / (sqrt(v^) + eps), a and b of the step; Dozat (2016)."""
    exp_avg = fma(exp_avg, beta1, g * rest1)
    exp_avg_sq = fma(exp_avg_sq, beta2, g * g * rest2)
    move = quotient(fma(g, rate, exp_avg * second), sqrt(exp_avg_sq) + eps)
    return theta + move, exp_avg, exp_avg_sq


def rprop(theta, g, previous, step_size, eta_minus, eta_plus, step_min, step_max):
    """A step per weight, longer while g keeps its sign, shorter and no move when it turns; Riedmiller, Braun 1993."""
    agreement = g * previous
    step_size = select(
        agreement > 0.0, step_size * eta_plus, select(agreement < 0.0, step_size * eta_minus, step_size)
    )
    step_size = select(step_size > step_max, step_max, select(step_size < step_min, step_min, step_size))
    g = select(agreement < 0.0, 0.0, g)
    # Padding has g = 0 and must not move; NaN must show.
    move = select(g > 0.0, step_size, select(g < 0.0, -step_size, g))
    return theta - move, g, step_size


# The place is the code in plans.
TABLE: dict[str, Callable[..., tuple[Any, ...]]] = {
    "sgd": sgd,
    "momentum": momentum,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adam,
    "nadam": nadam,
    "rprop": rprop,
}
CODES = {name: code for code, name in enumerate(TABLE)}
_ARGUMENTS = {name: list(inspect.signature(rule).parameters) for name, rule in TABLE.items()}
_TAKEN = [name for name in HYPER if name not in _COMPUTED and any(name in a for a in _ARGUMENTS.values())]
_GIVEN = {name: len(_COMPUTED) + number for number, name in enumerate(_TAKEN)}
PLACE = _COMPUTED | _GIVEN
N_COEFFICIENTS = len(PLACE)
# A step that is kept for later: its coefficients, its share of scikit-learn's l2, and how often its mean loss counts.
SHARE, TIMES = N_COEFFICIENTS, N_COEFFICIENTS + 1
UNIT = N_COEFFICIENTS + 2
SLOTS = {name: tuple(part for part in a[2:] if part not in PLACE) for name, a in _ARGUMENTS.items()}
MOMENTUM_RULE, RMSPROP, ADAM, ADAMW, NADAM = (
    CODES[name] for name in ("momentum", "rmsprop", "adam", "adamw", "nadam")
)


def _rests(name):
    """Return whether a rule leaves a parameter and its state as they are if the gradient is 0."""
    given = {argument: np.full(1, 0.5) for argument in _ARGUMENTS[name]} | {"g": np.zeros(1)}
    return TABLE[name](**given) == tuple(given[part] for part in ("theta", *SLOTS[name]))


# Without penalties and weight decay these move nothing that has no gradient.
STILL = tuple(code for name, code in CODES.items() if _rests(name))
# hand_on(plan, coefficients): the hyper-parameters that a rule takes as they are.
hand_on = copies(_GIVEN)


@kernel(inline=True)
def powers(a, b, t):
    """a^t and b^t by repeated squaring, side by side: as Numba does it for one, to the last bit."""
    if t > 0x10000:
        return math.pow(a, float(t)), math.pow(b, float(t))
    x, y = 1.0, 1.0
    while t != 0:
        odd = t & 1
        x, y = (x * a if odd else x), (y * b if odd else y)
        a, b, t = a * a, b * b, t >> 1
    return x, y


@kernel(inline=True)
def coefficients(plan, learning_rate, t, product, out):
    """Fill `out` for step t (from 1): step sizes and corrected epsilon, once per batch and not once per parameter.

    `product` is the running product of NAdam's momenta; the new one is returned (the same for the other rules).
    """
    rule = plan.rule
    beta1, beta2 = plan.beta1, plan.beta2
    if rule == RMSPROP:
        beta2 = plan.alpha
    out[RATE] = -learning_rate
    out[SECOND] = 0.0
    out[EPS] = plan.eps
    out[SHRINK] = 1.0
    out[WEIGHT] = 1.0
    out[MU] = plan.momentum
    out[AHEAD] = plan.momentum if plan.nesterov != 0 else 1.0
    out[DIRECT] = 1.0 if plan.nesterov != 0 else 0.0
    out[BETA1], out[REST1] = beta1, 1.0 - beta1
    out[BETA2], out[REST2] = beta2, 1.0 - beta2
    out[DECAY] = plan.weight_decay
    hand_on(plan, out)
    if rule == MOMENTUM_RULE and plan.velocity != 0:
        out[WEIGHT] = -learning_rate
        out[RATE] = 1.0
    if rule == ADAMW:
        out[DECAY] = 0.0
        out[SHRINK] = 1.0 - learning_rate * plan.weight_decay
    if rule == ADAM or rule == ADAMW or rule == NADAM:
        power1, power2 = powers(beta1, beta2, t)
        correction1 = 1.0 - power1
        correction2 = math.sqrt(1.0 - power2)
        # m / c1 / (sqrt(v) / c2 + eps) = (c2 / c1) m / (sqrt(v) + eps c2)
        out[RATE] = -learning_rate * correction2 / correction1
        if plan.eps_inside != 0:
            out[EPS] = plan.eps * correction2
        if rule == NADAM:
            now = beta1 * (1.0 - 0.5 * 0.96 ** (t * plan.momentum_decay))
            following = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1) * plan.momentum_decay))
            product = product * now
            out[RATE] = -learning_rate * (1.0 - now) / (1.0 - product) * correction2
            out[SECOND] = -learning_rate * following / (1.0 - product * following) * correction2
    return product


def _penalized(theta, grad, l1, l2):
    """Gradient with the penalties': grad + l2 theta + l1 sign(theta)."""
    return fma(theta, l2, grad) + select(equal(theta, 0.0), theta, copysign(l1, theta))


# step(code, size, numbers, params, grad, state, g0, start, stop, factors): see machine/loops.py.
_RULES = {CODES[name]: (rule, len(SLOTS[name]), _ARGUMENTS[name]) for name, rule in TABLE.items()}
step = step_by_code(_RULES, PLACE, _penalized)
# The same, which measures for the penalty.
measured_step = step_by_code(_RULES, PLACE, _penalized, measured=True)
# The same with coefficients and factors of each lane: a model per lane.
step_lanes = step_by_code(_RULES, PLACE, _penalized, by_lane=True)


@kernel(inline=True)
def update(plan, numbers, params, grad, g0, state, start, stop, l1, l2, scale):
    """theta[start:stop] after one step of the plan's rule with the gradient grad[g0:]; `numbers` is the step's."""
    step(plan.rule, plan.n_params, numbers, params, grad, state, g0, start, stop, (l1, l2, scale))


@kernel
def coefficients_of_lanes(plan, unit, rates, r0, numbers, n0):
    """numbers[n0:] = a vector of each coefficient: those in `unit`, of learning rate 1, for the rates at rates[r0:]."""
    side = lanes(rates)
    for k in range(N_COEFFICIENTS):
        store(numbers, n0 + k * side, fill(rates, unit[k]))
    rate = load(rates, r0)
    if plan.rule == MOMENTUM_RULE and plan.velocity != 0:
        store(numbers, n0 + WEIGHT * side, rate * unit[WEIGHT])
    else:
        store(numbers, n0 + RATE * side, rate * unit[RATE])
    store(numbers, n0 + SECOND * side, rate * unit[SECOND])
    store(numbers, n0 + SHRINK * side, rate * (unit[SHRINK] - 1.0) + 1.0)


_penalized_gradient = traced(_penalized)


@kernel
def penalize(params, grad, start, stop, l1, l2):
    """grad + l2 theta + l1 sign(theta): what `update` makes of a gradient before anything else."""
    for j in range(start, stop, lanes(params)):
        store(grad, j, _penalized_gradient(load(params, j), load(grad, j), l1, l2))


# Vectors that are summed in their own precision; such sums are added in float64.
SUM_VECTORS = 512


@kernel
def norm_squared(params, grad, start, stop, l1, l2):
    """Sum of the squares of the gradient with its penalties, for clipping by global norm."""
    square = 0.0
    for first in range(start, stop, SUM_VECTORS * lanes(params)):
        acc = fill(params, 0.0)
        for j in range(first, min(stop, first + SUM_VECTORS * lanes(params)), lanes(params)):
            g = _penalized_gradient(load(params, j), load(grad, j), l1, l2)
            acc = multiply_add(g, g, acc)
        square += np.float64(total(acc))
    return square


def _magnitude(theta):
    return copysign(theta, 1.0)


_absolute = traced(_magnitude)


@kernel
def penalty(params, start, stop, l1, l2):
    """l1 sum |theta| + l2 / 2 sum theta^2: what the gradient l1 sign(theta) + l2 theta belongs to."""
    cost = 0.0
    for first in range(start, stop, SUM_VECTORS * lanes(params)):
        weights = fill(params, 0.0)
        squares = fill(params, 0.0)
        for j in range(first, min(stop, first + SUM_VECTORS * lanes(params)), lanes(params)):
            theta = load(params, j)
            weights = weights + _absolute(theta)
            squares = multiply_add(theta, theta, squares)
        cost += l1 * np.float64(total(weights)) + 0.5 * l2 * np.float64(total(squares))
    return cost


# Rows are asked for so many vectors ahead of what they are needed, but two rows at least.
VECTORS_AHEAD, LEAST_AHEAD = 64, 2


@kernel(inline=True)
def ask_for(net, stretch, row, slots):
    """Ask for a row of parameters, its gradient and its state: they come from memory while others are computed."""
    place = stretch.start + row * stretch.ld
    for j in range(0, stretch.ld, lanes(net.params)):
        prefetch(net.params, place + j)
        prefetch(stretch.grad, stretch.g0 + row * stretch.ldg + j)
    for k in range(slots):
        for j in range(0, stretch.ld, lanes(net.params)):
            prefetch(net.state, place + k * net.plan.n_params + j)


@kernel
def catch_up(net, stretch, units, stop, factors, waiting, listed, costs, c0):
    """Give rows of parameters the steps up to `stop` that are kept in `units`, one after the other, as `update` does.

    factors = (l1, l2, shares, scale): to l2 comes the step's share, if `shares` is 1 and not 0. If c0 is negative, all
    steps. Else each row begins with the step that waiting[row] holds, and the penalty before step s is added to
    costs[c0 + s]. The rows are those listed at waiting[listed:], if that is not 0.

    Whatever is not worth a copy of all rules in its place calls this.
    """
    l1, l2, shares, scale = factors
    slots, reach = np.int64(0), np.int64(0)
    if c0 >= 0:
        slots = net.state.size // net.plan.n_params
        reach = max(LEAST_AHEAD, VECTORS_AHEAD * lanes(net.params) // stretch.ld)
    for i in range(stretch.first, stretch.last):
        ahead, row, begin = min(i + reach, stretch.last - 1), i, np.int64(0)
        if listed != 0:
            ahead, row = waiting[listed + ahead], waiting[listed + i]
        if c0 >= 0:
            ask_for(net, stretch, ahead, slots)
            begin, waiting[row] = waiting[row], stop
        place, g0 = stretch.start + row * stretch.ld, stretch.g0 + row * stretch.ldg
        for s in range(begin, stop):
            unit = units[s * UNIT : (s + 1) * UNIT]
            decay = l2 + shares * unit[SHARE]
            cost = penalty(net.params, place, place + stretch.ld, l1, 0.0) if l1 != 0.0 else 0.0
            squares = measured_step(
                net.plan.rule,
                net.plan.n_params,
                unit,
                net.params,
                stretch.grad,
                net.state,
                g0,
                place,
                place + stretch.ld,
                (l1, decay, scale),
            )
            # Squares may be too large for their type, and 0 times infinity is no penalty.
            if decay != 0.0:
                cost += 0.5 * decay * squares
            if c0 >= 0:
                costs[c0 + s] += cost
