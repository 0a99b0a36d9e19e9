"""Numba's cache on disk, led to the folder of cache.py. It takes some of Numba's private classes."""

import pickle
import sys
import warnings

from numba.core import caching
from numba.core.runtime.nrt import rtsys

from .cache import cache_dir, fingerprint
from .interrupts import held_back
from .pipeline import relies_on

relies_on(caching, "_CacheLocator", "CompileResultCacheImpl", "FunctionCache")
relies_on(caching.CompileResultCacheImpl, "_locator_classes", "get_filename_base")
relies_on(
    caching.FunctionCache,
    "_impl_class",
    "_index_key",
    "_load_overload",
    "load_overload",
    "save_overload",
    "flush",
)


class _Locator(caching._CacheLocator):
    """Tell Numba to use `cache_dir`, and that its name already stands for the state of the sources."""

    def __init__(self, py_func):
        self._py_func = py_func

    def get_cache_path(self):
        return str(cache_dir())

    def get_source_stamp(self):
        return fingerprint()

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


class Cache(caching.FunctionCache):
    """A cache whose failures cost a compilation, never the program: the disk may be full, a file cut short."""

    _impl_class = _Impl

    def load_overload(self, sig, target_context):
        """Return what is kept for these types, or None."""
        try:
            # Without Numba's refresh of all its registries, which is for compiling: it takes 0.3 s.
            with held_back():
                return self._load_overload(sig, target_context)
        except Exception:
            return None

    def save_overload(self, sig, data):
        """Keep what was compiled for these types, if that is possible."""
        try:
            try:
                super().save_overload(sig, data)
            except (EOFError, ValueError, pickle.UnpicklingError):
                # The index was cut short: begin it anew.
                self.flush()
                super().save_overload(sig, data)
        except OSError as error:
            warnings.warn(f"fastbp could not keep a compiled kernel: {error}", RuntimeWarning, stacklevel=2)


class StampedCache(Cache):
    """A cache for a function around others, which are known by a stamp: a hash of all that they are made of."""

    def __init__(self, function, stamp):
        super().__init__(function)
        self._stamp = stamp

    def load_overload(self, sig, target_context):
        """Return what is kept for these types, or None."""
        rtsys.initialize(target_context)  # the functions of others make arrays
        return super().load_overload(sig, target_context)

    def _index_key(self, sig, codegen):
        return sig, codegen.magic_tuple(), self._stamp
