"""Loops of formulas: a table of formulas becomes one operation of kernels, which takes the formula's number.

A formula is plain Python over lanes (lanes.py). The branch on its number is taken once for a whole block, then follows
the loop over vectors that the formula was traced into; so one compilation serves every network, and a formula is not a
Numba function. Each operation has its twin in NumPy for the interpreter mode, and checks its reach under
NUMBA_BOUNDSCHECK=1.
"""

import functools

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from .lanes import Lanes, fma, select, splat, total
from .simd import (
    checked_pointer,
    fill_twin,
    first_lanes,
    first_twin,
    lanes_of,
    load_at,
    load_twin,
    operation,
    store_at,
    store_twin,
    vector_of,
)

P, F = types.intp, types.float64


class Writer:
    """What the loops below write their instructions with: vectors of `dtype`, and numbers made into such."""

    def __init__(self, context, builder, dtype):
        self.context, self.builder, self.dtype = context, builder, dtype
        self.width = vector_of(dtype).lanes

    def word(self, number):
        """Return an integer constant."""
        return self.context.get_constant(P, number)

    def pointer(self, kind, array, offset, span):
        """Return a pointer to element `offset` of an array, from which `span` elements will be used."""
        return checked_pointer(self.context, self.builder, kind, array, offset, span)

    def spread(self, number):
        """Return a float64 in all lanes."""
        scalar = self.context.cast(self.builder, number, F, self.dtype)
        return Lanes(self.builder, splat(self.builder, scalar, self.width))

    def load(self, pointer, j):
        """Return the vector at element j."""
        return load_at(self.builder, self.builder.gep(pointer, [j]), self.width)

    def store(self, pointer, j, vector):
        """Write the vector to element j."""
        store_at(self.builder, self.builder.gep(pointer, [j]), vector)

    def loop(self, stop, step):
        """Yield the index of a loop `for j in range(0, stop, step)`, its body written inside the `with`."""
        return cgutils.for_range_slice(self.builder, self.word(0), stop, self.word(step), inc=True)

    def vectors(self, count):
        """Yield the index of a loop over `count` elements, a vector at a time."""
        return self.loop(count, self.width)

    def branch(self, code, cases, write):
        """Branch on an integer: `cases` maps values, one or a tuple, to an argument of `write`, which writes code."""
        builder = self.builder
        done = builder.append_basic_block("branch.done")
        switch = builder.switch(code, done)
        for values, argument in cases.items():
            block = builder.append_basic_block("branch.case")
            for value in values if isinstance(values, tuple) else (values,):
                switch.add_case(ir.Constant(code.type, value), block)
            builder.position_at_end(block)
            write(argument)
            builder.branch(done)
        builder.position_at_end(done)


def map_by_code(functions, slopes):
    """Return forward(code, work, z0, a0, count, training): work[a0:] = f(work[z0:]) on `count` elements.

    While training, work[z0:] = f'(z, a) in the same pass for those functions that have `slopes`.

    Parameters
    ----------
    functions : dict
        f by code. `count` is a multiple of the row padding.
    slopes : dict
        f' by code, a function of z and a, for some of the codes.
    """

    def twin(code, work, z0, a0, count, training):
        for j in range(0, count, lanes_of(work)):
            z = load_twin(work, z0 + j)
            a = functions[code](z)
            if training and code in slopes:
                store_twin(work, z0 + j, slopes[code](z, a))
            store_twin(work, a0 + j, a)

    # While training the code is larger by so much; most functions are the same then.
    more = 1 + max(functions)
    cases = {(code, more + code): (f, None) for code, f in functions.items() if code not in slopes}
    cases |= {code: (functions[code], None) for code in slopes}
    cases |= {more + code: (functions[code], slope) for code, slope in slopes.items()}

    @operation(twin=twin)
    def forward(typingctx, code, work, z0, a0, count, training):
        def codegen(context, builder, sig, args):
            code, work, z0, a0, count, training = args
            w = Writer(context, builder, sig.args[1].dtype)
            z_base, a_base = (w.pointer(sig.args[1], work, start, count) for start in (z0, a0))

            def write(pair):
                f, slope = pair
                with w.vectors(count) as (j, _):
                    z = w.load(z_base, j)
                    a = f(z)
                    if slope:
                        w.store(z_base, j, slope(z, a))
                    w.store(a_base, j, a)

            w.branch(builder.select(training, builder.add(code, w.word(more)), code), cases, write)
            return context.get_dummy_value()

        return types.void(P, work, P, P, P, types.boolean), codegen

    return forward


def multiply_by_code(slopes, others):
    """Return backward(code, work, z0, a0, d0, count, scale): work[d0:] *= f'(a scale) on `count` elements.

    Of the `others` f' lies at work[z0:] already.

    Parameters
    ----------
    slopes : dict
        f' by code, a function of a.
    others : collection of int
    """

    def twin(code, work, z0, a0, d0, count, scale):
        for j in range(0, count, lanes_of(work)):
            a = load_twin(work, a0 + j) * work.dtype.type(scale)
            slope = slopes[code](a) if code in slopes else load_twin(work, z0 + j)
            store_twin(work, d0 + j, load_twin(work, d0 + j) * slope)

    @operation(twin=twin)
    def backward(typingctx, code, work, z0, a0, d0, count, scale):
        def codegen(context, builder, sig, args):
            code, work, z0, a0, d0, count, scale = args
            w = Writer(context, builder, sig.args[1].dtype)
            z_base, a_base, d_base = (w.pointer(sig.args[1], work, start, count) for start in (z0, a0, d0))
            factor = w.spread(scale)

            def write(slope):
                with w.vectors(count) as (j, _):
                    there = slope(w.load(a_base, j) * factor) if slope else w.load(z_base, j)
                    w.store(d_base, j, w.load(d_base, j) * there)

            w.branch(code, {**slopes, tuple(others): None}, write)
            return context.get_dummy_value()

        return types.void(P, work, P, P, P, P, F), codegen

    return backward


def score_by_code(pairs):
    """Return score(code, work, p0, y0, ld, m, o, weights, values, settings), a loss over m rows of o outputs.

    values[r] = w value_scale sum_j value(p, y), each value kept in [low, high]; y = w factor slope(p, y), where w is
    weights[r] and settings = (factor, value_scale, parameter, full, low, high). Lanes beyond o count nothing and
    become 0.

    Parameters
    ----------
    pairs : dict
        (value, slope) by code: functions of prediction, target, parameter, and value of `full` too.
    """

    def twin(code, work, p0, y0, ld, m, o, weights, values, settings):
        value, slope = pairs[code]
        factor, value_scale, *others = settings
        c, full, low, high = (fill_twin(work, v) for v in others)
        for r in range(m):
            scale = work.dtype.type(weights[r] * factor)
            acc = 0.0
            for j in range(0, o, lanes_of(work)):
                place = y0 + r * ld + j
                p, y, inside = (
                    load_twin(work, p0 + r * ld + j),
                    load_twin(work, place),
                    first_twin(work, o - j),
                )
                v = value(p, y, c, full)
                v = select(v < low, low, select(v > high, high, v))
                acc += float(total(select(inside, v, 0.0)))
                store_twin(work, place, select(inside, slope(p, y, c) * scale, 0.0))
            values[r] = weights[r] * acc * value_scale

    @operation(twin=twin)
    def score(typingctx, code, work, p0, y0, ld, m, o, weights, values, settings):
        def codegen(context, builder, sig, args):
            code, work, p0, y0, ld, m, o, weights, values, settings = args
            w = Writer(context, builder, sig.args[1].dtype)
            factor, value_scale, *others = cgutils.unpack_tuple(builder, settings)
            span = builder.and_(builder.add(o, w.word(w.width - 1)), w.word(-w.width))
            reach = builder.add(builder.mul(builder.sub(m, w.word(1)), ld), span)
            p_base, y_base = (w.pointer(sig.args[1], work, start, reach) for start in (p0, y0))
            weight_base = w.pointer(sig.args[7], weights, w.word(0), m)
            value_base = w.pointer(sig.args[8], values, w.word(0), m)
            c, full, low, high = (w.spread(v) for v in others)
            acc = cgutils.alloca_once(builder, value_scale.type)

            def write(pair):
                value, slope = pair
                with w.loop(m, 1) as (r, _):
                    weight = builder.load(builder.gep(weight_base, [r]))
                    scale = w.spread(builder.fmul(weight, factor))
                    row = builder.mul(r, ld)
                    builder.store(ir.Constant(value_scale.type, 0.0), acc)
                    with w.vectors(o) as (j, _):
                        place = builder.add(row, j)
                        p, y = w.load(p_base, place), w.load(y_base, place)
                        inside = first_lanes(builder, builder.sub(o, j), w.width)
                        v = value(p, y, c, full)
                        v = select(v < low, low, select(v > high, high, v))
                        part = context.cast(builder, total(select(inside, v, 0.0)), w.dtype, F)
                        builder.store(builder.fadd(builder.load(acc), part), acc)
                        w.store(y_base, place, select(inside, slope(p, y, c) * scale, 0.0))
                    weighted = builder.fmul(weight, builder.fmul(builder.load(acc), value_scale))
                    builder.store(weighted, builder.gep(value_base, [r]))

            w.branch(code, pairs, write)
            return context.get_dummy_value()

        return types.void(P, work, P, P, P, P, P, weights, values, settings), codegen

    return score


def score_by_lane(pairs):
    """Return score(code, work, p0, y0, count, s0, settings), a loss of many models, a model per lane.

    work[s0:] += value_scale value(p, y) over `count` numbers, each value kept in [low, high]; y = factor slope(p, y).
    settings = (factor, value_scale, parameter, full, low, high).

    Parameters
    ----------
    pairs : dict
        As those of `score_by_code`.
    """

    def twin(code, work, p0, y0, count, s0, settings):
        value, slope = pairs[code]
        factor, value_scale, c, full, low, high = (fill_twin(work, v) for v in settings)
        acc = load_twin(work, s0)
        for j in range(0, count, lanes_of(work)):
            p, y = load_twin(work, p0 + j), load_twin(work, y0 + j)
            v = value(p, y, c, full)
            acc = fma(select(v < low, low, select(v > high, high, v)), value_scale, acc)
            store_twin(work, y0 + j, slope(p, y, c) * factor)
        store_twin(work, s0, acc)

    @operation(twin=twin)
    def score(typingctx, code, work, p0, y0, count, s0, settings):
        def codegen(context, builder, sig, args):
            code, work, p0, y0, count, s0, settings = args
            w = Writer(context, builder, sig.args[1].dtype)
            p_base, y_base = (w.pointer(sig.args[1], work, start, count) for start in (p0, y0))
            s_base = w.pointer(sig.args[1], work, s0, w.word(w.width))
            numbers = cgutils.unpack_tuple(builder, settings)
            factor, value_scale, c, full, low, high = (w.spread(v) for v in numbers)

            def write(pair):
                value, slope = pair
                acc = cgutils.alloca_once_value(builder, w.load(s_base, w.word(0)).value)
                with w.vectors(count) as (j, _):
                    p, y = w.load(p_base, j), w.load(y_base, j)
                    v = value(p, y, c, full)
                    v = select(v < low, low, select(v > high, high, v))
                    builder.store(fma(v, value_scale, Lanes(builder, builder.load(acc))).value, acc)
                    w.store(y_base, j, slope(p, y, c) * factor)
                w.store(s_base, w.word(0), Lanes(builder, builder.load(acc)))

            w.branch(code, pairs, write)
            return context.get_dummy_value()

        return types.void(P, work, P, P, P, P, settings), codegen

    return score


def step_by_code(rules, places, penalized, by_lane=False, measured=False):
    """Return step(code, size, numbers, params, grad, state, g0, start, stop, factors): params[start:stop] after a step.

    Their gradient is grad[g0:], penalized and scaled by factors = (l1, l2, scale). `size` is the length of one state
    array, `numbers` the step's coefficients. If they differ `by_lane`, `numbers` and `factors` are arrays that hold a
    vector of each. If `measured` it returns the sum of the squares of params[start:stop] before the step.

    Parameters
    ----------
    rules : dict
        By code (rule, number of state arrays, names of the rule's arguments).
    places : dict
        Place of a coefficient in `numbers` by name; the other arguments of a rule are theta, g and its state.
    penalized : callable
        The gradient with the penalties', of theta, g, l1 and l2.
    """

    def twin(code, size, numbers, params, grad, state, g0, start, stop, factors):
        rule, slots, names = rules[code]
        number = functools.partial(_vector_twin if by_lane else _number_twin, params.dtype)
        l1, l2, scale = (number(factors, k) for k in range(3))
        given = {name: number(numbers, places[name]) for name in names if name in places}
        squares = fill_twin(params, 0.0)
        for j in range(start, stop, lanes_of(params)):
            theta = load_twin(params, j)
            squares = fma(theta, theta, squares)
            g = penalized(theta, load_twin(grad, g0 + j - start), l1, l2) * scale
            g = fma(theta, number(numbers, places["decay"]), g)
            old = [load_twin(state, k * size + j) for k in range(slots)]
            theta, *new = rule(theta, g, *old, **given)
            store_twin(params, j, theta)
            for k, value in enumerate(new):
                store_twin(state, k * size + j, value)
        return float(total(squares)) if measured else None

    @operation(twin=twin)
    def step(typingctx, code, size, numbers, params, grad, state, g0, start, stop, factors):
        def codegen(context, builder, sig, args):
            code, size, numbers, params, grad, state, g0, start, stop, factors = args
            w = Writer(context, builder, sig.args[3].dtype)
            span = builder.sub(stop, start)
            theta_base = w.pointer(sig.args[3], params, start, span)
            grad_base = w.pointer(sig.args[4], grad, g0, span)
            wide = w.width if by_lane else 1
            number_base = w.pointer(sig.args[2], numbers, w.word(0), w.word(wide * len(places)))
            nothing = w.spread(context.get_constant(F, 0.0)).value
            squares = cgutils.alloca_once_value(builder, nothing) if measured else None
            if by_lane:
                factor_base = w.pointer(sig.args[9], factors, w.word(0), w.word(3 * wide))
                l1, l2, scale = (w.load(factor_base, w.word(k * wide)) for k in range(3))
            else:
                l1, l2, scale = (w.spread(v) for v in cgutils.unpack_tuple(builder, factors))

            def coefficient(name):
                place = w.word(wide * places[name])
                if by_lane:
                    return w.load(number_base, place)
                return w.spread(builder.load(builder.gep(number_base, [place])))

            def write(entry):
                rule, slots, names = entry
                given = {name: coefficient(name) for name in names if name in places}
                decay = coefficient("decay")
                offsets = [builder.add(start, builder.mul(size, w.word(k))) for k in range(slots)]
                bases = [w.pointer(sig.args[5], state, offset, span) for offset in offsets]
                with w.vectors(span) as (j, _):
                    theta = w.load(theta_base, j)
                    if measured:
                        before = Lanes(builder, builder.load(squares))
                        builder.store(fma(theta, theta, before).value, squares)
                    g = fma(theta, decay, penalized(theta, w.load(grad_base, j), l1, l2) * scale)
                    theta, *new = rule(theta, g, *[w.load(base, j) for base in bases], **given)
                    w.store(theta_base, j, theta)
                    for base, value in zip(bases, new, strict=True):
                        w.store(base, j, value)

            w.branch(code, rules, write)
            if measured:
                return context.cast(builder, total(Lanes(builder, builder.load(squares))), w.dtype, F)
            return context.get_dummy_value()

        return (F if measured else types.void)(P, P, numbers, params, grad, state, P, P, P, factors), codegen

    return step


def _number_twin(dtype, numbers, place):
    """Return one of the numbers, rounded to `dtype`."""
    return dtype.type(numbers[place])


def _vector_twin(dtype, numbers, place):
    """Return one of the vectors."""
    return load_twin(numbers, place * lanes_of(numbers))


def count_with(function):
    """Return count(array, start, key): one vector for `array`, the function of the counters start, start + 1, ...

    Parameters
    ----------
    function : callable
        Of unsigned integers as wide as an element, and `key`.
    """

    def twin(array, start, key):
        counters = np.arange(lanes_of(array), dtype=np.uint64) + np.uint64(start)
        return function(counters.astype(f"uint{8 * array.dtype.itemsize}"), int(key))

    @operation(twin=twin)
    def count(typingctx, array, start, key):
        vector = vector_of(array.dtype)

        def codegen(context, builder, sig, args):
            def whole(value, steps):
                if vector.element.bitwidth == 32:
                    value = builder.trunc(value, ir.IntType(32))
                base = splat(builder, value, vector.lanes)
                return Lanes(builder, builder.add(base, ir.Constant(base.type, steps)))

            counters = whole(args[1], list(range(vector.lanes)))
            return function(counters, whole(args[2], [0] * vector.lanes)).value

        return vector(array, types.int64, types.int64), codegen

    return count
