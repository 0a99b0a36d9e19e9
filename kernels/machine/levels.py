"""Levels of processors: what kernels are compiled for ahead, and which level the processor of this process has.

The levels of x86-64 are those of its psABI. A level is taken only if the processor has every feature that LLVM lists
for it: machine code of a level may hold any of its instructions.
"""

from typing import NamedTuple

import llvmlite.binding as llvm
from numba.core import config

from .target import VECTOR_BYTES, enabled


class Level(NamedTuple):
    """A level: LLVM's name of such a processor, the width of its vectors, and its features by LLVM's names."""

    name: str
    vector_bytes: int
    features: tuple[str, ...]

    @property
    def processor(self):
        """Name and features as `target.cpu` has them: the name alone tells all."""
        return self.name, ""


_V1 = ("cmov", "cx8", "fxsr", "mmx", "sse", "sse2")
_V2 = (*_V1, "crc32", "cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3")
_V3 = (*_V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")
_V4 = (*_V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
_X86 = (Level("x86-64-v2", 16, _V2), Level("x86-64-v3", 32, _V3), Level("x86-64-v4", 64, _V4))
# Every 64-bit ARM processor has NEON.
_ARM = (Level("generic", 16, ()),)
_LEVELS = {"x86_64": _X86, "aarch64": _ARM, "arm64": _ARM}


def levels():
    """Return the levels of this architecture, the lowest first."""
    return _LEVELS.get(llvm.get_process_triple().partition("-")[0], ())


def choose():
    """Return the highest level with vectors as wide as this process has, and its name; or None, and why."""
    if config.CPU_NAME not in (None, "", "host") or config.CPU_FEATURES is not None:
        return None, "NUMBA_CPU_NAME or NUMBA_CPU_FEATURES asks for another processor"
    fitting = [level for level in levels() if level.vector_bytes == VECTOR_BYTES]
    if not fitting:
        return None, f"there is no level with vectors of {VECTOR_BYTES} bytes for this architecture"
    level = fitting[-1]
    if lacking := sorted(set(level.features) - enabled()):
        return None, f"{level.name} needs {', '.join(lacking)}, which this processor lacks"
    return level, level.name
