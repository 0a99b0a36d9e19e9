"""Helpers of the kernel tests: small compiled loops around kernels, guard bands, and errors in ulp."""

import numba
import numpy as np
from numba.core import config

from fastbp.kernels.simd import lanes, load, store, traced

INTERPRETED = bool(config.DISABLE_JIT)
BOUNDSCHECK = bool(config.BOUNDSCHECK)
# Enough elements around a buffer that a kernel which misses its end by a whole tile of vectors is seen.
BAND = 64


def compiled(function):
    """Compile a test's own loop with the options of the kernels; the plain function in the interpreter mode."""
    return numba.njit(error_model="numpy")(function)


def vectorwise(function, count=1):
    """Compile out = function(x) (or of two or three arrays) over arrays whose size is a multiple of the vector's."""
    if not function.__name__.isidentifier():
        function.__name__ = "of_a_test"  # lambdas: Numba sees a function of that name
    operation = traced(function)

    def one(x, out):
        for j in range(0, x.size, lanes(x)):
            store(out, j, operation(load(x, j)))

    def two(x, y, out):
        for j in range(0, x.size, lanes(x)):
            store(out, j, operation(load(x, j), load(y, j)))

    def three(x, y, z, out):
        for j in range(0, x.size, lanes(x)):
            store(out, j, operation(load(x, j), load(y, j), load(z, j)))

    return compiled((one, two, three)[count - 1])


def whole_vectors(x):
    """Return x lengthened to a multiple of the widest vector by repeating its last element."""
    missing = -len(x) % 16
    return np.concatenate([x, np.repeat(x[-1:], missing)])


def apply(loop, *arrays):
    """Return what a loop of `vectorwise` makes of arrays of any length."""
    padded = [whole_vectors(x) for x in arrays]
    out = np.empty_like(padded[0])
    with np.errstate(all="ignore"):
        loop(*padded, out)
    return out[: len(arrays[0])]


def ulp(values, dtype):
    """Return the distance between neighboring numbers of `dtype` at |values|, subnormals included."""
    info = np.finfo(dtype)
    _, exponent = np.frexp(np.abs(np.asarray(values, np.float64)))
    return np.ldexp(1.0, np.maximum(exponent - info.nmant - 1, info.minexp - info.nmant))


class Guarded:
    """A flat buffer between two bands of a value that no kernel writes; `intact` says whether they still hold it.

    >>> g = Guarded(np.zeros(3))
    >>> g.whole[g.start : g.start + 3] is not None, g.intact()
    (True, True)
    """

    MARK = -123456.75

    def __init__(self, content):
        content = np.asarray(content)
        self.start, self.size = BAND, content.size
        self.whole = np.full(content.size + 2 * BAND, self.MARK, content.dtype)
        self.content[...] = content.reshape(-1)

    @property
    def content(self):
        """The buffer, a live view."""
        return self.whole[self.start : self.start + self.size]

    def intact(self):
        """Whether both bands are as they were."""
        bands = np.concatenate([self.whole[: self.start], self.whole[self.start + self.size :]])
        return bool(np.all(bands == self.MARK))
