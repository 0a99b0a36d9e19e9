"""The one place that knows Numba's options.

`kernel` compiles a building block, `entry` a function that Python calls; only entries are cached on disk, because a
cached entry holds the machine code of everything it calls.
"""

import functools
import itertools

import numba
from numba.core import bytecode, config, types

from . import forks, precompiled
from .announcing import dtype_of, refuse
from .cache import give_up

# The GIL released; division without a zero check.
_PUBLIC = {"nogil": True, "error_model": "numpy"}
_ENTRIES: list[object] = []


forks.register()


def _check():
    """Raise an ImportError if Numba's dispatchers and options are not those that are used below."""
    if not config.DISABLE_JIT:
        dispatcher = numba.njit(lambda: None)
        relies_on(dispatcher, "compile", "get_call_template", "_cache")
        relies_on(dispatcher.targetdescr.options, "forceinline", *(_PART.keys() - {"pipeline_class"}))


try:
    from .disk import Cache
    from .pipeline import EntryCompiler, PartCompiler, relies_on, with_less_work

    # Arrays are the caller's, and none is made: nothing to count references of.
    _ENTRY = {**_PUBLIC, "pipeline_class": EntryCompiler, "_nrt": False, "no_cfunc_wrapper": True}
    # Kernels are called by kernels: machine code for calls from Python would double their compile time.
    _PART = {**_ENTRY, "pipeline_class": PartCompiler, "no_cpython_wrapper": True}
    _check()
except (ImportError, AttributeError, TypeError) as error:
    # Kernels are compiled by Numba as it is, which takes longer, and are never kept: Numba would serve stale numbers.
    _ENTRY = _PART = _PUBLIC
    give_up(f"Numba {numba.__version__} lacks what kernels are kept with: {error}")
    precompiled.ignore(f"Numba {numba.__version__} lacks what they are loaded with")


def kernel(function=None, *, inline=False, literals=False):
    """Compile a building block, for other kernels and entries. It may not return an array: nobody counts references.

    Parameters
    ----------
    inline : bool
        Substitute the machine code at the call, for functions of a few lines on the per-row path.
    literals : bool
        Compile once more for each literal number in a call, as Numba does by itself; else they are plain integers.
    """
    if function is None:
        return functools.partial(kernel, inline=inline, literals=literals)
    if _PART is _PUBLIC:
        return numba.njit(**_PUBLIC)(function)
    part = numba.njit(**_PART, forceinline=inline)(function)
    if not literals and not config.DISABLE_JIT:
        resolve = part.get_call_template

        def without_literals(args, kws):
            return resolve(
                [types.unliteral(a) for a in args], {k: types.unliteral(a) for k, a in kws.items()}
            )

        part.get_call_template = without_literals
    return part


def entry(function):
    """Compile a function that Python calls, and keep the machine code on disk."""
    compiled = numba.njit(**_ENTRY)(function)
    if config.DISABLE_JIT:
        return compiled
    if _ENTRY is _PUBLIC:
        compiled.compile = _refusing(compiled.compile, function.__name__)
        return compiled
    compiled.compile = with_less_work(compiled.compile)
    compiled._cache = Cache(function)
    _ENTRIES.append(compiled)
    return compiled


def _refusing(compile_entry, name):
    """Return a dispatcher's `compile` for a Numba with which nothing is kept."""

    @functools.wraps(compile_entry)
    def compile_or_refuse(signature):
        refuse(f"{name} for {dtype_of(signature)}")
        return compile_entry(signature)

    return compile_or_refuse


def kept():
    """Return names and dtypes of the entries that this process compiled or loaded, and whether a later one finds them.

    The files are read again.
    """
    return {
        f"{each._cache.name} for {dtype_of(arguments)}": each._cache.holds(arguments)
        for each in _ENTRIES
        for arguments in each.overloads
    }


def compile_for(entry, arguments):
    """Compile an entry for the types of these arguments, or load it, without a call."""
    if not config.DISABLE_JIT:
        entry.compile(tuple(numba.typeof(argument) for argument in arguments))


def number_functions_from(start):
    """Give functions that are compiled from now on numbers from `start` on, which are parts of their symbols' names.

    Two functions of one name in a process would be taken for each other: what a wheel brings has numbers that no
    process comes to by itself.
    """
    relies_on(bytecode.FunctionIdentity, "_unique_ids")
    bytecode.FunctionIdentity._unique_ids = itertools.count(start)
