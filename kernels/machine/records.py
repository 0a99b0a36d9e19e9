"""Records in kernels: the fields of a stretch of an int64 array by their names, `layer.fan_in`.

In compiled code a record is a pointer, and a field a load or a store at a fixed distance from it. NumPy's structured
views do the same; but their type's name holds the names of all fields, and is part of the name of every function that
takes one: kernels kept on disk were twice as large. In the interpreter mode a record is an object with attributes.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.extending import (
    lower_getattr_generic,
    lower_setattr_generic,
    models,
    register_model,
    typeof_impl,
)
from numba.core.typing.templates import AttributeTemplate, infer_getattr

from .simd import checked_pointer, operation


class Record(types.Type):
    """The type of a record: `fields` maps names to places; those from `first_float` on are float64, others int64."""

    def __init__(self, name, fields, first_float):
        self.fields, self.first_float = fields, first_float
        super().__init__(name=name)

    def kind(self, name):
        """Return the Numba type of a field."""
        return types.float64 if self.fields[name] >= self.first_float else types.int64


@register_model(Record)
class _Model(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.IntType(64).as_pointer())


@infer_getattr
class _Fields(AttributeTemplate):
    key = Record

    def generic_resolve(self, record, name):
        return record.kind(name) if name in record.fields else None


def _field(context, builder, record, pointer, name):
    place = builder.gep(pointer, [ir.Constant(ir.IntType(64), record.fields[name])])
    return builder.bitcast(place, context.get_value_type(record.kind(name)).as_pointer())


@lower_getattr_generic(Record)
def _read(context, builder, record, pointer, name):
    return builder.load(_field(context, builder, record, pointer, name))


@lower_setattr_generic(Record)
def _write(context, builder, sig, args, name):
    builder.store(args[1], _field(context, builder, sig.args[0], args[0], name))


class View:
    """A record in the interpreter mode: the fields of `array` from `place` on as attributes."""

    __slots__ = ("array", "place", "record")

    def __init__(self, array, place, record):
        if place < 0 or place + len(record.fields) > len(array):
            raise IndexError("a kernel reached outside its array")
        for name, value in zip(View.__slots__, (array, place, record), strict=True):
            object.__setattr__(self, name, value)

    def _word(self, name):
        word = self.place + self.record.fields[name]
        kind = np.float64 if self.record.kind(name) is types.float64 else np.int64
        return self.array[word : word + 1].view(kind)

    def __getattr__(self, name):
        return self._word(name)[0].item()

    def __setattr__(self, name, value):
        self._word(name)[0] = value


@typeof_impl.register(View)
def _type_of(view, context):
    return view.record


def record_at(record):
    """Return at(array, place): the record that begins at array[place], of an int64 array."""

    @operation(twin=lambda array, place: View(array, place, record))
    def at(typingctx, array, place):
        def codegen(context, builder, sig, args):
            span = context.get_constant(types.intp, len(record.fields))
            return checked_pointer(context, builder, sig.args[0], args[0], args[1], span)

        return record(array, types.intp), codegen

    return at


def record_behind(record, follower, count):
    """Return behind(r, k): follower k of those that lie behind a record r, whose field `count` is their number."""
    first, size = len(record.fields), len(follower.fields)

    def twin(r, k):
        if not 0 <= k < getattr(r, count):
            raise IndexError("a kernel reached outside its array")
        return View(r.array, r.place + first + k * size, follower)

    @operation(twin=twin)
    def behind(typingctx, r, k):
        def codegen(context, builder, sig, args):
            pointer, k = args
            word = lambda n: ir.Constant(k.type, n)  # noqa: E731
            if config.BOUNDSCHECK:
                number = _read(context, builder, record, pointer, count)
                with builder.if_then(builder.icmp_unsigned(">=", k, number), likely=False):
                    context.call_conv.return_user_exc(
                        builder, IndexError, ("a kernel reached outside its array",)
                    )
            return builder.gep(pointer, [builder.add(word(first), builder.mul(k, word(size)))])

        return follower(record, types.intp), codegen

    return behind


def stretches(kind):
    """Return at(array, place, count): so many numbers of an int64 array from array[place] on, as an array of `kind`.

    It does what a slice and `view` do. Nine of those made a first compilation longer by a thirtieth.
    """
    made = types.Array(getattr(types, kind), 1, "C")

    def twin(array, place, count):
        if place < 0 or count < 0 or place + count > len(array):
            raise IndexError("a kernel reached outside its array")
        return array[place : place + count].view(kind)

    @operation(twin=twin)
    def at(typingctx, array, place, count):
        def codegen(context, builder, sig, args):
            pointer = checked_pointer(context, builder, sig.args[0], *args)
            part = context.make_array(made)(context, builder)
            size = context.get_constant(types.intp, 8)
            # Nobody counts references to it: the array that it is a part of is the caller's.
            part.meminfo = cgutils.get_null_value(part.meminfo.type)
            part.parent = cgutils.get_null_value(part.parent.type)
            part.data = builder.bitcast(pointer, part.data.type)
            part.nitems, part.itemsize = args[2], size
            part.shape = cgutils.pack_array(builder, [args[2]])
            part.strides = cgutils.pack_array(builder, [size])
            return part._getvalue()

        return made(array, types.intp, types.intp), codegen

    return at


def copies(places):
    """Return copy(r, array): array[place] = r.name for each name and its place; the fields are float64."""

    def twin(r, array):
        for name, place in places.items():
            array[place] = getattr(r, name)

    @operation(twin=twin)
    def copy(typingctx, r, array):
        def codegen(context, builder, sig, args):
            one = context.get_constant(types.intp, 1)
            for name, place in places.items():
                number = _read(context, builder, sig.args[0], args[0], name)
                start = context.get_constant(types.intp, place)
                builder.store(number, checked_pointer(context, builder, sig.args[1], args[1], start, one))
            return context.get_dummy_value()

        return types.void(r, array), codegen

    return copy
