"""Counter-based random numbers for dropout: a mask is a function of seed, step, layer, row and column.

Nothing is stored and no order is implied, so masks are the same whatever the number of threads or the length of a
chunk, and the backward pass makes them anew. The mixers are Wellons' lowbias32 and Stafford's variant 13 of the 64-bit
finalizer, keyed before the first and between the rounds.
"""

import numpy as np

from .machine.jit import kernel
from .machine.lanes import is_single, to_float
from .machine.loops import count_with
from .machine.simd import fill, lanes, load, select, store


def _mix32(x, key):
    x = x ^ key
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    x = (x ^ (x >> 16)) + key
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)


def _mix64(x, key):
    x = x ^ key
    x = (x ^ (x >> 30)) * 0x3F58476D1CE4E5B9
    x = (x ^ (x >> 27)) * 0x14D049BB133111EB
    x = (x ^ (x >> 31)) + key
    x = (x ^ (x >> 30)) * 0x3F58476D1CE4E5B9
    x = (x ^ (x >> 27)) * 0x14D049BB133111EB
    return x ^ (x >> 31)


@kernel
def key_of(seed, step, layer):
    """Return a key in [0, 2^31) from the seed of the run, the number of the batch and the layer."""
    key = 0x2545F491
    low, middle, high = seed & 0x7FFFFFFF, (seed >> 31) & 0x7FFFFFFF, seed >> 62
    for part in (low, middle, high, layer + 1, step & 0x7FFFFFFF, step >> 31):
        key = ((key ^ part) * 0x2C1B3C6D) & 0x7FFFFFFF
        key = ((key ^ (key >> 12)) * 0x297A2D39) & 0x7FFFFFFF
        key = key ^ (key >> 15)
    return key


def _uniform(counters, key):
    if is_single(counters):
        return to_float(_mix32(counters, key) >> 8) * np.float32(2.0**-24)
    return to_float(_mix64(counters, key) >> 11) * 2.0**-53


# uniform(array, start, key): one vector of numbers in [0, 1), for the counters start, start + 1, ...
uniform = count_with(_uniform)


@kernel
def drop(A, a0, ld, row, m, rate, key):
    """A = A * mask / (1 - rate) on m rows, the first of which is row `row` of the batch."""
    keep = 1.0 / (1.0 - rate)
    threshold = fill(A, rate)
    for j in range(0, m * ld, lanes(A)):
        lost = uniform(A, row * ld + j, key) < threshold
        store(A, a0 + j, select(lost, 0.0, load(A, a0 + j) * keep))
