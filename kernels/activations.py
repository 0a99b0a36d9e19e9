"""Activations: a = f(z) and its derivative, one entry each.

f' is written in terms of the output a wherever a determines it (sigmoid' = a (1 - a)), so that z need not be kept; the
few that need z say so in NEEDS_Z. Reference: ACTIVATIONS in fastbp/reference.py. Every f lets NaN through: z below 0 is
asked for, never z above 0. Conventions at kinks are PyTorch's.
"""

from .elementary import erf, exp, expm1_nonpositive
from .elementary import sigmoid as _sigmoid
from .elementary import softplus as _softplus
from .elementary import tanh as _tanh
from .jit import kernel
from .simd import absolute, lanes, load, select, store

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. (2017)
SQRT_HALF, INV_SQRT_2PI = 0.7071067811865476, 0.3989422804014327


@kernel(inline=True)
def relu(z):
    """max(z, 0)."""
    return select(z < 0.0, 0.0, z)


@kernel(inline=True)
def relu_prime(z, a):
    """1 where a > 0."""
    return select(a > 0.0, a * 0.0 + 1.0, 0.0)


@kernel(inline=True)
def sigmoid(z):
    """1 / (1 + e^-z)."""
    return _sigmoid(z)


@kernel(inline=True)
def sigmoid_prime(z, a):
    """a (1 - a)."""
    return a * (1.0 - a)


@kernel(inline=True)
def tanh(z):
    """Hyperbolic tangent."""
    return _tanh(z)


@kernel(inline=True)
def tanh_prime(z, a):
    """1 - a^2."""
    return 1.0 - a * a


@kernel(inline=True)
def leaky_relu(z):
    """z where z >= 0, z / 100 elsewhere."""
    return select(z < 0.0, z * 0.01, z)


@kernel(inline=True)
def leaky_relu_prime(z, a):
    """1 where a > 0, 1/100 elsewhere."""
    return select(a > 0.0, a * 0.0 + 1.0, 0.01)


@kernel(inline=True)
def elu(z):
    """z where z >= 0, e^z - 1 elsewhere; Clevert et al. (2016)."""
    return select(z < 0.0, expm1_nonpositive(select(z < 0.0, z, 0.0)), z)


@kernel(inline=True)
def elu_prime(z, a):
    """1 where a > 0, a + 1 = e^z elsewhere."""
    return select(a > 0.0, a * 0.0 + 1.0, a + 1.0)


@kernel(inline=True)
def selu(z):
    """scale (z where z >= 0, alpha (e^z - 1) elsewhere); Klambauer et al. (2017)."""
    return select(z < 0.0, expm1_nonpositive(select(z < 0.0, z, 0.0)) * SELU_ALPHA, z) * SELU_SCALE


@kernel(inline=True)
def selu_prime(z, a):
    """Scale where a > 0, a + scale alpha elsewhere."""
    return select(a > 0.0, a * 0.0 + SELU_SCALE, a + SELU_SCALE * SELU_ALPHA)


@kernel(inline=True)
def gelu(z):
    """z Phi(z), Phi the normal distribution; Hendrycks and Gimpel (2016), exact form."""
    return z * (erf(z * SQRT_HALF) * 0.5 + 0.5)


@kernel(inline=True)
def gelu_prime(z, a):
    """Phi(z) + z phi(z)."""
    return erf(z * SQRT_HALF) * 0.5 + 0.5 + z * exp(z * z * -0.5) * INV_SQRT_2PI


@kernel(inline=True)
def silu(z):
    """z sigmoid(z); Elfwing et al. (2018)."""
    return z * _sigmoid(z)


@kernel(inline=True)
def silu_prime(z, a):
    """s + a (1 - s), s = sigmoid(z)."""
    s = _sigmoid(z)
    return s + a * (1.0 - s)


@kernel(inline=True)
def softplus(z):
    """log(1 + e^z)."""
    return _softplus(z)


@kernel(inline=True)
def softplus_prime(z, a):
    """sigmoid(z) = 1 - e^-a."""
    return -expm1_nonpositive(-a)


@kernel(inline=True)
def softsign(z):
    """z / (1 + |z|)."""
    return z / (absolute(z) + 1.0)


@kernel(inline=True)
def softsign_prime(z, a):
    """(1 - |a|)^2."""
    rest = 1.0 - absolute(a)
    return rest * rest


@kernel(inline=True)
def hard_sigmoid(z):
    """z / 6 + 1/2, cut to [0, 1] (PyTorch's slope)."""
    line = z * (1.0 / 6.0) + 0.5
    return select(line < 0.0, 0.0, select(line > 1.0, 1.0, line))


@kernel(inline=True)
def hard_sigmoid_prime(z, a):
    """1/6 where 0 < a < 1."""
    return select(a > 0.0, select(a < 1.0, a * 0.0 + (1.0 / 6.0), 0.0), 0.0)


@kernel(inline=True)
def hard_tanh(z):
    """Z cut to [-1, 1]."""
    return select(z < -1.0, -1.0, select(z > 1.0, 1.0, z))


@kernel(inline=True)
def hard_tanh_prime(z, a):
    """1 where -1 < a < 1."""
    return select(absolute(a) < 1.0, a * 0.0 + 1.0, 0.0)


@kernel(inline=True)
def mish(z):
    """z tanh(softplus(z)); Misra (2019)."""
    return z * _tanh(_softplus(z))


@kernel(inline=True)
def mish_prime(z, a):
    """t + z (1 - t^2) sigmoid(z), t = tanh(softplus(z))."""
    t = _tanh(_softplus(z))
    return t + z * (1.0 - t * t) * _sigmoid(z)


@kernel(inline=True)
def exponential(z):
    """e^z."""
    return exp(z)


@kernel(inline=True)
def exponential_prime(z, a):
    """a."""
    return a


def _forward_loop(f):
    @kernel
    def loop(Z, z0, A, a0, count):
        """A = f(Z) on `count` elements, a multiple of the row padding."""
        for j in range(0, count, lanes(Z)):
            store(A, a0 + j, f(load(Z, z0 + j)))

    return loop


def _backward_loop(prime):
    @kernel
    def loop(Z, z0, A, a0, D, d0, count, scale):
        """D = D * f'(z, scale * a) on `count` elements."""
        for j in range(0, count, lanes(Z)):
            a = load(A, a0 + j) * scale
            store(D, d0 + j, load(D, d0 + j) * prime(load(Z, z0 + j), a))

    return loop


# Codes in plans and files; never renumber.
CODES = {"identity": 0, "relu": 1, "sigmoid": 2, "tanh": 3, "leaky_relu": 4, "elu": 5, "selu": 6, "gelu": 7, "silu": 8, "softplus": 9, "softsign": 10, "hard_sigmoid": 11, "hard_tanh": 12, "mish": 13, "exp": 14}
NEEDS_Z = frozenset({"gelu", "silu", "mish"})
# f(0) != 0: the padding of their outputs has to be cleared.
MOVES_ZERO = frozenset({"sigmoid", "softplus", "hard_sigmoid", "exp"})
RELU = CODES["relu"]
SIGMOID = CODES["sigmoid"]
TANH = CODES["tanh"]
LEAKY_RELU = CODES["leaky_relu"]
ELU = CODES["elu"]
SELU = CODES["selu"]
GELU = CODES["gelu"]
SILU = CODES["silu"]
SOFTPLUS = CODES["softplus"]
SOFTSIGN = CODES["softsign"]
HARD_SIGMOID = CODES["hard_sigmoid"]
HARD_TANH = CODES["hard_tanh"]
MISH = CODES["mish"]
EXP = CODES["exp"]

_relu_forward = _forward_loop(relu)
_relu_backward = _backward_loop(relu_prime)
_sigmoid_forward = _forward_loop(sigmoid)
_sigmoid_backward = _backward_loop(sigmoid_prime)
_tanh_forward = _forward_loop(tanh)
_tanh_backward = _backward_loop(tanh_prime)
_leaky_relu_forward = _forward_loop(leaky_relu)
_leaky_relu_backward = _backward_loop(leaky_relu_prime)
_elu_forward = _forward_loop(elu)
_elu_backward = _backward_loop(elu_prime)
_selu_forward = _forward_loop(selu)
_selu_backward = _backward_loop(selu_prime)
_gelu_forward = _forward_loop(gelu)
_gelu_backward = _backward_loop(gelu_prime)
_silu_forward = _forward_loop(silu)
_silu_backward = _backward_loop(silu_prime)
_softplus_forward = _forward_loop(softplus)
_softplus_backward = _backward_loop(softplus_prime)
_softsign_forward = _forward_loop(softsign)
_softsign_backward = _backward_loop(softsign_prime)
_hard_sigmoid_forward = _forward_loop(hard_sigmoid)
_hard_sigmoid_backward = _backward_loop(hard_sigmoid_prime)
_hard_tanh_forward = _forward_loop(hard_tanh)
_hard_tanh_backward = _backward_loop(hard_tanh_prime)
_mish_forward = _forward_loop(mish)
_mish_backward = _backward_loop(mish_prime)
_exp_forward = _forward_loop(exponential)
_exp_backward = _backward_loop(exponential_prime)


@kernel
def forward(code, Z, z0, A, a0, count):
    """A = f(Z), elementwise; the branch is taken once per block of rows."""
    if code == RELU:
        _relu_forward(Z, z0, A, a0, count)
    elif code == SIGMOID:
        _sigmoid_forward(Z, z0, A, a0, count)
    elif code == TANH:
        _tanh_forward(Z, z0, A, a0, count)
    elif code == LEAKY_RELU:
        _leaky_relu_forward(Z, z0, A, a0, count)
    elif code == ELU:
        _elu_forward(Z, z0, A, a0, count)
    elif code == SELU:
        _selu_forward(Z, z0, A, a0, count)
    elif code == GELU:
        _gelu_forward(Z, z0, A, a0, count)
    elif code == SILU:
        _silu_forward(Z, z0, A, a0, count)
    elif code == SOFTPLUS:
        _softplus_forward(Z, z0, A, a0, count)
    elif code == SOFTSIGN:
        _softsign_forward(Z, z0, A, a0, count)
    elif code == HARD_SIGMOID:
        _hard_sigmoid_forward(Z, z0, A, a0, count)
    elif code == HARD_TANH:
        _hard_tanh_forward(Z, z0, A, a0, count)
    elif code == MISH:
        _mish_forward(Z, z0, A, a0, count)
    elif code == EXP:
        _exp_forward(Z, z0, A, a0, count)


@kernel
def backward(code, Z, z0, A, a0, D, d0, count, scale):
    """D = D * f'(z) (the second half of BP2); `scale` undoes the division of a by dropout's keep rate."""
    if code == RELU:
        _relu_backward(Z, z0, A, a0, D, d0, count, scale)
    elif code == SIGMOID:
        _sigmoid_backward(Z, z0, A, a0, D, d0, count, scale)
    elif code == TANH:
        _tanh_backward(Z, z0, A, a0, D, d0, count, scale)
    elif code == LEAKY_RELU:
        _leaky_relu_backward(Z, z0, A, a0, D, d0, count, scale)
    elif code == ELU:
        _elu_backward(Z, z0, A, a0, D, d0, count, scale)
    elif code == SELU:
        _selu_backward(Z, z0, A, a0, D, d0, count, scale)
    elif code == GELU:
        _gelu_backward(Z, z0, A, a0, D, d0, count, scale)
    elif code == SILU:
        _silu_backward(Z, z0, A, a0, D, d0, count, scale)
    elif code == SOFTPLUS:
        _softplus_backward(Z, z0, A, a0, D, d0, count, scale)
    elif code == SOFTSIGN:
        _softsign_backward(Z, z0, A, a0, D, d0, count, scale)
    elif code == HARD_SIGMOID:
        _hard_sigmoid_backward(Z, z0, A, a0, D, d0, count, scale)
    elif code == HARD_TANH:
        _hard_tanh_backward(Z, z0, A, a0, D, d0, count, scale)
    elif code == MISH:
        _mish_backward(Z, z0, A, a0, D, d0, count, scale)
    elif code == EXP:
        _exp_backward(Z, z0, A, a0, D, d0, count, scale)
