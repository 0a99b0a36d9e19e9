"""Activations: a = f(z) and its derivative, one entry each.

f' is written in terms of the output a wherever a determines it (sigmoid' = a (1 - a)), so that z need not be kept; the
few that need z say so in NEEDS_Z. Reference: ACTIVATIONS in fastbp/reference.py. Every f lets NaN through: z below 0 is
asked for, never z above 0. Conventions at kinks are PyTorch's.
"""

from .elementary import erf, exp, expm1_nonpositive
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


def relu_prime(z, a):
    """1 where a > 0."""
    return select(a > 0.0, a * 0.0 + 1.0, 0.0)


def sigmoid(z):
    """1 / (1 + e^-z)."""
    return _sigmoid(z)


def sigmoid_prime(z, a):
    """a (1 - a)."""
    return a * (1.0 - a)


def tanh(z):
    """Hyperbolic tangent."""
    return _tanh(z)


def tanh_prime(z, a):
    """1 - a^2."""
    return 1.0 - a * a


def leaky_relu(z):
    """z where z >= 0, z / 100 elsewhere."""
    return select(z < 0.0, z * 0.01, z)


def leaky_relu_prime(z, a):
    """1 where a > 0, 1/100 elsewhere."""
    return select(a > 0.0, a * 0.0 + 1.0, 0.01)


def elu(z):
    """z where z >= 0, e^z - 1 elsewhere; Clevert et al. (2016)."""
    return select(z < 0.0, expm1_nonpositive(select(z < 0.0, z, 0.0)), z)


def elu_prime(z, a):
    """1 where a > 0, a + 1 = e^z elsewhere."""
    return select(a > 0.0, a * 0.0 + 1.0, a + 1.0)


def selu(z):
    """scale (z where z >= 0, alpha (e^z - 1) elsewhere); Klambauer et al. (2017)."""
    return select(z < 0.0, expm1_nonpositive(select(z < 0.0, z, 0.0)) * SELU_ALPHA, z) * SELU_SCALE


def selu_prime(z, a):
    """Scale where a > 0, a + scale alpha elsewhere."""
    return select(a > 0.0, a * 0.0 + SELU_SCALE, a + SELU_SCALE * SELU_ALPHA)


def gelu(z):
    """z Phi(z), Phi the normal distribution; Hendrycks and Gimpel (2016), exact form."""
    return z * (erf(z * SQRT_HALF) * 0.5 + 0.5)


def gelu_prime(z, a):
    """Phi(z) + z phi(z)."""
    return erf(z * SQRT_HALF) * 0.5 + 0.5 + z * exp(z * z * -0.5) * INV_SQRT_2PI


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


def softplus_prime(z, a):
    """sigmoid(z) = 1 - e^-a."""
    return -expm1_nonpositive(-a)


def softsign(z):
    """z / (1 + |z|)."""
    return z / (absolute(z) + 1.0)


def softsign_prime(z, a):
    """(1 - |a|)^2."""
    rest = 1.0 - absolute(a)
    return rest * rest


def hard_sigmoid(z):
    """(z + 3) / 6, cut to [0, 1] (PyTorch's slope)."""
    line = (z + 3.0) * (1.0 / 6.0)
    return select(line < 0.0, 0.0, select(line > 1.0, 1.0, line))


def hard_sigmoid_prime(z, a):
    """1/6 where 0 < a < 1."""
    return select(a > 0.0, select(a < 1.0, a * 0.0 + (1.0 / 6.0), 0.0), 0.0)


def hard_tanh(z):
    """Z cut to [-1, 1]."""
    return select(z < -1.0, -1.0, select(z > 1.0, 1.0, z))


def hard_tanh_prime(z, a):
    """1 where -1 < a < 1."""
    return select(absolute(a) < 1.0, a * 0.0 + 1.0, 0.0)


def mish(z):
    """z tanh(softplus(z)); Misra (2019)."""
    return z * _tanh(_softplus(z))


def mish_prime(z, a):
    """t + z (1 - t^2) sigmoid(z), t = tanh(softplus(z))."""
    t = _tanh(_softplus(z))
    return t + z * (1.0 - t * t) * _sigmoid(z)


def exponential(z):
    """e^z."""
    return exp(z)


def exponential_prime(z, a):
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
NEEDS_Z = frozenset({"gelu", "silu", "mish"})
# f(0) != 0: the padding of their outputs has to be cleared.
MOVES_ZERO = tuple(CODES[name] for name in ("sigmoid", "softplus", "hard_sigmoid", "exp"))

# forward(code, work, z0, a0, count): work[a0:] = f(work[z0:]).
forward = map_by_code({CODES[name]: f for name, (f, _) in TABLE.items() if f})
# backward(code, work, z0, a0, d0, count, scale): work[d0:] *= f'(z), the second half of BP2; `scale` undoes the
# division of a by dropout's keep rate.
backward = multiply_by_code({CODES[name]: slope for name, (_, slope) in TABLE.items() if slope})
