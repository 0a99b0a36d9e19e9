"""Vectors of the machine's width inside kernels: the types, load and store, and functions traced into operations.

`load(array, i)` gives the `lanes(array)` elements from i on. What LLVM sees are its own vector types, so nothing
depends on its loop vectorizer, and one source serves SSE2, AVX2, AVX-512 and NEON. Every operation has a twin in
NumPy for the interpreter mode (NUMBA_DISABLE_JIT=1). Under NUMBA_BOUNDSCHECK=1 loads, stores and tiles check their
reach.
"""

import operator

import numpy as np
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.extending import intrinsic, lower_builtin, models, register_model
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

from . import lanes as trace
from .lanes import Lanes, splat
from .target import ROW_BYTES, VECTOR_BYTES


class Vector(types.Type):
    """`lanes` numbers of one element type in a register."""

    def __init__(self, element, lanes):
        self.element = element
        self.lanes = lanes
        super().__init__(name=f"Vector({element} x {lanes})")


class Mask(types.Type):
    """`lanes` truth values."""

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


def vector_of(dtype):
    """Return the vector type for arrays of this Numba element type."""
    return Vector(dtype, VECTOR_BYTES // (dtype.bitwidth // 8))


def operation(twin):
    """Make a kernel-side operation from a typing-and-code function; the interpreter mode runs `twin` instead."""

    def wrap(function):
        return twin if config.DISABLE_JIT else intrinsic(function)

    return wrap


def _lift(context, builder, value, kind, vector):
    """Return a vector, mask or number argument as Lanes; numbers are broadcast to the type `vector`."""
    if not isinstance(kind, (Vector, Mask)):
        value = splat(builder, context.cast(builder, value, kind, vector.element), vector.lanes)
    return Lanes(builder, value)


def traced(function, *, scalar=False, mask=False):
    """Make an operation on vectors (numbers are broadcast) of a plain function over lanes."""

    def typed(typingctx, *args):
        vector = next(a for a in args if isinstance(a, Vector))
        plain = [a if isinstance(a, (Vector, Mask)) else types.unliteral(a) for a in args]
        result = vector.element if scalar else Mask(vector.lanes) if mask else vector

        def codegen(context, builder, sig, values):
            lifted = [_lift(context, builder, v, t, vector) for v, t in zip(values, sig.args, strict=True)]
            made = function(*lifted)
            return made if scalar else made.value

        return result(*plain), codegen

    count = function.__code__.co_argcount
    names = ", ".join(f"a{k}" for k in range(count))
    # Numba reads the number of arguments from the signature, which a starred one does not tell.
    scope = {"typed": typed}
    exec(f"def {function.__name__}(typingctx, {names}): return typed(typingctx, {names})", scope)
    return operation(function)(scope[function.__name__])


fma = traced(trace.fma)
select = traced(trace.select)
total = traced(trace.total, scalar=True)
largest = traced(trace.largest, scalar=True)
equal = traced(trace.equal, mask=True)


def _operator(op):
    """Give the operator `op` its meaning for two vectors, or a vector and a number."""

    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            vectors = [a for a in args if isinstance(a, Vector)]
            if not vectors or not all(isinstance(a, (Vector, types.Number)) for a in args):
                return None
            result = Mask(vectors[0].lanes) if op in (operator.lt, operator.gt) else vectors[0]
            return signature(result, *(types.unliteral(a) for a in args))

    infer_global(op)(_Typing)

    def lower(context, builder, sig, args):
        vector = next(t for t in sig.args if isinstance(t, Vector))
        a, b = (_lift(context, builder, v, t, vector) for v, t in zip(args, sig.args, strict=True))
        return op(a, b).value

    for pair in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(op, *pair)(lower)


for _op in (operator.add, operator.sub, operator.mul, operator.truediv, operator.lt, operator.gt):
    _operator(_op)


def checked_pointer(context, builder, kind, array, offset, span):
    """Return a pointer to element `offset` of a 1-D array, after a check of `span` elements if those are asked for."""
    struct = context.make_array(kind)(context, builder, array)
    if config.BOUNDSCHECK:
        end = builder.add(offset, span)
        zero = ir.Constant(offset.type, 0)
        bad = builder.or_(
            builder.icmp_signed("<", offset, zero),
            builder.or_(builder.icmp_signed("<", end, offset), builder.icmp_signed(">", end, struct.nitems)),
        )
        with builder.if_then(bad, likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("a kernel reached outside its array",))
    return builder.gep(struct.data, [offset])


def load_at(builder, pointer, count):
    """Return Lanes read from an element pointer; no alignment beyond the element's is assumed."""
    element = pointer.type.pointee
    value = builder.load(builder.bitcast(pointer, ir.VectorType(element, count).as_pointer()))
    value.align = 8 if isinstance(element, ir.DoubleType) else 4
    return Lanes(builder, value)


def store_at(builder, pointer, value):
    """Write Lanes to an element pointer."""
    stored = builder.store(value.value, builder.bitcast(pointer, value.value.type.as_pointer()))
    stored.align = 8 if isinstance(pointer.type.pointee, ir.DoubleType) else 4


def prefetch_at(builder, pointer):
    """Ask for the line at `pointer` to be brought to the second cache."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    read, second_cache, data = (ir.Constant(number, n) for n in (0, 2, 1))
    builder.call(function, [builder.bitcast(pointer, byte), read, second_cache, data])


def lanes_of(array):
    """Return how many elements of a NumPy array one vector holds."""
    return VECTOR_BYTES // array.dtype.itemsize


@operation(twin=lanes_of)
def lanes(typingctx, array):
    """lanes(array): how many of its elements one vector holds; a constant where the code is compiled."""
    count = vector_of(array.dtype).lanes

    def codegen(context, builder, sig, args):
        return context.get_constant(types.intp, count)

    return types.intp(array), codegen


def load_twin(array, i):
    """NumPy's `load`: the vector array[i : i + lanes]."""
    part = array[i : i + lanes_of(array)]
    if i < 0 or len(part) != lanes_of(array):
        raise IndexError("a kernel reached outside its array")
    return part.copy()


@operation(twin=load_twin)
def load(typingctx, array, i):
    """load(array, i): the vector array[i : i + lanes]; no alignment is asked for."""
    vector = vector_of(array.dtype)

    def codegen(context, builder, sig, args):
        span = context.get_constant(types.intp, vector.lanes)
        pointer = checked_pointer(context, builder, sig.args[0], args[0], args[1], span)
        return load_at(builder, pointer, vector.lanes).value

    return vector(array, types.intp), codegen


def load_first_twin(array, i, count):
    """NumPy's `load_first`."""
    part = np.zeros(lanes_of(array), array.dtype)
    if i < 0 or count < 0 or i + min(count, len(part)) > len(array):
        raise IndexError("a kernel reached outside its array")
    part[:count] = array[i : i + min(count, len(part))]
    return part


@operation(twin=load_first_twin)
def load_first(typingctx, array, i, count):
    """load_first(array, i, count): the first `count` lanes from array[i:], zeros in the others, which are not read."""
    vector = vector_of(array.dtype)

    def codegen(context, builder, sig, args):
        array, i, count = args
        pointer = checked_pointer(context, builder, sig.args[0], array, i, count)
        kind = context.get_value_type(vector)
        target = builder.bitcast(pointer, kind.as_pointer())
        mask = first_lanes(builder, count, vector.lanes).value
        short = ir.IntType(32)
        name = f"llvm.masked.load.v{vector.lanes}f{vector.element.bitwidth}.p0"
        function_type = ir.FunctionType(kind, [target.type, short, mask.type, kind])
        function = cgutils.get_or_insert_function(builder.module, function_type, name)
        align = ir.Constant(short, vector.element.bitwidth // 8)
        return builder.call(function, [target, align, mask, ir.Constant(kind, None)])

    return vector(array, types.intp, types.intp), codegen


def store_twin(array, i, value):
    """NumPy's `store`: array[i : i + lanes] = value."""
    if i < 0 or i + lanes_of(array) > len(array):
        raise IndexError("a kernel reached outside its array")
    array[i : i + lanes_of(array)] = value


@operation(twin=store_twin)
def store(typingctx, array, i, value):
    """store(array, i, value): array[i : i + lanes] = value."""
    if not isinstance(value, Vector) or value.element != array.dtype:
        return None

    def codegen(context, builder, sig, args):
        span = context.get_constant(types.intp, value.lanes)
        pointer = checked_pointer(context, builder, sig.args[0], args[0], args[1], span)
        store_at(builder, pointer, Lanes(builder, args[2]))
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@operation(twin=lambda array, i: None)
def prefetch(typingctx, array, i):
    """prefetch(array, i): ask for the line of array[i], which may lie behind the end."""

    def codegen(context, builder, sig, args):
        base = context.make_array(sig.args[0])(context, builder, args[0]).data
        prefetch_at(builder, builder.gep(base, [args[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


def fill_twin(array, value):
    """NumPy's `fill`."""
    return np.full(lanes_of(array), value, array.dtype)


@operation(twin=fill_twin)
def fill(typingctx, array, value):
    """fill(array, value): a vector for elements of this array, every lane `value`."""
    vector = vector_of(array.dtype)

    def codegen(context, builder, sig, args):
        return _lift(context, builder, args[1], sig.args[1], vector).value

    return vector(array, types.unliteral(value)), codegen


def first_twin(array, count):
    """NumPy's `first`."""
    return np.arange(lanes_of(array)) < count


def first_lanes(builder, count, lanes):
    """Return a mask of the first `count` (an LLVM integer) of `lanes` lanes."""
    steps = ir.Constant(ir.VectorType(count.type, lanes), list(range(lanes)))
    return Lanes(builder, builder.icmp_signed("<", steps, splat(builder, count, lanes)))


@operation(twin=first_twin)
def first(typingctx, array, count):
    """first(array, count): a mask of the first `count` lanes (none if negative, all if more than there are)."""
    vector = vector_of(array.dtype)

    def codegen(context, builder, sig, args):
        return first_lanes(builder, args[1], vector.lanes).value

    return Mask(vector.lanes)(array, types.intp), codegen


@operation(twin=lambda array, size: np.zeros(size, array.dtype))
def scratch(typingctx, array, size):
    """scratch(array, size): an uninitialized array on the stack of the calling function, of the dtype of `array`."""
    kind = types.Array(array.dtype, 1, "C")

    def codegen(context, builder, sig, args):
        memory = builder.alloca(context.get_data_type(array.dtype), size=args[1])
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
