"""Hashes of code and of what it refers to: the same in every process, from every folder, on every machine.

Not of what `marshal` or `pickle` make of it: they hold paths, and sets in any order.
"""

import hashlib
import types

import numpy as np
from numba.core.dispatcher import Dispatcher


def stamp(*things):
    """Return a hash of things and of all that they refer to, or None if something cannot be told."""
    try:
        return _digest(things, set()).hex()
    except (TypeError, ValueError):  # the second is that of a variable without a value
        return None


def _digest(thing, seen):
    """Return the hash of a thing; raise a TypeError if what decides it is not known.

    `seen` holds the dispatchers that are being hashed: functions may call each other.
    """
    digest = hashlib.sha256(type(thing).__name__.encode())
    if isinstance(thing, Dispatcher):
        if id(thing) not in seen:
            seen.add(id(thing))
            function = thing.py_func
            options = sorted(thing.targetoptions.items())
            parts = (
                repr(options),
                function.__code__,
                function.__defaults__,
                sorted(_referred(function).items()),
            )
            digest.update(_digest(parts, seen))
    elif isinstance(thing, types.CodeType):
        # Where lines and positions stand in a file does not matter.
        shape = thing.co_argcount, thing.co_posonlyargcount, thing.co_kwonlyargcount, thing.co_flags
        names = thing.co_names, thing.co_varnames, thing.co_freevars, thing.co_cellvars
        parts = thing.co_code, getattr(thing, "co_exceptiontable", b""), shape, names, thing.co_consts
        digest.update(_digest(parts, seen))
    elif isinstance(thing, (tuple, list)):
        for item in thing:
            digest.update(_digest(item, seen))
    elif isinstance(thing, frozenset):
        for item in sorted(_digest(item, seen) for item in thing):
            digest.update(item)
    elif isinstance(thing, slice):
        digest.update(_digest((thing.start, thing.stop, thing.step), seen))
    elif isinstance(thing, np.ndarray) and thing.dtype.kind in "biuf":
        digest.update(repr((thing.dtype.str, thing.shape)).encode())
        digest.update(np.ascontiguousarray(thing).tobytes())
    elif isinstance(thing, (types.ModuleType, types.BuiltinFunctionType, np.ufunc, type)):
        digest.update(f"{getattr(thing, '__module__', '')}.{thing.__name__}".encode())
    elif (
        thing is None
        or thing is ...
        or isinstance(thing, (bool, int, float, complex, str, bytes, np.generic))
    ):
        digest.update(repr(thing).encode())
    else:
        raise TypeError(f"unknown to the cache: {type(thing).__name__}")
    return digest.digest()


def _referred(function):
    """Return the globals and the variables of enclosing functions that a function names."""
    names, todo = set(), [function.__code__]
    while todo:
        code = todo.pop()
        names.update(code.co_names)
        todo.extend(item for item in code.co_consts if isinstance(item, types.CodeType))
    found = {name: function.__globals__[name] for name in names if name in function.__globals__}
    return found | closure(function)


def closure(function):
    """Return the variables of enclosing functions that a function names."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells}
