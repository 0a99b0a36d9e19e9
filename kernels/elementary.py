"""exp, expm1, log, log1p, tanh, sigmoid, softplus, erf on vectors, for float32 and float64.

PyPI's Numba has no vector math library, and the C library's functions are scalar. These are branch-free: reduction of
the range, one polynomial (bench/probes/elementary.py), and selects. NaN in gives NaN out, infinities give limits. The
largest errors, over the whole range against mpmath (tests/kernels/test_elementary.py holds them to these), in units in
the last place, float32 / float64:

    exp 1.5 / 1.5   expm1 (x <= 0) 2 / 2   log 1.5 / 1.5   log1p (0 <= x <= 1) 1.5 / 1.5
    tanh 3 / 3      sigmoid 3 / 3          softplus 2 / 2  erf 3 / 3
"""

from .machine.lanes import absolute, bits, copysign, equal, fma, from_bits, is_single, select, to_float

INFINITY, NAN = float("inf"), float("nan")
LOG2_E = 1.4426950408889634
# log(2) in two parts; the first has trailing zeros, so that its product with a small integer is exact.
LN2_HIGH_SINGLE, LN2_LOW_SINGLE = 0.693359375, -0.000212194440055
LN2_HIGH, LN2_LOW = 0.6931467056274414, 4.7493250390316723e-7
# Adding 1.5 * 2^mantissa rounds to an integer and leaves that integer in the low bits of the pattern.
ROUND_SINGLE, ROUND = 12582912.0, 6755399441055744.0
ROUND_BITS_SINGLE, ROUND_BITS = 0x4B400000, 0x4338000000000000


def _tail(r):
    """(exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2."""
    if is_single(r):
        p = fma(r, 0.0013926176119935579, 0.0083631730745137109)
        p = fma(p, r, 0.041666554662050534)
        p = fma(p, r, 0.16666577025597988)
        return fma(p, r, 0.5)
    s = r * r
    s4 = s * s
    p01 = fma(r, 0.16666666666666667, 0.5)
    p23 = fma(r, 0.0083333333333300644, 0.041666666666624162)
    p45 = fma(r, 0.00019841269863040545, 0.0013888888917196719)
    p67 = fma(r, 2.7557268480310026e-6, 2.4801521322368693e-5)
    p89 = fma(r, 2.5100375832561234e-8, 2.7620075879983367e-7)
    return fma(s4, fma(s4, p89, fma(s, p67, p45)), fma(s, p23, p01))


def exp(x):
    """e^x. The power of two is applied in two halves, so that results down to the smallest subnormal are right."""
    if is_single(x):
        x = select(x > 89.0, 89.0, select(x < -104.0, -104.0, x))
        t = fma(x, LOG2_E, ROUND_SINGLE)
        n = t - ROUND_SINGLE
        r = fma(n, -LN2_LOW_SINGLE, fma(n, -LN2_HIGH_SINGLE, x))
        shifted = bits(t) - (ROUND_BITS_SINGLE - 300)
        half = shifted >> 1
        first = from_bits((half - (150 - 127)) << 23)
        second = from_bits((shifted - half - (150 - 127)) << 23)
        return (fma(r * r, _tail(r), r) + 1.0) * first * second
    x = select(x > 710.0, 710.0, select(x < -746.0, -746.0, x))
    t = fma(x, LOG2_E, ROUND)
    n = t - ROUND
    r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x))
    shifted = bits(t) - (ROUND_BITS - 2200)
    half = shifted >> 1
    first = from_bits((half - (1100 - 1023)) << 52)
    second = from_bits((shifted - half - (1100 - 1023)) << 52)
    return (fma(r * r, _tail(r), r) + 1.0) * first * second


def expm1_nonpositive(x):
    """e^x - 1 for x <= 0, without the cancellation near 0: 2^n (e^r - 1) + (2^n - 1)."""
    if is_single(x):
        x = select(x < -40.0, -40.0, x)
        t = fma(x, LOG2_E, ROUND_SINGLE)
        n = t - ROUND_SINGLE
        r = fma(n, -LN2_LOW_SINGLE, fma(n, -LN2_HIGH_SINGLE, x))
        power = from_bits((bits(t) - (ROUND_BITS_SINGLE - 127)) << 23)
        return fma(power, fma(r * r, _tail(r), r), power - 1.0)
    x = select(x < -60.0, -60.0, x)
    t = fma(x, LOG2_E, ROUND)
    n = t - ROUND
    r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x))
    power = from_bits((bits(t) - (ROUND_BITS - 1023)) << 52)
    return fma(power, fma(r * r, _tail(r), r), power - 1.0)


def log(x):
    """Natural logarithm; -inf at 0, NaN below. x = 2^k m, m in [sqrt(1/2), sqrt(2)), s = (m - 1) / (m + 1)."""
    if is_single(x):
        tiny = x < 1.1754943508222875e-38
        u = bits(select(tiny, x * 16777216.0, x)) + (0x3F800000 - 0x3F3504F3)
        k = to_float(u >> 23) - select(tiny, x * 0.0 + 151.0, 127.0)
        m = from_bits((u & 0x007FFFFF) + 0x3F3504F3)
        f = m - 1.0
        s = f / (f + 2.0)
        w = s * s
        p = fma(fma(w, 0.29579949391972785, 0.39988780566021982), w, 0.66666685039575855)
        # log(1 + f) = f - (f^2/2 - s (f^2/2 + p s^2)): the leading f is exact
        square = f * f * 0.5
        rest = fma(-s, fma(p, w, square), square)
        result = fma(k, LN2_HIGH_SINGLE, f - (rest - k * LN2_LOW_SINGLE))
    else:
        tiny = x < 2.2250738585072014e-308
        u = bits(select(tiny, x * 18014398509481984.0, x)) + (0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
        k = to_float(u >> 52) - select(tiny, x * 0.0 + 1077.0, 1023.0)
        m = from_bits((u & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD)
        f = m - 1.0
        s = f / (f + 2.0)
        w = s * s
        p = fma(w, 0.14616449685043406, 0.15331721600556041)
        p = fma(p, w, 0.18182889125261722)
        p = fma(p, w, 0.2222221113479508)
        p = fma(p, w, 0.28571428625975485)
        p = fma(p, w, 0.39999999999899504)
        p = fma(p, w, 0.66666666666666697)
        square = f * f * 0.5
        rest = fma(-s, fma(p, w, square), square)
        result = fma(k, LN2_HIGH, f - (rest - k * LN2_LOW))
    result = select(equal(x, INFINITY), x, result)
    result = select(equal(x, 0.0), -INFINITY, result)
    return select(x >= 0.0, result, NAN)


def log1p_unit(x):
    """log(1 + x) for 0 <= x <= 1: with s = x / (x + 2) and w = s^2 it is x - s (x - w p(w))."""
    s = x / (x + 2.0)
    w = s * s
    if is_single(x):
        p = fma(w, 0.26851498022837152, 0.28236619805310481)
        p = fma(p, w, 0.40007560644911206)
        p = fma(p, w, 0.6666664033669924)
    else:
        p = fma(w, 0.16164045611943532, 0.088007384861446739)
        p = fma(p, w, 0.12001072809590713)
        p = fma(p, w, 0.13314144209654936)
        p = fma(p, w, 0.15385570064958623)
        p = fma(p, w, 0.18181789436132858)
        p = fma(p, w, 0.22222222717427863)
        p = fma(p, w, 0.28571428567108757)
        p = fma(p, w, 0.40000000000014583)
        p = fma(p, w, 0.66666666666666659)
    return fma(-s, fma(-w, p, x), x)


def tanh(x):
    """(1 - e^(-2|x|)) / (1 + e^(-2|x|)) with the sign of x; accurate to the last places near 0 as well."""
    t = expm1_nonpositive(absolute(x) * -2.0)
    return copysign(-t / (t + 2.0), x)


def sigmoid(x):
    """1 / (1 + e^-x), as e^-|x| / (1 + e^-|x|) below 0 so that small results keep their digits."""
    e = exp(-absolute(x))
    return select(x < 0.0, e, 1.0) / (e + 1.0)


def softplus(x):
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    return select(x < 0.0, 0.0, x) + log1p_unit(exp(-absolute(x)))


def erf_and_exp(x):
    """(erf(x), e^(-x^2)): the error function, and what it takes half of its time for; Phi and phi are made of them.

    It is x times a polynomial in x^2 up to 1, 1 - e^(-x^2) times a polynomial in (|x| - 2) / (|x| + 2) beyond.
    """
    y = absolute(x)
    w = y * y
    capped = select(y > 6.0, 6.0, y)
    t = (capped - 2.0) / (capped + 2.0)
    if is_single(x):
        p = fma(w, 7.8758750626854883e-5, -0.00080168642871658695)
        p = fma(p, w, 0.005189087423433974)
        p = fma(p, w, -0.026854212010626412)
        p = fma(p, w, 0.11283594715160218)
        p = fma(p, w, -0.37612626666720331)
        p = fma(p, w, 1.1283791658483509)
        q = fma(t, -0.00084686088663807126, -0.0008467640506489965)
        q = fma(q, t, 0.006973542284184829)
        q = fma(q, t, 0.00373360678012714)
        q = fma(q, t, -0.078977150795403771)
        q = fma(q, t, 0.24165816708007646)
        q = fma(q, t, -0.42718587010054583)
        q = fma(q, t, 0.25539567635701709)
    else:
        p = fma(w, -7.7958988270021422e-10, 1.3720064546777686e-8)
        p = fma(p, w, -1.6208483801871706e-7)
        p = fma(p, w, 1.6447424703317362e-6)
        p = fma(p, w, -1.492473690741966e-5)
        p = fma(p, w, 0.00012055294904839708)
        p = fma(p, w, -0.00085483259753896921)
        p = fma(p, w, 0.0052239776071164227)
        p = fma(p, w, -0.02686617064323777)
        p = fma(p, w, 0.11283791670945006)
        p = fma(p, w, -0.3761263890318354)
        p = fma(p, w, 1.1283791670955126)
        q = fma(t, -1.1352571477273626e-6, 1.272567661840228e-6)
        q = fma(q, t, 4.0117496473250669e-6)
        q = fma(q, t, 1.3058577122278016e-6)
        q = fma(q, t, -1.3998283772784977e-5)
        q = fma(q, t, -2.7562209161129353e-5)
        q = fma(q, t, 2.7527175557227247e-5)
        q = fma(q, t, 0.00017435947400205158)
        q = fma(q, t, 4.3555586865754816e-5)
        q = fma(q, t, -0.00098197694110386427)
        q = fma(q, t, -0.00084714325299195005)
        q = fma(q, t, 0.0069974617369715787)
        q = fma(q, t, 0.0037328924043978338)
        q = fma(q, t, -0.078978581015706104)
        q = fma(q, t, 0.24165819424246585)
        q = fma(q, t, -0.42718584741395849)
        q = fma(q, t, 0.25539567631050574)
    e = exp(-w)
    return select(y > 1.0, copysign(1.0 - e * q, x), p * x), e
