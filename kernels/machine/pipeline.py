"""How Numba compiles the kernels: its pipeline, less what they have no use for.

Numba's own optimizes each function with all that it calls, as often as it is called by another; and a third of what its
Python takes goes to looking up, again and again, what the sum of two integers is. This takes some of Numba's private
classes: jit.py does without if one is gone.
"""

import contextlib
import functools
import gc
import threading

import llvmlite.binding as llvm
from numba._dynfunc import make_function
from numba.core import codegen, compiler, config, typed_passes, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import register_pass
from numba.core.types.functions import BaseFunction

from .announcing import announce
from .interrupts import held_back

# Passes for what kernels do not contain: closures, overloads to be inlined, array expressions. They make a seventh of a
# compilation's function calls; the others that could go are not worth a line.
_UNUSED = {"InlineClosureLikes", "InlineOverloads", "NopythonRewrites"}
# Types of which an operator's result depends on nothing but them.
_PLAIN = (types.Number, types.Boolean, types.Array)
# How many more objects are made than dropped between two garbage collections while an entry compiles; Python's own
# number, 700, is for programs that make less.
_YOUNG = 10_000


def relies_on(owner, *names):
    """Raise an ImportError if a module or class of Numba lacks one of the names."""
    for name in names:
        if not hasattr(owner, name):
            raise ImportError(f"{getattr(owner, '__name__', owner)} has no {name}")


relies_on(compiler.DefaultPassBuilder, "define_nopython_pipeline")
relies_on(typed_passes.NativeLowering, "run_pass")
relies_on(BaseFunction, "get_call_type")
relies_on(
    codegen.JITCodeLibrary,
    "_optimize_final_module",
    "_finalize_final_module",
    "_finalize_dynamic_globals",
    "_verify_declare_only_symbols",
    "enable_object_caching",
)


class _PartLibrary(codegen.JITCodeLibrary):
    """The LLVM code of a building block, which is optimized and assembled once, in the entries that call it.

    Numba's own libraries do both for every function with all that it calls: as often as there are links from the
    entry down to it.
    """

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(typed_passes.NativeLowering):
    _name = "fastbp_part_lowering"

    def run_pass(self, state):
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        made = state["cr"]
        # Numba knows a compiled function by an object of this type; called from Python, this one would do nothing good.
        name = made.fndesc.qualname
        handle = make_function(made.fndesc.lookup_module(), name, "", 0, made.env, (state.library,))
        state.targetctx.insert_user_function(handle, made.fndesc, [state.library])
        state["cr"] = made._replace(cfunc=handle)
        return True


class _EntryLibrary(codegen.JITCodeLibrary):
    """The LLVM code of an entry and of all it calls, optimized in one round: Numba's other one prunes references.

    Loops are not unrolled: the products' are written with as many vectors a round as the machine overlaps, and copies
    of all the others were a third of the machine code and gained nothing.

    NUMBA_OPT=0 is taken for 1. Without any optimization what is left holds addresses of this process, which Numba put
    there for nobody, and could not be kept.
    """

    def _optimize_final_module(self):
        options = llvm.create_pipeline_tuning_options(speed_level=max(1, int(config.OPT)))
        options.loop_vectorization = True
        options.loop_unrolling = False
        builder = llvm.create_pass_builder(self._codegen._tm, options)
        builder.getModulePassManager().run(self._final_module, builder)


@register_pass(mutates_CFG=True, analysis_only=False)
class _EntryLowering(typed_passes.NativeLowering):
    _name = "fastbp_entry_lowering"

    def run_pass(self, state):
        state.library = _EntryLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().run_pass(state)


class _Compiler(compiler.CompilerBase):
    """Numba's pipeline with another last step, without the passes that kernels have no use for."""

    lowering: type[typed_passes.NativeLowering]

    def __init__(self, *arguments):
        with held_back():  # this is where Numba imports what it compiles with
            super().__init__(*arguments)

    def define_pipelines(self):
        passes = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [
            (self.lowering, text) if each is typed_passes.NativeLowering else (each, text)
            for each, text in passes.passes
            if each.__name__ not in _UNUSED
        ]
        passes.finalize()
        return [passes]


class PartCompiler(_Compiler):
    """Compiles building blocks."""

    lowering = _PartLowering


class EntryCompiler(_Compiler):
    """Compiles what Python calls, and says so: it takes seconds."""

    lowering = _EntryLowering

    def define_pipelines(self):
        """Return the pipelines; called when something is compiled, not when it is read from the disk."""
        announce(self.state.func_id.func_name, self.state.args)
        return super().define_pipelines()


@contextlib.contextmanager
def _remembered():
    """Look up the result of an operator once for each combination of types, in this thread's compilations.

    Numba tries all the templates of `+` anew wherever two numbers are added, in each round of inference and once more
    when it writes the code. What is changed here is Numba's, so the compiler's lock is held meanwhile: no other thread
    compiles, and what one asks for without compiling is answered as ever.
    """
    with global_compiler_lock:
        resolve, known, owner = BaseFunction.get_call_type, {}, threading.get_ident()

        def get_call_type(self, context, args, kws):
            if (
                kws
                or getattr(self.typing_key, "__module__", None) != "_operator"
                or threading.get_ident() != owner
            ):
                return resolve(self, context, args, kws)
            plain = tuple([types.unliteral(a) for a in args])
            if not all(isinstance(a, _PLAIN) for a in plain):
                return resolve(self, context, args, kws)
            # The answer is also noted in `self`, which may have equals; kept here, its id is nobody else's. It is asked
            # for without the values of literals: Numba's answer for 3 == 3 is True, and no answer for other integers.
            key = id(self), plain
            if key not in known:
                known[key] = resolve(self, context, plain, kws), self
            return known[key][0]

        BaseFunction.get_call_type = get_call_type
        try:
            yield
        finally:
            BaseFunction.get_call_type = resolve


@contextlib.contextmanager
def _rarely_collected():
    """Collect garbage more rarely: Numba makes millions of objects, of which nearly none waits to be collected."""
    before = gc.get_threshold()
    if 0 < before[0] < _YOUNG:  # 0: never
        gc.set_threshold(_YOUNG, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def with_less_work(compile_entry):
    """Return a dispatcher's `compile` that looks up operators once and collects garbage rarely."""

    @functools.wraps(compile_entry)
    def compile_with_less_work(signature):
        with _remembered(), _rarely_collected():
            return compile_entry(signature)

    return compile_with_less_work
