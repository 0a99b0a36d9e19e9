"""The one place that knows Numba's options and where compiled code is kept.

`kernel` compiles a building block, `entry` a function that Python calls; only entries are cached on disk, because a
cached entry holds the machine code of everything it calls. Numba's own cache watches a single file, so an edit in a
callee would be answered with stale numbers; this one is keyed by a hash of every file in kernels/.
"""

import functools
import hashlib
import os
import pickle
import platform
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import llvmlite.binding as llvm
import numba
from numba._dynfunc import make_function
from numba.core import caching, codegen, compiler, config, typed_passes, types
from numba.core.compiler_machinery import register_pass


def _fingerprint() -> str:
    """Return the hash that names this version of the kernels, with all that changes the code made from them."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    for fact in (
        numba.__version__,
        sys.version,
        platform.platform(),
        *(str(vars(config)[name]) for name in ("BOUNDSCHECK", "OPT", "CPU_NAME")),
        os.environ.get("FASTBP_VECTOR_BYTES", ""),
    ):
        digest.update(fact.encode())
    return digest.hexdigest()[:20]


def _candidates() -> Iterator[Path]:
    if chosen := os.environ.get("FASTBP_CACHE_DIR"):
        yield Path(chosen)
        return
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        yield Path(chosen) / "fastbp"
    elif sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        yield Path(os.environ["LOCALAPPDATA"]) / "fastbp" / "cache"
    elif sys.platform == "darwin":
        yield Path("~/Library/Caches/fastbp").expanduser()
    else:
        yield Path("~/.cache/fastbp").expanduser()
    user = os.getuid() if hasattr(os, "getuid") else "user"
    yield Path(tempfile.gettempdir()) / f"fastbp-{user}"


@functools.cache
def cache_dir() -> Path | None:
    """Return the folder that holds this version's compiled kernels, or None where none can be written.

    `FASTBP_CACHE_DIR` overrides the choice. A folder in a shared place that belongs to another user is refused: machine
    code is loaded from it.
    """
    for root in _candidates():
        folder = root / _fingerprint()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if hasattr(os, "getuid") and root.stat().st_uid not in (os.getuid(), 0):
                continue
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except (OSError, RuntimeError):
            continue
    warnings.warn(
        "fastbp found no folder to keep its compiled kernels in and will compile them anew in every process;"
        " set FASTBP_CACHE_DIR to a writable folder",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def cache_is_warm(name: str = "network.run") -> bool:
    """Return whether compiled code of the entry `name` (module.function) lies in the cache."""
    folder = cache_dir()
    return folder is not None and any(folder.glob(f"{name}-*.nbc"))


class _Locator(caching._CacheLocator):
    """Tell Numba to use `cache_dir`, and that its name already stands for the state of the sources."""

    def __init__(self, py_func):
        self._py_func = py_func

    def get_cache_path(self):
        return str(cache_dir())

    def get_source_stamp(self):
        return _fingerprint()

    def get_disambiguator(self):
        return "0"

    @classmethod
    def from_function(cls, py_func, py_file):
        return cls(py_func)


class _Impl(caching.CompileResultCacheImpl):
    _locator_classes: list[type[object]] = [_Locator]

    def get_filename_base(self, fullname, abiflags):
        function = self._locator._py_func
        module = function.__module__.rpartition(".")[2]
        return f"{module}.{function.__name__}-py{sys.version_info[0]}{sys.version_info[1]}{abiflags}"


class _Cache(caching.FunctionCache):
    """A cache whose failures cost a compilation, never the program: the disk may be full, a file cut short."""

    _impl_class = _Impl

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            return None

    def save_overload(self, sig, data):
        try:
            try:
                super().save_overload(sig, data)
            except (EOFError, ValueError, pickle.UnpicklingError):
                # The index was cut short: begin it anew.
                self.flush()
                super().save_overload(sig, data)
        except OSError as error:
            warnings.warn(f"fastbp could not keep a compiled kernel: {error}", RuntimeWarning, stacklevel=2)


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
    """

    def _optimize_final_module(self):
        options = llvm.create_pipeline_tuning_options(speed_level=int(config.OPT))
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
    """Numba's pipeline with another last step."""

    lowering: type[typed_passes.NativeLowering]

    def define_pipelines(self):
        passes = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [
            (self.lowering, text) if each is typed_passes.NativeLowering else (each, text)
            for each, text in passes.passes
        ]
        passes.finalize()
        return [passes]


class _PartCompiler(_Compiler):
    lowering = _PartLowering


class _EntryCompiler(_Compiler):
    lowering = _EntryLowering


def kernel(function=None, *, inline=False, literals=False):
    """Compile a building block: no Python objects, the GIL released, division without a zero check.

    Parameters
    ----------
    inline : bool
        Substitute the machine code at the call, for functions of a few lines on the per-row path.
    literals : bool
        Compile once more for each literal number in a call, as Numba does by itself; else they are plain integers.
    """
    if function is None:
        return functools.partial(kernel, inline=inline, literals=literals)
    part = numba.njit(
        nogil=True,
        error_model="numpy",
        pipeline_class=_PartCompiler,
        # Arrays are the caller's, and none is made: nothing to count references of.
        _nrt=False,
        forceinline=inline,
        # Kernels are called by kernels: machine code for calls from Python and C would double their compile time.
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
    )(function)
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
    compiled = numba.njit(nogil=True, error_model="numpy", _nrt=False, pipeline_class=_EntryCompiler)(
        function
    )
    if not config.DISABLE_JIT and cache_dir() is not None:
        compiled._cache = _Cache(function)
    return compiled
