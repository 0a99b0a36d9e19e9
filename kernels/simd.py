"""Vectors of the machine's width as values of kernel code: load, store, arithmetic, masks, sums.

`load(array, i)` gives the `lanes(array)` elements from i on; `+ - * /`, comparisons, `select`, `fma` and the rest work
on them lane by lane, a Python number standing for a vector of it. What LLVM sees are its own vector types, so nothing
depends on its loop vectorizer, and one source serves SSE2, AVX2, AVX-512 and NEON. Every operation has a twin in NumPy,
which the interpreter mode (NUMBA_DISABLE_JIT=1) uses. Under NUMBA_BOUNDSCHECK=1 loads and stores are checked.
"""

import operator
import os

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.extending import intrinsic, lower_builtin, models, register_model
from numba.core.typing.templates import ConcreteTemplate, AbstractTemplate, infer_global, signature


def vector_bytes():
    """Return the width of this machine's vectors in bytes: 64 (AVX-512), 32 (AVX) or 16 (SSE2, NEON)."""
    if chosen := os.environ.get("FASTBP_VECTOR_BYTES"):
        if chosen not in ("16", "32", "64"):
            raise ValueError(f"FASTBP_VECTOR_BYTES must be 16, 32 or 64, got {chosen!r}")
        return int(chosen)
    if config.CPU_NAME not in (None, "", "host"):
        return 16
    features = llvm.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16


VECTOR_BYTES = vector_bytes()
# 32 vector registers with AVX-512 and NEON, 16 before: decides how many accumulators a tile keeps.
REGISTERS = 32 if VECTOR_BYTES == 64 or llvm.get_process_triple().startswith(("aarch64", "arm64")) else 16
# Rows in memory are padded to this on every machine, so that a layout does not depend on the CPU.
ROW_BYTES = 64


class Vector(types.Type):
    """`lanes` numbers of one element type in a register."""

    def __init__(self, element, lanes):
        self.element = element
        self.lanes = lanes
        super().__init__(name=f"Vector({element} x {lanes})")


class Mask(types.Type):
    """`lanes` truth values, from a comparison."""

    def __init__(self, lanes):
        self.lanes = lanes
        super().__init__(name=f"Mask({lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        element = dmm.lookup(fe_type.element).get_value_type()
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.lanes))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.VectorType(ir.IntType(1), fe_type.lanes))


def _vector_of(dtype):
    return Vector(dtype, VECTOR_BYTES // (dtype.bitwidth // 8))


def _is_float(kind):
    return isinstance(kind, Vector) and isinstance(kind.element, types.Float)


def _splat(builder, scalar, lanes):
    kind = ir.VectorType(scalar.type, lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def _coerce(context, builder, value, kind, vector):
    """Return `value` as the type `vector`, broadcasting a scalar."""
    if isinstance(kind, Vector):
        return value
    return _splat(builder, context.cast(builder, value, kind, vector.element), vector.lanes)


def _binary(op, float_instruction, int_instruction):
    """Give the operator `op` a meaning for two vectors, or a vector and a number."""

    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) != 2:
                return None
            vectors = [a for a in args if isinstance(a, Vector)]
            if not vectors or (len(vectors) == 2 and vectors[0] != vectors[1]):
                return None
            if _is_float(vectors[0]) and float_instruction is None:
                return None
            if all(isinstance(a, (Vector, types.Number, types.Literal)) for a in args):
                plain = [a if isinstance(a, Vector) else types.unliteral(a) for a in args]
                return signature(vectors[0], *plain)
            return None

    infer_global(op)(_Typing)

    def lower(context, builder, sig, args):
        vector = sig.return_type
        a, b = (_coerce(context, builder, v, t, vector) for v, t in zip(args, sig.args, strict=True))
        name = float_instruction if _is_float(vector) else int_instruction
        flags = ("contract",) if name in ("fadd", "fsub", "fmul") else ()
        return getattr(builder, name)(a, b, flags=flags) if flags else getattr(builder, name)(a, b)

    for pair in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(op, *pair)(lower)


for _op, _float_name, _int_name in (
    (operator.add, "fadd", "add"),
    (operator.sub, "fsub", "sub"),
    (operator.mul, "fmul", "mul"),
    (operator.truediv, "fdiv", None),
    (operator.and_, None, "and_"),
    (operator.or_, None, "or_"),
    (operator.xor, None, "xor"),
    (operator.lshift, None, "shl"),
    (operator.rshift, None, "lshr"),
):
    _binary(_op, _float_name, _int_name)


def _comparison(op, predicate):
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            vectors = [a for a in args if _is_float(a)]
            if not vectors or not all(isinstance(a, (Vector, types.Number, types.Literal)) for a in args):
                return None
            plain = [a if isinstance(a, Vector) else types.unliteral(a) for a in args]
            return signature(Mask(vectors[0].lanes), *plain)

    infer_global(op)(_Typing)

    def lower(context, builder, sig, args):
        vector = next(t for t in sig.args if isinstance(t, Vector))
        a, b = (_coerce(context, builder, v, t, vector) for v, t in zip(args, sig.args, strict=True))
        return builder.fcmp_ordered(predicate, a, b)

    for pair in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(op, *pair)(lower)


for _op, _predicate in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _comparison(_op, _predicate)


class _NegateTyping(AbstractTemplate):
    def generic(self, args, kws):
        return signature(args[0], args[0]) if len(args) == 1 and _is_float(args[0]) else None


infer_global(operator.neg)(_NegateTyping)


@lower_builtin(operator.neg, Vector)
def _negate(context, builder, sig, args):
    return builder.fneg(args[0])


def operation(twin):
    """Make a kernel-side operation from a typing-and-code function; the interpreter mode runs `twin` instead."""

    def wrap(function):
        return twin if config.DISABLE_JIT else intrinsic(function)

    return wrap


def _call(builder, name, *args):
    """Call the LLVM intrinsic `name`, overloaded on the type of the first argument."""
    kind = args[0].type
    short = {"float": "f32", "double": "f64"}[str(kind.element)]
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [a.type for a in args]), f"llvm.{name}.v{kind.count}{short}"
    )
    return builder.call(function, args)


def checked_pointer(context, builder, kind, array, offset, span):
    """Return a pointer to element `offset` of a 1-D array, after a check of `span` elements if those are asked for."""
    struct = context.make_array(kind)(context, builder, array)
    if config.BOUNDSCHECK:
        size = struct.nitems
        end = builder.add(offset, span)
        zero = ir.Constant(offset.type, 0)
        bad = builder.or_(
            builder.icmp_signed("<", offset, zero),
            builder.or_(builder.icmp_signed("<", end, offset), builder.icmp_signed(">", end, size)),
        )
        with builder.if_then(bad, likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("a kernel reached outside its array",))
    return builder.gep(struct.data, [offset])


def _lanes_of(array):
    return VECTOR_BYTES // array.dtype.itemsize


@operation(twin=_lanes_of)
def lanes(typingctx, array):
    """lanes(array): how many of its elements one vector holds; a constant where the code is compiled."""
    count = _vector_of(array.dtype).lanes

    def codegen(context, builder, sig, args):
        return context.get_constant(types.intp, count)

    return types.intp(array), codegen


def _load_twin(array, i):
    part = array[i : i + _lanes_of(array)]
    if i < 0 or len(part) != _lanes_of(array):
        raise IndexError("a kernel reached outside its array")
    return part.copy()


@operation(twin=_load_twin)
def load(typingctx, array, i):
    """load(array, i): the vector array[i : i + lanes]; no alignment is asked for."""
    vector = _vector_of(array.dtype)

    def codegen(context, builder, sig, args):
        span = context.get_constant(types.intp, vector.lanes)
        pointer = checked_pointer(context, builder, sig.args[0], args[0], args[1], span)
        llvm_type = context.get_value_type(vector)
        value = builder.load(builder.bitcast(pointer, llvm_type.as_pointer()))
        value.align = array.dtype.bitwidth // 8
        return value

    return vector(array, types.intp), codegen


def _store_twin(array, i, value):
    if i < 0 or i + _lanes_of(array) > len(array):
        raise IndexError("a kernel reached outside its array")
    array[i : i + _lanes_of(array)] = value


@operation(twin=_store_twin)
def store(typingctx, array, i, value):
    """store(array, i, value): array[i : i + lanes] = value."""
    if not isinstance(value, Vector) or value.element != array.dtype:
        return None

    def codegen(context, builder, sig, args):
        span = context.get_constant(types.intp, value.lanes)
        pointer = checked_pointer(context, builder, sig.args[0], args[0], args[1], span)
        instruction = builder.store(args[2], builder.bitcast(pointer, args[2].type.as_pointer()))
        instruction.align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@operation(twin=lambda array, value: np.full(_lanes_of(array), value, array.dtype))
def fill(typingctx, array, value):
    """fill(array, value): a vector for elements of this array, every lane `value`."""
    vector = _vector_of(array.dtype)

    def codegen(context, builder, sig, args):
        return _coerce(context, builder, args[1], sig.args[1], vector)

    return vector(array, types.unliteral(value)), codegen


@operation(twin=lambda v: v.dtype == np.float32)
def is_single(typingctx, v):
    """is_single(v): whether the lanes are float32; a constant, so that the branch not taken is never compiled."""
    truth = v.element == types.float32

    def codegen(context, builder, sig, args):
        return context.get_constant(types.boolean, truth)

    return types.boolean(v), codegen


def _promote(kinds):
    vector = next(k for k in kinds if isinstance(k, Vector))
    return vector, [k if isinstance(k, Vector) else types.unliteral(k) for k in kinds]


@operation(twin=lambda a, b, c: a * b + c)
def fma(typingctx, a, b, c):
    """fma(a, b, c): a b + c, in one rounding where the machine has the instruction."""
    vector, plain = _promote((a, b, c))

    def codegen(context, builder, sig, args):
        parts = [_coerce(context, builder, v, t, vector) for v, t in zip(args, sig.args, strict=True)]
        return _call(builder, "fmuladd", *parts)

    return vector(*plain), codegen


def _unary(name, twin, doc):
    def typed(typingctx, v):
        def codegen(context, builder, sig, args):
            return _call(builder, name, args[0])

        return v(v), codegen

    typed.__name__ = name
    typed.__doc__ = doc
    return operation(twin)(typed)


sqrt = _unary("sqrt", np.sqrt, "sqrt(v), correctly rounded.")
absolute = _unary("fabs", np.abs, "absolute(v): |v|.")
rint = _unary("rint", np.rint, "rint(v): the nearest integer, ties to even.")


@operation(twin=lambda mask, a, b: np.where(mask, a, b).astype(a.dtype if hasattr(a, "dtype") else b.dtype))
def select(typingctx, mask, a, b):
    """select(mask, a, b): a where the mask is set, b elsewhere."""
    vector, plain = _promote((a, b))

    def codegen(context, builder, sig, args):
        x, y = (_coerce(context, builder, v, t, vector) for v, t in zip(args[1:], sig.args[1:], strict=True))
        return builder.select(args[0], x, y)

    return vector(mask, *plain), codegen


@operation(twin=lambda magnitude, sign: np.copysign(magnitude, sign))
def copysign(typingctx, magnitude, sign):
    """copysign(magnitude, sign): |magnitude| with the sign of `sign`."""
    vector, plain = _promote((magnitude, sign))

    def codegen(context, builder, sig, args):
        parts = [_coerce(context, builder, v, t, vector) for v, t in zip(args, sig.args, strict=True)]
        return _call(builder, "copysign", *parts)

    return vector(*plain), codegen


_UNSIGNED = {types.float32: types.uint32, types.float64: types.uint64}
_FLOAT = {unsigned: real for real, unsigned in _UNSIGNED.items()}


@operation(twin=lambda v: v.view(np.uint32 if v.dtype == np.float32 else np.uint64))
def bits(typingctx, v):
    """bits(v): the lanes' bit patterns as unsigned integers of the same width."""
    whole = Vector(_UNSIGNED[v.element], v.lanes)

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], context.get_value_type(whole))

    return whole(v), codegen


@operation(twin=lambda v: v.view(np.float32 if v.dtype == np.uint32 else np.float64))
def from_bits(typingctx, v):
    """from_bits(v): the floating-point numbers that have these bit patterns."""
    real = Vector(_FLOAT[v.element], v.lanes)

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], context.get_value_type(real))

    return real(v), codegen


@operation(twin=lambda v: v.astype(np.float32 if v.dtype == np.uint32 else np.float64))
def to_float(typingctx, v):
    """to_float(v): unsigned integers below half their range as floating-point numbers."""
    real = Vector(_FLOAT[v.element], v.lanes)

    def codegen(context, builder, sig, args):
        return builder.sitofp(args[0], context.get_value_type(real))

    return real(v), codegen


def _counter_twin(array, start):
    kind = np.uint32 if array.dtype == np.float32 else np.uint64
    return (np.arange(_lanes_of(array), dtype=np.uint64) + np.uint64(start)).astype(kind)


@operation(twin=_counter_twin)
def counter(typingctx, array, start):
    """counter(array, start): start, start + 1, ... as unsigned integers as wide as the array's elements."""
    vector = _vector_of(array.dtype)
    whole = Vector(_UNSIGNED[array.dtype], vector.lanes)

    def codegen(context, builder, sig, args):
        llvm_type = context.get_value_type(whole)
        first = context.cast(builder, args[1], sig.args[1], whole.element)
        steps = ir.Constant(llvm_type, list(range(whole.lanes)))
        return builder.add(_splat(builder, first, whole.lanes), steps)

    return whole(array, types.unliteral(start)), codegen


def _first_twin(array, count):
    return np.arange(_lanes_of(array)) < count


@operation(twin=_first_twin)
def first(typingctx, array, count):
    """first(array, count): a mask of the first `count` lanes (none if negative, all if more than there are)."""
    vector = _vector_of(array.dtype)

    def codegen(context, builder, sig, args):
        steps = ir.Constant(ir.VectorType(args[1].type, vector.lanes), list(range(vector.lanes)))
        return builder.icmp_signed("<", steps, _splat(builder, args[1], vector.lanes))

    return Mask(vector.lanes)(array, types.intp), codegen


@operation(twin=lambda v: v.dtype.type(np.max(v)))
def largest(typingctx, v):
    """largest(v): the largest lane; NaN if any lane is NaN is not promised."""

    def codegen(context, builder, sig, args):
        kind = args[0].type
        short = {"float": "f32", "double": "f64"}[str(kind.element)]
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind.element, [kind]), f"llvm.vector.reduce.fmax.v{kind.count}{short}"
        )
        return builder.call(function, args)

    return v.element(v), codegen


def _scratch_twin(array, size):
    return np.zeros(size, array.dtype)


@operation(twin=_scratch_twin)
def scratch(typingctx, array, size):
    """scratch(array, size): an uninitialized array on the stack of the calling function, typed as `array`."""
    kind = types.Array(array.dtype, 1, "C")

    def codegen(context, builder, sig, args):
        element = context.get_data_type(array.dtype)
        memory = builder.alloca(element, size=args[1])
        memory.align = ROW_BYTES
        result = context.make_array(kind)(context, builder)
        width = ir.Constant(args[1].type, array.dtype.bitwidth // 8)
        context.populate_array(
            result,
            data=memory,
            shape=cgutils.pack_array(builder, [args[1]]),
            strides=cgutils.pack_array(builder, [width]),
            itemsize=width,
            meminfo=None,
        )
        return result._getvalue()

    return kind(array, types.intp), codegen


@operation(twin=lambda v: v.dtype.type(np.sum(v)))
def total(typingctx, v):
    """total(v): the sum of the lanes, added pairwise."""

    def codegen(context, builder, sig, args):
        value, count = args[0], v.lanes
        undefined = ir.Constant(value.type, ir.Undefined)
        while count > 1:
            count //= 2
            order = ir.Constant(ir.VectorType(ir.IntType(32), count), [count + i for i in range(count)])
            low = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(count)))
            upper = builder.shuffle_vector(value, undefined, order)
            lower = builder.shuffle_vector(value, undefined, low)
            value = builder.fadd(lower, upper)
            undefined = ir.Constant(value.type, ir.Undefined)
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return v.element(v), codegen
