"""The one place that knows Numba's options and where compiled code is kept.

`kernel` compiles a building block, `entry` a function that Python calls; only entries are cached on disk, because a
cached entry holds the machine code of everything it calls. Numba's own cache watches a single file, so an edit in a
callee would be answered with stale numbers; this one is keyed by a hash of every file of the kernels.
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

import numba
from numba.core import caching, config, types

from .pipeline import EntryCompiler, PartCompiler, remembering


def _fingerprint() -> str:
    """Return the hash that names this version of the kernels, with all that changes the code made from them."""
    digest = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
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
            # Without Numba's refresh of all its registries, which is for compiling: it takes 0.3 s.
            return self._load_overload(sig, target_context)
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
        pipeline_class=PartCompiler,
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
    compiled = numba.njit(nogil=True, error_model="numpy", _nrt=False, pipeline_class=EntryCompiler)(function)
    if not config.DISABLE_JIT:
        compiled.compile = remembering(compiled.compile)
        if cache_dir() is not None:
            compiled._cache = _Cache(function)
    return compiled
