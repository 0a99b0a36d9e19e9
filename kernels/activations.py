"""Activations: a = f(z) and its derivative, one entry each.

f' is written in terms of the output a wherever a determines it (sigmoid' = a (1 - a)), so that z need not be kept; the
few that need z take it as an argument. Reference: ACTIVATIONS in fastbp/reference.py. Every f lets NaN through: z below
0 is asked for, never z above 0. Conventions at kinks are PyTorch's.
"""

import numpy as np

from .elementary import erf_and_exp, exp, expm1_nonpositive
from .elementary import sigmoid as _sigmoid
from .elementary import softplus as _softplus
from .elementary import tanh as _tanh
from .machine.lanes import absolute, select
from .machine.loops import map_by_code, multiply_by_code

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. (2017)
SQRT_HALF, INV_SQRT_2PI = 0.7071067811865476, 0.3989422804014327


def relu(z):
    """max(z, 0)."""
    return select(z < 0.0, 0.0, z)


def relu_prime(a):
    """1 where a > 0."""
    return select(a > 0.0, a * 0.0 + 1.0, 0.0)


def sigmoid(z):
    """1 / (1 + e^-z)."""
    return _sigmoid(z)


def sigmoid_prime(a):
    """a (1 - a)."""
    return a * (1.0 - a)


def tanh(z):
    """Hyperbolic tangent."""
    return _tanh(z)


def tanh_prime(a):
    """1 - a^2."""
    return 1.0 - a * a


def leaky_relu(z):
    """z where z >= 0, z / 100 elsewhere."""
    return select(z < 0.0, z * 0.01, z)


def leaky_relu_prime(a):
    """1 where a > 0, 1/100 elsewhere."""
    return select(a > 0.0, a * 0.0 + 1.0, 0.01)


def elu(z):
    """z where z >= 0, e^z - 1 elsewhere; Clevert et al. (2016)."""
    return select(z < 0.0, expm1_nonpositive(select(z < 0.0, z, 0.0)), z)


def elu_prime(a):
    """1 where a > 0, a + 1 = e^z elsewhere."""
    return select(a > 0.0, a * 0.0 + 1.0, a + 1.0)


def selu(z):
    """scale (z where z >= 0, alpha (e^z - 1) elsewhere); Klambauer et al. (2017)."""
    return select(z < 0.0, expm1_nonpositive(select(z < 0.0, z, 0.0)) * SELU_ALPHA, z) * SELU_SCALE


def selu_prime(a):
    """Scale where a > 0, a + scale alpha elsewhere."""
    return select(a > 0.0, a * 0.0 + SELU_SCALE, a + SELU_SCALE * SELU_ALPHA)


def _normal(z):
    """(Phi(z), phi(z)): the normal distribution and its density."""
    erf, e = erf_and_exp(z * SQRT_HALF)
    return erf * 0.5 + 0.5, e * INV_SQRT_2PI


def gelu(z):
    """z Phi(z); Hendrycks and Gimpel (2016), exact form."""
    return z * _normal(z)[0]


def gelu_prime(z, a):
    """Phi(z) + z phi(z)."""
    distribution, density = _normal(z)
    return distribution + z * density


def silu(z):
    """z sigmoid(z); Elfwing et al. (2018)."""
    return z * _sigmoid(z)


def silu_prime(z, a):
    """s + a (1 - s), s = sigmoid(z)."""
    s = _sigmoid(z)
    return s + a * (1.0 - s)


def softplus(z):
    """log(1 + e^z)."""
    return _softplus(z)


def softplus_prime(a):
    """sigmoid(z) = 1 - e^-a."""
    return -expm1_nonpositive(-a)


def softsign(z):
    """z / (1 + |z|)."""
    return z / (absolute(z) + 1.0)


def softsign_prime(a):
    """(1 - |a|)^2."""
    rest = 1.0 - absolute(a)
    return rest * rest


def hard_sigmoid(z):
    """(z + 3) / 6, cut to [0, 1] (PyTorch's slope)."""
    line = (z + 3.0) * (1.0 / 6.0)
    return select(line < 0.0, 0.0, select(line > 1.0, 1.0, line))


def hard_sigmoid_prime(a):
    """1/6 where 0 < a < 1."""
    return select(a > 0.0, select(a < 1.0, a * 0.0 + (1.0 / 6.0), 0.0), 0.0)


def hard_tanh(z):
    """Z cut to [-1, 1]."""
    return select(z < -1.0, -1.0, select(z > 1.0, 1.0, z))


def hard_tanh_prime(a):
    """1 where -1 < a < 1."""
    return select(absolute(a) < 1.0, a * 0.0 + 1.0, 0.0)


def _mish_parts(z):
    """w = e^z, n = w (w + 2) and 1 / (n + 2): with them tanh(log(1 + e^z)) = n / (n + 2). Beyond 20 that is 1."""
    w = exp(select(z > 20.0, 20.0, z))
    n = w * (w + 2.0)
    return w, n, 1.0 / (n + 2.0)


def mish(z):
    """z tanh(softplus(z)); Misra (2019)."""
    _, n, r = _mish_parts(z)
    return z * (n * r)


def mish_prime(z, a):
    """t + z (1 - t^2) sigmoid(z), t = tanh(softplus(z)); that is n r + 4 z w (w + 1) r^2 with r = 1 / (n + 2)."""
    w, n, r = _mish_parts(z)
    z = select(z > 20.0, 20.0, z)
    return n * r + z * (w * (w + 1.0) * 4.0) * (r * r)


def exponential(z):
    """e^z."""
    return exp(z)


def exponential_prime(a):
    """a."""
    return a


# name: (f, f'). The place is the code in plans and files: append, never reorder.
TABLE = {
    "identity": (None, None),
    "relu": (relu, relu_prime),
    "sigmoid": (sigmoid, sigmoid_prime),
    "tanh": (tanh, tanh_prime),
    "leaky_relu": (leaky_relu, leaky_relu_prime),
    "elu": (elu, elu_prime),
    "selu": (selu, selu_prime),
    "gelu": (gelu, gelu_prime),
    "silu": (silu, silu_prime),
    "softplus": (softplus, softplus_prime),
    "softsign": (softsign, softsign_prime),
    "hard_sigmoid": (hard_sigmoid, hard_sigmoid_prime),
    "hard_tanh": (hard_tanh, hard_tanh_prime),
    "mish": (mish, mish_prime),
    "exp": (exponential, exponential_prime),
}
CODES = {name: code for code, name in enumerate(TABLE)}
RELU = CODES["relu"]
# f' is a function of z, too.
NEEDS_Z = frozenset(name for name, (_, slope) in TABLE.items() if slope and slope.__code__.co_argcount == 2)
# f(0) != 0, in one precision at least: the padding of their outputs has to be cleared.
MOVES_ZERO = tuple(
    CODES[name]
    for name, (f, _) in TABLE.items()
    if f and any(f(np.zeros(1, dtype))[0] != 0.0 for dtype in (np.float32, np.float64))
)

_FUNCTIONS = {CODES[name]: f for name, (f, _) in TABLE.items() if f}
_SLOPES = {CODES[name]: slope for name, (_, slope) in TABLE.items() if slope}
_OF_Z = {code: slope for code, slope in _SLOPES.items() if slope.__code__.co_argcount == 2}
_OF_A = {code: slope for code, slope in _SLOPES.items() if code not in _OF_Z}

# forward(code, work, z0, a0, count, training): work[a0:] = f(work[z0:]). While training, f'(z, a) takes the place of z
# if it needs z: the two have most of their arithmetic in common.
forward = map_by_code(_FUNCTIONS, _OF_Z)
# backward(code, work, z0, a0, d0, count, scale): work[d0:] *= f'(z), the second half of BP2; `scale` undoes the
# division of a by dropout's keep rate.
backward = multiply_by_code(_OF_A, _OF_Z)
