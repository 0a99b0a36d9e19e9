"""What machine code depends on, as a hash: the name of the folder that holds it.

In it: the kernels; the versions of Numba, llvmlite and Python; system, word size, processor; the settings that change
machine code. Not in it: paths, file times, the host, the release of its kernel, the distribution. So what an image was
warmed with on one machine is found on another with the same processor.
"""

import functools
import hashlib
import pkgutil
import re
import sys
import uuid

import llvmlite
import llvmlite.binding as llvm
import numba
from numba.core import config

from .stamps import stamp
from .target import VECTOR_BYTES, cpu

PACKAGE = __package__.rpartition(".")[0]
# Settings of Numba that change machine code, and are not told by the name and features of the processor. SVML is
# Intel's library of vector functions, which LLVM calls if it is installed.
SETTINGS = (
    "BOUNDSCHECK",
    "OPT",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "LLVM_REFPRUNE_PASS",
    "LLVM_REFPRUNE_FLAGS",
    "DEBUGINFO_DEFAULT",
    "EXTEND_VARIABLE_LIFETIMES",
    "DEBUG_NRT",
    "USING_SVML",
    "USE_LEGACY_TYPE_SYSTEM",
)


def _modules(spec):
    """Yield name and loader of a package and of every module in it, wherever they are loaded from."""
    yield spec.name, spec.loader
    if spec.submodule_search_locations is not None:
        for finder, name, _ in pkgutil.iter_modules(spec.submodule_search_locations, f"{spec.name}."):
            yield from _modules(finder.find_spec(name))


@functools.cache
def kernels():
    """Return a hash of the kernels as they are loaded, or None if that cannot be told.

    It is made of their source. Frozen, byte-compiled and zipped applications may have none: there of their code.
    """
    digest = hashlib.sha256()
    try:
        for name, loader in sorted(_modules(sys.modules[PACKAGE].__spec__), key=lambda pair: pair[0]):
            source = loader.get_source(name)
            content = stamp(loader.get_code(name)) if source is None else source
            if content is None:
                return None
            digest.update(f"{name} {len(content)} {content}\n".encode())
    except (AttributeError, ImportError, OSError):
        return None
    return digest.hexdigest()


def _python():
    """Return the interpreter's implementation, minor version and ABI."""
    marks = getattr(sys, "abiflags", "")
    if "free-threading" in sys.version:
        marks += " free-threaded"
    return f"{sys.implementation.cache_tag} {marks}".strip()


def facts():
    """Return what machine code depends on beside the processor, by name."""
    return {
        "kernels": kernels(),
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "python": _python(),
        # The system of a Mac has a version in its name.
        "system": re.sub(r"(darwin|macosx)[\d.]+", r"\1", llvm.get_process_triple()),
        "word": 8 * tuple.__itemsize__,
        # What is not set is a false value of one kind or another.
        "settings": {name: str(getattr(config, name, None) or "") for name in SETTINGS},
    }


def fingerprint(processor=None, vector_bytes=VECTOR_BYTES):
    """Return the hash for a processor (name, features), or None if it cannot be told which kernels are loaded.

    Without a processor it is the one that Numba compiles for.
    """
    known = facts()
    if known["kernels"] is None:
        return None
    return _hash([*known.items(), ("processor", processor or cpu()), ("vector bytes", vector_bytes)])


def identity():
    """Return the hash of all but the processor: the version of the kernels for a user's own compiled code."""
    known = facts()
    # What cannot be told is found by nobody.
    return _hash([*known.items(), known["kernels"] or uuid.uuid4().hex])


def _hash(parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]
