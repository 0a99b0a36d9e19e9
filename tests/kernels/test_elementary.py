"""The elementary functions against mpmath and against NumPy and SciPy a precision above, in ulp.

The thresholds are the figures in the docstring of kernels/elementary.py: a claim there is a test here. The functions
are tested compiled, and as the NumPy arithmetic that the interpreter mode runs.
"""

import math
import re

import mpmath
import numpy as np
import pytest
from scipy import special

from fastbp.kernels import elementary
from fastbp.kernels.machine.lanes import quotient
from tests.kernels.oracles import INTERPRETED, apply, ulp, vectorwise


def wide_sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1.0 + e)


def wide_softplus(x):
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def error_function(x):
    return elementary.erf_and_exp(x)[0]


# name in the docstring: (function, float64 oracle for float32, mpmath oracle for float64, domain)
FUNCTIONS = {
    "exp": (elementary.exp, np.exp, lambda m, x: m.exp(x), (-math.inf, math.inf)),
    "expm1": (elementary.expm1_nonpositive, np.expm1, lambda m, x: m.expm1(x), (-math.inf, 0.0)),
    "log": (elementary.log, np.log, lambda m, x: m.log(x), (0.0, math.inf)),
    "log1p": (elementary.log1p_unit, np.log1p, lambda m, x: m.log1p(x), (0.0, 1.0)),
    "tanh": (elementary.tanh, np.tanh, lambda m, x: m.tanh(x), (-math.inf, math.inf)),
    "sigmoid": (
        elementary.sigmoid,
        wide_sigmoid,
        lambda m, x: 1 / (1 + m.exp(-x)),
        (-math.inf, math.inf),
    ),
    "softplus": (
        elementary.softplus,
        wide_softplus,
        lambda m, x: m.log1p(m.exp(x)),
        (-math.inf, math.inf),
    ),
    "erf": (error_function, special.erf, lambda m, x: m.erf(x), (-math.inf, math.inf)),
}


def stated_errors():
    """Return {name: (float32, float64)} as the docstring states them."""
    found = re.findall(r"(\w+)(?: \([^)]*\))? (\d+\.?\d*) / (\d+\.?\d*)", elementary.__doc__)
    return {name: (float(single), float(double)) for name, single, double in found}


LIMITS = stated_errors()


@pytest.fixture(params=["compiled", "NumPy"])
def route(request):
    """How a function is run: returns a function (name, x) -> values."""
    if request.param == "compiled":
        return lambda name, x: apply(LOOPS[name], x)

    def interpret(name, x):
        with np.errstate(all="ignore"):
            return FUNCTIONS[name][0](x)

    return interpret


LOOPS = {name: vectorwise(entry[0]) for name, entry in FUNCTIONS.items()}


def inside(name, x):
    low, high = FUNCTIONS[name][3]
    kept = x[np.isfinite(x) & (x > low) & (x < high)]
    return (
        kept[:: max(1, len(kept) // 500)] if INTERPRETED else kept
    )  # the loops of `vectorwise` are Python there


def every(stride):
    """Every stride-th bit pattern of float32: all signs, exponents and NaNs."""
    return np.arange(0, 2**32, stride, dtype=np.uint64).astype(np.uint32).view(np.float32)


def assert_within(name, x, got, want, limit):
    """Assert |got - want| <= limit ulp where `want`, in more digits than `got`, is finite in got's dtype."""
    with np.errstate(over="ignore"):
        rounded = want.astype(got.dtype)
    overflow = np.isinf(rounded)
    assert np.array_equal(got[overflow], rounded[overflow]), f"{name} misses its overflow"
    got, want, x = got[~overflow], want[~overflow], x[~overflow]
    error = np.abs(got.astype(want.dtype) - want) / ulp(want, got.dtype)
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    assert error[worst] <= limit, f"{name}({x[worst]!r}) = {got[worst]!r}: off by {error[worst]:.3f} ulp"


def test_the_docstring_states_every_error():
    assert set(LIMITS) == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_single(name, route):
    """Every 4099th number of the type, and all of those near 0 and around the reductions of the range."""
    near = [1.0, 0.5, math.sqrt(0.5), math.sqrt(2.0), 0.34657359, 1.0397208, 88.0, 88.72, 103.9, 17.0]
    steps = np.arange(-60, 60)
    close = np.concatenate(
        [(np.float32(v).view(np.int32) + steps).astype(np.int32).view(np.float32) for v in near]
    )
    x = inside(name, np.concatenate([every(4099), close, -close, every(2**20 + 1)]))
    with np.errstate(all="ignore"):
        want = FUNCTIONS[name][1](x.astype(np.float64))
    assert_within(name, x, route(name, x), want, LIMITS[name][0])


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_single_densely(name):
    for k in range(16):
        x = inside(name, every(127)[k::16])
        with np.errstate(all="ignore"):
            want = FUNCTIONS[name][1](x.astype(np.float64))
        assert_within(name, x, apply(LOOPS[name], x), want, LIMITS[name][0])


def double_points(rng, n):
    """Random numbers of every magnitude, and more of them where the functions bend."""
    patterns = rng.integers(0, 2**64, n, dtype=np.uint64).view(np.float64)
    return np.concatenate(
        [
            patterns,
            rng.uniform(-1, 1, n),
            rng.uniform(-40, 40, n),
            rng.uniform(-750, 750, n // 2),
            10.0 ** rng.uniform(-20, 3, n) * rng.choice([-1, 1], n),
            1.0 + rng.normal(size=n) * 2.0 ** rng.integers(-50, 0, n),
            np.array([5e-324, -5e-324, 2.2250738585072014e-308, -1e-310, 709.78, -744.4, -745.1, 1.0, -0.5]),
        ]
    )


def exact(name, x):
    """Return the function's values in mpmath as pairs of float64 whose sum is good to 100 bits."""
    with mpmath.workprec(160):
        values = [FUNCTIONS[name][2](mpmath, mpmath.mpf(float(v))) for v in x]
        high = np.array([float(v) for v in values])
        low = np.array(
            [float(v - mpmath.mpf(h)) if math.isfinite(h) else 0.0 for v, h in zip(values, high, strict=True)]
        )
    return high, low


def assert_double(name, x, got):
    high, low = exact(name, x)
    finite = np.isfinite(high)
    assert np.array_equal(got[~finite], high[~finite]), f"{name} misses its overflow"
    error = np.abs((got[finite] - high[finite]) - low[finite]) / ulp(high[finite], np.float64)
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    assert error[worst] <= LIMITS[name][1], (
        f"{name}({x[finite][worst]!r}) = {got[finite][worst]!r}: off by {error[worst]:.3f} ulp"
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_double(name, route, rng):
    x = inside(name, double_points(rng, 300))
    assert_double(name, x, route(name, x))


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_double_densely(name, rng):
    x = inside(name, double_points(rng, 20_000))
    assert_double(name, x, apply(LOOPS[name], x))


INF, NAN = math.inf, math.nan
TINY = {np.dtype(np.float32): 1e-45, np.dtype(np.float64): 5e-324}
LIMIT_VALUES = {
    "exp": {INF: INF, -INF: 0.0, 0.0: 1.0, -1e4: 0.0, 1e4: INF},
    "expm1": {-INF: -1.0, 0.0: 0.0, -1e4: -1.0},
    "log": {INF: INF, 0.0: -INF, 1.0: 0.0, -1.0: NAN, -INF: NAN},
    "log1p": {0.0: 0.0},
    "tanh": {INF: 1.0, -INF: -1.0, 0.0: 0.0, 1e4: 1.0, -1e4: -1.0},
    "sigmoid": {INF: 1.0, -INF: 0.0, 0.0: 0.5, 1e4: 1.0, -1e4: 0.0},
    "softplus": {INF: INF, -INF: 0.0, 1e4: 1e4, -1e4: 0.0},
    "erf": {INF: 1.0, -INF: -1.0, 0.0: 0.0, 1e4: 1.0, -1e4: -1.0},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_limits(name, dtype, route):
    points = np.array([*LIMIT_VALUES[name], NAN, -NAN], dtype)
    want = np.array([*LIMIT_VALUES[name].values(), NAN, NAN], dtype)
    assert np.array_equal(route(name, points), want, equal_nan=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_in_one_lane_stays_there(name, dtype, route, rng):
    x = -rng.uniform(0.1, 0.9, 64).astype(dtype)
    x = -x if name in ("log", "log1p") else x
    spoiled = x.copy()
    spoiled[::5] = NAN
    clean, got = route(name, x), route(name, spoiled)
    assert np.array_equal(np.isnan(got), np.isnan(spoiled))
    assert np.array_equal(got[~np.isnan(got)], clean[~np.isnan(got)])


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_odd_functions_keep_the_sign_of_zero(name, dtype, route):
    got = route(name, np.array([0.0, -0.0], dtype))
    assert np.array_equal(np.signbit(got), [False, True])


def test_subnormal_numbers(dtype, route):
    tiny, smallest = dtype.type(TINY[dtype]), np.finfo(dtype).smallest_normal
    x = np.array([tiny, 3 * tiny, smallest / 2, smallest], dtype)
    assert np.all(route("exp", np.concatenate([x, -x])) == 1.0)
    assert np.all(route("sigmoid", np.concatenate([x, -x])) == 0.5)
    assert np.allclose(
        route("log", x), np.log(x.astype(np.longdouble)).astype(dtype), rtol=4 * np.finfo(dtype).eps
    )
    # Where the function is x, or 2 x / sqrt(pi), to first order, small arguments keep what digits they have.
    for name, slope in (("expm1", 1.0), ("tanh", 1.0), ("erf", 2.0 / math.sqrt(math.pi))):
        got = route(name, -x).astype(np.float64)
        assert np.all(np.abs(got + slope * x.astype(np.float64)) <= 2.0 * float(tiny)), name
    # Results: the last exponentials before 0.
    log_tiny = {4: -103.2, 8: -744.0}[dtype.itemsize]
    got = route("exp", np.array([log_tiny, log_tiny + 2], dtype)).astype(np.float64)
    want = np.exp(np.array([log_tiny, log_tiny + 2]))
    assert np.all(got > 0.0)
    assert np.all(np.abs(got - want) <= 1.5 * float(tiny))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_monotone(name, dtype, route):
    """No function steps down by more than its rounding, across every seam of its range reduction."""
    low, high = FUNCTIONS[name][3]
    x = np.linspace(max(low, -50.0) + 1e-6, min(high, 50.0), 400 if INTERPRETED else 20_001).astype(dtype)
    got = route(name, x)
    falls = got[:-1].astype(np.float64) - got[1:]
    limit = 2 * LIMITS[name][0 if dtype.itemsize == 4 else 1]
    assert np.all(falls <= limit * ulp(got[1:], dtype))


def test_quotients_by_an_estimate(dtype, rng):
    """Within a unit in the last place of a division, nearly always the same; also at the ends of the range."""
    divide = vectorwise(quotient, 2)
    limits = np.finfo(dtype)
    # As in an update: a root and a small number below, and anything above.
    b = (10.0 ** rng.uniform(-12, 12, 40_000)).astype(dtype)
    a = (rng.choice([-1.0, 1.0], 40_000) * 10.0 ** rng.uniform(-18, 18, 40_000)).astype(dtype)
    found, true = apply(divide, a, b), a / b
    assert np.all(np.abs(found - true) <= ulp(true, dtype))
    assert np.mean(found == true) > 0.999
    a = np.array([0.0, -0.0, 1.0, -3.0, math.nan, 1.0, 0.0, limits.max, 0.0, limits.tiny], dtype)
    b = np.array(
        [1.0, 2.0, 1.0, 1.5, 1.0, math.nan, 1e-30, 2.0, limits.smallest_subnormal, limits.tiny], dtype
    )
    assert np.array_equal(apply(divide, a, b), a / b, equal_nan=True)
    # By infinity, as in a division: the square of a gradient may be infinite, and then nothing moves.
    a = np.array([1.0, -1.0, limits.max, -limits.max, math.inf, math.nan], dtype)
    found = apply(divide, a, np.full(6, math.inf, dtype))
    assert np.array_equal(found, [0.0, 0.0, 0.0, 0.0, math.nan, math.nan], equal_nan=True)
    # What is no number of this type any more is not finite.
    assert not np.isfinite(
        apply(divide, np.array([limits.max, math.inf], dtype), np.array([0.1, 2.0], dtype))
    ).any()
