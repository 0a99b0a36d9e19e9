"""Entries that kernels call by an address: who never calls one never waits until it is compiled.

What a kernel calls by its name is compiled with it. An entry that only some need is compiled, kept and loaded by
itself, and its address is a number among the arguments of the kernel that calls it.
"""

import numba
from numba.core import cgutils, config, types

from .jit import compile_for
from .simd import operation

# By address; it is valid as long as the entry.
_KEPT: dict[int, object] = {}


def address_of(entry, arguments):
    """Compile an entry for the types of these arguments, or load it; return the address that kernels call it at."""
    if config.DISABLE_JIT:
        address = id(entry)
    else:
        compile_for(entry, arguments)
        made = entry.overloads[tuple(numba.typeof(argument) for argument in arguments)]
        address = made.library.get_pointer_to_function(made.fndesc.llvm_func_name)
    _KEPT[address] = entry
    return address


def by_address(examples):
    """Return call(address, arguments), a tuple of them, for an entry that returns nothing.

    Parameters
    ----------
    examples : callable
        Arguments of the entry, of the types for a dtype. A kernel that calls with others is not compiled.
    """

    def twin(address, arguments):
        _KEPT[address](*arguments)

    @operation(twin=twin)
    def call(typingctx, address, arguments):
        kinds = tuple(types.unliteral(kind) for kind in arguments.types)
        known = [tuple(numba.typeof(one) for one in examples(dtype)) for dtype in ("float32", "float64")]
        if kinds not in known:
            raise TypeError(f"an entry is called with arguments of other types than its own: {kinds}")

        def codegen(context, builder, sig, args):
            values = [
                context.cast(builder, value, kind, plain)
                for value, kind, plain in zip(
                    cgutils.unpack_tuple(builder, args[1]), sig.args[1].types, kinds, strict=True
                )
            ]
            function = context.call_conv.get_function_type(types.none, kinds)
            place = builder.inttoptr(args[0], function.as_pointer())
            status, _ = context.call_conv.call_function(builder, place, types.none, kinds, values)
            with cgutils.if_unlikely(builder, status.is_error):
                context.call_conv.return_status_propagate(builder, status)
            return context.get_dummy_value()

        return types.void(types.int64, arguments), codegen

    return call
