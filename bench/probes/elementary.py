"""Fit the polynomials of kernels/elementary.py: `python -m bench.probes.elementary` prints each with its error.

Interpolation at Chebyshev nodes in 60-digit arithmetic, within a factor of two of the best polynomial of the degree.
"""

import mpmath as mp

mp.mp.dps = 60


def fit(function, low, high, degree):
    """Return coefficients (constant first) of the interpolant of `function` on [low, high] and its largest error."""
    middle, half = (mp.mpf(low) + high) / 2, (mp.mpf(high) - low) / 2
    nodes = [middle + half * mp.cos(mp.pi * (2 * j + 1) / (2 * degree + 2)) for j in range(degree + 1)]
    rows = mp.matrix([[x**k for k in range(degree + 1)] for x in nodes])
    coefficients = mp.lu_solve(rows, mp.matrix([function(x) for x in nodes]))
    grid = [middle + half * mp.mpf(j) / 500 for j in range(-500, 501)]
    error = max(abs(mp.polyval(list(coefficients)[::-1], x) - function(x)) for x in grid)
    return list(coefficients), error


def exponential(r):
    """(exp(r) - 1 - r) / r^2, the tail that exp and expm1 share."""
    if abs(r) < mp.mpf("1e-20"):
        return mp.mpf(1) / 2
    return (mp.expm1(r) - r) / r**2


def logarithm(w):
    """(log((1 + s) / (1 - s)) - 2 s) / s^3 as a function of w = s^2."""
    if w < mp.mpf("1e-30"):
        return mp.mpf(2) / 3
    s = mp.sqrt(w)
    return (mp.log((1 + s) / (1 - s)) - 2 * s) / s**3


def error_small(w):
    """erf(x) / x as a function of w = x^2."""
    if w < mp.mpf("1e-30"):
        return 2 / mp.sqrt(mp.pi)
    x = mp.sqrt(w)
    return mp.erf(x) / x


def error_tail(t):
    """exp(x^2) erfc(x) as a function of t = (x - 2) / (x + 2)."""
    x = 2 * (1 + t) / (1 - t)
    return mp.exp(x * x) * mp.erfc(x)


def main():
    """Print every table."""
    half = mp.log(2) / 2
    edge = (3 - 2 * mp.sqrt(2)) ** 2

    def to_t(x):
        return (mp.mpf(x) - 2) / (mp.mpf(x) + 2)

    for name, function, low, high, degrees in (
        ("exp tail on |r| <= log(2)/2", exponential, -half, half, (4, 9)),
        ("log tail in s^2", logarithm, 0, edge, (2, 6)),
        ("log1p tail in s^2, 0 <= x <= 1", logarithm, 0, mp.mpf(1) / 9, (3, 9)),
        ("erf(x)/x in x^2, |x| <= 1", error_small, 0, 1, (6, 11)),
        ("exp(x^2) erfc(x) in t, 1 <= x <= 6", error_tail, to_t(1), to_t(6), (7, 16)),
    ):
        for degree in degrees:
            coefficients, error = fit(function, low, high, degree)
            print(f"{name}, degree {degree}, error {mp.nstr(error, 3)}")
            print("  " + ", ".join(mp.nstr(c, 17) for c in coefficients))


if __name__ == "__main__":
    main()
