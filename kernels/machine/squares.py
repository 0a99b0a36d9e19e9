"""Vectors whose lanes lie apart in memory: transposed by squares of one vector's width, or picked one by one."""

import numpy as np
from llvmlite import ir
from numba.core import types

from .jit import kernel
from .simd import Vector, checked_pointer, lanes, lanes_of, operation, vector_of
from .target import VECTOR_BYTES


def _transpose_twin(S, s0, lds, D, d0, ldd):
    n = VECTOR_BYTES // S.dtype.itemsize
    for r in range(n):
        for c in range(n):
            D[d0 + c * ldd + r] = S[s0 + r * lds + c]


@operation(twin=_transpose_twin)
def transpose_square(typingctx, S, s0, lds, D, d0, ldd):
    """transpose_square(S, s0, lds, D, d0, ldd): D = S' for one square of lanes x lanes elements.

    log2(lanes) rounds of exchanging halves between pairs of rows; lanes log2(lanes) shuffles in all.
    """
    lanes = VECTOR_BYTES // (S.dtype.bitwidth // 8)
    vector = Vector(S.dtype, lanes)
    align = S.dtype.bitwidth // 8

    def codegen(context, builder, sig, args):
        S, s0, lds, D, d0, ldd = args
        word = context.get_value_type(types.intp)
        llvm_vector = context.get_value_type(vector)
        number = lambda value: ir.Constant(word, value)  # noqa: E731
        span = lambda stride: builder.add(builder.mul(stride, number(lanes - 1)), number(lanes))  # noqa: E731
        source = checked_pointer(context, builder, sig.args[0], S, s0, span(lds))
        target = checked_pointer(context, builder, sig.args[3], D, d0, span(ldd))
        rows = []
        for r in range(lanes):
            address = builder.gep(source, [builder.mul(lds, number(r))])
            value = builder.load(builder.bitcast(address, llvm_vector.as_pointer()))
            value.align = align
            rows.append(value)
        index = ir.VectorType(ir.IntType(32), lanes)
        step = 1
        while step < lanes:
            low = [lane if not lane & step else lanes + lane - step for lane in range(lanes)]
            high = [lane + step if not lane & step else lanes + lane for lane in range(lanes)]
            for r in range(lanes):
                if not r & step:
                    a, b = rows[r], rows[r + step]
                    rows[r] = builder.shuffle_vector(a, b, ir.Constant(index, low))
                    rows[r + step] = builder.shuffle_vector(a, b, ir.Constant(index, high))
            step *= 2
        for r in range(lanes):
            address = builder.gep(target, [builder.mul(ldd, number(r))])
            stored = builder.store(rows[r], builder.bitcast(address, llvm_vector.as_pointer()))
            stored.align = align
        return context.get_dummy_value()

    p = types.intp
    return types.void(S, p, p, D, p, p), codegen


@kernel
def transpose_squares(S, s0, lds, D, d0, ldd, rows, columns):
    """D = S' for so many rows and columns, whole squares in both directions."""
    side = lanes(S)
    for r in range(0, rows, side):
        for c in range(0, columns, side):
            transpose_square(S, s0 + r * lds + c, lds, D, d0 + c * ldd + r, ldd)


def _pick_twin(array, places, first, scale, offset):
    chosen = places[first : first + lanes_of(array)] * scale + offset
    if len(chosen) != lanes_of(array) or np.any(chosen < 0) or np.any(chosen >= len(array)):
        raise IndexError("a kernel reached outside its array")
    return array[chosen]


@operation(twin=_pick_twin)
def pick(typingctx, array, places, first, scale, offset):
    """pick(array, places, first, scale, offset): lane l is array[places[first + l] * scale + offset].

    Scalar loads: a gather instruction takes as long where there is one.
    """
    vector = vector_of(array.dtype)

    def codegen(context, builder, sig, args):
        array, places, first, scale, offset = args
        one = context.get_constant(types.intp, 1)
        span = context.get_constant(types.intp, vector.lanes)
        of_lane = checked_pointer(context, builder, sig.args[1], places, first, span)
        value = ir.Constant(context.get_value_type(vector), ir.Undefined)
        for lane in range(vector.lanes):
            number = ir.Constant(ir.IntType(32), lane)
            place = builder.load(builder.gep(of_lane, [number]))
            place = builder.add(builder.mul(place, scale), offset)
            pointer = checked_pointer(context, builder, sig.args[0], array, place, one)
            value = builder.insert_element(value, builder.load(pointer), number)
        return value

    p = types.intp
    return vector(array, places, p, p, p), codegen
