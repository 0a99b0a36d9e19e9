"""How fast one core multiplies and adds on registers: what every kernel is measured against."""

import time

import numpy as np

from .jit import entry
from .simd import fma, lanes_of, load, total
from .target import ROW_BYTES


@entry
def _multiply_adds(array, n):
    """Run n rounds of ten independent chains of multiply-adds on registers; returns a number that depends on all."""
    x = load(array, 0)
    # Ten different starts: equal chains could be merged into one.
    a, b, c, d, e = x, x + 0.1, x + 0.2, x + 0.3, x + 0.4
    f, g, h, i, j = x - 0.1, x - 0.2, x - 0.3, x - 0.4, x - 0.5
    for _ in range(n):
        a = fma(a, x, x)
        b = fma(b, x, x)
        c = fma(c, x, x)
        d = fma(d, x, x)
        e = fma(e, x, x)
        f = fma(f, x, x)
        g = fma(g, x, x)
        h = fma(h, x, x)
        i = fma(i, x, x)
        j = fma(j, x, x)
    return total(a + b + c + d + e + f + g + h + i + j)


def fma_peak(dtype="float32", seconds=0.2):
    """Return the floating-point operations per second of one core on registers: what every kernel is measured against.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    seconds : float
        How long to measure; the best of the tries counts.
    """
    array = np.full(ROW_BYTES // np.dtype(dtype).itemsize, 0.5, dtype)
    rounds = 20000
    work = 2.0 * 10 * lanes_of(array) * rounds
    _multiply_adds(array, 1)
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        _multiply_adds(array, rounds)
        best = min(best, time.perf_counter() - start)
    return work / best
