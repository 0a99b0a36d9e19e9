"""Counter-based random numbers for dropout: a mask is a function of seed, step, layer, row and column.

Nothing is stored and no order is implied, so masks are the same whatever the number of threads or the length of a chunk,
and the backward pass makes them anew. The mixers are Wellons' lowbias32 and Stafford's variant 13 of the 64-bit
finalizer, keyed before the first and between the rounds.
"""

from .jit import kernel
from .simd import counter, is_single, lanes, load, select, store, to_float


@kernel(inline=True)
def _mix32(x, key):
    x = x ^ key
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    x = (x ^ (x >> 16)) + key
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)


@kernel(inline=True)
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
    key = (seed & 0x7FFFFFFF) ^ 0x2545F491
    for part in (step & 0x7FFFFFFF, layer + 1, step >> 31, (seed >> 31) & 0x7FFFFFFF):
        key = ((key ^ part) * 0x2C1B3C6D) & 0x7FFFFFFF
        key = ((key ^ (key >> 12)) * 0x297A2D39) & 0x7FFFFFFF
        key = key ^ (key >> 15)
    return key


@kernel(inline=True)
def uniform(array, start, key):
    """Return one vector of numbers in [0, 1), for the counters start, start + 1, ..."""
    if is_single(load(array, 0)):
        return to_float(_mix32(counter(array, start), key) >> 8) * 5.9604644775390625e-8
    return to_float(_mix64(counter(array, start), key) >> 11) * 1.1102230246251565e-16


@kernel
def drop(A, a0, ld, row, m, rate, key):
    """A = A * mask / (1 - rate) on m rows, the first of which is row `row` of the batch."""
    keep = 1.0 / (1.0 - rate)
    for j in range(0, m * ld, lanes(A)):
        kept = uniform(A, row * ld + j, key) >= rate
        store(A, a0 + j, select(kept, load(A, a0 + j) * keep, 0.0))
