"""Vector arithmetic as it is written, and as LLVM IR.

The functions of elementary.py, activations.py, losses.py and optimizers.py are plain Python over `+ - * /`,
comparisons and the few operations below. Given NumPy arrays they compute (that is the interpreter mode, and the tests);
given `Lanes` they write down LLVM instructions, which is how they get into a kernel: traced once, without a Numba
function, type inference or an LLVM module for each, which took four fifths of the compile time before.
"""

import numpy as np
from llvmlite import ir

from .target import ESTIMATES

_INTRINSIC_SUFFIX = {"float": "f32", "double": "f64"}


class Lanes:
    """A vector value of the function being written: LLVM value and builder. Numbers are broadcast to its type."""

    __slots__ = ("builder", "value")
    __array_ufunc__ = None

    def __init__(self, builder, value):
        self.builder = builder
        self.value = value

    @property
    def single(self):
        """Whether the lanes are 32 bits wide."""
        element = self.value.type.element
        return isinstance(element, ir.FloatType) or getattr(element, "width", 64) == 32

    @property
    def real(self):
        """Whether the lanes are floating-point numbers."""
        return isinstance(self.value.type.element, (ir.FloatType, ir.DoubleType))

    def like(self, other):
        """Return `other`, a number or Lanes, as a value of this type."""
        if isinstance(other, Lanes):
            return other.value
        kind = self.value.type
        if self.real:
            number = float(np.float32(other)) if self.single else float(other)
        else:
            number = int(other) % (1 << kind.element.width)
        return ir.Constant(kind, [number] * kind.count)

    def _arithmetic(self, other, real, whole, swapped=False):
        a, b = self.value, self.like(other)
        if swapped:
            a, b = b, a
        emit = getattr(self.builder, real if self.real else whole)
        flags = ("contract",) if real in ("fadd", "fsub", "fmul") and self.real else ()
        return Lanes(self.builder, emit(a, b, flags=flags))

    def __add__(self, other):
        return self._arithmetic(other, "fadd", "add")

    def __sub__(self, other):
        return self._arithmetic(other, "fsub", "sub")

    def __rsub__(self, other):
        return self._arithmetic(other, "fsub", "sub", swapped=True)

    def __mul__(self, other):
        return self._arithmetic(other, "fmul", "mul")

    __radd__ = __add__
    __rmul__ = __mul__

    def __truediv__(self, other):
        return Lanes(self.builder, self.builder.fdiv(self.value, self.like(other)))

    def __rtruediv__(self, other):
        return Lanes(self.builder, self.builder.fdiv(self.like(other), self.value))

    def __neg__(self):
        return Lanes(self.builder, self.builder.fneg(self.value))

    def __and__(self, other):
        return Lanes(self.builder, self.builder.and_(self.value, self.like(other)))

    def __xor__(self, other):
        return Lanes(self.builder, self.builder.xor(self.value, self.like(other)))

    def __rshift__(self, other):
        return Lanes(self.builder, self.builder.lshr(self.value, self.like(other)))

    def __lshift__(self, other):
        return Lanes(self.builder, self.builder.shl(self.value, self.like(other)))

    def _compare(self, predicate, other):
        return Lanes(self.builder, self.builder.fcmp_ordered(predicate, self.value, self.like(other)))

    def __lt__(self, other):
        return self._compare("<", other)

    def __le__(self, other):
        return self._compare("<=", other)

    def __gt__(self, other):
        return self._compare(">", other)

    def __ge__(self, other):
        return self._compare(">=", other)

    def equals(self, other):
        """Mask of the lanes that equal `other`."""
        return self._compare("==", other)


def call(builder, name, *args):
    """Call the LLVM intrinsic `name`, overloaded on the vector type of the first argument."""
    kind = args[0].type
    full = f"llvm.{name}.v{kind.count}{_INTRINSIC_SUFFIX[str(kind.element)]}"
    function = builder.module.globals.get(full)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(kind, [a.type for a in args]), full)
    return builder.call(function, args)


def splat(builder, scalar, count):
    """Return a vector of `count` copies of an LLVM scalar."""
    kind = ir.VectorType(scalar.type, count)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def _traced(*args):
    return next((a for a in args if isinstance(a, Lanes)), None)


def is_single(v):
    """Whether the lanes are float32: decided while tracing, the branch not taken leaves no code."""
    return v.single if isinstance(v, Lanes) else v.dtype.itemsize == 4


def fma(a, b, c):
    """Return a b + c, in one rounding where the machine has the instruction."""
    v = _traced(a, b, c)
    if v is None:
        return a * b + c
    return Lanes(v.builder, call(v.builder, "fmuladd", v.like(a), v.like(b), v.like(c)))


def select(mask, a, b):
    """Return a where the mask is set, b elsewhere."""
    v = _traced(a, b)
    if v is None and isinstance(mask, Lanes):
        raise TypeError("select needs at least one vector")
    if v is None:
        kind = next(x.dtype for x in (a, b) if hasattr(x, "dtype"))
        return np.where(mask, a, b).astype(kind)
    return Lanes(v.builder, v.builder.select(mask.value, v.like(a), v.like(b)))


def equal(a, b):
    """Return the mask of equal lanes."""
    return a.equals(b) if isinstance(a, Lanes) else a == b


def sqrt(v):
    """Square root, correctly rounded."""
    return Lanes(v.builder, call(v.builder, "sqrt", v.value)) if isinstance(v, Lanes) else np.sqrt(v)


def quotient(a, b):
    """Return a / b for b >= 0, to a unit in the last place; of 8 float64 without the machine's division.

    x = 1 / b to 14 bits, an instruction; twice x + x (1 - b x), whose error is the square; q = a x; and last
    q + x (a - b q), which rounds nearly always as a division does. Root and division share a unit in which no two of
    them overlap: a step of Adam for 8 numbers takes 15 ns with both there, 9.4 so. For 16 float32 it is 8.5 and 7.2 ns
    in the first caches, and nothing in a network.

    What is not as in a division: b below the least normal number is taken for that, and a quotient that is too large
    for a float may become NaN.
    """
    v = _traced(a, b)
    if v is None or v.single or not ESTIMATES:
        return a / b
    builder, kind, limits, mask = v.builder, v.value.type, np.finfo(np.float64), ir.IntType(8)
    a, b = v.like(a), v.like(b)
    # What has no finite reciprocal, or none that times b is a number, is taken for the next that has; NaN stays.
    least, greatest = v.like(float(limits.tiny)), v.like(float(limits.max))
    infinite = builder.fcmp_ordered("<", greatest, b)
    b = builder.select(builder.fcmp_ordered(">", least, b), least, builder.select(infinite, greatest, b))
    back, name = builder.fneg(b), "llvm.x86.avx512.rcp14.pd.512"
    estimate = builder.module.globals.get(name)
    if estimate is None:
        estimate = ir.Function(builder.module, ir.FunctionType(kind, [kind, kind, mask]), name)
    x = builder.call(estimate, [b, ir.Constant(kind, None), ir.Constant(mask, -1)])
    for _ in range(2):
        x = call(builder, "fma", call(builder, "fma", back, x, v.like(1.0)), x, x)
    q = builder.fmul(a, x)
    q = call(builder, "fma", call(builder, "fma", back, q, a), x, q)
    # 0 for any number, NaN for what is infinite, too.
    return Lanes(builder, builder.select(infinite, builder.fmul(a, v.like(0.0)), q))


def absolute(v):
    """|v|."""
    return Lanes(v.builder, call(v.builder, "fabs", v.value)) if isinstance(v, Lanes) else np.abs(v)


def copysign(magnitude, sign):
    """Return |magnitude| with the sign of `sign`."""
    v = _traced(magnitude, sign)
    if v is None:
        kind = next(x.dtype for x in (magnitude, sign) if hasattr(x, "dtype"))
        return np.copysign(magnitude, sign).astype(kind)
    return Lanes(v.builder, call(v.builder, "copysign", v.like(magnitude), v.like(sign)))


def bits(v):
    """Return the lanes' bit patterns as unsigned integers of the same width."""
    if not isinstance(v, Lanes):
        return v.view(np.uint32 if is_single(v) else np.uint64)
    kind = ir.VectorType(ir.IntType(32 if v.single else 64), v.value.type.count)
    return Lanes(v.builder, v.builder.bitcast(v.value, kind))


def _real_type(v):
    return ir.VectorType(ir.FloatType() if v.single else ir.DoubleType(), v.value.type.count)


def from_bits(v):
    """Return the floating-point numbers that have these bit patterns."""
    if not isinstance(v, Lanes):
        return v.view(np.float32 if v.dtype.itemsize == 4 else np.float64)
    return Lanes(v.builder, v.builder.bitcast(v.value, _real_type(v)))


def to_float(v):
    """Return unsigned integers below half their range as floating-point numbers."""
    if not isinstance(v, Lanes):
        return v.astype(np.float32 if v.dtype.itemsize == 4 else np.float64)
    return Lanes(v.builder, v.builder.sitofp(v.value, _real_type(v)))


def total(v):
    """Return the sum of the lanes, added pairwise."""
    if not isinstance(v, Lanes):
        return v.dtype.type(np.sum(v))
    builder, value = v.builder, v.value
    count = value.type.count
    while count > 1:
        count //= 2
        undefined = ir.Constant(value.type, ir.Undefined)
        index = ir.VectorType(ir.IntType(32), count)
        upper = builder.shuffle_vector(
            value, undefined, ir.Constant(index, [count + i for i in range(count)])
        )
        lower = builder.shuffle_vector(value, undefined, ir.Constant(index, list(range(count))))
        value = builder.fadd(lower, upper)
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


def largest(v):
    """Return the largest lane."""
    if not isinstance(v, Lanes):
        return v.dtype.type(np.max(v))
    kind = v.value.type
    full = f"llvm.vector.reduce.fmax.v{kind.count}{_INTRINSIC_SUFFIX[str(kind.element)]}"
    function = v.builder.module.globals.get(full)
    if function is None:
        function = ir.Function(v.builder.module, ir.FunctionType(kind.element, [kind]), full)
    return v.builder.call(function, [v.value])
