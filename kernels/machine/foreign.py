"""Losses of the user's inside kernels: a pair of functions compiled by Numba, called by an address.

Both functions and the lines around them are compiled together, into a function of numbers only, for one dtype. It is
kept on disk with the kernels, under a hash of the user's functions and of all that they refer to.
"""

import warnings

import numba
import numpy as np
from llvmlite import ir
from numba.core import config, types
from numba.core.dispatcher import Dispatcher
from numba.core.errors import NumbaError
from numba.core.extending import intrinsic

from .announcing import refuse
from .simd import checked_pointer, operation
from .stamps import stamp

WORD, DOUBLE = ir.IntType(64), ir.DoubleType()
_KEPT: dict[object, tuple[int, object]] = {}


def _twin(address, work, p0, y0, ld, m, o, weights, values, scale):
    raise NotImplementedError("a loss compiled by Numba is called from Python in the interpreter mode")


@operation(twin=_twin)
def judge(typingctx, address, work, p0, y0, ld, m, o, weights, values, scale):
    """Value and delta of m rows by the function at an address; 0, or 1 if it failed."""
    P, F = types.int64, types.float64

    def codegen(context, builder, sig, args):
        address, work, p0, y0, ld, m, o, weights, values, scale = args
        kind = sig.args[1]
        span = builder.mul(m, ld)
        zero = ir.Constant(WORD, 0)
        places = [
            checked_pointer(context, builder, kind, work, p0, span),
            checked_pointer(context, builder, kind, work, y0, span),
            checked_pointer(context, builder, sig.args[7], weights, zero, m),
            checked_pointer(context, builder, sig.args[8], values, zero, m),
        ]
        out, y, w, v = (builder.ptrtoint(place, WORD) for place in places)
        function = ir.FunctionType(WORD, [WORD] * 7 + [DOUBLE])
        pointer = builder.inttoptr(address, function.as_pointer())
        return builder.call(pointer, [out, y, ld, m, o, w, v, scale])

    return types.int64(P, work, P, P, P, P, P, weights, values, F), codegen


def _pointer_to(element):
    """Return at(address), a typed pointer, for compiled code."""

    @intrinsic
    def at(typingctx, address):
        def codegen(context, builder, sig, args):
            return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

        return types.CPointer(element)(types.int64), codegen

    return at


def address_of(value, grad, dtype):
    """Return the address of value and delta of rows by two functions, or None if they are not compiled, or cannot be.

    Parameters
    ----------
    value, grad : callable
        Those of `fastbp.Loss`.
    dtype : numpy.dtype
    """
    if config.DISABLE_JIT or not (isinstance(value, Dispatcher) and isinstance(grad, Dispatcher)):
        return None
    key = value, grad, dtype
    if key not in _KEPT:
        try:
            _KEPT[key] = _compiled(value, grad, dtype)
        except (NumbaError, AttributeError):
            # Called from Python, they are answered with a message that says what they must return. The second error is
            # that of a Numba which lacks what is asked here.
            return None
    return _KEPT[key][0]


def _compiled(value, grad, dtype):
    element, kind = numba.from_dtype(dtype), dtype.type
    numbers, doubles = _pointer_to(element), _pointer_to(types.float64)

    def rows(out, y, ld, m, o, weights, values, scale):
        """Values, weighted, and dC/da in the place of the targets."""
        p, t = numba.carray(numbers(out), (m, ld)), numba.carray(numbers(y), (m, ld))
        w, v = numba.carray(doubles(weights), m), numba.carray(doubles(values), m)
        # Each function gets copies, which it may change; one piece of memory, since to ask for it is what costs.
        copies = np.empty((4, m, o), kind)
        for r in range(m):
            for j in range(o):
                copies[0, r, j] = copies[2, r, j] = t[r, j]
                copies[1, r, j] = copies[3, r, j] = p[r, j]
        try:
            a = value(copies[0], copies[1])
            g = grad(copies[2], copies[3])
        except Exception:
            return 1
        if a.ndim != 1 or g.ndim != 2 or a.shape[0] != m or g.shape[0] != m or g.shape[1] != o:
            return 1
        for r in range(m):
            factor = w[r] * scale
            fine = np.isfinite(a[r])
            v[r] = w[r] * a[r]
            for j in range(o):
                fine = fine and np.isfinite(g[r, j])
                t[r, j] = g[r, j] * factor
            if not fine:
                return 1
        return 0

    signature = (types.int64,) * 7 + (types.float64,)
    dispatcher = numba.njit(nogil=True, error_model="numpy")(rows)
    try:
        from .disk import ArrayCache
    except ImportError:  # Numba lacks something, and nothing is kept: see jit.py
        refuse("a loss of yours")
    else:
        dispatcher._cache = ArrayCache(rows, stamp(dtype.name, value, grad))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dispatcher.compile(signature)
    made = dispatcher.overloads[signature]
    # The dispatcher is returned too: the machine code lives as long as it.
    return made.library.get_pointer_to_function(made.fndesc.llvm_cfunc_wrapper_name), dispatcher
